"""Who is in a topic: what all kinds of members have in common.

A membership is its own context manager and holds only what every one needs; its outbox is made when something has to
wait. What is particular to a kind of member is in `connections` (with the Line and without it) and `subscriber`.

Leaving is one synchronous step, which the end of the context, the end of the connection and a failed send all take;
the first counts. What waits in the outbox of one who leaves still goes out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.hub.errors import HubError
from trunkline.hub.outbox import Outbox

if TYPE_CHECKING:
    from typing import Self

    from trunkline.hub.policies import Policy
    from trunkline.hub.publication import Position
    from trunkline.hub.room import Encoded, Room
    from trunkline.hub.topic import Topic

__all__ = ["MemberStats", "Membership"]


class MemberStats(NamedTuple):
    """What has become of the publications for a member.

    Attributes:
        delivered: Handed to the server.
        dropped: Let go by the policy.
        waiting: In the outbox.
        waiting_bytes: Their bytes.
        lag: Seconds that the oldest of them has waited.
    """

    delivered: int
    dropped: int
    waiting: int
    waiting_bytes: int
    lag: float


class Membership(ABC):
    """One connection in one topic: what `topic.join` gives.

    Attributes:
        topic: The topic.
        websocket: The connection as it was given to `join`.
        key: Who it is, as the application said.
        meta: What else it said of it.
        recovered: Whether the member has got everything that was published since the position it gave. False if it gave
            none, or if that cannot be told: then the client is to load the present state.
        since: The position that it gave.
        position: The topic's position when the member came in, behind what was replayed; None without a history.
    """

    __slots__ = (
        "_dropped",
        "_first",
        "_number",
        "_outbox",
        "_policy",
        "_room",
        "key",
        "meta",
        "position",
        "recovered",
        "since",
        "topic",
        "websocket",
    )

    def __init__(self, topic: Topic, websocket: Any, since: Position | str | None, policy: Policy | None) -> None:
        self.topic = topic
        self.websocket = websocket
        self.key: Any = None
        self.meta: Any = None
        self.recovered = False
        self.since = since
        self.position: Position | None = None
        self._policy = policy
        self._room: Room | None = None
        self._outbox: Outbox | None = None
        self._number = 0
        self._dropped = 0
        self._first = 0

    async def __aenter__(self) -> Self:
        if self._number:
            raise HubError("this membership has been entered before; join the topic again")
        self.check_open()
        await self.topic.hub.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave_now()

    async def leave(self) -> None:
        """Leave the topic before the context ends; what was published before still goes out."""
        self.leave_now()

    async def publish(self, value: Any) -> None:
        """Send a value to this member alone, behind what was published to the topic before.

        Args:
            value: A `str` for a text message, `bytes` for a binary one, anything else as JSON.

        Raises:
            HubError: It is no member any more.
            TypeError: The value cannot be written as JSON.
        """
        if self._room is None:
            raise HubError(f"this connection is no member of {self.topic.name!r} any more")
        self._room.send_to(self, value)

    async def update(self, meta: dict[str, Any] | None) -> None:
        """Say something else of this connection; with presence everybody is told.

        Args:
            meta: What takes the place of the `meta` given to `join`.

        Raises:
            HubError: It is no member any more.
            TypeError: With presence: it is no object that can be written as JSON.
        """
        if self._room is None:
            raise HubError(f"this connection is no member of {self.topic.name!r} any more")
        self._room.update(self, meta)

    @property
    def ref(self) -> str:
        """What names this membership among all of all processes, as in `topic.presence()`."""
        return f"{self.topic.hub.id}-{self._number}"

    @property
    def joined(self) -> bool:
        """Whether it is a member: from the beginning of the context until it leaves or its connection ends."""
        return self._room is not None

    @property
    def stats(self) -> MemberStats:
        """What has become of the publications so far."""
        outbox = self._outbox
        waiting, size, lag = (0, 0, 0.0) if outbox is None else (outbox.count, outbox.bytes, outbox.lag)
        come = 0 if self._room is None else self._room.publications - self._first
        return MemberStats(max(come - self._dropped - waiting, 0), self._dropped, waiting, size, lag)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.topic.name!r}, key={self.key!r}, joined={self.joined}>"

    # For the room

    @property
    def outbox(self) -> Outbox | None:
        """What waits for it; None if nothing does."""
        return self._outbox

    @property
    def number(self) -> int:
        """Its number in its hub."""
        return self._number

    @property
    def room(self) -> Room:
        """Its room; only while it is a member."""
        assert self._room is not None
        return self._room

    def entered(self, room: Room, number: int) -> None:
        """It is a member from now on."""
        self._room = room
        self._number = number
        self._first = room.publications
        self.topic = room.topic

    def leave_now(self) -> None:
        """Leave, wherever this comes from."""
        room, self._room = self._room, None
        if room is not None:
            room.remove(self)

    def skip(self) -> None:
        """A publication was not for this member."""
        self._first += 1

    def hold(self, content: Any, encoded: Encoded) -> None:
        """Leave what was published in the outbox, to be written when the member can take it."""
        room = self.room
        if self._outbox is None:
            policy = self._policy or room.config.policy
            self._outbox = Outbox(self, policy, room)
        outbox = self._outbox
        outbox.put(content, len(encoded.data), encoded.publication)
        if outbox.count:
            self.ask(outbox)

    def count_drops(self, count: int) -> None:
        """So many messages were let go."""
        self._dropped += count

    def emptied(self) -> None:
        """Nothing waits any more."""
        self._outbox = None

    @abstractmethod
    def check_open(self) -> None:
        """Refuse a connection that cannot become a member."""

    @abstractmethod
    def send(self, encoded: Encoded) -> None:
        """Hand over what was published, or leave it in the outbox; never waits."""

    @abstractmethod
    async def replay(self, encoded: Encoded) -> None:
        """Hand over what was missed, as fast as the peer takes it."""

    @abstractmethod
    def ask(self, outbox: Outbox) -> None:
        """See to it that what waits is written when the member can take more."""

    def write(self, content: Any) -> None:
        """Write what waited."""
        raise NotImplementedError

    @abstractmethod
    def expel(self, code: int, reason: str) -> None:
        """Close the connection without waiting for the peer."""

    @property
    @abstractmethod
    def sink(self) -> Any:
        """What stands for the connection: no two members of a room have the same."""
