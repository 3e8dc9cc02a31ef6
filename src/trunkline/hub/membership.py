"""Who is in a topic: connections with the Line, connections without it, and iterations over publications.

A membership is its own context manager and holds only what every one needs; its outbox is made when something has to
wait. With the Line the room writes past the membership, which is asked only for those whose Line is not writable.
Without it a task per busy member sends, so that no server's `send` keeps anybody waiting.

Leaving is one synchronous step, which the end of the context, the end of the connection and a failed send all take;
the first counts. What waits in the outbox of one who leaves still goes out.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.hub.errors import HubError, SubscriptionLost
from trunkline.hub.outbox import Outbox
from trunkline.line import line_of
from trunkline.states import WebSocketDisconnect, WebSocketDisconnected

if TYPE_CHECKING:
    from typing import Self

    from anyio import Event

    from trunkline.hub.policies import Policy
    from trunkline.hub.publication import Position, Publication
    from trunkline.hub.room import Encoded, Room
    from trunkline.hub.topic import Topic
    from trunkline.line import Line
    from trunkline.states import CloseInfo
    from trunkline.turn import Turn

__all__ = ["LineMembership", "MemberStats", "Membership", "SendMembership", "Subscriber", "membership_of"]

logger = logging.getLogger("trunkline.hub")

CLOSE_WITHIN = 1.0
# Which states of a WebSocket (ours, Starlette's) are before accept and behind the end.
_CONNECTING, _DISCONNECTED = 0, 2


class MemberStats(NamedTuple):
    """What has become of the publications for a member.

    Attributes:
        delivered: Handed to the server.
        dropped: Let go by the policy.
        waiting: In the outbox.
        waiting_bytes: Their bytes.
    """

    delivered: int
    dropped: int
    waiting: int
    waiting_bytes: int


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
        waiting, size = (0, 0) if self._outbox is None else (self._outbox.count, self._outbox.bytes)
        come = 0 if self._room is None else self._room.publications - self._first
        return MemberStats(max(come - self._dropped - waiting, 0), self._dropped, waiting, size)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.topic.name!r}, key={self.key!r}, joined={self.joined}>"

    # For the room

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


class LineMembership(Membership):
    """A connection whose server offers the Line."""

    __slots__ = ("line",)

    def __init__(
        self, topic: Topic, websocket: Any, since: Position | str | None, policy: Policy | None, line: Line
    ) -> None:
        super().__init__(topic, websocket, since, policy)
        self.line = line

    @property
    def sink(self) -> Line:
        """The Line."""
        return self.line

    def check_open(self) -> None:
        """Refuse what was not accepted, or has ended."""
        _check_state(self.websocket)
        if self.line.closed is not None:
            raise WebSocketDisconnect(*self.line.closed)

    def entered(self, room: Room, number: int) -> None:
        """It is a member until its connection ends."""
        super().entered(room, number)
        self.line.on_close(self)

    def leave_now(self) -> None:
        """Leave, and hear no more of the connection."""
        if self._room is not None:
            self.line.off_close(self)
        super().leave_now()

    def __call__(self, _: CloseInfo) -> None:
        # What the Line calls at its end is the membership: a bound method would cost each of them 64 bytes.
        self.leave_now()

    def content(self, encoded: Encoded) -> Any:
        """What is written: a frame, or the message where frames refer to those before."""
        return encoded.data if self.line.frame_key is None else encoded.frame(self.line)

    def send(self, encoded: Encoded) -> None:
        """Write at once where that is welcome."""
        if self.line.writable:
            self.write(self.content(encoded))
        else:
            self.hold(self.content(encoded), encoded)

    async def replay(self, encoded: Encoded) -> None:
        """Write when it is welcome."""
        if not self.line.writable:
            try:
                await self.line.drain()
            except OSError:
                raise WebSocketDisconnect(*(self.line.closed or (1006,))) from None
        self.write(self.content(encoded))

    def ask(self, outbox: Outbox) -> None:
        """The Line calls, behind what waits already."""
        if outbox.call_wanted():
            self.line.write_later(outbox.write_next)

    def write(self, content: Any) -> None:
        """Write a frame, or a message of which only this connection can make one."""
        if self.line.frame_key is not None:
            self.line.write_frame(content)
        elif isinstance(content, str):
            self.line.write_text(content)
        else:
            self.line.write_bytes(content)

    def expel(self, code: int, reason: str) -> None:
        """Close, and drop the connection where its peer does not read."""
        self.line.expel(code, reason)


class SendMembership(Membership):
    """A connection of which only `send_text` and `send_bytes` are known."""

    __slots__ = ("_expelled", "_task", "_turn")

    def __init__(self, topic: Topic, websocket: Any, since: Position | str | None, policy: Policy | None) -> None:
        super().__init__(topic, websocket, since, policy)
        self._task: asyncio.Task[None] | None = None
        self._expelled = False
        # What our own WebSocket has, so that nothing that the endpoint sends overtakes what waits here.
        self._turn: Turn | None = getattr(websocket, "sending", None)

    @property
    def sink(self) -> Any:
        """The WebSocket itself."""
        return self.websocket

    def check_open(self) -> None:
        """Refuse what was not accepted, or has ended."""
        _check_state(self.websocket)

    def send(self, encoded: Encoded) -> None:
        """Leave it to the task, which is started where none runs."""
        self.hold(encoded.data, encoded)

    async def replay(self, encoded: Encoded) -> None:
        """Send, as fast as the server takes it."""
        await self._transmit(encoded.data)

    def ask(self, outbox: Outbox) -> None:
        """Have a task that sends."""
        if self._task is None and not self._expelled:
            called = None if self._turn is None else self._turn.line_up()
            self._task = self.topic.hub.start_task(self._send_all(called))
            self._task.add_done_callback(partial(self._sent_all, called))

    def _sent_all(self, called: Event | None, task: asyncio.Task[None]) -> None:
        # Here, because a task that is cancelled before its first step runs no `finally`.
        self._task = None
        if called is not None and self._turn is not None:
            self._turn.step_out(called)
        if self._outbox is not None and self._outbox.count and not task.cancelled():
            self.ask(self._outbox)

    async def _send_all(self, called: Event | None) -> None:
        try:
            if called is not None:
                await called.wait()
            # Also what comes meanwhile, so that nothing that is sent after it comes before it.
            while self._outbox is not None and self._outbox.count:
                await self._transmit(self._outbox.take())
        except Exception as error:
            # However its server says that the peer is gone.
            logger.debug("a member of %r has left: %r", self.topic.name, error)
            self.leave_now()
            if self._outbox is not None:
                self._outbox.clear()

    async def _transmit(self, data: str | bytes) -> None:
        if self._turn is not None and self._task is not None:
            name = "text" if isinstance(data, str) else "bytes"
            await self.websocket.send_in_turn({"type": "websocket.send", name: data})
        elif isinstance(data, str):
            await self.websocket.send_text(data)
        else:
            await self.websocket.send_bytes(data)

    def expel(self, code: int, reason: str) -> None:
        """Leave, and try to close within a second: a server's buffer cannot be thrown away from here."""
        if self._expelled:
            return
        self._expelled = True
        if self._task is not None:
            self._task.cancel()
        self.topic.hub.start_task(self._close(code, reason))
        self.leave_now()

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.websocket.close(code, reason)
        except Exception as error:
            logger.debug("a member of %r could not be closed: %r", self.topic.name, error)


class Subscriber(Membership):
    """An iteration over publications."""

    __slots__ = ("_end", "_replayed", "_wanted")

    def __init__(self, topic: Topic, since: Position | str | None, policy: Policy | None) -> None:
        super().__init__(topic, None, since, policy)
        self._end: SubscriptionLost | None = None
        self._replayed: deque[Publication] = deque()
        self._wanted: asyncio.Future[None] | None = None

    @property
    def sink(self) -> Any:
        """Itself."""
        return self

    def check_open(self) -> None:
        """There is nothing to refuse."""

    def send(self, encoded: Encoded) -> None:
        """Leave it for the next step of the iteration."""
        self.hold(encoded.publication, encoded)

    async def replay(self, encoded: Encoded) -> None:
        """Nothing has to be waited for: a history is bounded, and what it keeps is shared."""
        self._replayed.append(encoded.publication)

    def ask(self, outbox: Outbox) -> None:
        """Wake who waits for the next."""
        self._wake()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def next(self) -> Publication | None:
        """The next publication; None when the hub has closed.

        Raises:
            SubscriptionLost: No more can be given without a gap.
        """
        if self._replayed:
            return self._replayed.popleft()
        while self._outbox is None:
            if self._end is not None:
                raise self._end
            if self._room is None:
                return None
            self._wanted = self._room.hub.loop.create_future()
            try:
                await self._wanted
            finally:
                self._wanted = None
        publication: Publication = self._outbox.take()
        return publication

    def leave_now(self) -> None:
        """Leave, and let the iteration end."""
        super().leave_now()
        self._wake()

    def expel(self, code: int, reason: str) -> None:
        """End the iteration with an error."""
        self._end = SubscriptionLost(self.topic.name, reason)
        self.leave_now()


def _check_state(websocket: Any) -> None:
    """Refuse a WebSocket, ours or Starlette's, that is not open."""
    for name in ("application_state", "client_state"):
        state = getattr(getattr(websocket, name, None), "value", None)
        if state == _CONNECTING:
            raise WebSocketDisconnected('WebSocket is not connected. Need to call "accept" first.')
        if state == _DISCONNECTED:
            raise WebSocketDisconnect(1006)


def membership_of(
    topic: Topic, websocket: Any, since: Position | str | None, policy: Policy | None
) -> LineMembership | SendMembership:
    """The membership that fits a connection.

    Raises:
        TypeError: It is nothing that messages can be sent to.
    """
    if not (hasattr(websocket, "scope") and hasattr(websocket, "send_text") and hasattr(websocket, "send_bytes")):
        raise TypeError(
            f"expected a WebSocket (ours, Starlette's or FastAPI's, or anything with scope, send_text and send_bytes), "
            f"but got {type(websocket).__name__}"
        )
    # Ours says whether a middleware stands between it and the Line; others cannot, and are written to past it.
    line: Line | None = websocket.line if hasattr(websocket, "line") else line_of(websocket.scope)
    if line is None:
        return SendMembership(topic, websocket, since, policy)
    return LineMembership(topic, websocket, since, policy, line)
