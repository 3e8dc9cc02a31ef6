"""What `wait_closed` and `tasks` need of the receiving side: the end as early as it can be known, and who receives.

A server with a Line knows the end by itself, and `LineInbox` passes it on. The rest of this page is about `Inbox`:
reading ahead on a server that only offers `receive`.

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
- Whoever ends the connection from beside calls `end`: the reader comes out of the server's `receive`, and the
  disconnect that it was given stands behind what has been read.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio

from trunkline.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.line import Line
    from trunkline.types import Message, Receive

__all__ = ["Inbox", "LineInbox"]

MAX_MESSAGES = 64
MAX_BYTES = 1024 * 1024


def _size(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or b"")


class _News:
    """What both inboxes tell: that something has been read or taken, and that somebody begins to receive.

    Attributes:
        disconnect: The disconnect message, once it has been read.
        delivered: Whether a receiver has got it.
        observers: Called by each receiver when it begins to wait, in its own task.
    """

    __slots__ = ("_news", "delivered", "disconnect", "observers")

    def __init__(self) -> None:
        self._news: anyio.Event | None = None
        self.disconnect: Message | None = None
        self.delivered = False
        self.observers: list[Callable[[], None]] = []

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

    def ended(self, message: Message) -> None:
        """Take note of the disconnect, which a receiver read past the inbox."""
        self.disconnect = message
        self.delivered = True
        self.notify()


class LineInbox(_News):
    """The inbox of a connection whose server has a Line.

    Args:
        line: The Line.
    """

    __slots__ = ("_line",)

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    @property
    def unread(self) -> bool:
        """Whether messages that came before the end wait for a receiver."""
        return self._line.unread

    async def next(self) -> Message:
        """The next message in order; the disconnect for all who wait when it is reached."""
        for observe in self.observers:
            observe()
        message = await self._line.receive()
        if message["type"] == "websocket.disconnect":
            self.ended(message)
        else:
            self.notify()
        return message

    async def watch(self) -> None:
        """Wait until the end is known, whoever's it is."""
        await self._line.wait_closed()

    def wake(self) -> None:
        """The Line wakes those who watch."""

    def end(self, message: Message) -> None:
        """The Line wakes those who receive."""

    def rest(self) -> None:
        """Several may wait inside the Line's `receive`."""


class Inbox(_News):
    """The messages read ahead of one connection.

    Args:
        receive: The server's `receive`.
        on_disconnect: Called with the disconnect message as soon as it has been read.
        reading: Whether a receiver is inside the server's `receive` already; it calls `rest` when it comes out.
    """

    __slots__ = ("_bytes", "_messages", "_on_disconnect", "_reader", "_reading", "_receive", "_turn", "_watches")

    def __init__(self, receive: Receive, on_disconnect: Callable[[Message], None], *, reading: bool) -> None:
        super().__init__()
        self._receive = receive
        self._on_disconnect = on_disconnect
        self._reading = reading
        self._reader: anyio.CancelScope | None = None
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._turn = Turn()
        self._watches: set[anyio.CancelScope] = set()

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

    def end(self, message: Message) -> None:
        """End it with a disconnect that did not come from the server, behind what has been read."""
        self.disconnect = message
        if self._reader is not None:
            self._reader.cancel()
        self.notify()

    def rest(self) -> None:
        """The reader has come out of the server's `receive`: somebody else may go in."""
        self._reading = False
        self.notify()

    async def _progress(self, *, ahead: bool = False) -> None:
        if self._reading or (ahead and self._full):
            await self.change()
            return
        self._reading = True
        try:
            with anyio.CancelScope() as self._reader:
                self._put(await self._receive())
        finally:
            self._reader = None
            self.rest()

    @property
    def _full(self) -> bool:
        return len(self._messages) >= MAX_MESSAGES or self._bytes >= MAX_BYTES

    def _put(self, message: Message) -> None:
        if message["type"] == "websocket.disconnect":
            if self.disconnect is None:
                self.disconnect = message
                self._on_disconnect(message)
        else:
            self._messages.append(message)
            self._bytes += _size(message)
