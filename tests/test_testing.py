"""The asynchronous test client: what the test sees, what the application sees, and that nothing hides or hangs."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from fastapi import FastAPI, WebSocket as FastAPIWebSocket, WebSocketException as FastAPIWebSocketException
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute as StarletteRoute
from starlette.websockets import WebSocket as StarletteWebSocket

from tests.lifespan_script import DOWN, FAILURES, UP, Broken, failure_id, lifespan_app
from trunkline import WebSocket, WebSocketDisconnect
from trunkline._testscope import handshake_scope
from trunkline.testing import Peer, WebSocketDenied, connect, lifespan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trunkline.types import ASGIApp, Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

ACCEPT: dict[str, Any] = {"type": "websocket.accept"}
NEVER = 60.0
SOON = 0.05


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
async def _no_task_is_left(anyio_backend: str) -> AsyncIterator[None]:
    yield
    assert [task for task in asyncio.all_tasks() if "application" in task.get_name()] == []


def endpoint(function: Callable[[WebSocket[Any]], Awaitable[None]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await function(WebSocket(scope, receive, send))

    return app


@endpoint
async def echo(websocket: WebSocket[Any]) -> None:
    await websocket.accept()
    async for message in websocket:
        await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))


def sends(*messages: dict[str, Any]) -> ASGIApp:
    """An application that sends these messages, and then waits for the disconnect."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return app


async def test_text_binary_and_json_go_both_ways() -> None:
    async with connect(echo, "/") as ws:
        await ws.send_text("é")
        assert await ws.receive_text() == "é"
        await ws.send_bytes(b"\xff")
        assert await ws.receive_bytes() == b"\xff"
        await ws.send_json({"é": [1]})
        assert await ws.receive_text() == '{"é":[1]}'
        await ws.send_json({"é": [1]}, mode="binary")
        assert await ws.receive_json(mode="binary") == {"é": [1]}
        await ws.send_json(None)
        assert await ws.receive_json() is None


async def test_receive_gives_text_as_str_and_binary_as_bytes_also_when_empty() -> None:
    async with connect(echo, "/") as ws:
        await ws.send_text("")
        await ws.send_bytes(b"")
        assert [await ws.receive(), await ws.receive()] == ["", b""]


async def test_a_message_of_the_other_kind_is_named_with_what_to_call_instead() -> None:
    async with connect(echo, "/") as ws:
        await ws.send_bytes(b"\x00")
        with pytest.raises(KeyError) as wrong:
            await ws.receive_text()
        assert str(wrong.value).startswith(
            r"expected a text message, but the application sent b'\x00'; use receive_bytes()"
        )
        await ws.send_text("t")
        with pytest.raises(KeyError) as wrong:
            await ws.receive_bytes()
        assert str(wrong.value).startswith(
            "expected a binary message, but the application sent 't'; use receive_text()"
        )


async def test_iteration_ends_quietly_with_the_connection() -> None:
    @endpoint
    async def counts(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        for number in range(3):
            await websocket.send_json(number)
        await websocket.close(4000, "enough")

    async with connect(counts, "/") as ws:
        assert [message async for message in ws] == ["0", "1", "2"]
        assert (ws.close_code, ws.close_reason) == (4000, "enough")


async def test_a_close_by_the_application_comes_after_what_it_sent_before_and_for_every_call() -> None:
    async with connect(
        sends(
            ACCEPT,
            {"type": "websocket.send", "text": "last"},
            {"type": "websocket.close", "code": 1008, "reason": "no"},
        ),
        "/",
    ) as ws:
        assert await ws.receive_text() == "last"
        for call in (ws.receive, ws.receive_text, ws.receive_json, lambda: ws.send_text("late")):
            with pytest.raises(WebSocketDisconnect) as end:
                await cast("Any", call)()
            assert (end.value.code, end.value.reason) == (1008, "no")


@pytest.mark.parametrize(
    ("leave", "told"),
    [
        (lambda ws: ws.close(), (1000, "")),
        (lambda ws: ws.close(4321, "bye"), (4321, "bye")),
        (lambda ws: ws.close(1005), (1005, "")),
        (lambda ws: asyncio.sleep(0, ws.drop()), (1006, "")),
        (lambda ws: asyncio.sleep(0), (1000, "")),
    ],
    ids=["close", "close with code", "close without a code", "drop", "leave"],
)
async def test_the_application_receives_what_came_before_the_end_and_then_the_end_again_and_again(
    leave: Callable[[Peer], Awaitable[None]], told: tuple[int, str]
) -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        seen.extend([await receive() for _ in range(4)])

    async with connect(app, "/") as ws:
        await ws.send_text("unread")
        await leave(ws)
    end = {"type": "websocket.disconnect", "code": told[0], "reason": told[1]}
    assert seen == [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "unread"}, end, end]
    assert (ws.close_code, ws.close_reason) == told


async def test_after_drop_the_sends_of_the_application_raise_oserror() -> None:
    errors: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        for message in ({"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}):
            try:
                await send(message)
            except OSError as error:
                errors.append(error)

    async with connect(app, "/") as ws:
        ws.drop()
        with pytest.raises(WebSocketDisconnect) as end:
            await ws.receive()
        assert end.value.code == 1006
    assert [str(error) for error in errors] == [
        f"cannot send websocket.{kind}: the connection has ended with 1006" for kind in ("send", "close")
    ]


async def test_while_the_peer_is_stalled_the_next_send_waits_until_it_resumes() -> None:
    progress: list[str] = []

    @endpoint
    async def app(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        await websocket.receive_text()
        progress.append("sending")
        await websocket.send_text("1")
        progress.append("sent")

    async with connect(app, "/", timeout=NEVER) as ws:
        ws.stall()
        await ws.send_text("go")
        await ws.wait_blocked()
        assert progress == ["sending"]
        ws.resume()
        assert await ws.receive_text() == "1"
    assert progress == ["sending", "sent"]


@pytest.mark.parametrize("end", [lambda ws: ws.drop(), lambda ws: None], ids=["drop", "leave"])
async def test_a_send_that_waits_for_a_stalled_peer_fails_when_the_peer_goes(end: Callable[[Peer], None]) -> None:
    failures: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        await receive()
        try:
            await send({"type": "websocket.send", "text": "never"})
        except OSError as error:
            failures.append(str(error))

    async with connect(app, "/", timeout=NEVER) as ws:
        ws.stall()
        await ws.send_text("go")
        await ws.wait_blocked()
        end(ws)
    assert len(failures) == 1
    with pytest.raises(WebSocketDisconnect):
        await ws.receive()


async def test_a_cancelled_send_to_a_stalled_peer_never_arrives() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        blocked = asyncio.ensure_future(send({"type": "websocket.send", "text": "cancelled"}))
        for _ in range(2):
            await receive()
        blocked.cancel()
        await asyncio.wait({blocked})
        cancelled.set()
        await send({"type": "websocket.send", "text": "after"})
        await receive()

    async with connect(app, "/") as ws:
        ws.stall()
        await ws.wait_blocked()
        await ws.send_text("cancel it")
        await cancelled.wait()
        ws.resume()
        assert await ws.receive_text() == "after"


async def test_wait_blocked_tells_the_end_of_the_connection() -> None:
    async with connect(sends(ACCEPT, {"type": "websocket.close", "code": 4001}), "/") as ws:
        with pytest.raises(WebSocketDisconnect, match="4001"):
            await ws.wait_blocked()


async def test_an_application_that_sends_without_end_waits_when_the_test_does_not_read() -> None:
    @endpoint
    async def floods(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("x")

    async with connect(floods, "/", timeout=NEVER) as ws:
        await ws.wait_blocked()
        for _ in range(2000):
            await ws.receive_text()


async def test_a_test_that_sends_without_end_is_told_that_nobody_reads() -> None:
    @endpoint
    async def deaf(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"no room for another message .* it is waiting at .*deaf \(test_testing.py"):
        async with connect(deaf, "/", timeout=SOON) as ws:
            for _ in range(2000):
                await ws.send_text("x")


async def test_a_wait_that_takes_too_long_says_what_for_and_what_the_application_does() -> None:
    @endpoint
    async def thinks(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        async for _ in websocket:
            await websocket.send_text("answer")

    async with connect(thinks, "/", timeout=SOON) as ws:
        with pytest.raises(TimeoutError) as late:
            await ws.receive_text()
        assert str(late.value) == "no text message from the application within 0.05 s; it is waiting in receive"
        ws.stall()
        await ws.send_text("question")
        await ws.wait_blocked()
        with pytest.raises(TimeoutError, match="it is waiting in send, because the peer is stalled"):
            await ws.receive()


async def test_a_handshake_without_answer_is_told_after_the_timeout_with_the_place() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as late:
        async with connect(app, "/", timeout=SOON):
            pytest.fail("never open")
    assert "no answer to the handshake" in str(late.value)
    assert "app (test_testing.py" in str(late.value)
    assert "it was cancelled" in late.value.__notes__[0]


async def test_a_close_before_accept_is_a_refusal_with_its_code() -> None:
    with pytest.raises(WebSocketDenied) as denied:
        async with connect(sends({"type": "websocket.close", "code": 3000, "reason": "who?"}), "/"):
            pytest.fail("never open")
    refusal = denied.value
    assert (refusal.status, refusal.code, refusal.reason, refusal.body) == (403, 3000, "who?", b"")
    assert isinstance(refusal, WebSocketDisconnect)
    assert "HTTP status 403" in str(refusal)
    assert "3000" in str(refusal)


async def test_a_denial_response_is_a_refusal_with_its_status_headers_and_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await StarletteWebSocket(scope, receive, send).send_denial_response(
            PlainTextResponse("wait", 429, {"retry-after": "9"})
        )

    with pytest.raises(WebSocketDenied) as denied:
        async with connect(app, "/"):
            pytest.fail("never open")
    assert (denied.value.status, denied.value.body, denied.value.code) == (429, b"wait", 1006)
    assert denied.value.headers["Retry-After"] == "9"


async def test_a_refused_application_receives_a_disconnect() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})
        await send({"type": "websocket.http.response.body"})
        seen.append(await receive())

    with pytest.raises(WebSocketDenied) as denied:
        async with connect(app, "/"):
            pytest.fail("never open")
    assert denied.value.body == b"a"
    assert seen == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_an_application_that_returns_without_an_answer_is_named() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    with pytest.raises(RuntimeError, match="without an answer to the handshake"):
        async with connect(app, "/"):
            pytest.fail("never open")


async def test_an_application_that_returns_after_accept_looks_lost_to_the_client() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)

    async with connect(app, "/") as ws:
        with pytest.raises(WebSocketDisconnect) as end:
            await ws.receive()
        assert end.value.code == ws.close_code == 1006


async def test_an_exception_before_accept_is_raised_by_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Broken

    with pytest.raises(Broken):
        async with connect(app, "/"):
            pytest.fail("never open")


@endpoint
async def _breaks(websocket: WebSocket[Any]) -> None:
    await websocket.accept()
    await websocket.receive_text()
    try:
        raise LookupError("inner")
    except LookupError:
        raise Broken  # noqa: B904 - the context is what the test looks at


async def test_an_exception_is_the_cause_of_what_the_test_sees_and_surfaces_at_the_end() -> None:
    with pytest.raises(Broken) as broken:
        async with connect(_breaks, "/") as ws:
            await ws.send_text("go")
            with pytest.raises(WebSocketDisconnect) as end:
                await ws.receive_text()
            assert isinstance(end.value.__cause__, Broken)
            await ws.receive_text()
    assert isinstance(broken.value.__context__, LookupError)


async def test_an_exception_surfaces_also_when_the_test_never_looked() -> None:
    with pytest.raises(Broken):
        async with connect(_breaks, "/") as ws:
            await ws.send_text("go")


async def test_a_failed_assertion_keeps_its_place_with_the_exception_as_its_cause() -> None:
    with pytest.raises(ZeroDivisionError) as failed:
        async with connect(_breaks, "/") as ws:
            await ws.send_text("go")
            _ = 1 // 0
    assert isinstance(failed.value.__cause__, Broken)


async def test_an_exception_after_the_applications_own_close_surfaces_too() -> None:
    @endpoint
    async def app(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        await websocket.close(1011)
        raise Broken

    with pytest.raises(Broken):
        async with connect(app, "/") as ws:
            await ws.receive()


async def test_a_disconnect_that_leaves_the_application_is_a_normal_end() -> None:
    async def ours(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        await websocket.receive_text()

    async def theirs(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = StarletteWebSocket(scope, receive, send)
        await websocket.accept()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(websocket.receive_text())

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        await receive()
        await send({"type": "websocket.send", "text": "late"})

    for app in (ours, theirs, plain):
        async with connect(app, "/") as ws:
            ws.drop()


async def test_a_disconnect_raised_while_the_client_is_there_surfaces() -> None:
    @endpoint
    async def app(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        raise WebSocketDisconnect(1001, "made up")

    with pytest.raises(WebSocketDisconnect, match="made up"):
        async with connect(app, "/") as ws:
            await ws.receive()


async def test_an_application_that_does_not_end_is_cancelled_and_named() -> None:
    cancelled = asyncio.Event()

    @endpoint
    async def stays(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError) as overdue:
        async with connect(stays, "/", timeout=SOON):
            pass
    assert cancelled.is_set()
    assert "did not end within 0.05 s" in str(overdue.value)
    assert "stays (test_testing.py" in str(overdue.value)


async def test_an_application_that_fails_when_cancelled_surfaces_with_a_note() -> None:
    @endpoint
    async def stays(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Broken from None

    with pytest.raises(Broken) as broken:
        async with connect(stays, "/", timeout=SOON):
            pass
    assert "it was cancelled" in broken.value.__notes__[0]


async def test_an_application_that_swallows_even_cancellation_is_named() -> None:
    release = asyncio.Event()

    @endpoint
    async def stubborn(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass

    with pytest.raises(TimeoutError, match="but it goes on"):
        async with connect(stubborn, "/", timeout=SOON) as ws:
            pass
    release.set()
    await asyncio.wait({ws._task})


async def test_cancelling_the_test_cancels_the_application_at_once() -> None:
    opened = asyncio.Event()

    @endpoint
    async def stays(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        await asyncio.Event().wait()

    async def test() -> None:
        async with connect(stays, "/", timeout=NEVER):
            opened.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(test())
    await opened.wait()
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()


BAD_ORDER = {
    "send before accept": [{"type": "websocket.send", "text": "x"}],
    "body before start": [{"type": "websocket.http.response.body"}],
    "accept twice": [ACCEPT, ACCEPT],
    "denial after accept": [ACCEPT, {"type": "websocket.http.response.start", "status": 403}],
    "send after close": [ACCEPT, {"type": "websocket.close"}, {"type": "websocket.send", "text": "x"}],
    "close after close": [ACCEPT, {"type": "websocket.close"}, {"type": "websocket.close"}],
    "send after refusal": [{"type": "websocket.close"}, {"type": "websocket.send", "text": "x"}],
    "unknown": [{"type": "websocket.ping"}],
}


@pytest.mark.parametrize("messages", BAD_ORDER.values(), ids=BAD_ORDER)
async def test_messages_out_of_order_raise_runtimeerror_in_the_application(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(RuntimeError, match=r'Expected ASGI message|Cannot call "send"'):
        async with connect(sends(*messages), "/") as ws:
            await ws.receive()


def _accept(**fields: Any) -> list[dict[str, Any]]:
    return [{"type": "websocket.accept", **fields}]


def _send(**fields: Any) -> list[dict[str, Any]]:
    return [ACCEPT, {"type": "websocket.send", **fields}]


def _close(**fields: Any) -> list[dict[str, Any]]:
    return [ACCEPT, {"type": "websocket.close", **fields}]


def _denial(body: dict[str, Any] | None = None, **fields: Any) -> list[dict[str, Any]]:
    start = {"type": "websocket.http.response.start", **fields}
    return [start, {"type": "websocket.http.response.body", **(body or {})}]


WRONG_TYPES = [
    (_accept(subprotocol=b"a"), "to be str or None, but got b'a'"),
    (_accept(headers=None), r"to be an iterable of \(bytes, bytes\)"),
    (_accept(headers=[("a", "b")]), r"a header to be \(bytes, bytes\)"),
    (_accept(headers=[b"abc"]), r"a header to be \(bytes, bytes\)"),
    (_accept(headers=[1]), r"a header to be \(bytes, bytes\)"),
    (_send(text=b"bytes"), 'expected "text" of websocket.send to be str or None'),
    (_send(bytes=bytearray(b"x")), 'expected "bytes" of websocket.send to be bytes or None'),
    (_close(code="1000"), 'expected "code" of websocket.close to be int'),
    (_close(reason=b""), 'expected "reason" of websocket.close to be str or None'),
    (_denial(status="403"), 'expected "status"'),
    (_denial(), 'expected "status" in'),
    (_denial(status=403, body={"body": "text"}), 'expected "body"'),
    (_denial(status=403, body={"more_body": 1}), 'expected "more_body"'),
]

WRONG_VALUES = [
    (_accept(subprotocol="other"), r"the client offered \(chat, superchat\), but got 'other'"),
    (_accept(headers=[(b"X-Upper", b"1")]), "a header name in lower case"),
    (_accept(headers=[(b":status", b"101")]), "does not start with a colon"),
    (_accept(headers=[(b"a", b"1\r\nset-cookie: b=1")]), "without line breaks"),
    (_accept(headers=[(b"sec-websocket-protocol", b"chat")]), 'use "subprotocol"'),
    (_send(), "but got neither"),
    (_send(text=None, bytes=None), "but got neither"),
    (_send(text="", bytes=b""), "but got both"),
    (_send(text="\ud800"), "surrogates not allowed"),
    (_close(code=1006), "1006"),
    (_close(reason="é" * 62), "at most 123 bytes of UTF-8"),
    (_denial(status=403, headers=[(b"X-Upper", b"1")]), "a header name in lower case"),
]


@pytest.mark.parametrize(("messages", "words"), WRONG_TYPES)
async def test_wrong_types_raise_typeerror_in_the_application(messages: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        async with connect(sends(*messages), "/", subprotocols=["chat", "superchat"]) as ws:
            await ws.receive()


@pytest.mark.parametrize(("messages", "words"), WRONG_VALUES)
async def test_forbidden_values_raise_valueerror_in_the_application(messages: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        async with connect(sends(*messages), "/", subprotocols=["chat", "superchat"]) as ws:
            await ws.receive()


async def test_the_accept_gives_its_subprotocol_and_headers() -> None:
    app = sends(*_accept(subprotocol="b", headers=iter([(b"x-a", b"1"), (b"x-a", b"2")])))
    async with connect(app, "/", subprotocols=["a", "b"]) as ws:
        assert ws.accepted_subprotocol == "b"
        assert ws.headers.getlist("X-A") == ["1", "2"]
        assert (ws.close_code, ws.close_reason) == (None, None)


async def test_a_close_code_that_may_not_be_sent_is_refused_to_the_test() -> None:
    async with connect(echo, "/") as ws:
        with pytest.raises(ValueError, match="1006"):
            await ws.close(1006)


async def test_the_application_runs_in_the_context_of_the_test() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seen")

    @endpoint
    async def app(websocket: WebSocket[Any]) -> None:
        await websocket.accept()
        await websocket.send_text(variable.get())

    async with connect(app, "/") as ws:
        assert await ws.receive_text() == "seen"


async def test_several_connections_to_one_application_are_independent() -> None:
    async with connect(echo, "/a") as one, connect(echo, "/b") as two:
        await one.send_text("1")
        await two.send_text("2")
        assert [await two.receive_text(), await one.receive_text()] == ["2", "1"]
        one.drop()
        await two.send_text("still")
        assert await two.receive_text() == "still"


async def test_starlette_fastapi_and_asgi2_applications_are_driven() -> None:
    async def starlette_echo(websocket: StarletteWebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())

    fastapi = FastAPI()

    @fastapi.websocket("/ws")
    async def fastapi_echo(websocket: FastAPIWebSocket, q: str | None = None) -> None:
        if q == "refuse":
            raise FastAPIWebSocketException(1008, "refused")
        await starlette_echo(websocket)

    def asgi2(scope: Scope) -> Callable[[Receive, Send], Awaitable[None]]:
        async def instance(receive: Receive, send: Send) -> None:
            await echo(scope, receive, send)

        return instance

    apps: list[Any] = [Starlette(routes=[StarletteRoute("/ws", starlette_echo)]), fastapi, asgi2]
    for app in apps:
        async with connect(app, "/ws") as ws:
            await ws.send_text("hello")
            assert await ws.receive_text() == "hello"
    with pytest.raises(WebSocketDenied, match="refused"):
        async with connect(fastapi, "/ws?q=refuse"):
            pytest.fail("never open")


def test_the_scope_is_as_asgi_says() -> None:
    scope = handshake_scope("wss://host:8443/a%20b/ü?q=%C3%BC&r=a b", None, ["a", "b"], None, {"k": 1})
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/a b/ü",
        "raw_path": b"/a%20b/%C3%BC",
        "query_string": b"q=%C3%BC&r=a%20b",
        "root_path": "",
        "headers": [
            (b"host", b"host:8443"),
            (b"user-agent", b"testclient"),
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-key", b"testserver=="),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-protocol", b"a, b"),
        ],
        "client": None,
        "server": ["host", 8443],
        "subprotocols": ["a", "b"],
        "state": {"k": 1},
        "extensions": {"websocket.http.response": {}},
    }


@pytest.mark.parametrize(
    ("url", "scheme", "server", "path", "query"),
    [
        ("/", "ws", ["testserver", 80], "/", b""),
        ("/a?b=1?c", "ws", ["testserver", 80], "/a", b"b=1?c"),
        ("?b", "ws", ["testserver", 80], "/", b"b"),
        ("ws://[::1]:8000", "ws", ["::1", 8000], "/", b""),
        ("wss://example.org/%2525", "wss", ["example.org", 443], "/%25", b""),
    ],
)
def test_urls_become_scopes(url: str, scheme: str, server: list[Any], path: str, query: bytes) -> None:
    scope = handshake_scope(url, None, None, None, {})
    assert (scope["scheme"], scope["server"], scope["path"], scope["query_string"]) == (scheme, server, path, query)


@pytest.mark.parametrize("url", ["", "chat", "http://a/", "/a#b", "ws://user:secret@host/", "ws:///path"])
def test_urls_that_are_none_of_a_websocket_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected a path, or a URL of scheme ws or wss"):
        connect(echo, url)


def test_given_headers_replace_those_of_the_client_and_keep_order_and_duplicates() -> None:
    given: list[tuple[str | bytes, str | bytes]] = [
        ("Host", "else"),
        (b"X-A", b"\xff"),
        ("x-a", "é"),
        ("Sec-WebSocket-Protocol", "a,b, c"),
    ]
    scope = handshake_scope("/", given, ["other"], None, {})
    assert scope["headers"][-4:] == [
        (b"host", b"else"),
        (b"x-a", b"\xff"),
        (b"x-a", b"\xe9"),
        (b"sec-websocket-protocol", b"a,b, c"),
    ]
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"else"]
    assert scope["subprotocols"] == ["a", "b", "c"]
    assert handshake_scope("/", {"Origin": "http://a"}, None, None, {})["headers"][-1] == (b"origin", b"http://a")


async def test_the_state_of_the_lifespan_reaches_the_connections_as_copies() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        events.append("start")
        yield {"name": "db"}
        events.append("stop")

    async def reads(websocket: StarletteWebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.state.name)
        websocket.state.name = "changed"

    app = Starlette(routes=[StarletteRoute("/", reads)], lifespan=life)
    async with lifespan(app) as state:
        for _ in range(2):
            async with connect(app, "/", state=state) as ws:
                assert await ws.receive_text() == "db"
        assert events == ["start"]
    assert events == ["start", "stop"]


@pytest.mark.parametrize(("app", "error", "words"), FAILURES, ids=failure_id)
async def test_a_lifespan_that_fails_is_told(app: ASGIApp, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        async with lifespan(app):
            await asyncio.sleep(0)


async def test_an_application_without_lifespan_is_no_error() -> None:
    async with lifespan(lifespan_app()) as state:
        assert state == {"phases": 0}


async def test_a_lifespan_is_stopped_also_when_the_test_fails() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for answer in (UP, DOWN):
            seen.append((await receive())["type"])
            await send({"type": answer})

    with pytest.raises(ZeroDivisionError):
        async with lifespan(app):
            _ = 1 // 0
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_lifespan_that_does_not_answer_is_told_with_its_place() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"did not finish lifespan.startup within 0.05 s.*app \(test_testing.py"):
        async with lifespan(app, timeout=SOON):
            pytest.fail("never started")
