"""Sentinels and clusters: who is the master changes while members are told and publishers publish."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from tests.cli_process import trunkline
from tests.hub.peers import eventually
from tests.hub.redis_groups import RedisCluster, RedisSentinel
from tests.hub.redis_server import hurry
from tests.line_peer import LinePeer
from trunkline.hub import BrokerError, Hub, HubError, Position, Publisher, Retention, SubscriptionLost, TopicConfig
from trunkline.hub.brokers.redis import listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.hub.redis_server import RedisServer
    from trunkline.hub import Topic

pytestmark = pytest.mark.anyio
TOPICS = {"kept*": TopicConfig(history=Retention(10_000, 60))}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time limits that a test can wait for."""
    hurry(monkeypatch)


@pytest.fixture
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    group = RedisSentinel(tmp_path_factory.mktemp("sentinel"))
    yield group
    group.stop()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    group = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield group
    group.stop()


def slot_of(topic: str) -> int:
    return int(key_slot(topic.encode()))


def topic_of_master(number: int, prefix: str = "") -> str:
    """A topic that is kept by one of three masters."""
    names = (f"{prefix}{n}" for n in range(1000))
    return next(name for name in names if slot_of(name) * 3 // 16384 == number)


class Follower:
    """A client that comes back with its position whenever it is sent away, and checks what it is given."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.reloads = 0
        self.values: list[int] = []
        self._at: Position | None = None

    async def follow(self, enough: int) -> None:
        """Until so high a value has come."""
        while not self.values or self.values[-1] < enough:
            try:
                await self._stay(enough)
            except (SubscriptionLost, BrokerError):
                continue

    async def _stay(self, enough: int) -> None:
        async with self.topic.subscribe(since=self._at) as publications:
            if not publications.recovered:
                self.reloads += 1
                self._at = publications.position
            async for publication in publications:
                assert self._at is not None
                assert publication.position == (self._at.epoch, self._at.offset + 1), "a gap or a duplicate"
                self._at = publication.position
                self.values.append(publication.value)
                if publication.value >= enough:
                    return


async def publish_all(topic: Topic, numbers: Iterable[int], seconds: float = 0.005) -> None:
    """Publish, and try again until each has been taken."""

    async def taken(number: int) -> bool:
        try:
            await topic.publish(number, idempotency_key=str(number), timeout=1)
        except BrokerError:
            return False
        return True

    for number in numbers:
        await eventually(lambda number=number: taken(number))  # type: ignore[misc]
        await asyncio.sleep(seconds)


async def follow_through(url: str, name: str, change: Callable[[], object]) -> Follower:
    """Publish through one hub and follow through another, while something changes in between."""
    async with Hub(url, topics=TOPICS) as here, Hub(url, topics=TOPICS) as there:
        follower = Follower(here.topic(name))
        following = asyncio.create_task(follower.follow(100))

        async def begun() -> bool:
            return follower.reloads == 1

        await eventually(begun)
        await publish_all(there.topic(name), range(50))
        change()
        publishing = asyncio.create_task(publish_all(there.topic(name), itertools.count(50)))
        async with asyncio.timeout(20):
            await following
        publishing.cancel()
        assert follower.values == sorted(follower.values)
        return follower


@pytest.mark.parametrize("fail", ["kill", "pause"])
async def test_another_master_is_found_and_who_may_have_missed_something_is_told(
    sentinel: RedisSentinel, fail: str
) -> None:
    follower = await follow_through(sentinel.url, "kept", getattr(sentinel.master, fail))
    assert follower.reloads == 2, "at the beginning, and in the new master's epoch"
    assert b"role:master" in sentinel.replica.command("INFO", "replication")


async def test_another_server_of_a_cluster_takes_over_and_who_may_have_missed_something_is_told(
    cluster: RedisCluster,
) -> None:
    disturbed, other = topic_of_master(0, "kept"), topic_of_master(1, "kept")
    async with Hub(cluster.url, topics=TOPICS) as hub, Hub(cluster.url, topics=TOPICS) as there:
        peer = LinePeer()
        async with hub.topic(other).join(await peer.accepted()) as member:
            publishing = asyncio.create_task(publish_all(there.topic(other), range(100), 0.02))
            follower = await follow_through(cluster.url, disturbed, cluster.masters[0].kill)
            await publishing

            async def all_have_come() -> bool:
                return len(peer.texts()) == 100

            await eventually(all_have_come)
            assert peer.texts() == [str(n) for n in range(100)]
            assert member.joined
            assert hub.stats.losses == 0
            assert hub.broker.reconnects > 0
    assert follower.reloads == 2


async def counted_and_heard_again(url: str, name: str, change: Callable[[], object]) -> None:
    """A topic without a history: the loss is counted, and what is published later comes."""
    async with Hub(url) as hub, Publisher(url) as publisher:
        topic, peer = hub.topic(name), LinePeer()
        async with topic.join(await peer.accepted()):
            await publisher.publish(name, "before")

            async def come() -> bool:
                return peer.texts() == ["before"]

            await eventually(come)
            change()

            async def counted() -> bool:
                return topic.stats.losses > 0

            await eventually(counted)

            async def heard() -> bool:
                try:
                    await publisher.publish(name, "after", timeout=0.5)
                except BrokerError:
                    return False
                return "after" in peer.texts()

            await eventually(heard)


async def test_without_a_history_another_master_is_a_loss_that_is_counted(sentinel: RedisSentinel) -> None:
    await counted_and_heard_again(sentinel.url, "t", sentinel.master.kill)


async def test_without_a_history_another_server_of_a_cluster_is_a_loss_that_is_counted(cluster: RedisCluster) -> None:
    await counted_and_heard_again(cluster.url, topic_of_master(0), cluster.masters[0].kill)


def move_slot(cluster: RedisCluster, slot: int) -> None:
    """Give a slot of the first master, in which there are no keys, to the second."""
    to = cluster.masters[1].command("CLUSTER", "MYID").split()[1].decode()
    for server in (cluster.masters[1], cluster.masters[0], cluster.masters[2]):
        assert server.command("CLUSTER", "SETSLOT", str(slot), "NODE", to) == b"+OK\r\n"


async def test_a_slot_that_moves_takes_its_topics_with_it(cluster: RedisCluster) -> None:
    name = topic_of_master(0)
    await counted_and_heard_again(cluster.url, name, lambda: move_slot(cluster, slot_of(name)))


async def test_a_topic_that_is_being_left_stays_behind(cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LEAVE_AFTER", 60)
    name = topic_of_master(0)
    left = next(other for other in map(str, itertools.count()) if other != name and slot_of(other) == slot_of(name))
    async with Hub(cluster.url) as hub:
        async with hub.topic(left).join(await LinePeer().accepted()):
            pass
        async with hub.topic(name).join(await LinePeer().accepted()):
            assert await hub.broker.topics() == {left: 1, name: 1}
            move_slot(cluster, slot_of(name))

            async def moved() -> bool:
                return await hub.broker.topics() == {name: 1}

            await eventually(moved)
            assert hub.topic(name).stats.losses == 1
        async with hub.topic(left).join(await LinePeer().accepted()):
            assert (await hub.broker.topics()).keys() == {left, name}


async def test_a_slot_on_its_way_is_waited_for(cluster: RedisCluster) -> None:
    name = topic_of_master(0, "kept")
    source, target = cluster.masters[:2]
    from_, to = (server.command("CLUSTER", "MYID").split()[1].decode() for server in (source, target))
    async with Hub(cluster.url, topics=TOPICS) as hub:
        assert await hub.topic(topic_of_master(1, "kept")).publish("x") is not None
        target.command("CLUSTER", "SETSLOT", str(slot_of(name)), "IMPORTING", from_)
        source.command("CLUSTER", "SETSLOT", str(slot_of(name)), "MIGRATING", to)
        with pytest.raises(BrokerError, match="nothing was done"):
            await hub.topic(name).publish("0", timeout=0.2)
        publishing = [asyncio.create_task(hub.topic(name).publish(str(n))) for n in range(3)]
        await asyncio.sleep(0.1)
        for server in (target, source):
            server.command("CLUSTER", "SETSLOT", str(slot_of(name)), "NODE", to)
        positions = await asyncio.gather(*publishing)
        assert [position.offset for position in positions if position] == [1, 2, 3]
        history = await hub.broker.history(name, Position(positions[0].epoch, 0))  # type: ignore[union-attr]
        assert [entry.envelope.data for entry in history.entries] == ["0", "1", "2"]


async def test_topics_of_all_servers_of_a_cluster_are_listed(shared_cluster: RedisCluster) -> None:
    shared_cluster.flush()
    names = [topic_of_master(number) for number in range(3)]
    async with Hub(shared_cluster.url) as hub:
        for name in names:
            await hub.topic(name).join(await LinePeer().accepted()).__aenter__()
        assert await hub.broker.topics() == dict.fromkeys(names, 1)


def test_a_publisher_of_a_cluster_publishes_without_an_event_loop(shared_cluster: RedisCluster) -> None:
    with Publisher(shared_cluster.url, topics=TOPICS) as publisher:
        for number in range(3):
            position = publisher.publish_sync(topic_of_master(number, "kept for threads"), "x")
            assert position is not None
            assert position.offset == 1


@pytest.mark.parametrize("group", ["shared_sentinel", "shared_cluster"])
def test_the_command_line_reaches_them_too(group: str, request: pytest.FixtureRequest) -> None:
    servers = request.getfixturevalue(group)
    servers.flush()
    done = trunkline("hub", "publish", servers.url, "kept", "hello", "--keep", "10:60")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1-")


async def test_a_cluster_refuses_patterns_in_words(shared_cluster: RedisCluster) -> None:
    async with Hub(shared_cluster.url) as hub:
        with pytest.raises(HubError, match=r"has no patterns as 'room:\*': let what is to be heard together"):
            hub.pattern("room:*")


async def test_what_sentinels_do_not_know_is_told_in_words(
    shared_sentinel: RedisSentinel, shared_redis: RedisServer
) -> None:
    async with Hub(shared_sentinel.url.replace("/rooms", "/halls")) as hub:
        with pytest.raises(BrokerError, match=r"master 'halls': 127\.0\.0\.1:1: .*knows none.*nothing was done"):
            await hub.topic("t").publish("x", timeout=1)
    watched = shared_sentinel.sentinel
    watched.command("SENTINEL", "MONITOR", "replica", "127.0.0.1", str(shared_sentinel.replica.port), "1")
    async with Hub(shared_sentinel.url.replace("/rooms", "/replica")) as hub:
        with pytest.raises(BrokerError, match=r"is slave, not master"):
            await hub.topic("t").publish("x", timeout=1)
    watched.command("SENTINEL", "REMOVE", "replica")


async def test_a_cluster_that_is_not_there_is_told_in_time() -> None:
    async with Hub("redis+cluster://127.0.0.1:1,127.0.0.1:2") as hub:
        with pytest.raises(BrokerError, match="could not be reached within"):
            await hub.topic("t").publish("x", timeout=0.3)
        waiting = asyncio.create_task(hub.topic("t").publish("x", timeout=20))
        await asyncio.sleep(0.05)
    with pytest.raises(BrokerError, match="the hub has been closed: nothing was done"):
        await waiting
