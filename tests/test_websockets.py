"""What our `WebSocket` does beyond the reference, over plain ASGI. What it shares is in test_websockets_reference."""

from __future__ import annotations

import asyncio
import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import starlette.websockets
from hypothesis import given, strategies as st

from tests.asgi_peer import AsgiPeer
from tests.line_peer import LinePeer
from trunkline.requests import HTTPConnection
from trunkline.status import CLOSE_CODES, check_close_code, close_code_name, cut_reason
from trunkline.websockets import (
    CloseInfo,
    WebSocket,
    WebSocketClose,
    WebSocketDisconnect,
    WebSocketDisconnected,
    WebSocketMessageTypeError,
    WebSocketPayloadError,
    WebSocketState,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trunkline.types import Message

    Peer = AsgiPeer | LinePeer

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "asyncio with the Line", "trio"])
def setting(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(setting: str) -> str:
    return setting.split(maxsplit=1)[0]


@pytest.fixture
def peer(setting: str) -> Peer:
    return LinePeer() if "Line" in setting else AsgiPeer()


async def settle() -> None:
    """Let every task run until it waits for something that this test has not given yet."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


def client_state(websocket: WebSocket) -> WebSocketState:
    return websocket.client_state


def closed(websocket: WebSocket) -> bool:
    return websocket.closed


# Types and states


async def test_only_a_websocket_scope_is_accepted() -> None:
    peer = AsgiPeer()
    with pytest.raises(AssertionError, match=r"WebSocket takes an ASGI scope of type 'websocket', but got 'http'"):
        WebSocket({"type": "http"}, peer.receive, peer.send)


async def test_it_is_an_http_connection() -> None:
    websocket = AsgiPeer().websocket(query_string=b"a=1", client=("10.0.0.1", 5))
    assert isinstance(websocket, HTTPConnection)
    assert websocket.query_params["a"] == "1"
    assert websocket["path"] == "/"
    assert websocket != AsgiPeer().websocket()


def test_the_states_have_the_values_of_the_reference() -> None:
    assert {state.name: state.value for state in WebSocketState} == {
        state.name: state.value for state in starlette.websockets.WebSocketState
    }


# Messages of the other type


@pytest.mark.parametrize(
    ("method", "message", "text"),
    [
        ("receive_text", {"bytes": b"x"}, "expected a text message, but the client sent binary"),
        ("receive_json", {"bytes": b"x", "text": None}, "expected a text message, but the client sent binary"),
        ("receive_bytes", {"text": "x"}, "expected a binary message, but the client sent text"),
        ("receive_bytes", {"text": "x", "bytes": None}, "expected a binary message, but the client sent text"),
        ("receive_text", {}, "expected a text message, but the client sent neither"),
    ],
)
async def test_a_message_of_the_other_type_is_a_typed_error(method: str, message: Message, text: str) -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.says({"type": "websocket.receive", **message})
    with pytest.raises(WebSocketMessageTypeError, match=text) as caught:
        await getattr(websocket, method)()
    assert isinstance(caught.value, KeyError)
    assert client_state(websocket) is WebSocketState.CONNECTED


async def test_an_empty_message_is_a_message(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.says({"type": "websocket.receive", "text": ""}, {"type": "websocket.receive", "bytes": b""})
    assert await websocket.receive_text() == ""
    assert await websocket.receive_bytes() == b""


async def test_invalid_json_says_so(peer: Peer) -> None:
    websocket = await peer.accepted()
    for text in ("{", "[" * 100_000, "9" * 5_000):
        peer.sends(text)
        with pytest.raises(json.JSONDecodeError):
            await websocket.receive_json()
    peer.says({"type": "websocket.receive", "bytes": b"\xff"})
    with pytest.raises(WebSocketPayloadError, match="invalid start byte") as caught:
        await websocket.receive_json(mode="binary")
    assert isinstance(caught.value, UnicodeDecodeError)


async def test_iteration_yields_what_comes_and_ends_quietly(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.says(
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.receive", "bytes": b"b", "text": None},
        {"type": "websocket.receive", "text": "", "bytes": None},
    )
    peer.closes(1001)
    assert [message async for message in websocket] == ["a", b"b", ""]


async def test_iteration_before_accept_says_what_is_missing() -> None:
    with pytest.raises(WebSocketDisconnected, match='Need to call "accept" first'):
        async for _ in AsgiPeer().websocket():
            pass


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda ws: ws.send_text(b"x"), r"a text message is a str, but got bytes; use send_bytes\(\)"),
        (lambda ws: ws.send_text(None), r"a text message is a str, but got NoneType"),
        (lambda ws: ws.send_bytes("x"), r"a binary message is bytes, but got str; use send_text\(\)"),
        (lambda ws: ws.try_send_text(b"x"), r"a text message is a str"),
        (lambda ws: ws.try_send_bytes("x"), r"a binary message is bytes"),
        (lambda ws: ws.try_send_json({1, 2}), r"not JSON serializable"),
    ],
)
async def test_sending_the_wrong_type_says_what_to_write(
    call: Callable[[WebSocket], Any], text: str, peer: Peer
) -> None:
    websocket = await peer.accepted()
    with pytest.raises(TypeError, match=text):
        await call(websocket)
    await websocket.close()
    with pytest.raises(TypeError, match=text):
        await call(websocket)
    assert [message["type"] for message in peer.sent] == ["websocket.close"]


async def test_what_is_nearly_text_or_bytes_is_sent_as_it_is(peer: Peer) -> None:
    class Name(str):
        __slots__ = ()

    websocket = await peer.accepted()
    await websocket.send_text(Name("n"))
    nearly_bytes: list[Any] = [bytearray(b"a"), memoryview(b"b")]
    for data in nearly_bytes:
        await websocket.send_bytes(data)
    assert [message.get("text", message.get("bytes")) for message in peer.sent] == ["n", b"a", b"b"]


# Accepting


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"headers": [(b"x-a", b"1\r\nset-cookie: b=2")]}, ValueError, "a header must not contain CR, LF or NUL"),
        ({"headers": [(b"x\n", b"1")]}, ValueError, "a header must not contain CR, LF or NUL"),
        ({"headers": [("x-a", "1")]}, TypeError, r'write for example headers=\[\(b"x-name", b"value"\)\]'),
        ({"headers": [(b"x-a", "1")]}, TypeError, "the headers of accept are pairs of bytes"),
        ({"subprotocol": "a\r\nb: c"}, ValueError, "a subprotocol is one token"),
    ],
)
async def test_accept_refuses_what_would_break_the_answer(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    peer = AsgiPeer()
    peer.says({"type": "websocket.connect"})
    websocket = peer.websocket()
    with pytest.raises(error, match=text):
        await websocket.accept(**arguments)
    assert peer.sent == []
    await websocket.accept(headers=((name, b"1") for name in (b"x-a", b"x-b")))
    assert peer.sent == [{"type": "websocket.accept", "subprotocol": None, "headers": [(b"x-a", b"1"), (b"x-b", b"1")]}]


# Closing


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1])
async def test_a_close_code_that_may_not_be_sent_is_refused(code: int, peer: Peer) -> None:
    websocket = await peer.accepted()
    with pytest.raises(ValueError, match=rf"expected \(1000-1003, 1007-1014 or 3000-4999\), but {code}"):
        await websocket.close(code)
    with pytest.raises(ValueError, match="a close code that may be sent"):
        WebSocketClose(code)
    assert peer.sent == []
    assert not closed(websocket)


async def test_a_refusal_can_have_any_code_because_none_is_sent() -> None:
    peer = AsgiPeer()
    websocket = peer.websocket()
    await websocket.close(1006, "why")
    assert peer.sent == [{"type": "websocket.close", "code": 1006, "reason": "why"}]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 3999, 4000, 4999])
async def test_a_close_code_that_may_be_sent_is_sent(code: int, peer: Peer) -> None:
    websocket = await peer.accepted()
    await websocket.close(code, "why")
    assert peer.sent == [{"type": "websocket.close", "code": code, "reason": "why"}]


@given(st.text(max_size=200))
def test_a_reason_is_cut_to_the_longest_start_that_fits(reason: str) -> None:
    cut = cut_reason(reason)
    assert len(cut.encode()) <= 123
    assert reason.startswith(cut)
    assert cut == reason or len(reason[: len(cut) + 1].encode()) > 123


async def test_a_long_reason_is_cut_at_a_character(peer: Peer) -> None:
    websocket = await peer.accepted()
    await websocket.close(1008, "ü" * 100)
    assert peer.sent[0]["reason"] == "ü" * 61
    assert WebSocketClose(1008, "ü" * 100).reason == "ü" * 61


async def test_websocket_close_is_an_application() -> None:
    peer = AsgiPeer()
    await WebSocketClose(1008, "no")({}, peer.receive, peer.send)
    assert peer.sent == [{"type": "websocket.close", "code": 1008, "reason": "no"}]


def test_every_known_code_has_a_name() -> None:
    assert close_code_name(1006) == "abnormal closure"
    assert close_code_name(3999) == "registered by a library"
    assert close_code_name(4000) == "private use"
    assert close_code_name(2000) == "unknown"
    for code, known in CLOSE_CODES.items():
        assert known.meaning
        if known.sendable:
            check_close_code(code)


def test_a_disconnect_says_what_happened() -> None:
    assert str(WebSocketDisconnect(1001)) == "WebSocket closed: 1001 (going away)"
    assert str(WebSocketDisconnect(4001, "kicked")) == "WebSocket closed: 4001 (private use): kicked"
    assert repr(WebSocketDisconnect(1001, "x")) == "WebSocketDisconnect(code=1001, reason='x')"
    assert WebSocketDisconnect().code == 1000


class Code(IntEnum):
    NO_STATUS = 1005


@pytest.mark.parametrize("message", [{}, {"code": None}, {"code": Code.NO_STATUS}])
async def test_a_disconnect_message_without_a_code_is_1005(message: Message) -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.says({"type": "websocket.disconnect", **message})
    with pytest.raises(WebSocketDisconnect) as caught:
        await websocket.receive_text()
    assert repr(caught.value.code) == "1005"
    assert await websocket.wait_closed() == CloseInfo(1005, "")


async def test_a_denial_response_needs_the_extension() -> None:
    async def response(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    peer = AsgiPeer()
    with pytest.raises(RuntimeError, match="doesn't support the Websocket Denial Response extension"):
        await peer.websocket(extensions=None).send_denial_response(response)
    websocket = peer.websocket(extensions={"websocket.http.response": {}})
    await websocket.send_denial_response(response)
    assert websocket.application_state is WebSocketState.DISCONNECTED
    assert [message["type"] for message in peer.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]


# Sending when the end may have come


async def test_try_send_tells_whether_it_was_handed_over(peer: Peer) -> None:
    websocket = await peer.accepted()
    assert await websocket.try_send_text("a")
    assert await websocket.try_send_bytes(b"b")
    assert await websocket.try_send_json({"c": 1})
    assert await websocket.try_send_json(["d"], mode="binary")
    await websocket.close()
    assert not await websocket.try_send_text("late")
    assert not await websocket.try_send_bytes(b"late")
    assert not await websocket.try_send_json("late")
    assert [message.get("text", message.get("bytes")) for message in peer.sent[:-1]] == ["a", b"b", '{"c":1}', b'["d"]']


async def test_try_send_is_false_after_the_client_closed(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.closes()
    with pytest.raises(WebSocketDisconnect):
        await websocket.receive_text()
    assert not await websocket.try_send_text("late")
    assert peer.texts() == []


async def test_try_send_is_false_when_the_peer_is_found_gone(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.lost = True
    assert not await websocket.try_send_text("lost")
    assert closed(websocket)
    assert await websocket.wait_closed() == CloseInfo(1006, "")


async def test_try_send_before_accept_raises() -> None:
    websocket = AsgiPeer().websocket()
    with pytest.raises(RuntimeError, match=r'Expected ASGI message "websocket\.accept"'):
        await websocket.try_send_text("early")


async def test_a_send_to_a_lost_peer_is_a_disconnect_with_its_cause(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.lost = True
    with pytest.raises(WebSocketDisconnect) as caught:
        await websocket.send_text("lost")
    assert caught.value.code == 1006
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(WebSocketDisconnected):
        await websocket.send_text("again")


async def test_an_error_of_the_server_before_accept_passes() -> None:
    peer = AsgiPeer()
    peer.lost = True
    with pytest.raises(BrokenPipeError):
        await peer.websocket().close()


# Several tasks at once


async def test_sends_of_several_tasks_leave_whole_and_in_order() -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    inside = 0

    async def send(message: Message) -> None:
        nonlocal inside
        assert inside == 0, "two sends are inside the server at once"
        inside += 1
        await anyio.lowlevel.checkpoint()
        inside -= 1
        peer.sent.append(message)

    websocket._send = send

    async def writer(name: str) -> None:
        for i in range(20):
            await websocket.send_text(f"{name}{i}")

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(writer, name)
    for name in "abc":
        assert [text for text in peer.texts() if text[0] == name] == [f"{name}{i}" for i in range(20)]


async def test_a_send_that_is_cancelled_while_it_waits_never_happens(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.stalls()
    async with anyio.create_task_group() as group:
        group.start_soon(websocket.send_text, "first")
        await settle()
        with anyio.move_on_after(0):
            await websocket.close(4000)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await websocket.send_text("cancelled")
        group.start_soon(websocket.send_text, "last")
        await settle()
        peer.resumes()
    assert peer.texts() == ["first", "last"]
    assert not closed(websocket)


async def test_a_turn_that_comes_to_a_cancelled_task_goes_on_to_the_next(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.stalls()
    async with anyio.create_task_group() as group:
        group.start_soon(websocket.send_text, "first")
        await settle()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(websocket.send_text, "second")
                inner.start_soon(websocket.send_text, "third")
                await settle()
                peer.resumes()
                # The first has the turn to give; it gives it to the second, which is cancelled at the same time.
                await anyio.lowlevel.cancel_shielded_checkpoint()
                scope.cancel()
        group.start_soon(websocket.send_text, "last")
    assert peer.texts()[0] == "first"
    assert peer.texts()[-1] == "last"
    await websocket.send_text("free again")


async def test_a_close_waits_for_the_sends_before_it(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.stalls()
    async with anyio.create_task_group() as group:
        group.start_soon(websocket.send_text, "first")
        await settle()
        group.start_soon(websocket.close)
        await settle()
        peer.resumes()
    assert [message["type"] for message in peer.sent] == ["websocket.send", "websocket.close"]


@pytest.mark.parametrize("method", ["receive_text", "receive_bytes", "receive"])
async def test_receivers_are_served_in_order(method: str, peer: Peer) -> None:
    websocket = await peer.accepted()
    got: list[tuple[int, Any]] = []
    messages: list[Message] = [
        {"type": "websocket.receive", **({"bytes": b"x"} if method == "receive_bytes" else {"text": f"{number}"})}
        for number in range(4)
    ]

    async def receiver(number: int) -> None:
        got.append((number, await getattr(websocket, method)()))

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(receiver, number)
            await settle()
        peer.says(*messages)
    whole = method == "receive"
    expected = [message if whole else message.get("text", message.get("bytes")) for message in messages]
    assert got == list(enumerate(expected[:3]))
    assert await getattr(websocket, method)() == expected[3]
    if isinstance(peer, AsgiPeer):
        assert peer.most_reading == 1


async def test_all_waiting_receivers_get_the_disconnect(peer: Peer) -> None:
    websocket = await peer.accepted()
    got: list[int] = []

    async def receiver() -> None:
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as disconnect:
            got.append(disconnect.code)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(receiver)
        await settle()
        peer.closes(4001)
    assert got == [4001, 4001, 4001]
    with pytest.raises(WebSocketDisconnected, match='Cannot call "receive"'):
        await websocket.receive()


async def test_a_cancelled_receive_loses_nothing(peer: Peer) -> None:
    websocket = await peer.accepted()
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0):
            await websocket.receive_text()
        group.start_soon(websocket.receive_text)
        await settle()
        with anyio.move_on_after(0):
            await websocket.receive_text()
        peer.sends("a", "b")
    assert await websocket.receive_text() == "b"


# The end


async def test_closed_follows_what_has_been_received(peer: Peer) -> None:
    websocket = await peer.accepted()
    assert not closed(websocket)
    peer.closes(3000, "bye")
    with pytest.raises(WebSocketDisconnect):
        await websocket.receive_text()
    assert closed(websocket)
    assert websocket._close_info == (3000, "bye")
    assert not websocket._closed_by_us


async def test_json_is_compact_and_not_escaped(peer: Peer) -> None:
    websocket = await peer.accepted()
    await websocket.send_json({"a": [1, "ü"]})
    await websocket.send_json({"a": [1, "ü"]}, mode="binary")
    assert [message.get("text", message.get("bytes")) for message in peer.sent] == [
        '{"a":[1,"ü"]}',
        '{"a":[1,"ü"]}'.encode(),
    ]
    with pytest.raises(RuntimeError, match='The "mode" argument should be "text" or "binary"'):
        await websocket.send_json(1, mode="json")


async def test_a_peer_lost_while_we_send_ends_the_wait(peer: Peer) -> None:
    websocket = await peer.accepted()
    infos: list[CloseInfo] = []

    async def wait() -> None:
        infos.append(await websocket.wait_closed())

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        peer.lost = True
        assert not await websocket.try_send_text("lost")
    assert infos == [CloseInfo(1006, "")]
    assert not websocket._closed_by_us


async def test_before_accept_there_is_no_end_to_wait_for() -> None:
    peer = AsgiPeer()
    websocket = peer.websocket()
    assert not closed(websocket)
    with pytest.raises(WebSocketDisconnected, match='Need to call "accept" first'):
        await websocket.wait_closed()
    with pytest.raises(WebSocketDisconnected, match='Need to call "accept" first'):
        async with websocket.tasks():
            pass
    await websocket.close(1008)
    assert await websocket.wait_closed() == CloseInfo(1008, "")
    assert peer.reads == 0


async def test_nothing_is_read_before_somebody_waits() -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.sends("a")
    assert not closed(websocket)
    await websocket.send_text("x")
    assert peer.reads == 0


async def test_wait_closed_returns_our_own_close_at_once(peer: Peer) -> None:
    websocket = await peer.accepted()
    infos: list[CloseInfo] = []

    async def wait() -> None:
        infos.append(await websocket.wait_closed())

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await settle()
        assert infos == []
        await websocket.close(4000, "done")
    assert infos == [CloseInfo(4000, "done")] * 2
    assert websocket._closed_by_us
    assert peer.reading == 0
    peer.closes(1000)
    # Our engine tells the code that ended the connection, as uvicorn does.
    assert (await websocket.receive())["code"] == (1000 if isinstance(peer, AsgiPeer) else 4000)
    assert await websocket.wait_closed() == CloseInfo(4000, "done")


async def test_what_came_before_the_end_is_still_received(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.sends("a", "b")
    peer.closes(3005, "bye")
    assert await websocket.wait_closed() == CloseInfo(3005, "bye")
    assert client_state(websocket) is WebSocketState.CONNECTED
    assert await websocket.receive_text() == "a"
    assert await websocket.receive() == {"type": "websocket.receive", "text": "b"}
    assert client_state(websocket) is WebSocketState.CONNECTED
    with pytest.raises(WebSocketDisconnect) as caught:
        await websocket.receive_text()
    assert (caught.value.code, caught.value.reason) == (3005, "bye")
    assert client_state(websocket) is WebSocketState.DISCONNECTED
    assert await websocket.wait_closed() == CloseInfo(3005, "bye")


async def test_receivers_and_waiters_share_one_reader(peer: Peer) -> None:
    websocket = await peer.accepted()
    got: list[str] = []

    async def receive_all() -> None:
        async for message in websocket.iter_text():
            got.append(message)

    async with anyio.create_task_group() as group:
        group.start_soon(receive_all)
        await settle()
        for _ in range(3):
            group.start_soon(websocket.wait_closed)
        await settle()
        for text in "abc":
            peer.sends(text)
            await settle()
        peer.closes()
    assert got == ["a", "b", "c"]
    if isinstance(peer, AsgiPeer):
        assert peer.most_reading == 1


async def test_a_cancelled_waiter_hands_the_reading_over(peer: Peer) -> None:
    websocket = await peer.accepted()
    got: list[str] = []

    async def receive_one() -> None:
        got.append(await websocket.receive_text())

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(websocket.wait_closed)
                await settle()
                group.start_soon(receive_one)
                await settle()
                scope.cancel()
        await settle()
        assert peer.reading == 1
        peer.sends("a")
    assert got == ["a"]


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        ([{"type": "websocket.receive", "text": "x"}] * 70, 64),
        ([{"type": "websocket.receive", "bytes": bytes(300 * 1024)}] * 8, 4),
    ],
)
async def test_reading_ahead_is_bounded(messages: list[Message], kept: int) -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.says(*messages)
    peer.closes(4000)
    async with anyio.create_task_group() as group:
        group.start_soon(websocket.wait_closed)
        await settle()
        for _ in range(5):
            await settle()
        assert peer.reads == kept
        assert not closed(websocket)
        for message in messages:
            assert await websocket.receive() == message
    assert websocket._close_info == (4000, "")


async def test_an_error_of_the_servers_receive_reaches_whoever_reads() -> None:
    async def receive() -> Message:
        raise ConnectionResetError("odd server")

    peer = AsgiPeer()
    websocket = await peer.accepted()
    websocket._receive = receive
    with pytest.raises(ConnectionResetError):
        await websocket.wait_closed()
    with pytest.raises(ConnectionResetError):
        await websocket.receive_text()


# Subclasses and other frameworks


async def test_a_subclass_that_overrides_receive_and_send_is_asked() -> None:
    class Logged(WebSocket):
        log: list[str]

        async def receive(self) -> Message:
            message = await super().receive()
            self.log.append(message["type"])
            return message

        async def send(self, message: Message) -> None:
            self.log.append(message["type"])
            await super().send(message)

    peer = AsgiPeer()
    websocket = Logged({"type": "websocket"}, peer.receive, peer.send)
    websocket.log = []
    peer.says({"type": "websocket.connect"}, {"type": "websocket.receive", "text": "a"})
    peer.says({"type": "websocket.receive", "bytes": b"a"})
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.send_bytes(await websocket.receive_bytes())
    await websocket.send_json(1)
    assert websocket.log == [
        *("websocket.connect", "websocket.accept"),
        *("websocket.receive", "websocket.send", "websocket.receive", "websocket.send", "websocket.send"),
    ]


async def test_of_takes_over_where_starlette_stands() -> None:
    peer = AsgiPeer()
    peer.says({"type": "websocket.connect"})
    theirs = starlette.websockets.WebSocket({"type": "websocket"}, peer.receive, peer.send)
    await theirs.accept()
    ours = WebSocket.of(theirs)
    assert ours.application_state is WebSocketState.CONNECTED
    peer.sends("a")
    await ours.send_text(await ours.receive_text())
    assert peer.texts() == ["a"]
    assert WebSocket.of(ours) is ours


async def test_of_refuses_what_is_no_websocket() -> None:
    with pytest.raises(TypeError, match="expected Starlette's or FastAPI's WebSocket, but got object"):
        WebSocket.of(object())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio_timeouts_lose_no_message(peer: Peer) -> None:
    websocket = await peer.accepted()
    got: list[str] = []

    async def receive(count: int) -> None:
        while len(got) < count:
            try:
                async with asyncio.timeout(0.0001):
                    got.append(await websocket.receive_text())
            except TimeoutError:
                pass

    texts = [str(number) for number in range(200)]
    receiving: Coroutine[Any, Any, None] = receive(len(texts))
    task = asyncio.create_task(receiving)
    for text in texts:
        peer.sends(text)
        await asyncio.sleep(0)
    await task
    assert got == texts
