"""Publishing from other threads, loops and processes."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.hub.peers import eventually
from tests.line_peer import LinePeer
from trunkline.hub import Hub, HubError, Publisher, Retention, TopicConfig

if TYPE_CHECKING:
    from tests.hub.redis_server import RedisServer

pytestmark = pytest.mark.anyio
TOPICS = {"kept": TopicConfig(history=Retention(100, 60))}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def until_texts(peer: LinePeer, *expected: str) -> None:
    async def come() -> bool:
        return len(peer.texts()) >= len(expected)

    await eventually(come)
    assert sorted(peer.texts()) == sorted(expected)


async def test_a_publisher_of_a_hub_serves_threads_other_loops_and_its_own() -> None:
    peer = LinePeer()
    async with Hub(topics=TOPICS) as hub:
        publisher = Publisher(hub)
        async with hub.topic("kept").join(await peer.accepted()):
            assert (await publisher.publish("kept", "own loop")) is not None
            assert (await asyncio.to_thread(publisher.publish_sync, "kept", "thread")) is not None
            await asyncio.to_thread(lambda: asyncio.run(publisher.publish("kept", "other loop")))
            with pytest.raises(HubError, match=r"use `await publisher\.publish"):
                publisher.publish_sync("kept", "never")
            with pytest.raises(TypeError, match="not JSON serializable"):
                await asyncio.to_thread(publisher.publish_sync, "kept", object())
            await until_texts(peer, "own loop", "thread", "other loop")
        await publisher.aclose()


def test_a_publisher_of_a_hub_that_nobody_uses_says_so() -> None:
    hub = Hub()
    with pytest.raises(HubError, match="has not been used in an event loop that runs"):
        Publisher(hub).publish_sync("t", "x")
    assert asyncio.run(Publisher(hub).publish("t", "x")) is None
    with pytest.raises(HubError, match="has not been used in an event loop that runs"):
        Publisher(hub).publish_sync("t", "x")


async def test_a_publisher_of_a_url_is_used_from_everywhere(shared_redis: RedisServer) -> None:
    shared_redis.command("FLUSHALL")
    peer = LinePeer()
    async with (
        Hub(shared_redis.url, topics=TOPICS) as hub,
        Publisher(shared_redis.url, topics=TOPICS) as publisher,
        hub.topic("kept").join(await peer.accepted()),
    ):
        first = await publisher.publish("kept", "async")
        assert first is not None
        assert first.offset == 1
        publisher.publish_sync("kept", "sync, in the loop of another hub")
        await asyncio.to_thread(lambda: asyncio.run(publisher.publish("kept", "other loop")))
        threads = [threading.Thread(target=publisher.publish_sync, args=("kept", f"thread {n}")) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await publisher.publish("kept", "again", idempotency_key="k")
        await publisher.publish("kept", "again", idempotency_key="k")
        expected = [f"thread {n}" for n in range(5)]
        await until_texts(peer, "async", "sync, in the loop of another hub", "other loop", *expected, "again")


def test_a_publisher_ends_its_thread_and_starts_it_again(shared_redis: RedisServer) -> None:
    with Publisher(shared_redis.url) as publisher:
        publisher.publish_sync("t", "1")
        publisher.close()
        assert "publisher" not in [thread.name for thread in threading.enumerate()]
        publisher.publish_sync("t", "2")
    publisher.close()
    assert "publisher" not in [thread.name for thread in threading.enumerate()]


# Python 3.12 warns of every fork beside a thread; this is the fork that prefork servers make.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_publishes_by_a_thread_of_its_own(shared_redis: RedisServer) -> None:
    with Publisher(shared_redis.url, topics=TOPICS) as publisher:
        before = publisher.publish_sync("kept", "parent")
        child = os.fork()
        if not child:
            try:
                publisher.publish_sync("kept", "child", timeout=10)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        after = publisher.publish_sync("kept", "parent")
    assert before is not None
    assert after == (before.epoch, before.offset + 2)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (7, TypeError, "expected a Hub or the URL of a broker, but got 7"),
        ("memory://", ValueError, "give the Hub itself"),
        ("nonsense://", ValueError, "nonsense"),
    ],
)
def test_mistakes_are_told_at_once(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Publisher(given)
    with pytest.raises(TypeError, match="to the hub alone"):
        Publisher(Hub(), topics={})
