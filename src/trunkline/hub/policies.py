"""What happens when a member takes less than is published: the policies of its outbox.

An outbox is bounded in bytes and in the age of what waits in it longest. A policy decides what to do when a bound is
reached:

    from trunkline.hub import Hub, TopicConfig, policies

    hub = Hub(topics={
        "prices:*": TopicConfig(policy=policies.coalesce(lambda price: price["symbol"])),
        "*": TopicConfig(policy=policies.close),
    })
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trunkline.hub.outbox import Outbox, Waiting
    from trunkline.hub.publication import Publication

__all__ = ["Policy", "close", "coalesce", "drop_newest", "drop_oldest", "wait"]


class Policy(ABC):
    """What becomes of a member that does not keep up."""

    def key(self, publication: Publication) -> Hashable | None:
        """What a publication replaces in the outbox: that of an equal key; None for nothing."""
        return None

    @abstractmethod
    def overflow(self, outbox: Outbox, newest: Waiting | None) -> None:
        """Act on an outbox that is beyond its bounds.

        Args:
            outbox: The outbox.
            newest: What has just come; None when time alone has passed.
        """


class _Close(Policy):
    def overflow(self, outbox: Outbox, newest: Waiting | None) -> None:
        outbox.expel()


class _DropOldest(Policy):
    def overflow(self, outbox: Outbox, newest: Waiting | None) -> None:
        while outbox.beyond_bounds() and outbox.oldest is not newest:
            outbox.drop(outbox.oldest)


class _DropNewest(Policy):
    def overflow(self, outbox: Outbox, newest: Waiting | None) -> None:
        if newest is not None and newest is not outbox.oldest:
            outbox.drop(newest)


@dataclass(frozen=True, slots=True)
class _Coalesce(_Close):
    of: Callable[[Any], Hashable | None]

    def key(self, publication: Publication) -> Hashable | None:
        return self.of(publication.value)


@dataclass(frozen=True, slots=True)
class _Wait(Policy):
    deadline: float

    def overflow(self, outbox: Outbox, newest: Waiting | None) -> None:
        outbox.hold_publishers(self.deadline)


close: Policy = _Close()
"""Close the connection with 1013 ("try again later"): the client comes back, and a history gives it what it missed."""

drop_oldest: Policy = _DropOldest()
"""Let go of what has waited longest."""

drop_newest: Policy = _DropNewest()
"""Let go of what comes while there is no room."""


def coalesce(key: Callable[[Any], Hashable | None]) -> Policy:
    """Keep only the newest of each key among what waits, for example the last price of each symbol; else as `close`.

    Args:
        key: Gets the published value and gives its key; None for what is to be kept beside all others.
    """
    return _Coalesce(key)


def wait(deadline: float) -> Policy:
    """Let whoever publishes in the member's process wait until there is room again; else as `close`.

    Args:
        deadline: Seconds to wait, after which the member is closed.

    Raises:
        ValueError: The deadline is not above 0.
    """
    if not deadline > 0:
        raise ValueError(f"expected seconds above 0 as deadline of wait(), but got {deadline!r}")
    return _Wait(deadline)
