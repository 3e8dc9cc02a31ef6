"""What fails in production, on real worker processes, a real Redis and real sockets.

With a history nothing is lost: a client gets everything, or is told to load the present state. Without one the loss is
counted, where somebody can see it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.hub.clients import PATIENCE, Client, ask, one_on_each, receive, until_answer, workers
from tests.hub.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio
# More than the kernel holds between Redis and a worker, and Redis for it.
LARGE, MANY = "x" * 100_000, 150


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["forgetful", "with data"])
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that comes back empty, or with everything that it had: it writes to its file before it answers."""
    keeps = request.param == "with data"
    server = RedisServer(tmp_path_factory.mktemp("redis"), appendonly="yes" if keeps else "no", appendfsync="no")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def url(redis: RedisServer) -> Iterator[str]:
    """Where two workers serve, in a hurry."""
    with workers(redis.url, HURRIED="1") as url:
        yield url


async def until_closed(client: Client, connection: ClientConnection) -> int:
    """Take what comes until the end, and give its code."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            client.take(json.loads(await receive(connection)))
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


async def test_redis_is_killed_and_everybody_is_told_to_reload(redis: RedisServer, url: str) -> None:
    async with asyncio.timeout(2 * PATIENCE), one_on_each(f"{url}kept:restart") as ((ada, ada_says), (bob, bob_says)):
        await ada_says.send(json.dumps("before"))
        await ada.read_until(ada_says, 1)
        await bob.read_until(bob_says, 1)
        redis.kill()
        redis.start()
        assert await until_closed(ada, ada_says) == 1012
        assert await until_closed(bob, bob_says) == 1012
        async with ada.connected() as ada_says_again, bob.connected() as bob_says_again:
            assert (ada.reloads, bob.reloads) == (1, 1)
            start = int(ada.at.partition("-")[0])
            await ada_says_again.send(json.dumps("after"))
            await ada.read_until(ada_says_again, start + 1)
            await bob.read_until(bob_says_again, start + 1)
    assert ada.values == bob.values == ["before", "after"]


async def test_redis_stands_still_for_longer_than_all_limits_and_nothing_is_lost(redis: RedisServer, url: str) -> None:
    values = [f"value {n}" for n in range(12)]
    async with asyncio.timeout(2 * PATIENCE), one_on_each(f"{url}kept:still") as ((ada, ada_says), (bob, bob_says)):
        for n, value in enumerate(values):
            if n == 4:
                redis.pause()
            if n == 8:
                await asyncio.sleep(1.5)
                redis.resume()
            await ada_says.send(json.dumps(value))
        await ada.read_until(ada_says, len(values))
        await bob.read_until(bob_says, len(values))
    assert ada.values == bob.values == values
    assert (ada.reloads, bob.reloads) == (0, 0)


@pytest.fixture
def small_buffers(redis: RedisServer) -> Iterator[None]:
    """Redis drops a subscriber that is 1 MiB behind."""
    redis.command("CONFIG", "SET", "client-output-buffer-limit", '"pubsub 1048576 0 0"')
    yield
    redis.command("CONFIG", "SET", "client-output-buffer-limit", '"pubsub 33554432 8388608 60"')


@pytest.mark.usefixtures("small_buffers")
async def test_redis_drops_a_worker_that_reads_too_slowly_and_its_members_miss_nothing(url: str) -> None:
    async with asyncio.timeout(2 * PATIENCE), one_on_each(f"{url}kept:slow") as ((ada, ada_says), (bob, bob_says)):
        await ada_says.send(json.dumps("first"))
        await bob.read_until(bob_says, 1)
        before = (await ask(bob_says, "stats"))["reconnects"]
        os.kill(bob.process, signal.SIGSTOP)
        try:
            for n in range(MANY):
                await ada_says.send(json.dumps(f"{n} {LARGE}"))
            await ada.read_until(ada_says, MANY + 1)
        finally:
            os.kill(bob.process, signal.SIGCONT)
        await bob.read_until(bob_says, MANY + 1)
        stats = await ask(bob_says, "stats")
    assert bob.values == ["first", *(f"{n} {LARGE}" for n in range(MANY))]
    assert bob.reloads == 0
    assert stats["reconnects"] > before
    assert stats["losses"] == 0


Fault = Callable[[RedisServer, ClientConnection, int], Awaitable[None]]


async def restart(redis: RedisServer, _: ClientConnection, __: int) -> None:
    redis.kill()
    redis.start()


async def stand_still(redis: RedisServer, _: ClientConnection, __: int) -> None:
    redis.pause()
    await asyncio.sleep(1.5)
    redis.resume()


async def overrun(__: RedisServer, other: ClientConnection, process: int) -> None:
    os.kill(process, signal.SIGSTOP)
    try:
        for n in range(MANY):
            await other.send(json.dumps([n, LARGE]))
        for _ in range(MANY):
            await receive(other)
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("fault", [restart, stand_still, overrun], ids=lambda fault: fault.__name__)
async def test_without_a_history_members_stay_and_the_loss_is_counted(
    redis: RedisServer, url: str, fault: Fault
) -> None:
    topic = f"{url}plain:{fault.__name__}"
    async with asyncio.timeout(2 * PATIENCE), one_on_each(topic) as ((_, ada_says), (bob, bob_says)):
        assert (await ask(bob_says, "stats"))["losses"] == 0
        await fault(redis, ada_says, bob.process)
        await until_answer(bob_says, "stats", lambda stats: stats["losses"] == 1)
        await ada_says.send(json.dumps(["after"]))
        while json.loads(await receive(bob_says)) != ["after"]:
            pass


@asynccontextmanager
async def present_on(url: str, process: int, key: str) -> AsyncIterator[ClientConnection]:
    """A connection to that worker, present under a key."""
    for _ in range(100):
        async with connect(f"{url}here:a?key={key}", proxy=None, open_timeout=PATIENCE) as connection:
            if json.loads(await receive(connection))["process"] == process:
                yield connection
                return
    raise AssertionError("the other worker took every connection")


async def test_a_worker_is_killed_and_its_clients_miss_nothing_while_its_present_are_told_gone(
    redis: RedisServer, url: str
) -> None:
    async with asyncio.timeout(2 * PATIENCE), one_on_each(f"{url}kept:killed") as ((ada, ada_says), (bob, bob_says)):
        await ada_says.send(json.dumps("0"))
        await bob.read_until(bob_says, 1)
        async with present_on(url, ada.process, "ada") as ada_here, present_on(url, bob.process, "bob"):
            await until_answer(ada_here, "presence", lambda present: set(present) == {"ada", "bob"})
            os.kill(bob.process, signal.SIGKILL)
            for n in range(1, 20):
                await ada_says.send(json.dumps(f"{n}"))
            await ada.read_until(ada_says, 20)
            with pytest.raises(ConnectionClosed):
                await bob.read_until(bob_says, 20)
            async with bob.connected() as bob_says_again:
                await bob.read_until(bob_says_again, 20)
            await until_answer(ada_here, "presence", lambda present: set(present) == {"ada"})
    assert bob.values == [f"{n}" for n in range(20)]
    assert bob.reloads == 0
