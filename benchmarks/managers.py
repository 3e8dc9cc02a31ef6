"""What becomes of a room when one of its members reads nothing: written naively, mended, and on the hub.

Each room has 20 members that read, and one that does not, behind small buffers as those of a client far away. 400
messages of 32 KiB are published, a hundred a second. Told are, three seconds behind the last or 15 s after the first:
how many of them the members that read have got, how late the latest of these came, and what the server's process has
grown by.

    scripts/bench managers
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from websockets.asyncio.client import connect

from trunkline import App, Hub, WebSocket

__all__ = ["ROOMS", "app", "main"]

MEMBERS, MESSAGES, SIZE, PAUSE = 20, 400, 32768, 0.01
AT_MOST, AFTER = 15.0, 3.0
OWN, ENGINE = "websockets-sansio", "trunkline.engine:WebSocketProtocol"
app = App()
hub = Hub("memory://")


class Room:
    """The connections of a room."""

    def __init__(self) -> None:
        self.connections: list[WebSocket] = []

    async def publish(self, message: str) -> None:
        """One after the other, as the tutorials do it."""
        for connection in list(self.connections):
            await connection.send_text(message)


class Gathered(Room):
    """All at once, and wait for all."""

    async def publish(self, message: str) -> None:
        """Wait until everybody has it."""
        await asyncio.gather(*(each.send_text(message) for each in self.connections), return_exceptions=True)


class Tasks(Room):
    """A task for each message of each member, and wait for none."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: set[asyncio.Task[None]] = set()

    async def publish(self, message: str) -> None:
        """Leave it to tasks."""
        for each in self.connections:
            task = asyncio.create_task(each.send_text(message))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)


def _serve(path: str, room: Room) -> None:
    @app.websocket(path, name=path[1:])
    async def member(websocket: WebSocket) -> None:
        await websocket.accept()
        room.connections.append(websocket)
        try:
            async for message in websocket.iter_text():
                await room.publish(message)
        finally:
            room.connections.remove(websocket)


_serve("/naive", Room())
_serve("/gather", Gathered())
_serve("/tasks", Tasks())


@app.websocket("/hub")
async def on_the_hub(websocket: WebSocket) -> None:
    """The same on the hub."""
    await websocket.accept()
    async with hub.topic("room").join(websocket):
        async for message in websocket.iter_text():
            await hub.topic("room").publish(message)


class Row(NamedTuple):
    """A room, and the protocol that it is served with."""

    text: str
    path: str
    protocol: str


ROOMS = (
    Row("one `send_text` after the other", "/naive", OWN),
    Row("`asyncio.gather` of all", "/gather", OWN),
    Row("a task for each message and member", "/tasks", OWN),
    Row("the hub, on uvicorn's protocol", "/hub", OWN),
    Row("the hub, on our engine", "/hub", ENGINE),
)


def _resident(pid: int) -> float:
    """MiB of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _request(path: str, port: int) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return (head + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()


async def _stalled(path: str, port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, _request(path, port))
    return client


class _Reader:
    """A member that reads."""

    def __init__(self) -> None:
        self.got = 0
        self.latest = 0.0

    async def read(self, client: Any) -> None:
        async for message in client:
            self.got += 1
            self.latest = max(self.latest, time.monotonic() - float(str(message).split(" ", 1)[0]))


async def _measure(row: Row, port: int, pid: int) -> str:
    options: dict[str, Any] = {"proxy": None, "compression": None, "max_queue": None}
    url = f"ws://127.0.0.1:{port}{row.path}"
    readers = [_Reader() for _ in range(MEMBERS)]
    clients = [await connect(url, **options) for _ in readers]
    tasks = [asyncio.create_task(reader.read(client)) for reader, client in zip(readers, clients, strict=True)]
    before = _resident(pid)
    with await _stalled(row.path, port):
        await asyncio.sleep(0.5)
        # Who publishes is held up too, where the room waits for the one that reads nothing.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AT_MOST):
                for _ in range(MESSAGES):
                    await clients[0].send(f"{time.monotonic()} {'x' * SIZE}")
                    await asyncio.sleep(PAUSE)
        await asyncio.sleep(AFTER)
        grown = _resident(pid) - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    got, latest = min(reader.got for reader in readers), max(reader.latest for reader in readers)
    for client in clients:
        client.transport.abort()
    return f"| {row.text} | {got} of {MESSAGES} | {latest * 1000:.0f} ms | {max(grown, 0):.0f} MiB |"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(row: Row) -> str:
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.managers:app", "--port", str(port), "--ws", row.protocol]
    with subprocess.Popen([*command, "--log-level", "critical"]) as server:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            return asyncio.run(_measure(row, port, server.pid))
        finally:
            server.kill()


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(prog="scripts/bench managers", description=__doc__).parse_args()
    print("| the room | members that read got | the latest came after | the server grew by |\n|---|---|---|---|")
    for row in ROOMS:
        print(_run(row), flush=True)


if __name__ == "__main__":
    main()
