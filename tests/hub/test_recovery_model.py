"""Recovery against a model: whatever happens, a stream has no gap, no duplicate and the order of the list.

The model is one list of all publications of an epoch. A member that is in must have got the part of it that begins
behind its position; a member that comes with a position is recovered exactly when the model still has everything
behind it. In memory time is part of it; on Redis the server is killed and started again, with its data and without.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tests.asgi_peer import AsgiPeer
from tests.engine.memory import ClockLoop
from tests.hub.peers import eventually, settle
from tests.hub.redis_server import RedisServer
from tests.hub.test_recovery import LosingHub
from tests.line_peer import LinePeer
from trunkline.hub import BrokerError, Position, Retention, TopicConfig
from trunkline.hub.brokers import Broker, MemoryBroker, MemoryServer
from trunkline.hub.brokers.redis import RedisBroker, connecting, listener

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from trunkline.hub import Membership

T = TypeVar("T")
KEPT = 4
KEPT_SECONDS = 100.0


def _have_come(peer: LinePeer | AsgiPeer, count: int) -> bool:
    return len(peer.texts()) >= count


class Recovery(RuleBasedStateMachine):
    """What is the same on every broker."""

    positions: Any = Bundle("positions")
    topics = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.runner = asyncio.Runner(loop_factory=self.new_loop)
        config = TopicConfig(history=Retention(KEPT, KEPT_SECONDS))
        self.hub = LosingHub(self.new_broker(), topics={"*": config})
        self.topic = self.hub.topic(f"t{next(self.topics)}")
        self.epoch: str | None = None
        self.published: list[tuple[float, str]] = []
        self.number = 0
        self.members: list[tuple[Membership, LinePeer | AsgiPeer, int]] = []

    @abstractmethod
    def new_loop(self) -> asyncio.AbstractEventLoop:
        """The loop in which the hub lives."""

    @abstractmethod
    def new_broker(self) -> Broker:
        """The broker."""

    @abstractmethod
    async def at_last(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do what may fail while the server is about to be there again."""

    @abstractmethod
    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for what is on its way."""

    def teardown(self) -> None:
        self.runner.run(self.hub.aclose())
        self.runner.close()

    @initialize(target=positions)
    def nowhere(self) -> None:
        return None

    def look_at(self, position: Position | None) -> None:
        """A position of another epoch: the model begins anew, and who was in cannot know what it missed."""
        assert position is not None
        if position.epoch != self.epoch:
            self.epoch = position.epoch
            self.published = []
            self.members = []

    def kept(self) -> int:
        young = [at for at, _ in self.published if self.now - at <= KEPT_SECONDS]
        return min(KEPT, len(young))

    @rule(target=positions)
    def publish(self) -> Position | None:
        self.number += 1
        text = str(self.number)
        position = self.runner.run(self.at_last(lambda: self.topic.publish(text, idempotency_key=text)))
        self.look_at(position)
        self.published.append((self.now, text))
        assert position == (self.epoch, len(self.published))
        return position

    @rule(target=positions, since=positions, kind=st.sampled_from([LinePeer, AsgiPeer]), as_text=st.booleans())
    def join(self, since: Position | None, kind: type[LinePeer | AsgiPeer], as_text: bool) -> Position | None:
        async def enter() -> tuple[Membership, LinePeer | AsgiPeer]:
            peer = kind()
            given = str(since) if as_text and since is not None else since
            return await self.topic.join(await peer.accepted(), since=given).__aenter__(), peer

        member, peer = self.runner.run(self.at_last(enter))
        self.look_at(member.position)
        top = len(self.published)
        assert member.position == (self.epoch, top)
        known = since is not None and since.epoch == self.epoch and top - since.offset <= self.kept()
        assert member.recovered is known
        start = since.offset if known and since is not None else top
        self.members.append((member, peer, start))
        return member.position

    @rule(index=st.integers(0, 20))
    def leave(self, index: int) -> None:
        if self.members:
            member, *_ = self.members.pop(index % len(self.members))
            self.runner.run(member.leave())

    @rule(count=st.integers(1, KEPT - 1))
    def deliveries_are_lost(self, count: int) -> None:
        """Fewer than are kept: the next one that comes reveals the gap."""
        lost = self.hub.lost + count
        self.hub.losing = True
        for _ in range(count):
            self.publish()
        if self.members:
            self.runner.run(self.until(lambda: self.hub.lost == lost))
        self.hub.losing = False
        self.publish()

    @invariant()
    def streams_are_those_of_the_model(self) -> None:
        for member, peer, start in self.members:
            expected = [text for _, text in self.published[start:]]
            self.runner.run(self.until(partial(_have_come, peer, len(expected))))
            assert member.joined
            assert peer.texts() == expected


class InMemory(Recovery):
    """In memory everything has happened when nothing is left to do, and the clock is the test's."""

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return ClockLoop()

    def new_broker(self) -> Broker:
        self.server = MemoryServer(lambda: self.now)
        return MemoryBroker(self.server)

    async def at_last(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await attempt()

    async def until(self, happened: Callable[[], bool]) -> None:
        await settle()

    @rule(seconds=st.sampled_from([1.0, KEPT_SECONDS / 2, KEPT_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_server_restarts_empty(self) -> None:
        self.server.restart()


InMemory.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestRecoveryInMemory = InMemory.TestCase


class OnRedis(Recovery):
    """On Redis, which one server serves for all examples, each with a topic of its own."""

    server: RedisServer

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop()

    def new_broker(self) -> Broker:
        return RedisBroker(self.server.url)

    async def at_last(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        done: list[T] = []

        async def attempted() -> bool:
            try:
                done.append(await attempt())
            except BrokerError:
                return False
            return True

        await eventually(attempted)
        return done[0]

    async def until(self, happened: Callable[[], bool]) -> None:
        async def has_happened() -> bool:
            return happened()

        await eventually(has_happened)

    @rule(empty=st.booleans())
    def the_server_is_killed(self, empty: bool) -> None:
        """Either way another epoch begins, and who was in is sent back to be told."""
        self.server.kill()
        if empty:
            self.server.wipe()
        self.server.start()
        members, self.members = [member for member, *_ in self.members], []
        self.runner.run(self.until(lambda: not any(member.joined for member in members)))


OnRedis.TestCase.settings = settings(max_examples=8, stateful_step_count=15)


@pytest.fixture(scope="class")
def server_of_the_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One that keeps what it has told of, with clients that do not wait long."""
    OnRedis.server = RedisServer(tmp_path_factory.mktemp("redis"), appendonly="yes", appendfsync="no")
    with pytest.MonkeyPatch.context() as hurried:
        hurried.setattr(listener, "SUBSCRIBE_TIMEOUT", 1.0)
        hurried.setattr(connecting, "LONGEST_PAUSE", 0.1)
        yield
    OnRedis.server.stop()


@pytest.mark.usefixtures("server_of_the_model")
class TestRecoveryOnRedis(OnRedis.TestCase):  # type: ignore[misc, valid-type]  # made when it runs
    """The model on a server that is killed."""
