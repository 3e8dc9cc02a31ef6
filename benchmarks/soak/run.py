"""A server to soak, and the clients that do it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.soak.clients import BEHAVIOURS, PATIENCE, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Server", "Soak", "serving", "settled"]

ROOT = Path(__file__).parents[2]
# Short, so that whoever is to be given up is given up within the time that a client stays.
LIMITS = {
    "ping_interval": 0.5,
    "ping_timeout": 0.5,
    "send_timeout": 0.5,
    "handshake_timeout": 0.5,
    "close_timeout": 0.5,
    "max_message": 1 << 20,
}


class Server:
    """A server process, which tells what it holds.

    Args:
        process: The process.
        port: Where it listens.
        tls: How clients speak TLS with it; None where they do not.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, tls: ssl.SSLContext | None) -> None:
        self.process = process
        self.port = port
        self.tls = tls

    def facts(self) -> dict[str, Any]:
        """What the process says of itself."""
        uri = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/facts"
        with urllib.request.urlopen(uri, timeout=PATIENCE, context=self.tls) as response:
            told: dict[str, Any] = json.load(response)
            return told


def _certificate(folder: Path) -> tuple[list[str], ssl.SSLContext]:
    """A certificate of its own: `trunkline run`'s options, and what clients need to know."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", "-days", "2", *name, *files], check=True, capture_output=True)
    options = ["--ssl-keyfile", str(key), "--ssl-certfile", str(certificate)]
    return options, ssl.create_default_context(cafile=certificate)


@contextlib.contextmanager
def serving(loop: str, *, tls: bool = False) -> Iterator[Server]:
    """`trunkline run` in a process of its own, with short limits.

    Args:
        loop: `"uvloop"` or `"asyncio"`.
        tls: Whether over TLS, with a certificate that `openssl` makes.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--loop", loop, "--log-level", "error"]
    for name, value in LIMITS.items():
        options += ["--engine", f"{name}={value}"]
    command = [sys.executable, "-m", "trunkline", "run", "benchmarks.soak.application:app"]
    # Coverage would be measured too, and takes more memory with every new line.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    with contextlib.ExitStack() as stack:
        secure, context = _certificate(Path(stack.enter_context(tempfile.TemporaryDirectory()))) if tls else ([], None)
        log = stack.enter_context(tempfile.TemporaryFile())
        process = stack.enter_context(
            subprocess.Popen([*command, *options, *secure], cwd=ROOT, env=env, stdout=log, stderr=log)
        )
        try:
            server = Server(process, port, context)
            _wait_until_listening(server)
            yield server
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _wait_until_listening(server: Server) -> None:
    deadline = time.monotonic() + PATIENCE
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            server.facts()
            return
        except urllib.error.URLError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


def settled(server: Server, before: dict[str, Any]) -> dict[str, Any]:
    """The facts when all is back at where it was `before`, or after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        facts = server.facts()
        back = all(facts[name] <= before[name] for name in ("connections", "tasks", "timers", "files"))
        if back or time.monotonic() > deadline:
            return facts
        time.sleep(0.1)


class Soak:
    """Clients that behave at random.

    Args:
        server: What they connect to.
        seed: What their behaviour follows from.

    Attributes:
        opened: How many connections have been opened.
        behaved: How often each behaviour has come.
        hung: How often one has not come to its end.
    """

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.opened = 0
        self.behaved: Counter[str] = Counter()
        self.hung: Counter[str] = Counter()
        self._chance = random.Random(seed)

    async def run(self, *, connections: int | None = None, seconds: float | None = None, at_once: int = 100) -> None:
        """Open so many connections, or open them for so long.

        Args:
            connections: How many.
            seconds: How long.
            at_once: How many are open at the same time.
        """
        last = None if connections is None else self.opened + connections
        end = None if seconds is None else time.monotonic() + seconds

        async def one_after_another() -> None:
            while (last is None or self.opened < last) and (end is None or time.monotonic() < end):
                self.opened += 1
                await self._one()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one_after_another())

    async def _one(self) -> None:
        (behave,) = self._chance.choices(list(BEHAVIOURS), list(BEHAVIOURS.values()))
        self.behaved[behave.__name__] += 1
        client = Client(self.server.port, self.server.tls, random.Random(self._chance.random()))
        try:
            async with asyncio.timeout(PATIENCE), client:
                await behave(client)
        except TimeoutError:
            self.hung[behave.__name__] += 1
        except (OSError, asyncio.IncompleteReadError):
            pass  # the server has ended it first
