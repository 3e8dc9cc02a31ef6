"""What becomes of an exception: handlers for HTTP and WebSockets, and what happens without one."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import anyio.from_thread
import pytest
import starlette.applications
import starlette.exceptions
import starlette.responses
import starlette.routing
from hypothesis import given, strategies as st

from tests.asgi_call import CONNECT, Outcome, call, http_scope, websocket_scope
from trunkline.applications import App
from trunkline.exceptions import HTTPException, WebSocketException
from trunkline.middleware import Middleware
from trunkline.middleware.exceptions import ExceptionMiddleware, serve_request
from trunkline.responses import JSONResponse, PlainTextResponse
from trunkline.routing import Mount, Route, Router, WebSocketRoute
from trunkline.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.requests import Request
    from trunkline.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio


class RoomFull(Exception):
    pass


class RoomClosed(RoomFull):
    pass


def app_raising(exc: Exception, *, accept: bool, **options: Any) -> App:
    async def endpoint(websocket: WebSocket) -> None:
        if accept:
            await websocket.accept()
        raise exc

    return App(routes=[WebSocketRoute("/", endpoint)], **options)


async def opened(app: ASGIApp, path: str = "/", **values: Any) -> Outcome:
    return await call(app, websocket_scope(path, **values), [CONNECT])


# Without a handler of the user's


async def test_an_http_exception_before_accept_is_a_denial_response() -> None:
    exc = HTTPException(401, "who are you?", headers={"www-authenticate": "Bearer"})
    outcome = await opened(app_raising(exc, accept=False))
    assert outcome.error is None
    assert outcome.types == ["http.response.start", "http.response.body"]
    assert (outcome.status, outcome.body) == (401, b"who are you?")
    assert outcome.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("extensions", [{}, None])
async def test_where_the_server_has_no_denial_responses_the_handshake_is_refused(extensions: Any) -> None:
    outcome = await opened(app_raising(HTTPException(404, "no such room"), accept=False), extensions=extensions)
    assert outcome.error is None
    assert outcome.sent == [{"type": "websocket.close", "code": 1008, "reason": "no such room"}]


async def test_an_http_exception_after_accept_closes_with_the_mapped_code() -> None:
    outcome = await opened(app_raising(HTTPException(403), accept=True))
    assert outcome.error is None
    assert outcome.types == ["accept", "close"]
    assert outcome.close == (3003, "Forbidden")


@pytest.mark.parametrize("accept", [False, True])
async def test_a_websocket_exception_closes_with_its_code_and_reason(*, accept: bool) -> None:
    outcome = await opened(app_raising(WebSocketException(4100, "kicked"), accept=accept))
    assert outcome.error is None
    assert outcome.types == ["accept", "close"][not accept :]
    assert outcome.close == (4100, "kicked")


async def test_another_exception_before_accept_is_raised_and_nothing_sent() -> None:
    exc = RuntimeError("Yikes")
    outcome = await opened(app_raising(exc, accept=False))
    assert outcome.error is exc
    assert outcome.sent == []


async def test_another_exception_after_accept_closes_with_1011_and_is_raised() -> None:
    exc = RuntimeError("the password is hunter2")
    outcome = await opened(app_raising(exc, accept=True))
    assert outcome.error is exc
    assert outcome.close == (1011, "")


@pytest.mark.parametrize("exc", [RuntimeError("broken"), HTTPException(500), WebSocketException(4000)], ids=repr)
@pytest.mark.parametrize("accept", [False, True])
async def test_nothing_is_logged_because_the_server_logs_what_is_raised(
    exc: Exception, caplog: pytest.LogCaptureFixture, *, accept: bool
) -> None:
    caplog.set_level("DEBUG")
    await opened(app_raising(exc, accept=accept))
    assert [record for record in caplog.records if record.name.startswith("trunkline")] == []


async def test_a_disconnect_is_raised_and_nothing_sent() -> None:
    exc = WebSocketDisconnect(1001)
    outcome = await opened(app_raising(exc, accept=True))
    assert outcome.error is exc
    assert outcome.types == ["accept"]


async def test_a_code_that_may_not_be_sent_closes_with_1011_and_says_so() -> None:
    outcome = await opened(app_raising(WebSocketException(1006), accept=True))
    assert isinstance(outcome.error, ValueError)
    assert "is never sent" in str(outcome.error)
    assert outcome.close == (1011, "")


@pytest.mark.parametrize("exc", [HTTPException(401), WebSocketException(1008), RuntimeError()], ids=repr)
async def test_an_exception_after_the_applications_own_close_is_raised(exc: Exception) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(4000)
        raise exc

    outcome = await opened(App(routes=[WebSocketRoute("/", endpoint)]))
    assert outcome.error is exc
    assert outcome.close == (4000, "")


@pytest.mark.parametrize("exc", [HTTPException(401), WebSocketException(1008)], ids=repr)
@pytest.mark.parametrize("accept", [False, True])
async def test_a_client_that_has_gone_needs_no_answer(exc: Exception, *, accept: bool) -> None:
    outcome = await call(app_raising(exc, accept=accept), websocket_scope(), [CONNECT], sends_before_loss=int(accept))
    assert outcome.error is None


async def test_a_client_that_has_gone_does_not_hide_the_exception() -> None:
    exc = RuntimeError("Yikes")
    outcome = await call(app_raising(exc, accept=True), websocket_scope(), [CONNECT], sends_before_loss=1)
    assert outcome.error is exc


async def test_a_detail_that_is_data_is_answered_as_json() -> None:
    def endpoint(request: Request) -> None:
        raise HTTPException(422, {"room": "unknown"})  # type: ignore[arg-type]

    outcome = await call(App(routes=[Route("/", endpoint)]), http_scope())
    assert outcome.status == 422
    assert json.loads(outcome.body) == {"detail": {"room": "unknown"}}


async def test_a_header_that_would_break_out_of_its_line_is_not_sent() -> None:
    exc = HTTPException(400, headers={"x-name": "a\r\nset-cookie: session=1"})
    outcome = await opened(app_raising(exc, accept=False))
    assert isinstance(outcome.error, ValueError)
    assert outcome.sent == []


# With handlers


async def test_a_handler_is_found_by_class_and_the_classes_above() -> None:
    asked: list[Exception] = []

    async def handler(websocket: WebSocket, exc: RoomFull) -> None:
        asked.append(exc)
        await websocket.close(4001, "full")

    exc = RoomClosed()
    outcome = await opened(app_raising(exc, accept=True, exception_handlers={RoomFull: handler}))
    assert outcome.error is None
    assert outcome.close == (4001, "full")
    assert asked == [exc]


async def test_a_handler_of_the_status_comes_before_one_of_the_class() -> None:
    async def by_status(websocket: WebSocket, exc: HTTPException) -> None:
        await websocket.close(4001)

    async def by_class(websocket: WebSocket, exc: HTTPException) -> None:
        await websocket.close(4002)

    handlers = {404: by_status, HTTPException: by_class}
    for status, code in ((404, 4001), (403, 4002)):
        outcome = await opened(app_raising(HTTPException(status), accept=True, exception_handlers=handlers))
        assert outcome.close == (code, "")


async def test_a_handler_gets_the_endpoints_own_websocket() -> None:
    async def handler(websocket: WebSocket, exc: Exception) -> None:
        await websocket.send_text("goodbye")

    outcome = await opened(app_raising(RoomFull(), accept=True, exception_handlers={RoomFull: handler}))
    assert outcome.types == ["accept", "send", "close"]
    assert outcome.close == (1011, "")


async def test_a_plain_handler_runs_in_a_worker_thread() -> None:
    threads: list[threading.Thread] = []

    def handler(websocket: WebSocket, exc: Exception) -> None:
        threads.append(threading.current_thread())
        anyio.from_thread.run(websocket.close, 4003)

    outcome = await opened(app_raising(RoomFull(), accept=True, exception_handlers={RoomFull: handler}))
    assert outcome.close == (4003, "")
    assert threads != [threading.current_thread()]


async def test_a_response_of_a_handler_is_a_denial_response_before_accept() -> None:
    async def handler(conn: WebSocket, exc: Exception) -> JSONResponse:
        return JSONResponse({"room": "full"}, status_code=409)

    outcome = await opened(app_raising(RoomFull(), accept=False, exception_handlers={RoomFull: handler}))
    assert (outcome.status, outcome.body) == (409, b'{"room":"full"}')


async def test_a_response_of_a_handler_after_accept_becomes_a_close() -> None:
    async def handler(conn: WebSocket, exc: Exception) -> PlainTextResponse:
        return PlainTextResponse("no", status_code=401)

    outcome = await opened(app_raising(HTTPException(401), accept=True, exception_handlers={401: handler}))
    assert outcome.error is None
    assert outcome.close == (3000, "Unauthorized")


async def test_a_handler_that_does_nothing_before_accept_refuses() -> None:
    async def handler(websocket: WebSocket, exc: Exception) -> None:
        pass

    outcome = await opened(app_raising(RoomFull(), accept=False, exception_handlers={RoomFull: handler}))
    assert outcome.error is None
    assert outcome.sent == [{"type": "websocket.close", "code": 1011, "reason": ""}]


async def test_a_handler_may_accept_and_explain() -> None:
    async def handler(websocket: WebSocket, exc: Exception) -> None:
        await websocket.accept()
        await websocket.close(4004, "room full")

    outcome = await opened(app_raising(RoomFull(), accept=False, exception_handlers={RoomFull: handler}))
    assert outcome.error is None
    assert outcome.close == (4004, "room full")


async def test_an_exception_of_a_handler_meets_the_handlers_again() -> None:
    async def handler(websocket: WebSocket, exc: Exception) -> None:
        raise WebSocketException(4005, "full") from exc

    outcome = await opened(app_raising(RoomFull(), accept=True, exception_handlers={RoomFull: handler}))
    assert outcome.error is None
    assert outcome.close == (4005, "full")


@pytest.mark.parametrize("again", [lambda exc: exc, lambda exc: RoomFull("another")])
async def test_a_handler_is_asked_once(again: Callable[[Exception], Exception]) -> None:
    asked: list[Exception] = []

    async def handler(websocket: WebSocket, exc: Exception) -> None:
        asked.append(exc)
        raise again(exc)

    first = RoomFull("first")
    outcome = await opened(app_raising(first, accept=True, exception_handlers={RoomFull: handler}))
    assert asked == [first]
    assert isinstance(outcome.error, RoomFull)
    assert outcome.close == (1011, "")


async def test_a_handler_that_finds_the_client_gone_does_not_hide_the_exception() -> None:
    async def handler(websocket: WebSocket, exc: Exception) -> None:
        await websocket.close(4001)

    exc = RoomFull()
    app = app_raising(exc, accept=True, exception_handlers={RoomFull: handler})
    outcome = await call(app, websocket_scope(), [CONNECT], sends_before_loss=1)
    assert outcome.error is exc
    (note,) = exc.__notes__
    assert "ended with WebSocketDisconnect(code=1006, reason='')" in note


async def test_a_handled_exception_keeps_no_traceback() -> None:
    exc = WebSocketException(1008)
    await opened(app_raising(exc, accept=True))
    assert exc.__traceback__ is None


async def test_an_outer_application_handles_what_the_inner_one_does_not() -> None:
    async def handler(websocket: WebSocket, exc: Exception) -> None:
        await websocket.close(4006, "the house is full")

    inner = app_raising(RoomFull(), accept=True)
    outer = App(routes=[Mount("/rooms", inner)], exception_handlers={RoomFull: handler})
    outcome = await opened(outer, "/rooms/")
    assert outcome.error is None
    assert outcome.types == ["accept", "close"]
    assert outcome.close == (4006, "the house is full")


async def test_the_nearest_handler_is_asked_first() -> None:
    def closing(code: int) -> Callable[[WebSocket, Exception], Any]:
        async def handler(websocket: WebSocket, exc: Exception) -> None:
            await websocket.close(code)

        return handler

    inner = app_raising(RoomClosed(), accept=True, exception_handlers={RoomFull: closing(4001)})
    outer = App(routes=[Mount("/rooms", inner)], exception_handlers={RoomClosed: closing(4002)})
    assert (await opened(outer, "/rooms/")).close == (4001, "")


async def test_what_no_application_handles_passes_both_once() -> None:
    exc = RoomFull()
    outer = App(routes=[Mount("/rooms", app_raising(exc, accept=True))])
    outcome = await opened(outer, "/rooms/")
    assert outcome.error is exc
    assert outcome.close == (1011, "")


# Around the endpoint


class Guard:
    """Middleware that refuses everything."""

    def __init__(self, app: ASGIApp, exc: Exception) -> None:
        self.exc = exc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise self.exc


async def endpoint_not_reached(websocket: WebSocket) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("exc", "sent"),
    [(HTTPException(401), ["http.response.start", "http.response.body"]), (WebSocketException(4001), ["close"])],
    ids=repr,
)
async def test_what_a_middleware_raises_is_answered(exc: Exception, sent: list[str]) -> None:
    route = WebSocketRoute("/", endpoint_not_reached, middleware=[Middleware(Guard, exc)])
    outcome = await opened(App(routes=[route]))
    assert outcome.error is None
    assert outcome.types == sent


async def test_what_a_middleware_raises_unhandled_is_raised() -> None:
    exc = RoomFull()
    route = WebSocketRoute("/", endpoint_not_reached, middleware=[Middleware(Guard, exc)])
    outcome = await opened(App(routes=[route]))
    assert outcome.error is exc
    assert outcome.sent == []


async def test_what_a_mounted_plain_application_raises_is_answered() -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise WebSocketException(4007, "from afar")

    outcome = await opened(App(routes=[Mount("/", plain)]))
    assert outcome.error is None
    assert outcome.close == (4007, "from afar")


async def test_without_an_application_around_it_an_exception_is_raised() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        raise WebSocketException(4001)

    outcome = await opened(Router([WebSocketRoute("/", endpoint)]))
    assert isinstance(outcome.error, WebSocketException)
    assert outcome.close == (4001, "")


async def test_send_is_the_servers_own() -> None:
    seen: list[object] = []

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((receive, send))

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        raise AssertionError

    await App(routes=[Mount("/", plain)])(websocket_scope(), receive, send)
    assert seen == [receive, send]


async def test_other_scopes_pass_through() -> None:
    seen: list[str] = []

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await call(ExceptionMiddleware(plain), {"type": "lifespan"})
    assert seen == ["lifespan"]


# HTTP


async def test_an_http_handler_that_raises_the_same_again_is_asked_once() -> None:
    asked: list[Exception] = []

    def handler(request: Request, exc: Exception) -> None:
        asked.append(exc)
        raise exc

    def endpoint(request: Request) -> None:
        raise RoomFull

    outcome = await call(App(routes=[Route("/", endpoint)], exception_handlers={RoomFull: handler}), http_scope())
    assert isinstance(outcome.error, RoomFull)
    assert len(asked) == 1
    assert (outcome.status, outcome.body) == (500, b"Internal Server Error")


async def test_an_http_handler_may_raise_another_handled_exception() -> None:
    async def handler(request: Request, exc: Exception) -> None:
        raise HTTPException(409, "room full")

    def endpoint(request: Request) -> None:
        raise RoomFull

    outcome = await call(App(routes=[Route("/", endpoint)], exception_handlers={RoomFull: handler}), http_scope())
    assert (outcome.status, outcome.body) == (409, b"room full")


async def test_an_http_handler_must_return_a_response() -> None:
    async def handler(request: Request, exc: Exception) -> None:
        pass

    def endpoint(request: Request) -> None:
        raise RoomFull

    outcome = await call(App(routes=[Route("/", endpoint)], exception_handlers={RoomFull: handler}), http_scope())
    assert "a response was expected from the exception handler" in str(outcome.error)
    assert outcome.status == 500


async def test_an_exception_after_the_response_began_is_reported() -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("ok")(scope, receive, send)
        raise HTTPException(406)

    outcome = await call(App(routes=[Mount("/", plain)]), http_scope())
    assert str(outcome.error) == "Caught handled exception, but response already started."
    assert isinstance(outcome.error.__cause__ if outcome.error else None, HTTPException)
    assert outcome.status == 200


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_has_none(status: int) -> None:
    def endpoint(request: Request) -> None:
        raise HTTPException(status)

    outcome = await call(App(routes=[Route("/", endpoint)]), http_scope())
    assert (outcome.status, outcome.body) == (status, b"")


# Registration


@pytest.mark.parametrize("key", ["404", None, BaseException, KeyboardInterrupt, ValueError("an instance"), True])
async def test_a_handler_is_registered_for_a_class_or_a_status(key: Any) -> None:
    with pytest.raises(TypeError, match="a class of exceptions"):
        App(exception_handlers={key: lambda conn, exc: None})
    with pytest.raises(TypeError, match="a class of exceptions"):
        ExceptionMiddleware(App(), {key: lambda conn, exc: None})
    with pytest.raises(TypeError, match="a class of exceptions"):
        App().add_exception_handler(key, lambda conn, exc: None)


async def test_a_handler_can_be_called() -> None:
    with pytest.raises(TypeError, match="a function of the connection and the exception"):
        App(exception_handlers={404: "not_found.html"})  # type: ignore[dict-item]


async def test_an_endpoint_works_where_no_middleware_has_been() -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(404)

    scope = http_scope()
    outcome = await call(lambda *channels: serve_request(plain, None, *channels), scope)
    assert isinstance(outcome.error, HTTPException)
    assert outcome.sent == []


# Beside the reference: the same endpoints, and the messages must be equal.


class Theirs:
    HTTPException = starlette.exceptions.HTTPException
    WebSocketException = starlette.exceptions.WebSocketException
    JSONResponse = starlette.responses.JSONResponse
    App = starlette.applications.Starlette
    WebSocketRoute = starlette.routing.WebSocketRoute


class Ours:
    HTTPException = HTTPException
    WebSocketException = WebSocketException
    JSONResponse = JSONResponse
    App = App
    WebSocketRoute = WebSocketRoute


# What their application sends that is not allowed, or does not send at all, is where ours differs by design.
ACCEPTED_RAISES = ["websocket", "closing", "nothing"]
REFUSED_RAISES = [*ACCEPTED_RAISES, "http", "denying", "unhandled"]


def scenario(framework: Any, accept: bool, raises: str, status: int, code: int, text: str) -> Any:
    async def closing(websocket: Any, exc: Exception) -> None:
        await websocket.close(code, text)

    async def denying(websocket: Any, exc: Exception) -> Any:
        return framework.JSONResponse({"detail": text}, status_code=status)

    async def endpoint(websocket: Any) -> None:
        if accept:
            await websocket.accept()
        if raises == "nothing":
            await websocket.close(code, text)
            return
        raise {
            "http": framework.HTTPException(status, text, headers={"x-room": "1"}),
            "websocket": framework.WebSocketException(code, text),
            "closing": RoomFull(),
            "denying": ConnectionAbortedError(text),
            "unhandled": ZeroDivisionError(text),
        }[raises]

    handlers = {RoomFull: closing, ConnectionAbortedError: denying}
    return framework.App(routes=[framework.WebSocketRoute("/", endpoint)], exception_handlers=handlers)


SCENARIOS = st.one_of(
    st.tuples(st.just(True), st.sampled_from(ACCEPTED_RAISES)),
    st.tuples(st.just(False), st.sampled_from(REFUSED_RAISES)),
)


@given(
    how=SCENARIOS,
    status=st.sampled_from([400, 401, 403, 404, 418, 500, 503]),
    code=st.sampled_from([1000, 1001, 1008, 1011, 3000, 4999]),
    text=st.text(max_size=20),
)
def test_conversations_are_those_of_the_reference(how: tuple[bool, str], status: int, code: int, text: str) -> None:
    async def both() -> tuple[Outcome, Outcome]:
        ours = await opened(scenario(Ours, *how, status, code, text))
        return ours, await opened(scenario(Theirs, *how, status, code, text))

    ours, theirs = anyio.run(both)
    assert ours.sent == theirs.sent
    assert type(ours.error) is type(theirs.error)
    assert str(ours.error) == str(theirs.error)
