"""Members of all topics whose names match a pattern."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.memory import run
from tests.hub.peers import KINDS, AnyPeer, settle
from trunkline.hub import Hub, HubError, OutboxLimits, PresenceConfig, Publication, Retention, TopicConfig, policies
from trunkline.hub.globs import Glob


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("room:*", "room:42", True),
        ("room:*", "room:", True),
        ("room:*", "a room:1", False),
        ("*", "any\nthing", True),
        ("a*c*e", "abcde", True),
        ("a*c*e", "abcd", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a?", "ab", False),
    ],
)
def test_an_asterisk_stands_for_any_characters_and_all_else_for_itself(pattern: str, name: str, matches: bool) -> None:
    assert Glob(pattern).matches(name) is matches


@pytest.mark.parametrize("kind", KINDS)
def test_who_joins_a_pattern_gets_what_is_published_to_each_topic_as_its_members_get_it(kind: type[AnyPeer]) -> None:
    def encode(publication: Publication) -> Any:
        return f"{publication.position and publication.position.offset} {publication.value}"

    topics = {"kept:*": TopicConfig(history=Retention(10, 60), encode=encode)}

    async def test() -> None:
        async with Hub("memory://", topics=topics) as hub:
            all_of, only, excluded = kind(), kind(), await kind().accepted()
            async with (
                hub.pattern("kept:*").join(await all_of.accepted(), key="auditor") as member,
                hub.topic("kept:1").join(await only.accepted()),
                hub.topic("kept:1").join(excluded),
            ):
                assert [each.key for each in hub.pattern("kept:*").members] == ["auditor"]
                await hub.topic("kept:1").publish("a", exclude=excluded)
                await hub.topic("other").publish("b")
                await hub.topic("kept:2").publish("c")
                await member.publish("to you alone")
                await settle()
                assert all_of.texts() == ["1 a", "1 c", "to you alone"]
                assert only.texts() == ["1 a"]
                assert hub.pattern("kept:*").stats.publications == 2
            await hub.topic("kept:1").publish("d")
            await settle()
            assert len(all_of.texts()) == 3

    run(test())


def test_an_iteration_over_a_pattern_tells_the_topic() -> None:
    async def test() -> None:
        async with Hub("memory://") as hub:
            async with hub.pattern("room:*").subscribe() as publications:
                await hub.topic("room:1").publish("a")
                await hub.topic("hall").publish("b")
                await hub.topic("room:2").publish({"c": 1})
                found = []
                async for publication in publications:
                    found.append((publication.topic, publication.value))
                    if len(found) == 2:
                        break
            assert found == [("room:1", "a"), ("room:2", {"c": 1})]
            assert not hub.rooms

    run(test())


def test_a_pattern_has_the_limits_of_its_topics_and_neither_past_nor_presence() -> None:
    config = TopicConfig(
        history=Retention(10, 60),
        presence=PresenceConfig(),
        policy=policies.drop_oldest,
        outbox=OutboxLimits(bytes=10),
        on_loss=print,
    )

    async def test() -> None:
        async with Hub("memory://", topics={"room:*": config}) as hub:
            pattern = hub.pattern("room:*")
            assert repr(pattern) == "<Pattern 'room:*'>"
            assert pattern.config == TopicConfig(policy=policies.drop_oldest, outbox=OutboxLimits(bytes=10))
            with pytest.raises(HubError, match=r"'room:\*' is a pattern: publish to a topic"):
                await pattern.publish("x")
            for mistake in (pattern.presence(), pattern.history(5)):
                with pytest.raises(HubError, match="nobody keeps"):
                    await mistake
            with pytest.raises(ValueError, match="an empty one"):
                hub.pattern("")

    run(test())
