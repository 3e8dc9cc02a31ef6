"""`trunkline hub`, as people use it: in a process of its own, on a real Redis."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.cli_process import serving, trunkline
from tests.hub.redis_server import RedisServer
from tests.line_peer import LinePeer
from trunkline.hub import Hub, PresenceConfig, Retention, TopicConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


def done(*arguments: str, stdin: str = "") -> str:
    """The output of a command that works out."""
    result = trunkline("hub", *arguments, stdin=stdin)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


async def test_who_is_there_and_what_is_kept_is_told(redis: RedisServer) -> None:
    config = TopicConfig(history=Retention(10, 60), presence=PresenceConfig())
    async with Hub(redis.url, topics={"room:*": config}) as hub:
        topic = hub.topic("room:ä")
        position = await topic.publish("x")
        async with topic.join(await LinePeer().accepted(), key="ada", meta={"device": "phone"}) as member:
            await topic.presence()
            topics = await asyncio.to_thread(done, "topics", redis.url)
            present = await asyncio.to_thread(done, "presence", redis.url, "room:ä")
            stats = await asyncio.to_thread(done, "stats", redis.url, "room:ä")
    assert topics == "     1  room:ä\n"
    assert json.loads(present) == {"ada": [{"device": "phone", "ref": member.ref}]}
    assert stats.splitlines() == [
        "processes    1",
        f"position     {position}",
        "present      1 keys, 1 connections",
    ]
    assert "nothing kept was published" in await asyncio.to_thread(done, "stats", redis.url, "empty")


def test_what_is_published_is_watched(redis: RedisServer) -> None:
    with serving("hub", "watch", redis.url, "watched") as watching:
        watching.wait_for("watching watched")
        assert done("publish", redis.url, "watched", "hello") == ""
        watching.wait_for("^hello$")
        position = done("publish", redis.url, "watched", "--json", "--keep", "10:60", stdin='{"a": 1}').strip()
        watching.wait_for(f'^{position}  {{"a":1}}$')
        assert position.startswith("1-")
        assert watching.end() == 130


def test_all_topics_of_a_pattern_are_watched(redis: RedisServer) -> None:
    with serving("hub", "watch", redis.url, "--pattern", "room:*") as watching:
        watching.wait_for(r"watching room:\*")
        done("publish", redis.url, "hall", "unheard")
        done("publish", redis.url, "room:7", "hello")
        watching.wait_for("^room:7  hello$")
        assert not any("unheard" in line for line in watching.lines)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["topics", "memory://"], 2, "cannot be looked into from another process"),
        (["topics", "nonsense"], 2, "but got 'nonsense'"),
        (["topics", "redis://127.0.0.1:1"], 1, "Redis could not be reached within 5 s"),
        (["publish", "redis://127.0.0.1:1", "t", "{", "--json"], 2, "expected JSON, but"),
        (["publish", "redis://127.0.0.1:1", "t", "x", "--keep", "5"], 2, "expected COUNT:SECONDS"),
        (["dance", "redis://127.0.0.1:1"], 2, "invalid choice: 'dance'"),
    ],
)
def test_what_does_not_work_is_told_in_words(arguments: list[str], code: int, words: str) -> None:
    result = trunkline("hub", *arguments)
    assert result.returncode == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr
