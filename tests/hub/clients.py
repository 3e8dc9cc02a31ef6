"""Clients on real sockets of real worker processes, that reconnect with the position of the last message they got."""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect

from tests.cli_process import serving
from trunkline.hub import Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["Client", "ask", "one_on_each", "until_answer", "workers"]

PATIENCE = 20.0


@contextmanager
def workers(broker: str, **environment: str) -> Iterator[str]:
    """Two worker processes, and where they serve. What they have logged is printed, for the report of a failure."""
    arguments = ("run", "tests.hub.workers_app:app", "--port", "0", "--workers", "2")
    # One that a test stops for a while must not be replaced for it.
    patient = ("--timeout-worker-healthcheck", "60")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with serving(*arguments, *patient, env={"TRUNKLINE_BROKER": broker, **environment}) as server:
            port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
            for _ in range(2):
                server.wait_for("Application startup complete")
            yield f"ws://127.0.0.1:{port}/"
        print("".join(server.all_lines()))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Client:
    """A member of a topic with a history.

    Args:
        url: The topic's endpoint.
        max_queue: How many messages may wait for it before it reads no more; None: any number.

    Attributes:
        process: The worker that served it last.
        at: The position of the last message.
        values: What it got, each value once and in order.
        reloads: How many times it was told, behind its first connection, that it may have missed something.
    """

    def __init__(self, url: str, max_queue: int | None = None) -> None:
        self.url = url
        self.max_queue = max_queue
        self.process = 0
        self.at = ""
        self.values: list[Any] = []
        self.reloads = -1

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[ClientConnection]:
        """Be in the topic."""
        async with connect(
            f"{self.url}?since={self.at}",
            max_queue=self.max_queue,
            proxy=None,
            compression=None,
            open_timeout=PATIENCE,
        ) as connection:
            while True:
                message = json.loads(await receive(connection))
                if "process" in message:
                    break
                self.take(message)
            self.process = message["process"]
            self.reloads += not message["recovered"]
            self.at = message["at"]
            yield connection

    def take(self, message: Any) -> None:
        """A publication has come."""
        here, last = Position.parse(message["at"]), Position.parse(self.at)
        assert here == (last.epoch, last.offset + 1), "a gap, a duplicate or the wrong order"
        self.at = message["at"]
        self.values.append(message["value"])

    async def read_until(self, connection: ClientConnection, offset: int) -> None:
        """Take what comes, up to a publication."""
        while Position.parse(self.at).offset < offset:
            self.take(json.loads(await receive(connection)))


async def receive(connection: ClientConnection) -> str | bytes:
    """What comes next; an error if nothing does."""
    async with asyncio.timeout(PATIENCE):
        return await connection.recv()


async def ask(connection: ClientConnection, question: str) -> Any:
    """What the worker of a connection knows of its topic; publications that come meanwhile are passed over."""
    await connection.send(json.dumps({"ask": question}))
    while True:
        message = json.loads(await receive(connection))
        if isinstance(message, dict) and "answer" in message:
            return message["answer"]


async def until_answer(connection: ClientConnection, question: str, good: Callable[[Any], bool]) -> None:
    """Ask until the answer is as it should be."""
    last = None
    try:
        async with asyncio.timeout(PATIENCE):
            for pause in itertools.repeat(0.02):
                last = await ask(connection, question)
                if good(last):
                    return
                await asyncio.sleep(pause)
    except TimeoutError:
        raise AssertionError(f"still {last!r} after {PATIENCE:g} s") from None


@asynccontextmanager
async def one_on_each(url: str) -> AsyncIterator[list[tuple[Client, ClientConnection]]]:
    """Two clients on two workers; the kernel decides which of them accepts."""
    found: dict[int, tuple[Client, Any, ClientConnection]] = {}
    for _ in range(100):
        client = Client(url)
        context = client.connected()
        connection = await context.__aenter__()
        if client.process in found:
            await context.__aexit__(None, None, None)
            continue
        found[client.process] = client, context, connection
        if len(found) == 2:
            break
    assert len(found) == 2, "one worker took every connection"
    try:
        yield [(client, connection) for client, _, connection in found.values()]
    finally:
        for _, context, _ in found.values():
            await context.__aexit__(None, None, None)
