"""One message to many connections, beside others, over real sockets.

    scripts/bench fanout                   everything, about forty minutes; writes docs/fanout.md
    scripts/bench fanout --rounds 1        one round, in less than ten minutes
    scripts/bench fanout --rounds 1 --seconds 0.5 --rows trunkline,bun,hub --cases 1000-32,redis

Each measurement has a fresh server on one core and the load generator on another. A round measures every row in every
case, the rows of a case one after the other in an order that rotates. What is not the whole is printed, never written.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.fanout.cases import CASES, OVER_REDIS_CASE
from benchmarks.fanout.measure import fanout, membership_bytes, over_redis, redis_server
from benchmarks.fanout.report import PAGE, markdown, write
from benchmarks.fanout.rows import OURS, OVER_REDIS, ROWS, memberships
from benchmarks.servers.peers import INSTALLED, Missing, install, versions
from benchmarks.servers.processes import NotMeasured, machine
from benchmarks.servers.results import Results, load, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.fanout.rows import Row

ROUNDS, SECONDS = 5, 1.0
MEMORY = "memory"
KEPT = INSTALLED / "fanout.json"


class _Plan:
    """What is asked for: names of rows and cases; all, where none are given."""

    def __init__(self, rows: str | None, cases: str | None) -> None:
        every_row = {row.name for row in (*ROWS, *OVER_REDIS)}
        every_case = {*(case.name for case in CASES), OVER_REDIS_CASE.name, MEMORY}
        self.rows = _named(rows, every_row)
        self.cases = _named(cases, every_case)
        self.whole = self.rows == every_row and self.cases == every_case


def _named(names: str | None, known: set[str]) -> set[str]:
    if names is None:
        return known
    wanted = set(names.split(","))
    if unknown := wanted - known:
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; choose from: {', '.join(sorted(known))}")
    return wanted


def _attempt(results: Results, row: str, case: str, measure: Callable[[], dict[str, float]]) -> None:
    print(f"\r\x1b[Kround {len(results.rounds)}, {case}, {row}", end="", file=sys.stderr)
    try:
        results.rounds[-1][row, case] = measure()
    except NotMeasured as reason:
        results.reasons[row, case] = str(reason)


def _rotated(rows: Iterable[Row], by: int, plan: _Plan, results: Results) -> list[Row]:
    chosen = [row for row in rows if row.name in plan.rows and row.name not in results.missing]
    turn = by % len(chosen) if chosen else 0
    return chosen[turn:] + chosen[:turn]


def _round(results: Results, plan: _Plan, seconds: float) -> None:
    number = len(results.rounds)
    results.rounds.append({})
    for place, case in enumerate(case for case in CASES if case.name in plan.cases):
        # A latency needs more time than a rate: ten messages a second.
        long = seconds * 4 if "--rate" in case.arguments else seconds
        for row in _rotated(ROWS, number + place, plan, results):
            _attempt(results, row.name, case.name, partial(fanout, row, case, long))
    if OVER_REDIS_CASE.name in plan.cases:
        _round_over_redis(results, _rotated(OVER_REDIS, number, plan, results), seconds)
    if MEMORY in plan.cases and OURS in plan.rows:
        _attempt(results, OURS, MEMORY, lambda: {"bytes": membership_bytes()})


def _round_over_redis(results: Results, rows: list[Row], seconds: float) -> None:
    case = OVER_REDIS_CASE
    try:
        with redis_server() as url:
            for row in rows:
                _attempt(results, row.name, case.name, partial(over_redis, row, case, seconds, url))
    except NotMeasured as reason:
        results.reasons["all", case.name] = str(reason)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench fanout", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"instead of {ROUNDS}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each measurement, instead of {SECONDS:g}")
    parser.add_argument("--rows", metavar="NAMES", help="only these: see benchmarks/fanout/rows.py")
    parser.add_argument("--cases", metavar="NAMES", help="only these: see benchmarks/fanout/cases.py; redis, memory")
    parser.add_argument("--again", action="store_true", help="only write the page again, from the last whole run")
    asked = parser.parse_args()
    if asked.again:
        write(load(KEPT))
        return
    plan = _Plan(asked.rows, asked.cases)
    peers = [row.peer for row in (*ROWS, *OVER_REDIS, memberships) if row.name in {*plan.rows, memberships.name}]
    try:
        missing = install(peers)
    except Missing as reason:
        raise SystemExit(f"the load generator could not be built: {reason}") from None
    about: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["scripts/bench fanout", *sys.argv[1:]]),
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "machine": machine(),
        "versions": versions(peers),
        "load_before": os.getloadavg()[0],
    }
    results = Results(about, missing=missing)
    for _ in range(asked.rounds):
        _round(results, plan, asked.seconds)
    print("\r\x1b[K", end="", file=sys.stderr)
    print(markdown(results))
    if plan.whole:
        save(results, KEPT)
        write(results)
        print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
