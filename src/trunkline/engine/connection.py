"""One open WebSocket: the bytes of a transport on one side, messages for the application on the other.

The connection is a `Line`, gives ASGI's `receive` and `send`, and is the transport's protocol from accept on.

**In.** Every read is decoded at once, in the loop's read buffer, and its messages are appended to `messages`; whoever
waits is woken once per read. Control frames are answered from there, however busy the application is. Reading pauses
when the bound is reached (messages or bytes not yet taken) and goes on when all has been taken, so it never pauses
inside a message while none is queued.

**Out.** Frames are gathered in `_out` and leave in one write: when a receiver finds nothing more to take, at the end
of the loop's tick, or when the high-water mark is reached. Then `writable` is false, and `drain` waits for the
transport, for `send_timeout` at most: who reads nothing for so long is aborted, and the memory is free.

**The end** has two halves, which may lie apart. It is *known* when `closed` is set: at once, whatever is unread. It
*comes* for the peer when our last close frame leaves: after our own close at once; as the answer to the peer's close,
and for a violation, when the application asks for more than came before it, or after `LAST_WORD` seconds. So what
came before the end is still answered.

Phases only go forward: opening -> open -> closing (our close frame is written) -> ended (the transport is gone).
"""

from __future__ import annotations

import asyncio
import enum
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from trunkline.engine.codec import Decoder, binary_frame, close_frame, frame, text_frame
from trunkline.engine.events import Close, Ping, Pong, Violation
from trunkline.states import CloseInfo
from trunkline.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.engine.deflate import Deflate
    from trunkline.engine.settings import EngineSettings
    from trunkline.types import Message

__all__ = ["ClientGone", "Connection", "Phase"]

READ_BUFFER = 256 * 1024
LAST_WORD = 0.5
ABORT_AFTER = 1.0
_BINARY, _PING, _PONG, _TEXT = 2, 9, 10, 1

_read_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _read_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    """The one buffer into which all connections of a loop read; each empties it before it returns to the loop."""
    buffer = _read_buffers.get(loop)
    if buffer is None:
        buffer = _read_buffers[loop] = memoryview(bytearray(READ_BUFFER))
    return buffer


class ClientGone(OSError):
    """Raised by `send` when the connection has ended (ASGI 2.4: an `OSError`, which is no error of the application)."""


class Phase(enum.IntEnum):
    """Where a connection stands; it only goes forward."""

    OPENING = 0
    OPEN = 1
    CLOSING = 2
    ENDED = 3


OPENING, OPEN, CLOSING, ENDED = Phase


class Connection(asyncio.BufferedProtocol):
    """One WebSocket, from accept on; before it only `messages` of a client that does not wait gather here.

    Args:
        loop: The loop of the connection.
        transport: What the bytes go through.
        settings: Its limits.
        on_end: Called once when the transport is gone.
    """

    __slots__ = (
        "_answer",
        "_base",
        "_callback",
        "_close_callbacks",
        "_decoder",
        "_deflate",
        "_drains",
        "_end_known",
        "_keepalive",
        "_loop",
        "_on_end",
        "_out",
        "_out_bytes",
        "_ping",
        "_ping_sent",
        "_pong_due",
        "_read_paused",
        "_threshold",
        "_timer",
        "_transport",
        "_view",
        "_waiter",
        "_write_paused",
        "closed",
        "head",
        "heard",
        "latency",
        "messages",
        "phase",
        "receive",
        "receiving",
        "send",
        "settings",
        "writable",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        settings: EngineSettings,
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self.settings = settings
        self._on_end = on_end
        self.phase = OPENING
        self.messages: list[str | bytes] = []
        self.head = 0
        self.receiving = Turn()
        self.writable = False
        self.closed: CloseInfo | None = None
        self.latency: float | None = None
        self.heard = False
        self.receive: Any = None
        self.send: Any = None
        self._view = _read_buffer(loop)
        self._decoder: Decoder = None  # type: ignore[assignment]  # made by `open`
        self._deflate: Deflate | None = None
        self._base = 0
        self._callback: Callable[[], None] | None = None
        self._close_callbacks: list[Callable[[CloseInfo], None]] | None = None
        self._end_known: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drains: list[asyncio.Future[None]] | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._read_paused = False
        self._write_paused = False
        self._answer: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keepalive: asyncio.TimerHandle | None = None
        self._ping: bytes | None = None
        self._ping_sent = 0.0
        self._pong_due: bytes | None = None

    # The transport's side

    def open(self, deflate: Deflate | None) -> None:
        """The handshake has been answered: frames may come and go."""
        self._deflate = deflate
        inflate = None if deflate is None else deflate.inflate
        self._decoder = Decoder(self.settings.max_message, inflate)
        self.phase = OPEN
        self.writable = not self._write_paused
        self._schedule_ping()

    def get_buffer(self, sizehint: int) -> memoryview:
        """The loop's read buffer. Has no effect: not every call is followed by a read."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """A read has filled the first bytes of the read buffer."""
        self.feed(self._view, nbytes)

    def feed(self, data: bytes | bytearray | memoryview, size: int) -> None:
        """Take the first `size` bytes of `data` from the peer."""
        self.heard = True
        messages = self.messages if self.phase is OPEN and self._answer is None else []
        events = self._decoder.feed(data, size, messages)
        if events is not None:
            self._handle(events)
        if self.head < len(self.messages):
            self._wake()
            if (
                len(self.messages) - self.head >= self.settings.inbound_messages
                or self._decoder.received - self._base >= self.settings.inbound_bytes
            ) and not self._read_paused:
                self._read_paused = True
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The peer sends no more: without a close frame before, it is lost."""
        self._close(CloseInfo(1006, ""))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self.phase = ENDED
        self.writable = False
        self._out.clear()
        self._out_bytes = 0
        self._answer = None
        for timer in (self._timer, self._keepalive):
            if timer is not None:
                timer.cancel()
        self._timer = self._keepalive = None
        self._close(CloseInfo(1006, ""))
        self._release_drains()
        self._on_end()

    def pause_writing(self) -> None:
        """The transport holds more than the high-water mark."""
        self._write_paused = True
        self.writable = False

    def resume_writing(self) -> None:
        """The transport has drained."""
        self._write_paused = False
        if self._pong_due is not None:
            self.write_frame(frame(_PONG, self._pong_due))
            self._pong_due = None
        self.writable = self.phase is OPEN
        self._release_drains()

    def _handle(self, events: Sequence[Ping | Pong | Close | Violation]) -> None:
        for event in events:
            if isinstance(event, Ping):
                self._pong(event.payload)
            elif isinstance(event, Pong):
                self._ponged(event.payload)
            elif isinstance(event, Close):
                self._peer_closed(event)
            else:
                self._end_with(event.code, event.reason, close_frame(event.code, event.reason))

    def _pong(self, payload: bytes) -> None:
        if self.phase is not OPEN:
            return
        if self._write_paused:
            # RFC 6455 section 5.5.3: only the latest ping needs an answer.
            self._pong_due = payload
        else:
            self.write_frame(frame(_PONG, payload))

    def _peer_closed(self, event: Close) -> None:
        if self.phase is OPEN:
            self._end_with(event.code, event.reason, close_frame(event.code, ""))
        else:
            self._hang_up()

    # The application's side: in

    async def next(self) -> str | bytes | None:
        """The next message, waiting for it; None once all has been taken and the connection has ended."""
        turn = self.receiving
        if turn.taken:
            await turn.wait()
        turn.taken = True
        try:
            while self.head >= len(self.messages):
                self._ask_for_more()
                if self.closed is not None:
                    return None
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message = self.messages[self.head]
            self.head += 1
            return message
        finally:
            turn.give_back()

    async def next_message(self) -> Message:
        """The next as ASGI's `receive` gives it."""
        message = await self.next()
        if message is None:
            code, reason = self.closed or CloseInfo(1006, "")
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    def take_all(self) -> list[str | bytes]:
        """All messages that have come, without waiting."""
        taken = self.messages[self.head :]
        self.head = len(self.messages)
        self._ask_for_more()
        return taken

    def on_message(self, callback: Callable[[], None] | None) -> None:
        """Call back when messages have come, instead of having somebody wait; None to stop."""
        self._callback = callback

    def on_close(self, callback: Callable[[CloseInfo], None]) -> None:
        """Call back once when the end is known; at once if it is."""
        if self.closed is not None:
            callback(self.closed)
        elif self._close_callbacks is None:
            self._close_callbacks = [callback]
        else:
            self._close_callbacks.append(callback)

    async def wait_closed(self) -> CloseInfo:
        """Wait until the end is known; any number of tasks may."""
        if self.closed is None:
            if self._end_known is None:
                self._end_known = self._loop.create_future()
            # Shielded: one who gives up must not end the others' wait.
            await asyncio.shield(self._end_known)
        assert self.closed is not None
        return self.closed

    def _ask_for_more(self) -> None:
        """All has been taken: let go of it, send what is gathered, read on, and say the last word if it waits."""
        if self.head:
            self.messages.clear()
            self.head = 0
            self._base = self._decoder.received
        if self._out:
            self.flush()
        if self._read_paused and self.phase is not ENDED:
            self._read_paused = False
            self._transport.resume_reading()
        if self._answer is not None:
            self._say_last_word()

    def _wake(self) -> None:
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif self._callback is not None:
            self._callback()

    # The application's side: out

    def write_text(self, data: str) -> None:
        """Write a text message."""
        if self._deflate is None or len(data) < self._deflate.threshold:
            self.write_frame(text_frame(data))
        else:
            self.write_frame(frame(_TEXT, self._deflate.compress(data.encode()), True))

    def write_bytes(self, data: bytes) -> None:
        """Write a binary message."""
        if self._deflate is None or len(data) < self._deflate.threshold:
            self.write_frame(binary_frame(data))
        else:
            self.write_frame(frame(_BINARY, self._deflate.compress(data), True))

    def write_frame(self, data: bytes) -> None:
        """Write a ready-made frame."""
        if self.phase is not OPEN:
            return
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > self.settings.high_water:
            self.writable = False

    def flush(self) -> None:
        """Hand all that is gathered to the transport, in one write."""
        out = self._out
        if not out:
            return
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        self._out_bytes = 0
        self.writable = self.phase is OPEN and not self._write_paused

    async def drain(self) -> None:
        """Wait until a write is welcome again.

        Raises:
            OSError: The connection has ended, or has not become writable within the send limit and was aborted.
        """
        self.flush()
        if self.phase is OPEN and not self._write_paused:
            # The peer keeps up. The others' turn, all the same: a sender that never waits would starve them.
            await asyncio.sleep(0)
        timer = None
        if self._write_paused and self.settings.send_timeout is not None:
            timer = self._loop.call_later(self.settings.send_timeout, self.abort)
        try:
            while self._write_paused and self.phase is OPEN:
                await self._drained()
        finally:
            if timer is not None:
                timer.cancel()
        if self.phase is not OPEN:
            raise ClientGone("the connection has ended")

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
        return self._out_bytes + self._transport.get_write_buffer_size()

    # The end

    def close(self, code: int, reason: str) -> None:
        """Our own close: the frame leaves now, and the peer has `close_timeout` to answer it."""
        self._close(CloseInfo(code, reason))
        if self._answer is not None:
            # The peer's close is in already: this is the answer to it.
            self._answer = close_frame(code, reason)
            self._say_last_word()
            return
        self._write_close(close_frame(code, reason))
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        self._timer = self._loop.call_later(self.settings.close_timeout, self.abort)

    def abort(self) -> None:
        """Drop the connection at once, with what is buffered."""
        self._transport.abort()

    def configure(self, **limits: Any) -> None:
        """Set limits of this connection, before accept: the fields of `EngineSettings` by name."""
        if self.phase is not OPENING:
            raise RuntimeError("the limits of a connection are set before it is accepted")
        self.settings = replace(self.settings, **limits)

    def end(self, info: CloseInfo) -> None:
        """The connection ends before it was opened."""
        self.phase = CLOSING
        self._close(info)

    def leave(self) -> None:
        """The application has ended without a close: so does the connection, behind what is written."""
        if self.phase is OPEN and self._answer is None:
            self.flush()
            self._close(CloseInfo(1006, ""))
            self.phase = CLOSING
            self.writable = False
            self._hang_up()
        elif self._answer is not None:
            self._say_last_word()

    def _close(self, info: CloseInfo) -> None:
        """The end is known; the first that is known counts."""
        if self.closed is not None:
            return
        self.closed = info
        self._wake()
        if self._end_known is not None and not self._end_known.done():
            self._end_known.set_result(None)
        callbacks, self._close_callbacks = self._close_callbacks, None
        for callback in callbacks or ():
            callback(info)

    def _end_with(self, code: int, reason: str, answer: bytes) -> None:
        """The peer has ended the connection, politely or not: answer when what came before has been answered."""
        if self.phase is not OPEN or self._answer is not None:
            return
        self._answer = answer
        self._timer = self._loop.call_later(LAST_WORD, self._say_last_word)
        self._close(CloseInfo(code, reason))

    def _say_last_word(self) -> None:
        answer, self._answer = self._answer, None
        if answer is None or self.phase is not OPEN:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._write_close(answer)
        self._hang_up()

    def _write_close(self, answer: bytes) -> None:
        self.write_frame(answer)
        self.flush()
        self.phase = CLOSING
        self.writable = False
        self._release_drains()
        self._stop_keepalive()

    def _hang_up(self) -> None:
        """Close the transport behind what is written; a peer that does not take it is dropped."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(ABORT_AFTER, self.abort)
        self._transport.close()

    # Keepalive

    def _schedule_ping(self) -> None:
        if self.settings.ping_interval:
            self._keepalive = self._loop.call_later(self.settings.ping_interval, self._send_ping)

    def _send_ping(self) -> None:
        self._ping = random.randbytes(4)
        self._ping_sent = self._loop.time()
        self.heard = False
        self.write_frame(frame(_PING, self._ping))
        if self.settings.ping_timeout is None:
            self._schedule_ping()
        else:
            self._keepalive = self._loop.call_later(self.settings.ping_timeout, self._missed_pong)

    def _ponged(self, payload: bytes) -> None:
        if payload != self._ping:
            return
        self._ping = None
        self.latency = self._loop.time() - self._ping_sent
        if self.settings.ping_timeout is not None:
            self._stop_keepalive()
            self._schedule_ping()

    def _missed_pong(self) -> None:
        if self.heard or self._read_paused:
            # The peer sends, or would if we read: its pong may stand behind that.
            self._ping = None
            self._schedule_ping()
            return
        reason = "keepalive ping timeout"
        stalled = self.buffered > 0
        self._close(CloseInfo(1011, reason))
        self._write_close(close_frame(1011, reason))
        if stalled:
            self.abort()
        else:
            self._hang_up()

    def _stop_keepalive(self) -> None:
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
