"""Figures of all rounds, and what is said of them: medians, and ratios of figures of the same round."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Results", "Spread"]

Key = tuple[str, str]


class Spread(NamedTuple):
    """The median of several rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float


def _spread(values: list[float]) -> Spread | None:
    return Spread(statistics.median(values), min(values), max(values)) if values else None


@dataclass
class Results:
    """What was measured.

    Attributes:
        about: When, where, with what.
        rounds: For each round the figures, by peer and case.
        missing: Why a peer could not be installed.
        reasons: Why a peer has no figures in a case, by peer and case.
    """

    about: dict[str, Any]
    rounds: list[dict[Key, dict[str, float]]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    reasons: dict[Key, str] = field(default_factory=dict)

    def figure(self, peer: str, case: str, metric: str) -> Spread | None:
        """A peer's figure over the rounds; None if it has none."""
        return _spread([figures[peer, case][metric] for figures in self.rounds if (peer, case) in figures])

    def ratio(self, peer: str, column: Key, against: str, other: Key | None = None) -> Spread | None:
        """A peer's figure through another's of the same round.

        Args:
            peer: Whose.
            column: Case and metric.
            against: The other peer.
            other: Its case and metric, if not the same.
        """
        case, metric = column
        other_case, other_metric = other or column
        return _spread(
            [
                figures[peer, case][metric] / figures[against, other_case][other_metric]
                for figures in self.rounds
                if (peer, case) in figures and (against, other_case) in figures
            ]
        )
