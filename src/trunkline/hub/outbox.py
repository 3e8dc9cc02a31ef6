"""What waits for one member that takes less than is published.

Made when the first message has to wait, and let go with the last. Its owner is the membership; the time that has passed
is looked at by the hub once a second for all outboxes, so that an idle connection has neither task nor timer.

A policy may drop from the front or out of the middle. What is dropped is only marked there, and swept out when there is
more of it than of the rest, so each operation is cheap and a member that never reads holds no more than its bound.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable

    from trunkline.hub.membership import Membership
    from trunkline.hub.policies import Policy
    from trunkline.hub.publication import Publication
    from trunkline.hub.room import Room

__all__ = ["Outbox", "Waiting"]

SWEEP = 16
# RFC 6455 section 7.4.1 and IANA's registry: "Try Again Later".
TRY_AGAIN_LATER = 1013
TOO_SLOW = "too slow"


class Waiting:
    """One message in an outbox; its content is None when it has been dropped."""

    __slots__ = ("content", "key", "since", "size")

    def __init__(self, content: Any, size: int, since: float, key: Hashable | None) -> None:
        self.content = content
        self.size = size
        self.since = since
        self.key = key


class Outbox:
    """The messages that wait for a member, oldest first.

    Args:
        member: Whose it is.
        policy: What happens beyond the limits.
        room: The member's room, also when it has left: what waits then still goes out.

    Attributes:
        count: How many messages wait.
        bytes: Their bytes.
    """

    __slots__ = ("_by_key", "_calls", "_deadline", "_member", "_policy", "_queue", "_room", "bytes", "count")

    def __init__(self, member: Membership, policy: Policy, room: Room) -> None:
        self._member = member
        self._policy = policy
        self._room = room
        self._queue: deque[Waiting] = deque()
        self._by_key: dict[Hashable, Waiting] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._calls = 0
        self.bytes = 0
        self.count = 0

    # In

    def put(self, content: Any, size: int, publication: Publication) -> None:
        """Leave a message, and let the policy act if that is too much."""
        if not self.count:
            self._room.hub.watch(self)
        key = self._policy.key(publication)
        waiting = Waiting(content, size, self._room.hub.loop.time(), key)
        self._queue.append(waiting)
        self.count += 1
        self.bytes += size
        if key is not None:
            self._replace(key, waiting)
        if self.beyond_bounds():
            self._policy.overflow(self, waiting)

    def _replace(self, key: Hashable, waiting: Waiting) -> None:
        if self._by_key is None:
            self._by_key = {}
        earlier = self._by_key.get(key)
        self._by_key[key] = waiting
        if earlier is not None:
            self.drop(earlier)

    def call_wanted(self) -> bool:
        """Whether a further call of `write_next` is to be asked for; each waiting message needs one."""
        if self._calls >= self.count:
            return False
        self._calls += 1
        return True

    # Out

    def write_next(self) -> None:
        """Write the oldest message; one that was dropped since leaves its turn to the next."""
        self._calls -= 1
        if self.count:
            self._member.write(self.take())
        else:
            self._let_go_if_empty()

    def take(self) -> Any:
        """Take the oldest message; only while `count` is not 0."""
        waiting = self.oldest
        self._queue.popleft()
        self._remove(waiting)
        if self._deadline is not None and not self.beyond_bounds():
            self._release_publishers()
        self._let_go_if_empty()
        return waiting.content

    @property
    def oldest(self) -> Waiting:
        """What has waited longest; only while `count` is not 0."""
        while self._queue[0].content is None:
            self._queue.popleft()
        return self._queue[0]

    def drop(self, waiting: Waiting) -> None:
        """Let go of a message, and count it."""
        self._remove(waiting)
        waiting.content = None
        self._count_drops(1)
        self._let_go_if_empty()
        if len(self._queue) > 2 * self.count + SWEEP:
            self._queue = deque(each for each in self._queue if each.content is not None)

    def clear(self) -> None:
        """Let go of everything."""
        self._queue.clear()
        self._by_key = None
        self.bytes = self.count = 0
        self._release_publishers()
        self._let_go_if_empty()

    def _count_drops(self, count: int) -> None:
        self._member.count_drops(count)
        self._room.drops += count

    def _let_go_if_empty(self) -> None:
        if self.count:
            return
        self._room.hub.busy.discard(self)
        if not self._calls:
            self._member.emptied()

    def _remove(self, waiting: Waiting) -> None:
        self.count -= 1
        self.bytes -= waiting.size
        if waiting.key is not None and self._by_key is not None and self._by_key.get(waiting.key) is waiting:
            del self._by_key[waiting.key]

    # The bounds

    def beyond_bounds(self) -> bool:
        """Whether more waits, or for longer, than the limits allow."""
        if not self.count:
            return False
        limits = self._room.config.outbox
        return self.bytes > limits.bytes or self._room.hub.loop.time() - self.oldest.since > limits.seconds

    @property
    def lag(self) -> float:
        """Seconds that the oldest message has waited."""
        return self._room.hub.loop.time() - self.oldest.since if self.count else 0.0

    def look(self) -> None:
        """Time has passed: let the policy act if something has waited too long."""
        if self.beyond_bounds():
            self._policy.overflow(self, None)

    def expel(self) -> None:
        """Close the member's connection for its slowness."""
        self._count_drops(self.count)
        self.clear()
        self._room.expelled += 1
        self._member.expel(TRY_AGAIN_LATER, TOO_SLOW)

    def hold_publishers(self, seconds: float) -> None:
        """Let those who publish wait for this outbox, and close the member if that takes longer than this."""
        if self._deadline is None:
            self._deadline = self._room.hub.loop.call_later(seconds, self.expel)
            self._room.full.add(self)

    def _release_publishers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._room.relieve(self)
