"""What a hub asks, as commands to Redis and subscriptions."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any

from trunkline.hub.brokers.base import Broker, Entry, History
from trunkline.hub.brokers.redis.cluster import Cluster
from trunkline.hub.brokers.redis.connecting import check_options
from trunkline.hub.brokers.redis.naming import CHANNELS, channel_of, key_of, topic_of
from trunkline.hub.brokers.redis.scripts import HISTORY, HOLD, LAST, PRESENT, REAP, RELEASE, Script
from trunkline.hub.brokers.redis.servers import One
from trunkline.hub.brokers.redis.urls import parse
from trunkline.hub.publication import Envelope, Position

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trunkline.hub.brokers.redis.servers import Server, Servers
    from trunkline.hub.config import Retention
    from trunkline.hub.globs import Key

__all__ = ["RedisBroker"]

READ_TIMEOUT = 5.0
LEASES_AT_ONCE = 500
ENTRIES_AT_ONCE = 256


class RedisBroker(Broker):
    """A broker over a Redis or Valkey server.

    Channels are shared by all databases of a server; keys and channels begin with `trunkline:`.

    Args:
        url: `redis://user:password@host:port/db`, `redis+sentinel://host1,host2/name/db` or
            `redis+cluster://host1,host2`; with `rediss` for `redis` over TLS, with `valkey` the same.

    Raises:
        ValueError: The URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._target = parse(url)
        check_options(self._target)
        self._running: Servers | None = None
        # Sharded pub/sub has no patterns: a channel is published on the server of its slot only.
        self.takes_patterns = self._target.kind != "cluster"

    def start(self) -> None:
        """Begin; the connections are made when they are needed."""
        kind = Cluster if self._target.kind == "cluster" else One
        self._running = kind(self._target, self.receiver)

    async def stop(self) -> None:
        """Close all connections."""
        running, self._running = self._running, None
        if running is not None:
            await running.stop()

    @property
    def _servers(self) -> Servers:
        assert self._running is not None
        return self._running

    @property
    def reconnects(self) -> int:
        """How many times a connection was lost or could not be made."""
        return 0 if self._running is None else self._running.reconnects

    async def publish(
        self, topic: str, envelope: Envelope, retention: Retention | None, idempotency_key: str | None, timeout: float
    ) -> Position | None:
        """Publish, in one step with what is kept."""
        form = envelope.to_bytes()
        channel = channel_of(topic)
        words = self._servers.words
        if retention is None and idempotency_key is None:
            data = b"\n" + form
            await self._call(topic, lambda _: (words.publish, channel, data), repeatable=False, timeout=timeout)
            return None
        keys = (*_keys(topic), f"{key_of('k', topic)}:{idempotency_key or ''}")
        count, seconds = (0, 0.0) if retention is None else (retention.count, retention.seconds)
        fresh, keyed = secrets.token_hex(8), int(idempotency_key is not None)

        def arguments(run_id: str) -> Sequence[Any]:
            return "EVALSHA", words.publish_script.sha, 3, *keys, channel, form, count, seconds, run_id, fresh, keyed

        answer = await self._call(topic, arguments, repeatable=bool(keyed), timeout=timeout)
        return Position.parse(answer.decode()) if answer else None

    async def subscribe(self, key: Key) -> None:
        """Listen, and wait for the server to confirm it."""
        await self._servers.of(key).listener.subscribe(key)

    def unsubscribe(self, key: Key) -> None:
        """Listen no more, soon."""
        self._servers.of(key).listener.unsubscribe(key)

    async def history(self, topic: str, since: Position | None) -> History:
        """What followed a position, read by pages, so that a long one holds nobody up."""
        history = page = await self._page(topic, since)
        while page.complete and page.entries and page.entries[-1].position.offset < history.top.offset:
            page = await self._page(topic, page.entries[-1].position)
            if not page.complete:
                # What follows was trimmed while this was read.
                return History(page.top, [], complete=False)
            history.entries.extend(page.entries)
        return history

    async def _page(self, topic: str, since: Position | None) -> History:
        keys, fresh = _keys(topic), secrets.token_hex(8)
        epoch, offset = ("", 0) if since is None else since

        def arguments(run_id: str) -> Sequence[Any]:
            return "EVALSHA", HISTORY.sha, 2, *keys, run_id, fresh, epoch, offset, ENTRIES_AT_ONCE

        answer = await self._call(topic, arguments, repeatable=True, timeout=READ_TIMEOUT)
        top = Position(answer[0].decode(), int(answer[1]))
        return History(top, _entries(top.epoch, offset, answer[3]), complete=bool(answer[2]))

    async def last(self, topic: str, count: int) -> History:
        """The newest of what is kept, read in one step."""
        keys, fresh = _keys(topic), secrets.token_hex(8)

        def arguments(run_id: str) -> Sequence[Any]:
            return "EVALSHA", LAST.sha, 2, *keys, run_id, fresh, count

        epoch, offset, forms = await self._call(topic, arguments, repeatable=True, timeout=READ_TIMEOUT)
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
        servers = self._servers
        found: Counter[str] = Counter()
        for server in servers.all:
            channels = await self._ask(server, "PUBSUB", servers.words.channels, f"{CHANNELS}*}}")
            if channels:
                answer = await self._ask(server, "PUBSUB", servers.words.listeners, *channels)
                found.update(dict(zip(map(topic_of, answer[::2]), answer[1::2], strict=True)))
        # Without those that were left between the two questions; with the sum of a topic that is on its way from one
        # server to another.
        return dict(+found)

    async def _ask(self, server: Server, *command: Any) -> Any:
        return await server.commands.call("", lambda _: command, repeatable=True, timeout=READ_TIMEOUT)

    async def _call(
        self, topic: str, arguments: Callable[[str], Sequence[Any]], *, repeatable: bool, timeout: float
    ) -> Any:
        commands = self._servers.of(topic).commands
        return await commands.call(topic, arguments, repeatable=repeatable, timeout=timeout)

    async def _of_presence(self, script: Script, topic: str, *arguments: Any) -> Any:
        command = "EVALSHA", script.sha, 2, key_of("p", topic), key_of("u", topic), *arguments
        return await self._call(topic, lambda _: command, repeatable=True, timeout=READ_TIMEOUT)


def _entries(epoch: str, offset: int, forms: list[bytes]) -> list[Entry]:
    """The entries behind an offset."""
    return [
        Entry(Position(epoch, offset + index), Envelope.from_bytes(form)) for index, form in enumerate(forms, start=1)
    ]


def _pairs(flat: list[bytes]) -> dict[str, str]:
    texts = [text.decode() for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _keys(topic: str) -> tuple[str, str]:
    return key_of("s", topic), key_of("m", topic)
