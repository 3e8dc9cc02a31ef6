"""One measurement: a fresh server on one core, the load on another, and the figures."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.servers.cases import IDLE
from benchmarks.servers.peers import LOAD, NODE, PROGRAMS, SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.servers.cases import Case
    from benchmarks.servers.peers import Peer

__all__ = ["NotMeasured", "measure"]

START_TIMEOUT = 20.0
SETTLE = 0.4


class NotMeasured(Exception):
    """A server did not do what the case asks of it; the text says what it did."""


class _Server(NamedTuple):
    process: subprocess.Popen[bytes]
    port: int


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the server and the load need a core each, but this process may use one only")
    return cores[0], cores[1]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _on_core(core: int) -> None:
    """In the child: stay on that core, and be allowed as many files as the system gives."""
    os.sched_setaffinity(0, {core})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _serving(peer: Peer) -> Iterator[_Server]:
    port = _free_port()
    command = [str(word).replace("{port}", str(port)) for word in peer.command]
    environment = {**os.environ, **peer.environment, "PYTHONPATH": f"{PROGRAMS}:{SOURCE}"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=NODE if peer.npm else PROGRAMS,  # where Node finds its modules
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(_on_core, _cores()[0]),
        )
        try:
            _wait_until_listening(process, port)
            yield _Server(process, port)
        except NotMeasured as error:
            log.seek(0)
            words = log.read().decode(errors="replace").strip().splitlines()
            raise NotMeasured(f"{error}{'; ' + words[-1] if words else ''}") from None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotMeasured(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise NotMeasured(f"the server did not listen within {START_TIMEOUT:g} s")


def _load(server: _Server, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [LOAD, *arguments, "--port", str(server.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(_on_core, _cores()[1]),
    )


def _answer(load: subprocess.Popen[str], timeout: float) -> dict[str, float]:
    try:
        out, words = load.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        load.kill()
        load.communicate()
        raise NotMeasured(f"no figures within {timeout:g} s") from None
    if load.returncode:
        raise NotMeasured(words.strip().partition("\n")[0])
    figures: dict[str, float] = json.loads(out)
    return figures


def _processes(session: int) -> dict[int, int]:
    """The processes of a session, and the KiB that each has in memory."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(after_name[3]) == session:
            found[int(stat.parent.name)] = int(after_name[21]) * resource.getpagesize() // 1024
    return found


def _hold(server: _Server, case: Case) -> dict[str, float]:
    """Open connections and hold them. Two before them, so that what a server loads at its first does not count."""
    _answer(_load(server, "hold", "--connections", "2", "--path", case.path), START_TIMEOUT)
    time.sleep(SETTLE)
    before = sum(_processes(server.process.pid).values())
    load = _load(server, *case.arguments, "--path", case.path)
    assert load.stdout is not None
    line = load.stdout.readline()
    time.sleep(SETTLE)
    after = sum(_processes(server.process.pid).values())
    _, words = load.communicate()
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
    with _serving(peer) as server:
        if case.name == "hold":
            return _hold(server, case)
        watch = [f"--watch={pid}" for pid in _processes(server.process.pid)]
        load = _load(server, *case.arguments, "--path", case.path, "--seconds", str(seconds), *watch)
        figures = _answer(load, seconds + START_TIMEOUT)
    if case.deflate and not figures["extensions"]:
        raise NotMeasured("declines to compress")
    return figures
