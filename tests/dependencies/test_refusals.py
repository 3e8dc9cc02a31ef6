"""What is refused when a route is made, in words that say what to write instead."""

import contextlib
import functools
import logging
import re
from typing import Annotated, Any

import fastapi
import pytest
import starlette.requests
from pydantic import AliasChoices, AliasPath, BaseModel, Field

from trunkline import App, Cookie, Depends, Header, HTTPConnection, Path, Query, Request, Router, WebSocket
from trunkline.dependencies import DependencyError
from trunkline.endpoints import EndpointError
from trunkline.exceptions import TrunklineError
from trunkline.responses import Response
from trunkline.routing import BaseRoute, Route, RouteError, WebSocketRoute


class Body(BaseModel):
    name: str


class Opaque:
    pass


async def needs_request(request: Request) -> None: ...
async def needs_websocket(websocket: WebSocket) -> None: ...
async def middle_of_http(_: Annotated[None, Depends(needs_request)]) -> None: ...
async def middle_of_websocket(_: Annotated[None, Depends(needs_websocket)]) -> None: ...


def test_a_request_on_a_websocket_route_is_refused_with_the_chain() -> None:
    async def endpoint(websocket: WebSocket, user: Annotated[None, Depends(middle_of_http)]) -> None: ...

    with pytest.raises(DependencyError) as caught:
        App().websocket("/")(endpoint)
    text = str(caught.value)
    assert "the parameter 'request' of needs_request (" in text
    assert "is a Request, which a WebSocket route does not have; take an HTTPConnection, which serves both" in text
    links = text.split("reached through ")[1].split(" -> ")
    assert [re.sub(r" \(.*:\d+\)", "", link) for link in links] == [
        "test_a_request_on_a_websocket_route_is_refused_with_the_chain.<locals>.endpoint: user",
        "middle_of_http: _",
        "needs_request: request",
    ]
    assert isinstance(caught.value, TrunklineError)


def test_a_websocket_on_an_http_route_is_refused_with_the_chain() -> None:
    def endpoint(user: Annotated[None, Depends(middle_of_websocket)]) -> None: ...

    with pytest.raises(DependencyError, match="is a WebSocket, which an HTTP route does not have") as caught:
        App().get("/")(endpoint)
    assert "endpoint" in str(caught.value)
    assert "middle_of_websocket" in str(caught.value).split("reached through ")[1]


@pytest.mark.parametrize("options", [{"dependencies": [Depends(needs_request)]}])
def test_dependencies_of_routes_routers_and_applications_are_checked_as_well(options: Any) -> None:
    async def endpoint(websocket: WebSocket) -> None: ...

    for make in (
        lambda: WebSocketRoute("/", endpoint, **options),
        lambda: App(**options).add_websocket_route("/", endpoint),
        lambda: Router([WebSocketRoute("/", endpoint)], **options),
        lambda: App().include_router(Router([WebSocketRoute("/", endpoint)]), **options),
        lambda: App(**options).mount("/", Router()),
    ):
        with pytest.raises(DependencyError, match=r"(?s)is a Request.*reached through dependencies -> needs_request"):
            make()


@pytest.mark.parametrize("takes", [Request, needs_request])
def test_a_websocket_route_whose_endpoint_alone_takes_a_request_is_refused(takes: Any) -> None:
    async def endpoint(request: Request) -> None: ...

    with pytest.raises(DependencyError, match="a WebSocket route does not have"):
        WebSocketRoute("/", endpoint if takes is Request else takes)


# What a function may not look like. Each is put on an HTTP route.


def starred(q: int, *more: int) -> None: ...
def keywords(q: int, **more: int) -> None: ...
def positional(q: int, /, r: int) -> None: ...
def body(body: Body) -> None: ...
def list_body(items: list[int]) -> None: ...
def dict_query(items: Annotated[dict[str, int], Query()]) -> None: ...
def list_path(item: list[int]) -> None: ...
def query_in_path(item: Annotated[str, Query()]) -> None: ...
def default_in_path(item: Annotated[str, Path()] = "x") -> None: ...
def opaque(thing: Opaque) -> None: ...
def unfit(q: Annotated[Opaque, Query(gt=1)]) -> None: ...
def twice(q: Annotated[int, Query()] = Query()) -> None: ...
def mixed(q: Annotated[int, Query()] = Depends(needs_request)) -> None: ...
def inside(q: Annotated[int, Query(3)]) -> None: ...
def both(q: Annotated[int, Query(default_factory=int)] = 3) -> None: ...
def pydantics(q: int = Field(3)) -> None: ...
def nothing(q=Depends()) -> None: ...  # type: ignore[no-untyped-def]
def unresolved(q: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unresolved_class(q: "Nowhere" = Depends()) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def fastapis(q: int = fastapi.Depends(needs_request)) -> None: ...
def fastapis_annotated(q: Annotated[int, fastapi.Query()], r: int) -> None: ...
def starlettes(request: starlette.requests.Request, q: int) -> None: ...
def response(response: Response, q: int) -> None: ...


@contextlib.asynccontextmanager
async def context() -> Any:
    yield


def of_context(_: Annotated[Any, Depends(context)], q: int = 0) -> None: ...


def one(n: Annotated[int, Depends(lambda: 1)]) -> int:
    return n


def cyclic(n: int = 0) -> int:
    return n


def cycle(n: Annotated[int, Depends(cyclic)]) -> int:
    return n


cyclic.__annotations__["n"] = Annotated[int, Depends(cycle)]


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (starred, "'more' of starred .* takes any number of values; name each parameter"),
        (keywords, "'more' of keywords .* takes any number of values"),
        (positional, "'q' of positional .* can only be given by position; remove the `/`"),
        (body, r"would take from the body. Bodies are not parsed here: .* await request.json\(\)"),
        (list_body, "mark it with Query, Header or Cookie if it comes from there, with Depends if a function makes it"),
        (dict_query, "is a query parameter: a scalar, a list of scalars or a model, but is dict"),
        (list_path, "is a part of the path, which is a scalar, but its type is list"),
        (query_in_path, "is a part of the path and cannot be a query parameter; rename one of them"),
        (default_in_path, "has the default 'x', but a path has all of its parameters"),
        (opaque, "has the type .*Opaque.*, of which no value can be made: .*; mark it with Depends"),
        (unfit, "of which no value can be made"),
        (twice, "is marked twice, in Annotated and as the default"),
        (mixed, "is marked twice"),
        (inside, "has a default inside Annotated; write `= 3` behind it"),
        (both, "has a default and a default_factory"),
        (pydantics, "has pydantic's Field as its default; write Query, Header, Cookie or Path"),
        (nothing, r"has Depends\(\) without a function and no class as its annotation"),
        (unresolved, "the annotation 'Nowhere', which cannot be resolved .*not under `if TYPE_CHECKING:`"),
        (unresolved_class, "the annotation 'Nowhere', which cannot be resolved"),
        (fastapis, "is marked with FastAPI's Depends.*; import Depends from trunkline"),
        (fastapis_annotated, "is marked with FastAPI's Query.*; import Query from trunkline"),
        (starlettes, "is a Request of starlette.requests; import it from trunkline"),
        (response, "is a .*Response'>.* a Response is returned, not taken"),
        (cycle, "cycle .* depends on itself"),
        (of_context, "context .* is decorated with @contextmanager or @asynccontextmanager; remove the decorator"),
    ],
)
@pytest.mark.parametrize("place", ["endpoint", "dependency"])
def test_a_parameter_that_cannot_be_filled(endpoint: Any, words: str, place: str) -> None:
    def around(_: Any = Depends(endpoint), q: int = 0) -> None: ...

    if place == "endpoint" and endpoint is unresolved:
        endpoint = functools.partial(two_unresolved)
    with pytest.raises(DependencyError, match=f"(?s){words}"):
        Route("/{item}", endpoint if place == "endpoint" else around)


def two_unresolved(q: "Nowhere", r: int) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_names_that_are_local_to_a_function_and_used_in_it_are_found() -> None:
    class Local(BaseModel):
        a: int = 1

    def endpoint(local: "Annotated[Local, Query()]", q: int = 0) -> Any:
        return Local(a=local.a)

    assert Route("/", endpoint).endpoint is endpoint


def test_a_local_name_without_a_value_yet_is_not_found() -> None:
    def endpoint(late: "Late", q: int = 0) -> Any:  # type: ignore[valid-type]
        return Late

    with pytest.raises(DependencyError, match="'Late', which cannot be resolved"):
        Route("/", endpoint)
    Late = int


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Depends(7), r"Depends takes a function or a class, but got 7; write Depends\(function\)"),  # type: ignore[arg-type]
        (lambda: Depends(needs_request(None)), r"a coroutine; write Depends\(needs_request\), without calling it"),  # type: ignore[arg-type]
        (lambda: Depends(one, scope="session"), '"connection", "function" or "message", but got \'session\''),  # type: ignore[arg-type]
        (lambda: Path("x"), "Path takes no default, but got 'x'"),
        (lambda: Query(1, default_factory=int), "a default or a default_factory, but got both"),
        (lambda: Header(minimum=3), "Header has no option 'minimum'; it takes gt, ge"),  # type: ignore[call-arg]
        (lambda: Cookie(regex="x"), "Cookie has no option 'regex'"),  # type: ignore[call-arg]
        (
            lambda: Route("/", one, dependencies=[one]),
            r"`dependencies` is a list of Depends\(function\), but has <f",
        ),
        (lambda: Route("/", one, dependencies=[Depends()]), r"`dependencies` is a list of Depends\(function\)"),
        (lambda: Route("/", one, dependencies=[Query()]), r"`dependencies` is a list of Depends\(function\)"),
        (lambda: Route("/", one, dependencies=[Depends(max)]), "does not tell its parameters"),
    ],
)
def test_a_mark_that_says_nothing_sensible(make: Any, words: str) -> None:
    with pytest.raises(DependencyError, match=words):
        make()


def test_the_scope_message_is_for_listeners() -> None:
    def endpoint(q: Annotated[int, Depends(one, scope="message")], r: int) -> None: ...

    with pytest.raises(DependencyError, match='has the scope "message", but only a listener has messages'):
        Route("/", endpoint)


@pytest.mark.parametrize(
    ("annotation", "options"),
    [
        (3, {}),
        (list["Nowhere"], {}),  # type: ignore[name-defined]  # noqa: F821
        (str, {"pattern": "["}),
    ],
)
def test_what_pydantic_refuses_is_refused_with_the_route(annotation: Any, options: Any) -> None:
    def endpoint(q: Any) -> None: ...

    endpoint.__annotations__["q"] = Annotated[annotation, Query(**options)] if annotation != 3 else annotation
    with pytest.raises(DependencyError, match=r"the parameter 'q' of .*, of which no value can be made: "):
        Route("/", endpoint)


def test_two_classes_of_connections_that_have_nothing_in_common() -> None:
    class A(WebSocket):
        pass

    class B(WebSocket):
        pass

    class Both(A, B):
        pass

    async def endpoint(a: A, b: B) -> None: ...
    async def fitting(a: A, c: Both, b: B, w: WebSocket) -> None: ...

    with pytest.raises(DependencyError, match="a connection cannot be both a A and a B; derive one from the other"):
        WebSocketRoute("/", endpoint)
    assert WebSocketRoute("/", fitting).endpoint is fitting


class InParts(BaseModel):
    first: str = Field(validation_alias=AliasPath("names", 0))


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[InParts, Query()],
        Annotated[str, Query(validation_alias=AliasChoices("name", AliasPath("names", 0)))],
    ],
)
def test_an_alias_that_leads_into_a_value(annotation: Any) -> None:
    async def endpoint(websocket: WebSocket, q: Any) -> None: ...

    endpoint.__annotations__["q"] = annotation
    with pytest.raises(DependencyError, match="write AliasChoices of names"):
        WebSocketRoute("/", endpoint)


@pytest.mark.parametrize(("option", "instead"), [("regex", "pattern="), ("example", "examples=")])
def test_the_options_that_fastapi_has_renamed(option: str, instead: str) -> None:
    with pytest.raises(DependencyError, match=f"has no option '{option}'; write {instead}"):
        Query(**{option: "a"})  # type: ignore[arg-type]


@pytest.mark.parametrize("endpoint", [lambda: None, one])
def test_a_websocket_that_nobody_could_accept(endpoint: Any) -> None:
    with pytest.raises(EndpointError, match="nobody could accept it; write `websocket: WebSocket`"):
        WebSocketRoute("/", endpoint)


def test_a_dependency_alone_may_take_the_websocket() -> None:
    async def endpoint(_: Annotated[None, Depends(needs_websocket)]) -> None: ...

    assert WebSocketRoute("/", endpoint).endpoint is endpoint


def test_a_route_of_ones_own_cannot_have_dependencies_of_its_router() -> None:
    with pytest.raises(RouteError, match="or give it all these itself"):
        Router([BaseRoute()], dependencies=[Depends(one)])


def test_starlettes_endpoints_by_position_are_still_taken(caplog: pytest.LogCaptureFixture) -> None:
    async def theirs(request: starlette.requests.Request) -> None: ...
    async def unresolved(request: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
    async def either(conn: HTTPConnection) -> None: ...

    with caplog.at_level(logging.WARNING):
        for endpoint in (theirs, unresolved, either):
            assert Route("/", endpoint).endpoint is endpoint
    assert not caplog.records
