"""What is taken from a Line at a limited rate.

What the client sends above the rate stays in the Line until its time has come: at the Line's inbound bound reading
pauses, and TCP slows the client down. The end of the connection is known at once all the same, and what came before it
is not slowed down any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trunkline.status import WS_1008_POLICY_VIOLATION
from trunkline.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.limits._meter import Meter
    from trunkline.line import Line
    from trunkline.states import CloseInfo
    from trunkline.types import Message, Receive

__all__ = ["Intake"]


class Intake:
    """The receiving side of a Line, as `trunkline.line.Line` says it.

    Args:
        line: The Line.
        meter: Who counts.
    """

    __slots__ = (
        "_callback",
        "_handed",
        "_is_empty",
        "_is_over",
        "_line",
        "_loop",
        "_meter",
        "_pause",
        "_receive",
        "_timer",
        "_turn",
    )

    def __init__(self, line: Line, meter: Meter) -> None:
        self._line = line
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._receive: Receive | None = line.receive
        self._turn = Turn()
        self._handed: str | bytes | None = None
        self._is_empty = True
        self._is_over = False
        self._callback: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.Event | None = None
        line.on_close(self._ended)
        line.on_message(self._come)

    def stop(self) -> None:
        """The application has ended."""
        self._disarm()
        self._line.on_message(None)

    def _come(self) -> None:
        """Messages have come, and nobody waited for them; or the end is known."""
        self._note_arrival()
        if self._callback is not None:
            self._callback()

    def _note_arrival(self) -> None:
        if self._is_empty:
            self._is_empty = False
            self._meter.rest(self._loop.time())

    def _ended(self, _: CloseInfo) -> None:
        if self._pause is not None:
            self._pause.set()
        self._disarm()

    def _delay(self) -> float:
        return 0.0 if self._line.closed is not None else self._meter.delay(self._loop.time())

    def _checked(self, data: str | bytes) -> str | bytes | None:
        """A message that has been taken, unless it is one too many."""
        words = None if self._line.closed is not None else self._meter.excess(data, self._loop.time())
        if words is None:
            return data
        self._is_over = True
        self._line.expel(WS_1008_POLICY_VIOLATION, words)
        return None

    # As a Line has it

    async def receive(self) -> Message:
        """ASGI's `receive`."""
        if self._receive is not None:
            receive, self._receive = self._receive, None
            return await receive()  # the connect message
        data = await self.next()
        if data is None:
            assert self._line.closed is not None
            return {"type": "websocket.disconnect", **self._line.closed._asdict()}
        return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}

    @property
    def unread(self) -> bool:
        """Whether messages have come that nobody has taken."""
        return self._line.unread and not self._is_over

    def take(self) -> str | bytes | None:
        """The next message, if it has come and its time too."""
        if self._handed is not None:
            handed, self._handed = self._handed, None
            return handed
        if self._turn.taken or self._is_over:
            return None
        delay = self._delay()
        if delay:
            self._call_back_in(delay)
            return None
        data = self._line.take()
        if data is None:
            self._is_empty = True
            return None
        return self._checked(data)

    async def arrival(self) -> None:
        """Wait until `take` gives the next message, or None at the end."""
        turn = self._turn
        if turn.taken:
            await turn.wait()
        turn.taken = True
        try:
            delay = self._delay()
            if delay:
                await self._wait(delay)
            if not self._is_over:
                await self._line.arrival()
                self._note_arrival()
                data = self._line.take()
                self._handed = None if data is None else self._checked(data)
        finally:
            turn.give_back()

    async def _wait(self, seconds: float) -> None:
        self._pause = asyncio.Event()
        timer = self._loop.call_later(seconds, self._pause.set)
        try:
            await self._pause.wait()
        finally:
            timer.cancel()

    async def next(self) -> str | bytes | None:
        """The next message, waiting for it; None at the end."""
        await self.arrival()
        return self.take()

    def take_all(self) -> list[str | bytes]:
        """All messages that have come and whose time has, without waiting."""
        taken = []
        while (data := self.take()) is not None:
            taken.append(data)
        if not self._line.unread:
            self._line.take_all()  # says that all has been taken
        return taken

    def on_message(self, callback: Callable[[], None] | None) -> None:
        """Call back when messages have come, when the time of one has come, and at the end; None to stop."""
        self._callback = callback
        self._disarm()
        self._line.on_message(self._come)  # which tells of what had come before

    def _call_back_in(self, seconds: float) -> None:
        if self._callback is not None and self._timer is None:
            self._timer = self._loop.call_later(seconds, self._call_back, self._callback)

    def _call_back(self, callback: Callable[[], None]) -> None:
        self._timer = None
        callback()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
