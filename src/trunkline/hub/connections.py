"""Connections as members of a topic, with the Line and without it.

With the Line the room writes past the membership, which is asked only where that is not welcome; then the Line calls
back when it is. Without it a task per busy member sends, so that no server's `send` keeps anybody waiting.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from trunkline.hub.membership import Membership
from trunkline.line import line_of
from trunkline.states import WebSocketDisconnect, WebSocketDisconnected

if TYPE_CHECKING:
    from anyio import Event

    from trunkline.hub.outbox import Outbox
    from trunkline.hub.policies import Policy
    from trunkline.hub.publication import Position
    from trunkline.hub.room import Encoded, Room
    from trunkline.hub.topic import Topic
    from trunkline.line import Line
    from trunkline.states import CloseInfo
    from trunkline.turn import Turn

__all__ = ["LineMembership", "SendMembership", "membership_of"]

logger = logging.getLogger("trunkline.hub")

CLOSE_WITHIN = 1.0
# Which states of a WebSocket (ours, Starlette's) are before accept and behind the end.
_CONNECTING, _DISCONNECTED = 0, 2


class LineMembership(Membership):
    """A connection whose server offers the Line."""

    __slots__ = ("line",)

    def __init__(
        self, topic: Topic, websocket: Any, since: Position | str | None, policy: Policy | None, line: Line
    ) -> None:
        super().__init__(topic, websocket, since, policy)
        self.line = line

    @property
    def sink(self) -> Line:
        """The Line."""
        return self.line

    def check_open(self) -> None:
        """Refuse what was not accepted, or has ended."""
        _check_state(self.websocket)
        if self.line.closed is not None:
            raise WebSocketDisconnect(*self.line.closed)

    def entered(self, room: Room, number: int) -> None:
        """It is a member until its connection ends."""
        super().entered(room, number)
        self.line.on_close(self)

    def leave_now(self) -> None:
        """Leave, and hear no more of the connection."""
        if self._room is not None:
            self.line.off_close(self)
        super().leave_now()

    def __call__(self, _: CloseInfo) -> None:
        # What the Line calls at its end is the membership: a bound method would cost each of them 64 bytes.
        self.leave_now()

    def content(self, encoded: Encoded) -> Any:
        """What is written: a frame, or the message where frames refer to those before."""
        return encoded.data if self.line.frame_key is None else encoded.frame(self.line)

    def send(self, encoded: Encoded) -> None:
        """Write at once where that is welcome."""
        if self.line.writable:
            self.write(self.content(encoded))
        else:
            self.hold(self.content(encoded), encoded)

    async def replay(self, encoded: Encoded) -> None:
        """Write when it is welcome."""
        if not self.line.writable:
            try:
                await self.line.drain()
            except OSError:
                raise WebSocketDisconnect(*(self.line.closed or (1006,))) from None
        self.write(self.content(encoded))

    def ask(self, outbox: Outbox) -> None:
        """The Line calls, behind what waits already."""
        if outbox.call_wanted():
            self.line.write_later(outbox.write_next)

    def write(self, content: Any) -> None:
        """Write a frame, or a message of which only this connection can make one."""
        if self.line.frame_key is not None:
            self.line.write_frame(content)
        elif isinstance(content, str):
            self.line.write_text(content)
        else:
            self.line.write_bytes(content)

    def expel(self, code: int, reason: str) -> None:
        """Close, and drop the connection where its peer does not read."""
        self.line.expel(code, reason)


class SendMembership(Membership):
    """A connection of which only `send_text` and `send_bytes` are known."""

    __slots__ = ("_expelled", "_task", "_turn")

    def __init__(self, topic: Topic, websocket: Any, since: Position | str | None, policy: Policy | None) -> None:
        super().__init__(topic, websocket, since, policy)
        self._task: asyncio.Task[None] | None = None
        self._expelled = False
        # What our own WebSocket has, so that nothing that the endpoint sends overtakes what waits here.
        self._turn: Turn | None = getattr(websocket, "sending", None)

    @property
    def sink(self) -> Any:
        """The WebSocket itself."""
        return self.websocket

    def check_open(self) -> None:
        """Refuse what was not accepted, or has ended."""
        _check_state(self.websocket)

    def send(self, encoded: Encoded) -> None:
        """Leave it to the task, which is started where none runs."""
        self.hold(encoded.data, encoded)

    async def replay(self, encoded: Encoded) -> None:
        """Send, as fast as the server takes it."""
        await self._transmit(encoded.data)

    def ask(self, outbox: Outbox) -> None:
        """Have a task that sends."""
        if self._task is None and not self._expelled:
            called = None if self._turn is None else self._turn.line_up()
            self._task = self.topic.hub.start_task(self._send_all(called))
            self._task.add_done_callback(partial(self._sent_all, called))

    def _sent_all(self, called: Event | None, task: asyncio.Task[None]) -> None:
        # Here, because a task that is cancelled before its first step runs no `finally`.
        self._task = None
        if called is not None and self._turn is not None:
            self._turn.step_out(called)
        if self._outbox is not None and self._outbox.count and not task.cancelled():
            self.ask(self._outbox)

    async def _send_all(self, called: Event | None) -> None:
        try:
            if called is not None:
                await called.wait()
            # Also what comes meanwhile, so that nothing that is sent after it comes before it.
            while self._outbox is not None and self._outbox.count:
                await self._transmit(self._outbox.take())
        except Exception as error:
            # However its server says that the peer is gone.
            logger.debug("a member of %r has left: %r", self.topic.name, error)
            self.leave_now()
            if self._outbox is not None:
                self._outbox.clear()

    async def _transmit(self, data: str | bytes) -> None:
        if self._turn is not None and self._task is not None:
            name = "text" if isinstance(data, str) else "bytes"
            await self.websocket.send_in_turn({"type": "websocket.send", name: data})
        elif isinstance(data, str):
            await self.websocket.send_text(data)
        else:
            await self.websocket.send_bytes(data)

    def expel(self, code: int, reason: str) -> None:
        """Leave, and try to close within a second: a server's buffer cannot be thrown away from here."""
        if self._expelled:
            return
        self._expelled = True
        if self._task is not None:
            self._task.cancel()
        self.topic.hub.start_task(self._close(code, reason))
        self.leave_now()

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.websocket.close(code, reason)
        except Exception as error:
            logger.debug("a member of %r could not be closed: %r", self.topic.name, error)


def _check_state(websocket: Any) -> None:
    """Refuse a WebSocket, ours or Starlette's, that is not open."""
    for name in ("application_state", "client_state"):
        state = getattr(getattr(websocket, name, None), "value", None)
        if state == _CONNECTING:
            raise WebSocketDisconnected('WebSocket is not connected. Need to call "accept" first.')
        if state == _DISCONNECTED:
            raise WebSocketDisconnect(1006)


def membership_of(
    topic: Topic, websocket: Any, since: Position | str | None, policy: Policy | None
) -> LineMembership | SendMembership:
    """The membership that fits a connection.

    Raises:
        TypeError: It is nothing that messages can be sent to.
    """
    if not (hasattr(websocket, "scope") and hasattr(websocket, "send_text") and hasattr(websocket, "send_bytes")):
        raise TypeError(
            f"expected a WebSocket (ours, Starlette's or FastAPI's, or anything with scope, send_text and send_bytes), "
            f"but got {type(websocket).__name__}"
        )
    # Ours says whether a middleware stands between it and the Line; others cannot, and are written to past it.
    line: Line | None = websocket.line if hasattr(websocket, "line") else line_of(websocket.scope)
    if line is None:
        return SendMembership(topic, websocket, since, policy)
    return LineMembership(topic, websocket, since, policy, line)
