"""What all connections of one event loop share: the buffer into which they read, the end of the tick, and alarms.

Never module-global: with two loops in two threads, each would find the other's bytes in the buffer.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from trunkline.engine.channel import Channel

__all__ = ["Alarm", "LoopShare", "share_of"]

READ_BUFFER = 256 * 1024


class Alarm:
    """A callback that waits for its time, like a timer of the loop.

    Attributes:
        when: The loop's time at which it is due.
    """

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Let the time pass without the callback."""
        self.callback = None


class LoopShare:
    """The read buffer of a loop, those of its connections that have something to write, and their alarms.

    A connection empties the buffer before it returns to the loop. Of all that write in one tick only the first asks the
    loop for a callback. Alarms that are set for the same span of time ring in the order in which they are set, so they
    stand in one queue with one timer of the loop: connections have the same few spans, and a timer each costs more.

    Attributes:
        read_buffer: What all connections read into.
        unflushed: Connections that have something to write; whoever puts the first in it calls `flush_soon`.
    """

    __slots__ = ("_alarms", "read_buffer", "unflushed")

    def __init__(self) -> None:
        self.read_buffer = memoryview(bytearray(READ_BUFFER))
        self.unflushed: list[Channel] = []
        self._alarms: dict[float, deque[Alarm]] = {}

    def flush_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Flush at the end of the loop's tick what stands in `unflushed` by then.

        Args:
            loop: The loop of this share, which does not hold it: a loop that nobody uses any more is to be forgotten.
        """
        loop.call_soon(self._flush_all, loop)

    def call_later(self, seconds: float, callback: Callable[[], None], loop: asyncio.AbstractEventLoop) -> Alarm:
        """Call back after some time.

        Args:
            seconds: The time.
            callback: What to call; its errors go to the loop's exception handler.
            loop: The loop of this share.
        """
        alarm = Alarm(loop.time() + seconds, callback)
        queue = self._alarms.get(seconds)
        if queue is None:
            queue = self._alarms[seconds] = deque()
            loop.call_later(seconds, self._ring, seconds, loop)
        while queue and queue[-1].callback is None:
            queue.pop()
        queue.append(alarm)
        return alarm

    def _ring(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        queue = self._alarms[seconds]
        now = loop.time()
        while queue and (queue[0].callback is None or queue[0].when <= now):
            callback = queue.popleft().callback
            if callback is None:
                continue
            try:
                callback()
            except Exception as error:
                _report(error, "an alarm of a connection failed", loop)
        if queue:
            loop.call_at(queue[0].when, self._ring, seconds, loop)
        else:
            del self._alarms[seconds]

    def _flush_all(self, loop: asyncio.AbstractEventLoop) -> None:
        unflushed, self.unflushed = self.unflushed, []
        for connection in unflushed:
            try:
                connection.flush()
            except Exception as error:
                _report(error, "a connection could not be flushed", loop)


def _report(error: Exception, what: str, loop: asyncio.AbstractEventLoop) -> None:
    loop.call_exception_handler({"message": what, "exception": error})


_shares: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopShare] = WeakKeyDictionary()


def share_of(loop: asyncio.AbstractEventLoop) -> LoopShare:
    """The share of a loop, made when its first connection comes."""
    share = _shares.get(loop)
    if share is None:
        share = _shares[loop] = LoopShare()
    return share
