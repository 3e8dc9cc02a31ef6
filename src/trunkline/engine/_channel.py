"""The hot part of a connection: what waits for the application, what is gathered for the peer, and who waits.

This is ordinary Python. The package also compiles it (`_channel_native`, with the types of `_channel_native.pxd`) where
there is a C compiler; `trunkline.engine.channel` chooses. Both are one source, so they cannot differ.

**In.** A read is decoded into `messages`; those from `head` on have not been taken. Whoever waits is woken once for a
read. As a read is no task's doing, the task that waits can run at once, inside the read (`Receiver`): it takes what has
come, answers, and waits again before the loop goes on to the next connection. What it runs can even go on without it
(`Shortcut`).

**Out.** Frames are gathered and leave in one write: when a receiver finds nothing more, at the end of the loop's tick,
or when the high-water mark is passed. A write is refused, and says so, while more than that is waiting. What many
channels get alike in one tick is gathered once for all of them (`Volley`). What answers a read waits for the end of the
tick too: with all reads before all writes, a tick has more of both, and the loop asks the system less often.

`hearing` and `speaking` say whether frames count that come, and that are written; `Connection` moves them.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import current_task
from asyncio.tasks import _enter_task, _leave_task
from typing import TYPE_CHECKING, Any

from trunkline.engine.codec import BINARY, TEXT, Decoder, binary_frame, frame, frame_header, text_frame
from trunkline.engine.direct import NOT_DIRECT, send_now
from trunkline.turn import Turn

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
    from contextvars import Context

    from trunkline.engine.deflate import Deflate
    from trunkline.engine.events import Event
    from trunkline.engine.settings import EngineSettings
    from trunkline.engine.shared import LoopShare
    from trunkline.states import CloseInfo

__all__ = ["Channel", "Receiver", "Shortcut", "Volley"]

# Payloads from here on are handed to the system apart from their headers: another copy would cost more.
LARGE = 16 * 1024
TAKEN_MESSAGES = 256

# Before accept nothing is decoded: a decoder that has met its end ignores what is fed.
DEAF = Decoder(1)
DEAF.feed(b"\xff\xff", 2, [])


class _NoLoop:
    """In place of the loop of a future that nobody waits for."""

    def get_debug(self) -> bool:
        return False


# What a task is told has come about. It only asks for the result, and is quickest with a future of asyncio's own.
DONE: asyncio.Future[None] = asyncio.Future(loop=_NoLoop())  # type: ignore[arg-type]
DONE.set_result(None)


class Receiver:
    """Whoever waits for the next message of a channel: what `Channel.arrival` gives to be awaited.

    It is a future to the task that awaits it (all that `asyncio.Task` asks of one is here), with two differences: it
    serves one task after the other instead of being made anew for each message, and it runs the task inside of `wake`
    where no other task is running, instead of asking the loop to. A transport's callback is such a place.

    Args:
        channel: What is received from.
        loop: The loop of whoever will wait.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_cancelled",
        "_channel",
        "_context",
        "_loop",
        "_refused_to_cancel",
        "_shortcut",
        "_waiting",
    )

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self._asyncio_future_blocking = False
        self._waiting = False
        self._cancelled: asyncio.CancelledError | None = None
        self._callback: Callable[[Any], None] | None = None
        self._context: Context | None = None
        self._shortcut: Shortcut | None = None
        self._refused_to_cancel = False

    # The awaiting coroutine's side

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Receiver:
        return self

    def __next__(self) -> Receiver:
        """Wait while nothing is there, then put the message where the one who waited takes it."""
        channel = self._channel
        if channel.head < len(channel.messages):
            channel._handed = channel.messages[channel.head]
            channel.head += 1
        else:
            channel._ask_for_more()
            if channel.closed is None:
                channel.waiting = self._waiting = self._asyncio_future_blocking = True
                self._shortcut = None
                return self
        channel._release()
        raise StopIteration

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> None:
        """The coroutine is cancelled, or thrown away: it waits no more."""
        self._waiting = False
        self._channel._release()
        raise kind if value is None else value

    def close(self) -> None:
        """The coroutine is thrown away."""
        self._waiting = False
        self._channel._release()

    # The task's side

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop whose tasks may wait."""
        return self._loop

    def done(self) -> bool:
        """Whether nobody waits; libraries ask this of what a task awaits (`anyio.wait_all_tasks_blocked`)."""
        return not self._waiting

    def add_done_callback(self, callback: Callable[[Any], None], *, context: Context | None = None) -> None:
        """The task says how it is to be run again."""
        self._callback = callback
        self._context = context
        if not self._waiting:  # any more: woken before a task that was started by hand has come to say so
            self._run_soon(DONE)

    def cancel(self, msg: object = None) -> bool:
        """The task is cancelled: it is run again, by the loop, to learn of it."""
        if not self._waiting:
            self._refused_to_cancel = True
            return False
        self._waiting = False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._run_soon(self)
        return True

    def result(self) -> None:
        """Tell a task that was cancelled so."""
        cancelled, self._cancelled = self._cancelled, None
        if cancelled is not None:
            raise cancelled

    # The waking side

    def wake(self) -> None:
        """Let the task go on, at once if no other is running."""
        if not self._waiting:
            return
        self._waiting = False
        if self._callback is None or self._context is None:
            self._run_soon(DONE)
        elif self._shortcut is not None:
            self._go_past_the_task(self._shortcut)
        elif current_task(self._loop) is not None:
            self._run_soon(DONE)
        else:
            self._run_now()

    def _go_past_the_task(self, shortcut: Shortcut) -> None:
        loop, task, context = self._loop, shortcut._task, self._context
        try:
            _enter_task(loop, task)
        except RuntimeError:  # another is running
            self._run_soon(DONE)
            return
        self._refused_to_cancel = False
        try:
            waits_again: bool = context.run(shortcut.go_on, self)  # type: ignore[union-attr]
        finally:
            _leave_task(loop, task)
        if not waits_again:
            self._run_now()

    def _run_now(self) -> None:
        callback, context = self._callback, self._context
        self._callback = self._context = None
        context.run(callback, DONE)  # type: ignore[union-attr, arg-type]

    def _run_soon(self, done: Any) -> None:
        callback, context = self._callback, self._context
        self._callback = self._context = None
        if callback is not None:
            self._loop.call_soon(callback, done, context=context)


NOTHING = object()


class Shortcut:
    """Awaits a call for a task, and lets a `Receiver` go on with the call past that task.

    At each step a task makes and drops a callback, asks what it is to wait for who it is, and passes through all that
    awaits the call: together as much as a message needs otherwise. So when a message comes, the call goes on in the
    name of its task and in the task's context, but the task does not learn of it: it waits for the receiver all along,
    as the call does again when it is done with the message. Only if the call waits for something else, has ended, or
    is to be cancelled, the task is woken, and finds here what it would have come to.

    Args:
        call: What is awaited.
    """

    __slots__ = ("_end", "_left", "_steps", "_task")

    def __init__(self, call: Awaitable[Any]) -> None:
        self._steps: Generator[Any, None, Any] = call.__await__()
        self._task: Any = None
        # Where the call has come to without the task: what it waits for, or its end.
        self._left: Any = NOTHING
        self._end: BaseException | None = None

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Shortcut:
        return self

    def __next__(self) -> Any:
        """The task's step."""
        if self._task is None:
            self._task = current_task()
        if self._end is not None:
            self._raise_end()
        left, self._left = self._left, NOTHING
        return self._noted(next(self._steps) if left is NOTHING else left)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """The task's step when it is cancelled, or what it waited for has failed."""
        error = kind if value is None else value
        if self._end is None and self._left is NOTHING:
            throw = getattr(self._steps, "throw", None)
            if throw is None:  # no generator: nothing in it could catch the error
                raise error
            return self._noted(throw(error))
        # A cancellation from before the task knew where the call has come to: it is to strike there.
        self._task.cancel(*error.args)
        self._task.uncancel()  # it has been counted
        return next(self)

    def close(self) -> None:
        """The call is thrown away."""
        close = getattr(self._steps, "close", None)
        if close is not None:
            close()

    def go_on(self, receiver: Receiver) -> bool:
        """A step without the task; whether the call waits for the receiver again, so that the task need not know."""
        try:
            left = next(self._steps)
        except BaseException as error:
            self._end = error
            return False
        if left is receiver and not receiver._refused_to_cancel:
            receiver._shortcut = self
            return True
        self._left = left
        return False

    def _noted(self, waits_for: Any) -> Any:
        if type(waits_for) is Receiver:
            receiver: Receiver = waits_for
            if receiver._shortcut is None:  # else there is a shorter one inside
                receiver._shortcut = self
        return waits_for

    def _raise_end(self) -> None:
        end, self._end = self._end, None
        assert end is not None
        try:
            raise end
        finally:
            del end  # whose traceback leads here


class Volley:
    """Frames that many channels get alike, as long as none of them is written to otherwise.

    A room of a thousand members costs a thousand steps for the first frame of a tick and one for each of the others.
    Each member holds the volley behind what it has gathered itself. The first that flushes, or is written to, ends it
    for all: nothing is added from then on, so the order of frames is that in which they were written, everywhere.

    Args:
        data: The first frame.

    Attributes:
        refused: Those to whom a write was not welcome.
    """

    __slots__ = ("_joined", "bytes", "frames", "is_open", "refused", "space")

    def __init__(self, data: bytes) -> None:
        self.frames: list[bytes] = [data]
        self.bytes = len(data)
        # Bytes that may be in it until a member would have come to its high-water mark.
        self.space = sys.maxsize
        self.is_open = True
        self.refused: list[Channel] = []
        self._joined: bytes | None = None

    def add(self, data: bytes) -> bool:
        """Write another frame to all that were not refused; False where that cannot be done in one step.

        Args:
            data: A ready-made frame.
        """
        if not self.is_open or self.bytes + len(data) > self.space:
            return False
        self.frames.append(data)
        self.bytes += len(data)
        return True

    def joined(self) -> bytes:
        """All frames in one piece; there will be no more."""
        self.is_open = False
        if self._joined is None:
            self._joined = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        return self._joined


class Channel:
    """Messages in, frames out. A `Connection` is one, and decides what happens beside them.

    Args:
        loop: The loop of the connection.
        transport: What the bytes go through.
        settings: Its limits.
        share: What all connections of the loop share.
    """

    __slots__ = (
        "_base",
        "_behind",
        "_callback",
        "_decoder",
        "_deflate",
        "_handed",
        "_high_water",
        "_inbound_bytes",
        "_inbound_messages",
        "_later",
        "_loop",
        "_out",
        "_out_bytes",
        "_read_paused",
        "_reading",
        "_receiver",
        "_share",
        "_socket",
        "_threshold",
        "_transport",
        "_turn",
        "_view",
        "_volley",
        "_write_paused",
        "closed",
        "head",
        "heard",
        "hearing",
        "messages",
        "speaking",
        "waiting",
        "writable",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        settings: EngineSettings,
        share: LoopShare,
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._share = share
        self._view = share.read_buffer
        self._decoder = DEAF
        self._deflate: Deflate | None = None
        self._threshold = 0
        self._base = 0
        self._callback: Callable[[], None] | None = None
        self._receiver: Receiver | None = None
        self._handed: str | bytes | None = None
        self._turn: Turn | None = None
        # Writes that wait until one is welcome: see `Connection.write_later`.
        self._later: deque[Callable[[], object]] | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._volley: Volley | None = None
        # The transport's, if it may be passed by; and whether what is written stands behind what waits in it.
        self._socket = NOT_DIRECT
        self._behind = True
        self._reading = False
        self._read_paused = False
        self._write_paused = False
        self.closed: CloseInfo | None = None
        self.messages: list[str | bytes] = []
        self.head = 0
        self.waiting = False
        self.hearing = False
        self.speaking = False
        self.writable = False
        self.heard = False
        self._limit(settings)

    def _limit(self, settings: EngineSettings) -> None:
        self._inbound_messages = min(settings.inbound_messages, sys.maxsize)
        self._inbound_bytes = min(settings.inbound_bytes, sys.maxsize)
        self._high_water = min(settings.high_water, sys.maxsize)

    # In

    def get_buffer(self, sizehint: int) -> memoryview:
        """The loop's read buffer. Has no effect: not every call is followed by a read."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """A read has filled the first bytes of the read buffer."""
        self.feed(self._view, nbytes)

    def feed(self, data: bytes | bytearray | memoryview, size: int) -> None:
        """Take the first `size` bytes of `data` from the peer."""
        self.heard = True
        if not self.hearing:
            self._feed_at_the_end(data, size)
            return
        messages = self.messages
        if self.head >= TAKEN_MESSAGES:
            # A reader that is never quite done would keep all that it has taken.
            del messages[: self.head]
            self.head = 0
        self._reading = True
        try:
            events = self._decoder.feed(data, size, messages)
            if events is not None:
                self._handle(events)
            if self.head < len(messages):
                self._wake()
        finally:
            self._reading = False
        if self.head < len(messages) and (
            len(messages) - self.head >= self._inbound_messages
            or self._decoder.received - self._base >= self._inbound_bytes
        ):
            self._pause_reading()

    def _wake(self) -> None:
        if self._receiver is not None and self._receiver._waiting:
            self._receiver.wake()
        elif self._callback is not None:
            try:
                self._callback()
            except Exception as error:
                self._failed(self._callback, error)

    @property
    def unread(self) -> bool:
        """Whether messages have come that nobody has taken."""
        return self.head < len(self.messages)

    def take(self) -> str | bytes | None:
        """The next message if it has come and nobody waits for it, else None.

        Behind `await arrival()` it is the one that was waited for, or None because the connection has ended.
        """
        if self._handed is not None:
            handed, self._handed = self._handed, None
            return handed
        if self.head >= len(self.messages) or self.waiting or self._turn is not None:
            return None
        message = self.messages[self.head]
        self.head += 1
        return message

    def arrival(self) -> Awaitable[None]:
        """Wait until `take` gives the next message, or None because all has been taken and the connection has ended."""
        if self.waiting or self._turn is not None:
            return self._arrival_in_turn()
        if self._receiver is None:
            self._receiver = Receiver(self, self._loop)
        return self._receiver

    async def _arrival_in_turn(self) -> None:
        turn = self._turn
        if turn is None:
            turn = self._turn = Turn()
            turn.taken = True  # by the one who waits
        try:
            await turn.wait()
        except BaseException:
            if not turn.taken:
                self._turn = None
            raise
        await self._receiver  # type: ignore[misc]  # there is one: somebody waited before

    def _release(self) -> None:
        """Nobody waits any more: the next one's turn, if others have come meanwhile."""
        self.waiting = False
        if self._turn is not None:
            self._turn.give_back()
            if not self._turn.taken:
                self._turn = None

    async def next(self) -> str | bytes | None:
        """The next message, waiting for it; None once all has been taken and the connection has ended."""
        await self.arrival()
        return self.take()

    def take_all(self) -> list[str | bytes]:
        """All messages that have come, without waiting."""
        taken = self.messages[self.head :]
        self.head = len(self.messages)
        self._ask_for_more()
        return taken

    def answer(
        self, kind: type | None, call: Callable[[Any], object], otherwise: Callable[[Any], object]
    ) -> object | None:
        """Answer the messages that have come; what could not be written, or None when all has been taken."""
        while self.head < len(self.messages) and not self.waiting and self._turn is None:
            message = self.messages[self.head]
            self.head += 1
            answer = call(message) if type(message) is kind else otherwise(message)
            if answer is None:
                continue
            if type(answer) is str:
                if not self.write_text(answer):
                    return answer
            elif type(answer) is bytes:
                if not self.write_bytes(answer):
                    return answer
            else:
                return answer
        self._ask_for_more()
        return None

    def _ask_for_more(self) -> None:
        """All has been taken: let go of it, send what is gathered, and read on."""
        if self.head:
            self.messages.clear()
            self.head = 0
            self._base = self._decoder.received
        if (self._out or self._volley is not None) and not self._reading:
            self.flush()
        if self.speaking and (self._read_paused or not self.hearing):
            self._go_on()

    # What a connection decides

    def _handle(self, events: Sequence[Event]) -> None:
        """Control frames have come, or a violation."""
        raise NotImplementedError

    def _feed_at_the_end(self, data: bytes | bytearray | memoryview, size: int) -> None:
        """Bytes have come that are no messages any more."""
        raise NotImplementedError

    def _pause_reading(self) -> None:
        """Too much waits for the application."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """All has been taken, and the end or more of the peer's bytes wait."""
        raise NotImplementedError

    def _failed(self, callback: object, error: Exception) -> None:
        """A callback into the application has failed."""
        raise NotImplementedError

    def _write_later_ones(self) -> None:
        """A write is welcome, or would be if nothing waited."""
        raise NotImplementedError

    # Out

    def write_text(self, data: str) -> bool:
        """Write a text message if it is welcome; whether it was."""
        if not self.writable:
            return False
        if self._deflate is None or len(data) < self._threshold:
            self._put(text_frame(data))
        else:
            self._put(frame(TEXT, self._deflate.compress(data.encode()), True))
        return True

    def write_bytes(self, data: bytes) -> bool:
        """Write a binary message if it is welcome; whether it was."""
        if not self.writable:
            return False
        if self._deflate is None or len(data) < self._threshold:
            if len(data) >= LARGE and type(data) is bytes:
                self._put_large(data)
            else:
                self._put(binary_frame(data))
        else:
            self._put(frame(BINARY, self._deflate.compress(data), True))
        return True

    def write_frame(self, data: bytes) -> bool:
        """Write a ready-made frame if it is welcome; whether it was."""
        if not self.writable:
            return False
        self._put(data)
        return True

    def write_frame_to(self, lines: Iterable[Channel], data: bytes) -> Volley:
        """Write a ready-made frame to all of these where it is welcome; more can be added to what comes back."""
        volley = Volley(data)
        size = len(data)
        for line in lines:
            channel: Channel = line
            if not channel.writable:
                volley.refused.append(channel)
                continue
            if channel._volley is not None:
                channel._settle()
            if not channel._out:
                channel._flush_soon()
            channel._volley = volley
            left = channel._high_water - channel._out_bytes
            if left < size:
                channel.writable = False
            if left < volley.space:
                volley.space = left
        return volley

    def _settle(self) -> None:
        """Take what the volley has brought to what is gathered: from now on something else is."""
        volley = self._volley
        if volley is not None:
            self._volley = None
            volley.is_open = False
            self._out += volley.frames
            self._out_bytes += volley.bytes

    def _put(self, data: bytes) -> None:
        """Gather a frame, welcome or not."""
        if self._volley is not None:
            self._settle()
        if not self._out:
            self._flush_soon()
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > self._high_water:
            self.writable = False

    def _put_large(self, data: bytes) -> None:
        """Write a binary message without another copy of it, behind what is gathered.

        By two writes, which uvloop gathers: `writelines` of asyncio's transports forgets to pause the protocol on
        several versions of Python (CVE-2024-12254).
        """
        # It counts until the tick ends, although it is written: who never waited would starve all others.
        self._settle()
        written = self._out_bytes
        self.flush()
        if not written:
            self._flush_soon()
        self._behind = True
        self._transport.write(frame_header(BINARY, len(data)))
        self._transport.write(data)
        self._out_bytes = written + len(data)
        if self._out_bytes > self._high_water:
            self.writable = False

    def _flush_soon(self) -> None:
        """Let what is gathered leave at the end of the loop's tick."""
        unflushed = self._share.unflushed
        if not unflushed:
            self._share.flush_soon(self._loop)
        unflushed.append(self)

    def _write(self, data: bytes) -> None:
        """Hand bytes to the system, or to the transport what the system does not take, and what has to wait behind."""
        unsent: bytes | memoryview = data
        if self._socket >= 0:
            if self._behind and not self._transport.get_write_buffer_size():
                self._behind = False
            if not self._behind:
                sent = send_now(self._socket, data)
                if sent == len(data):
                    return
                if sent > 0:
                    unsent = memoryview(data)[sent:]
        self._behind = True
        self._transport.write(unsent)

    def flush(self) -> None:
        """Let all that is gathered leave, in one write."""
        volley, out = self._volley, self._out
        if volley is not None:
            if out:
                self._settle()
            else:
                self._volley = None
                self._write(volley.joined())
        if out:
            self._write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()
        self._out_bytes = 0
        self.writable = self.speaking and not self._write_paused
        if self._later is not None:
            self._write_later_ones()
