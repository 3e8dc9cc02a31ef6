"""What a hub asks, as commands to Redis and subscriptions."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from trunkline.hub.brokers.base import Broker, Entry, History
from trunkline.hub.brokers.redis.commands import Commands
from trunkline.hub.brokers.redis.connecting import Connector
from trunkline.hub.brokers.redis.listener import Listener
from trunkline.hub.brokers.redis.scripts import HISTORY, HOLD, LAST, PRESENT, PUBLISH, REAP, RELEASE, Script
from trunkline.hub.publication import Envelope, Position

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trunkline.hub.config import Retention

__all__ = ["RedisBroker"]

PREFIX = "trunkline:"
READ_TIMEOUT = 5.0
LEASES_AT_ONCE = 500


def _channel(topic: str) -> bytes:
    return f"{PREFIX}c:{topic}".encode()


def _topic_of(channel: bytes) -> str:
    return channel.decode().removeprefix(f"{PREFIX}c:")


class RedisBroker(Broker):
    """A broker over a Redis or Valkey server.

    Channels are shared by all databases of a server; keys begin with `trunkline:`.

    Args:
        url: `redis://user:password@host:port/db`, or `rediss://` over TLS.

    Raises:
        ValueError: The URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._connector = Connector(url)
        self._commands: Commands
        self._listener: Listener
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; the connections are made when they are needed."""
        self._commands = Commands(self._connector)
        self._listener = Listener(self._connector, self.receiver, _channel, _topic_of)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._commands.run()), loop.create_task(self._listener.run())]

    async def stop(self) -> None:
        """Close both connections."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            self._listener.stop()

    @property
    def reconnects(self) -> int:
        """How many times a connection was lost or could not be made."""
        return self._commands.reconnects + self._listener.reconnects if self._tasks else 0

    async def publish(
        self, topic: str, envelope: Envelope, retention: Retention | None, idempotency_key: str | None, timeout: float
    ) -> Position | None:
        """Publish, in one step with what is kept."""
        form = envelope.to_bytes()
        channel = _channel(topic)
        if retention is None and idempotency_key is None:
            data = b"\n" + form
            await self._commands.call(lambda _: ("PUBLISH", channel, data), repeatable=False, timeout=timeout)
            return None
        keys = (*_keys(topic), f"{PREFIX}k:{{{topic}}}:{idempotency_key or ''}")
        count, seconds = (0, 0.0) if retention is None else (retention.count, retention.seconds)
        fresh, keyed = secrets.token_hex(8), int(idempotency_key is not None)

        def arguments(run_id: str) -> Sequence[Any]:
            return "EVALSHA", PUBLISH.sha, 3, *keys, channel, form, count, seconds, run_id, fresh, keyed

        answer = await self._commands.call(arguments, repeatable=bool(keyed), timeout=timeout)
        return Position.parse(answer.decode()) if answer else None

    async def subscribe(self, topic: str) -> None:
        """Listen, and wait for the server to confirm it."""
        await self._listener.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        """Listen no more, soon."""
        self._listener.unsubscribe(topic)

    async def history(self, topic: str, since: Position | None) -> History:
        """What followed a position, read in one step."""
        keys, fresh = _keys(topic), secrets.token_hex(8)
        epoch, offset = ("", 0) if since is None else since

        def arguments(run_id: str) -> Sequence[Any]:
            return "EVALSHA", HISTORY.sha, 2, *keys, run_id, fresh, epoch, offset

        answer = await self._commands.call(arguments, repeatable=True, timeout=READ_TIMEOUT)
        top = Position(answer[0].decode(), int(answer[1]))
        return History(top, _entries(top.epoch, offset, answer[3]), complete=bool(answer[2]))

    async def last(self, topic: str, count: int) -> History:
        """The newest of what is kept, read in one step."""
        keys, fresh = _keys(topic), secrets.token_hex(8)

        def arguments(run_id: str) -> Sequence[Any]:
            return "EVALSHA", LAST.sha, 2, *keys, run_id, fresh, count

        epoch, offset, forms = await self._commands.call(arguments, repeatable=True, timeout=READ_TIMEOUT)
        top = Position(epoch.decode(), int(offset))
        return History(top, _entries(top.epoch, top.offset - len(forms), forms), complete=True)

    async def hold(self, topic: str, entries: Mapping[str, str], seconds: float) -> None:
        """Let entries be present, so many in one step that others are not held up."""
        pairs = list(entries.items())
        for start in range(0, len(pairs), LEASES_AT_ONCE):
            some = pairs[start : start + LEASES_AT_ONCE]
            await self._of_presence(HOLD, topic, seconds, *(part for pair in some for part in pair))

    async def release(self, topic: str, refs: Collection[str]) -> None:
        """Let entries be gone now."""
        some = list(refs)
        for start in range(0, len(some), LEASES_AT_ONCE):
            await self._of_presence(RELEASE, topic, *some[start : start + LEASES_AT_ONCE])

    async def reap(self, topic: str) -> dict[str, str]:
        """Let those be gone whose time has run out, 500 at most."""
        return _pairs(await self._of_presence(REAP, topic))

    async def present(self, topic: str) -> dict[str, str]:
        """Who is present."""
        return _pairs(await self._of_presence(PRESENT, topic))

    async def topics(self) -> dict[str, int]:
        """What somebody listens to, of all hubs that use this server."""
        channels: list[bytes] = await self._ask("PUBSUB", "CHANNELS", f"{PREFIX}c:*")
        if not channels:
            return {}
        answer: list[Any] = await self._ask("PUBSUB", "NUMSUB", *channels)
        return {_topic_of(channel): count for channel, count in zip(answer[::2], answer[1::2], strict=True)}

    async def _ask(self, *command: Any) -> Any:
        return await self._commands.call(lambda _: command, repeatable=True, timeout=READ_TIMEOUT)

    async def _of_presence(self, script: Script, topic: str, *arguments: Any) -> Any:
        keys = f"{PREFIX}p:{{{topic}}}", f"{PREFIX}u:{{{topic}}}"
        return await self._ask("EVALSHA", script.sha, 2, *keys, *arguments)


def _entries(epoch: str, offset: int, forms: list[bytes]) -> list[Entry]:
    """The entries behind an offset."""
    return [
        Entry(Position(epoch, offset + index), Envelope.from_bytes(form)) for index, form in enumerate(forms, start=1)
    ]


def _pairs(flat: list[bytes]) -> dict[str, str]:
    texts = [text.decode() for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _keys(topic: str) -> tuple[str, str]:
    # In braces, so that a cluster keeps what one script touches on one node.
    return f"{PREFIX}s:{{{topic}}}", f"{PREFIX}m:{{{topic}}}"
