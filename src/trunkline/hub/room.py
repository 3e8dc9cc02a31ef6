"""A topic as one process sees it: who is in it here, and what is delivered to them.

Connections that take the same frames stand together, so that a publication costs one frame for each group and, for each
member, one write to its Line. All others, and those whose Line does not take it, are asked one by one.

With a history, `position` is that of the last publication delivered here, and each delivery must be the next one:
a lower one is a duplicate and is skipped; behind a gap the room reads the history once for all its members, and what
is delivered meanwhile is read there too. Who joins with a position is given the history until it has caught up with
the room; from that very step on it is live.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.hub.connections import LineMembership
from trunkline.hub.errors import BrokerError, HubError
from trunkline.hub.outbox import TOO_SLOW, TRY_AGAIN_LATER
from trunkline.hub.presence import check_presence
from trunkline.hub.publication import Envelope, Position, Publication, encode_value
from trunkline.states import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from trunkline.hub.brokers import History
    from trunkline.hub.config import TopicConfig
    from trunkline.hub.hub import Hub
    from trunkline.hub.membership import Membership
    from trunkline.hub.outbox import Outbox
    from trunkline.hub.topic import Topic
    from trunkline.line import Line, Volley

__all__ = ["NO_STATS", "Encoded", "Room", "TopicStats", "together"]

logger = logging.getLogger("trunkline.hub")

# RFC 6455 and IANA's registry: "Service Restart"; clients come back, and are told then what they missed.
SERVICE_RESTART = 1012
HISTORY_LOST = "history lost"
RETRY_AFTER = 1.0


class TopicStats(NamedTuple):
    """What a topic has done in this process.

    Attributes:
        members: Connections and subscriptions in it.
        publications: What was delivered to it.
        deliveries: What was handed to members or their outboxes.
        drops: What policies let go of.
        expelled: Members closed for their slowness.
        losses: How many times publications may have been missed.
        recoveries: How many times the history was read for what members here may have missed.
        recovered: Members that came with a position and were given what they had missed.
        reloads: Members that came with a position from which nothing could be told.
        waiting_bytes: Bytes in outboxes.
        lag: Seconds that the oldest message in an outbox has waited.
    """

    members: int
    publications: int
    deliveries: int
    drops: int
    expelled: int
    losses: int
    recoveries: int
    recovered: int
    reloads: int
    waiting_bytes: int
    lag: float


NO_STATS = TopicStats(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0)


def together(stats: Iterable[TopicStats]) -> TopicStats:
    """What several topics have done: sums, and the longest lag."""
    all_of = [NO_STATS, *stats]
    return TopicStats(*map(sum, zip(*all_of, strict=True)))._replace(lag=max(each.lag for each in all_of))


class Encoded:
    """A publication on its way to members: the message, and one frame for each kind of connection."""

    __slots__ = ("_frames", "data", "publication")

    def __init__(self, publication: Publication, data: str | bytes) -> None:
        self.publication = publication
        self.data = data
        self._frames: dict[Hashable, bytes] = {}

    def frame(self, line: Line) -> bytes:
        """The frame for a Line that shares its frames."""
        key = line.frame_key
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = line.make_frame(self.data)
        return frame


class Room:
    """The members of a topic in this process.

    Args:
        hub: The hub.
        topic: The topic.

    Attributes:
        users: How many are in it or about to be; without any it is forgotten.
        position: That of the last publication delivered, None without a history.
        full: Outboxes that publishers wait for.
    """

    def __init__(self, hub: Hub, topic: Topic) -> None:
        self.hub = hub
        self.topic = topic
        self.config: TopicConfig = topic.config
        self.users = 0
        self.position: Position | None = None
        self.full: set[Outbox] = set()
        self.publications = self.deliveries = self.drops = self.expelled = self.losses = 0
        self.recoveries = self.recovered = self.reloads = 0
        self._lines: dict[Hashable, dict[Line, LineMembership]] = {}
        # What the groups have been given in this tick, to add to: as long as nobody comes or goes.
        self._volleys: dict[Hashable, Volley] = {}
        self._others: dict[int, Membership] = {}
        # Members that have been given more than has been delivered here, with the last that they have.
        self._ahead: dict[Membership, Position] = {}
        self._opening: asyncio.Task[None] | None = None
        self._opened = False
        self._recovery: asyncio.Task[None] | None = None
        self._delivered_meanwhile: Position | None = None
        self._relief: asyncio.Future[None] | None = None

    # Coming and going

    @property
    def members(self) -> Iterable[Membership]:
        """Everybody who is in, in no particular order."""
        for group in self._lines.values():
            yield from group.values()
        yield from self._others.values()
        yield from self._ahead

    async def enter(self, member: Membership) -> None:
        """Let a member in, with what it missed; if that fails, it was never here."""
        self.users += 1
        try:
            if not self._opened:
                await self._open()
            if self.config.history is None:
                self._add(member)
            else:
                await self._catch_up(member)
        except BaseException:
            self._release()
            raise

    async def _open(self) -> None:
        """Subscribe, once for all who wait for it; one who gives up does not end it for the others."""
        if self._opening is None:
            self._opening = self.hub.start_task(self._subscribe())
        await asyncio.shield(self._opening)

    async def _subscribe(self) -> None:
        try:
            await self.hub.broker.subscribe(self.topic.listening_to)
            if self.config.history is not None:
                top = (await self.hub.broker.history(self.topic.name, None)).top
                if self.position is None or not _is_at(self.position, top):
                    self.position = top
            self._opened = True
        finally:
            self._opening = None

    def _add(self, member: Membership) -> None:
        self._check_new(member)
        self._entered(member)
        self._insert(member)

    def _entered(self, member: Membership) -> None:
        member.entered(self, self.hub.next_number())
        if self.config.presence is not None and member.key is not None:
            self.hub.roster(self.topic).come(member)

    def _check_new(self, member: Membership) -> None:
        member.check_open()
        sink = member.sink
        if (
            id(sink) in self._others
            or any(other.sink is sink for other in self._ahead)
            or (isinstance(member, LineMembership) and any(sink in group for group in self._lines.values()))
        ):
            raise HubError(f"this connection is a member of {self.topic.name!r} already; join a topic once")

    def _insert(self, member: Membership) -> None:
        if isinstance(member, LineMembership) and member.line.frame_key is not None:
            self._volleys.clear()
            self._lines.setdefault(member.line.frame_key, {})[member.line] = member
        else:
            self._others[id(member.sink)] = member

    def remove(self, member: Membership) -> None:
        """A member has left."""
        if self._ahead.pop(member, None) is None and self._others.pop(id(member.sink), None) is None:
            assert isinstance(member, LineMembership)
            key = member.line.frame_key
            self._volleys.clear()
            del self._lines[key][member.line]
            if not self._lines[key]:
                del self._lines[key]
        if self.config.presence is not None and member.key is not None:
            self.hub.roster(self.topic).go(member)
        self._release()

    def _release(self) -> None:
        self.users -= 1
        if not self.users:
            self.hub.forget(self)

    def empty(self) -> None:
        """Everybody leaves: the hub closes."""
        for member in tuple(self.members):
            member.leave_now()

    # Catching up

    async def _catch_up(self, member: Membership) -> None:
        since = _read_position(member.since)
        history = await self._read(since)
        if since is None or not history.complete:
            self.reloads += member.since is not None
            member.position = self._latest(history.top)
            self._add_behind(member, member.position)
            return
        self._check_new(member)
        last = since
        while True:
            for entry in history.entries:
                await member.replay(self.encode(entry.envelope, entry.position))
                last = entry.position
            if self.position is not None and _is_at(last, self.position):
                break
            history = await self._read(last)
            if not history.complete:
                # It took longer for the replay than the history keeps: part of it would be worse than nothing.
                self.expelled += 1
                member.expel(TRY_AGAIN_LATER, TOO_SLOW)
                raise WebSocketDisconnect(TRY_AGAIN_LATER, TOO_SLOW)
        self.recovered += 1
        member.recovered = True
        member.position = last
        self._add_behind(member, last)

    async def _read(self, since: Position | None) -> History:
        history = await self.hub.broker.history(self.topic.name, since)
        if self.position is None or self.position.epoch != history.top.epoch:
            self._begin_epoch(history.top)
        return history

    def _begin_epoch(self, position: Position) -> None:
        """The topic has come to another epoch: of what was published since the last position nothing is known."""
        if self.position is not None:
            self._lose(keep=position.epoch)
        self.position = position

    def _latest(self, top: Position) -> Position:
        """The later of the room's position and one that has just been read."""
        here = self.position
        return here if here is not None and here.epoch == top.epoch and here.offset > top.offset else top

    def _add_behind(self, member: Membership, position: Position) -> None:
        """Make it live from the publication behind a position on."""
        if self.position == position:
            self._add(member)
        else:
            self._check_new(member)
            self._entered(member)
            self._ahead[member] = position

    # Delivering

    def encode(self, envelope: Envelope, position: Position | None, source: Topic | None = None) -> Encoded:
        """What members get for a publication: of this topic, or of one that the room's pattern matches."""
        source = source or self.topic
        publication = Publication(source.name, envelope, position)
        if source.config.encode is None:
            return Encoded(publication, publication.data)
        return Encoded(publication, encode_value(source.config.encode(publication))[1])

    def deliver(self, envelope: Envelope, position: Position | None, source: Topic | None = None) -> None:
        """A publication has come from the broker."""
        if position is not None and self.config.history is not None and not self._is_next(position):
            return
        self._fan_out(envelope, position, source)

    def _is_next(self, position: Position) -> bool:
        """Whether this is to be handed on now."""
        here = self.position
        if self._recovery is not None:
            self._delivered_meanwhile = position
            return False
        if here is None:
            # Nobody is in yet.
            self.position = position
            return True
        if here.epoch != position.epoch:
            self._begin_epoch(position)
            return True
        if position.offset <= here.offset:
            return False
        if position.offset > here.offset + 1:
            self._delivered_meanwhile = position
            self.recover()
            return False
        self.position = position
        return True

    def _fan_out(self, envelope: Envelope, position: Position | None, source: Topic | None = None) -> None:
        try:
            encoded = self.encode(envelope, position, source)
        except Exception:
            logger.exception("encode of %r failed; its members do not get the publication", self.topic.name)
            self.losses += 1
            return
        self.publications += 1
        excluded = envelope.excluded if envelope.sender == self.hub.id else 0
        if excluded or self._ahead:
            self._deliver_one_by_one(encoded, excluded)
        else:
            self._deliver_to_all(encoded)

    def _deliver_to_all(self, encoded: Encoded) -> None:
        busy: list[Membership] = []
        for key, group in self._lines.items():
            line = next(iter(group))
            frame = encoded.frame(line)
            volley = self._volleys.get(key)
            if volley is None or not volley.add(frame):
                volley = line.write_frame_to(group, frame)
                self._keep(key, volley)
            self.deliveries += len(group)
            busy += [group[busy_one] for busy_one in volley.refused]
        busy += self._others.values()
        self.deliveries += len(self._others)
        for member in busy:
            # A policy may have ended one of them since.
            if member.joined:
                member.send(encoded)

    def _keep(self, key: Hashable, volley: Volley) -> None:
        """Keep what was written to a group, until the end of the tick."""
        if not self._volleys:
            self.hub.loop.call_soon(self._volleys.clear)
        self._volleys[key] = volley

    def _deliver_one_by_one(self, encoded: Encoded, excluded: int) -> None:
        position = encoded.publication.position
        for member in tuple(self.members):
            if not member.joined:
                continue
            if member.number == excluded or (member in self._ahead and not self._catches_up(member, position)):
                member.skip()
            else:
                self.deliveries += 1
                member.send(encoded)

    def _catches_up(self, member: Membership, position: Position | None) -> bool:
        """Whether a member that was given more than was delivered here is to get this."""
        last = self._ahead[member]
        if position is not None and position.epoch == last.epoch and position.offset < last.offset:
            return False
        del self._ahead[member]
        self._insert(member)
        return position is None or position != last

    def send_to(self, member: Membership, value: Any) -> None:
        """Send a value to one member."""
        kind, data = encode_value(value)
        member.skip()
        member.send(Encoded(Publication(self.topic.name, Envelope(kind, data), None), data))

    def update(self, member: Membership, meta: dict[str, Any] | None) -> None:
        """A member says something else of itself."""
        if self.config.presence is not None and member.key is not None:
            check_presence(member.key, meta)
            self.hub.roster(self.topic).change(member, meta)
        member.meta = meta

    # Losing and recovering

    def recover(self) -> None:
        """Read what may have been missed, once for all members."""
        if self._recovery is None and self.position is not None:
            self.recoveries += 1
            self._recovery = self.hub.start_task(self._recover())

    def interrupted(self) -> None:
        """Deliveries may have been missed: recover them, or count the loss where there is nothing to recover from."""
        if self.config.history is not None:
            self.recover()
        else:
            self.losses += 1
            logger.warning("publications to %r may have been lost while the broker was away", self.topic.name)
            if self.config.on_loss is not None:
                self._tell_of_loss(self.config.on_loss)

    def _tell_of_loss(self, on_loss: Callable[[Topic], Any]) -> None:
        try:
            on_loss(self.topic)
        except Exception:
            logger.exception("on_loss of %r failed", self.topic.name)

    async def _recover(self) -> None:
        try:
            while True:
                assert self.position is not None
                try:
                    history = await self._read(self.position)
                except BrokerError:
                    # Nothing is lost yet: what comes when the broker is back is told by the history.
                    await asyncio.sleep(RETRY_AFTER)
                    continue
                if not history.complete and self.position != history.top:
                    self._lose()
                    self.position = history.top
                for entry in history.entries:
                    self.position = entry.position
                    self._fan_out(entry.envelope, entry.position)
                seen = self._delivered_meanwhile
                if seen is None or seen.epoch != self.position.epoch or seen.offset <= self.position.offset:
                    return
        except Exception:
            logger.exception("what may have been missed of %r could not be read", self.topic.name)
            self._lose()
        finally:
            self._recovery = self._delivered_meanwhile = None

    def _lose(self, keep: str = "") -> None:
        """Publications were missed that nobody can give: members come back, and are told that they must reload.

        Members who have caught up with the epoch `keep` have missed nothing.
        """
        self.losses += 1
        missed = [member for member in self.members if member not in self._ahead or self._ahead[member].epoch != keep]
        for member in missed:
            member.expel(SERVICE_RESTART, HISTORY_LOST)

    # Publishers that wait for members

    async def relieved(self) -> None:
        """Wait while there is an outbox that publishers wait for."""
        while self.full:
            if self._relief is None:
                self._relief = self.hub.loop.create_future()
            await asyncio.shield(self._relief)

    def relieve(self, outbox: Outbox) -> None:
        """One of them has room again, or is gone."""
        self.full.discard(outbox)
        if not self.full and self._relief is not None:
            self._relief.set_result(None)
            self._relief = None

    @property
    def stats(self) -> TopicStats:
        """What the topic has done so far."""
        members = list(self.members)
        outboxes = [member.outbox for member in members if member.outbox is not None]
        return TopicStats(
            members=len(members),
            publications=self.publications,
            deliveries=self.deliveries,
            drops=self.drops,
            expelled=self.expelled,
            losses=self.losses,
            recoveries=self.recoveries,
            recovered=self.recovered,
            reloads=self.reloads,
            waiting_bytes=sum(outbox.bytes for outbox in outboxes),
            lag=max((outbox.lag for outbox in outboxes), default=0.0),
        )


def _is_at(last: Position, here: Position) -> bool:
    """Whether who has got `last` has all that was delivered up to `here`."""
    return last.epoch == here.epoch and last.offset >= here.offset


def _read_position(since: Position | str | None) -> Position | None:
    """What a member gave as its position; what cannot be read is as good as none."""
    if not isinstance(since, str):
        return since
    try:
        return Position.parse(since)
    except ValueError:
        return None
