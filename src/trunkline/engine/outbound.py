"""The waiting half of what a connection writes: who waits until a write is welcome, in which order, and for how long.

A write is welcome while less than the high-water mark is gathered and the transport has not asked for a pause. Whoever
is refused waits in `drain` and tries again, or leaves a callback to `write_later`. Those callbacks stand in one queue,
outside of the transport, which would copy what they write; they are called for a high-water mark's worth at a time. As
long as one stands there `writable` is false for everybody else, so nothing overtakes it. Every wait ends: with the
connection, or after `send_timeout`, when a peer that takes nothing is aborted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from trunkline.engine.channel import Channel
from trunkline.engine.codec import BINARY, TEXT, binary_frame, frame, text_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trunkline.engine.settings import EngineSettings
    from trunkline.engine.shared import LoopShare

__all__ = ["ClientGone", "Outbound"]

# The `frame_key` of connections without compression.
_UNCOMPRESSED = "uncompressed"


class ClientGone(OSError):
    """Raised by `send` when the connection has ended (ASGI 2.4: an `OSError`, which is no error of the application)."""


class Outbound(Channel):
    """A channel on whose writes somebody may wait.

    Args:
        loop: The loop of the connection.
        transport: What the bytes go through.
        settings: Its limits.
        share: What all connections of the loop share.
    """

    __slots__ = ("_drains", "settings")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        settings: EngineSettings,
        share: LoopShare,
    ) -> None:
        super().__init__(loop, transport, settings, share)
        self.settings = settings
        self._drains: list[asyncio.Future[None]] | None = None

    def abort(self) -> None:
        """Drop the connection at once, with what is buffered."""
        raise NotImplementedError

    def _guarded(self, callback: Callable[..., object], *args: object) -> None:
        """Call into the application."""
        raise NotImplementedError

    @property
    def frame_key(self) -> Hashable | None:
        """What frames are made by: equal keys take the same frames; None if they refer back to earlier ones."""
        return _UNCOMPRESSED if self._deflate is None else self._deflate.frame_key

    def make_frame(self, data: str | bytes) -> bytes:
        """The frame of a message, for this connection and all with the same `frame_key`."""
        deflate = self._deflate
        if deflate is None or len(data) < deflate.threshold:
            return text_frame(data) if isinstance(data, str) else binary_frame(data)
        if isinstance(data, str):
            return frame(TEXT, deflate.compress(data.encode()), True)
        return frame(BINARY, deflate.compress(data), True)

    def write_later(self, write: Callable[[], object]) -> None:
        """Call `write` when a write is welcome, behind all that was written or left to this before."""
        if not self.speaking:
            self._guarded(write)
            return
        if self._later is None:
            self._settle()
            self._later = deque()
            self.writable = False
            if not self._out:
                self._flush_soon()
        self._later.append(write)

    def _write_later_ones(self) -> None:
        """Go on with what waits, as far as a write is welcome."""
        # Out of sight meanwhile: a large message flushes what is gathered.
        later, self._later = self._later, None
        while later and self.writable:
            self._guarded(later.popleft())
        if later:
            self._later = later
            self.writable = False

    async def write_in_turn(self, write: Callable[[], object]) -> None:
        """Write when it is welcome, behind what was left to `write_later`, or not at all if this is cancelled.

        Args:
            write: Writes, and says whether that was welcome.

        Raises:
            OSError: The connection has ended, or has not become writable within the send limit and was aborted.
        """
        if self._later is None:
            while not write():
                await self.drain()
            return
        written = self._loop.create_future()

        def write_now() -> None:
            if written.done():
                return
            try:
                self._check_open()
                write()
            except Exception as error:
                written.set_exception(error)
            else:
                written.set_result(None)

        self.write_later(write_now)
        timer = self._abort_later()
        try:
            await written
        finally:
            if timer is not None:
                timer.cancel()

    async def drain(self) -> None:
        """Wait until a write is welcome again.

        Raises:
            OSError: The connection has ended, or has not become writable within the send limit and was aborted.
        """
        self.flush()
        if self.speaking and not self._write_paused:
            # The peer keeps up. The others' turn, all the same: a sender that never waits would starve them.
            await asyncio.sleep(0)
        while self.speaking and not self.writable:
            self.flush()
            if self._write_paused:
                await self.written()
            else:
                await asyncio.sleep(0)
        self._check_open()

    def _check_open(self) -> None:
        if not self.speaking:
            raise ClientGone("the connection has ended")

    def _abort_later(self) -> asyncio.TimerHandle | None:
        timeout = self.settings.send_timeout
        return None if timeout is None else self._loop.call_later(timeout, self.abort)

    async def written(self) -> None:
        """Wait while the transport holds too much, for the send limit at most; return too when the connection ends."""
        timer = self._abort_later() if self._write_paused else None
        try:
            while self._write_paused and self.closed is None:
                await self._drained()
        finally:
            if timer is not None:
                timer.cancel()

    async def _drained(self) -> None:
        waiter = self._loop.create_future()
        if self._drains is None:
            self._drains = []
        self._drains.append(waiter)
        await waiter

    def _release_drains(self) -> None:
        waiters, self._drains = self._drains, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    @property
    def buffered(self) -> int:
        """Bytes written that the operating system has not taken yet."""
        volley = self._volley
        gathered = self._out_bytes + (0 if volley is None else volley.bytes)
        return gathered + self._transport.get_write_buffer_size()
