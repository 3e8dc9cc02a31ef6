"""Two candidates in interleaved rounds of one run, because machines are noisy and ratios of one round are less so."""

from __future__ import annotations

import gc
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 15


def header(peer: str = "Starlette") -> None:
    """Print what the columns of `compare` are.

    Args:
        peer: Who is compared with.
    """
    print(f"{'':34}{'ours':>12}{peer:>12}{'ratio':>9}   lowest to highest of {ROUNDS} rounds")


def verdict(ratio: float, goal: float | None) -> str:
    """What is said of a ratio behind it: the goal, where there is one, and whether it was met."""
    return "" if goal is None else f"   goal {goal:g}x: {'met' if ratio >= goal else 'MISSED'}"


def compare(name: str, ours: Callable[[], float], theirs: Callable[[], float], goal: float | None = None) -> None:
    """Measure both in turn and print the medians, and the ratio of theirs to ours round by round.

    Args:
        name: What is measured.
        ours: Returns microseconds for one operation.
        theirs: The same for the peer.
        goal: How many times as fast we want to be.
    """
    pairs = []
    for number in range(ROUNDS + 1):
        order = [ours, theirs] if number % 2 else [theirs, ours]
        gc.collect()
        times = {measure: measure() for measure in order}
        pairs.append((times[ours], times[theirs]))
    measured = pairs[1:]  # the first round fills caches
    ratios = [their_time / our_time for our_time, their_time in measured]
    ratio = statistics.median(ratios)
    our_median, their_median = (statistics.median(column) for column in zip(*measured, strict=True))
    print(
        f"{name:34}{our_median:>9.2f} us{their_median:>9.2f} us{ratio:>8.2f}x"
        f"   {min(ratios):.2f} to {max(ratios):.2f}{verdict(ratio, goal)}"
    )
