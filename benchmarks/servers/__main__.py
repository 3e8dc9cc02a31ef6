"""WebSocket servers side by side, over real sockets.

    scripts/bench servers                      everything; writes docs/benchmarks.md and its plot
    scripts/bench servers --quick              one short round of everything, printed only
    scripts/bench servers --quick --peers trunkline,bun --cases echo-1,echo-16

Each measurement has a fresh server on one core and the load generator on another. A round measures every peer in
every case, the peers of a case one after the other in an order that rotates; a ratio is that of two figures of the
same case and round. What is not the whole is printed, never written.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from typing import Any

from benchmarks.servers.cases import CASES
from benchmarks.servers.measure import measure
from benchmarks.servers.peers import BASELINE, PEERS, Missing, install, versions
from benchmarks.servers.processes import NotMeasured, machine
from benchmarks.servers.report import PAGE, terminal, write
from benchmarks.servers.results import Results, load, save

ROUNDS, SECONDS = 5, 1.0
QUICK_SECONDS = 0.5


def _chosen(all_of_them: Any, names: str | None, *always: str) -> list[Any]:
    if names is None:
        return list(all_of_them)
    wanted = {*names.split(","), *always}
    unknown = wanted - {one.name for one in all_of_them}
    if unknown:
        known = ", ".join(one.name for one in all_of_them)
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; choose from: {known}")
    return [one for one in all_of_them if one.name in wanted]


def run(results: Results, peers: list[Any], cases: list[Any], rounds: int, seconds: float) -> None:
    """Measure, and put the figures into `results`."""
    for number in range(rounds):
        figures: dict[tuple[str, str], dict[str, float]] = {}
        results.rounds.append(figures)
        for place, case in enumerate(cases):
            turn = (number + place) % len(peers)
            for peer in peers[turn:] + peers[:turn]:
                print(f"\r\x1b[Kround {number + 1} of {rounds}, {case.name}, {peer.name}", end="", file=sys.stderr)
                try:
                    figures[peer.name, case.name] = measure(peer, case, seconds)
                except NotMeasured as reason:
                    results.reasons[peer.name, case.name] = str(reason)
    print("\r\x1b[K", end="", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench servers", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round, printed only")
    parser.add_argument("--peers", metavar="NAMES", help=f"only these, and {BASELINE}: see benchmarks/servers/peers.py")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"instead of {ROUNDS}")
    parser.add_argument("--cases", metavar="NAMES", help="only these: see benchmarks/servers/cases.py")
    parser.add_argument("--again", action="store_true", help="only write the page again, from the last whole run")
    asked = parser.parse_args()
    if asked.again:
        write(load())
        return
    peers, cases = _chosen(PEERS, asked.peers, BASELINE), _chosen(CASES, asked.cases)
    rounds, seconds = (1, QUICK_SECONDS) if asked.quick else (asked.rounds, SECONDS)
    try:
        missing = install(peers)
    except Missing as reason:
        raise SystemExit(f"the load generator could not be built: {reason}") from None
    about = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["scripts/bench servers", *sys.argv[1:]]),
        "rounds": rounds,
        "seconds": seconds,
        "machine": machine(),
        "versions": versions(PEERS),
        "load_before": os.getloadavg()[0],
    }
    results = Results(about, missing=missing)
    run(results, [peer for peer in peers if peer.name not in missing], cases, rounds, seconds)
    print(terminal(results))
    if asked.quick or asked.peers or asked.cases:
        return
    save(results)
    write(results)
    print(f"\nwritten: {PAGE} and its plot")


if __name__ == "__main__":
    main()
