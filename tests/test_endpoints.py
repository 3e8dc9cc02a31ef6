"""Endpoints: functions and classes, what is refused when a route is made, and how a WebSocket ends with each."""

from __future__ import annotations

import functools
import json
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.asgi_call import binary, disconnect, http, run, text, websocket
from trunkline.dependencies import DependencyError
from trunkline.endpoints import EndpointError, HTTPEndpoint, WebSocketEndpoint
from trunkline.exceptions import HTTPException, WebSocketException
from trunkline.middleware.exceptions import ExceptionMiddleware
from trunkline.responses import PlainTextResponse, Response
from trunkline.routing import Route, Router, WebSocketRoute
from trunkline.states import WebSocketDisconnect
from trunkline.websockets import WebSocket  # noqa: TC001 - read by routes from annotations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from trunkline.requests import Request
    from trunkline.types import Message, Receive, Scope, Send

ACCEPT: Message = {"type": "websocket.accept", "subprotocol": None, "headers": []}


def close(code: int, reason: str = "") -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason}


def sent_text(data: str) -> Message:
    return {"type": "websocket.send", "text": data}


async def accepting(ws: WebSocket) -> None:
    await ws.accept()


# What a route refuses when it is made


def plain(ws: WebSocket) -> None: ...
async def nothing() -> None: ...
async def two(ws: WebSocket, room: str) -> None: ...
async def unnamed(ws, room: str) -> None: ...  # type: ignore[no-untyped-def]
async def unresolvable(ws: WebSocket, room: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def keyword(ws: WebSocket, *, room: str) -> None: ...
async def only_keyword(*, ws: WebSocket) -> None: ...
async def generator(ws: WebSocket) -> AsyncIterator[None]:
    yield


def plain_generator(ws: WebSocket) -> Iterator[None]:
    yield


async def application(scope: Scope, receive: Receive, send: Send) -> None: ...


class Methods:
    async def handle(self, ws: WebSocket) -> None: ...


class Page(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse(f"page of {request.method}")

    def put(self, request: Request) -> Response:
        return PlainTextResponse(f"main thread: {threading.current_thread() is threading.main_thread()}")


class Talk(WebSocketEndpoint):
    pass


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (nothing, "neither nothing ("),
        (unnamed, "several parameters, so each is known by its annotation, but 'ws' has none; write `ws: WebSocket`"),
        (unresolvable, "the annotation 'Nowhere', which cannot be resolved (name 'Nowhere' is not defined)"),
        (generator, "is a generator"),
        (plain_generator, "is a generator"),
        (application, "goes into a Mount"),
        (Methods.handle, "give the method of an object"),
        (functools.partial(unnamed), "several parameters"),
        ("endpoint", "got 'endpoint'; write `async def endpoint"),
        (None, "got None"),
        (Page, "use it with Route, not with WebSocketRoute"),
    ],
)
def test_a_wrong_websocket_endpoint_is_refused_in_words(endpoint: Any, words: str) -> None:
    with pytest.raises((EndpointError, DependencyError)) as caught:
        WebSocketRoute("/", endpoint)
    assert words in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (lambda request, room: None, "'request' has none; write `request: Request`"),
        (generator, "is a generator"),
        (plain_generator, "is a generator"),
        (application, "goes into a Mount"),
        (7, "got 7; write `def endpoint(request)`"),
        (Talk, "use it with WebSocketRoute, not with Route"),
    ],
)
def test_a_wrong_http_endpoint_is_refused_in_words(endpoint: Any, words: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Route("/", endpoint)
    assert words in str(caught.value)


def test_a_refusal_names_the_function_and_its_place() -> None:
    with pytest.raises(EndpointError, match=rf"unnamed \(.*test_endpoints\.py:{unnamed.__code__.co_firstlineno}\)"):
        WebSocketRoute("/", unnamed)


@pytest.mark.parametrize("endpoint", [plain, functools.partial(plain), lambda ws: None])
def test_a_websocket_endpoint_that_is_not_async_is_told_of_at_start_up_and_when_called(
    endpoint: Any, caplog: pytest.LogCaptureFixture
) -> None:
    route = WebSocketRoute("/", endpoint)
    assert "write `async def`" in caplog.text
    with pytest.raises(EndpointError, match="write `async def`"):
        websocket(route, "/")


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def injecting(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(ws: WebSocket) -> None:
        await function(ws, "blue")

    return wrapper


class Caller:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


async def optional(ws: WebSocket, room: str = "blue") -> None: ...
async def starred(*args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    "endpoint",
    [
        accepting,
        optional,
        two,
        keyword,
        only_keyword,
        starred,
        wrapped(accepting),
        injecting(two),
        Methods().handle,
        functools.partial(two, room="blue"),
        functools.partial(functools.partial(two), room="blue"),
        Caller(),
        Talk,
    ],
)
def test_a_right_websocket_endpoint_is_taken(endpoint: Any) -> None:
    assert WebSocketRoute("/", endpoint).endpoint is endpoint


# Functions


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_plain_function_answers_from_a_worker_thread_and_an_async_one_from_the_loop(backend: str) -> None:
    threads: dict[str, threading.Thread] = {}

    def blocking(request: Request) -> Response:
        threads["def"] = threading.current_thread()
        return PlainTextResponse(request.path_params["name"])

    async def flowing(request: Request) -> Response:
        threads["async"] = threading.current_thread()
        return PlainTextResponse("flowing")

    router = Router([Route("/a/{name}", blocking), Route("/b", flowing)])
    for path in ("/a/x", "/b"):
        scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        assert run(router, scope, backend=backend)[0]["status"] == 200
    assert threads["def"] is not threading.main_thread()
    assert threads["async"] is threading.main_thread()


@pytest.mark.parametrize("returned", [None, {"a": 1}, "text", ["ü"]])
def test_what_is_no_response_is_sent_as_json(returned: object) -> None:
    async def endpoint(request: Request) -> Any:
        return returned

    answer = http(Router([Route("/", endpoint)]), "/")
    assert json.loads(answer.body) == returned
    assert answer.headers["content-type"] == "application/json"


def test_an_endpoint_that_returns_what_json_cannot_hold_is_told_what_to_return() -> None:
    async def endpoint(request: Request) -> Any:
        return object()

    with pytest.raises(TypeError, match=r"endpoint \(.*\) returned .*; return for example JSONResponse"):
        http(Router([Route("/", endpoint)]), "/")


def test_a_plain_asgi_endpoint_gets_the_very_channels_of_the_server() -> None:
    given: list[Any] = []

    class Endpoint:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            given.extend((receive, send))

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    for route in (Route("/", Endpoint()), WebSocketRoute("/", Endpoint())):
        given.clear()
        scope: Scope = {"type": route.protocol, "method": "GET", "path": "/", "headers": []}
        anyio.run(Router([route]), scope, receive, send)
        assert given == [receive, send]


def test_a_websocket_endpoint_gets_the_very_channels_of_the_server() -> None:
    given: list[Any] = []

    async def endpoint(ws: WebSocket) -> None:
        given.extend((ws._receive, ws._send))

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    scope: Scope = {"type": "websocket", "path": "/", "headers": []}
    anyio.run(ExceptionMiddleware(Router([WebSocketRoute("/", endpoint)])), scope, receive, send)
    assert given == [receive, send]


# How a connection ends: the rules for every kind of endpoint


class Ending(WebSocketEndpoint):
    """Runs a function at the first message."""

    function: Any

    async def on_receive(self, ws: WebSocket, data: Any) -> None:
        await type(self).function(ws)


def as_function(function: Callable[[WebSocket], Any]) -> Any:
    async def endpoint(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive_text()
        await function(ws)

    return endpoint


def as_class(function: Callable[[WebSocket], Any]) -> Any:
    return type("Endpoint", (Ending,), {"function": staticmethod(function)})


def failing(error: BaseException) -> Callable[[WebSocket], Any]:
    async def fail(ws: WebSocket) -> None:
        raise error

    return fail


kinds = pytest.mark.parametrize("kind", [as_function, as_class])


@kinds
@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (ZeroDivisionError("the secret"), close(1011)),
        (WebSocketException(4001, "bye"), close(4001, "bye")),
        (HTTPException(401, "who"), close(3000, "who")),
        (HTTPException(500, "what"), close(1011, "what")),
    ],
)
def test_an_exception_after_accept_closes_with_its_code_and_is_raised_on(
    kind: Any, error: Exception, ending: Message
) -> None:
    app = Router([WebSocketRoute("/", kind(failing(error)))])
    sent: list[Message] = []
    with pytest.raises(type(error)) as caught:
        run_collecting(app, sent, text("go"))
    assert caught.value is error
    assert sent == [ACCEPT, ending]


def run_collecting(app: Any, sent: list[Message], *incoming: Message) -> None:
    async def collecting(scope: Any, receive: Any, send: Any) -> None:
        async def keep(message: Message) -> None:
            sent.append(message)

        await app(scope, receive, keep)

    websocket(collecting, "/", *incoming)


@kinds
def test_a_disconnect_that_leaves_an_endpoint_sends_nothing_and_propagates(kind: Any) -> None:
    async def waiting(ws: WebSocket) -> None:
        await ws.receive_text()

    sent: list[Message] = []
    with pytest.raises(WebSocketDisconnect) as caught:
        run_collecting(Router([WebSocketRoute("/", kind(waiting))]), sent, text("go"), disconnect(1001))
    assert caught.value.code == 1001
    assert sent == [ACCEPT]


@kinds
def test_a_connection_closed_by_the_endpoint_is_not_closed_again(kind: Any) -> None:
    async def closing(ws: WebSocket) -> None:
        await ws.close(4000)
        raise ZeroDivisionError

    sent: list[Message] = []
    with pytest.raises(ZeroDivisionError):
        run_collecting(Router([WebSocketRoute("/", kind(closing))]), sent, text("go"))
    assert sent == [ACCEPT, close(4000)]


def test_an_endpoint_that_returns_without_closing_closes_with_1000() -> None:
    assert websocket(Router([WebSocketRoute("/", accepting)]), "/") == [ACCEPT, close(1000)]


def test_an_exception_before_accept_is_raised_on_with_nothing_sent() -> None:
    sent: list[Message] = []
    with pytest.raises(ZeroDivisionError):
        run_collecting(Router([WebSocketRoute("/", failing(ZeroDivisionError()))]), sent)
    assert sent == []


@kinds
def test_a_handler_of_the_application_gets_the_endpoints_own_websocket(kind: Any) -> None:
    async def handler(ws: WebSocket, error: Exception) -> None:
        await ws.send_text(f"handled {type(error).__name__}")
        await ws.close(4002)

    app = ExceptionMiddleware(
        Router([WebSocketRoute("/", kind(failing(ZeroDivisionError())))]), {ZeroDivisionError: handler}
    )
    assert websocket(app, "/", text("go")) == [ACCEPT, sent_text("handled ZeroDivisionError"), close(4002)]


@pytest.mark.anyio
async def test_a_cancelled_endpoint_says_goodbye_and_stays_cancelled() -> None:
    sent: list[Message] = []
    messages: list[Message] = [{"type": "websocket.connect"}]
    waiting = anyio.Event()

    async def receive() -> Message:
        if messages:
            return messages.pop()
        waiting.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            scope: Scope = {"type": "websocket", "path": "/", "headers": []}
            group.start_soon(Router([WebSocketRoute("/", Talk)]), scope, receive, send)
            await waiting.wait()
            group.cancel_scope.cancel()
    assert sent == [ACCEPT, close(1011)]


# HTTPEndpoint


def test_each_http_method_has_its_handler() -> None:
    router = Router([Route("/", Page)])
    assert http(router, "/").text == "page of GET"
    assert http(router, "/", "PUT").text == "main thread: False"
    assert http(router, "/", "HEAD").status == 200


def test_a_head_handler_comes_before_get() -> None:
    class Both(HTTPEndpoint):
        async def head(self, request: Request) -> Response:
            return Response(status_code=204)

        async def get(self, request: Request) -> Response:
            raise AssertionError

    assert http(Router([Route("/", Both)]), "/", "HEAD").status == 204


@pytest.mark.parametrize("method", ["POST", "DELETE", "DISPATCH", "_HANDLER", "get", "METHOD_NOT_ALLOWED"])
def test_a_method_without_handler_is_answered_with_405_and_what_is_allowed(method: str) -> None:
    answer = http(Router([Route("/", Page)]), "/", method)
    assert (answer.status, answer.text) == (405, "Method Not Allowed")
    assert answer.headers["allow"] == "GET, HEAD, PUT"


def test_405_is_raised_inside_an_application_so_that_its_handlers_answer() -> None:
    async def handler(request: Request, error: HTTPException) -> Response:
        return PlainTextResponse(f"ours: {error.status_code}", 405, headers=error.headers)

    app = ExceptionMiddleware(Router([Route("/", Page)]), {405: handler})
    answer = http(app, "/", "POST", app=app)
    assert answer.text == "ours: 405"
    assert answer.headers["allow"] == "GET, HEAD, PUT"


# WebSocketEndpoint


class Recorder(WebSocketEndpoint):
    log: list[Any]

    async def on_receive(self, ws: WebSocket, data: Any) -> None:
        self.log.append(data)

    async def on_disconnect(self, ws: WebSocket, close_code: int) -> None:
        self.log.append(("closed", close_code))


def recorder(encoding: str | None = None) -> tuple[Any, list[Any]]:
    log: list[Any] = []
    return type("Endpoint", (Recorder,), {"encoding": encoding, "log": log}), log


@pytest.mark.parametrize(
    ("encoding", "messages", "data"),
    [
        (None, [text("a"), binary(b"b"), text("")], ["a", b"b", ""]),
        (None, [{**text("a"), "bytes": None}, {**binary(b""), "text": None}], ["a", b""]),
        ("text", [text("a"), {**text(""), "bytes": None}], ["a", ""]),
        ("bytes", [binary(b"b"), {**binary(b""), "text": None}], [b"b", b""]),
        ("json", [text('{"a": 1}'), binary(b"[2]"), text('"\u00fc"')], [{"a": 1}, [2], "\u00fc"]),
    ],
)
def test_messages_come_as_the_encoding_says(encoding: str | None, messages: list[Message], data: list[Any]) -> None:
    endpoint, log = recorder(encoding)
    assert websocket(Router([WebSocketRoute("/", endpoint)]), "/", *messages, disconnect(1001)) == [ACCEPT]
    assert log == [*data, ("closed", 1001)]


@pytest.mark.parametrize(
    ("encoding", "message", "error"),
    [
        ("text", binary(b"b"), "Expected text websocket messages, but got bytes"),
        ("text", {**binary(b"b"), "text": None}, "Expected text websocket messages, but got bytes"),
        ("bytes", text("a"), "Expected bytes websocket messages, but got text"),
        ("bytes", {**text("a"), "bytes": None}, "Expected bytes websocket messages, but got text"),
        ("json", text("{"), "Malformed JSON data received."),
        ("json", binary(b"\xff"), "Malformed JSON data received."),
        ("json", text("[" * 100_000), "Malformed JSON data received."),
        ("json", text("9" * 10_000), "Malformed JSON data received."),
        ("json", {"type": "websocket.receive"}, "Expected json websocket messages, but got neither"),
        (
            None,
            {"type": "websocket.receive", "text": None},
            "Expected text or bytes websocket messages, but got neither",
        ),
    ],
)
def test_another_message_closes_with_1003_and_raises(encoding: str | None, message: Message, error: str) -> None:
    endpoint, log = recorder(encoding)
    sent: list[Message] = []
    with pytest.raises(RuntimeError) as caught:
        run_collecting(Router([WebSocketRoute("/", endpoint)]), sent, message)
    assert str(caught.value) == error
    assert sent == [ACCEPT, close(1003)]
    assert log == [("closed", 1011)]


@pytest.mark.parametrize(("code", "seen"), [(1001, 1001), (None, 1000), (4999, 4999)])
def test_on_disconnect_gets_the_clients_code(code: int | None, seen: int) -> None:
    endpoint, log = recorder()
    websocket(endpoint, "/", {"type": "websocket.disconnect", "code": code})
    assert log == [("closed", seen)]


def test_on_disconnect_gets_the_code_of_a_disconnect_that_on_receive_met() -> None:
    endpoint, log = recorder()

    async def on_receive(self: Any, ws: WebSocket, data: Any) -> None:
        await ws.receive_text()

    endpoint.on_receive = on_receive
    with pytest.raises(WebSocketDisconnect):
        websocket(endpoint, "/", text("go"), disconnect(1001))
    assert log == [("closed", 1001)]


def test_on_disconnect_is_called_after_a_failure_and_may_still_speak() -> None:
    class Speaking(WebSocketEndpoint):
        async def on_receive(self, ws: WebSocket, data: Any) -> None:
            raise ZeroDivisionError

        async def on_disconnect(self, ws: WebSocket, close_code: int) -> None:
            await ws.send_text(f"sorry: {close_code}")

    sent: list[Message] = []
    with pytest.raises(ZeroDivisionError):
        run_collecting(Speaking, sent, text("go"))
    assert sent == [ACCEPT, sent_text("sorry: 1011"), close(1011)]


def test_a_connection_refused_by_on_connect_is_over() -> None:
    class Refusing(WebSocketEndpoint):
        async def on_connect(self, ws: WebSocket) -> None:
            raise WebSocketException(1008, "no")

        async def on_disconnect(self, ws: WebSocket, close_code: int) -> None:
            raise AssertionError("there was no connection")

    app = ExceptionMiddleware(Router([WebSocketRoute("/", Refusing)]))
    assert websocket(app, "/") == [close(1008, "no")]


def test_an_unknown_encoding_is_refused_with_the_class() -> None:
    with pytest.raises(EndpointError, match=r"the encoding of Odd must be .*, but is 'xml'"):

        class Odd(WebSocketEndpoint):
            encoding = "xml"  # type: ignore[assignment]


@pytest.mark.parametrize(("endpoint", "type_"), [(Page, "websocket"), (Talk, "http")])
def test_a_class_on_the_wrong_kind_of_scope_says_so(endpoint: Any, type_: str) -> None:
    with pytest.raises(AssertionError, match=f"but got '{type_}'"):
        run(endpoint, {"type": type_, "method": "GET", "path": "/", "headers": []})
