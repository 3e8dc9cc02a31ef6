"""A Line whose messages are counted: the same to a framework, with another receiving side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from trunkline.limits._intake import Intake
from trunkline.line import EXTENSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from trunkline.limits._meter import Meter
    from trunkline.line import Line
    from trunkline.types import Scope

__all__ = ["LimitedLine", "with_line"]

T = TypeVar("T")
R = TypeVar("R")


class LimitedLine:
    """A Line at a limited rate.

    Args:
        line: The Line.
        meter: Who counts what is received, and is told of what is sent.
    """

    def __init__(self, line: Line, meter: Meter) -> None:
        self._line = line
        self.send = _seen(line.send, meter)
        self.write_text = _seen(line.write_text, meter)
        self.write_bytes = _seen(line.write_bytes, meter)
        self.write_frame = _seen(line.write_frame, meter)
        self._intake = intake = Intake(line, meter)
        self.receive = intake.receive
        self.take = intake.take
        self.arrival = intake.arrival
        self.next = intake.next
        self.take_all = intake.take_all
        self.on_message = intake.on_message

    def answer(
        self, kind: type | None, call: Callable[[Any], object], otherwise: Callable[[Any], object]
    ) -> object | None:
        """Answer the messages that have come, and whose time has; what could not be written, or None."""
        while (message := self.take()) is not None:
            answer = (call if type(message) is kind else otherwise)(message)
            if isinstance(answer, str):
                is_written = self.write_text(answer)
            elif isinstance(answer, bytes):
                is_written = self.write_bytes(answer)
            else:
                is_written = answer is None
            if not is_written:
                return answer
        self.take_all()  # nothing: it says that we have taken all
        return None

    def stop(self) -> None:
        """The application has ended."""
        self._intake.stop()

    @property
    def unread(self) -> bool:
        """Whether messages have come that nobody has taken."""
        return self._intake.unread

    @property
    def frame_key(self) -> Hashable | None:
        """What frames are made by: not the key of its Line, so that it is among others of its kind."""
        key = self._line.frame_key
        return None if key is None else (LimitedLine, key)

    def write_frame_to(self, lines: Iterable[LimitedLine], frame: bytes) -> _Single:
        """Write a ready-made frame to each of these Lines where it is welcome."""
        return _Single([line for line in lines if not line.write_frame(frame)])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


class _Single(NamedTuple):
    """A frame that was written to each Line by itself, so that none can be added."""

    refused: list[LimitedLine]

    def add(self, _frame: bytes) -> bool:
        """Never."""
        return False


def _seen(write: Callable[[T], R], meter: Meter) -> Callable[[T], R]:
    time = asyncio.get_running_loop().time

    def seen(message: T) -> R:
        meter.seen_at = time()
        return write(message)

    return seen


def with_line(scope: Scope, line: LimitedLine) -> Scope:
    """A copy of a scope with another Line."""
    entry = {"version": VERSION, "line": cast("Line", line)}
    return {**scope, "extensions": {**scope["extensions"], EXTENSION: entry}}
