"""Ten thousand connections, opened and dropped at random, leave nothing in the server: `benchmarks/soak`, in short."""

from __future__ import annotations

import asyncio
import random

import pytest
from benchmarks.soak.run import Soak, serving, settled

WARM_UP = 500


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("loop", "tls", "half"),
    [("uvloop", False, 5000), ("asyncio", False, 1000), ("uvloop", True, 1000), ("asyncio", True, 500)],
    ids=["uvloop", "asyncio", "uvloop-tls", "asyncio-tls"],
)
def test_connections_dropped_at_random_leave_no_task_timer_file_or_memory(loop: str, tls: bool, half: int) -> None:
    seed = random.randrange(1 << 32)
    with serving(loop, tls=tls) as server:
        soak = Soak(server, seed)
        start = server.facts()
        seen = []
        for connections in (WARM_UP, half, half):
            asyncio.run(soak.run(connections=connections, at_once=200))
            seen.append(settled(server, start))
    assert (soak.hung, seen[-1]["errors"]) == ({}, []), f"seed {seed}"
    for facts in seen:
        left = {name: facts[name] - start[name] for name in ("connections", "tasks", "timers", "files")}
        assert max(left.values()) <= 0, f"seed {seed}: {left}"
    # What a process takes once, it has taken by now: one connection in ten that left an object would be seen.
    first, second = seen[1:]
    assert second["objects"] - first["objects"] < half / 10, f"seed {seed}"
    assert second["resident"] - first["resident"] < 3 << 20, f"seed {seed}"
