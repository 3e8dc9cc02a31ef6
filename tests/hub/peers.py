"""Members of every kind in memory: ours with the Line and without it, Starlette's on both, something of one's own."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import starlette.websockets

from tests.asgi_peer import AsgiPeer
from tests.line_peer import LinePeer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.types import Message

__all__ = ["KINDS", "WITHOUT_LINE", "WITH_LINE", "AnyPeer", "eventually", "settle"]


async def eventually(happened: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait for what a real server takes its time for."""
    async with asyncio.timeout(seconds):
        for pause in itertools.repeat(0.005):
            if await happened():
                return
            await asyncio.sleep(pause)


async def settle() -> None:
    """Let everything happen that needs no time: the clock of `run` moves only when nothing else is left to do."""
    await asyncio.sleep(0.001)


class StarletteOnLine(LinePeer):
    """Starlette's WebSocket on our engine."""

    async def accepted(self, **_: object) -> Any:
        ours = await super().accepted()
        theirs = starlette.websockets.WebSocket(ours.scope, ours._receive, ours._send)
        theirs.application_state = theirs.client_state = starlette.websockets.WebSocketState.CONNECTED
        return theirs


class StarletteOnAsgi(AsgiPeer):
    """Starlette's WebSocket on a plain ASGI server."""

    async def accepted(self) -> Any:
        websocket = starlette.websockets.WebSocket(
            {"type": "websocket", "path": "/", "headers": []}, self.receive, self.send
        )
        self.says({"type": "websocket.connect"})
        await websocket.accept()
        self.sent.clear()
        return websocket


class OwnKind:
    """The least that can be a member."""

    def __init__(self, peer: AsgiPeer) -> None:
        self.scope: dict[str, Any] = {"type": "websocket"}
        self._send = peer.send

    async def send_text(self, data: str) -> None:
        await self._send({"type": "websocket.send", "text": data})

    async def send_bytes(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})

    async def close(self, code: int, reason: str) -> None:
        message: Message = {"type": "websocket.close", "code": code, "reason": reason}
        await self._send(message)


class OwnPeer(AsgiPeer):
    """Something of one's own on a plain ASGI server."""

    async def accepted(self) -> Any:
        return OwnKind(self)


AnyPeer = LinePeer | AsgiPeer
WITH_LINE: list[type[AnyPeer]] = [LinePeer, StarletteOnLine]
WITHOUT_LINE: list[type[AnyPeer]] = [AsgiPeer, StarletteOnAsgi, OwnPeer]
KINDS = WITH_LINE + WITHOUT_LINE
