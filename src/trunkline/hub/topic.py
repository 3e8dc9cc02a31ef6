"""A topic of a hub: what applications join, publish to and subscribe to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from trunkline.hub.config import TopicConfig, check_policy
from trunkline.hub.connections import membership_of
from trunkline.hub.errors import HubError
from trunkline.hub.globs import Glob
from trunkline.hub.membership import Membership
from trunkline.hub.presence import check_presence
from trunkline.hub.publication import Envelope, Position, Publication, encode_value
from trunkline.hub.room import NO_STATS, TopicStats
from trunkline.hub.subscriber import Subscriber

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from trunkline.hub.globs import Key
    from trunkline.hub.hub import Hub
    from trunkline.hub.policies import Policy

__all__ = ["Past", "Pattern", "Subscription", "Topic"]


class Past(NamedTuple):
    """The end of a topic's history: what `topic.history` gives.

    Attributes:
        position: The topic's position behind the last of the publications, to be given to `join(since=)`.
        publications: From the oldest to the newest, without a gap.
    """

    position: Position
    publications: list[Publication]


class Topic:
    """A topic by its name: `hub.topic(name)`. It exists as long as somebody is in it or its history is kept.

        async with hub.topic("room:42").join(websocket) as membership:
            async for message in websocket.iter_text():
                await membership.topic.publish({"text": message})

    Attributes:
        name: The name.
        config: What it keeps and how its members are bounded, from the hub's `topics`.
        group: The pattern of the hub's `topics` that says so; "" where none does.
    """

    __slots__ = ("_hub", "config", "group", "name")

    def __init__(self, hub: Hub, name: str, group: str, config: TopicConfig) -> None:
        self._hub = hub
        self.name = name
        self.group = group
        self.config = config

    def join(
        self,
        websocket: Any,
        *,
        since: Position | str | None = None,
        key: str | None = None,
        meta: Any = None,
        policy: Policy | None = None,
    ) -> Membership:
        """Let a connection in, for as long as the context lasts: `async with topic.join(websocket) as membership`.

        What is published from then on is sent to it. It leaves at the end of the context, whatever ends that, and when
        the connection ends.

        Args:
            websocket: An accepted WebSocket: ours, Starlette's or FastAPI's, or anything with `scope`, `send_text` and
                `send_bytes`.
            since: The position up to which the client has everything, a `Position` or the text of one. What was
                published since is sent before the context begins, or `recovered` of the membership is False.
            key: Who it is, for `members` and, where the topic is configured with it, for its `presence`.
            meta: What else is to be known of it; with presence an object that can be written as JSON.
            policy: What happens when it does not keep up, if not as the topic says (`trunkline.hub.policies`).

        Returns:
            The membership, to be entered once.

        Raises:
            TypeError: The WebSocket or the policy is none.
            WebSocketDisconnected: On entering: it was not accepted.
            WebSocketDisconnect: On entering: it has ended.
            HubError: On entering: the connection is in the topic already, or the hub belongs to another event loop.
        """
        if policy is not None:
            check_policy(policy)
        if since is not None and not isinstance(since, (Position, str)):
            raise TypeError(f"expected a Position, its text or None as since, but got {since!r}")
        if self.config.presence is not None and key is not None:
            check_presence(key, meta)
        member = membership_of(self, websocket, since, policy)
        member.key = key
        member.meta = meta
        return member

    async def publish(
        self,
        value: Any,
        *,
        exclude: Any = None,
        idempotency_key: str | None = None,
        timeout: float = 5.0,
    ) -> Position | None:
        """Send a value to everybody in the topic, in every process.

        Args:
            value: A `str` for a text message, `bytes` for a binary one, anything else as JSON.
            exclude: A member of this process that is not to get it: its membership, or its WebSocket.
            idempotency_key: What names this publication: published again under the same key within five minutes, it is
                not sent a second time.
            timeout: Seconds within which the broker must have taken it.

        Returns:
            Its position, for a topic with a history.

        Raises:
            TypeError: The value cannot be written as JSON.
            ValueError: Its text has a lone surrogate, which UTF-8 cannot carry.
            HubError: The hub belongs to another event loop.
            BrokerError: The broker could not be reached in time; nothing was published.
            OutcomeUnknown: The broker has not answered in time; try again under the same `idempotency_key`.
        """
        if idempotency_key is not None and not isinstance(idempotency_key, str):
            raise TypeError(f"expected a str or None as idempotency_key, but got {idempotency_key!r}")
        hub = self._hub
        hub.ready()
        kind, data = encode_value(value)
        envelope = Envelope(kind, data)
        if exclude is not None:
            member = self._find(exclude)
            if member is not None:
                envelope = Envelope(kind, data, hub.id, member.number)
        position = await hub.broker.publish(self.name, envelope, self.config.history, idempotency_key, timeout)
        room = hub.rooms.get(self.name)
        if room is not None and room.full:
            await room.relieved()
        return position

    def _find(self, member: Any) -> Membership | None:
        """The member that is meant; a connection may have left since."""
        if isinstance(member, Membership):
            return member if member.joined else None
        return next((each for each in self.members if each.websocket is member), None)

    async def history(self, count: int) -> Past:
        """What was published last, for somebody who comes without a position: the page of a chat that has been opened.

            past = await topic.history(50)
            async with topic.join(websocket, since=past.position) as membership:
                ...  # between the two nothing is missed

        Args:
            count: How many publications at most; fewer are kept if the topic's `Retention` says so.

        Returns:
            The publications and the position behind them.

        Raises:
            HubError: The topic is configured without a history, or the hub belongs to another event loop.
            ValueError: `count` is not above 0.
            BrokerError: The broker cannot be reached.
        """
        if type(count) is not int or count < 1:
            raise ValueError(f"expected a number of publications above 0 as count, but got {count!r}")
        if self.config.history is None:
            raise HubError(
                f"nobody keeps what is published to {self.name!r}: "
                "write TopicConfig(history=Retention(count=, seconds=)) for it"
            )
        self._hub.ready()
        last = await self._hub.broker.last(self.name, count)
        return Past(last.top, [Publication(self.name, envelope, position) for position, envelope in last.entries])

    async def presence(self) -> dict[str, list[dict[str, Any]]]:
        """Who is in the topic, in all processes: for each key the `meta` of its connections, with a `ref` for each.

        Returns:
            For example `{"ada": [{"ref": "3f-7", "device": "phone"}]}`.

        Raises:
            HubError: The topic is not configured with `presence`.
            BrokerError: The broker cannot be reached.
        """
        if self.config.presence is None:
            raise HubError(f"nobody keeps who is in {self.name!r}: write TopicConfig(presence=PresenceConfig()) for it")
        self._hub.ready()
        return await self._hub.roster(self).present()

    @property
    def changes(self) -> Topic:
        """The topic of this topic's changes of presence, to be joined or subscribed to as any other.

        Its messages are `{"leaves": {key: [meta]}, "joins": {key: [meta]}}`, to be applied in this order: take out each
        `ref` of the first, put in those of the second. A connection whose `meta` has changed is in both.
        """
        return self._hub.topic(f"presence:{self.name}")

    def subscribe(self, *, since: Position | str | None = None, policy: Policy | None = None) -> Subscription:
        """Iterate over what is published: `async for publication in topic.subscribe()`.

        The subscription begins with the first step of the iteration. To have it begin earlier, and to end it surely,
        enter it:

            async with topic.subscribe() as publications:
                async for publication in publications:
                    ...

        Args:
            since: The position up to which everything is known already, as for `join`.
            policy: What happens when the iteration does not keep up; `policies.close` ends it with an error.

        Raises:
            TypeError: The policy is none.
        """
        if policy is not None:
            check_policy(policy)
        return Subscription(self, since, policy)

    @property
    def members(self) -> tuple[Membership, ...]:
        """Who is in the topic in this process, connections and subscriptions, in no particular order."""
        room = self._hub.rooms.get(self.listening_to)
        return () if room is None else tuple(room.members)

    @property
    def stats(self) -> TopicStats:
        """What the topic has done in this process since somebody came into it."""
        room = self._hub.rooms.get(self.listening_to)
        return NO_STATS if room is None else room.stats

    @property
    def hub(self) -> Hub:
        """The hub."""
        return self._hub

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def listening_to(self) -> Key:
        """What the hub subscribes to for its members."""
        return self.name


class Pattern(Topic):
    """All topics whose names match: `hub.pattern("room:*")`, to be subscribed to or joined, as they are published to.

        async for publication in hub.pattern("room:*").subscribe():
            print(publication.topic, publication.value)

    It has no past, and nobody's presence: what is published while nobody listens is not for it. Where publications may
    have been lost because the broker was away, `stats.losses` counts and a warning is logged.
    """

    __slots__ = ()

    def __init__(self, hub: Hub, name: str, group: str, config: TopicConfig) -> None:
        live = replace(config, history=None, presence=None, encode=None, on_loss=None)
        super().__init__(hub, name, group, live)

    async def publish(self, value: Any, **_: Any) -> NoReturn:
        """A pattern cannot be published to.

        Raises:
            HubError: Always.
        """
        raise HubError(f"{self.name!r} is a pattern: publish to a topic, hub.topic(name)")

    @property
    def listening_to(self) -> Key:
        """What the hub subscribes to for its members."""
        return Glob(self.name)


class Subscription:
    """An iteration over the publications of a topic: what `topic.subscribe` gives.

    Attributes:
        recovered: Once entered, whether it has everything since the position that was given.
        position: Once entered, where it began; None without a history.
    """

    __slots__ = ("_policy", "_since", "_subscriber", "_topic", "position", "recovered")

    def __init__(self, topic: Topic, since: Position | str | None, policy: Policy | None) -> None:
        self._topic = topic
        self._since = since
        self._policy = policy
        self._subscriber: Subscriber | None = None
        self.recovered = False
        self.position: Position | None = None

    async def __aenter__(self) -> Self:
        if self._subscriber is not None:
            raise HubError("this subscription has been entered before; subscribe again")
        self._subscriber = await Subscriber(self._topic, self._since, self._policy).__aenter__()
        self.recovered, self.position = self._subscriber.recovered, self._subscriber.position
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._subscriber is not None
        self._subscriber.leave_now()

    def __aiter__(self) -> AsyncIterator[Publication]:
        return self._publications() if self._subscriber is None else self._rest(self._subscriber)

    async def _publications(self) -> AsyncIterator[Publication]:
        async with self:
            assert self._subscriber is not None
            async for publication in self._rest(self._subscriber):
                yield publication

    async def _rest(self, subscriber: Subscriber) -> AsyncIterator[Publication]:
        while (publication := await subscriber.next()) is not None:
            yield publication
