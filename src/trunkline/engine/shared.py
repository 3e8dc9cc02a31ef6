"""What all connections of one event loop share: the buffer into which they read, and the end of the tick.

Never module-global: with two loops in two threads, each would find the other's bytes in the buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import asyncio

__all__ = ["LoopShare", "share_of"]

READ_BUFFER = 256 * 1024


class Flushable(Protocol):
    """What has something to write at the end of the tick."""

    def flush(self) -> None:
        """Write it."""


class LoopShare:
    """The read buffer of a loop, and those of its connections that have something to write.

    A connection empties the buffer before it returns to the loop. Of all that write in one tick only the first asks the
    loop for a callback.
    """

    __slots__ = ("_pending", "read_buffer")

    def __init__(self) -> None:
        self.read_buffer = memoryview(bytearray(READ_BUFFER))
        self._pending: list[Flushable] = []

    def flush_soon(self, connection: Flushable, loop: asyncio.AbstractEventLoop) -> None:
        """Flush a connection at the end of the loop's tick.

        Args:
            connection: What has something to write, and had nothing before.
            loop: The loop of this share, which does not hold it: a loop that nobody uses any more is to be forgotten.
        """
        if not self._pending:
            loop.call_soon(self._flush_all, loop)
        self._pending.append(connection)

    def _flush_all(self, loop: asyncio.AbstractEventLoop) -> None:
        pending, self._pending = self._pending, []
        for connection in pending:
            try:
                connection.flush()
            except Exception as error:
                loop.call_exception_handler({"message": "a connection could not be flushed", "exception": error})


_shares: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopShare] = WeakKeyDictionary()


def share_of(loop: asyncio.AbstractEventLoop) -> LoopShare:
    """The share of a loop, made when its first connection comes."""
    share = _shares.get(loop)
    if share is None:
        share = _shares[loop] = LoopShare()
    return share
