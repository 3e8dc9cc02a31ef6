"""Tables of exception handlers: on routes, routers, inclusions, mounts and applications, from the inside out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.asgi_call import CONNECT, Outcome, call, disconnect, http_scope, websocket_scope
from trunkline import App, HTTPException, Router, WebSocket, WebSocketDisconnect, WebSocketException
from trunkline.endpoints import EndpointError, WebSocketEndpoint
from trunkline.messages import MessageSettings
from trunkline.middleware import Middleware
from trunkline.middleware.exceptions import ExceptionMiddleware, Handled
from trunkline.responses import PlainTextResponse
from trunkline.routing import ListenerRoute, Mount, Route, StreamRoute, WebSocketRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trunkline.requests import Request
    from trunkline.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio


class RoomFull(Exception):
    pass


class RoomClosed(RoomFull):
    pass


def raising(exc: Exception, *, accept: bool = True) -> Callable[[WebSocket], Any]:
    async def endpoint(websocket: WebSocket) -> None:
        if accept:
            await websocket.accept()
        raise exc

    return endpoint


def route(exc: Exception, handlers: dict[Any, Any] | None, **options: Any) -> WebSocketRoute:
    return WebSocketRoute("/", raising(exc), exception_handlers=handlers, **options)


async def opened(app: ASGIApp, path: str = "/") -> Outcome:
    return await call(app, websocket_scope(path), [CONNECT])


async def passed_on(conn: Any, exc: Exception) -> None:
    raise exc


async def test_a_handler_that_raises_the_same_on_passes_it_to_the_table_around() -> None:
    app = App(routes=[route(RoomFull(), {RoomFull: passed_on})], exception_handlers={RoomFull: 4001})
    assert (await opened(app)).close == (4001, "")


async def test_within_a_table_only_the_nearest_class_is_asked() -> None:
    exc = RoomClosed()
    outcome = await opened(App(routes=[route(exc, {RoomClosed: passed_on, RoomFull: 4001})]))
    assert (outcome.error, outcome.close) == (exc, (1011, ""))


async def test_a_handler_may_raise_what_the_table_around_knows() -> None:
    async def handler(websocket: WebSocket, exc: Exception) -> None:
        raise WebSocketException(4002, "full") from exc

    assert (await opened(App(routes=[route(RoomFull(), {RoomFull: handler})]))).close == (4002, "full")


@pytest.mark.parametrize(
    ("exc", "close"),
    [(HTTPException(401), (3000, "Unauthorized")), (WebSocketException(4001, "kicked"), (4001, "kicked"))],
    ids=repr,
)
async def test_what_says_how_it_ends_is_not_just_any_exception(exc: Exception, close: tuple[int, str]) -> None:
    assert (await opened(App(routes=[route(exc, {Exception: 4999})]))).close == close
    assert (await opened(App(routes=[route(exc, {type(exc): 4000, Exception: 4999})]))).close == (4000, "")


async def test_a_disconnect_is_not_just_any_exception() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    app = App(routes=[WebSocketRoute("/", endpoint, exception_handlers={Exception: passed_on})])
    outcome = await call(app, websocket_scope(), [CONNECT, disconnect(1001)])
    assert isinstance(outcome.error, WebSocketDisconnect)
    assert outcome.types == ["accept"]


async def test_a_close_code_of_the_application_for_any_exception() -> None:
    def failing(request: Request) -> None:
        raise RoomFull

    app = App(routes=[route(RoomFull(), None), Route("/", failing)], exception_handlers={Exception: 4999})
    outcome = await opened(app)
    assert (outcome.error, outcome.close) == (None, (4999, ""))
    answer = await call(app, http_scope())
    assert (answer.status, type(answer.error)) == (500, RoomFull)


async def test_a_close_code_says_nothing_to_an_http_request() -> None:
    async def handler(request: Request, exc: Exception) -> PlainTextResponse:
        return PlainTextResponse("full", 409)

    def failing(request: Request) -> None:
        raise RoomClosed

    inner = Router([Route("/", failing)], exception_handlers={RoomClosed: 4001, RoomFull: handler})
    assert (await call(App(routes=[Mount("/inner", inner)]), http_scope("/inner/"))).body == b"full"
    for app in (inner, App(routes=[Mount("/", Router([Route("/", failing)]))], exception_handlers={RoomFull: handler})):
        assert (await call(app, http_scope())).status == 409
    app = App(routes=[Route("/", failing)], exception_handlers={RoomClosed: 4001})
    assert isinstance((await call(app, http_scope())).error, RoomClosed)


async def test_an_http_handler_of_a_router_gets_the_endpoints_own_request() -> None:
    seen: list[Any] = []

    async def handler(request: Request, exc: Exception) -> PlainTextResponse:
        seen.append(request)
        return PlainTextResponse("full", 409)

    async def failing(request: Request) -> None:
        seen.append(request)
        raise RoomFull

    inner = Router([Route("/", failing)], exception_handlers={RoomClosed: handler})
    app = App(routes=[Mount("/", inner, exception_handlers={RoomFull: handler})])
    assert (await call(app, http_scope())).status == 409
    assert seen[0] is seen[1]


async def test_what_nobody_answers_is_not_raised_where_there_are_only_other_handlers() -> None:
    router = Router([Route("/post", lambda request: None, methods=["POST"])], exception_handlers={RoomFull: 4001})
    assert (await call(router, http_scope("/nowhere"))).status == 404
    assert (await call(router, http_scope("/post"))).status == 405


async def test_a_router_may_answer_what_it_has_no_route_for() -> None:
    async def not_found(request: Request, exc: Exception) -> PlainTextResponse:
        return PlainTextResponse("nothing here", 404)

    router = Router(exception_handlers={404: not_found})
    assert (await call(router, http_scope("/nowhere"))).body == b"nothing here"


class Refusing:
    """Middleware that refuses everything."""

    def __init__(self, app: ASGIApp, exc: Exception) -> None:
        self.exc = exc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise self.exc


async def test_a_table_is_inside_the_middleware_of_the_same_place() -> None:
    refusing = [Middleware(Refusing, RoomFull())]
    at_route = route(RoomFull(), {RoomFull: 4001}, middleware=refusing)
    at_router = Router([at_route], exception_handlers={RoomFull: 4002})
    assert (await opened(App(routes=[Mount("/", at_router)]))).close == (4002, "")
    at_router = Router([at_route], exception_handlers={RoomFull: 4002}, middleware=refusing)
    included = Router()
    included.include_router(at_router, exception_handlers={RoomFull: 4003})
    assert (await opened(included)).close == (4003, "")
    at_mount = Mount("/", at_router, exception_handlers={RoomFull: 4004}, middleware=refusing)
    assert (await opened(App(routes=[at_mount], exception_handlers={RoomFull: 4005}))).close == (4005, "")


async def test_what_a_plain_application_raises_meets_the_table_of_its_route() -> None:
    class Plain:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise RoomFull

    outcome = await opened(WebSocketRoute("/", Plain(), exception_handlers={RoomFull: 4001}))
    assert (outcome.error, outcome.close) == (None, (4001, ""))


async def test_a_close_code_does_not_hide_what_came_after_the_applications_own_close() -> None:
    exc = RoomFull()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(4000)
        raise exc

    outcome = await opened(WebSocketRoute("/", endpoint, exception_handlers={RoomFull: 4001}))
    assert (outcome.error, outcome.close) == (exc, (4000, ""))


async def test_a_close_code_for_a_client_that_has_gone() -> None:
    app = route(RoomFull(), {RoomFull: 4001})
    outcome = await call(app, websocket_scope(), [CONNECT], sends_before_loss=1)
    assert (outcome.error, outcome.types) == (None, ["accept"])


async def test_a_copy_of_a_route_keeps_its_table() -> None:
    inner, outer = Router(dependencies=[]), Router()
    inner.websocket("/", exception_handlers={RoomFull: 4001})(raising(RoomFull()))
    outer.include_router(inner, "/{room}")
    assert (await opened(outer, "/blue/")).close == (4001, "")


async def test_the_decorator_of_an_application_takes_a_close_code() -> None:
    app = App(routes=[route(RoomFull(), None)])
    app.add_exception_handler(RoomFull, 4001)
    assert (await opened(app)).close == (4001, "")
    middleware = ExceptionMiddleware(route(RoomFull(), None))
    middleware.add_exception_handler(RoomFull, 4002)
    assert (await opened(middleware)).close == (4002, "")


async def answer(message: str) -> str:
    return message


async def count() -> AsyncIterator[int]:
    yield 1


MAKERS = [
    lambda handlers: WebSocketRoute("/", raising(RoomFull()), exception_handlers=handlers),
    lambda handlers: ListenerRoute("/", answer, exception_handlers=handlers),
    lambda handlers: StreamRoute("/", count, exception_handlers=handlers),
    lambda handlers: Mount("/", Router(), exception_handlers=handlers),
    lambda handlers: Router(exception_handlers=handlers),
    lambda handlers: Router().include_router(Router([route(RoomFull(), None)]), exception_handlers=handlers),
    lambda handlers: App().include_router(Router([route(RoomFull(), None)]), exception_handlers=handlers),
    lambda handlers: App(exception_handlers=handlers),
]


@pytest.mark.parametrize("make", MAKERS)
def test_what_cannot_be_a_table_is_refused(make: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="a class of exceptions"):
        make({"RoomFull": 4001})
    with pytest.raises(TypeError, match="or a close code"):
        make({RoomFull: "closed"})
    with pytest.raises(TypeError, match="or a close code"):
        make({RoomFull: True})
    with pytest.raises(ValueError, match="1006"):
        make({RoomFull: 1006})


def test_what_has_no_table_is_not_wrapped() -> None:
    app = App()
    app.websocket("/")(raising(RoomFull()))
    app.include_router(Router([route(RoomFull(), None)]), "/included")
    mount = Mount("/", app)
    assert not [one for one in (*app.routes, mount) if isinstance(getattr(one, "app", None), Handled)]
    assert mount.app is app


# Typed messages of a route


class Talk(WebSocketEndpoint):
    pass


def test_settings_are_for_functions() -> None:
    with pytest.raises(EndpointError, match=r"websocket\.message_settings"):
        WebSocketRoute("/", Talk, messages=MessageSettings())


async def test_settings_of_an_application_leave_others_as_they_are() -> None:
    app = App(
        routes=[WebSocketRoute("/", Talk), Mount("/mounted", Router())], messages=MessageSettings(codec="msgpack")
    )
    outcome = await call(app, websocket_scope(), [CONNECT, disconnect()])
    assert outcome.types == ["accept"]


async def test_the_nearest_settings_count() -> None:
    seen: list[int] = []

    async def endpoint(websocket: WebSocket) -> None:
        seen.append(websocket.message_settings.max_invalid)

    inner, outer = Router(messages=MessageSettings(max_invalid=2)), App(messages=MessageSettings(max_invalid=3))
    inner.websocket("/route", messages=MessageSettings(max_invalid=1))(endpoint)
    inner.websocket("/router")(endpoint)
    outer.include_router(inner)
    outer.websocket("/app")(endpoint)
    outer.routes.append(WebSocketRoute("/default", endpoint))
    for path in ("/route", "/router", "/app", "/default"):
        await opened(outer, path)
    assert seen == [1, 2, 3, 10]
