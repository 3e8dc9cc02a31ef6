"""The connection for what is delivered: subscribed once per topic, told of all topics again when it comes back.

`_wanted` is what the hub wants, `_heard` what the server has confirmed on the present connection. A topic that nobody
wants any more is left a second later, because rooms are often left and entered again. The reader never waits for
anybody but the server, which drops subscribers that do not read.

In a cluster a topic may go to another server: this one then says that it has unsubscribed us, or does not take the
subscription. The topic stays wanted here until it is known where it belongs (`cluster`), and goes there by `give_up`
and `take`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import operator
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.hub.brokers.redis.commands import NOT_DONE
from trunkline.hub.brokers.redis.connecting import FAILURES, drop, pauses
from trunkline.hub.brokers.redis.naming import channel_of, glob_of, topic_of
from trunkline.hub.brokers.redis.replies import Reader, pack
from trunkline.hub.errors import BrokerError
from trunkline.hub.globs import Glob
from trunkline.hub.publication import Envelope, Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.hub.brokers.base import Receiver
    from trunkline.hub.brokers.redis.connecting import Connector, MasterConnector
    from trunkline.hub.brokers.redis.naming import PubSub
    from trunkline.hub.globs import Key

__all__ = ["Listener", "Wish"]

logger = logging.getLogger("trunkline.hub")

LEAVE_AFTER = 1.0
SUBSCRIBE_TIMEOUT = 5.0
# A server that says nothing for so long, though it was pinged, is gone.
PING_EVERY = 5.0
SILENCE = 15.0
# How often a last publication that was lost on its way is looked for.
CHECK_EVERY = 40.0


class Wish(NamedTuple):
    """A topic, or a pattern, that is wanted, on its way from one server to another.

    Attributes:
        key: Which.
        confirmed: What those wait for who have just asked for it; None if nobody does.
        was_heard: Whether it was listened to before, so that something may have been missed.
    """

    key: Key
    confirmed: asyncio.Future[None] | None
    was_heard: bool


class Listener:
    """One connection to the server, kept up.

    Args:
        connector: Makes it.
        receiver: The hub.
        words: The kind of pub/sub.
        failed: Called when it was lost, or when another server seems to be responsible for a topic.

    Attributes:
        reconnects: How many times it was lost.
    """

    def __init__(
        self,
        connector: Connector | MasterConnector,
        receiver: Receiver,
        words: PubSub,
        failed: Callable[[], None],
    ) -> None:
        self._connector = connector
        self._receiver = receiver
        self._words = words
        self._failed = failed
        self._wanted: dict[Key, asyncio.Future[None] | None] = {}
        self._heard: set[Key] = set()
        self._interrupted: set[Key] = set()
        self._leaving: dict[Key, asyncio.TimerHandle] = {}
        self._to_write: list[tuple[str, Key]] = []
        self._changed = asyncio.Event()
        self.reconnects = 0

    # What is wanted

    async def subscribe(self, key: Key) -> None:
        """Listen to a topic, or a pattern; returns when the server has confirmed it.

        Raises:
            BrokerError: It has not, in time.
        """
        leaving = self._leaving.pop(key, None)
        if leaving is not None:
            leaving.cancel()
        if key in self._wanted and key in self._heard:
            return
        confirmed = self._wanted.get(key)
        if confirmed is None:
            confirmed = self._wanted[key] = asyncio.get_running_loop().create_future()
            self._subscribe(key)
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT):
                await asyncio.shield(confirmed)
        except TimeoutError:
            raise BrokerError(f"Redis has not confirmed the subscription within {SUBSCRIBE_TIMEOUT:g} s") from None

    def unsubscribe(self, key: Key) -> None:
        """Listen to it no more, soon."""
        if key in self._wanted and key not in self._leaving:
            loop = asyncio.get_running_loop()
            self._leaving[key] = loop.call_later(LEAVE_AFTER, self._leave, key)

    def _leave(self, key: Key) -> None:
        del self._leaving[key]
        confirmed = self._drop(key).confirmed
        if confirmed is not None:
            confirmed.cancel()

    def _drop(self, key: Key) -> Wish:
        was_heard = key in self._heard or key in self._interrupted
        self._interrupted.discard(key)
        self._heard.discard(key)
        self._write(self._word(key, self._words.unsubscribe), key)
        return Wish(key, self._wanted.pop(key), was_heard)

    def _subscribe(self, key: Key) -> None:
        self._write(self._word(key, self._words.subscribe), key)

    @staticmethod
    def _word(key: Key, word: str) -> str:
        return f"P{word}" if isinstance(key, Glob) else word

    def _write(self, command: str, key: Key) -> None:
        self._to_write.append((command, key))
        self._changed.set()

    # What goes to another server

    def give_up(self, is_ours: Callable[[Key], bool]) -> list[Wish]:
        """What is wanted and is to be listened to elsewhere: topics that are no longer ours."""
        for key in [key for key in self._leaving if not is_ours(key)]:
            self._leaving[key].cancel()
            self._leave(key)
        return [self._drop(key) for key in tuple(self._wanted) if not is_ours(key)]

    def take(self, wishes: Iterable[Wish]) -> None:
        """Listen to what was wanted elsewhere."""
        for key, confirmed, was_heard in wishes:
            self._wanted[key] = confirmed
            if was_heard:
                self._interrupted.add(key)
            self._subscribe(key)

    def ask_again(self) -> None:
        """Subscribe again to what the server did not take."""
        for key in self._wanted.keys() - self._heard:
            self._subscribe(key)

    def stop(self) -> None:
        """Let nobody wait, and forget the timers."""
        for timer in self._leaving.values():
            timer.cancel()
        for confirmed in self._wanted.values():
            if confirmed is not None:
                confirmed.cancel()

    # The connection

    async def run(self) -> None:
        """Keep listening, until cancelled."""
        await self._changed.wait()
        waits = pauses()
        while True:
            try:
                connection = await self._connector.connect()
                try:
                    waits = pauses()
                    await self._listen(connection)
                finally:
                    self._interrupted |= self._heard
                    self._heard.clear()
                    await drop(connection)
            except FAILURES as error:
                self.reconnects += 1
                logger.warning("not listening to Redis: %s", error)
            self._failed()
            await asyncio.sleep(next(waits))

    async def _listen(self, connection: Any) -> None:
        # All over again: what was to be written to the last connection is part of what is wanted.
        self._to_write = []
        for key in self._wanted:
            self._subscribe(key)
        self._changed.set()
        loop = asyncio.get_running_loop()
        works = self._read(connection), self._write_changes(connection), self._check()
        tasks = [loop.create_task(work) for work in works]
        # Not a TaskGroup: while it ends by an error it forgets, before Python 3.13, that it was cancelled.
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await done.pop()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write_changes(self, connection: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                await connection.send_packed_command(pack([("PING",)]), check_health=False)
            self._changed.clear()
            changes, self._to_write = self._to_write, []
            if changes:
                packed = pack(_batches(changes, self._words.together))
                await connection.send_packed_command(packed, check_health=False)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY * random.uniform(0.75, 1.25))
            self._receiver.check(sorted(key for key in self._heard if isinstance(key, str)))

    async def _read(self, connection: Any) -> None:
        replies = Reader(connection)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SILENCE) as limit:
                while True:
                    for reply in await replies.next():
                        self._hear(reply)
                    limit.reschedule(loop.time() + SILENCE)
        except TimeoutError:
            raise TimeoutError(f"silent for {SILENCE:g} s, though it was pinged") from None

    def _hear(self, reply: Any) -> None:
        # Anything else is the answer to a ping.
        if isinstance(reply, list) and len(reply) > 2:
            self._take(*reply)
        elif isinstance(reply, NOT_DONE):
            # A subscription that was not taken, by a server of a cluster that is not, or not yet, responsible.
            self._failed()
        elif isinstance(reply, Exception):
            raise reply

    def _take(self, kind: bytes, channel: bytes, data: Any, more: bytes = b"") -> None:
        if kind == self._words.message:
            self._deliver(topic_of(channel), data)
        elif kind == b"pmessage":
            self._deliver(topic_of(data), more, glob_of(channel))
        elif kind == self._words.subscribed:
            self._confirm(topic_of(channel))
        elif kind == b"psubscribe":
            self._confirm(glob_of(channel))
        elif kind == self._words.unsubscribed:
            self._dropped(topic_of(channel))

    def _deliver(self, topic: str, data: bytes, glob: Glob | None = None) -> None:
        try:
            place, _, form = data.partition(b"\n")
            position = Position.parse(place.decode()) if place else None
            envelope = Envelope.from_bytes(form)
            if glob is None:
                self._receiver.deliver(topic, envelope, position)
            else:
                self._receiver.deliver_matching(glob, topic, envelope, position)
        except Exception:
            # One that cannot be read, or delivered, must not end the reading of the others.
            logger.exception("what came from Redis for %r could not be delivered", topic)

    def _confirm(self, key: Key) -> None:
        if key not in self._wanted:
            return
        self._heard.add(key)
        confirmed, self._wanted[key] = self._wanted[key], None
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)
        if key in self._interrupted:
            self._interrupted.discard(key)
            self._receiver.interrupted([key])

    def _dropped(self, key: Key) -> None:
        """The server has unsubscribed us: as we wanted, or because another one is responsible now."""
        if key in self._heard:
            self._heard.discard(key)
            self._interrupted.add(key)
            self._failed()


def _batches(changes: list[tuple[str, Key]], together: int) -> list[tuple[Any, ...]]:
    """The commands of changes in their order, with so many topics in one at most."""
    commands: list[tuple[Any, ...]] = []
    for word, same in itertools.groupby(changes, key=operator.itemgetter(0)):
        channels = [channel_of(key) for _, key in same]
        commands += [(word, *channels[start : start + together]) for start in range(0, len(channels), together)]
    return commands
