"""An iteration over publications, as a member of a topic."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from trunkline.hub.errors import SubscriptionLost
from trunkline.hub.membership import Membership

if TYPE_CHECKING:
    import asyncio

    from trunkline.hub.outbox import Outbox
    from trunkline.hub.policies import Policy
    from trunkline.hub.publication import Position, Publication
    from trunkline.hub.room import Encoded
    from trunkline.hub.topic import Topic

__all__ = ["Subscriber"]


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
