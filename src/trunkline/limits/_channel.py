"""A connection whose server has no Line, between that server and whoever is to keep to the limits.

The limits are kept where messages are received. What goes beyond them ends the connection: our close frame leaves at
once, and the application is told of it as of a close of the client's, by a disconnect; what it sends from then on
raises `OSError`, as towards any peer that is gone (ASGI specs/www.rst, spec version 2.4).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from trunkline.limits._meter import size_of
from trunkline.states import CloseInfo
from trunkline.status import WS_1008_POLICY_VIOLATION, WS_1009_MESSAGE_TOO_BIG

if TYPE_CHECKING:
    from trunkline.limits._meter import Meter
    from trunkline.types import Message, Receive, Send

__all__ = ["LimitedChannel"]

# Seconds that the close frame may take to leave.
_LAST_WORD = 1.0
# A message that comes in less has been waiting for the application.
_AT_ONCE = 0.001


class LimitedChannel:
    """The `receive` and `send` of one connection.

    Args:
        receive: The server's.
        send: The server's.
        max_message: Bytes of one message at most.
        meter: Who counts the messages, if somebody does.
    """

    __slots__ = ("_end", "_is_open", "_max_message", "_meter", "_receive", "_send")

    def __init__(self, receive: Receive, send: Send, max_message: float, meter: Meter | None) -> None:
        self._receive = receive
        self._send = send
        self._max_message = max_message
        self._meter = meter
        self._is_open = False
        self._end: CloseInfo | None = None

    async def receive(self) -> Message:
        """The server's next message, or the disconnect when a limit has ended the connection."""
        if self._end is None:
            message = await (self._receive() if self._meter is None else self._receive_in_time(self._meter))
            if message["type"] == "websocket.receive" and self._is_open:
                self._end = self._excess(message)
            if self._end is None:
                return message
        if self._is_open:
            await self._close(self._end)
        return {"type": "websocket.disconnect", **self._end._asdict()}

    async def send(self, message: Message) -> None:
        """Pass a message of the application on.

        Raises:
            OSError: A limit has ended the connection.
        """
        if self._end is not None:
            if not self._is_open:
                raise OSError(f"the connection has been closed: {self._end.reason}")
            if message["type"] == "websocket.close":  # whoever was to close was cancelled
                message = {**message, **self._end._asdict()}
        if message["type"] == "websocket.close":
            self._is_open = False
        if self._meter is not None:
            self._meter.seen_at = anyio.current_time()
        await self._send(message)
        if message["type"] == "websocket.accept":
            self._is_open = True

    async def _receive_in_time(self, meter: Meter) -> Message:
        delay = meter.delay(anyio.current_time())
        if delay:
            await anyio.sleep(delay)
        began = anyio.current_time()
        message = await self._receive()
        if anyio.current_time() - began > _AT_ONCE:
            meter.rest(anyio.current_time())
        return message

    def _excess(self, message: Message) -> CloseInfo | None:
        """How a message ends the connection, if it goes beyond a limit."""
        data: str | bytes = message.get("text") or message.get("bytes") or b""
        if size_of(data) > self._max_message:
            return CloseInfo(WS_1009_MESSAGE_TOO_BIG, f"a message has {self._max_message} bytes at most")
        words = None if self._meter is None else self._meter.excess(data, anyio.current_time())
        return None if words is None else CloseInfo(WS_1008_POLICY_VIOLATION, words)

    async def _close(self, info: CloseInfo) -> None:
        # A client that is gone, or reads nothing, keeps nobody.
        with anyio.move_on_after(_LAST_WORD), suppress(OSError):
            await self._send({"type": "websocket.close", **info._asdict()})
        self._is_open = False
