"""One measurement: a fresh server, and the load."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.fanout.cases import IDLE
from benchmarks.fanout.rows import PROGRAMS, WORKERS, memberships
from benchmarks.servers.processes import (
    LOAD_CORE,
    START_TIMEOUT,
    NotMeasured,
    answer,
    free_port,
    load,
    memory_of,
    on_core,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.fanout.cases import Case
    from benchmarks.fanout.rows import Row
    from benchmarks.servers.processes import Server

__all__ = ["fanout", "membership_bytes", "over_redis", "redis_server"]

SETTLED = 0.5
OPEN_TIMEOUT = 60.0


def _run(server: Server, row: Row, case: Case, seconds: float) -> dict[str, float]:
    before, behind = row.around
    with tempfile.NamedTemporaryFile() as payload:
        payload.write(f"{before}{'x' * case.size}{behind}".encode())
        payload.flush()
        loading = load(
            server,
            "fanout",
            *case.arguments,
            *row.arguments,
            f"--payload={payload.name}",
            f"--path={row.path}",
            f"--warm={case.warm}",
            f"--seconds={seconds}",
            *(f"--watch={pid}" for pid in memory_of(server)),
        )
        return answer(loading, case.warm + seconds + OPEN_TIMEOUT)


def fanout(row: Row, case: Case, seconds: float) -> dict[str, float]:
    """The figures of one run in one process.

    Raises:
        NotMeasured: The server could not be started, or does something else than was asked.
    """
    with serving(row.peer, PROGRAMS) as server:
        return _run(server, row, case, seconds)


def over_redis(row: Row, case: Case, seconds: float, url: str) -> dict[str, float]:
    """The figures of one run in several worker processes, for a publication instead of a delivery.

    Raises:
        NotMeasured: The server could not be started, or does something else than was asked.
    """
    with serving(row.peer, PROGRAMS, environment={"BENCHMARK_REDIS": url}) as server:
        _wait_for_workers(server)
        figures = _run(server, row, case, seconds)
    members = int(case.arguments[case.arguments.index("--connections") + 1])
    figures["per_second"] /= members
    figures["cpu_us"] *= members
    return figures


def _wait_for_workers(server: Server) -> None:
    """The port is there before the workers are: wait until all have been started and their memory grows no more."""
    deadline = time.monotonic() + START_TIMEOUT
    last: dict[int, int] = {}
    while time.monotonic() < deadline:
        time.sleep(SETTLED)
        now = memory_of(server)
        if len(now) > WORKERS and now == last:
            return
        last = now
    raise NotMeasured("the workers did not start in time")


@contextmanager
def redis_server() -> Iterator[str]:
    """A server that keeps nothing on disk, on the core of the load: its URL.

    Raises:
        NotMeasured: There is none on this machine.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise NotMeasured("there is no redis-server on this machine (Debian package: redis-server)")
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"],
        stdout=subprocess.DEVNULL,
        preexec_fn=partial(on_core, LOAD_CORE),
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def membership_bytes() -> float:
    """What tracemalloc says of an idle membership beyond its connection.

    Raises:
        NotMeasured: The server could not be started, or refuses.
    """
    with serving(memberships.peer, PROGRAMS) as server:
        holding = load(server, "hold", "--connections", str(IDLE), "--window", "16", "--path", memberships.path)
        assert holding.stdout is not None
        if not (line := holding.stdout.readline()):
            raise NotMeasured(holding.communicate()[1].strip())
        json.loads(line)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=OPEN_TIMEOUT) as told:
            figure = float(told.read())
        holding.communicate()
    return figure
