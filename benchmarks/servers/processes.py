"""The processes of a measurement: a server on its core, the load on another, and what they use."""

from __future__ import annotations

import json
import os
import platform
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

from benchmarks.servers.peers import LOAD, NODE, PROGRAMS, SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.servers.peers import Peer

__all__ = [
    "LOAD_CORE",
    "START_TIMEOUT",
    "NotMeasured",
    "Server",
    "answer",
    "free_port",
    "load",
    "machine",
    "memory_of",
    "on_core",
    "serving",
]

START_TIMEOUT = 20.0
SERVER_CORE, LOAD_CORE = 0, 1  # of those that this process may use


class NotMeasured(Exception):
    """A server did not do what the case asks of it; the text says what it did."""


class Server(NamedTuple):
    """A server that listens: the leader of its session, and its port."""

    process: subprocess.Popen[bytes]
    port: int


def machine() -> str:
    """What it is measured on."""
    with open("/proc/cpuinfo") as cpuinfo:
        model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release().partition('-')[0]}"


def free_port() -> int:
    """A port of the loopback interface on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def on_core(which: int) -> None:
    """In a child, before it runs its program: stay on that core, and be allowed as many files as the system gives."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[which]})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check_cores() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("the server and the load need a core each, but this process may use one only")


@contextmanager
def serving(peer: Peer, *programs: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server, and kill it with all its processes in the end.

    Args:
        peer: The server.
        programs: More folders in which its program may lie.
        environment: Variables of its process, beside the peer's own.

    Raises:
        NotMeasured: It does not listen in time. Raised within, it comes out with the server's last words.
    """
    _check_cores()
    port = free_port()
    command = [str(word).replace("{port}", str(port)) for word in peer.command]
    path = ":".join(str(folder) for folder in (*programs, PROGRAMS, SOURCE))
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=NODE if peer.npm else PROGRAMS,  # where Node finds its modules
            env={**os.environ, **peer.environment, **(environment or {}), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(on_core, SERVER_CORE),
        )
        try:
            _wait_until_listening(process, port)
            yield Server(process, port)
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


def load(server: Server, *arguments: str) -> subprocess.Popen[str]:
    """Start the load generator on the other core."""
    return subprocess.Popen(
        [LOAD, *arguments, "--port", str(server.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(on_core, LOAD_CORE),
    )


def answer(loading: subprocess.Popen[str], timeout: float) -> dict[str, float]:
    """The figures of the load generator, once it has ended.

    Raises:
        NotMeasured: It has none, because the server did something unexpected, or within so many seconds.
    """
    try:
        out, words = loading.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        loading.kill()
        loading.communicate()
        raise NotMeasured(f"no figures within {timeout:g} s") from None
    if loading.returncode:
        raise NotMeasured(words.strip().partition("\n")[0])
    figures: dict[str, float] = json.loads(out)
    return figures


def memory_of(server: Server) -> dict[int, int]:
    """A server's processes, and the KiB that each has in memory."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(after_name[3]) == server.process.pid:
            found[int(stat.parent.name)] = int(after_name[21]) * resource.getpagesize() // 1024
    return found
