"""A member that stops reading for a minute, with every limit as it is by default. Two workers, Redis, real sockets.

The one test that takes so long: the others of stalled members shorten the limits.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from tests.hub.clients import Client, ask, one_on_each, receive, workers

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from tests.hub.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
EVERY, COUNT = 0.1, 600
# In a minute more than kernels hold between a server and a client.
FILLING = "x" * 40_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def publish(connection: ClientConnection) -> list[str]:
    """Publish for a minute."""
    values = [f"{n} {FILLING}" for n in range(COUNT)]
    for value in values:
        await connection.send(json.dumps(value))
        await asyncio.sleep(EVERY)
    return values


async def read(connection: ClientConnection) -> list[str | bytes]:
    """All that is published meanwhile."""
    return [await receive(connection) for _ in range(COUNT)]


async def read_to_the_end(client: Client, connection: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        while True:
            client.take(json.loads(await receive(connection)))


async def expelled(connections: list[ClientConnection]) -> tuple[int, int]:
    """Of both workers: members thrown out, and bytes that wait for anybody."""
    told = [await ask(connection, "stats") for connection in connections]
    return sum(stats["expelled"] for stats in told), sum(stats["waiting_bytes"] for stats in told)


async def with_a_history(url: str) -> None:
    slow = Client(f"{url}kept:minute", max_queue=1)
    async with one_on_each(slow.url) as ((ada, ada_says), (bob, bob_says)), slow.connected() as slow_hears:
        values, ada_got, bob_got = await asyncio.gather(publish(ada_says), read(ada_says), read(bob_says))
        assert await expelled([ada_says, bob_says]) == (1, 0)
        await read_to_the_end(slow, slow_hears)
    for healthy, got in ((ada, ada_got), (bob, bob_got)):
        for message in got:
            healthy.take(json.loads(message))
        assert healthy.values == values
    assert len(slow.values) < COUNT
    async with slow.connected() as slow_hears_again:
        await slow.read_until(slow_hears_again, COUNT)
    assert (slow.values, slow.reloads) == (values, 0)


async def without_a_history(url: str) -> None:
    slow = Client(f"{url}minute", max_queue=1)
    async with one_on_each(slow.url) as ((_, ada_says), (_, bob_says)), slow.connected():
        values, *got = await asyncio.gather(publish(ada_says), read(ada_says), read(bob_says))
        assert got == [values, values]
        assert await expelled([ada_says, bob_says]) == (1, 0)


async def test_a_member_that_stops_reading_for_a_minute_is_thrown_out_and_may_come_back(
    shared_redis: RedisServer,
) -> None:
    with workers(shared_redis.url) as url:
        await asyncio.gather(with_a_history(url), without_a_history(url))
