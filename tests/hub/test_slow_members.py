"""A member that takes less than is published: its outbox, the policies, and that nobody else notices."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.asgi_peer import AsgiPeer
from tests.engine.memory import run
from tests.hub.peers import KINDS, WITH_LINE, WITHOUT_LINE, AnyPeer, settle
from tests.line_peer import LinePeer
from trunkline.hub import Hub, OutboxLimits, SubscriptionLost, TopicConfig, policies

if TYPE_CHECKING:
    from trunkline.hub.policies import Policy

every_kind = pytest.mark.parametrize("kind", KINDS)
with_line = pytest.mark.parametrize("kind", WITH_LINE)
SMALL = OutboxLimits(bytes=30, seconds=10)


def hub_with(policy: Policy = policies.close, outbox: OutboxLimits = SMALL) -> Hub:
    return Hub(topics={"*": TopicConfig(policy=policy, outbox=outbox)})


def closes(peer: AnyPeer) -> list[tuple[int, str]]:
    return [(m["code"], m["reason"]) for m in peer.sent if m["type"] == "websocket.close"]


@every_kind
def test_a_stalled_member_delays_nobody_and_gets_all_in_order_when_it_reads_again(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, healthy, stalled = hub_with(outbox=OutboxLimits()), kind(), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member, topic.join(await healthy.accepted()):
            stalled.stalls()
            for n in range(200):
                await topic.publish(str(n))
            await settle()
            assert healthy.texts() == [str(n) for n in range(200)]
            assert stalled.texts() == []
            assert member.stats.waiting >= 199
            assert topic.stats.waiting_bytes == member.stats.waiting_bytes > 0
            stalled.resumes()
            await settle()
            assert stalled.texts() == [str(n) for n in range(200)]
            assert member.stats[:4] == (200, 0, 0, 0)
            assert hub.busy == set()

    run(test())


@every_kind
def test_a_member_beyond_the_bound_of_bytes_is_closed_with_1013_and_has_left(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, healthy, stalled = hub_with(), kind(), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member, topic.join(await healthy.accepted()):
            stalled.stalls()
            for n in range(5):
                await topic.publish(f"{n:010}")
                await settle()
            assert not member.joined
            assert len(healthy.texts()) == 5
            assert (topic.stats.expelled, topic.stats.members) == (1, 1)
            assert member.stats.dropped == topic.stats.drops > 0
            stalled.resumes()
            await settle()
            assert closes(stalled) == [(1013, "too slow")]
            assert hub.busy == set()

    run(test())


@every_kind
def test_a_member_beyond_the_bound_of_age_is_closed_though_nothing_more_is_published(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, stalled = hub_with(), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member:
            stalled.stalls()
            await topic.publish("1")
            await topic.publish("2")
            await asyncio.sleep(9.5)
            assert member.joined
            await asyncio.sleep(1.6)
            assert not member.joined

    run(test())


@pytest.mark.parametrize("kind", WITHOUT_LINE)
def test_without_the_line_the_close_is_tried_for_a_second(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, stalled = hub_with(), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()):
            stalled.stalls()
            for _ in range(5):
                await topic.publish("x" * 10)
                await settle()
            await asyncio.sleep(1.1)
            stalled.resumes()
            await settle()
            assert closes(stalled) == []
            await hub.aclose()

    run(test())


@every_kind
@pytest.mark.parametrize(
    ("policy", "expected"),
    [(policies.drop_oldest, "789"), (policies.drop_newest, "012")],
    ids=["drop_oldest", "drop_newest"],
)
def test_a_policy_drops_and_counts(kind: type[AnyPeer], policy: Policy, expected: str) -> None:
    async def test() -> None:
        hub, stalled = hub_with(policy), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member:
            stalled.stalls()
            if kind in WITHOUT_LINE:
                await topic.publish("in the server's hands")
                await settle()
            for n in range(10):
                await topic.publish(str(n) * 10)
            assert (member.stats.waiting, member.stats.waiting_bytes, member.stats.dropped) == (3, 30, 7)
            assert topic.stats.drops == 7
            stalled.resumes()
            await settle()
            assert stalled.texts()[-3:] == [digit * 10 for digit in expected]
            await topic.publish("live again")
            await settle()
            assert stalled.texts()[-1] == "live again"

    run(test())


def test_the_oldest_go_when_they_are_too_old_and_memory_is_bounded_for_ever() -> None:
    async def test() -> None:
        hub, stalled = hub_with(policies.drop_oldest, OutboxLimits(bytes=100, seconds=2)), LinePeer()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member:
            stalled.stalls()
            for n in range(1000):
                await topic.publish(f"{n:010}")
            (outbox,) = hub.busy
            assert member.stats.waiting == 10
            assert len(outbox._queue) < 50
            assert outbox._calls == 10
            await asyncio.sleep(3.5)
            assert member.stats.waiting == 0
            assert hub.busy == set()
            await topic.publish("new")
            stalled.resumes()
            await settle()
            assert stalled.texts() == ["new"]

    run(test())


def test_the_newest_is_let_go_while_the_oldest_is_too_old() -> None:
    async def test() -> None:
        hub, stalled = hub_with(policies.drop_newest, OutboxLimits(bytes=100, seconds=2)), LinePeer()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member:
            stalled.stalls()
            await topic.publish("old")
            await asyncio.sleep(3)
            await topic.publish("new")
            assert (member.stats.waiting, member.stats.dropped) == (1, 1)

    run(test())


@every_kind
def test_a_message_larger_than_the_bound_passes_alone_where_old_ones_are_dropped(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, stalled = hub_with(policies.drop_oldest), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()):
            stalled.stalls()
            await topic.publish("small")
            await topic.publish("x" * 100)
            stalled.resumes()
            await settle()
            assert stalled.texts()[-1] == "x" * 100

    run(test())


@every_kind
def test_coalescing_keeps_the_newest_of_each_key(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        policy = policies.coalesce(lambda value: value.get("symbol"))
        hub, stalled = hub_with(policy, OutboxLimits(bytes=1000)), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member:
            stalled.stalls()
            if kind in WITHOUT_LINE:
                await topic.publish({})
                await settle()
            for price in range(100):
                await topic.publish({"symbol": "A", "price": price})
                await topic.publish({"symbol": "B", "price": price})
            await topic.publish({"note": "kept"})
            await topic.publish({"symbol": "A", "price": 100})
            assert member.stats.waiting == 3
            stalled.resumes()
            await settle()
            assert [json.loads(text) for text in stalled.texts()[-3:]] == [
                {"symbol": "B", "price": 99},
                {"note": "kept"},
                {"symbol": "A", "price": 100},
            ]

    run(test())


@every_kind
def test_one_key_alone_is_replaced_too(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, stalled = hub_with(policies.coalesce(lambda value: "all")), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member:
            stalled.stalls()
            for n in range(5):
                await topic.publish(n)
                await settle()
            assert member.stats.waiting == 1
            stalled.resumes()
            await settle()
            assert stalled.texts()[-1] == "4"
            assert hub.busy == set()

    run(test())


@every_kind
def test_under_wait_the_publisher_waits_until_there_is_room(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, stalled = hub_with(policies.wait(5)), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member:
            stalled.stalls()
            for _ in range(3 if kind in WITH_LINE else 4):
                await topic.publish("x" * 10)
                await settle()
            publishing = asyncio.create_task(topic.publish("y" * 10))
            await settle()
            assert not publishing.done()
            stalled.resumes()
            await publishing
            await settle()
            assert stalled.texts()[-1] == "y" * 10
            await asyncio.sleep(6)
            assert member.joined

    run(test())


@every_kind
def test_under_wait_the_member_is_closed_at_the_deadline(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, stalled = hub_with(policies.wait(5)), kind()
        topic = hub.topic("t")
        async with topic.join(await stalled.accepted()) as member:
            stalled.stalls()
            for _ in range(4):
                await topic.publish("x" * 10, timeout=60)
                await settle()
            started = asyncio.get_running_loop().time()
            if kind in WITHOUT_LINE:
                await topic.publish("x" * 10)
            assert not member.joined
            assert asyncio.get_running_loop().time() - started < 6

    run(test())


def test_a_wait_has_a_deadline() -> None:
    with pytest.raises(ValueError, match="seconds above 0 as deadline of wait"):
        policies.wait(0)


@pytest.mark.parametrize("kind", [*WITH_LINE, AsgiPeer])
def test_the_endpoints_own_messages_and_close_do_not_overtake_what_was_published(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = hub_with(outbox=OutboxLimits()), kind()
        topic = hub.topic("t")
        websocket = await peer.accepted()
        async with topic.join(websocket):
            peer.stalls()
            await topic.publish("1")
            own = asyncio.create_task(websocket.send_text("own"))
            await settle()
            await topic.publish("2")
            closing = asyncio.create_task(websocket.close(4000))
            await settle()
            assert not own.done()
            peer.resumes()
            await asyncio.gather(own, closing)
        # Without the Line, what is published may come before what waits to be sent, never the other way round.
        assert peer.texts() == (["1", "own", "2"] if kind in WITH_LINE else ["1", "2", "own"])
        assert closes(peer) == [(4000, "")]

    run(test())


def test_without_the_line_a_send_that_is_under_way_comes_before_what_is_published_and_others_behind() -> None:
    async def test() -> None:
        hub, peer = hub_with(outbox=OutboxLimits()), AsgiPeer()
        websocket = await peer.accepted()
        async with hub.topic("a").join(websocket), hub.topic("b").join(websocket):
            peer.stalls()
            first = asyncio.create_task(websocket.send_text("first"))
            await settle()
            await hub.topic("a").publish("1")
            await hub.topic("b").publish("2")
            await hub.topic("a").publish("3")
            last = asyncio.create_task(websocket.send_text("last"))
            await settle()
            peer.resumes()
            await asyncio.gather(first, last)
            await settle()
        assert peer.texts() == ["first", "1", "3", "2", "last"]

    run(test())


def test_without_the_line_the_turn_is_given_back_however_the_task_ends() -> None:
    async def test() -> None:
        hub, peer = hub_with(policies.close, OutboxLimits(bytes=1)), AsgiPeer()
        websocket = await peer.accepted()
        topic = hub.topic("t")
        async with topic.join(websocket) as member:
            await topic.publish("too long for it, before the task has taken a step")
            await settle()
            assert not member.joined
            assert websocket.sending is not None
            assert not websocket.sending.taken
            assert closes(peer) == [(1013, "too slow")]

    run(test())


@every_kind
def test_what_was_published_before_somebody_left_still_goes_out(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = hub_with(), kind()
        topic = hub.topic("t")
        async with topic.join(await peer.accepted()):
            peer.stalls()
            await topic.publish("1")
            await topic.publish("2")
        peer.resumes()
        await settle()
        assert peer.texts() == ["1", "2"]
        assert (hub.busy, hub.rooms) == (set(), {})

    run(test())


def test_several_topics_of_one_connection_keep_their_common_order() -> None:
    async def test() -> None:
        hub, peer = hub_with(), LinePeer()
        websocket = await peer.accepted()
        async with hub.topic("a").join(websocket), hub.topic("b").join(websocket):
            peer.stalls()
            for n in range(5):
                await hub.topic("ab"[n % 2]).publish(str(n))
            peer.resumes()
            await settle()
            assert peer.texts() == ["0", "1", "2", "3", "4"]

    run(test())


def test_a_member_may_have_a_policy_of_its_own() -> None:
    async def test() -> None:
        hub, peer = hub_with(), LinePeer()
        topic = hub.topic("t")
        async with topic.join(await peer.accepted(), policy=policies.drop_newest) as member:
            peer.stalls()
            for _ in range(9):
                await topic.publish("x" * 10)
            assert member.joined
            assert member.stats.dropped == 6

    run(test())


def test_an_iteration_that_does_not_keep_up_ends_with_an_error() -> None:
    async def test() -> None:
        hub = hub_with()
        topic = hub.topic("t")
        async with topic.subscribe() as publications:
            for _ in range(4):
                await topic.publish("x" * 10)
            with pytest.raises(SubscriptionLost, match="the subscription to 't' has ended: too slow"):
                await anext(aiter(publications))
        async with topic.subscribe(policy=policies.drop_oldest) as publications:
            for n in range(9):
                await topic.publish(str(n) * 10)
            assert (await anext(aiter(publications))).value == "6" * 10

    run(test())


@every_kind
def test_a_lost_connection_lets_go_of_what_waits(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = hub_with(), kind()
        topic = hub.topic("t")
        async with topic.join(await peer.accepted()):
            peer.stalls()
            await topic.publish("1")
            await topic.publish("2")
            await settle()
            peer.lost = True
            peer.resumes()
            await settle()
            assert (hub.busy, hub.rooms) == (set(), {})

    run(test())


@pytest.mark.parametrize("numbers", [{"bytes": 0}, {"seconds": 0}, {"bytes": "1"}, {"seconds": True}])
def test_limits_are_above_0(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected a number above 0 as (bytes|seconds) of OutboxLimits"):
        OutboxLimits(**numbers)
