"""A thousand members that come and go at random while ten publish: the stream of each, against what was published."""

from __future__ import annotations

import asyncio
import random

from tests.engine.memory import run
from tests.hub.peers import WITH_LINE, WITHOUT_LINE, AnyPeer, settle
from trunkline.hub import Hub, Position, Retention, TopicConfig

MEMBERS, PUBLISHERS, EACH = 1000, 10, 20
EVERYTHING = PUBLISHERS * EACH


def test_no_stream_has_a_gap_a_duplicate_or_another_order() -> None:
    chance = random.Random(1)
    kinds: list[type[AnyPeer]] = [*WITH_LINE, *WITHOUT_LINE]

    async def test() -> None:
        hub = Hub("memory://", topics={"*": TopicConfig(history=Retention(EVERYTHING, 1e9))})
        topic = hub.topic("t")
        published: list[str] = []

        async def publisher(number: int) -> None:
            for n in range(EACH):
                await asyncio.sleep(chance.uniform(0, 2))
                published.append(f"{number} {n}")
                position = await topic.publish(published[-1])
                assert position is not None
                assert position.offset == len(published)

        async def visit(kind: type[AnyPeer], since: Position | None, seconds: float) -> Position:
            """Be there for a while, and tell how far that went."""
            peer = kind()
            async with topic.join(await peer.accepted(), since=since) as member:
                assert member.recovered is (since is not None)
                begun = since or member.position
                await asyncio.sleep(seconds)
                last = len(published)
            await settle()  # what waits when it leaves still goes out
            assert begun is not None
            assert peer.texts() == published[begun.offset : last]
            return Position(begun.epoch, last)

        async def member() -> None:
            kind = chance.choice(kinds)
            at: Position | None = None
            while len(published) < EVERYTHING:
                await asyncio.sleep(chance.uniform(0, 20))
                at = await visit(kind, at, chance.uniform(0, 20))
            last = await visit(kind, at, 0)
            assert last.offset == EVERYTHING

        async with hub, asyncio.TaskGroup() as tasks:
            for _ in range(MEMBERS):
                tasks.create_task(member())
            for number in range(PUBLISHERS):
                tasks.create_task(publisher(number))

    run(test())
