"""The servers of the contract suite, each a row, each run by its own command line in a child process.

A new server, or another way to serve (our engine; our engine behind a middleware that hides the Line), is one more
row: a name, a command, and where it differs the application.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SERVERS", "RunningServer", "Server", "serve", "serving"]

ROOT = Path(__file__).parents[2]
SECONDS_TO_START = 30
SECONDS_TO_STOP = 10


@dataclass(frozen=True, kw_only=True)
class Server:
    """A row: how to serve an application.

    Attributes:
        name: The id in the tests and in the table of deviations.
        package: The distribution whose version a deviation was measured with.
        command: Arguments for `python -m`; `{port}` and `{app}` are replaced.
        app: The application, as `module:name`.
        env: What its environment has besides ours.
    """

    name: str
    package: str
    command: str
    app: str = "tests.contracts.application:app"
    env: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, port: int) -> list[str]:
        return [sys.executable, "-m", *self.command.format(port=port, app=self.app).split()]


def uvicorn(protocol: str) -> Server:
    """uvicorn with one of its WebSocket protocols."""
    command = f"uvicorn {{app}} --host 127.0.0.1 --port {{port}} --ws {protocol} --timeout-graceful-shutdown 1"
    return Server(name=f"uvicorn-{protocol}", package="uvicorn", command=command)


def engine(name: str, loop: str, app: str = Server.app, http: str = "auto") -> Server:
    """Our engine beneath uvicorn; no row of `deviations.py` is for it."""
    command = (
        f"uvicorn {{app}} --host 127.0.0.1 --port {{port}} --http {http} --ws trunkline.engine:WebSocketProtocol "
        f"--timeout-graceful-shutdown 1 --loop {loop}"
    )
    return Server(name=name, package="trunkline", command=command, app=app)


SERVERS = (
    engine("engine", "uvloop", http="trunkline.engine:HTTPProtocol"),
    engine("engine-asyncio", "asyncio"),
    engine("engine-without-the-line", "uvloop", "tests.contracts.wrapped:app"),
    uvicorn("websockets"),
    uvicorn("websockets-sansio"),
    uvicorn("wsproto"),
    Server(
        name="hypercorn", package="hypercorn", command="hypercorn {app} --bind 127.0.0.1:{port} --graceful-timeout 1"
    ),
    Server(
        name="granian",
        package="granian",
        command="granian {app} --interface asgi --host 127.0.0.1 --port {port} --workers-kill-timeout 1",
    ),
)


def serving(module: str, *names: str) -> list[Server]:
    """The rows of these names with another application: `app` of a module, or `wrapped` where the Line is hidden."""
    return [
        replace(row, app=f"{module}:{'wrapped' if row.app.startswith('tests.contracts.wrapped:') else 'app'}")
        for row in SERVERS
        if row.name in names
    ]


class RunningServer:
    """A server's child process, with its log."""

    def __init__(self, row: Server, log: Path, port: int) -> None:
        self.row = row
        self.log = log
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.read_from = 0
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                row.arguments(port),
                cwd=ROOT,
                env={**os.environ, **row.env},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def answers(self) -> bool:
        """Wait until it listens; False when it ended before that."""
        deadline = time.monotonic() + SECONDS_TO_START
        while self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            assert time.monotonic() < deadline, f"{self.row.name} does not listen after {SECONDS_TO_START} s:\n{self}"
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # and its workers
            self.process.wait(SECONDS_TO_STOP)

    def mark(self) -> None:
        """Remember where the log stands."""
        self.read_from = self.log.stat().st_size

    def since_mark(self) -> str:
        """What was logged since `mark`."""
        return self.log.read_bytes()[self.read_from :].decode(errors="replace")

    def __str__(self) -> str:
        return self.log.read_text(errors="replace")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serve(row: Server, folder: Path) -> Iterator[RunningServer]:
    """Run a server for the length of the block. A port taken by another program in between is tried again."""
    for attempt in range(3):
        server = RunningServer(row, folder / f"{row.name}-{attempt}.log", free_port())
        try:
            if server.answers():
                yield server
                return
        finally:
            server.stop()
    raise AssertionError(f"{row.name} ends with {server.process.returncode} instead of serving:\n{server}")
