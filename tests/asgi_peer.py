"""A plain ASGI server for one WebSocket, driven by a test step by step: what servers without the Line offer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio

from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from trunkline.types import Message, Scope


class AsgiPeer:
    """The server's and the client's side of one connection.

    Attributes:
        sent: What the application has sent, in order.
        reads: How many times the application has called `receive`.
        reading: How many calls of `receive` are waiting, and the most there ever were.
        lost: Whether sends fail, as on a connection whose peer is gone.
    """

    def __init__(self) -> None:
        self._incoming: deque[Message] = deque()
        self._arrived = anyio.Event()
        self.sent: list[Message] = []
        self.reads = 0
        self.reading = 0
        self.most_reading = 0
        self.lost = False
        self._writable = anyio.Event()
        self._writable.set()

    async def receive(self) -> Message:
        self.reads += 1
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        try:
            while not self._incoming:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            return self._incoming.popleft()
        finally:
            self.reading -= 1

    async def send(self, message: Message) -> None:
        await self._writable.wait()
        if self.lost:
            raise BrokenPipeError("the peer is gone")
        self.sent.append(message)

    def websocket(self, **scope: object) -> WebSocket:
        """A fresh `WebSocket` of this connection."""
        values: Scope = {"type": "websocket", "path": "/", "headers": [], **scope}
        return WebSocket(values, self.receive, self.send)

    async def accepted(self) -> WebSocket:
        """A `WebSocket` of this connection, accepted, with nothing sent or read since."""
        websocket = self.websocket()
        self.says({"type": "websocket.connect"})
        await websocket.accept()
        self.sent.clear()
        self.reads = 0
        return websocket

    def says(self, *messages: Message) -> None:
        """Give the application ASGI messages."""
        self._incoming.extend(messages)
        self._arrived.set()

    def sends(self, *texts: str) -> None:
        """The client sends text messages."""
        self.says(*({"type": "websocket.receive", "text": text} for text in texts))

    def closes(self, code: int = 1000, reason: str = "") -> None:
        """The client closes, or is lost where the code is 1006."""
        self.says({"type": "websocket.disconnect", "code": code, "reason": reason})

    def stalls(self) -> None:
        """The client stops reading: sends wait."""
        self._writable = anyio.Event()

    def resumes(self) -> None:
        """The client reads again."""
        self._writable.set()

    def texts(self) -> list[str]:
        """The texts that the application has sent."""
        return [message["text"] for message in self.sent if message["type"] == "websocket.send"]
