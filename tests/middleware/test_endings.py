"""The close that an exception becomes (semantics: after accept)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.asgi_peer import AsgiPeer
from trunkline.exceptions import HTTPException, WebSocketException
from trunkline.messages import InvalidMessage
from trunkline.middleware.endings import end_websocket, ending_of
from trunkline.websockets import (
    WebSocketDisconnect,
    WebSocketMessageTypeError,
    WebSocketPayloadError,
    WebSocketState,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.websockets import WebSocket

    State = Callable[[AsgiPeer], Awaitable[WebSocket]]

pytestmark = pytest.mark.anyio

CODES = [
    (HTTPException(401), 3000, "Unauthorized"),
    (HTTPException(403), 3003, "Forbidden"),
    (HTTPException(408), 3008, "Request Timeout"),
    (HTTPException(400, "no such room"), 1008, "no such room"),
    (HTTPException(499), 1008, ""),
    (HTTPException(500), 1011, "Internal Server Error"),
    (HTTPException(302), 1011, "Found"),
    (HTTPException(422, {"room": "unknown"}), 1008, ""),  # type: ignore[arg-type]
    (InvalidMessage([], 1007), 1007, "the message cannot be decoded"),
    (InvalidMessage([]), 1008, "the message is not of an expected type"),
    (WebSocketException(4001, "try room 2"), 4001, "try room 2"),
    (WebSocketException(1006, "not to be sent"), 1011, ""),
    (WebSocketException(0), 1011, ""),
    (WebSocketMessageTypeError("text", "bytes"), 1003, "a text message was expected"),
    (WebSocketMessageTypeError("bytes", "text"), 1003, "a binary message was expected"),
    (json.JSONDecodeError("Expecting value", "{", 1), 1007, "the message is not valid JSON"),
    (WebSocketPayloadError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1007, "the message is not valid JSON"),
    (RuntimeError("the password is hunter2"), 1011, ""),
    (KeyError("text"), 1011, ""),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1011, ""),
    (asyncio.CancelledError(), 1011, ""),
    (ExceptionGroup("tasks", [WebSocketException(4002, "kicked")]), 4002, "kicked"),
    (ExceptionGroup("tasks", [ExceptionGroup("inner", [HTTPException(401)])]), 3000, "Unauthorized"),
    (ExceptionGroup("tasks", [HTTPException(401), ValueError()]), 1011, ""),
]


@pytest.mark.parametrize(("exc", "code", "reason"), CODES, ids=lambda value: repr(value)[:60])
async def test_an_exception_closes_with_its_code_and_no_internals(exc: BaseException, code: int, reason: str) -> None:
    assert ending_of(exc) == (code, reason)
    peer = AsgiPeer()
    websocket = await peer.accepted()
    await end_websocket(websocket, exc)
    assert peer.sent == [{"type": "websocket.close", "code": code, "reason": reason}]


async def test_an_endpoint_that_returned_closes_with_1000() -> None:
    peer = AsgiPeer()
    await end_websocket(await peer.accepted(), None)
    assert peer.sent == [{"type": "websocket.close", "code": 1000, "reason": ""}]


async def test_a_long_reason_is_cut() -> None:
    peer = AsgiPeer()
    await end_websocket(await peer.accepted(), HTTPException(400, "ü" * 200))
    assert peer.sent[0]["reason"] == "ü" * 61


async def refused(peer: AsgiPeer) -> WebSocket:
    websocket = peer.websocket()
    await websocket.close()
    return websocket


async def closed(peer: AsgiPeer) -> WebSocket:
    websocket = await peer.accepted()
    await websocket.close(4000)
    return websocket


async def connecting(peer: AsgiPeer) -> WebSocket:
    return peer.websocket()


@pytest.mark.parametrize("state", [connecting, refused, closed])
@pytest.mark.parametrize("exc", [None, ValueError(), HTTPException(401), asyncio.CancelledError()], ids=repr)
async def test_nothing_is_sent_unless_accepted_and_still_open(state: State, exc: BaseException | None) -> None:
    peer = AsgiPeer()
    websocket = await state(peer)
    peer.sent.clear()
    await end_websocket(websocket, exc)
    assert peer.sent == []


async def test_nothing_is_sent_to_a_client_whose_end_is_known_and_not_received() -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.sends("unread")
    peer.closes(1012)
    await websocket.wait_closed()
    await end_websocket(websocket, None)
    assert peer.sent == []


async def test_nothing_is_sent_to_a_client_that_has_left() -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.closes(1001)
    with pytest.raises(WebSocketDisconnect):
        await websocket.receive_text()
    await end_websocket(websocket, ValueError())
    assert peer.sent == []


@pytest.mark.parametrize("exc", [WebSocketDisconnect(1001), GeneratorExit()], ids=repr)
async def test_a_disconnect_and_a_coroutine_thrown_away_send_nothing(exc: BaseException) -> None:
    peer = AsgiPeer()
    await end_websocket(await peer.accepted(), exc)
    assert peer.sent == []


@pytest.mark.parametrize("exc", [None, ValueError(), asyncio.CancelledError()], ids=repr)
async def test_a_client_that_goes_meanwhile_raises_nothing(exc: BaseException | None) -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.lost = True
    await end_websocket(websocket, exc)
    assert websocket.application_state is WebSocketState.DISCONNECTED


async def test_a_cancelled_endpoint_still_says_its_last_word() -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()

    async def endpoint() -> None:
        try:
            await anyio.sleep_forever()
        except BaseException as exc:
            await end_websocket(websocket, exc)
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(endpoint)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert peer.sent == [{"type": "websocket.close", "code": 1011, "reason": ""}]


async def test_a_stalled_client_does_not_hold_up_a_cancelled_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.middleware.endings._LAST_WORD", 0.0)
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.stalls()
    with anyio.fail_after(5):
        await end_websocket(websocket, asyncio.CancelledError())
    assert peer.sent == []
