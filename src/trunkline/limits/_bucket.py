"""Rates, and the token bucket that tells whether one is kept. No clock and no waiting: the time is given."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trunkline.limits._errors import LimitError

__all__ = ["Bucket", "Rate"]

# Of a token: what the arithmetic of floats may lose.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """So many per second in the long run, and so many at once.

        Limits(messages_per_second=Rate(5, burst=50))

    Attributes:
        per_second: How many messages or bytes; may be below 1.
        burst: How many at once after a pause; left out, what comes in one second, and 1 at least.

    Raises:
        LimitError: A number is not above 0, or below 1 for the burst.
    """

    per_second: float
    burst: float | None = None

    def __post_init__(self) -> None:
        if not _is_positive(self.per_second):
            raise LimitError(f"expected a number above 0 as per_second of Rate, but got {self.per_second!r}")
        if not _is_positive(self.size) or self.size < 1:
            raise LimitError(f"expected 1 or more as burst of Rate, but got {self.burst!r}")

    @property
    def size(self) -> float:
        """How many at once."""
        return max(1.0, self.per_second) if self.burst is None else self.burst


def _is_positive(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < math.inf


class Bucket:
    """A token bucket: full at first, with `rate.per_second` tokens more each second.

    Args:
        rate: Its size and what it gets.
        now: The time, in seconds of any clock.
    """

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._level = rate.size
        self._at = now

    def fill(self, now: float) -> None:
        """Take in what has come since the last time, also more than fits in."""
        self._level += (now - self._at) * self.rate.per_second
        self._at = now

    def cut(self) -> None:
        """Let go of what does not fit in."""
        self._level = min(self._level, self.rate.size)

    def delay(self, tokens: float) -> float:
        """Seconds until there are so many tokens; 0 where there are."""
        missing = tokens - self._level
        return missing / self.rate.per_second if missing > _ROUNDING else 0.0

    def spend(self, tokens: float) -> None:
        """Take tokens out, also such that are not there."""
        self._level -= tokens
