"""One open WebSocket: the bytes of a transport on one side, messages for the application on the other.

The connection is a `Line`, and the transport's protocol from accept on. What runs for each
message is its `Channel`; here is what decides beside it.

**In.** Control frames are answered while they are read, however busy the application is. Reading pauses when the bound
is reached (messages or bytes not yet taken) and goes on when all has been taken, so it never pauses inside a message
while none is queued.

**Out.** Above the high-water mark `writable` is false, writes are refused, and `drain` waits for the transport, for
`send_timeout` at most: who reads nothing for so long is aborted, and the memory is free (`Outbound`).

**The end** has two halves, which may lie apart. It is *known* when `closed` is set: at once, whatever is unread. It
*comes* for the peer when our last close frame leaves: after our own close at once; as the answer to the peer's close,
and for a violation, when the application asks for more than came before it, or after `LAST_WORD` seconds. So what
came before the end is still answered.

Phases only go forward: opening -> open -> closing (our close frame is written, or there is nobody to write to) ->
ended (the transport is gone). Outside of open nothing is written (`speaking`), and `closed` is set from closing on;
what comes counts until the peer has ended the connection (`hearing`).
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from trunkline.engine.channel import Shortcut
from trunkline.engine.codec import Decoder, close_frame, frame
from trunkline.engine.direct import NOT_DIRECT, socket_of
from trunkline.engine.events import Close, Ping, Pong, Violation
from trunkline.engine.keepalive import Keepalive
from trunkline.engine.outbound import Outbound
from trunkline.engine.scope import client_address
from trunkline.engine.shared import share_of
from trunkline.states import CloseInfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trunkline.engine.deflate import Deflate
    from trunkline.engine.events import Event
    from trunkline.engine.settings import EngineSettings
    from trunkline.engine.shared import Alarm
    from trunkline.types import Message

__all__ = ["LOST", "Connection", "Phase"]

T = TypeVar("T")

EARLY_BYTES = 64 * 1024
LAST_WORD = 0.5
ABORT_AFTER = 1.0
LOST = CloseInfo(1006, "")
_PING, _PONG = 9, 10
# Ends that no close frame told of, unless it gave a reason: ASGI's message has none then.
_WITHOUT_REASON = (1006, 1012)


class Phase(enum.IntEnum):
    """Where a connection stands; it only goes forward."""

    OPENING = 0
    OPEN = 1
    CLOSING = 2
    ENDED = 3


OPENING, OPEN, CLOSING, ENDED = Phase


class Connection(Outbound, asyncio.BufferedProtocol):
    """One WebSocket. Before accept it only keeps what a client sends that does not wait for the answer.

    Args:
        loop: The loop of the connection.
        transport: What the bytes go through.
        settings: Its limits.
        on_end: Called once when the transport is gone.
    """

    __slots__ = (
        "_answer",
        "_broken",
        "_close_callbacks",
        "_early",
        "_end_known",
        "_on_end",
        "_pong_due",
        "detached",
        "keepalive",
        "latency",
        "phase",
        "receive",
        "resume",
        "retime",
        "send",
        "timer",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        settings: EngineSettings,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(loop, transport, settings, share_of(loop))
        self._on_end: Callable[[], None] | None = on_end
        self.phase = OPENING
        self.latency: float | None = None
        self.receive: Any = None
        self.send: Any = None
        # What sets the clock of the handshake, until that is answered.
        self.retime: Callable[[], None] | None = None
        self.resume: Any = None
        self.detached = False
        self.keepalive: Keepalive | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._early: bytearray | None = None
        self._close_callbacks: list[Callable[[CloseInfo], None]] | None = None
        self._end_known: asyncio.Future[None] | None = None
        self._answer: bytes | None = None
        self._broken = False
        self._pong_due: bytes | None = None

    # Before accept

    def configure(self, **limits: Any) -> None:
        """Set limits of this connection, before accept: the fields of `EngineSettings` by name."""
        if self.phase is not OPENING:
            raise RuntimeError("the limits of a connection are set before it is accepted")
        self.settings = replace(self.settings, **limits)
        self._limit(self.settings)
        if "handshake_timeout" in limits and self.retime is not None:
            self.retime()

    def hold(self, data: bytes) -> None:
        """Keep what has come before its time, within a bound."""
        if self.phase is not OPENING:
            return
        if self._early is None:
            self._early = bytearray()
        self._early += data
        if len(self._early) > EARLY_BYTES:
            self._pause_reading()

    def open(self, deflate: Deflate | None) -> None:
        """The handshake has been answered: frames may come and go."""
        self._deflate = deflate
        self._threshold = 0 if deflate is None else deflate.threshold
        self._decoder = Decoder(self.settings.max_message, None if deflate is None else deflate.inflate)
        self.phase = OPEN
        self._socket = socket_of(self._transport)
        self.hearing = self.speaking = True
        self.writable = not self._write_paused
        if self.settings.ping_interval is not None:
            self.keepalive = Keepalive(self._loop, self, self.settings.ping_interval, self.settings.ping_timeout)
        early, self._early = self._early, None
        if early is not None:
            self._resume_reading()
            self.feed(early, len(early))

    def refused(self) -> None:
        """A response has been written that is not 101: the connection ends behind it."""
        self.phase = CLOSING
        self._early = None
        self._know(LOST)
        self._arm(self.settings.close_timeout, self.abort)
        self._transport.close()

    # The transport's side

    def _feed_at_the_end(self, data: bytes | bytearray | memoryview, size: int) -> None:
        """Of what comes behind the end, only the answer to our own close counts."""
        for event in self._decoder.feed(data, size, []) or ():
            if isinstance(event, Close):
                self._hang_up()
            elif isinstance(event, Violation):
                self._linger()

    def eof_received(self) -> bool:
        """The peer sends no more: without a close frame before, it is lost."""
        if self._answer is not None:
            # It may read on: what came before its close is still answered. TLS cannot be half-closed.
            return self._transport.get_extra_info("sslcontext") is None
        self.flush()
        self._shut()
        self._know(LOST)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self.phase = ENDED
        self._shut()
        self._forget()
        self._know(LOST)
        # Without these cycles the memory is free at once, not when the garbage collector comes.
        on_end, self._on_end, self.keepalive = self._on_end, None, None
        assert on_end is not None, "a transport is lost once"
        on_end()

    def pause_writing(self) -> None:
        """The transport holds more than the high-water mark."""
        self._write_paused = True
        self._settle()
        self.writable = False

    def resume_writing(self) -> None:
        """The transport has drained."""
        self._write_paused = False
        if self._pong_due is not None:
            due, self._pong_due = self._pong_due, None
            self._pong(due)
        self.writable = self.speaking
        if self._later is not None:
            self._write_later_ones()
        self._release_drains()

    def _handle(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Ping):
                self._pong(event.payload)
            elif isinstance(event, Pong):
                if self.keepalive is not None:
                    self.keepalive.ponged(event.payload)
            elif isinstance(event, Close):
                # RFC 6455 section 5.5.1: the answer typically has the code that was received.
                self._end_with(event, close_frame(event.code, ""))
            else:
                self._end_with(event, close_frame(event.code, event.reason))

    def _pong(self, payload: bytes) -> None:
        if self._write_paused:
            # RFC 6455 section 5.5.3: only the latest ping needs an answer.
            self._pong_due = payload
        else:
            self._put(frame(_PONG, payload))

    def _pause_reading(self) -> None:
        if self._read_paused or self.phase > OPEN:
            return
        self._read_paused = True
        self._transport.pause_reading()
        if self.keepalive is not None:
            self.keepalive.reading_paused()

    def _resume_reading(self) -> None:
        if not self._read_paused or self.phase is ENDED:
            return
        self._read_paused = False
        self._transport.resume_reading()
        if self.keepalive is not None:
            self.keepalive.reading_resumed()

    # Keepalive

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Call back after a span of time that many connections have: cheaper than a timer of the loop."""
        return self._share.call_later(seconds, callback, self._loop)

    def ping(self, payload: bytes) -> None:
        """Send a ping."""
        self._put(frame(_PING, payload))

    def give_up(self) -> None:
        """The peer does not answer pings."""
        self.expel(1011, "keepalive ping timeout")

    # The application's side: in

    @property
    def peer(self) -> tuple[str, int] | None:
        """The address and port at the other end of the socket, None of a unix socket or one that is gone."""
        return client_address(self._transport)

    def disconnect_message(self) -> Message:
        """What ASGI's `receive` gives when all has been taken and the end is known."""
        assert self.closed is not None
        code, reason = self.closed
        if not reason and code in _WITHOUT_REASON:
            return {"type": "websocket.disconnect", "code": code}
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    def shortcut(self, call: Awaitable[T]) -> Awaitable[T]:
        """What awaits a call for its task, and lets messages go on with the call past all that awaits it."""
        return Shortcut(call)

    def on_message(self, callback: Callable[[], None] | None) -> None:
        """Call back when messages have come or the end is known, instead of having somebody wait; None to stop."""
        self._callback = callback
        if callback is not None and (self.unread or self.closed is not None):
            self._loop.call_soon(self._wake)

    def detach(self, callback: Callable[[], None]) -> None:
        """Stay open although the application's call returns, and call back when it is to go on (`resume`)."""
        self.detached = True
        if not self.unread:
            self._ask_for_more()  # which nobody else may: the last message may have been taken by the call
        self.on_message(callback)

    def on_close(self, callback: Callable[[CloseInfo], None]) -> None:
        """Call back once when the end is known; at once if it is."""
        if self.closed is not None:
            callback(self.closed)
        elif self._close_callbacks is None:
            self._close_callbacks = [callback]
        else:
            self._close_callbacks.append(callback)

    def off_close(self, callback: Callable[[CloseInfo], None]) -> None:
        """Call this callback no more; nothing happens if it was not to be called."""
        if self._close_callbacks is not None and callback in self._close_callbacks:
            self._close_callbacks.remove(callback)

    async def wait_closed(self) -> CloseInfo:
        """Wait until the end is known; any number of tasks may."""
        if self.closed is None:
            if self._end_known is None:
                self._end_known = self._loop.create_future()
            # Shielded: one who gives up must not end the others' wait.
            await asyncio.shield(self._end_known)
        assert self.closed is not None
        return self.closed

    def _go_on(self) -> None:
        """All has been taken: say the last word if it waits, or read on."""
        if self._answer is not None:
            self._say_last_word()
        else:
            self._resume_reading()

    def _guarded(self, callback: Callable[..., object], *args: object) -> None:
        """Call into the application; its errors are its own, not the transport's."""
        try:
            callback(*args)
        except Exception as error:
            self._failed(callback, error)

    def _failed(self, callback: object, error: Exception) -> None:
        context = {"message": f"a callback of a WebSocket's Line failed: {callback!r}", "exception": error}
        self._loop.call_exception_handler(context)

    # The end

    def close(self, code: int, reason: str) -> None:
        """Our own close: the frame leaves now, and the peer has `close_timeout` to answer it."""
        if self.phase is not OPEN:
            return
        if self._answer is not None:
            # The peer has ended the connection before: what it is to be told stays.
            self._say_last_word()
            return
        self._write_close(close_frame(code, reason))
        self._resume_reading()
        self._arm(self.settings.close_timeout, self.abort)
        self._know(CloseInfo(code, reason))

    async def close_in_turn(self, code: int, reason: str) -> None:
        """Our own close, behind what was left to `write_later`.

        Raises:
            OSError: The connection has ended before, or took nothing for the send limit.
        """
        if self._later is None:
            self.close(code, reason)
        else:
            await self.write_in_turn(functools.partial(self.close, code, reason))

    def expel(self, code: int, reason: str) -> None:
        """Close the connection of a peer that does not keep up: without waiting for it if it does not even read."""
        if self.phase is not OPEN:
            return
        stalled = self._transport.get_write_buffer_size() > 0
        info = CloseInfo(code, reason)
        self._write_close(close_frame(*info))
        self._know(info)
        if stalled:
            self.abort()
        else:
            self._hang_up()

    def leave(self) -> None:
        """The application has ended: so does the connection, behind what is written, if it was not closed."""
        if self.phase is not OPEN:
            return
        if self._answer is not None:
            self._say_last_word()
            return
        self.flush()
        self._shut()
        if self._can_write_eof():
            self._linger()
        else:
            self._hang_up()
        self._know(LOST)

    def abort(self) -> None:
        """Drop the connection at once, with what is buffered."""
        if self.phase is ENDED:
            return
        self._shut()
        self._forget()
        getattr(self._transport, "abort", self._transport.close)()
        self._know(LOST)

    def _forget(self) -> None:
        """Nothing will be written any more."""
        self._settle()
        self._out.clear()
        self._out_bytes = 0
        self._early = self._answer = self._pong_due = None
        self._disarm()

    def _know(self, info: CloseInfo) -> None:
        """The end is known; the first that is known counts."""
        if self.closed is not None:
            return
        self.closed = info
        self._wake()
        if self._end_known is not None and not self._end_known.done():
            self._end_known.set_result(None)
        callbacks, self._close_callbacks = self._close_callbacks, None
        for callback in callbacks or ():
            self._guarded(callback, info)

    def _end_with(self, event: Close | Violation, answer: bytes) -> None:
        """The peer has ended the connection, politely or not: answer when what came before has been answered."""
        self._answer = answer
        self.hearing = False
        self._broken = isinstance(event, Violation)
        self._stop_pings()
        self._arm(LAST_WORD, self._say_last_word)
        self._know(CloseInfo(*event))

    def _say_last_word(self) -> None:
        assert self._answer is not None
        answer, self._answer = self._answer, None
        self._write_close(answer)
        if self._broken:
            self._linger()
        else:
            self._hang_up()

    def _write_close(self, data: bytes) -> None:
        # What waits must not follow the close frame.
        later, self._later = self._later, None
        self._put(data)
        self.flush()
        self._later = later
        self._shut()

    def _shut(self) -> None:
        """From now on nothing is written."""
        self.phase = max(self.phase, CLOSING)
        self._socket = NOT_DIRECT
        self._settle()
        self.hearing = self.speaking = self.writable = False
        self._release_drains()
        self._stop_pings()
        later, self._later = self._later, None
        for write in later or ():
            self._guarded(write)

    def _stop_pings(self) -> None:
        if self.keepalive is not None:
            self.keepalive.stop()

    def _hang_up(self) -> None:
        """Close the transport behind what is written; a peer that does not take it is dropped."""
        self._arm(ABORT_AFTER, self.abort)
        self._transport.close()

    def _linger(self) -> None:
        """Say that nothing more comes, and read on until the peer has heard it.

        RFC 6455 section 7.1.1: a socket that is closed with bytes unread is reset, and the reset may overtake our
        close frame.
        """
        self._arm(ABORT_AFTER, self.abort)
        self._resume_reading()
        if self._can_write_eof():
            # A peer that has reset the connection already: the loop is about to say so.
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def _can_write_eof(self) -> bool:
        can: Callable[[], bool] = getattr(self._transport, "can_write_eof", bool)
        return can()

    def _arm(self, seconds: float, callback: Callable[[], None]) -> None:
        self._disarm()
        self.timer = self._loop.call_later(seconds, callback)

    def _disarm(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
