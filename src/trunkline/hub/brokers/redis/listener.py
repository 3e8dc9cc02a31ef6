"""The connection for what is delivered: subscribed once per topic, told of all topics again when it comes back.

`_wanted` is what the hub wants, `_heard` what the server has confirmed on the present connection. A topic that nobody
wants any more is left a second later, because rooms are often left and entered again. The reader never waits for
anybody but the server, which drops subscribers that do not read.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

from trunkline.hub.brokers.redis.connecting import FAILURES, pauses
from trunkline.hub.errors import BrokerError
from trunkline.hub.publication import Envelope, Position

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.hub.brokers.base import Receiver
    from trunkline.hub.brokers.redis.connecting import Connector

__all__ = ["Listener"]

logger = logging.getLogger("trunkline.hub")

BATCH = 512
LEAVE_AFTER = 1.0
SUBSCRIBE_TIMEOUT = 5.0
# A server that says nothing for so long, though it was pinged, is gone.
PING_EVERY = 5.0
SILENCE = 15.0
# How often a last publication that was lost on its way is looked for.
CHECK_EVERY = 40.0


class Listener:
    """One connection to the server, kept up.

    Args:
        connector: Makes it.
        receiver: The hub.
        channel: The channel of a topic, and `topic_of` the other way.
        topic_of: The topic of a channel.

    Attributes:
        reconnects: How many times it was lost.
    """

    def __init__(
        self,
        connector: Connector,
        receiver: Receiver,
        channel: Callable[[str], bytes],
        topic_of: Callable[[bytes], str],
    ) -> None:
        self._connector = connector
        self._receiver = receiver
        self._channel = channel
        self._topic_of = topic_of
        self._wanted: dict[str, asyncio.Future[None] | None] = {}
        self._heard: set[str] = set()
        self._interrupted: set[str] = set()
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._to_write: list[tuple[bytes, str]] = []
        self._changed = asyncio.Event()
        self.reconnects = 0

    # What is wanted

    async def subscribe(self, topic: str) -> None:
        """Listen to a topic; returns when the server has confirmed it.

        Raises:
            BrokerError: It has not, in time.
        """
        leaving = self._leaving.pop(topic, None)
        if leaving is not None:
            leaving.cancel()
        if topic in self._wanted and topic in self._heard:
            return
        confirmed = self._wanted.get(topic)
        if confirmed is None:
            confirmed = self._wanted[topic] = asyncio.get_running_loop().create_future()
            self._write(b"SUBSCRIBE", topic)
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT):
                await asyncio.shield(confirmed)
        except TimeoutError:
            raise BrokerError(f"Redis has not confirmed the subscription within {SUBSCRIBE_TIMEOUT:g} s") from None

    def unsubscribe(self, topic: str) -> None:
        """Listen to it no more, soon."""
        if topic in self._wanted and topic not in self._leaving:
            loop = asyncio.get_running_loop()
            self._leaving[topic] = loop.call_later(LEAVE_AFTER, self._leave, topic)

    def _leave(self, topic: str) -> None:
        del self._leaving[topic]
        confirmed = self._wanted.pop(topic)
        if confirmed is not None:
            confirmed.cancel()
        self._interrupted.discard(topic)
        self._heard.discard(topic)
        self._write(b"UNSUBSCRIBE", topic)

    def _write(self, command: bytes, topic: str) -> None:
        self._to_write.append((command, topic))
        self._changed.set()

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
                    await connection.disconnect(nowait=True)
            except* FAILURES as group:
                self.reconnects += 1
                logger.warning("not listening to Redis: %s", group.exceptions[0])
            await asyncio.sleep(next(waits))

    async def _listen(self, connection: Any) -> None:
        # All over again: what was to be written to the last connection is part of what is wanted.
        self._to_write = [(b"SUBSCRIBE", topic) for topic in self._wanted]
        self._changed.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(connection))
            tasks.create_task(self._write_changes(connection))
            tasks.create_task(self._check())

    async def _write_changes(self, connection: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                await connection.send_command("PING", check_health=False)
            self._changed.clear()
            changes, self._to_write = self._to_write, []
            for command, channels in _batches(changes):
                await connection.send_command(command, *map(self._channel, channels), check_health=False)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY * random.uniform(0.75, 1.25))
            self._receiver.check(sorted(self._heard))

    async def _read(self, connection: Any) -> None:
        while True:
            reply = await connection.read_response(timeout=SILENCE, disconnect_on_error=False)
            # Anything else is the answer to a ping.
            if isinstance(reply, list) and len(reply) == 3:
                self._take(*reply)

    def _take(self, kind: bytes, channel: bytes, data: Any) -> None:
        if kind == b"message":
            self._deliver(self._topic_of(channel), data)
        elif kind == b"subscribe":
            self._confirm(self._topic_of(channel))

    def _deliver(self, topic: str, data: bytes) -> None:
        try:
            place, _, form = data.partition(b"\n")
            position = Position.parse(place.decode()) if place else None
            envelope = Envelope.from_bytes(form)
            self._receiver.deliver(topic, envelope, position)
        except Exception:
            # One that cannot be read, or delivered, must not end the reading of the others.
            logger.exception("what came from Redis for %r could not be delivered", topic)

    def _confirm(self, topic: str) -> None:
        if topic not in self._wanted:
            return
        self._heard.add(topic)
        confirmed, self._wanted[topic] = self._wanted[topic], None
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)
        if topic in self._interrupted:
            self._interrupted.discard(topic)
            self._receiver.interrupted([topic])


def _batches(changes: list[tuple[bytes, str]]) -> list[tuple[bytes, list[str]]]:
    """Changes that may go in one command each, in their order."""
    batches: list[tuple[bytes, list[str]]] = []
    for command, topic in changes:
        if not batches or batches[-1][0] != command or len(batches[-1][1]) >= BATCH:
            batches.append((command, []))
        batches[-1][1].append(topic)
    return batches
