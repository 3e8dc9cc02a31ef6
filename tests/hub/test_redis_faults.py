"""Redis fails: what is told to whom, and that nothing is lost without a word."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.hub.peers import eventually
from tests.hub.redis_server import hurry
from tests.line_peer import LinePeer
from trunkline.hub import BrokerError, Hub, OutcomeUnknown, Position, Retention, TopicConfig
from trunkline.hub.brokers.redis import RedisBroker, broker, connecting, listener
from trunkline.hub.brokers.redis.scripts import PUBLISH
from trunkline.hub.brokers.redis.urls import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.hub.redis_server import RedisServer
    from trunkline.hub import Topic
    from trunkline.hub.brokers import History

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time limits that a test can wait for."""
    monkeypatch.setattr(listener, "SUBSCRIBE_TIMEOUT", 0.5)
    hurry(monkeypatch)
    monkeypatch.setattr(broker, "READ_TIMEOUT", 0.5)


@asynccontextmanager
async def hub_on(server: RedisServer, *, keep: bool = True, **config: Any) -> AsyncIterator[tuple[Hub, Topic]]:
    config["history"] = Retention(10_000, 60) if keep else None
    async with Hub(server.url, topics={"*": TopicConfig(**config)}) as hub:
        yield hub, hub.topic("t")


async def until_texts(peer: LinePeer, *expected: str) -> None:
    async def come() -> bool:
        return len(peer.texts()) >= len(expected)

    await eventually(come)
    assert peer.texts() == list(expected)


async def publish_at_last(topic: Topic, value: str) -> None:
    """Publish to a server that is about to be there again."""

    async def published() -> bool:
        try:
            await topic.publish(value, timeout=0.5, idempotency_key=value)
        except BrokerError:
            return False
        return True

    await eventually(published)


async def test_a_lost_subscription_comes_back_and_what_was_missed_is_recovered(redis_server: RedisServer) -> None:
    async with hub_on(redis_server) as (_, here), hub_on(redis_server) as (_, there):
        peer = LinePeer()
        async with here.join(await peer.accepted()) as member:
            for n in range(60):
                if n % 20 == 10:
                    assert redis_server.command("CLIENT", "KILL", "TYPE", "pubsub") == b":1\r\n"
                await there.publish(str(n))
                await asyncio.sleep(0.005)
            await until_texts(peer, *(str(n) for n in range(60)))
            assert member.joined
            assert here.stats.losses == 0
            assert isinstance(here.hub.broker, RedisBroker)
            assert here.hub.broker.reconnects >= 1


async def test_without_a_history_the_loss_is_told_and_counted(redis_server: RedisServer) -> None:
    told: list[str] = []

    def on_loss(topic: Topic) -> None:
        told.append(topic.name)
        raise ZeroDivisionError

    async with hub_on(redis_server, keep=False, on_loss=on_loss) as (_, topic):
        peer = LinePeer()
        async with topic.join(await peer.accepted()):
            await topic.publish("before")
            await until_texts(peer, "before")
            redis_server.kill()
            redis_server.start()

            async def counted() -> bool:
                return topic.stats.losses == 1

            await eventually(counted)
            assert told == ["t"]
            await publish_at_last(topic, "after")
            await until_texts(peer, "before", "after")


async def test_a_lost_pattern_comes_back_and_the_loss_is_counted(redis_server: RedisServer) -> None:
    async with hub_on(redis_server) as (hub, _):
        peer, pattern = LinePeer(), hub.pattern("room:*")
        async with pattern.join(await peer.accepted()):
            await hub.topic("room:1").publish("before")
            await until_texts(peer, "before")
            assert redis_server.command("CLIENT", "KILL", "TYPE", "pubsub") == b":1\r\n"

            async def counted() -> bool:
                return pattern.stats.losses == 1

            await eventually(counted)
            await hub.topic("room:2").publish("after")
            await until_texts(peer, "before", "after")


@pytest.mark.parametrize("saved", [True, False], ids=["with data", "empty"])
async def test_a_restart_begins_a_new_epoch_and_sends_members_back(redis_server: RedisServer, saved: bool) -> None:
    async with hub_on(redis_server) as (_, topic):
        peer, back = LinePeer(), LinePeer()
        async with topic.join(await peer.accepted()) as member:
            for n in range(3):
                old = await topic.publish(str(n))
            await until_texts(peer, "0", "1", "2")
            if saved:
                redis_server.save()
            redis_server.kill()
            with pytest.raises(BrokerError):
                await topic.publish("into nowhere", timeout=0.1)
            redis_server.start()

            async def sent_back() -> bool:
                return not member.joined

            await eventually(sent_back)
            assert [message["code"] for message in peer.sent if "code" in message] == [1012]
        assert old is not None
        async with topic.join(await back.accepted(), since=old) as member:
            assert not member.recovered
            assert member.position is not None
            assert member.position.epoch != old.epoch
            await topic.publish("live")
            await until_texts(back, "live")


async def test_a_snapshot_older_than_the_clients_hides_no_gap(redis_server: RedisServer) -> None:
    async with hub_on(redis_server) as (_, topic):
        for n in range(90):
            await topic.publish(str(n))
        redis_server.save()
        for n in range(90, 100):
            last = await topic.publish(str(n))
        redis_server.kill()
        redis_server.start()
        for n in range(20):
            await publish_at_last(topic, f"other {n}")
        async with topic.join(await LinePeer().accepted(), since=last) as member:
            assert not member.recovered


async def test_a_pause_longer_than_the_time_limits_loses_nothing(redis_server: RedisServer) -> None:
    async with hub_on(redis_server) as (_, topic):
        peer = LinePeer()
        async with topic.join(await peer.accepted()) as member:
            await topic.publish("0")
            redis_server.pause()
            started = time.monotonic()
            with pytest.raises(OutcomeUnknown, match="the outcome is unknown"):
                await topic.publish("1", timeout=0.3)
            with pytest.raises(BrokerError):
                await topic.hub.topic("other").join(await LinePeer().accepted()).__aenter__()
            with pytest.raises(BrokerError):
                await topic.publish("2", timeout=0.3)
            assert time.monotonic() - started < 5
            assert topic.hub.rooms.keys() == {"t"}
            await asyncio.sleep(1)
            redis_server.resume()
            await publish_at_last(topic, "3")

            async def last_has_come() -> bool:
                return peer.texts()[-1:] == ["3"]

            await eventually(last_has_come)
            assert member.joined
            known = (await topic.hub.broker.history("t", None)).top
            assert len(peer.texts()) == known.offset, "all that Redis has taken, and each once"
            assert peer.texts() == sorted(set(peer.texts()))


async def test_a_subscriber_that_redis_drops_for_its_slowness_is_recovered(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is recovered is 10 MB, which a machine that does other things too may need a moment for.
    monkeypatch.setattr(connecting, "RESPONSE_TIMEOUT", 5.0)
    monkeypatch.setattr(broker, "READ_TIMEOUT", 5.0)
    with redis.Redis(port=redis_server.port) as blocking:
        blocking.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
        async with hub_on(redis_server) as (_, topic):
            peer = LinePeer()
            async with topic.join(await peer.accepted()) as member:
                await topic.publish("first")
                run_id = blocking.info("server")["run_id"]
                keys = ("trunkline:s:{t}", "trunkline:m:{t}", "k")
                payload = b"1 text  0\n" + b"x" * 100_000
                # Synchronously: meanwhile the hub reads nothing.
                for _ in range(100):
                    blocking.eval(PUBLISH.text, 3, *keys, b"trunkline:c:{t}", payload, 10_000, 60, run_id, "e", 0)
                await topic.publish("last")
                await until_texts(peer, "first", *["x" * 100_000] * 100, "last")
                assert member.joined
                assert topic.stats.losses == 0
                assert isinstance(topic.hub.broker, RedisBroker)
                assert topic.hub.broker.reconnects >= 1


async def test_a_server_that_is_not_there_is_told_in_time_and_in_words(redis_server: RedisServer) -> None:
    redis_server.kill()
    async with hub_on(redis_server) as (hub, topic):
        started = time.monotonic()
        with pytest.raises(BrokerError, match=r"could not be reached within 0\.2 s.*nothing was done") as caught:
            await topic.publish("x", timeout=0.2)
        assert not isinstance(caught.value, OutcomeUnknown)
        with pytest.raises(BrokerError, match="has not confirmed the subscription"):
            await topic.join(await LinePeer().accepted()).__aenter__()
        assert time.monotonic() - started < 5
        assert hub.rooms == {}
        waiting = asyncio.create_task(topic.publish("later", timeout=20))
        await asyncio.sleep(0.1)
        redis_server.start()
        assert (await waiting) is not None


async def test_a_long_history_is_read_by_pages_and_never_told_in_part(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "ENTRIES_AT_ONCE", 10)
    async with hub_on(redis_server) as (hub, topic):
        first = await topic.publish("0")
        assert first is not None
        await asyncio.gather(*(topic.publish(str(n)) for n in range(1, 36)))
        history = await hub.broker.history("t", first)
        assert history.complete
        assert [entry.position.offset for entry in history.entries] == list(range(2, 37))
        assert isinstance(hub.broker, RedisBroker)
        read = hub.broker._page

        async def read_and_trim(name: str, since: Position | None) -> History:
            page = await read(name, since)
            redis_server.command("XTRIM", "trunkline:s:{t}", "MAXLEN", "3")
            return page

        monkeypatch.setattr(hub.broker, "_page", read_and_trim)
        assert await hub.broker.history("t", first) == (history.top, [], False)


async def test_scripts_that_were_flushed_are_loaded_again(redis_server: RedisServer) -> None:
    async with hub_on(redis_server) as (_, topic):
        first = await topic.publish("1")
        redis_server.command("SCRIPT", "FLUSH")
        second = await topic.publish("2")
        assert first is not None
        assert second == (first.epoch, 2)


async def test_what_redis_refuses_is_told_in_its_words(redis_server: RedisServer) -> None:
    async with hub_on(redis_server) as (_, topic):
        redis_server.command("SET", "trunkline:m:{t}", "no-hash")
        with pytest.raises(BrokerError, match=r"Redis refuses it: .*WRONGTYPE"):
            await topic.publish("1")


async def test_what_cannot_be_read_ends_nothing(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with hub_on(redis_server, keep=False) as (_, topic):
        peer = LinePeer()
        async with topic.join(await peer.accepted()):
            redis_server.command("PUBLISH", "trunkline:c:{t}", "nonsense")
            await topic.publish("x")
            await until_texts(peer, "x")
    assert "could not be delivered" in caplog.text


async def test_a_last_publication_that_was_lost_on_its_way_is_found(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CHECK_EVERY", 0.2)
    async with hub_on(redis_server) as (hub, topic):
        peer = LinePeer()
        async with topic.join(await peer.accepted()), hub.topic("other").join(await LinePeer().accepted()):
            with monkeypatch.context() as lossy:
                lossy.setattr(Hub, "deliver", lambda *_: None)
                await topic.publish("1")
                await asyncio.sleep(0.05)
            await until_texts(peer, "1")


async def test_a_cancelled_publish_that_has_not_been_told_is_not_done(redis_server: RedisServer) -> None:
    async with hub_on(redis_server) as (_, topic):
        await topic.publish("1")
        publishing = asyncio.create_task(topic.publish("never"))
        await asyncio.sleep(0)
        publishing.cancel()
        position = await topic.publish("2")
        assert position is not None
        assert position.offset == 2


async def test_a_connection_to_a_server_that_takes_nothing_is_let_go_of_at_once(redis_server: RedisServer) -> None:
    connection = await connecting.Connector(Address("127.0.0.1", redis_server.port), {}).connect()
    transport = connection.transport
    held = transport.get_extra_info("socket")

    async def waits_to_be_sent() -> bool:
        return bool(transport.get_write_buffer_size())

    redis_server.pause()
    try:
        sending = asyncio.create_task(connection.send_packed_command([bytes(50_000_000)], check_health=False))
        await eventually(waits_to_be_sent)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await connecting.drop(connection)
        await asyncio.sleep(0)
        assert held.fileno() == -1
    finally:
        redis_server.resume()


def test_pauses_grow_and_are_never_in_step() -> None:
    first, second = (list(itertools.islice(connecting.pauses(), 50)) for _ in range(2))
    assert first != second
    assert 0 <= min(first) <= max(first) <= connecting.LONGEST_PAUSE
