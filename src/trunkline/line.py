"""The Line: a direct channel between a WebSocket server and a framework, beside ASGI's `receive` and `send`.

ASGI makes a dictionary, a future and a write of every message. A server that has a Line offers in the scope

    scope["extensions"]["trunkline.line"] == {"version": 1, "line": line}

an object with which a framework takes the messages of a read as plain `str` and `bytes`, writes frames, sees how much
is buffered, and learns of the end at once. Everything on the Line is a call, not a message; nothing on it is queued
twice. A framework that does not know the extension loses nothing but speed.

Rules, for both sides:

- One Line per connection, used in the event loop of the connection only.
- `line.receive` and `line.send` are the very callables that the server passed to the application. A framework
  bypasses a direction only where it was given that object: a middleware that wrapped it wants to see the messages.
- Opening and refusing go through ASGI. The Line carries data only between `websocket.accept` and the end.
- Order: what was written first leaves first, whether by `send` or by the Line. What came first is taken first, whether
  by `receive` or by the Line.
- Before accept, `configure` sets the limits of this connection; afterwards it raises.

Taking a message costs one call where it has come, and no future where it has not:

    message = line.take()
    if message is None:
        await line.arrival()
        message = line.take()            # None: all has been taken and the connection has ended

A write says whether it was welcome. Where it was not, nothing was written: `await line.drain()`, and write again, or
leave it to `line.write_later`.

A connection needs no task while it is idle. An application that has accepted may return, with `detach` as the last
thing that it does, and the server calls back when there is something to do. What cannot be done in a callback, because
it waits, raises or ends, is a coroutine that `resume` runs as the application's call: its errors are logged like those
of the first call, the connection ends with it, and it may detach again.

    await send({"type": "websocket.accept"})
    line.detach(come)

    def come():
        left = line.answer(str, reply, refuse)
        if left is not None:
            line.resume(send(left))      # not welcome: wait, and detach again
        elif line.closed is not None:
            line.resume(clean_up())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Sequence
    from contextvars import Context

    from trunkline.states import CloseInfo
    from trunkline.types import Receive, Scope, Send

__all__ = ["EXTENSION", "VERSION", "Line", "line_of"]

T = TypeVar("T")

EXTENSION = "trunkline.line"
VERSION = 1


class Volley(Protocol):
    """A frame that was written to many Lines at once, and those that may follow it."""

    @property
    def refused(self) -> Sequence[Any]:
        """The Lines to which a write was not welcome."""

    def add(self, frame: bytes, /) -> bool:
        """Write another frame to the same Lines except `refused`; whether it was.

        False where a Line has flushed or been written to since, or would have too much waiting: `write_frame_to` again.

        Args:
            frame: What `make_frame` made for one of them.
        """


class Line(Protocol):
    """One connection, as its server offers it to a framework.

    Attributes:
        receive: The ASGI `receive` that the server passed to the application.
        send: The ASGI `send` that it passed.
        writable: Whether a write is welcome: less is buffered than the high-water mark, and the connection is open.
        closed: How the connection ended, None while it is open; known at once, also behind messages not yet taken.
        latency: Seconds between the last keepalive ping and its pong, None before the first.
    """

    receive: Receive
    send: Send
    writable: bool
    closed: CloseInfo | None
    latency: float | None

    def configure(self, **limits: Any) -> None:
        """Set limits of this connection, before accept: the fields of `EngineSettings` by name."""

    @property
    def peer(self) -> tuple[str, int] | None:
        """The address and port at the other end of the socket, None of a unix socket or one that is gone.

        Behind a proxy that is the proxy's: `scope["client"]` may say whom it speaks for.
        """

    @property
    def unread(self) -> bool:
        """Whether messages have come that nobody has taken."""

    def take(self) -> str | bytes | None:
        """The next message if it has come and nobody waits for it, else None.

        Behind `await arrival()` it is the one that was waited for, or None because the connection has ended.
        """

    def arrival(self) -> Awaitable[None]:
        """Wait until `take` gives the next message, or None because all has been taken and the connection has ended.

        Any number of tasks may wait; they are served in order. Awaited by a task, and at once.
        """

    async def next(self) -> str | bytes | None:
        """The next message, waiting for it; None once all has been taken and the connection has ended."""

    def take_all(self) -> list[str | bytes]:
        """All messages that have come, without waiting."""

    def answer(
        self, kind: type | None, call: Callable[[Any], object], otherwise: Callable[[Any], object]
    ) -> object | None:
        """Answer the messages that have come: what costs least where a function makes each answer.

        Messages of the class `kind` (`str` or `bytes`) are given to `call`, others to `otherwise`, and a `str` or
        `bytes` that is returned is written; None is no answer. Another answer, or one that is not welcome, ends it and
        is returned: it is the caller's to write, before the next is asked for. None when all has been taken.
        """

    def shortcut(self, call: Awaitable[T]) -> Awaitable[T]:
        """What awaits a call for its task, once, and lets each message go on with the call past all that awaits it.

        A framework awaits its endpoint so. As long as the endpoint waits for messages alone, neither the task nor what
        stands between the two is resumed for any of them; all else is as it would be without.
        """

    def on_message(self, callback: Callable[[], None] | None) -> None:
        """Call back when messages have come or the end is known, instead of having somebody wait; None to stop.

        What had come before is told of soon after. Errors of the callback go to the loop's exception handler.
        """

    def detach(self, callback: Callable[[], None]) -> None:
        """Let the connection stay open when the application's call returns, which it does now; after accept.

        Calls back like `on_message`, until `resume`. Only where nobody around the call does anything after it: a
        middleware that counts what is open would count wrong.
        """

    def resume(self, call: Coroutine[Any, Any, None], context: Context | None = None) -> None:
        """Go on with a detached connection: run `call` as the application's, in `context` or a copy of the present one.

        Raises:
            RuntimeError: It is not detached.
        """

    def on_close(self, callback: Callable[[CloseInfo], None]) -> None:
        """Call back once when the end is known; at once if it is."""

    def off_close(self, callback: Callable[[CloseInfo], None]) -> None:
        """Call this callback no more; nothing happens if it was not to be called."""

    async def wait_closed(self) -> CloseInfo:
        """Wait until the end is known; any number of tasks may."""

    def write_text(self, data: str) -> bool:
        """Write a text message if it is welcome; whether it was."""

    def write_bytes(self, data: bytes) -> bool:
        """Write a binary message if it is welcome; whether it was."""

    def write_frame(self, frame: bytes) -> bool:
        """Write a ready-made frame, for example one that many share, if it is welcome; whether it was."""

    def write_frame_to(self, lines: Iterable[Any], frame: bytes) -> Volley:
        """Write a ready-made frame to each of these Lines where it is welcome.

        Args:
            lines: Lines of this server and event loop, all with the `frame_key` of this one.
            frame: What `make_frame` made for one of them.

        Returns:
            Those to whom it was not welcome; and further frames for the others may be added, for as long as none of
            them has been written to otherwise, which costs one step and not one for each.
        """

    @property
    def frame_key(self) -> Hashable | None:
        """What frames are made by, once accepted: connections with equal keys take the same frames.

        None if a frame refers back to those before it: it can be shared with nobody, and none may be left out.
        """

    def make_frame(self, data: str | bytes) -> bytes:
        """The frame of a message, for this connection and all with the same `frame_key`."""

    def write_later(self, write: Callable[[], object]) -> None:
        """Call `write` when a write is welcome, behind all that was written or left to this before.

        Until then `writable` is false for everybody else. Called exactly once, also when the connection ends before:
        nothing is written then.
        """

    async def drain(self) -> None:
        """Wait until a write is welcome again.

        Raises:
            OSError: The connection has ended, or has not become writable within the send limit and was aborted.
        """

    @property
    def buffered(self) -> int:
        """Bytes written that the operating system has not taken yet."""

    def close(self, code: int, reason: str) -> None:
        """Close: the frame leaves now, before what waits to be written; who does not answer it in time is dropped."""

    def expel(self, code: int, reason: str) -> None:
        """Close without waiting for the peer: drop it after 1 s, or at once if it has not taken what was written."""

    def abort(self) -> None:
        """Drop the connection at once, with what is buffered."""


def line_of(scope: Scope) -> Line | None:
    """The Line of a connection whose server offers one of a version that we know."""
    extensions = scope.get("extensions")
    entry = extensions.get(EXTENSION) if extensions else None
    if entry is None or entry.get("version") != VERSION:
        return None
    line: Line = entry["line"]
    return line
