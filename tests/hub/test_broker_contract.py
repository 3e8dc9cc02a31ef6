"""What every broker does, whatever carries it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.hub.peers import eventually
from tests.line_peer import LinePeer
from trunkline.hub import Hub, Position, Retention, TopicConfig
from trunkline.hub.globs import Glob
from trunkline.hub.publication import Envelope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trunkline.hub.brokers import Broker
    from trunkline.hub.globs import Key

pytestmark = pytest.mark.anyio
KEEP = Retention(count=5, seconds=60)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Heard:
    """A hub that only listens."""

    def __init__(self) -> None:
        self.deliveries: asyncio.Queue[tuple[str, Envelope, Position | None]] = asyncio.Queue()
        self.interruptions: list[Key] = []

    def deliver(self, topic: str, envelope: Envelope, position: Position | None) -> None:
        self.deliveries.put_nowait((topic, envelope, position))

    def deliver_matching(self, glob: Glob, topic: str, envelope: Envelope, position: Position | None) -> None:
        self.deliveries.put_nowait((f"{glob.pattern} {topic}", envelope, position))

    def interrupted(self, keys: list[Key]) -> None:
        self.interruptions += keys

    def check(self, topics: list[str]) -> None:
        raise AssertionError("asked for without need")

    async def next(self) -> tuple[str, Envelope, Position | None]:
        async with asyncio.timeout(10):
            return await self.deliveries.get()


@asynccontextmanager
async def running(new_broker: Callable[[], Broker]) -> AsyncIterator[tuple[Broker, Heard]]:
    broker, heard = new_broker(), Heard()
    broker.receiver = heard
    broker.start()
    try:
        yield broker, heard
    finally:
        await broker.stop()


def text(data: str) -> Envelope:
    return Envelope("text", data)


async def publish(broker: Broker, data: str, retention: Retention | None = KEEP, key: str | None = None) -> Any:
    return await broker.publish("t", text(data), retention, key, 10.0)


async def test_a_publication_comes_back_to_all_who_have_subscribed(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (one, heard), running(new_broker) as (two, also_heard):
        await one.subscribe("t")
        await two.subscribe("t")
        await two.subscribe("other")
        for envelope in (text("täxt\n"), Envelope("binary", b"\x00\n\xff"), Envelope("json", "{}", "abc", 7)):
            assert await one.publish("t", envelope, None, None, 10.0) is None
            assert await heard.next() == await also_heard.next() == ("t", envelope, None)
        await one.publish("other", text("x"), None, None, 10.0)
        assert await also_heard.next() == ("other", text("x"), None)
        assert heard.deliveries.empty()


async def test_publications_of_many_at_once_keep_the_order_of_each(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, heard):
        await broker.subscribe("t")

        async def publisher(name: str) -> None:
            for n in range(50):
                await publish(broker, f"{name} {n}")

        async with asyncio.TaskGroup() as tasks:
            for name in "abcdef":
                tasks.create_task(publisher(name))
        came = [await heard.next() for _ in range(300)]
        offsets = [position.offset for _, _, position in came if position is not None]
        assert offsets == list(range(1, 301))
        for name in "abcdef":
            own = [envelope.data for _, envelope, _ in came if str(envelope.data).startswith(name)]
            assert own == [f"{name} {n}" for n in range(50)]


async def test_who_no_longer_subscribes_hears_nothing_and_may_come_back(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, heard):
        for n in range(3):
            await broker.subscribe("t")
            await publish(broker, str(n), None)
            assert (await heard.next())[1] == text(str(n))
            broker.unsubscribe("t")
            broker.unsubscribe("never subscribed")


@pytest.mark.parametrize("topic", ["ä", "}", "{}", "a}b", "%7D", "100%", "room:*", "[a]?", "a b\n"])
async def test_a_topic_may_have_any_name(new_broker: Callable[[], Broker], topic: str) -> None:
    async with running(new_broker) as (broker, heard):
        await broker.subscribe(topic)
        position = await broker.publish(topic, text("x"), KEEP, "key", 10.0)
        assert await heard.next() == (topic, text("x"), position)
        await broker.hold(topic, {"a": "a"}, 60)
        assert await broker.present(topic) == {"a": "a"}
        assert await broker.topics() == {topic: 1}


async def test_a_pattern_is_told_of_all_topics_that_match(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (here, heard), running(new_broker) as (there, _):
        if not here.takes_patterns:
            return
        odd = r"[a]?\^-}*"
        await here.subscribe(Glob("room:*"))
        await here.subscribe(Glob(odd))
        await here.subscribe("room:1")
        await there.subscribe("room:2")
        for topic in ("room:1", "a", "hall:1", "[a]?\\^-}", "room:", "room:2"):
            position = await there.publish(topic, text(topic), KEEP, None, 10.0)
            assert position is not None
        came = sorted([(await heard.next())[0] for _ in range(5)])
        assert came == sorted(["room:1", "room:* room:1", "room:* room:", "room:* room:2", f"{odd} [a]?\\^-}}"])
        assert await here.topics() == {"room:1": 1, "room:2": 1}
        here.unsubscribe(Glob("room:*"))
        here.unsubscribe(Glob(odd))
        assert heard.deliveries.empty()


async def test_subscribing_many_topics_at_once(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, heard):
        await asyncio.gather(*(broker.subscribe(f"t{n}") for n in range(1200)))
        await broker.publish("t1199", text("x"), None, None, 10.0)
        assert (await heard.next())[0] == "t1199"


async def test_a_history_tells_what_followed_a_position(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, _):
        empty = await broker.history("t", None)
        assert (empty.top.offset, empty.entries, empty.complete) == (0, [], False)
        for n in range(1, 8):
            assert await publish(broker, str(n)) == Position(empty.top.epoch, n)
        top = Position(empty.top.epoch, 7)
        for since, expected in ((7, []), (6, ["7"]), (2, ["3", "4", "5", "6", "7"])):
            history = await broker.history("t", Position(top.epoch, since))
            assert (history.top, history.complete) == (top, True)
            assert [entry.envelope for entry in history.entries] == [text(data) for data in expected]
            assert [entry.position.offset for entry in history.entries] == list(range(since + 1, 8))
        for unknown in (
            Position(top.epoch, 1),
            Position(top.epoch, 8),
            Position("other", 6),
            Position(top.epoch, 10**18),
        ):
            assert await broker.history("t", unknown) == (top, [], False)


async def test_the_end_of_a_history_is_told_without_a_position(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, _):
        empty = await broker.last("t", 3)
        assert (empty.top.offset, empty.entries, empty.complete) == (0, [], True)
        for n in range(1, 8):
            await publish(broker, str(n))
        top = Position(empty.top.epoch, 7)
        for count, expected in ((1, [7]), (3, [5, 6, 7]), (5, [3, 4, 5, 6, 7]), (10**6, [3, 4, 5, 6, 7])):
            last = await broker.last("t", count)
            assert (last.top, last.complete) == (top, True)
            assert last.entries == [(Position(top.epoch, n), text(str(n))) for n in expected]


async def test_the_end_of_a_history_has_nothing_that_is_too_old(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, _):
        short = Retention(count=5, seconds=0.001)
        await publish(broker, "1", short)
        second = await publish(broker, "2", short)
        await eventually(lambda: _gone(broker, Position(second.epoch, 0)))
        assert await broker.last("t", 5) == (second, [], True)


async def _gone(broker: Broker, since: Position) -> bool:
    return not (await broker.history("t", since)).complete


async def test_what_is_too_old_is_not_told(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, _):
        short = Retention(count=5, seconds=0.001)
        first = await publish(broker, "1", short)
        await publish(broker, "2", short)
        await eventually(lambda: _gone(broker, first))
        second = Position(first.epoch, 2)
        assert (await broker.history("t", second)) == (second, [], True)


async def test_a_publication_under_a_known_key_is_not_sent_again(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, heard):
        await broker.subscribe("t")
        first = await publish(broker, "1", key="k")
        assert await publish(broker, "again", key="k") == first
        assert (await publish(broker, "2", key="other")).offset == first.offset + 1
        assert await publish(broker, "3", None, key="plain") is None
        assert await publish(broker, "again", None, key="plain") is None
        await publish(broker, "4")
        assert [(await heard.next())[1].data for _ in range(4)] == ["1", "2", "3", "4"]


async def test_who_is_present_is_held_released_and_reaped_once(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (one, _), running(new_broker) as (two, _):
        await one.hold("t", {"a": "ä", "b": "b"}, 60)
        await two.hold("t", {"c": "c"}, 60)
        assert await one.present("t") == await two.present("t") == {"a": "ä", "b": "b", "c": "c"}
        assert await one.present("other") == {}
        await one.hold("t", {"b": "changed"}, 60)
        assert (await two.present("t"))["b"] == "changed"
        await two.release("t", ["b", "unknown"])
        await one.release("t", ["b"])
        await one.release("t", [])
        assert await one.present("t") == {"a": "ä", "c": "c"}
        await one.hold("t", {"a": "ä"}, 0.001)
        reaped: list[dict[str, str]] = []

        async def gone() -> bool:
            reaped.extend([await one.reap("t"), await two.reap("t")])
            return "a" not in await two.present("t")

        await eventually(gone)
        reaped.append(await one.reap("t"))
        assert [found for found in reaped if found] == [{"a": "ä"}]
        assert await one.present("t") == {"c": "c"}


async def test_many_are_present_at_once(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, _):
        entries = {str(n): "x" for n in range(1700)}
        await broker.hold("t", entries, 60)
        assert await broker.present("t") == entries
        await broker.release("t", entries)
        assert await broker.present("t") == {}


async def test_what_somebody_listens_to_is_told(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (one, _), running(new_broker) as (two, _):
        await one.subscribe("told a")
        await two.subscribe("told a")
        await two.subscribe("told b")
        told = {topic: count for topic, count in (await one.topics()).items() if topic.startswith("told")}
        assert told == {"told a": 2, "told b": 1}


async def test_a_broker_starts_again_after_it_was_stopped(new_broker: Callable[[], Broker]) -> None:
    async with running(new_broker) as (broker, heard):
        await broker.subscribe("t")
        await broker.stop()
        broker.start()
        await broker.subscribe("t")
        await publish(broker, "x")
        assert (await heard.next())[1] == text("x")


@asynccontextmanager
async def hubs(new_broker: Callable[[], Broker], count: int) -> AsyncIterator[list[Hub]]:
    found = [Hub(new_broker(), topics={"*": TopicConfig(history=Retention(1000, 60))}) for _ in range(count)]
    try:
        yield found
    finally:
        for hub in found:
            await hub.aclose()


async def texts(peer: LinePeer, count: int) -> list[str]:
    """What has come, once so much has."""

    async def come() -> bool:
        return len(peer.texts()) >= count

    await eventually(come)
    return peer.texts()


async def test_members_of_several_hubs_see_one_order(new_broker: Callable[[], Broker]) -> None:
    async with hubs(new_broker, 3) as found:
        peers = [LinePeer() for _ in found]
        members = [
            await hub.topic("t").join(await peer.accepted()).__aenter__()
            for hub, peer in zip(found, peers, strict=True)
        ]

        async def publisher(hub: Hub, name: str) -> None:
            for n in range(30):
                await hub.topic("t").publish(f"{name}{n}")

        async with asyncio.TaskGroup() as tasks:
            for hub, name in zip(found, "abc", strict=True):
                tasks.create_task(publisher(hub, name))
        first, *others = [await texts(peer, 90) for peer in peers]
        assert all(other == first for other in others)
        assert sorted(first) == sorted(f"{name}{n}" for name in "abc" for n in range(30))
        await found[0].topic("t").publish("not to 0", exclude=members[0])
        await found[0].topic("t").publish("to all")
        assert (await texts(peers[0], 91))[90:] == ["to all"]
        assert (await texts(peers[1], 92))[90:] == ["not to 0", "to all"]


async def test_who_comes_for_the_first_time_is_told_the_past_and_misses_nothing_of_what_follows(
    new_broker: Callable[[], Broker],
) -> None:
    async with hubs(new_broker, 2) as (here, there):
        topic, peer = here.topic("t"), LinePeer()
        assert (await topic.history(5)).publications == []
        for value in ("a", b"b", {"c": 1}):
            await there.topic("t").publish(value)
        past = await topic.history(2)
        assert [(each.value, each.topic) for each in past.publications] == [(b"b", "t"), ({"c": 1}, "t")]
        assert past.publications[-1].position == past.position
        await there.topic("t").publish("meanwhile")
        async with topic.join(await peer.accepted(), since=past.position) as member:
            assert member.recovered
            await there.topic("t").publish("live")
            assert await texts(peer, 2) == ["meanwhile", "live"]


async def test_those_who_join_while_others_publish_miss_nothing(new_broker: Callable[[], Broker]) -> None:
    async with hubs(new_broker, 2) as (here, there):
        start = await there.topic("t").publish("0")
        published = 300
        done = asyncio.Event()

        async def publisher() -> None:
            for n in range(1, published + 1):
                await there.topic("t").publish(str(n))
            done.set()

        async def joiner() -> None:
            peer = LinePeer()
            async with here.topic("t").join(await peer.accepted(), since=start) as member:
                assert member.recovered
                await done.wait()
                assert await texts(peer, published) == [str(n) for n in range(1, published + 1)]

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher())
            for _ in range(20):
                tasks.create_task(joiner())
                await asyncio.sleep(0.002)
