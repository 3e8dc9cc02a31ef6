"""Closing a connection from beside its endpoint: with the Line, without it, and where a middleware stands between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import trunkline._expulsion
from tests.asgi_call import CONNECT, Outcome, call, websocket_scope
from tests.asgi_peer import AsgiPeer
from tests.line_peer import LinePeer
from trunkline import App, Depends, WebSocket
from trunkline.endpoints import WebSocketEndpoint, run_websocket
from trunkline.middleware.exceptions import end_websocket
from trunkline.websockets import WebSocketDisconnect, WebSocketDisconnected, WebSocketState

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trunkline.types import Message, Receive, Scope, Send

    Peer = AsgiPeer | LinePeer

pytestmark = pytest.mark.anyio

CLOSE: Message = {"type": "websocket.close", "code": 3000, "reason": "expired"}


class BehindSend(LinePeer):
    """Our engine, and a middleware that wraps `send`."""

    async def called(self) -> tuple[Scope, Receive, Send]:
        scope, receive, send = await super().called()
        return scope, receive, lambda message: send(message)


class BehindReceive(LinePeer):
    """Our engine, and a middleware that wraps `receive`."""

    async def called(self) -> tuple[Scope, Receive, Send]:
        scope, receive, send = await super().called()
        return scope, lambda: receive(), send


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[AsgiPeer, LinePeer, BehindSend, BehindReceive])
def peer(request: pytest.FixtureRequest) -> Peer:
    made: Peer = request.param()
    return made


@pytest.fixture
async def websocket(peer: Peer) -> WebSocket:
    accepted = await peer.accepted()
    accepted._expect_expel()
    accepted._expect_expel()
    return accepted


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def expelled(waiting: Awaitable[Any]) -> tuple[int, str]:
    """How the endpoint learns of it."""
    with pytest.raises(WebSocketDisconnect) as caught:
        async with asyncio.timeout(5):
            await waiting
    return caught.value.code, caught.value.reason


@pytest.mark.parametrize("method", ["receive_text", "receive_bytes", "receive_json"])
async def test_one_who_waits_for_a_message_is_woken(method: str, peer: Peer, websocket: WebSocket) -> None:
    waiting = asyncio.ensure_future(getattr(websocket, method)())
    await settle()
    websocket._expel(3000, "expired")
    assert websocket.closed
    assert await expelled(waiting) == (3000, "expired")
    await end_websocket(websocket, WebSocketDisconnect(3000))
    assert peer.sent == [CLOSE]
    assert websocket.client_state is WebSocketState.DISCONNECTED
    with pytest.raises(WebSocketDisconnected):
        await websocket.receive()


async def test_several_who_wait_are_woken(websocket: WebSocket) -> None:
    waiting = [asyncio.ensure_future(websocket.receive_text()) for _ in range(3)]
    watching = asyncio.ensure_future(websocket.wait_closed())
    await settle()
    websocket._expel(3000, "expired")
    for one in waiting:
        assert await expelled(one) == (3000, "expired")
    assert await watching == (3000, "expired")
    assert await websocket.wait_closed() == (3000, "expired")


async def test_what_came_before_is_delivered(peer: Peer, websocket: WebSocket) -> None:
    peer.sends("a", "b")
    watching = asyncio.ensure_future(websocket.wait_closed())
    await settle()
    websocket._expel(3000, "expired")
    await watching
    assert [message async for message in websocket] == ["a", "b"]


async def test_one_who_receives_later_learns_of_it(websocket: WebSocket) -> None:
    websocket._expel(3000, "expired")
    assert await expelled(websocket.receive_text()) == (3000, "expired")


async def test_one_who_only_sends_learns_of_it(peer: Peer, websocket: WebSocket) -> None:
    await websocket.send_text("before")
    websocket._expel(3000, "expired")
    assert not await websocket.try_send_text("behind")
    await settle()
    assert await expelled(websocket.send_text("behind")) == (3000, "expired")
    assert await expelled(websocket.send_json({})) == (3000, "expired")
    assert await expelled(websocket.close()) == (3000, "expired")
    assert peer.sent == [{"type": "websocket.send", "text": "before"}, CLOSE]


async def test_tasks_are_cancelled(peer: Peer, websocket: WebSocket) -> None:
    async def work() -> None:
        async with websocket.tasks() as tasks:
            tasks.create_task(asyncio.sleep(60))
            await asyncio.sleep(60)

    working = asyncio.ensure_future(work())
    await settle()
    websocket._expel(3000, "expired")
    assert await expelled(working) == (3000, "expired")
    await settle()
    assert peer.sent == [CLOSE]


async def test_it_is_done_once(peer: Peer, websocket: WebSocket) -> None:
    websocket._expel(3000, "expired")
    websocket._expel(1008, "again")
    assert await expelled(websocket.receive_text()) == (3000, "expired")
    await settle()
    websocket._expel(1008, "again")
    assert peer.sent == [CLOSE]


async def test_a_connection_that_has_ended_is_left_alone(peer: Peer, websocket: WebSocket) -> None:
    await websocket.close(1001)
    websocket._expel(3000, "expired")
    await settle()
    assert peer.sent == [{"type": "websocket.close", "code": 1001, "reason": ""}]


async def test_a_code_that_may_not_be_sent(peer: Peer, websocket: WebSocket) -> None:
    with pytest.raises(ValueError, match="1006"):
        websocket._expel(1006)
    assert not websocket.closed


async def test_the_reason_is_cut(peer: Peer, websocket: WebSocket) -> None:
    websocket._expel(1008, "€" * 100)
    await settle()
    assert peer.sent == [{"type": "websocket.close", "code": 1008, "reason": "€" * 41}]


async def test_a_stalled_client_holds_nothing_up(
    peer: Peer, websocket: WebSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunkline._expulsion, "SECONDS", 0.01)
    peer.stalls()
    sending = asyncio.ensure_future(websocket.send_text("stuck"))
    await settle()
    websocket._expel(3000, "expired")
    assert await expelled(websocket.receive_text()) == (3000, "expired")
    async with asyncio.timeout(5):
        await end_websocket(websocket, WebSocketDisconnect(3000))
    assert not await websocket.try_send_text("behind")
    peer.lost = True
    peer.resumes()
    assert await expelled(sending) == (3000, "expired")


async def test_an_endpoint_ends_behind_the_close() -> None:
    """The server hears of the close before it hears that the application has ended."""
    peer = AsgiPeer()
    websocket = peer.websocket()
    peer.says({"type": "websocket.connect"})

    async def endpoint(websocket: WebSocket) -> None:
        websocket._expect_expel()
        await websocket.accept()
        asyncio.get_running_loop().call_soon(websocket._expel, 3000, "expired")
        await websocket.receive_text()

    assert await expelled(run_websocket(endpoint, websocket)) == (3000, "expired")
    assert peer.sent[1:] == [CLOSE]


async def test_a_message_of_the_server_that_comes_meanwhile_changes_nothing() -> None:
    """uvicorn answers our close with a disconnect of its own."""
    peer = AsgiPeer()
    websocket = await peer.accepted()
    websocket._expect_expel()
    waiting = asyncio.ensure_future(websocket.receive_text())
    await settle()
    peer.closes(1005)
    websocket._expel(3000, "expired")
    assert await expelled(waiting) == (3000, "expired")


async def test_one_who_waits_in_the_server_already_is_not_called_out() -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    waiting = asyncio.ensure_future(websocket.receive_text())
    await settle()
    websocket._expect_expel()
    websocket._expel(3000, "expired")
    assert await expelled(websocket.receive_text()) == (3000, "expired")
    assert not waiting.done()
    peer.closes(1006)
    assert await expelled(waiting) == (1006, "")


@pytest.mark.parametrize("kind", [AsgiPeer, LinePeer])
async def test_before_accept_the_handshake_is_refused(kind: type[Peer]) -> None:
    peer = kind()
    websocket = peer.websocket() if isinstance(peer, AsgiPeer) else WebSocket(*await peer.called())
    websocket._expect_expel()
    websocket._expel(3000, "expired")
    assert await expelled(websocket.accept()) == (3000, "expired")
    await end_websocket(websocket, WebSocketDisconnect(3000))
    if isinstance(peer, AsgiPeer):
        assert peer.sent == [CLOSE]
    else:
        assert peer.transport.written.startswith(b"HTTP/1.1 403 ")


async def test_a_server_that_cannot_be_told() -> None:
    peer = AsgiPeer()
    websocket = await peer.accepted()
    peer.lost = True
    websocket._expel(3000, "expired")
    await end_websocket(websocket, None)
    assert await expelled(websocket.send_text("behind")) == (3000, "expired")


async def test_a_class_behind_a_dependency_is_closed_too() -> None:
    """It has a WebSocket of its own, and the dependency another one."""

    guards: list[WebSocket] = []
    codes: list[int] = []

    async def guard(websocket: WebSocket) -> None:
        websocket._expect_expel()
        guards.append(websocket)

    class Endpoint(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket) -> None:
            await super().on_connect(websocket)
            guards[0]._expel(3000)

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            codes.append(close_code)

    app = App()
    app.router.add_websocket_route("/", Endpoint, dependencies=[Depends(guard)])
    outcome: Outcome = await call(app, websocket_scope(), [CONNECT])
    assert outcome.close == (3000, "")
    assert codes == [3000]
