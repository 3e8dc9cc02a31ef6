"""A connection whose server has no Line, between that server and whoever is to keep to the limits.

The limits are kept where messages are received. What goes beyond them ends the connection: our close frame leaves at
once, and the application is told of it as of a close of the client's, by a disconnect; what it sends from then on
raises `OSError`, as towards any peer that is gone (ASGI specs/www.rst, spec version 2.4).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from trunkline.states import CloseInfo
from trunkline.status import WS_1009_MESSAGE_TOO_BIG

if TYPE_CHECKING:
    from trunkline.types import Message, Receive, Send

__all__ = ["LimitedChannel"]

# Seconds that the close frame may take to leave, so that a peer that reads nothing keeps nobody waiting.
_LAST_WORD = 1.0


class LimitedChannel:
    """The `receive` and `send` of one connection.

    Args:
        receive: The server's.
        send: The server's.
        max_message: Bytes of one message at most; None for no limit.
    """

    __slots__ = ("_end", "_is_open", "_max_message", "_receive", "_send")

    def __init__(self, receive: Receive, send: Send, max_message: int | None) -> None:
        self._receive = receive
        self._send = send
        self._max_message = max_message
        self._is_open = False
        self._end: CloseInfo | None = None

    async def receive(self) -> Message:
        """The server's next message, or the disconnect when a limit has ended the connection."""
        if self._end is None:
            message = await self._receive()
            if message["type"] == "websocket.receive":
                await self._check(message)
            if self._end is None:
                return message
        return {"type": "websocket.disconnect", "code": self._end.code, "reason": self._end.reason}

    async def send(self, message: Message) -> None:
        """Pass a message of the application on.

        Raises:
            OSError: A limit has ended the connection.
        """
        if self._end is not None:
            raise OSError(f"the connection has been closed: {self._end.reason}")
        if message["type"] == "websocket.close":
            self._is_open = False
        await self._send(message)
        if message["type"] == "websocket.accept":
            self._is_open = True

    async def _check(self, message: Message) -> None:
        limit = self._max_message
        if limit is not None and _is_larger(message, limit):
            await self._close(CloseInfo(WS_1009_MESSAGE_TOO_BIG, f"a message has {limit} bytes at most"))

    async def _close(self, info: CloseInfo) -> None:
        if not self._is_open:
            return
        self._end = info
        with anyio.move_on_after(_LAST_WORD), suppress(OSError):
            await self._send({"type": "websocket.close", "code": info.code, "reason": info.reason})


def _is_larger(message: Message, limit: int) -> bool:
    text: str | None = message.get("text")
    if text is None:
        return len(message.get("bytes") or b"") > limit
    # A character has 4 bytes at most (RFC 3629 section 3), so most texts need not be encoded to be told.
    return len(text) > limit or (len(text) * 4 > limit and len(text.encode("utf-8", "surrogatepass")) > limit)
