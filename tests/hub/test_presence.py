"""Who is in a topic: what is told when, and that nobody stays who is gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.memory import run
from tests.hub.peers import settle
from tests.line_peer import LinePeer
from trunkline.hub import BrokerError, Hub, HubError, PresenceConfig, TopicConfig
from trunkline.hub.brokers import MemoryBroker, MemoryServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.hub import Membership, Topic

CONFIG = PresenceConfig(lease=30, grace=5, every=0.1)


def server() -> MemoryServer:
    """One whose clock is that of the test's loop."""
    return MemoryServer(lambda: asyncio.get_running_loop().time())


def hub_on(memory: MemoryServer | None = None, config: PresenceConfig = CONFIG) -> Hub:
    topics = {"presence:*": TopicConfig(), "*": TopicConfig(presence=config)}
    return Hub(MemoryBroker(memory or server()), topics=topics)


async def enter(topic: Topic, key: str, meta: Any = None) -> Membership:
    return await topic.join(await LinePeer().accepted(), key=key, meta=meta).__aenter__()


class Watcher:
    """A client that applies the changes that it is told of, as the documentation says."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.changes: list[Any] = []
        self.people: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Watcher:
        self._subscription = self.topic.changes.subscribe()
        await self._subscription.__aenter__()
        self.apply({"leaves": {}, "joins": await self.topic.presence()})
        self.changes.clear()
        self._task = asyncio.create_task(self.watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await self._subscription.__aexit__(None, None, None)

    async def watch(self) -> None:
        async for publication in self._subscription:
            self.apply(publication.value)

    def apply(self, change: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> None:
        self.changes.append(change)
        for key, metas in change["leaves"].items():
            for meta in metas:
                self.people.get(key, {}).pop(meta["ref"], None)
            if not self.people.get(key):
                self.people.pop(key, None)
        for key, metas in change["joins"].items():
            self.people.setdefault(key, {}).update({meta["ref"]: meta for meta in metas})

    def seen(self) -> dict[str, list[dict[str, Any]]]:
        return {key: list(metas.values()) for key, metas in self.people.items()}


def test_one_user_with_several_connections_is_one_key() -> None:
    async def test() -> None:
        hub = hub_on()
        topic = hub.topic("room")
        assert await topic.presence() == {}
        phone = await enter(topic, "ada", {"device": "phone"})
        laptop = await enter(topic, "ada", {"device": "laptop"})
        bob = await enter(topic, "bob")
        await enter_without_key(topic)
        assert await topic.presence() == {
            "ada": [{"ref": phone.ref, "device": "phone"}, {"ref": laptop.ref, "device": "laptop"}],
            "bob": [{"ref": bob.ref}],
        }
        await hub.aclose()

    async def enter_without_key(topic: Topic) -> None:
        await topic.join(await LinePeer().accepted()).__aenter__()

    run(test())


def test_changes_are_told_once_gathered_and_to_all_processes() -> None:
    async def test() -> None:
        memory = server()
        here, there = hub_on(memory), hub_on(memory)
        async with Watcher(there.topic("room")) as watcher:
            members = [await enter(here.topic("room"), f"user {n}") for n in range(50)]
            assert watcher.changes == []
            await asyncio.sleep(0.11)
            (change,) = watcher.changes
            assert (change["leaves"], len(change["joins"])) == ({}, 50)
            assert watcher.seen() == await here.topic("room").presence()
            for member in members:
                await member.leave()
            await asyncio.sleep(4.9)
            assert len(watcher.changes) == 1
            await asyncio.sleep(0.3)
            assert len(watcher.changes) == 2
            assert watcher.seen() == await here.topic("room").presence() == {}
            assert here._rosters == {}
        await here.aclose()
        await there.aclose()

    run(test())


def test_who_reconnects_was_never_away() -> None:
    async def test() -> None:
        hub = hub_on()
        topic = hub.topic("room")
        async with Watcher(topic) as watcher:
            first = await enter(topic, "ada")
            await asyncio.sleep(1)
            await first.leave()
            await asyncio.sleep(1)
            second = await enter(topic, "ada")
            for _ in range(100):
                assert "ada" in watcher.people
                await asyncio.sleep(0.1)
            assert watcher.seen() == {"ada": [{"ref": second.ref}]}
        await hub.aclose()

    run(test())


def test_who_comes_and_goes_before_anybody_was_told_is_not_told_of() -> None:
    async def test() -> None:
        hub = hub_on(config=PresenceConfig(grace=0, every=1))
        topic = hub.topic("room")
        async with Watcher(topic) as watcher:
            member = await enter(topic, "ada")
            await member.leave()
            await asyncio.sleep(2)
            assert watcher.changes == []
        await hub.aclose()

    run(test())


def test_what_is_said_of_a_member_may_change() -> None:
    async def test() -> None:
        hub = hub_on()
        topic = hub.topic("room")
        async with Watcher(topic) as watcher:
            member = await enter(topic, "ada", {"typing": False})
            await asyncio.sleep(1)
            await member.update({"typing": True})
            await asyncio.sleep(1)
            assert watcher.seen() == await topic.presence() == {"ada": [{"ref": member.ref, "typing": True}]}
            assert list(watcher.changes[-1]["leaves"]) == list(watcher.changes[-1]["joins"]) == ["ada"]
            await member.update({"typing": False})
            await member.update(None)
            await asyncio.sleep(1)
            assert watcher.seen() == {"ada": [{"ref": member.ref}]}
            assert len(watcher.changes) == 3
            await member.leave()
            with pytest.raises(HubError, match="no member of 'room' any more"):
                await member.update({})
        await hub.aclose()

    run(test())


def test_a_lease_is_renewed_as_long_as_the_member_is_there() -> None:
    async def test() -> None:
        hub = hub_on()
        topic = hub.topic("room")
        member = await enter(topic, "ada")
        await asyncio.sleep(500)
        assert await topic.presence() == {"ada": [{"ref": member.ref}]}
        await hub.aclose()

    run(test())


def test_the_members_of_a_process_that_was_killed_are_told_to_have_left() -> None:
    async def test() -> None:
        memory = server()
        killed, alive = hub_on(memory), hub_on(memory)
        await enter(alive.topic("room"), "bob")
        await enter(killed.topic("room"), "ada")
        await settle()
        async with Watcher(alive.topic("room")) as watcher:
            await asyncio.sleep(1)
            assert set(watcher.people) == {"ada", "bob"}
            for task in killed._tasks:
                task.cancel()  # as by kill -9: nothing is said
            await asyncio.sleep(45)
            assert set(watcher.people) == {"bob"}
            assert [list(change["leaves"]) for change in watcher.changes if change["leaves"]] == [["ada"]]
        await alive.aclose()

    run(test())


def test_whoever_asks_tells_of_those_whose_process_was_the_last() -> None:
    async def test() -> None:
        memory = server()
        killed, observer = hub_on(memory), hub_on(memory)
        await enter(killed.topic("room"), "ada")
        await asyncio.sleep(1)
        async with Watcher(observer.topic("room")) as watcher:
            assert set(watcher.people) == {"ada"}
            for task in killed._tasks:
                task.cancel()
            await asyncio.sleep(45)
            assert await observer.topic("room").presence() == {}
            await settle()
            assert watcher.people == {}
        await observer.aclose()

    run(test())


def test_the_members_of_a_hub_that_ends_have_the_grace_period_to_come_back() -> None:
    async def test() -> None:
        memory = server()
        ending, staying = hub_on(memory), hub_on(memory)
        await enter(staying.topic("room"), "bob")
        await enter(ending.topic("room"), "ada")
        await enter(ending.topic("room"), "chloé")
        await asyncio.sleep(1)
        async with Watcher(staying.topic("room")) as watcher:
            await ending.aclose()
            await enter(staying.topic("room"), "ada")
            await asyncio.sleep(4)
            assert set(watcher.people) == {"ada", "bob", "chloé"}
            await asyncio.sleep(15)
            assert set(watcher.people) == {"ada", "bob"}
            assert len(watcher.people["ada"]) == 1
        await staying.aclose()

    run(test())


class FailingBroker(MemoryBroker):
    """A broker that is away for a while."""

    away = False

    async def hold(self, *arguments: Any) -> None:
        self._check()
        await super().hold(*arguments)

    async def publish(self, *arguments: Any) -> Any:
        self._check()
        return await super().publish(*arguments)

    def _check(self) -> None:
        if self.away:
            raise BrokerError("away")


def test_changes_wait_for_a_broker_that_is_away_and_its_lost_data_come_back(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        memory = server()
        broker = FailingBroker(memory)
        hub = Hub(broker, topics={"room": TopicConfig(presence=CONFIG)})
        topic = hub.topic("room")
        async with Watcher(topic) as watcher:
            ada, bob = await enter(topic, "ada"), await enter(topic, "bob")
            await asyncio.sleep(1)
            broker.away = True
            memory.restart()
            chloe = await enter(topic, "chloé")
            await ada.leave()
            await asyncio.sleep(20)
            with pytest.raises(BrokerError):
                await topic.presence()
            assert set(watcher.people) == {"ada", "bob"}
            broker.away = False
            await asyncio.sleep(31)
            assert await topic.presence() == {"bob": [{"ref": bob.ref}], "chloé": [{"ref": chloe.ref}]}
            assert set(watcher.people) == {"bob", "chloé"}
            broker.away = True
            await hub.aclose()
        assert "could not be told" in caplog.text
        assert "could not be renewed" in caplog.text

    run(test())


def test_mistakes_are_told_in_words() -> None:
    async def test() -> None:
        hub = hub_on()
        websocket = await LinePeer().accepted()
        topic = hub.topic("room")
        with pytest.raises(TypeError, match=r"expected a str as the key .* but got 7"):
            topic.join(websocket, key=7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"expected a dict or None as the meta .* but got 'phone'"):
            topic.join(websocket, key="ada", meta="phone")
        with pytest.raises(TypeError, match="not JSON serializable"):
            topic.join(websocket, key="ada", meta={"at": object()})
        with pytest.raises(HubError, match=r"write TopicConfig\(presence=PresenceConfig\(\)\)"):
            await Hub().topic("room").presence()
        for numbers in ({"lease": 0}, {"every": 0}, {"grace": -1}):
            with pytest.raises(ValueError, match=r"expected a number above 0 as (lease|every|grace)"):
                PresenceConfig(**numbers)
        no_config: Any = True
        with pytest.raises(TypeError, match=r"expected PresenceConfig\(\) or None as presence, but got True"):
            TopicConfig(presence=no_config)

    run(test())
