"""`Depends`: what is called, how often, in which order, and with what."""

import functools
import json
import threading
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from tests.asgi_call import CONNECT, http, run, websocket, websocket_scope
from trunkline import App, Depends, HTTPConnection, Query, Request, Router, WebSocket, WebSocketException
from trunkline.dependencies import DependencyError
from trunkline.dependencies._plan import Plan, Recipe
from trunkline.exceptions import RequestValidationError
from trunkline.middleware import Middleware
from trunkline.routing import Mount, Route, WebSocketRoute


def answered(endpoint: Any, query: bytes = b"", **options: Any) -> Any:
    """The JSON with which an endpoint answers."""
    outcome = http(App(routes=[Route("/", endpoint, **options)]), "/", query_string=query)
    assert outcome.status == 200, outcome.text
    return json.loads(outcome.body)


async def coroutine() -> str:
    return "coroutine"


def function() -> str:
    return "function"


async def generator() -> Any:
    yield "async generator"


def plain_generator() -> Any:
    yield "generator"


class Asynchronous:
    async def __call__(self, q: int = 1) -> str:
        return f"object {q}"


class Synchronous:
    def __call__(self) -> str:
        return "plain object"


class Generating:
    async def __call__(self) -> Any:
        yield "generating object"


class PlainGenerating:
    def __call__(self) -> Any:
        yield "plain generating object"


class Page:
    def __init__(self, q: int = 3) -> None:
        self.q = q

    async def method(self) -> str:
        return f"method {self.q}"


@dataclass
class Limits:
    low: int = 1
    high: int = 9


def decorated(call: Any) -> Any:
    @functools.wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    return wrapper


async def takes(word: str, q: int = 5) -> str:
    return f"{word} {q}"


@pytest.mark.parametrize(
    ("dependency", "value"),
    [
        (coroutine, "coroutine"),
        (function, "function"),
        (generator, "async generator"),
        (plain_generator, "generator"),
        (Asynchronous(), "object 7"),
        (Synchronous(), "plain object"),
        (Generating(), "generating object"),
        (PlainGenerating(), "plain generating object"),
        (Page(4).method, "method 4"),
        (decorated(coroutine), "coroutine"),
        (decorated(generator), "async generator"),
        (decorated(plain_generator), "generator"),
        (functools.partial(takes, "bound"), "bound 7"),
        (functools.partial(takes, word="by name"), "by name 7"),
        (functools.partial(takes, "both", q=1), "both 1"),
        (lambda: "lambda", "lambda"),
    ],
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anything_that_can_be_called_is_a_dependency(dependency: Any, value: str, backend: str) -> None:
    def endpoint(found: Annotated[str, Depends(dependency)]) -> str:
        return found

    scope: Any = {"type": "http", "method": "GET", "path": "/", "query_string": b"q=7", "headers": []}
    sent = run(Router([Route("/", endpoint)]), scope, backend=backend)
    assert json.loads(sent[1]["body"]) == value


def test_a_class_is_made_from_its_parameters_and_named_by_the_annotation_alone() -> None:
    def endpoint(
        page: Annotated[Page, Depends()], same: Page = Depends(), limits: Limits = Depends(), other: Any = Depends(Page)
    ) -> Any:
        return [page.q, same.q, other.q, page is same, limits]

    assert answered(endpoint, b"q=8&high=4") == [8, 8, 8, True, {"low": 1, "high": 4}]


def test_what_is_not_async_runs_in_a_worker_thread_and_the_rest_on_the_loop() -> None:
    def here() -> bool:
        return threading.current_thread() is threading.main_thread()

    async def there() -> bool:
        return here()

    def half() -> Any:
        yield here()

    async def endpoint(a: bool = Depends(here), b: bool = Depends(there), c: bool = Depends(half)) -> Any:
        return [a, b, c]

    assert answered(endpoint) == [False, True, False]


def test_plain_calls_beside_each_other_go_to_a_worker_thread_together() -> None:
    def ident() -> int:
        return threading.get_ident()

    async def on_the_loop() -> None: ...

    def other(_: Any = Depends(on_the_loop)) -> int:
        return ident()

    def named(a: int = Depends(ident), b: int = Depends(ident, use_cache=False), c: int = Depends(other)) -> Any:
        return [a == b, a != threading.main_thread().ident, c != threading.main_thread().ident]

    plan = Plan(Recipe(named, (), "http"))
    assert [len(batch) for batch in plan.stages[0].batches] == [2, 1, 1]
    assert answered(named) == [True, True, True]


def test_one_value_for_all_on_a_connection_unless_the_cache_is_not_used() -> None:
    calls: list[int] = []

    async def count() -> int:
        calls.append(1)
        return len(calls)

    async def middle(n: int = Depends(count)) -> int:
        return n

    def endpoint(
        a: int = Depends(count),
        b: int = Depends(middle),
        c: int = Depends(count, use_cache=False),
        d: int = Depends(count, use_cache=False),
        e: int = Depends(count, scope="request"),
    ) -> Any:
        return [a, b, c, d, e]

    assert answered(endpoint) == [1, 1, 2, 3, 1]
    assert answered(endpoint) == [4, 4, 5, 6, 4]


def test_methods_of_one_object_are_one_dependency_and_what_has_no_hash_is_its_own() -> None:
    @dataclass
    class Counter:  # no hash, because it is compared by its value
        calls: int = 0

        async def __call__(self) -> int:
            self.calls += 1
            return self.calls

    class Methods:
        calls = 0

        async def count(self) -> int:
            self.calls += 1
            return self.calls

    methods, one, other = Methods(), Counter(), Counter()

    def endpoint(
        a: int = Depends(methods.count),
        b: int = Depends(methods.count),
        c: int = Depends(one),
        d: int = Depends(one),
        e: int = Depends(other),
    ) -> Any:
        return [a, b, c, d, e]

    assert answered(endpoint) == [1, 1, 1, 1, 1]
    assert (methods.calls, one.calls, other.calls) == (1, 1, 1)


def test_dependencies_are_called_depth_first_in_the_order_of_the_parameters() -> None:
    order: list[str] = []

    def named(name: str, *needed: Any) -> Any:
        async def dependency(**_: Any) -> None:
            order.append(name)

        parameters = ", ".join(f"p{i}=needed[{i}]" for i in range(len(needed)))
        space: dict[str, Any] = {"needed": [Depends(one) for one in needed], "dependency": dependency}
        exec(f"async def made({parameters}):\n    await dependency()", space)
        return space["made"]

    deep = named("deep")
    left = named("left", deep)
    right = named("right", named("other"), deep)

    async def endpoint(a: Any = Depends(left), b: Any = Depends(right)) -> None:
        order.append("endpoint")

    answered(endpoint, dependencies=[Depends(named("route"))])
    assert order == ["route", "deep", "left", "other", "right", "endpoint"]


def test_values_of_one_name_do_not_interfere() -> None:
    """A value that is passed and named like a dependency never replaces that."""

    async def get_user(name: str = "anna") -> str:
        return f"user {name}"

    async def first(user: str = Depends(get_user)) -> str:
        return user

    async def second(user: str = "a query parameter") -> str:
        return user

    def endpoint(a: str = Depends(first), b: str = Depends(second), name: str = "of the endpoint") -> Any:
        return [a, b, name]

    assert answered(endpoint) == ["user anna", "a query parameter", "of the endpoint"]
    assert answered(endpoint, b"user=admin") == ["user anna", "admin", "of the endpoint"]
    assert answered(endpoint, b"name=eve") == ["user eve", "a query parameter", "eve"]


# HTTP and WebSocket


async def who(conn: HTTPConnection, q: Annotated[str, Query()]) -> str:
    return f"{q} over {conn.scope['type']}"


def test_one_dependency_serves_http_and_websockets() -> None:
    app = App()

    @app.get("/")
    async def page(name: Annotated[str, Depends(who)]) -> str:
        return name

    @app.websocket("/")
    async def live(websocket: WebSocket, name: Annotated[str, Depends(who)]) -> None:
        await websocket.accept()
        await websocket.send_text(name)

    assert json.loads(http(app, "/", query_string=b"q=anna").body) == "anna over http"
    assert websocket(app, "/", query_string=b"q=anna")[1]["text"] == "anna over websocket"


def test_a_dependency_that_ends_a_websocket_says_what_would_serve_a_request_too() -> None:
    async def refuse() -> None:
        raise WebSocketException(1008)

    with pytest.raises(WebSocketException) as caught:
        http(App(routes=[Route("/", function, dependencies=[Depends(refuse)])]), "/")
    assert caught.value.__notes__ == [
        "Raised for an HTTP request, which has no close code; raise HTTPException, which serves both."
    ]


def test_a_parameter_with_a_default_keeps_it_where_there_is_no_such_connection() -> None:
    async def either(request: Request = None, websocket: WebSocket | None = None) -> str:  # type: ignore[assignment]
        return f"{request is not None} {websocket is not None}"

    app = App()

    @app.get("/")
    async def page(name: Annotated[str, Depends(either)]) -> str:
        return name

    @app.websocket("/")
    async def live(websocket: WebSocket, name: Annotated[str, Depends(either)]) -> None:
        await websocket.accept()
        await websocket.send_text(name)

    assert json.loads(http(app, "/").body) == "True False"
    assert websocket(app, "/")[1]["text"] == "False True"


def test_the_connection_is_that_of_the_endpoint_and_of_the_class_that_is_asked_for() -> None:
    class Typed(WebSocket):
        async def greet(self) -> None:
            await self.accept()
            await self.send_text("hello")

    class Mine(HTTPConnection):
        pass

    seen: list[Any] = []

    async def dependency(plain: WebSocket, any_kind: HTTPConnection, mine: Mine) -> None:
        seen.extend([plain, any_kind, mine])

    async def endpoint(*, typed: Typed, _: Annotated[None, Depends(dependency)]) -> None:
        seen.append(typed)
        await typed.greet()

    sent = websocket(App(routes=[WebSocketRoute("/", endpoint)]), "/")
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    plain, any_kind, mine, typed = seen
    assert plain is any_kind is typed
    assert type(typed) is Typed
    assert type(mine) is Mine
    assert mine.scope is typed.scope


# Overrides


async def real() -> str:
    return "real"


async def fake(q: str = "fake") -> str:
    return q


async def around(inner: Annotated[str, Depends(real)]) -> str:
    return f"around {inner}"


async def show(value: Annotated[str, Depends(real)]) -> str:
    return value


def shown(app: Any, path: str = "/") -> Any:
    return json.loads(http(app, path, query_string=b"q=given").body)


def test_an_override_is_called_instead_from_the_next_connection_on() -> None:
    app = App(routes=[Route("/", show)])
    assert shown(app) == "real"
    app.dependency_overrides[real] = fake
    assert shown(app) == "given"
    app.dependency_overrides[real] = lambda: "another"
    assert shown(app) == "another"
    app.dependency_overrides = {}
    assert shown(app) == "real"


def test_an_override_may_depend_on_what_it_overrides() -> None:
    app = App(routes=[Route("/", show)])
    app.dependency_overrides[real] = around
    assert shown(app) == "around real"


def test_overrides_are_found_in_each_app_for_itself() -> None:
    inner = App(routes=[Route("/", show)])
    outer = App(routes=[Route("/", show), Mount("/inner", inner)])
    outer.dependency_overrides[real] = lambda: "outer"
    assert (shown(outer), shown(outer, "/inner/")) == ("outer", "real")
    inner.dependency_overrides[real] = lambda: "inner"
    assert (shown(outer), shown(outer, "/inner/")) == ("outer", "inner")


@pytest.mark.parametrize(
    ("override", "words"),
    [(7, "is overridden by 7, which cannot be called"), (lambda request, *more: None, "takes any number of values")],
)
def test_an_override_that_cannot_work_is_told_in_words(override: Any, words: str) -> None:
    app = App(routes=[Route("/", show)])
    app.dependency_overrides[real] = override
    with pytest.raises(DependencyError, match=words):
        http(app, "/")


# Dependencies of routes, routers and applications


def test_dependencies_of_app_inclusion_router_route_and_endpoint_come_in_this_order() -> None:
    order: list[str] = []

    def noting(name: str) -> Any:
        async def note() -> None:
            order.append(name)

        return Depends(note)

    shared = noting("shared")
    app = App(dependencies=[noting("app"), shared])
    router = Router(dependencies=[noting("router"), shared])

    @router.get("/http", dependencies=[noting("route")])
    async def page(request: Request) -> None:
        order.append("endpoint")

    @router.websocket("/ws", dependencies=[noting("route")])
    async def live(websocket: WebSocket, _: Any = noting("own")) -> None:
        order.append("endpoint")
        await websocket.accept()

    app.include_router(router, "/p", dependencies=[noting("inclusion")])
    http(app, "/p/http")
    assert order == ["app", "shared", "inclusion", "router", "route", "endpoint"]
    order.clear()
    websocket(app, "/p/ws")
    assert order == ["app", "shared", "inclusion", "router", "route", "own", "endpoint"]


class Refused(Exception):
    pass


def refuse() -> None:
    raise Refused


class Page404:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("not to be reached")


@pytest.mark.parametrize("how", ["app", "router", "inclusion", "routes"])
@pytest.mark.parametrize("kind", ["function", "application", "mount", "host"])
@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_nothing_is_reached_past_a_dependency_that_refuses(how: str, kind: str, protocol: str) -> None:
    async def endpoint(conn: HTTPConnection) -> None:
        raise AssertionError("not to be reached")

    wall = [Depends(refuse)]

    def add(routes: Any) -> None:
        if kind == "mount":
            routes.mount("/a", Page404())
        elif kind == "host":
            routes.host("testserver", Page404())
        elif protocol == "http":
            routes.add_route("/a/b", endpoint if kind == "function" else Page404())
        else:
            routes.add_websocket_route("/a/b", endpoint if kind == "function" else Page404())

    router = Router(dependencies=wall if how == "router" else None)
    add(router)
    if how == "routes":
        app = App(routes=router.routes, dependencies=wall)
    else:
        app = App(dependencies=wall if how == "app" else None)
        app.include_router(router, dependencies=wall if how == "inclusion" else None)
    scope = {**websocket_scope("/a/b"), "type": protocol, "method": "GET"}
    with pytest.raises(Refused):
        run(app, scope, CONNECT)


def test_a_dependency_may_not_accept_for_an_application_behind_it() -> None:
    """The application makes a WebSocket of its own, which would wait for ever for the client's connect."""

    async def accept(ws: WebSocket) -> None:
        await ws.accept()

    with pytest.raises(RuntimeError, match="raise an exception to refuse it"):
        websocket(App(routes=[WebSocketRoute("/", Page404())], dependencies=[Depends(accept)]), "/")


@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_an_application_behind_a_dependency_is_reached(protocol: str) -> None:
    reached: list[Any] = []

    class Reached:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            reached.append(scope["path_params"])

    async def allowed(conn: HTTPConnection, room: str) -> None:
        reached.append(room)

    route = (Route if protocol == "http" else WebSocketRoute)("/{room}", Reached(), dependencies=[Depends(allowed)])
    run(Router([route]), {**websocket_scope("/blue"), "type": protocol, "method": "GET"}, CONNECT)
    assert reached == ["blue", {"room": "blue"}]


def test_an_endpoint_that_takes_its_connection_alone_has_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a plan was made")

    monkeypatch.setattr("trunkline._injection.Plan", refuse)

    async def unnamed(websocket):  # type: ignore[no-untyped-def]
        await websocket.accept()

    async def named(websocket: WebSocket) -> None:
        await websocket.accept()

    async def common(conn: HTTPConnection) -> Any:
        return conn.scope["type"]

    for endpoint in (unnamed, named):
        assert websocket(Router([WebSocketRoute("/", endpoint)]), "/")[0]["type"] == "websocket.accept"
    assert json.loads(http(Router([Route("/", common)]), "/").body) == "http"
    with pytest.raises(AssertionError, match="a plan was made"):
        Route("/", takes)


def test_a_prefix_with_a_parameter_makes_it_one_of_the_path() -> None:
    router = Router()

    @router.get("/items/{item}")
    async def show(tenant: str, item: int) -> Any:
        return [tenant, item]

    app = App()
    app.include_router(router, "/{tenant}")
    assert json.loads(http(app, "/acme/items/3").body) == ["acme", 3]
    assert http(app, "/acme/items/x").status == 422


def test_middleware_of_a_route_stays_when_its_plan_is_made_anew() -> None:
    def marking(app: Any, name: str) -> Any:
        async def marked(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("marks", []).append(name)
            await app(scope, receive, send)

        return marked

    async def marks(conn: HTTPConnection) -> Any:
        return conn.scope["marks"]

    router = Router(
        [Route("/", marks, middleware=[Middleware(marking, "route")])], middleware=[Middleware(marking, "router")]
    )
    app = App(dependencies=[Depends(function)])
    app.include_router(router)
    assert json.loads(http(app, "/").body) == ["router", "route"]


def test_an_endpoint_by_position_with_dependencies_still_gets_its_connection() -> None:
    async def page(request):  # type: ignore[no-untyped-def]
        return request.method

    async def live(websocket, /):  # type: ignore[no-untyped-def]
        await websocket.accept()

    wall = [Depends(function)]
    assert answered(page, dependencies=wall) == "GET"
    assert [m["type"] for m in websocket(App(routes=[WebSocketRoute("/", live, dependencies=wall)]), "/")] == [
        "websocket.accept",
        "websocket.close",
    ]


def test_an_http_endpoint_may_take_nothing() -> None:
    assert answered(function) == "function"


def test_a_plain_endpoint_with_parameters_runs_in_a_worker_thread() -> None:
    def endpoint(q: str = "") -> bool:
        return threading.current_thread() is threading.main_thread()

    assert answered(endpoint) is False


def test_an_outcome_without_an_app_is_raised() -> None:
    """A bare router has no handlers, as for any other exception."""

    async def endpoint(q: int) -> None: ...

    with pytest.raises(RequestValidationError, match=r"query.q: Field required \(missing\)"):
        http(Router([Route("/", endpoint)]), "/")
