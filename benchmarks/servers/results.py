"""Figures of all rounds, and what is said of them: medians, and ratios of figures of the same round."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.servers.peers import INSTALLED

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Results", "Spread", "load", "save"]

Key = tuple[str, str]
KEPT = INSTALLED / "results.json"


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


def save(results: Results, path: Path = KEPT) -> None:
    """Keep every figure of the last run."""
    plain = asdict(results)
    plain["rounds"] = [[[*key, figures] for key, figures in one.items()] for one in results.rounds]
    plain["reasons"] = [[*key, reason] for key, reason in results.reasons.items()]
    path.write_text(json.dumps(plain, indent=1))


def load(path: Path = KEPT) -> Results:
    """The last run."""
    plain = json.loads(path.read_text())
    plain["rounds"] = [{(peer, case): figures for peer, case, figures in one} for one in plain["rounds"]]
    plain["reasons"] = {(peer, case): reason for peer, case, reason in plain["reasons"]}
    return Results(**plain)
