"""Connections to one server, without redis-py's own retries: whoever uses one decides what may be done twice."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FAILURES", "Connector", "pauses"]

CONNECT_TIMEOUT = 3.0
RESPONSE_TIMEOUT = 5.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0

# What tells that a connection, not a command, has failed: redis-py's errors of that kind are OSErrors too or this.
FAILURES = (OSError, RedisError, TimeoutError)


def pauses() -> Iterator[float]:
    """Seconds to wait before each further try: doubled, with full jitter, so that processes do not come in step."""
    longest = FIRST_PAUSE
    while True:
        yield random.uniform(0, longest)
        longest = min(LONGEST_PAUSE, longest * 2)


class Connector:
    """Makes connections to the server of a URL.

    Args:
        url: `redis://` or `rediss://`, with user, password, port and database as redis-py reads it.

    Raises:
        ValueError: redis-py cannot read it.
    """

    def __init__(self, url: str) -> None:
        self._pool: Any = ConnectionPool.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=RESPONSE_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT,
        )

    async def connect(self) -> Any:
        """A new connection.

        Raises:
            OSError: The server cannot be reached, or refuses us.
            RedisError: The same, as redis-py says it.
        """
        connection = self._pool.make_connection()
        await connection.connect()
        return connection
