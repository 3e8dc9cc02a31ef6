"""History and recovery over the memory broker: everything since a position, or a clear no."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.memory import run
from tests.hub.peers import KINDS, WITH_LINE, AnyPeer, settle
from tests.line_peer import LinePeer
from trunkline.hub import Hub, HubError, OutboxLimits, Position, Retention, SubscriptionLost, TopicConfig
from trunkline.hub.brokers import MemoryBroker, MemoryServer
from trunkline.websockets import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.hub import Publication

every_kind = pytest.mark.parametrize("kind", KINDS)


def hub_keeping(count: int = 10, seconds: float = 60, server: MemoryServer | None = None, **config: Any) -> Hub:
    config["history"] = Retention(count=count, seconds=seconds)
    return Hub(MemoryBroker(server), topics={"*": TopicConfig(**config)})


def position_after(position: Position | None, count: int) -> Position:
    assert position is not None
    return Position(position.epoch, position.offset + count)


@every_kind
def test_who_comes_back_gets_exactly_what_it_missed(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, before, after = hub_keeping(), kind(), kind()
        topic = hub.topic("t")
        async with topic.join(await before.accepted()) as member:
            start = member.position
            assert (member.recovered, start) == (False, position_after(start, 0))
            assert await topic.publish("1") == position_after(start, 1)
        for text in ("2", "3"):
            await topic.publish(text)
        async with topic.join(await after.accepted(), since=position_after(start, 1)) as member:
            assert (member.recovered, member.position) == (True, position_after(start, 3))
            await topic.publish("4")
            await settle()
        assert before.texts() == ["1"]
        assert after.texts() == ["2", "3", "4"]

    run(test())


@every_kind
def test_the_replay_is_written_before_the_context_begins(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = hub_keeping(), kind()
        topic = hub.topic("t")
        first = await topic.publish("1")
        await topic.publish("2")
        websocket = await peer.accepted()
        async with topic.join(websocket, since=str(first)):
            await websocket.send_text("own")
            await settle()
            assert peer.texts() == ["2", "own"]

    run(test())


@pytest.mark.parametrize(
    "since",
    [
        lambda top: Position(top.epoch, top.offset - 4),
        lambda top: Position(top.epoch, top.offset + 1),
        lambda top: Position("another", top.offset),
        lambda top: "nonsense",
        lambda top: "",
        lambda top: f"-{top.epoch}",
        lambda top: f"{top.offset}-",
        lambda top: f"٣-{top.epoch}",
    ],
    ids=["trimmed", "future", "epoch", "nonsense", "empty", "no offset", "no epoch", "no ASCII"],
)
def test_what_cannot_be_told_is_not_recovered_and_nothing_is_replayed(since: Callable[[Position], Any]) -> None:
    async def test() -> None:
        hub, peer = hub_keeping(count=3), LinePeer()
        topic = hub.topic("t")
        for n in range(5):
            top = await topic.publish(str(n))
        assert top is not None
        async with topic.join(await peer.accepted(), since=since(top)) as member:
            assert (member.recovered, member.position) == (False, top)
            await topic.publish("live")
            await settle()
        assert peer.texts() == ["live"]

    run(test())


def test_what_is_kept_to_the_last_is_recovered_and_so_is_nothing() -> None:
    async def test() -> None:
        hub = hub_keeping(count=3)
        topic = hub.topic("t")
        for n in range(5):
            top = await topic.publish(str(n))
        assert top is not None
        for missed, expected in ((3, ["2", "3", "4"]), (0, [])):
            peer = LinePeer()
            async with topic.join(await peer.accepted(), since=position_after(top, -missed)) as member:
                assert member.recovered
            assert peer.texts() == expected

    run(test())


def test_what_is_too_old_is_gone_but_who_missed_nothing_of_it_is_recovered() -> None:
    async def test() -> None:
        now = 0.0
        hub = hub_keeping(seconds=10, server=MemoryServer(lambda: now))
        topic = hub.topic("t")
        first = await topic.publish("1")
        now = 8
        second = await topic.publish("2")
        now = 12
        for since, recovered, expected in ((first, True, ["2"]), (second, True, [])):
            peer = LinePeer()
            async with topic.join(await peer.accepted(), since=since) as member:
                assert member.recovered is recovered
            assert peer.texts() == expected
        now = 30
        for since, recovered in ((first, False), (second, True)):
            async with topic.join(await LinePeer().accepted(), since=since) as member:
                assert (member.recovered, member.position) == (recovered, second)

    run(test())


def test_a_topic_that_is_asked_before_its_first_publication_has_a_place_to_go_on_from() -> None:
    async def test() -> None:
        hub, peer = hub_keeping(), LinePeer()
        topic = hub.topic("t")
        async with topic.join(await LinePeer().accepted()) as member:
            start = member.position
        await topic.publish("1")
        async with topic.join(await peer.accepted(), since=start) as member:
            assert member.recovered
        assert peer.texts() == ["1"]

    run(test())


def test_topics_nobody_publishes_to_for_a_day_are_forgotten() -> None:
    async def test() -> None:
        now = 0.0
        server = MemoryServer(lambda: now)
        hub = hub_keeping(server=server)
        position = await hub.topic("old").publish("1")
        now = 24 * 3600 + 1.0
        await hub.topic("new").publish("1")
        assert list(server._streams) == ["new"]
        async with hub.topic("old").join(await LinePeer().accepted(), since=position) as member:
            assert not member.recovered

    run(test())


@pytest.mark.parametrize("kind", WITH_LINE)
def test_what_is_published_during_a_replay_comes_once_and_in_order(kind: type[LinePeer]) -> None:
    async def test() -> None:
        hub, peer, other = hub_keeping(count=1000), kind(), kind()
        topic = hub.topic("t")
        start = await topic.publish("0")
        for n in range(1, 6):
            await topic.publish(str(n))
        websocket = await peer.accepted()
        peer.stalls()
        async with topic.join(await other.accepted()):
            joining = asyncio.create_task(topic.join(websocket, since=start).__aenter__())
            await settle()
            for n in range(6, 12):
                await topic.publish(str(n))
            assert not joining.done()
            peer.resumes()
            member = await joining
            await topic.publish("12")
            await settle()
            assert (member.recovered, member.position) == (True, position_after(start, 11))
        assert peer.texts() == [str(n) for n in range(1, 13)]
        await member.leave()

    run(test())


def test_who_takes_longer_for_the_replay_than_the_history_keeps_is_closed() -> None:
    async def test() -> None:
        hub, peer = hub_keeping(count=3), LinePeer()
        topic = hub.topic("t")
        start = await topic.publish("0")
        await topic.publish("1")
        websocket = await peer.accepted()
        peer.stalls()
        joining = asyncio.create_task(topic.join(websocket, since=start).__aenter__())
        await settle()
        for n in range(2, 8):
            await topic.publish(str(n))
        peer.resumes()
        with pytest.raises(WebSocketDisconnect) as caught:
            await joining
        assert (caught.value.code, caught.value.reason) == (1013, "too slow")
        assert hub.rooms == {}
        assert websocket.closed

    run(test())


def test_who_is_lost_during_the_replay_never_was_a_member() -> None:
    async def test() -> None:
        hub, peer = hub_keeping(), LinePeer()
        topic = hub.topic("t")
        start = await topic.publish("0")
        await topic.publish("1")
        websocket = await peer.accepted()
        peer.stalls()
        joining = asyncio.create_task(topic.join(websocket, since=start).__aenter__())
        await settle()
        peer.closes(1006)
        with pytest.raises(WebSocketDisconnect):
            await joining
        assert hub.rooms == {}

    run(test())


class LosingHub(Hub):
    """A hub to which some deliveries do not come."""

    losing = False
    lost = 0

    def deliver(self, *delivery: Any) -> None:
        if self.losing:
            self.lost += 1
        else:
            super().deliver(*delivery)


def losing_hub(**config: Any) -> LosingHub:
    return LosingHub(MemoryBroker(), topics={"*": TopicConfig(history=Retention(5, 60), **config)})


@every_kind
def test_a_gap_in_what_is_delivered_is_filled_from_the_history(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = losing_hub(), kind()
        topic = hub.topic("t")
        async with topic.join(await peer.accepted()) as member:
            await topic.publish("1")
            hub.losing = True
            await topic.publish("2")
            await topic.publish("3")
            hub.losing = False
            await topic.publish("4")
            await topic.publish("5")
            await settle()
            await topic.publish("6")
            await settle()
            assert peer.texts() == ["1", "2", "3", "4", "5", "6"]
            assert (topic.stats.losses, member.stats.delivered) == (0, 6)

    run(test())


def test_a_gap_that_cannot_be_filled_sends_everybody_back() -> None:
    async def test() -> None:
        hub, peer = losing_hub(), LinePeer()
        topic = hub.topic("t")
        async with topic.subscribe() as publications, topic.join(await peer.accepted()) as member:
            hub.losing = True
            for n in range(6):
                await topic.publish(str(n))
            hub.losing = False
            await topic.publish("live")
            await settle()
            assert not member.joined
            assert [m["code"] for m in peer.sent] == [1012]
            with pytest.raises(SubscriptionLost, match="history lost"):
                await anext(aiter(publications))

    run(test())


def test_a_repeated_delivery_is_skipped() -> None:
    async def test() -> None:
        hub, peer = hub_keeping(), LinePeer()
        topic = hub.topic("t")
        async with topic.join(await peer.accepted()):
            position = await topic.publish("1")
            (entry,) = (await hub.broker.history("t", position_after(position, -1))).entries
            hub.deliver("t", entry.envelope, entry.position)
            await settle()
        assert peer.texts() == ["1"]

    run(test())


@every_kind
def test_who_was_given_more_than_has_been_delivered_gets_nothing_twice(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer, other = losing_hub(), kind(), kind()
        topic = hub.topic("t")
        async with topic.join(await other.accepted()):
            start = await topic.publish("1")
            hub.losing = True
            await topic.publish("2")
            third = await topic.publish("3")
            hub.losing = False
            late = (await hub.broker.history("t", start)).entries
            websocket = await peer.accepted()
            async with topic.join(websocket, since=start) as member:
                assert (member.recovered, member.position) == (True, third)
                assert member in topic.members
                for entry in late:
                    hub.deliver("t", entry.envelope, entry.position)
                await topic.publish("4", exclude=websocket)
                await topic.publish("5")
                await settle()
                assert peer.texts() == ["2", "3", "5"]
                assert other.texts() == ["1", "2", "3", "4", "5"]

    run(test())


def test_a_new_epoch_sends_everybody_back_whether_it_is_seen_by_a_publication_or_by_who_joins() -> None:
    async def test() -> None:
        for seen_by in ("publication", "joiner"):
            server = MemoryServer()
            hub, peer, newcomer = hub_keeping(server=server), LinePeer(), LinePeer()
            topic = hub.topic("t")
            async with topic.join(await peer.accepted()) as member:
                old = await topic.publish("1")
                server.restart()
                if seen_by == "publication":
                    await topic.publish("2")
                else:
                    async with topic.join(await newcomer.accepted(), since=old) as second:
                        assert not second.recovered
                        await topic.publish("2")
                        await settle()
                        assert newcomer.texts() == ["2"]
                assert not member.joined
                assert peer.texts() == ["1"]
                assert [m["code"] for m in peer.sent if m["type"] == "websocket.close"] == [1012]

    run(test())


def test_a_past_is_asked_for_only_where_there_is_one() -> None:
    async def test() -> None:
        with pytest.raises(HubError, match=r"nobody keeps what is published to 't': write TopicConfig\(history="):
            await Hub().topic("t").history(5)
        for count in (0, -1, 2.0, True, None):
            with pytest.raises(ValueError, match="expected a number of publications above 0 as count"):
                await hub_keeping().topic("t").history(count)  # type: ignore[arg-type]

    run(test())


def test_an_iteration_is_given_what_it_missed() -> None:
    async def test() -> None:
        hub = hub_keeping()
        topic = hub.topic("t")
        start = await topic.publish("0")
        await topic.publish("1")
        async with topic.subscribe(since=start) as publications:
            assert (publications.recovered, publications.position) == (True, position_after(start, 1))
            await topic.publish("2")
            steps = aiter(publications)
            got = [await anext(steps), await anext(steps)]
        assert [(publication.value, publication.position) for publication in got] == [
            ("1", position_after(start, 1)),
            ("2", position_after(start, 2)),
        ]

    run(test())


def test_an_encode_hook_puts_the_position_into_live_and_replayed_messages() -> None:
    async def test() -> None:
        def encode(publication: Publication) -> Any:
            assert publication.position is not None
            return [publication.position.offset, publication.value]

        hub, live, back = hub_keeping(encode=encode), LinePeer(), LinePeer()
        topic = hub.topic("t")
        async with topic.join(await live.accepted()) as member:
            start = member.position
            await topic.publish("a")
            await settle()
        async with topic.join(await back.accepted(), since=start):
            pass
        assert live.texts() == back.texts() == ['[1,"a"]']

    run(test())


def test_two_hubs_on_one_server_share_topics_and_each_leaves_out_only_its_own_member() -> None:
    async def test() -> None:
        server = MemoryServer()
        hubs = [hub_keeping(server=server) for _ in range(2)]
        peers = [LinePeer(), LinePeer()]
        sockets = [await peer.accepted() for peer in peers]
        async with hubs[0].topic("t").join(sockets[0]), hubs[1].topic("t").join(sockets[1]):
            await hubs[0].topic("t").publish("from 0", exclude=sockets[0])
            await hubs[1].topic("t").publish("from 1")
            await settle()
        assert [peer.texts() for peer in peers] == [["from 1"], ["from 0", "from 1"]]

    run(test())


def test_a_slow_member_comes_back_and_misses_nothing() -> None:
    async def test() -> None:
        hub, slow, back = hub_keeping(count=100, outbox=OutboxLimits(bytes=5)), LinePeer(), LinePeer()
        topic = hub.topic("t")
        async with topic.join(await slow.accepted()) as member:
            start = member.position
            slow.stalls()
            for n in range(20):
                await topic.publish(str(n))
            assert not member.joined
        async with topic.join(await back.accepted(), since=start) as member:
            assert member.recovered
        assert back.texts() == [str(n) for n in range(20)]

    run(test())


@pytest.mark.parametrize("numbers", [{"count": 0, "seconds": 1}, {"count": 1, "seconds": 0}])
def test_a_retention_keeps_something(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected a number above 0 as (count|seconds) of Retention"):
        Retention(**numbers)


@pytest.mark.parametrize("config", [{"history": 5}, {"outbox": 5}, {"encode": 5}, {"on_loss": 5}])
def test_a_topic_is_configured_with_what_it_takes(config: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="but got 5"):
        TopicConfig(**config)
