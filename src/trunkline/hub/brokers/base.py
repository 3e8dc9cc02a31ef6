"""The interface of a broker, and of the hub that it serves.

A broker has one receiver, its hub. What is published comes back to the receivers of all brokers that have subscribed to
the topic, the publisher's own too, in one order where the topic has a history, and in the order of each publisher
everywhere. Nothing is delivered past the broker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trunkline.hub.config import Retention
    from trunkline.hub.globs import Glob, Key
    from trunkline.hub.publication import Envelope, Position

__all__ = ["Broker", "Entry", "History", "Receiver"]


class Entry(NamedTuple):
    """A publication in a topic's history."""

    position: Position
    envelope: Envelope


class History(NamedTuple):
    """What followed a position, or the newest of what is kept.

    Attributes:
        top: The topic's present position.
        entries: All publications from there to the top, without a gap; empty if they cannot be told.
        complete: Whether they can: the epoch is the same, and nothing behind the position has been trimmed.
    """

    top: Position
    entries: list[Entry]
    complete: bool


class Receiver(Protocol):
    """What a broker tells its hub. Called in the event loop of the hub."""

    def deliver(self, topic: str, envelope: Envelope, position: Position | None) -> None:
        """A publication of a topic that was subscribed to."""

    def deliver_matching(self, glob: Glob, topic: str, envelope: Envelope, position: Position | None) -> None:
        """The same of a topic that matches what was subscribed to."""

    def interrupted(self, keys: list[Key]) -> None:
        """What was published to these in the meantime may be lost; they are subscribed to again."""

    def check(self, topics: list[str]) -> None:
        """A last publication may have been lost on its way without a sign: compare with the histories."""


class Broker(ABC):
    """Carries publications between hubs.

    Attributes:
        receiver: The hub.
        takes_patterns: Whether a `Glob` can be subscribed to.
    """

    receiver: Receiver
    takes_patterns: bool = True

    @property
    def reconnects(self) -> int:
        """How many times a connection to the broker was lost or could not be made."""
        return 0

    @abstractmethod
    def start(self) -> None:
        """Begin, in the event loop that runs, without waiting; may be called again after `stop`."""

    @abstractmethod
    async def stop(self) -> None:
        """Let go of everything."""

    @abstractmethod
    async def publish(
        self, topic: str, envelope: Envelope, retention: Retention | None, idempotency_key: str | None, timeout: float
    ) -> Position | None:
        """Publish, and keep it where there is a retention; with a key that was used before, only tell the position.

        Raises:
            BrokerError: It was not published within so many seconds.
            OutcomeUnknown: Whether it was is not known.
        """

    @abstractmethod
    async def subscribe(self, key: Key) -> None:
        """Deliver what is published to a topic, or to all that match, from now on; returns when that is certain.

        Raises:
            BrokerError: The broker cannot be reached.
        """

    @abstractmethod
    def unsubscribe(self, key: Key) -> None:
        """Deliver no more of it, now or soon."""

    @abstractmethod
    async def history(self, topic: str, since: Position | None) -> History:
        """What followed a position; only the top, with `complete` false, where that is None.

        Raises:
            BrokerError: The broker cannot be reached.
        """

    @abstractmethod
    async def last(self, topic: str, count: int) -> History:
        """The newest publications that are kept, so many at most, in their order; always complete.

        Raises:
            BrokerError: The broker cannot be reached.
        """

    @abstractmethod
    async def hold(self, topic: str, entries: Mapping[str, str], seconds: float) -> None:
        """Let entries, by their refs, be present for so many seconds from now; again, before that, to go on."""

    @abstractmethod
    async def release(self, topic: str, refs: Collection[str]) -> None:
        """Let entries be gone now."""

    @abstractmethod
    async def reap(self, topic: str) -> dict[str, str]:
        """Let those be gone whose time has run out, or some of them; gives each to one caller."""

    @abstractmethod
    async def present(self, topic: str) -> dict[str, str]:
        """Who is present: the entries by their refs."""

    @abstractmethod
    async def topics(self) -> dict[str, int]:
        """The topics that somebody listens to, and how many processes do."""
