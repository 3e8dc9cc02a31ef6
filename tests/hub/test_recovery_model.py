"""Recovery against a model: whatever happens, a stream has no gap, no duplicate and the order of the list.

The model is one list of all publications of an epoch. A member that is in must have got the part of it that begins
behind its position; a member that comes with a position is recovered exactly when the model still has everything
behind it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tests.asgi_peer import AsgiPeer
from tests.engine.memory import ClockLoop
from tests.hub.peers import settle
from tests.hub.test_recovery import LosingHub
from tests.line_peer import LinePeer
from trunkline.hub import Position, Retention, TopicConfig
from trunkline.hub.brokers import MemoryBroker, MemoryServer

if TYPE_CHECKING:
    from trunkline.hub import Membership

KEPT = 4
KEPT_SECONDS = 100.0


class Recovery(RuleBasedStateMachine):
    positions: Any = Bundle("positions")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=ClockLoop)
        self.now = 0.0
        self.server = MemoryServer(lambda: self.now)
        config = TopicConfig(history=Retention(KEPT, KEPT_SECONDS))
        self.hub = LosingHub(MemoryBroker(self.server), topics={"*": config})
        self.topic = self.hub.topic("t")
        self.epoch: str | None = None
        self.published: list[tuple[float, str]] = []
        self.number = 0
        self.members: list[tuple[Membership, LinePeer | AsgiPeer, int]] = []

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
        position = self.runner.run(self.topic.publish(text))
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

        member, peer = self.runner.run(enter())
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

    @rule(seconds=st.sampled_from([1.0, KEPT_SECONDS / 2, KEPT_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(1, KEPT - 1))
    def deliveries_are_lost(self, count: int) -> None:
        """Fewer than are kept: the next one that comes reveals the gap."""
        self.hub.losing = True
        for _ in range(count):
            self.publish()
        self.hub.losing = False
        self.publish()

    @rule()
    def the_server_restarts_empty(self) -> None:
        self.server.restart()

    @invariant()
    def streams_are_those_of_the_model(self) -> None:
        self.runner.run(settle())
        for member, peer, start in self.members:
            assert member.joined
            assert peer.texts() == [text for _, text in self.published[start:]]


Recovery.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestRecovery = Recovery.TestCase
