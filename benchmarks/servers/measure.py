"""One measurement: a fresh server on one core, the load on another, and the figures."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from benchmarks.servers.cases import IDLE
from benchmarks.servers.processes import START_TIMEOUT, NotMeasured, answer, load, memory_of, serving

if TYPE_CHECKING:
    from benchmarks.servers.cases import Case
    from benchmarks.servers.peers import Peer
    from benchmarks.servers.processes import Server

__all__ = ["measure"]

SETTLE = 0.4


def _hold(server: Server, case: Case) -> dict[str, float]:
    """Open connections and hold them. Two before them, so that what a server loads at its first does not count."""
    answer(load(server, "hold", "--connections", "2", "--path", case.path), START_TIMEOUT)
    time.sleep(SETTLE)
    before = sum(memory_of(server).values())
    holding = load(server, *case.arguments, "--path", case.path)
    assert holding.stdout is not None
    line = holding.stdout.readline()
    time.sleep(SETTLE)
    after = sum(memory_of(server).values())
    _, words = holding.communicate()
    if not line:
        raise NotMeasured(words.strip().partition("\n")[0])
    return {**json.loads(line), "kib_per_connection": (after - before) / IDLE}


def measure(peer: Peer, case: Case, seconds: float) -> dict[str, float]:
    """The figures of one run.

    Args:
        peer: The server; it is started for this and killed after it.
        case: What to ask of it.
        seconds: How long to measure; the load generator warms up before.

    Raises:
        NotMeasured: The server could not be started, refused, or answered wrongly, or its program lacks the case.
    """
    if case.peers is not None and peer.name not in case.peers:
        raise NotMeasured("its program has nothing for it")
    with serving(peer) as server:
        if case.name == "hold":
            return _hold(server, case)
        watch = [f"--watch={pid}" for pid in memory_of(server)]
        loading = load(server, *case.arguments, "--path", case.path, "--seconds", str(seconds), *watch)
        figures = answer(loading, seconds + START_TIMEOUT)
    if case.deflate and not figures["extensions"]:
        raise NotMeasured("declines to compress")
    return figures
