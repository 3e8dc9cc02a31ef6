"""Joining, publishing and leaving, for every kind of member."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import trunkline.workers
from tests.engine.memory import run
from tests.hub.peers import KINDS, WITH_LINE, WITHOUT_LINE, AnyPeer, settle
from tests.line_peer import LinePeer
from trunkline.hub import Hub, HubError, TopicConfig
from trunkline.hub.brokers import MemoryBroker
from trunkline.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

if TYPE_CHECKING:
    from trunkline.hub import Publication

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_what_is_published_reaches_all_members_as_text_binary_or_json(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, first, second = Hub(), kind(), kind()
        topic = hub.topic("room:1")
        async with topic.join(await first.accepted()), topic.join(await second.accepted()):
            assert await topic.publish("text ✓") is None
            await topic.publish(b"\x00\xff")
            await topic.publish(bytearray(b"also bytes"))
            await topic.publish({"text": "ä", "n": [1, None]})
            await hub.topic("room:2").publish("elsewhere")
            await settle()
        for peer in (first, second):
            assert [message.get("text") or message.get("bytes") for message in peer.sent] == [
                "text ✓",
                b"\x00\xff",
                b"also bytes",
                '{"text":"ä","n":[1,null]}',
            ]

    run(test())


@every_kind
def test_all_but_one_get_it_named_by_membership_or_websocket(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peers = Hub(), [kind() for _ in range(3)]
        topic = hub.topic("t")
        sockets = [await peer.accepted() for peer in peers]
        async with topic.join(sockets[0]) as first, topic.join(sockets[1]) as second, topic.join(sockets[2]):
            await topic.publish("a", exclude=first)
            await topic.publish("b", exclude=sockets[1])
            await topic.publish("c", exclude=object())
            await second.leave()
            await topic.publish("d", exclude=second)
            await settle()
            assert first.stats.delivered == 3
        assert [peer.texts() for peer in peers] == [["b", "c", "d"], ["a", "c"], ["a", "b", "c", "d"]]

    run(test())


@every_kind
def test_one_member_alone_is_sent_to_behind_what_was_published_before(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, first, second = Hub(), kind(), kind()
        topic = hub.topic("t")
        async with topic.join(await first.accepted()) as member, topic.join(await second.accepted()):
            first.stalls()
            await topic.publish("for all")
            await member.publish({"for": "you"})
            await topic.publish("for all again")
            first.resumes()
            await settle()
        assert first.texts() == ["for all", '{"for":"you"}', "for all again"]
        assert second.texts() == ["for all", "for all again"]
        with pytest.raises(HubError, match="no member of 't' any more"):
            await member.publish("late")

    run(test())


def test_a_users_connections_are_a_topic() -> None:
    async def test() -> None:
        hub, phone, laptop, other = Hub(), LinePeer(), LinePeer(), LinePeer()
        async with (
            hub.user(7).join(await phone.accepted()),
            hub.user("7").join(await laptop.accepted()),
            hub.user(8).join(await other.accepted()),
        ):
            await hub.user(7).publish("you have mail")
            await settle()
        assert (phone.texts(), laptop.texts(), other.texts()) == (["you have mail"], ["you have mail"], [])

    run(test())


@pytest.mark.parametrize("kind", WITH_LINE)
def test_who_comes_goes_or_sends_between_publications_of_one_tick_gets_just_its_own(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peers = Hub(), [kind() for _ in range(4)]
        topic = hub.topic("t")
        stays, speaks, leaves, comes = [await peer.accepted() for peer in peers]
        async with topic.join(stays) as first, topic.join(speaks), topic.join(leaves) as membership:
            await topic.publish("a")
            await topic.publish("b")
            await membership.leave()
            await topic.publish("c")
            await speaks.send_text("own")
            await topic.publish("d")
            await topic.publish("e", exclude=first)
            async with topic.join(comes):
                await topic.publish("f")
                await topic.publish("g")
                await settle()
        assert [[message["text"] for message in peer.sent] for peer in peers] == [
            ["a", "b", "c", "d", "f", "g"],
            ["a", "b", "c", "own", "d", "e", "f", "g"],
            ["a", "b"],
            ["f", "g"],
        ]

    run(test())


@every_kind
def test_who_has_left_gets_no_more_however_it_left(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = Hub(), kind()
        topic = hub.topic("t")
        websocket = await peer.accepted()
        with pytest.raises(ZeroDivisionError):
            async with topic.join(websocket):
                raise ZeroDivisionError
        await topic.publish("after an error")

        async def stay() -> None:
            async with topic.join(websocket):
                await asyncio.Event().wait()

        staying = asyncio.create_task(stay())
        await settle()
        await topic.publish("while in")
        staying.cancel()
        await settle()
        await topic.publish("after a cancellation")
        async with topic.join(websocket) as member:
            assert list(topic.members) == [member]
            await member.leave()
            await member.leave()
            assert not member.joined
        await topic.publish("after leaving")
        await settle()
        assert peer.texts() == ["while in"]
        assert not topic.members
        assert hub.rooms == {}

    run(test())


@pytest.mark.parametrize("kind", WITH_LINE)
def test_who_is_lost_has_left_at_once_though_nobody_looks(kind: type[LinePeer]) -> None:
    async def test() -> None:
        hub, peer = Hub(), kind()
        async with hub.topic("a").join(await peer.accepted()) as first:
            peer.closes(1006)
            assert hub.rooms == {}
        assert not first.joined

    run(test())


@pytest.mark.parametrize("kind", WITHOUT_LINE)
def test_without_the_line_who_is_lost_has_left_when_a_send_fails(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = Hub(), kind()
        topic = hub.topic("a")
        async with topic.join(await peer.accepted()):
            peer.lost = True
            for _ in range(3):
                await topic.publish("x")
            await settle()
            assert hub.busy == set()

    run(test())


@every_kind
def test_a_connection_joins_a_topic_once_and_any_number_of_topics(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = Hub(), kind()
        websocket = await peer.accepted()
        async with hub.topic("a").join(websocket) as member, hub.topic("b").join(websocket):
            with pytest.raises(HubError, match="join a topic once"):
                async with hub.topic("a").join(websocket):
                    pass
            with pytest.raises(HubError, match="entered before"):
                await member.__aenter__()
            await hub.topic("a").publish("1")
            await hub.topic("b").publish("2")
            await settle()
            assert sorted(peer.texts()) == ["1", "2"]

    run(test())


@every_kind
def test_members_carry_what_the_application_says_of_them(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        hub, peer = Hub(), kind()
        websocket = await peer.accepted()
        async with hub.topic("a").join(websocket, key="ada", meta={"device": "phone"}) as member:
            (found,) = hub.topic("a").members
            assert found is member
            assert (found.key, found.meta, found.websocket) == ("ada", {"device": "phone"}, websocket)
            assert (found.recovered, found.position) == (False, None)
            assert repr(member) == f"<{type(member).__name__} of 'a', key='ada', joined=True>"

    run(test())


def test_only_an_open_websocket_is_a_member() -> None:
    async def test() -> None:
        hub, peer = Hub(), LinePeer()
        scope = {"type": "websocket", "headers": []}

        async def nothing(*_: Any) -> Any:
            raise AssertionError

        with pytest.raises(WebSocketDisconnected, match='Need to call "accept" first'):
            await hub.topic("a").join(WebSocket(scope, nothing, nothing)).__aenter__()
        websocket = await peer.accepted()
        membership = hub.topic("a").join(websocket)
        peer.closes(1006)
        with pytest.raises(WebSocketDisconnect) as caught:
            await membership.__aenter__()
        assert caught.value.code == 1006
        with pytest.raises(WebSocketDisconnect):
            await hub.topic("a").join(WebSocket.of(websocket)).__aenter__()
        with pytest.raises(TypeError, match=r"expected a WebSocket .*, but got str"):
            hub.topic("a").join("ws")
        assert hub.rooms == {}

    run(test())


def test_a_closed_websocket_without_the_line_is_no_member() -> None:
    async def test() -> None:
        hub = Hub()
        for kind in WITHOUT_LINE[:2]:
            websocket = await kind().accepted()
            await websocket.close()
            with pytest.raises(WebSocketDisconnect):
                await hub.topic("a").join(websocket).__aenter__()

    run(test())


def test_mistakes_are_told_in_words() -> None:
    async def test() -> None:
        hub, peer = Hub(), LinePeer()
        websocket = await peer.accepted()
        with pytest.raises(ValueError, match="but got an empty one"):
            hub.topic("")
        with pytest.raises(TypeError, match="expected a str as the name of a topic, but got 42"):
            hub.topic(42)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="as since, but got 7"):
            hub.topic("a").join(websocket, since=7)  # type: ignore[arg-type]
        no_policy: Any = "close"
        for call in (lambda: hub.topic("a").join(websocket, policy=no_policy), lambda: TopicConfig(policy=no_policy)):
            with pytest.raises(TypeError, match=r"expected a policy of trunkline\.hub\.policies .* got 'close'"):
                call()
        with pytest.raises(TypeError, match="expected a policy"):
            hub.topic("a").subscribe(policy=no_policy)
        with pytest.raises(TypeError, match="not JSON serializable"):
            await hub.topic("a").publish(object())
        with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
            await hub.topic("a").publish({"half": "\ud800"})
        with pytest.raises(ValueError, match="amqp"):
            Hub("amqp://localhost")
        with pytest.raises(TypeError, match=r"expected topics=\{.*\}, but got 'a'"):
            Hub(topics={"a": 1})  # type: ignore[dict-item]

    run(test())


def test_the_first_pattern_that_matches_counts() -> None:
    special, other = TopicConfig(), TopicConfig()
    hub = Hub(topics={"room:vip:*": special, "room:*": other})
    assert hub.topic("room:vip:1").config is special
    assert hub.topic("room:1").config is other
    assert hub.topic("lobby").config == TopicConfig()
    assert repr(hub.topic("lobby")) == "<Topic 'lobby'>"


@every_kind
def test_an_encode_hook_is_called_once_per_publication_and_makes_the_message(kind: type[AnyPeer]) -> None:
    async def test() -> None:
        calls: list[Publication] = []

        def encode(publication: Publication) -> Any:
            calls.append(publication)
            return {"topic": publication.topic, "data": publication.value}

        hub, peers = Hub(topics={"t": TopicConfig(encode=encode)}), [kind() for _ in range(3)]
        topic = hub.topic("t")
        async with (
            topic.join(await peers[0].accepted()),
            topic.join(await peers[1].accepted()),
            topic.join(await peers[2].accepted()),
        ):
            await topic.publish({"n": 1})
            await settle()
        assert len(calls) == 1
        assert [peer.texts() for peer in peers] == [['{"topic":"t","data":{"n":1}}']] * 3

    run(test())


def test_an_encode_hook_that_fails_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        def encode(publication: Publication) -> str:
            return f"{publication.value['x']}"

        hub, peer = Hub(topics={"t": TopicConfig(encode=encode)}), LinePeer()
        topic = hub.topic("t")
        async with topic.join(await peer.accepted()):
            await topic.publish({})
            await topic.publish({"x": 1})
            assert topic.stats.losses == 1
            await settle()
        assert peer.texts() == ["1"]
        assert "encode of 't' failed" in caplog.text
        assert "KeyError" in caplog.text

    run(test())


def test_an_iteration_gets_values_and_leaves_when_it_is_dropped() -> None:
    async def test() -> None:
        hub = Hub()
        topic = hub.topic("t")
        got: list[Any] = []

        async def listen() -> None:
            async for publication in topic.subscribe():
                got.append((publication.topic, publication.value, publication.data))
                if publication.value == "end":
                    break

        listening = asyncio.create_task(listen())
        await settle()
        for value in ({"n": 1}, b"\x00", "end", "behind the end"):
            await topic.publish(value)
        await listening
        await settle()
        assert got == [("t", {"n": 1}, '{"n":1}'), ("t", b"\x00", b"\x00"), ("t", "end", "end")]
        assert topic.members == ()

    run(test())


def test_a_subscription_that_is_entered_misses_nothing_from_then_on() -> None:
    async def test() -> None:
        hub = Hub()
        topic = hub.topic("t")
        async with topic.subscribe() as publications:
            await topic.publish("1")
            await topic.publish("2")
            values = [publication.value async for publication in _first(publications, 2)]
            with pytest.raises(HubError, match="entered before"):
                await publications.__aenter__()
            waiting = asyncio.ensure_future(anext(aiter(publications)))
            await settle()
            await hub.aclose()
            with pytest.raises(StopAsyncIteration):
                await waiting
        assert values == ["1", "2"]

    run(test())


async def _first(publications: Any, count: int) -> Any:
    async for publication in publications:
        yield publication
        count -= 1
        if not count:
            return


def test_a_hub_stays_in_its_loop_and_follows_when_that_has_ended() -> None:
    hub = Hub()

    async def use() -> list[str]:
        peer = LinePeer()
        async with hub.topic("t").join(await peer.accepted()):
            await hub.topic("t").publish("x")
            await settle()
        return peer.texts()

    async def both() -> None:
        await hub.topic("t").publish("bound")

        def other() -> None:
            with pytest.raises(HubError, match="another event loop"):
                run(use())

        await asyncio.to_thread(other)

    asyncio.run(both())
    assert run(use()) == ["x"]
    assert run(use()) == ["x"]


def test_at_the_end_of_a_hub_everybody_leaves_and_it_can_be_used_again() -> None:
    async def test() -> None:
        peer = LinePeer()
        websocket = await peer.accepted()
        async with Hub() as hub:
            async with hub.topic("t").join(websocket) as member:
                await hub.aclose()
                assert not member.joined
                assert not websocket.closed
            async with hub.topic("t").join(websocket):
                await hub.topic("t").publish("again")
            await settle()
        await hub.aclose()
        assert peer.texts() == ["again"]

    run(test())


def test_the_environment_names_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_BROKER", "memory://")
    Hub()
    monkeypatch.setenv("TRUNKLINE_BROKER", "nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        Hub()


@pytest.mark.parametrize(("workers", "warned"), [(None, False), ("1", False), ("nonsense", False), ("2", True)])
def test_a_hub_in_memory_warns_where_there_are_several_workers(
    workers: str | None, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TRUNKLINE_BROKER", raising=False)
    if workers is None:
        monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    else:
        monkeypatch.setenv("WEB_CONCURRENCY", workers)
    monkeypatch.setattr(trunkline.workers, "_told", 1)
    Hub()
    assert ("there are 2 worker processes" in caplog.text) is warned
    assert ("TRUNKLINE_BROKER=redis://" in caplog.text) is warned


def test_a_hub_in_memory_warns_when_it_starts_of_what_is_known_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TRUNKLINE_BROKER", raising=False)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(trunkline.workers, "_told", 1)
    hub, other = Hub(), Hub(MemoryBroker())

    async def start() -> None:
        async with hub, other:
            hub.ready()
            other.ready()

    run(start())
    assert "worker processes" not in caplog.text
    trunkline.workers.note_workers(3)
    run(start())
    run(start())
    assert caplog.text.count("there are 3 worker processes") == 1
