"""Reading ahead on a server that only offers `receive`, for those who wait for the end of a connection.

A plain ASGI server tells of a disconnect in one way: as a message of `receive`, behind all that the client sent
before. Whoever wants to know the end while nobody receives must therefore read what comes before it. That happens
here, under these rules:

- Nothing is read ahead until somebody watches (`wait_closed`, `tasks`), and no task of ours does it: whoever waits
  reads. At any time at most one of those who wait is inside the server's `receive`; when it stops, for whatever
  reason, the next one takes over.
- What a watcher reads goes unchanged into a bounded buffer, which receivers empty first. At the bound watchers stop
  reading, and the end is seen later.
- Receivers are served one at a time, in order. Between the server's `receive` returning and the message being handed
  over or buffered nothing is awaited, so a cancelled receiver or watcher loses no message.
- The disconnect is the last message. Receivers that were waiting when it was handed out all get it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio

from trunkline.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.types import Message, Receive

__all__ = ["Inbox"]

MAX_MESSAGES = 64
MAX_BYTES = 1024 * 1024


def _size(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or b"")


class Inbox:
    """The messages read ahead of one connection.

    Args:
        receive: The server's `receive`.
        on_disconnect: Called with the disconnect message as soon as it has been read.
        reading: Whether a receiver is inside the server's `receive` already; it calls `rest` when it comes out.

    Attributes:
        disconnect: The disconnect message, once it has been read.
        delivered: Whether a receiver has got it.
        observers: Called by each receiver when it begins to wait, in its own task.
    """

    __slots__ = (
        "_bytes",
        "_messages",
        "_news",
        "_on_disconnect",
        "_reading",
        "_receive",
        "_turn",
        "_watches",
        "delivered",
        "disconnect",
        "observers",
    )

    def __init__(self, receive: Receive, on_disconnect: Callable[[Message], None], *, reading: bool) -> None:
        self._receive = receive
        self._on_disconnect = on_disconnect
        self._reading = reading
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._turn = Turn()
        self._news: anyio.Event | None = None
        self._watches: set[anyio.CancelScope] = set()
        self.disconnect: Message | None = None
        self.delivered = False
        self.observers: list[Callable[[], None]] = []

    @property
    def unread(self) -> bool:
        """Whether messages that came before the end wait for a receiver."""
        return bool(self._messages)

    async def next(self) -> Message:
        """The next message in order; the disconnect for all who were waiting when it was reached."""
        for observe in self.observers:
            observe()
        turn = self._turn
        if turn.taken:
            await turn.wait()
        turn.taken = True
        try:
            while not self._messages:
                if self.disconnect is not None:
                    self.delivered = True
                    return self.disconnect
                await self._progress()
            message = self._messages.popleft()
            self._bytes -= _size(message)
            return message
        finally:
            turn.give_back()
            self.notify()

    async def watch(self) -> None:
        """Read ahead until the disconnect has been read, or `wake` is called."""
        with anyio.CancelScope() as watch:
            self._watches.add(watch)
            try:
                while self.disconnect is None:
                    await self._progress(ahead=True)
            finally:
                self._watches.discard(watch)

    def wake(self) -> None:
        """Send all watchers home: the end is known by other means."""
        for watch in self._watches:
            watch.cancel()

    async def change(self) -> None:
        """Wait until something has been read or taken, or `notify` was called."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()

    def notify(self) -> None:
        """Tell all who wait in `change` to look again."""
        if self._news is not None:
            self._news.set()
            self._news = None

    def rest(self) -> None:
        """The reader has come out of the server's `receive`: somebody else may go in."""
        self._reading = False
        self.notify()

    def ended(self, message: Message) -> None:
        """Take note of the disconnect, which a receiver read past the buffer."""
        self.disconnect = message
        self.delivered = True
        self.notify()

    async def _progress(self, *, ahead: bool = False) -> None:
        if self._reading or (ahead and self._full):
            await self.change()
            return
        self._reading = True
        try:
            message = await self._receive()
            self._put(message)
        finally:
            self.rest()

    @property
    def _full(self) -> bool:
        return len(self._messages) >= MAX_MESSAGES or self._bytes >= MAX_BYTES

    def _put(self, message: Message) -> None:
        if message["type"] == "websocket.disconnect":
            self.disconnect = message
            self._on_disconnect(message)
        else:
            self._messages.append(message)
            self._bytes += _size(message)
