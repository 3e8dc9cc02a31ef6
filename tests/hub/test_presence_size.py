"""Ten thousand members on one topic: what a change costs depends on the change, not on who is there already."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.hub.peers import eventually
from trunkline.hub import Hub, PresenceConfig, TopicConfig
from trunkline.hub.brokers import MemoryBroker, MemoryServer
from trunkline.hub.brokers.redis import RedisBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.hub.redis_server import RedisServer
    from trunkline.hub import Membership, Topic

pytestmark = pytest.mark.anyio
MEMBERS = 10_000
# Nothing is told before the test asks, and nothing is renewed while it runs.
CONFIG = TopicConfig(presence=PresenceConfig(lease=3600, grace=0, every=3600))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Sink:
    """The least that can be a member; nothing is sent to it here."""

    scope: dict[str, Any] = {"type": "websocket"}  # noqa: RUF012

    async def send_text(self, data: str) -> None:
        raise AssertionError(data)

    send_bytes = send_text


class CountingBroker(MemoryBroker):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(MemoryServer())
        self.calls = 0

    def __getattribute__(self, name: str) -> Any:
        if name in ("publish", "hold", "release", "reap"):
            self.calls += 1
        return super().__getattribute__(name)


@pytest.fixture(params=["memory", "redis"])
def broker(request: pytest.FixtureRequest) -> tuple[MemoryBroker | RedisBroker, Callable[[], int]]:
    """A broker, and how many calls, or commands, that change or publish something it has had so far."""
    if request.param == "memory":
        counting = CountingBroker()
        return counting, lambda: counting.calls
    server: RedisServer = request.getfixturevalue("shared_redis")
    server.command("FLUSHALL")

    def commands() -> int:
        told = server.command("INFO", "commandstats").decode()
        return sum(int(count) for count in re.findall(r"cmdstat_(?:evalsha|publish):calls=(\d+)", told))

    return RedisBroker(server.url), commands


async def settled(topic: Topic, count: int) -> None:
    """Wait until the grace period of those who have left, none, is over."""
    held = topic.hub.roster(topic)._held

    async def are_gone() -> bool:
        return len(held) == count

    await eventually(are_gone)


class Watched:
    """A topic with everything that is told of it."""

    def __init__(self, topic: Topic, publications: Any, commands: Callable[[], int]) -> None:
        self._topic = topic
        self._publications = aiter(publications)
        self._commands = commands

    async def change(self) -> tuple[int, int, dict[str, Any]]:
        """Have the changes told: who is present now, with how many commands, and what was told of it."""
        before = self._commands()
        present = await self._topic.presence()
        commands = self._commands() - before
        return len(present), commands, (await anext(self._publications)).value


@asynccontextmanager
async def watched(topic: Topic, commands: Callable[[], int]) -> AsyncIterator[Watched]:
    async with topic.changes.subscribe() as publications:
        yield Watched(topic, publications, commands)


async def test_ten_thousand_come_one_leaves_and_all_leave(broker: Any) -> None:
    used, commands = broker
    async with Hub(used, topics={"room": CONFIG}) as hub:
        topic = hub.topic("room")
        async with watched(topic, commands) as room:
            members: list[Membership] = []
            for n in range(MEMBERS):
                members.append(await topic.join(Sink(), key=f"user {n}").__aenter__())
            # Leases 500 at a time, so that Redis serves others in between; one message for all of them.
            present, cost, told = await room.change()
            assert present == MEMBERS
            assert cost <= MEMBERS / 500 + 4
            assert (len(told["joins"]), len(told["leaves"])) == (MEMBERS, 0)

            await members.pop().leave()
            await settled(topic, MEMBERS - 1)
            present, cost, told = await room.change()
            assert present == MEMBERS - 1
            assert cost <= 5
            assert (told["joins"], list(told["leaves"])) == ({}, [f"user {MEMBERS - 1}"])

            newcomer = await topic.join(Sink(), key="late").__aenter__()
            present, cost, told = await room.change()
            assert present == MEMBERS
            assert cost <= 5
            assert told == {"leaves": {}, "joins": {"late": [{"ref": newcomer.ref}]}}

            for member in (*members, newcomer):
                await member.leave()
            await settled(topic, 0)
            present, cost, told = await room.change()
            assert present == 0
            assert cost <= MEMBERS / 500 + 4
            assert (len(told["joins"]), len(told["leaves"])) == (0, MEMBERS)
