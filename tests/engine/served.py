"""The engine beneath uvicorn in a child process, and clients that do what no library lets them do."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import websockets.sync.client

from tests.cli_process import started
from tests.engine.client_frames import CLOSE, PING
from tests.engine.heads import raw_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

    from tests.cli_process import Server

__all__ = ["COMMANDS", "LOOPS", "SECONDS", "Engine", "Raw", "engine", "reset_at_close"]

LOOPS = ("uvloop", "asyncio")
SECONDS = 20.0


class Engine:
    """A server in a child process."""

    def __init__(self, log: Server) -> None:
        self.process = log.process
        self.log = log
        self.port = 0

    def listens(self) -> None:
        """Wait until it does: with several processes uvicorn says that one has started just before."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), SECONDS).close()
                return
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, f"nothing listens after {SECONDS} s"
                time.sleep(0.02)

    def facts(self, **connect: Any) -> dict[str, Any]:
        """What the process says of itself and of the connection that asks."""
        with self.websocket("/facts", **connect) as client:
            told: dict[str, Any] = json.loads(client.recv(SECONDS))
            return told

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for the facts until they hold."""
        deadline = time.monotonic() + SECONDS
        while not holds(facts := self.facts()):
            assert time.monotonic() < deadline, f"after {SECONDS} s still: {facts}"
            time.sleep(0.05)
        return facts

    def websocket(self, path: str, *, host: str = "127.0.0.1", **options: Any) -> ClientConnection:
        """A client of the `websockets` library that has connected to a path."""
        uri = f"ws://{host}:{self.port}{path}"
        client: ClientConnection = websockets.sync.client.connect(uri, proxy=None, max_size=None, **options)
        return client

    def client(self, path: str, **options: Any) -> Raw:
        """A client that has connected to a path."""
        return Raw(socket.create_connection(("127.0.0.1", self.port), SECONDS), path, **options)

    def ends_within(self, seconds: float) -> int:
        """Ask the server to stop: its exit code, when it is gone in time."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


# Both ways to start it.
COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "--ws", "trunkline.engine:WebSocketProtocol"],
    "trunkline run": ["-m", "trunkline", "run"],
}


@contextlib.contextmanager
def engine(
    *options: str,
    app: str = "tests.engine.robust_app:app",
    started_by: str = "uvicorn",
    cwd: Path | None = None,
    **settings: object,
) -> Iterator[Engine]:
    """The engine beneath uvicorn; `settings` are those of the engine."""
    command = [sys.executable, *COMMANDS[started_by], app, *options]
    if not {"--uds", "--port"}.intersection(options):
        command += ["--port", "0"]
    env = {f"TRUNKLINE_WS_{name.upper()}": str(value) for name, value in settings.items()}
    with started(command, cwd=cwd, env=env) as log:
        running = Engine(log)
        running.port = int(running.log.wait_for(r"Uvicorn running on (?:\S+:(\d+)|unix)")[1] or 0)
        yield running


def reset_at_close(sock: socket.socket) -> None:
    """Let its end be a reset, as that of a killed process with bytes unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # on, for 0 seconds


class Raw:
    """A client that does what no library lets it do."""

    def __init__(self, sock: socket.socket, path: str = "/echo", request: bytes | None = None) -> None:
        self.sock = sock
        self.sock.settimeout(SECONDS)
        self.sock.sendall(raw_request(line=f"GET {path} HTTP/1.1".encode()) if request is None else request)
        self.buffer = b""

    def head(self) -> bytes:
        """The head of the answer to the handshake."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head

    def accepted(self) -> Raw:
        assert self.head().startswith(b"HTTP/1.1 101 ")
        return self

    def _more(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise EOFError
        self.buffer += data

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def frame(self) -> tuple[int, bytes]:
        """The next frame that is no ping: its opcode and payload."""
        while True:
            first, length = self._take(2)
            if length > 125:
                length = int.from_bytes(self._take(2 if length == 126 else 8))
            payload = self._take(length)
            if first & 15 != PING:
                return first & 15, payload

    def texts(self, number: int) -> list[str]:
        """The next text messages."""
        return [payload.decode() for _, payload in (self.frame() for _ in range(number))]

    def close_code(self) -> int:
        """The code of the close frame, behind whatever comes before it."""
        while (frame := self.frame())[0] != CLOSE:
            pass
        return int.from_bytes(frame[1][:2]) if frame[1] else 1005

    def ended(self) -> bool:
        """Whether the server ends the connection; with a reset, or behind the end of the stream."""
        try:
            while True:
                self._more()
        except (EOFError, ConnectionResetError):
            return True

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()
