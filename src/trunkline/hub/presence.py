"""Who is in a topic, in all processes.

Each process holds a lease in the broker for each of its members and renews it; a lease that runs out belonged to a
process that is gone, and whoever finds it tells of the leave, because the broker gives it to one process only. A member
that leaves keeps its lease for a grace period: if the same user comes back on another connection meanwhile, its key was
never away.

Changes are gathered for a moment and told of in one message to the topic `presence:<name>`, after the broker has them.
So whoever joins that topic first and then asks who is present misses nothing; what it is told twice has the same `ref`.
Where the broker is away, changes wait for it, and after it has lost its data the next renewal brings them back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import deque
from typing import TYPE_CHECKING, Any

from trunkline.hub.errors import BrokerError

if TYPE_CHECKING:
    from trunkline.hub.config import PresenceConfig
    from trunkline.hub.hub import Hub
    from trunkline.hub.membership import Membership
    from trunkline.hub.topic import Topic

__all__ = ["Roster", "check_presence"]

logger = logging.getLogger("trunkline.hub")

# A lease is renewed so many times before it would run out.
RENEWALS = 3
CLOSE_WITHIN = 1.0


def check_presence(key: object, meta: object) -> None:
    """Refuse what cannot be told to others.

    Raises:
        TypeError: The key is no str, or the meta no object that can be written as JSON.
    """
    if not isinstance(key, str):
        raise TypeError(f"expected a str as the key of a member whose presence is told, but got {key!r}")
    if meta is not None and not isinstance(meta, dict):
        raise TypeError(f"expected a dict or None as the meta of a member whose presence is told, but got {meta!r}")
    json.dumps(meta)


def _entry(key: str, meta: dict[str, Any] | None) -> str:
    return json.dumps([key, meta or {}])


def _by_key(entries: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Entries as the application sees them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for ref, entry in entries.items():
        key, meta = json.loads(entry)
        found.setdefault(key, []).append({**meta, "ref": ref})
    return found


class Roster:
    """The members of this process in a topic with presence.

    Args:
        hub: The hub.
        topic: The topic.
    """

    def __init__(self, hub: Hub, topic: Topic) -> None:
        assert topic.config.presence is not None
        self.topic = topic
        self._hub = hub
        self._config: PresenceConfig = topic.config.presence
        self._held: dict[str, str] = {}
        # What is still to be told of.
        self._joins: dict[str, str] = {}
        self._leaves: dict[str, str] = {}
        # What the broker has, and those who want to know of it have not: leaves and joins.
        self._untold: deque[tuple[dict[str, str], dict[str, str]]] = deque()
        self._graces: dict[str, asyncio.TimerHandle] = {}
        self._telling = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None

    # Of members

    def come(self, member: Membership) -> None:
        """A member has come in."""
        self._held[member.ref] = self._joins[member.ref] = _entry(member.key, member.meta)
        self._tell_soon()

    def change(self, member: Membership, meta: dict[str, Any] | None) -> None:
        """A member says something else of itself."""
        before = self._held[member.ref]
        if member.ref not in self._joins:
            self._leaves[member.ref] = before
        self._held[member.ref] = self._joins[member.ref] = _entry(member.key, meta)
        self._tell_soon()

    def go(self, member: Membership) -> None:
        """A member has left: it is gone when the grace period is over."""
        ref = member.ref
        self._graces[ref] = self._hub.loop.call_later(self._config.grace, self._gone, ref)

    def _gone(self, ref: str) -> None:
        del self._graces[ref]
        entry = self._held.pop(ref)
        if self._joins.pop(ref, None) is None or ref in self._leaves:
            self._leaves.setdefault(ref, entry)
            self._tell_soon()

    # Of the broker

    async def present(self) -> dict[str, list[dict[str, Any]]]:
        """Who is present, in all processes."""
        await self._tell()
        present = await self._hub.broker.present(self.topic.name)
        self._forget_if_idle()
        return _by_key(present)

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = self._hub.loop.call_later(self._config.every, self._start_telling)
        if self._renewing is None:
            self._renewing = self._hub.start_task(self._renew())

    def _start_telling(self) -> None:
        self._timer = None
        self._hub.start_task(self._tell_or_wait())

    async def _tell_or_wait(self) -> None:
        try:
            await self._tell()
            self._forget_if_idle()
        except BrokerError as error:
            logger.warning("who is present in %r could not be told yet: %s", self.topic.name, error)

    async def _tell(self) -> None:
        """Bring the changes to the broker, then to those who want to know of them."""
        async with self._telling:
            await self._bring_changes()
            while gone := await self._hub.broker.reap(self.topic.name):
                # Their process is gone.
                self._untold.append((gone, {}))
            while self._untold:
                leaves, joins = self._untold[0]
                await self.topic.changes.publish({"leaves": _by_key(leaves), "joins": _by_key(joins)})
                self._untold.popleft()

    async def _bring_changes(self) -> None:
        joins, self._joins = self._joins, {}
        leaves, self._leaves = self._leaves, {}
        if not (joins or leaves):
            return
        try:
            # What has changed is in both, and stays.
            await self._hub.broker.release(self.topic.name, leaves.keys() - joins.keys())
            await self._hub.broker.hold(self.topic.name, joins, self._config.lease)
        except BaseException:
            # Who has left since is not brought back; what has come since is newer.
            self._joins = {ref: entry for ref, entry in joins.items() if ref in self._held} | self._joins
            self._leaves |= leaves
            raise
        # Told of in any case, also if it was reaped before, or the broker has lost it: twice does no harm.
        self._untold.append((leaves, joins))

    async def _renew(self) -> None:
        while True:
            # Not in step with other processes.
            await asyncio.sleep(self._config.lease / RENEWALS * random.uniform(0.75, 1))
            try:
                await self._tell()
                await self._hub.broker.hold(self.topic.name, self._held, self._config.lease)
            except BrokerError as error:
                logger.warning("who is present in %r could not be renewed: %s", self.topic.name, error)

    def _forget_if_idle(self) -> None:
        if not (self._held or self._leaves or self._untold or self._timer or self._telling.locked()):
            if self._renewing is not None:
                self._renewing.cancel()
            self._hub.forget_roster(self)

    async def close(self) -> None:
        """The process ends: its members have the grace period to come back elsewhere, and others tell of it after."""
        for timer in (*self._graces.values(), self._timer):
            if timer is not None:
                timer.cancel()
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._tell()
                await self._hub.broker.hold(self.topic.name, self._held, self._config.grace)
        except (BrokerError, TimeoutError) as error:
            logger.warning("who leaves %r could not be told: %s", self.topic.name, error)
