"""Closing a connection from beside its endpoint: because a credential has expired, or a limit has been passed.

Whoever decides that, a timer or another task, calls `websocket._expel(code, reason)`, which neither waits nor raises.
The client gets the close frame; the endpoint meets `WebSocketDisconnect` with that code at what it awaits of the
connection or asks of it next, as if the client had left: behind the messages that came before, in `tasks`, in a
listener or a stream. It is never cancelled outside of those.

With the Line that is all, since the engine wakes the receiver. A plain ASGI server may never answer a `receive` that
was begun before our close. So whoever may want to expel says so before the endpoint receives, by
`websocket._expect_expel()`: from then on a receiver can be called out of the server's `receive`.

The order of things without the Line:

1. The end is known: `closed` is true, receivers and watchers are woken.
2. A task sends the close, when it is its turn among those who send, for `SECONDS` at most: a sender stuck with a
   stalled client does not hold it up. The end of the endpoint waits for this task, so the server hears of the close
   before it hears that the application has ended.
3. Sends raise `WebSocketDisconnect` with the code.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from trunkline.states import CONNECTED, CONNECTING, DISCONNECTED, CloseInfo
from trunkline.status import check_close_code, cut_reason

if TYPE_CHECKING:
    from trunkline.inbox import Inbox, LineInbox
    from trunkline.line import Line
    from trunkline.states import WebSocketState
    from trunkline.types import Message

__all__ = ["Expellable"]

logger = logging.getLogger("trunkline")

SECONDS = 1.0


class Expellable:
    """The part of `WebSocket` that is closed from beside its endpoint."""

    _expelled: CloseInfo | None = None
    _expulsion: asyncio.Task[None] | None = None
    _expects_expel: bool = False

    if TYPE_CHECKING:
        application_state: WebSocketState
        _inbox: Inbox | LineInbox | None
        _line_in: Line | None
        _fast_out: Line | None

        @property
        def closed(self) -> bool:
            """Whether the end is known."""

        def _ended(self, message: Message) -> None:
            """The end has become known."""

        def _make_inbox(self) -> Inbox | LineInbox:
            """The inbox, from now on the only way to receive."""

        async def send(self, message: Message) -> None:
            """Send an ASGI message."""

    def _expect_expel(self) -> None:
        """Say that somebody may call `_expel`. Before the endpoint receives; again does no harm."""
        self._expects_expel = True
        if self._line_in is None and self._inbox is None:
            self._make_inbox()

    def _expel(self, code: int, reason: str = "") -> None:
        """Close, from beside the endpoint. Does nothing where the end is known already. asyncio only.

        Before `accept` the handshake is refused (HTTP 403 on the wire), and `accept` raises `WebSocketDisconnect`.

        Args:
            code: A close code that may be sent (RFC 6455 section 7.4); the endpoint gets it too.
            reason: Text for the client, cut to 123 bytes of UTF-8 at a character. Holds nothing secret.

        Raises:
            ValueError: The code may not be sent.
        """
        check_close_code(code)
        if self.closed or self.application_state not in (CONNECTING, CONNECTED):
            return
        info = self._expelled = CloseInfo(code, cut_reason(reason))
        line = self._fast_out
        message = {"type": "websocket.disconnect", **info._asdict()}
        self._ended(message)
        if self._inbox is not None:
            self._inbox.end(message)
        if line is not None:
            self.application_state = DISCONNECTED
            line.close(*info)
        else:
            self._expulsion = asyncio.get_running_loop().create_task(self._send_close(info))

    async def _expulsion_done(self) -> None:
        """Wait until the server has heard of the close, if there is one from beside."""
        if self._expulsion is not None:
            await self._expulsion

    async def _send_close(self, info: CloseInfo) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                await self.send({"type": "websocket.close", **info._asdict()})
        except Exception as error:
            # However its server says that the client has gone meanwhile, or does not read.
            logger.debug("a connection could not be closed with %d: %r", info.code, error)
        finally:
            self.application_state = DISCONNECTED
            if self._line_in is not None:
                self._line_in.close(*info)
