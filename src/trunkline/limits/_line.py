"""A Line whose messages are counted: the same to a framework, with another receiving side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from trunkline.limits._intake import Intake
from trunkline.line import EXTENSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from trunkline.limits._meter import Meter
    from trunkline.line import Line
    from trunkline.types import Scope

__all__ = ["LimitedLine", "with_line"]


class LimitedLine:
    """A Line at a limited rate.

    Args:
        line: The Line.
        meter: Who counts what is received.
    """

    def __init__(self, line: Line, meter: Meter) -> None:
        self._line = line
        self._intake = intake = Intake(line, meter)
        self.receive = intake.receive
        self.take = intake.take
        self.arrival = intake.arrival
        self.next = intake.next
        self.take_all = intake.take_all
        self.on_message = intake.on_message

    def stop(self) -> None:
        """The application has ended."""
        self._intake.stop()

    @property
    def unread(self) -> bool:
        """Whether messages have come that nobody has taken."""
        return self._intake.unread

    @property
    def frame_key(self) -> Hashable | None:
        """Not that of the server's own Lines, which write to each other past this one."""
        key = self._line.frame_key
        return None if key is None else (LimitedLine, key)

    def write_frame_to(self, lines: Iterable[LimitedLine], frame: bytes) -> list[LimitedLine]:
        """Write a ready-made frame to each of these where it is welcome; those where it was not."""
        return [line for line in lines if not line.write_frame(frame)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


def with_line(scope: Scope, line: LimitedLine) -> Scope:
    """A copy of a scope with another Line. The server's own would keep that alive as long as itself."""
    entry = {"version": VERSION, "line": cast("Line", line)}
    return {**scope, "extensions": {**scope["extensions"], EXTENSION: entry}}
