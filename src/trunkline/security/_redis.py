"""Tickets in Redis or Valkey, for all processes that use it."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from trunkline.security._tickets import TicketStore

__all__ = ["RedisTicketStore"]

SECONDS = 5.0
PREFIX = "trunkline:ticket:"


class RedisTicketStore(TicketStore):
    """Keeps tickets in Redis, under keys that begin with `trunkline:ticket:` and expire there.

    Nothing is tried twice: a ticket whose answer was lost is used up, and its owner asks for another.

    Args:
        url: `redis://` or `rediss://`, with user, password, port and database as redis-py reads it.

    Raises:
        ValueError: redis-py cannot read it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._redis = self._connected()

    def _connected(self) -> Redis:
        client: Redis = Redis.from_url(
            self._url,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
        )
        return client

    def _here(self) -> Redis:
        """The client of this loop: connections of another one are of no use."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                self._redis = self._connected()
            self._loop = loop
        return self._redis

    async def put(self, key: str, value: str, seconds: float) -> None:
        """Keep a value, and forget it after some time."""
        await self._here().set(PREFIX + key, value, px=max(1, round(seconds * 1000)))

    async def take(self, key: str) -> str | None:
        """Give a value to the first who asks, and forget it."""
        value: Any = await self._here().getdel(PREFIX + key)
        return value if value is None else str(value)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
