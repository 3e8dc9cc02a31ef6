"""A Redis server of a test's own, on a free port, that can be killed, restarted and paused."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from tests.contracts.servers import free_port
from tests.support import unavailable
from trunkline.hub.brokers.redis import connecting, listener

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

__all__ = ["RedisServer", "hurry"]

DEADLINE = 20


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the broker time limits that a test can wait for."""
    monkeypatch.setattr(listener, "PING_EVERY", 0.1)
    monkeypatch.setattr(listener, "SILENCE", 0.5)
    monkeypatch.setattr(connecting, "RESPONSE_TIMEOUT", 0.5)
    monkeypatch.setattr(connecting, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(connecting, "LONGEST_PAUSE", 0.2)


class RedisServer:
    """One server, with its data in a folder.

    Args:
        folder: Where it keeps its data.
        options: What else its configuration says; underscores stand for hyphens.
    """

    def __init__(self, folder: Path, **options: object) -> None:
        program = shutil.which("redis-server")
        if program is None:
            unavailable("redis-server is not installed: on Debian and Ubuntu, apt-get install redis-server")
        self._program = program
        self._folder = folder
        self._options = {name.replace("_", "-"): str(value) for name, value in options.items()}
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it, with the data that is in the folder."""
        self._process = subprocess.Popen(self._command_line(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE
        while not self._answers():
            assert self._process.poll() is None, "redis-server does not start"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def _command_line(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "save": "",
            "loglevel": "warning",
            **self._options,
        }
        return [self._program, *(part for name, value in options.items() for part in (f"--{name}", *value.split(" ")))]

    def _answers(self) -> bool:
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def command(self, *words: str) -> bytes:
        """Ask it something, on a connection of one's own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65536)

    def flush(self) -> None:
        """Forget all data."""
        self.command("FLUSHALL")

    def save(self) -> None:
        """Write the data to the folder."""
        assert self.command("SAVE") == b"+OK\r\n"

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait(DEADLINE)

    def wipe(self) -> None:
        """Throw its data away, while it does not run."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def pause(self) -> None:
        """Stop it as a network that is gone would: connections stay, nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self.resume()
        self.kill()
