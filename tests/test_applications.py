"""The application: its interface, what it wraps around its routes, and mounting in both directions."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import starlette.applications
import starlette.exceptions
import starlette.responses
import starlette.routing
from fastapi import FastAPI, WebSocket as TheirWebSocket
from hypothesis import given, strategies as st
from starlette.applications import Starlette

from tests.asgi_call import CONNECT, Outcome, call, http_scope, websocket_scope
from trunkline.applications import App
from trunkline.exceptions import HTTPException, WebSocketException
from trunkline.middleware import Middleware
from trunkline.requests import Request
from trunkline.responses import JSONResponse, PlainTextResponse
from trunkline.routing import Host, Mount, NoMatchFound, Route, Router, WebSocketRoute

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ClientFactory
    from trunkline.types import ASGIApp, Receive, Scope, Send
    from trunkline.websockets import WebSocket

pytestmark = pytest.mark.anyio


def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


class Tagging:
    """Middleware that writes down each connection."""

    def __init__(self, app: ASGIApp, log: list[str], tag: str = "tag", *, suffix: str = "") -> None:
        self.app = app
        self.log = log
        self.tag = tag + suffix
        log.append(f"made {self.tag}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.log.append(f"{self.tag} {scope['type']}")
        await self.app(scope, receive, send)


# The interface


def test_the_constructor_takes_the_references_arguments() -> None:
    def positional(cls: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(cls).parameters.values()
        return [(given.name, given.default) for given in parameters if given.kind is given.POSITIONAL_OR_KEYWORD]

    assert positional(App) == positional(Starlette)


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options", "head"])
async def test_a_decorator_adds_a_route(method: str) -> None:
    app = App()
    assert getattr(app, method)("/hello", name="greeting")(hello) is hello
    outcome = await call(app, http_scope("/hello", method=method.upper()))
    assert outcome.status == 200
    assert app.url_path_for("greeting") == "/hello"


async def test_routes_are_added_in_every_way() -> None:
    app = App(routes=[Route("/a", hello)])
    app.add_route("/b", hello, name="b")
    app.route("/c", name="c")(hello)
    app.mount("/d", App(routes=[Route("/", hello)]))
    app.host("e.example.org", App(routes=[Route("/e", hello)]))
    app.include_router(Router([Route("/f", hello, name="f")]), prefix="/in")
    app.routes.append(Route("/g", hello, name="g"))
    assert app.routes is app.router.routes
    for path in ("/a", "/b", "/c", "/d/", "/in/f", "/g"):
        assert (await call(app, http_scope(path))).body == b"hello", path
    assert (await call(app, http_scope("/e", {"host": "e.example.org"}))).body == b"hello"


async def test_websocket_routes_are_added_in_every_way() -> None:
    app = App(routes=[WebSocketRoute("/a", greet)])
    app.add_websocket_route("/b", greet, name="b")
    assert app.websocket("/c", name="c")(greet) is greet
    app.websocket_route("/d", name="d")(greet)
    for path in ("/a", "/b", "/c", "/d"):
        assert (await call(app, websocket_scope(path), [CONNECT])).types == ["accept", "send", "close"], path
    assert app.url_path_for("c") == "/c"
    with pytest.raises(NoMatchFound, match="There are: greet, b, c, d"):
        app.url_path_for("zzz")


async def test_connections_know_their_application() -> None:
    app = App()
    app.state.count = 7

    @app.get("/")
    def count(request: Request) -> JSONResponse:
        return JSONResponse(request.app.state.count)

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(websocket.app.state.count)

    assert (await call(app, http_scope())).body == b"7"
    assert (await call(app, websocket_scope("/ws"), [CONNECT])).sent[1]["text"] == "7"


# Middleware


async def test_middleware_wraps_every_connection_outermost_first() -> None:
    log: list[str] = []
    app = App(
        routes=[Route("/", hello), WebSocketRoute("/ws", greet)],
        middleware=[Middleware(Tagging, log, "outer"), Middleware(Tagging, log, "inner", suffix="!")],
    )
    await call(app, http_scope())
    await call(app, websocket_scope("/ws"), [CONNECT])
    assert log == ["made inner!", "made outer", "outer http", "inner! http", "outer websocket", "inner! websocket"]


async def test_middleware_that_is_added_goes_around_the_others() -> None:
    log: list[str] = []
    app = App(routes=[Route("/", hello)], middleware=[Middleware(Tagging, log, "first")])
    app.add_middleware(Tagging, log, "added")
    app.add_middleware(Tagging, log, suffix="2")
    assert [tag for _, (_, tag), _ in app.user_middleware[1:]] == ["added", "first"]
    await call(app, http_scope())
    assert [entry for entry in log if "made" not in entry] == ["tag2 http", "added http", "first http"]


async def test_middleware_may_be_a_function() -> None:
    def stamping(app: ASGIApp, stamp: str) -> ASGIApp:
        async def stamped(scope: Scope, receive: Receive, send: Send) -> None:
            scope["stamp"] = stamp
            await app(scope, receive, send)

        return stamped

    app = App(routes=[Route("/", lambda request: PlainTextResponse(request.scope["stamp"]))])
    app.add_middleware(stamping, stamp="seen")
    assert (await call(app, http_scope())).body == b"seen"


async def test_middleware_may_refuse_a_websocket() -> None:
    class Refusing:
        def __init__(self, app: ASGIApp) -> None:
            pass

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.close", "code": 1008, "reason": "not today"})

    app = App(routes=[WebSocketRoute("/", greet)], middleware=[Middleware(Refusing)])
    assert (await call(app, websocket_scope(), [CONNECT])).close == (1008, "not today")


async def test_after_the_start_nothing_can_be_added_around() -> None:
    app = App()
    await call(app, http_scope())
    with pytest.raises(RuntimeError, match="Cannot add middleware after an application has started"):
        app.add_middleware(Tagging, [])
    with pytest.raises(RuntimeError, match="Cannot add an exception handler after an application has started"):
        app.add_exception_handler(404, lambda request, exc: hello(request))


# Exception handlers


async def test_an_exception_handler_is_registered_by_decorator_for_both_kinds() -> None:
    app = App()

    class RoomFull(Exception):
        pass

    @app.exception_handler(RoomFull)
    async def full(conn: Any, exc: RoomFull) -> Any:
        if isinstance(conn, Request):
            return PlainTextResponse("full", status_code=409)
        await conn.close(4009, "full")
        return None

    @app.get("/")
    def over_http(request: Request) -> None:
        raise RoomFull

    @app.websocket("/ws")
    async def over_websocket(websocket: WebSocket) -> None:
        await websocket.accept()
        raise RoomFull

    assert callable(full)
    outcome = await call(app, http_scope())
    assert (outcome.status, outcome.body) == (409, b"full")
    assert (await call(app, websocket_scope("/ws"), [CONNECT])).close == (4009, "full")


async def test_not_found_and_not_allowed_meet_the_handlers() -> None:
    app = App(routes=[Route("/", hello)])

    @app.exception_handler(404)
    @app.exception_handler(405)
    def shown(request: Request, exc: HTTPException) -> JSONResponse:
        return JSONResponse({"detail": exc.detail}, status_code=exc.status_code, headers=exc.headers)

    missing = await call(app, http_scope("/missing"))
    assert (missing.status, missing.body) == (404, b'{"detail":"Not Found"}')
    refused = await call(app, http_scope("/", method="POST"))
    assert (refused.status, refused.body) == (405, b'{"detail":"Method Not Allowed"}')
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_an_unknown_websocket_path_is_refused() -> None:
    outcome = await call(App(routes=[Route("/", hello)]), websocket_scope("/"), [CONNECT])
    assert outcome.sent == [{"type": "websocket.close", "code": 1000, "reason": ""}]
    assert outcome.error is None


async def test_debug_can_be_set_until_the_start() -> None:
    def failing(request: Request) -> None:
        raise ZeroDivisionError("divided")

    app = App(routes=[Route("/", failing)])
    app.debug = True
    assert b"ZeroDivisionError: divided" in (await call(app, http_scope())).body
    assert (await call(App(routes=[Route("/", failing)]), http_scope())).body == b"Internal Server Error"


# Bad input


async def test_a_scope_of_an_unknown_type_is_refused_in_words() -> None:
    outcome = await call(App(), {"type": "telnet"})
    assert "a scope of type 'http', 'websocket' or 'lifespan' is expected, but got 'telnet'" in str(outcome.error)


@pytest.mark.parametrize("path", ["/../../etc/passwd", "//evil.com", "/%00", "/\ud800", "/\r\nx: 1", "/" + "a" * 9000])
async def test_a_strange_path_is_not_found(path: str) -> None:
    app = App(routes=[Route("/", hello), WebSocketRoute("/", greet)])
    outcome = await call(app, http_scope(path))
    assert (outcome.error, outcome.status) == (None, 404)
    assert (await call(app, websocket_scope(path), [CONNECT])).close == (1000, "")


async def test_ten_thousand_headers_are_carried() -> None:
    app = App(routes=[Route("/", lambda request: PlainTextResponse(str(len(request.headers))))])
    headers = {f"x-{number}": "a" for number in range(10_000)}
    assert (await call(app, http_scope(headers=headers))).body == b"10001"


# Mounting


def where(request: Any) -> dict[str, Any]:
    return {
        "root_path": request.scope["root_path"],
        "path": request.scope["path"],
        "base_url": str(request.base_url),
        "app": type(request.app).__name__,
    }


def our_where(request: Request) -> JSONResponse:
    return JSONResponse({**where(request), "room": str(request.url_for("live:room", room="a"))})


async def our_room(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(str(websocket.url_for("live:room", room=websocket.path_params["room"])))
    await websocket.close()


def live() -> App:
    return App(routes=[WebSocketRoute("/rooms/{room}", our_room, name="room"), Route("/where", our_where)])


def in_app(inner: Any) -> Any:
    return App(routes=[Mount("/live", inner, name="live")])


def in_starlette(inner: Any) -> Any:
    return Starlette(routes=[starlette.routing.Mount("/live", inner, name="live")])


def in_fastapi(inner: Any) -> Any:
    app = FastAPI()
    app.mount("/live", inner, name="live")
    return app


OUTER = pytest.mark.parametrize("outer", [in_app, in_starlette, in_fastapi])


@OUTER
@pytest.mark.parametrize("root_path", ["", "/proxy"])
def test_mounted_it_knows_where_it_is(
    outer: Callable[[Any], Any], root_path: str, test_client_factory: ClientFactory
) -> None:
    client = test_client_factory(outer(live()), root_path=root_path)
    assert client.get(f"{root_path}/live/where").json() == {
        "root_path": f"{root_path}/live",
        "path": f"{root_path}/live/where",
        "base_url": f"http://testserver{root_path}/",
        "app": "App",
        "room": f"ws://testserver{root_path}/live/rooms/a",
    }
    with client.websocket_connect(f"{root_path}/live/rooms/b") as websocket:
        assert websocket.receive_text() == f"ws://testserver{root_path}/live/rooms/b"


def several(route: Any) -> list[Any]:
    return [route("/a", hello, name="a"), route("/b/{room}", hello, name="b"), route("/c", hello, name="c")]


def inner_app() -> App:
    return App(routes=several(Route))


def inner_router() -> Router:
    return Router(several(Route))


def inner_starlette() -> Starlette:
    return Starlette(routes=several(starlette.routing.Route))


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (in_app, inner_app),
        (in_app, inner_router),
        (in_starlette, inner_starlette),
        (in_app, inner_starlette),
        (in_starlette, inner_app),
        (in_starlette, inner_router),
        (in_fastapi, inner_app),
    ],
)
def test_every_inner_route_has_a_url_from_outside(outer: Callable[[Any], Any], inner: Callable[[], Any]) -> None:
    app = outer(inner())
    assert app.url_path_for("live:a") == "/live/a"
    assert app.url_path_for("live:b", room="x") == "/live/b/x"
    assert app.url_path_for("live:c") == "/live/c"


@OUTER
def test_mounted_its_refusals_and_errors_are_its_own(
    outer: Callable[[Any], Any], test_client_factory: ClientFactory
) -> None:
    inner = App()

    @inner.websocket("/full")
    async def full(websocket: WebSocket) -> None:
        await websocket.accept()
        raise WebSocketException(4009, "full")

    client = test_client_factory(outer(inner))
    with client.websocket_connect("/live/full") as websocket:
        assert websocket.receive() == {"type": "websocket.close", "code": 4009, "reason": "full"}
    assert client.get("/live/missing").status_code == 404


@OUTER
async def test_the_outer_application_is_in_the_scope_again_afterwards(outer: Callable[[Any], Any]) -> None:
    app = outer(App(routes=[Route("/where", lambda request: JSONResponse(where(request)))]))
    scope = http_scope("/live/where")
    assert b'"app":"App"' in (await call(app, scope)).body
    assert scope["app"] is app


def fastapi() -> FastAPI:
    app = FastAPI(title="theirs")

    @app.get("/where")
    def endpoint(request: starlette.requests.Request) -> dict[str, Any]:
        return where(request)

    @app.websocket("/ws/{room}")
    async def room(websocket: TheirWebSocket, room: str, size: int = 1) -> None:
        await websocket.accept()
        await websocket.send_json([room, size])
        await websocket.close()

    @app.get("/failing")
    def failing() -> None:
        raise ZeroDivisionError

    endpoint.__annotations__["request"] = starlette.requests.Request
    return app


@pytest.mark.parametrize("routes", [lambda app: [Mount("/api", app)], lambda app: [Host("testserver", app)]])
def test_fastapi_works_inside(routes: Callable[[Any], Any], test_client_factory: ClientFactory) -> None:
    app = App(routes=routes(fastapi()))
    prefix = "/api" if isinstance(app.routes[0], Mount) else ""
    client = test_client_factory(app, raise_server_exceptions=False)
    assert client.get(f"{prefix}/where").json()["root_path"] == prefix
    assert client.get(f"{prefix}/where").json()["app"] == "FastAPI"
    assert client.get(f"{prefix}/openapi.json").json()["info"]["title"] == "theirs"
    assert client.get(f"{prefix}/missing").json() == {"detail": "Not Found"}
    assert client.get(f"{prefix}/failing").status_code == 500
    with client.websocket_connect(f"{prefix}/ws/a?size=3") as websocket:
        assert websocket.receive_json() == ["a", 3]


# Beside the reference: the same routes and handlers, and the messages must be equal.


class RoomFull(Exception):
    pass


def same_application(applications: Any, routing: Any, responses: Any, exceptions: Any) -> Any:
    def show(request: Any) -> Any:
        return responses.JSONResponse({"params": request.path_params, "query": dict(request.query_params)})

    async def fail(request: Any) -> Any:
        raise exceptions.HTTPException(request.path_params["status"], headers={"x-room": "1"})

    def full(request: Any) -> Any:
        raise RoomFull

    def crash(request: Any) -> Any:
        raise ZeroDivisionError

    def on_full(request: Any, exc: Exception) -> Any:
        return responses.PlainTextResponse("full", status_code=409)

    async def on_404(request: Any, exc: Exception) -> Any:
        return responses.PlainTextResponse(f"no {request.url.path}", status_code=404)

    async def on_crash(request: Any, exc: Exception) -> Any:
        return responses.JSONResponse({"crashed": True}, status_code=500)

    inner = [routing.Route("/", show), routing.Route("/{room}", show), routing.Route("/fail/{status:int}", fail)]
    return applications.App(
        routes=[
            routing.Route("/", show),
            routing.Route("/full", full, methods=["GET", "POST"]),
            routing.Route("/crash", crash),
            routing.Route("/fail/{status:int}", fail),
            routing.Mount("/rooms", routes=inner),
        ],
        exception_handlers={RoomFull: on_full, 404: on_404, Exception: on_crash},
    )


class OurApplications:
    App = App


class OurResponses:
    JSONResponse = JSONResponse
    PlainTextResponse = PlainTextResponse


class OurRouting:
    Route = Route
    Mount = Mount


class OurExceptions:
    HTTPException = HTTPException


class TheirApplications:
    App = Starlette


PATHS = st.one_of(
    st.sampled_from(["/", "/full", "/crash", "/rooms", "/rooms/", "/rooms/a", "/rooms/a/", "/full/", "/missing", ""]),
    st.integers(400, 505).map(lambda status: f"/fail/{status}"),
    st.sampled_from([204, 304, 400, 599]).map(lambda status: f"/rooms/fail/{status}"),
    st.text(max_size=8).map(lambda text: f"/rooms/{text}"),
)


@given(path=PATHS, method=st.sampled_from(["GET", "HEAD", "POST", "DELETE"]), query=st.sampled_from([b"", b"a=1&b="]))
def test_requests_are_answered_as_the_reference_does(path: str, method: str, query: bytes) -> None:
    async def both() -> list[Outcome]:
        ours = same_application(OurApplications, OurRouting, OurResponses, OurExceptions)
        theirs = same_application(TheirApplications, starlette.routing, starlette.responses, starlette.exceptions)
        return [await call(app, http_scope(path, method=method, query_string=query)) for app in (ours, theirs)]

    ours, theirs = anyio.run(both)
    assert comparable(ours) == comparable(theirs)


def comparable(outcome: Outcome) -> Any:
    """What was sent, with the methods of Allow in order, which are a set in the reference."""
    headers = {**outcome.headers, "allow": ", ".join(sorted(outcome.headers.get("allow", "").split(", ")))}
    return outcome.status, headers, outcome.body, type(outcome.error)
