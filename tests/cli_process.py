"""Start the `trunkline` command as users do, in a process of its own, and stop it again whatever happens."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

COMMAND = [sys.executable, "-m", "trunkline"]
TIMEOUT = 30.0


def trunkline(
    *arguments: str, cwd: Path | None = None, stdin: str | bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and give its output as text."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=TIMEOUT,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Server:
    """A server process with the lines that it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until a line is printed in which `pattern` is found."""
        while True:
            try:
                line = self._queue.get(timeout=TIMEOUT)
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"expected {pattern!r}, but only this came: {''.join(self.lines)}")
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found

    def all_lines(self) -> list[str]:
        """All that was printed, when nobody prints any more."""
        self._reader.join(TIMEOUT)
        while not self._queue.empty():
            self.lines.append(self._queue.get() or "")
        return self.lines

    def end(self) -> int:
        """Send what Ctrl-C sends, and give the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(TIMEOUT)


@contextmanager
def started(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start a program, and kill it at the end with all that it has started.

    A child that outlived it would hold its output open, and a pipe that a thread reads from cannot be closed before its
    end: the test would wait for ever, and no time-out would get through.
    """
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        server = Server(process)
        try:
            yield server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            server.all_lines()


@contextmanager
def serving(*arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a command that goes on until it is told to end."""
    with started([*COMMAND, *arguments], cwd=cwd, env=env) as server:
        try:
            yield server
        finally:
            server.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(TIMEOUT)
