"""What is measured, and the goals."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.fanout.rows import BASELINE, OURS

__all__ = ["CASES", "GOALS", "IDLE", "LATENCIES", "MEMBERS", "OVER_REDIS_CASE", "STALLED", "WINDOWS", "Case", "Goal"]

MEMBERS, WINDOWS = (1000, 5000), (1, 8, 32)
STALLED = 10
IDLE = 10_000
_PUBLISHERS = 16


class Case(NamedTuple):
    """One run of the load generator against a fresh server.

    Attributes:
        name: What --cases takes.
        arguments: The load generator's.
        size: Bytes of a message.
        warm: Seconds before anything counts.
    """

    name: str
    arguments: tuple[str, ...]
    size: int = 128
    warm: float = 0.3


def _fanout(members: int, window: int) -> Case:
    return Case(f"{members}-{window}", ("--connections", str(members), "--window", str(window)))


# So much, so often, that what server and kernel hold for one that does not read is full before anything counts.
def _latency(name: str, stalled: int) -> Case:
    return Case(name, ("--connections", "1000", "--rate", "10", "--stalled", str(stalled)), 4096, 5.0)


LATENCIES = (_latency("steady", 0), _latency("stalled", STALLED))
CASES = (*(_fanout(members, window) for members in MEMBERS for window in WINDOWS), *LATENCIES)
OVER_REDIS_CASE = Case(
    "redis", ("--connections", str(_PUBLISHERS), "--publishers", str(_PUBLISHERS), "--window", "4"), warm=1.0
)


class Goal(NamedTuple):
    """What a ratio of two figures should be, at least; or at most where less of the figure is better."""

    text: str
    row: str
    column: tuple[str, str]
    bound: float
    against: str | None
    more: bool = True


GOALS = (
    Goal("1000 members, 1 in flight", OURS, ("1000-1", "per_second"), 2, BASELINE),
    Goal("1000 members, 8 in flight", OURS, ("1000-8", "per_second"), 14, BASELINE),
    Goal("1000 members, 32 in flight", OURS, ("1000-32", "per_second"), 30, BASELINE),
    Goal("over Redis, against Litestar's pub/sub", "hub", ("redis", "per_second"), 3, "litestar-pubsub"),
    Goal("over Redis, against Django Channels' `core`", "hub", ("redis", "per_second"), 3, "channels-core"),
    Goal("over Redis, against Django Channels' `pubsub`", "hub", ("redis", "per_second"), 3, "channels-pubsub"),
    Goal(
        "over Redis with history, against Litestar's streams",
        "hub-kept",
        ("redis", "per_second"),
        3,
        "litestar-streams",
    ),
    Goal("bytes for an idle membership", OURS, ("memory", "bytes"), 300, None, more=False),
)
