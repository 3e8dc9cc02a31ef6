"""What limits of messages and bytes per second say of the messages of one connection, by two token buckets.

A message takes one token from the one bucket, and one for each of its bytes from the other.

- Where messages are made to wait, the next one is taken when there is a token for it. How many bytes it has is not
  known before: they may leave the bucket below zero, and the message behind waits the longer.
- Where too many close the connection, a message is too much when there are not enough tokens for it. A client that
  keeps to the rate must not be closed because the application was busy and takes many of its messages at once. So
  while messages wait, a bucket keeps what it gets beyond its size; it is cut to that only when none did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.limits._bucket import Bucket

if TYPE_CHECKING:
    from trunkline.limits._limits import Limits
    from trunkline.types import Scope

__all__ = ["Meter", "meter_of", "size_of", "with_meter"]

_KEY = "trunkline.meter"


def size_of(data: str | bytes) -> int:
    """The bytes of a message; of a text in UTF-8."""
    if isinstance(data, str) and not data.isascii():
        return len(data.encode("utf-8", "surrogatepass"))
    return len(data)


class Meter:
    """Counts the messages of one connection.

    Args:
        limits: What they are to keep to.
        now: The time, in seconds of any clock.

    Attributes:
        seen_at: When there was the last message, in either direction.
    """

    __slots__ = ("_buckets", "_waits", "seen_at")

    def __init__(self, limits: Limits, now: float) -> None:
        self.seen_at = now
        self._waits = limits.policy != "close"
        self._buckets = [(name, Bucket(rate, now)) for name, rate in limits.rates.items()]

    def delay(self, now: float) -> float:
        """Seconds until the next message may be taken; 0 where too many close the connection."""
        if not self._waits:
            return 0.0
        self.rest(now)
        return max((bucket.delay(1) for _, bucket in self._buckets), default=0.0)

    def rest(self, now: float) -> None:
        """No message has waited until this time."""
        for _, bucket in self._buckets:
            bucket.fill(now)
            bucket.cut()

    def excess(self, data: str | bytes, now: float) -> str | None:
        """Count a message.

        Args:
            data: The message.
            now: The time.

        Returns:
            What limit it goes beyond, in words; None where it does not, or is made to wait for.
        """
        self.seen_at = now
        for name, bucket in self._buckets:
            tokens = 1 if name == "messages" else size_of(data)
            bucket.fill(now)
            if not self._waits and bucket.delay(tokens):
                return f"more than {bucket.rate.per_second:g} {name} per second"
            bucket.spend(tokens)
        return None


def with_meter(scope: Scope, meter: Meter) -> Scope:
    """A copy of a scope that knows who counts its messages.

    A copy, because the server's own would keep what belongs to the application alive as long as itself.
    """
    return {**scope, _KEY: meter}


def meter_of(scope: Scope) -> Meter:
    """Who counts the messages of a connection."""
    meter: Meter = scope[_KEY]
    return meter
