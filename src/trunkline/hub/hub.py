"""The hub: one object for all topics of a process.

A hub lives in one event loop, from its first use until it is closed or that loop has ended. It owns every task that it
starts, and one timer, which runs only while something waits for a member.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import secrets
from itertools import count
from typing import TYPE_CHECKING, Any

from trunkline._ending import end_with_lifespan
from trunkline.hub.brokers import Broker, MemoryBroker
from trunkline.hub.config import config_for, read_topics
from trunkline.hub.errors import HubError
from trunkline.hub.presence import Roster
from trunkline.hub.room import NO_STATS, Room, TopicStats, together
from trunkline.hub.topic import Pattern, Topic
from trunkline.workers import worker_count

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Self

    from trunkline.hub.config import TopicConfig
    from trunkline.hub.globs import Glob, Key
    from trunkline.hub.membership import Membership
    from trunkline.hub.outbox import Outbox
    from trunkline.hub.publication import Envelope, Position

__all__ = ["BROKER_VARIABLE", "Hub"]

logger = logging.getLogger("trunkline.hub")

BROKER_VARIABLE = "TRUNKLINE_BROKER"
LOOK_EVERY = 1.0
_REDIS = re.compile(r"(redis|valkey)s?(\+(sentinel|cluster))?://")


def _broker_of(broker: str | Broker | None) -> Broker:
    if isinstance(broker, Broker):
        return broker
    url = os.environ.get(BROKER_VARIABLE) or "memory://" if broker is None else broker
    if url == "memory://":
        return MemoryBroker()
    if _REDIS.match(url):
        return _redis_broker(url)
    raise ValueError(
        'expected "memory://", "redis://host:port/db", "redis+sentinel://host1,host2/name", '
        f'"redis+cluster://host1,host2" or a Broker, but got {url!r}'
    )


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"expected a str as the name of a topic, but got {name!r}")
    if not name:
        raise ValueError("expected the name of a topic, but got an empty one")


def _redis_broker(url: str) -> Broker:
    try:
        module = importlib.import_module("trunkline.hub.brokers.redis")
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise HubError("a hub over Redis needs the package redis: pip install 'trunkline[redis]'") from None
    broker: Broker = module.RedisBroker(url)
    return broker


class Hub:
    """Topics, who is in them, and what is published to them.

        hub = Hub(topics={"room:*": TopicConfig(history=Retention(count=100, seconds=3600))})

        @app.websocket("/rooms/{room}")
        async def room(websocket: WebSocket) -> None:
            await websocket.accept()
            topic = hub.topic(f"room:{websocket.path_params['room']}")
            async with topic.join(websocket):
                async for text in websocket.iter_text():
                    await topic.publish({"text": text})

    It starts at its first use, and is closed with the lifespan of the `App` that runs in its event loop: everybody
    leaves, no connection is closed. Where there is none, `async with hub` closes it at the end.

    Args:
        broker: What carries publications: `"memory://"` within this process, `"redis://host:port/db"` between all
            processes that use that Redis or Valkey, `"redis+sentinel://host1,host2/name"` for the master that Sentinels
            tell of, `"redis+cluster://host1,host2"` for a cluster (each also as `"rediss..."`, over TLS, or
            `"valkey..."`), or a `Broker`. Left out, what the environment's `TRUNKLINE_BROKER` says, else `"memory://"`.
        topics: What topics keep and how their members are bounded, by patterns of names in which `*` stands for any
            characters; the first that matches counts.

    Raises:
        ValueError: There is no such broker.
        HubError: The package `redis` is not installed.
        TypeError: `topics` are no patterns with `TopicConfig`.
    """

    def __init__(self, broker: str | Broker | None = None, *, topics: Mapping[str, TopicConfig] | None = None) -> None:
        self.id = secrets.token_hex(8)
        self.broker = _broker_of(broker)
        self.broker.receiver = self
        self.rooms: dict[Key, Room] = {}
        self.busy: set[Outbox] = set()
        self._rosters: dict[str, Roster] = {}
        self._past: dict[str, TopicStats] = {}
        self._topics = read_topics(topics)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._is_alone = isinstance(self.broker, MemoryBroker) and self.broker is not broker
        self._warn_of_workers()

    def _warn_of_workers(self) -> None:
        # When it is made, and again when it starts: a server's own configuration is known by then.
        workers = worker_count()
        if not self._is_alone or workers < 2:
            return
        self._is_alone = False  # and has said so
        logger.warning(
            "there are %d worker processes, but the topics of this hub reach only the members of its own process: the "
            "others miss what is published. Let all of them use one Redis: set %s=redis://localhost:6379 or write "
            'Hub("redis://localhost:6379")',
            workers,
            BROKER_VARIABLE,
        )

    def topic(self, name: str) -> Topic:
        """A topic by its name.

        Args:
            name: Any text but the empty one, for example `"room:42"`.

        Raises:
            ValueError: The name is empty.
            TypeError: It is not a str.
        """
        _check_name(name)
        room = self.rooms.get(name)
        return room.topic if room is not None else Topic(self, name, *config_for(name, self._topics))

    def pattern(self, name: str) -> Pattern:
        """All topics whose names match, to be subscribed to or joined as one.

        Args:
            name: Any text, in which `*` stands for any characters, for example `"room:*"`.

        Raises:
            HubError: The broker has no patterns: a cluster of Redis, where a topic is known to one server only.
            ValueError: The name is empty.
            TypeError: It is not a str.
        """
        _check_name(name)
        if not self.broker.takes_patterns:
            raise HubError(
                f"a cluster of Redis has no patterns as {name!r}: let what is to be heard together be published to one "
                "more topic, or subscribe to each"
            )
        return Pattern(self, name, *config_for(name, self._topics))

    def user(self, id: object) -> Topic:
        """The topic of a user's connections, which each of them joins: `hub.user(id).join(websocket)`.

        Args:
            id: What tells the user from others; its text counts.
        """
        return self.topic(f"user:{id}")

    @property
    def stats(self) -> TopicStats:
        """What all topics have done in this process so far; their members, waiting bytes and lag of now."""
        return together(self.stats_by_pattern.values())

    @property
    def stats_by_pattern(self) -> dict[str, TopicStats]:
        """The same for each pattern of the hub's `topics`, of the topics that it configures; those of none under ""."""
        found = dict.fromkeys(("", *(pattern for pattern, _ in self._topics)), NO_STATS) | self._past
        for room in self.rooms.values():
            found[room.topic.group] = together((found[room.topic.group], room.stats))
        return found

    async def __aenter__(self) -> Self:
        self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let everybody leave, and stop. The next use starts the hub again.

        Raises:
            HubError: The hub belongs to another event loop.
        """
        if self._loop is None:
            return
        self.ready()
        for room in tuple(self.rooms.values()):
            room.empty()
        await asyncio.gather(*(roster.close() for roster in self._rosters.values()))
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.broker.stop()
        self._forget_everything()

    def _forget_everything(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._looking = self._loop = None
        self.rooms = {}
        self._rosters = {}
        self.busy = set()
        self._tasks = set()

    # For its topics and rooms

    def ready(self) -> None:
        """Start in the event loop that runs, if it has not been started.

        Raises:
            HubError: It belongs to another one.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                raise HubError("this hub is used in another event loop, in which it must stay; make one for each loop")
            self._forget_everything()
        self._loop = loop
        self._warn_of_workers()
        self.broker.start()
        end_with_lifespan(self.aclose)

    def is_at_home(self) -> bool:
        """Whether the event loop that runs here is the hub's, or may become it."""
        return self._loop is asyncio.get_running_loop() or not self.is_running()

    def is_running(self) -> bool:
        """Whether the hub has an event loop that runs."""
        return self._loop is not None and self._loop.is_running()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop; only for a hub that was started."""
        assert self._loop is not None
        return self._loop

    async def enter(self, member: Membership) -> None:
        """Let a member into the room of its topic."""
        self.ready()
        topic = member.topic
        room = self.rooms.get(topic.listening_to)
        if room is None:
            room = self.rooms[topic.listening_to] = Room(self, topic)
        await room.enter(member)

    def forget(self, room: Room) -> None:
        """Nobody is in a room any more."""
        group = room.topic.group
        self._past[group] = together((self._past.get(group, NO_STATS), room.stats))
        key = room.topic.listening_to
        if self.rooms.get(key) is room:
            del self.rooms[key]
            self.broker.unsubscribe(key)

    def roster(self, topic: Topic) -> Roster:
        """Who of this process is present in a topic."""
        roster = self._rosters.get(topic.name)
        if roster is None:
            roster = self._rosters[topic.name] = Roster(self, topic)
        return roster

    def forget_roster(self, roster: Roster) -> None:
        """Nobody of this process is present there any more."""
        self._rosters.pop(roster.topic.name, None)

    def next_number(self) -> int:
        """A number for a member."""
        return next(self._numbers)

    def start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have a task of the hub's own do something; it tells of its errors itself."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    def watch(self, outbox: Outbox) -> None:
        """Look after the age of what waits in an outbox."""
        self.busy.add(outbox)
        if self._looking is None:
            self._looking = self.loop.call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        self._looking = None
        for outbox in tuple(self.busy):
            outbox.look()
        if self.busy:
            self._looking = self.loop.call_later(LOOK_EVERY, self._look)

    # What the broker tells

    def deliver(self, topic: str, envelope: Envelope, position: Position | None) -> None:
        """A publication has come."""
        room = self.rooms.get(topic)
        if room is not None:
            room.deliver(envelope, position)

    def deliver_matching(self, glob: Glob, topic: str, envelope: Envelope, position: Position | None) -> None:
        """A publication has come to a topic that matches a pattern."""
        room = self.rooms.get(glob)
        if room is not None:
            room.deliver(envelope, position, self.topic(topic))

    def interrupted(self, keys: list[Key]) -> None:
        """What was published to these in the meantime may be lost."""
        for key in keys:
            room = self.rooms.get(key)
            if room is not None:
                room.interrupted()

    def check(self, topics: list[str]) -> None:
        """A last publication may have been lost without a sign."""
        for topic in topics:
            room = self.rooms.get(topic)
            if room is not None and room.config.history is not None:
                room.recover()
