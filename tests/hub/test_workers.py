"""Several real worker processes on one Redis, and clients on real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.cli_process import serving
from trunkline.hub import Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.hub.redis_server import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def url(redis_server: RedisServer) -> Iterator[str]:
    """Where two workers serve."""
    arguments = ("run", "tests.hub.workers_app:app", "--port", "0", "--workers", "2")
    with serving(*arguments, env={"TRUNKLINE_BROKER": redis_server.url}) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        for _ in range(2):
            server.wait_for("Application startup complete")
        yield f"ws://127.0.0.1:{port}/"


class Client:
    """A member that reconnects with the position of the last message that it got."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.process = 0
        self.at = ""
        self.values: list[Any] = []
        self.reloads = -1

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[ClientConnection]:
        async with connect(f"{self.url}?since={self.at}", max_queue=None, proxy=None) as connection:
            while True:
                message = json.loads(await connection.recv())
                if "process" in message:
                    break
                self.take(message)
            self.process = message["process"]
            self.reloads += not message["recovered"]
            self.at = message["at"]
            yield connection

    def take(self, message: Any) -> None:
        here, last = Position.parse(message["at"]), Position.parse(self.at)
        assert here == (last.epoch, last.offset + 1), "a gap, a duplicate or the wrong order"
        self.at = message["at"]
        self.values.append(message["value"])

    async def read_until(self, connection: ClientConnection, offset: int) -> None:
        while Position.parse(self.at).offset < offset:
            self.take(json.loads(await connection.recv()))


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


async def test_what_is_said_on_one_worker_is_heard_on_the_other_in_one_order(url: str) -> None:
    async with asyncio.timeout(50), one_on_each(f"{url}kept:a") as ((ada, ada_says), (bob, bob_says)):
        for n in range(50):
            await ada_says.send(json.dumps(f"ada {n}"))
            await bob_says.send(json.dumps(f"bob {n}"))
        await ada.read_until(ada_says, 100)
        await bob.read_until(bob_says, 100)
    common = min(len(ada.values), len(bob.values))
    assert ada.values[-common:] == bob.values[-common:]
    assert [value for value in bob.values if value.startswith("ada")] == [f"ada {n}" for n in range(50)]


async def test_a_worker_is_killed_and_its_clients_miss_nothing(url: str) -> None:
    async with asyncio.timeout(50), one_on_each(f"{url}kept:b") as ((ada, ada_says), (bob, bob_says)):
        await ada_says.send(json.dumps("0"))
        await bob.read_until(bob_says, 1)
        os.kill(bob.process, signal.SIGKILL)
        for n in range(1, 20):
            await ada_says.send(json.dumps(f"{n}"))
        await ada.read_until(ada_says, 20)
        with pytest.raises(ConnectionClosed):
            await bob.read_until(bob_says, 20)
        async with bob.connected() as bob_says_again:
            await bob.read_until(bob_says_again, 20)
    assert bob.values == [f"{n}" for n in range(20)]
    assert bob.reloads == 0


async def test_members_that_come_and_go_while_others_publish_have_streams_without_a_flaw(url: str) -> None:
    members, publishers, each = 60, 6, 50
    everything = publishers * each
    done = asyncio.Event()

    async def publisher(number: int) -> None:
        client = Client(f"{url}kept:c")
        async with client.connected() as connection:
            for n in range(each):
                await connection.send(json.dumps(f"{number} {n}"))
                await asyncio.sleep(random.uniform(0, 0.02))
            await client.read_until(connection, everything)

    async def member() -> None:
        client = Client(f"{url}kept:c")
        while not done.is_set():
            async with client.connected() as connection:
                stay = min(everything, Position.parse(client.at).offset + random.randint(1, 40))
                await client.read_until(connection, stay)
        async with client.connected() as connection:
            await client.read_until(connection, everything)
        assert client.reloads == 0
        for number in range(publishers):
            own = [value for value in client.values if value.startswith(f"{number} ")]
            assert own == [f"{number} {n}" for n in range(each)][each - len(own) :]

    async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
        for _ in range(members):
            tasks.create_task(member())
        publishing = [tasks.create_task(publisher(number)) for number in range(publishers)]
        await asyncio.wait(publishing)
        done.set()
