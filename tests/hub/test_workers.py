"""Several real worker processes on one Redis, and clients on real sockets."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import TYPE_CHECKING

import pytest

from tests.hub.clients import Client, one_on_each, workers
from trunkline.hub import Position

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hub.redis_server import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def url(redis_server: RedisServer) -> Iterator[str]:
    """Where two workers serve."""
    with workers(redis_server.url) as url:
        yield url


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


@pytest.mark.timeout(120)
async def test_a_thousand_members_come_and_go_while_ten_publish_and_no_stream_has_a_flaw(url: str) -> None:
    members, publishers, each = 1000, 10, 10
    everything = publishers * each
    half_are_in, done = asyncio.Event(), asyncio.Event()
    joined = itertools.count(1)
    # A handshake takes the server longer than anything else here: no more at a time than it can answer in time.
    opening = asyncio.Semaphore(50)

    async def publisher(number: int) -> None:
        client = Client(f"{url}kept:c")
        async with client.connected() as connection:
            await half_are_in.wait()
            for n in range(each):
                await connection.send(json.dumps(f"{number} {n}"))
                await asyncio.sleep(random.uniform(0, 0.4))
            await client.read_until(connection, everything)

    async def stay(client: Client, until: int) -> None:
        async with opening:
            context = client.connected()
            connection = await context.__aenter__()
        if next(joined) > members / 2:
            half_are_in.set()
        try:
            await client.read_until(connection, min(everything, Position.parse(client.at).offset + until))
        finally:
            await context.__aexit__(None, None, None)

    async def member() -> None:
        client = Client(f"{url}kept:c")
        while not done.is_set():
            await stay(client, random.randint(1, everything))
        await stay(client, everything)
        assert client.reloads == 0
        for number in range(publishers):
            own = [value for value in client.values if value.startswith(f"{number} ")]
            assert own == [f"{number} {n}" for n in range(each)][each - len(own) :]

    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        for _ in range(members):
            tasks.create_task(member())
        publishing = [tasks.create_task(publisher(number)) for number in range(publishers)]
        await asyncio.wait(publishing)
        done.set()
