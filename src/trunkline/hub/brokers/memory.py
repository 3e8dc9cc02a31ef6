"""The embedded broker: full semantics within one process.

A publication reaches all subscribers before `publish` returns. Histories live as long as the process; what is too old
is let go when something is published to its topic or asked of it, and topics that nothing was published to for a day
are forgotten, which gives them a new epoch.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from trunkline.hub.brokers.base import Broker, Entry, History
from trunkline.hub.config import Retention
from trunkline.hub.globs import Glob
from trunkline.hub.publication import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from trunkline.hub.globs import Key
    from trunkline.hub.publication import Envelope

__all__ = ["MemoryBroker", "MemoryServer"]

FORGET_AFTER = 24 * 3600.0
REMEMBER_KEYS = 300.0
_NOTHING_KEPT = Retention(count=1, seconds=1)


class _Stream:
    """The history of a topic."""

    __slots__ = ("entries", "epoch", "last", "retention", "top")

    def __init__(self, retention: Retention) -> None:
        self.epoch = secrets.token_hex(8)
        self.top = 0
        self.retention = retention
        self.last = 0.0
        self.entries: deque[tuple[float, Entry]] = deque()

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.top)

    def append(self, envelope: Envelope, retention: Retention, now: float) -> Position:
        self.retention = retention
        self.last = now
        self.top += 1
        self.entries.append((now, Entry(self.position, envelope)))
        self.trim(now)
        return self.position

    def trim(self, now: float) -> None:
        while self.entries and (
            len(self.entries) > self.retention.count or now - self.entries[0][0] > self.retention.seconds
        ):
            self.entries.popleft()

    def since(self, since: Position | None) -> History:
        if since is None or since.epoch != self.epoch or since.offset > self.top:
            return History(self.position, [], complete=False)
        missed = self.top - since.offset
        if missed > len(self.entries):
            return History(self.position, [], complete=False)
        entries = [self.entries[index][1] for index in range(len(self.entries) - missed, len(self.entries))]
        return History(self.position, entries, complete=True)

    def newest(self, count: int) -> History:
        return self.since(Position(self.epoch, self.top - min(count, len(self.entries))))


class MemoryServer:
    """What the memory brokers of one process have in common: by default each hub has a server of its own.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._subscribers: dict[Key, dict[MemoryBroker, None]] = {}
        self._globs: set[Glob] = set()
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        # By topic and ref, until when, and the entry.
        self._leases: dict[str, dict[str, tuple[float, str]]] = {}
        self._keys: OrderedDict[tuple[str, str], tuple[float, Position | None]] = OrderedDict()

    def restart(self) -> None:
        """Forget everything, as a server does that is started again without its data."""
        self._leases.clear()
        self._streams.clear()
        self._keys.clear()

    def publish(
        self, topic: str, envelope: Envelope, retention: Retention | None, idempotency_key: str | None
    ) -> Position | None:
        """Keep, and deliver to all who have subscribed."""
        now = self._clock()
        if idempotency_key is not None:
            self._forget_keys(now)
            if (topic, idempotency_key) in self._keys:
                return self._keys[topic, idempotency_key][1]
        position = None if retention is None else self._stream(topic, retention, now).append(envelope, retention, now)
        if idempotency_key is not None:
            self._keys[topic, idempotency_key] = now, position
        for broker in tuple(self._subscribers.get(topic, ())):
            broker.receiver.deliver(topic, envelope, position)
        for glob in tuple(self._globs):
            if glob.matches(topic):
                for broker in tuple(self._subscribers.get(glob, ())):
                    broker.receiver.deliver_matching(glob, topic, envelope, position)
        return position

    def history(self, topic: str, since: Position | None) -> History:
        """What followed a position."""
        return self._trimmed(topic).since(since)

    def last(self, topic: str, count: int) -> History:
        """The newest of what is kept."""
        return self._trimmed(topic).newest(count)

    def _trimmed(self, topic: str) -> _Stream:
        now = self._clock()
        stream = self._streams.get(topic)
        if stream is None:
            # Nothing was published yet: the epoch begins when somebody asks for it, so that 0 is a place to go on from.
            stream = self._stream(topic, _NOTHING_KEPT, now)
        stream.trim(now)
        return stream

    def topics(self) -> dict[str, int]:
        """The topics that brokers have subscribed to, and how many have."""
        return {key: len(brokers) for key, brokers in self._subscribers.items() if isinstance(key, str)}

    def subscribe(self, key: Key, broker: MemoryBroker) -> None:
        """Deliver to a broker."""
        self._subscribers.setdefault(key, {})[broker] = None
        if isinstance(key, Glob):
            self._globs.add(key)

    def unsubscribe(self, key: Key, broker: MemoryBroker) -> None:
        """Deliver to it no more."""
        brokers = self._subscribers.get(key, {})
        brokers.pop(broker, None)
        if not brokers:
            self._subscribers.pop(key, None)
            self._globs -= {key}

    def hold(self, topic: str, entries: Mapping[str, str], seconds: float) -> None:
        """Let entries be present for so many seconds."""
        until = self._clock() + seconds
        self._leases.setdefault(topic, {}).update({ref: (until, entry) for ref, entry in entries.items()})

    def release(self, topic: str, refs: Collection[str]) -> dict[str, str]:
        """Let entries be gone now."""
        leases = self._leases.get(topic, {})
        gone = {ref: leases.pop(ref)[1] for ref in refs if ref in leases}
        if not leases:
            self._leases.pop(topic, None)
        return gone

    def reap(self, topic: str) -> dict[str, str]:
        """Let those be gone whose time has run out."""
        now = self._clock()
        return self.release(topic, [ref for ref, (until, _) in self._leases.get(topic, {}).items() if until <= now])

    def present(self, topic: str) -> dict[str, str]:
        """Those whose time has not run out."""
        now = self._clock()
        return {ref: entry for ref, (until, entry) in self._leases.get(topic, {}).items() if until > now}

    def _stream(self, topic: str, retention: Retention, now: float) -> _Stream:
        stream = self._streams.get(topic)
        if stream is None:
            stream = self._streams[topic] = _Stream(retention)
            stream.last = now
        self._streams.move_to_end(topic)
        # At most two for each that comes, so that no publish pays for all of them.
        for _ in range(2):
            name, oldest = next(iter(self._streams.items()))
            if now - oldest.last <= max(FORGET_AFTER, oldest.retention.seconds):
                break
            del self._streams[name]
        return stream

    def _forget_keys(self, now: float) -> None:
        while self._keys and now - next(iter(self._keys.values()))[0] > REMEMBER_KEYS:
            self._keys.popitem(last=False)


class MemoryBroker(Broker):
    """A broker within one process.

    Args:
        server: What it has in common with other brokers; left out, it is alone.
    """

    def __init__(self, server: MemoryServer | None = None) -> None:
        self._server = MemoryServer() if server is None else server
        self._keys: set[Key] = set()

    def start(self) -> None:
        """Nothing has to be started."""

    async def stop(self) -> None:
        """Subscribe to nothing any more; histories stay."""
        for key in tuple(self._keys):
            self.unsubscribe(key)

    async def publish(
        self, topic: str, envelope: Envelope, retention: Retention | None, idempotency_key: str | None, timeout: float
    ) -> Position | None:
        """Publish at once; the time limit is never needed."""
        return self._server.publish(topic, envelope, retention, idempotency_key)

    async def subscribe(self, key: Key) -> None:
        """Deliver from now on."""
        self._keys.add(key)
        self._server.subscribe(key, self)

    def unsubscribe(self, key: Key) -> None:
        """Deliver no more."""
        self._keys.discard(key)
        self._server.unsubscribe(key, self)

    async def history(self, topic: str, since: Position | None) -> History:
        """What followed a position."""
        return self._server.history(topic, since)

    async def last(self, topic: str, count: int) -> History:
        """The newest of what is kept."""
        return self._server.last(topic, count)

    async def hold(self, topic: str, entries: Mapping[str, str], seconds: float) -> None:
        """Let entries be present."""
        self._server.hold(topic, entries, seconds)

    async def release(self, topic: str, refs: Collection[str]) -> None:
        """Let entries be gone now."""
        self._server.release(topic, refs)

    async def reap(self, topic: str) -> dict[str, str]:
        """Let those be gone whose time has run out."""
        return self._server.reap(topic)

    async def present(self, topic: str) -> dict[str, str]:
        """Who is present."""
        return self._server.present(topic)

    async def topics(self) -> dict[str, int]:
        """What somebody listens to."""
        return self._server.topics()
