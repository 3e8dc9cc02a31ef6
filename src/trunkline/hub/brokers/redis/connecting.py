"""How connections to Redis are made: redis-py's, without its retries and its time limits.

Retries would do what may have been done twice. The limits are our own, because redis-py writes by `asyncio.wait_for`,
which before Python 3.12 may forget that it was cancelled.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from trunkline.hub.brokers.redis.urls import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from trunkline.hub.brokers.redis.urls import Target

__all__ = ["FAILURES", "Connector", "MasterConnector", "check_options", "drop", "pauses", "within"]

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


@asynccontextmanager
async def within(seconds: float, whom: object) -> AsyncIterator[None]:
    """A time limit.

    Raises:
        TimeoutError: It is over; the message names whom was waited for.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimeoutError(f"{whom} has not answered within {seconds:g} s") from None


async def drop(connection: Any) -> None:
    """Let go of a connection, with what it has not sent, which a server that takes nothing would hold it for."""
    await connection.disconnect(nowait=True)
    connection.transport.abort()


def _make(address: Address, options: Mapping[str, Any]) -> Any:
    kind = options.get("connection_class", Connection)
    given = {name: value for name, value in options.items() if name != "connection_class"}
    unlimited = {"socket_timeout": None, "socket_connect_timeout": None}
    once = {"protocol": 2, "retry": Retry(NoBackoff(), 0)}
    return kind(host=address.host, port=address.port, **{**given, **unlimited, **once})


def check_options(target: Target) -> None:
    """Refuse what redis-py's connections do not take.

    Raises:
        ValueError: An option of the URL is unknown.
    """
    for options in (target.options, target.sentinel_options):
        try:
            _make(target.hosts[0], options)
        except TypeError as error:
            raise ValueError(f"the URL has an option that redis-py's connections do not take: {error}") from None


class Connector:
    """Makes connections to one server.

    Args:
        address: Where it is.
        options: What redis-py's connections take.
    """

    def __init__(self, address: Address, options: Mapping[str, Any]) -> None:
        self._address = address
        self._options = options

    async def connect(self) -> Any:
        """A new connection.

        Raises:
            OSError: The server cannot be reached, or refuses us.
            RedisError: The same, as redis-py says it.
        """
        connection = _make(self._address, self._options)
        try:
            async with within(CONNECT_TIMEOUT, self._address):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        # For `drop`: redis-py forgets its own when a write is cancelled, and closes it behind what is written.
        connection.transport = connection._writer.transport
        return connection


class MasterConnector:
    """Makes connections to whatever server is the master now, of which the Sentinels know.

    Args:
        target: The Sentinels, and what they call the master.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sentinels = list(target.hosts)

    async def connect(self) -> Any:
        """A new connection to the master.

        Raises:
            OSError: No Sentinel knows it, or it cannot be reached, or it is none yet, or no longer.
            RedisError: The same, as redis-py says it.
        """
        address = await self._master()
        connection = await Connector(address, self._target.options).connect()
        try:
            async with within(RESPONSE_TIMEOUT, address):
                await connection.send_command("ROLE")
                role = (await connection.read_response(disconnect_on_error=False))[0]
            if role != b"master":
                # Sentinels that have been away name the one before, which follows the new one by now.
                raise ConnectionError(f"{address} is {role.decode()}, not master")
        except BaseException:
            await drop(connection)
            raise
        return connection

    async def _master(self) -> Address:
        problems: list[str] = []
        for sentinel in tuple(self._sentinels):
            try:
                found = await self._ask(sentinel)
            except FAILURES as error:
                problems.append(f"{sentinel}: {error}")
            else:
                if found is not None:
                    # The next time, too, it is asked first.
                    self._sentinels.remove(sentinel)
                    self._sentinels.insert(0, sentinel)
                    return found
                problems.append(f"{sentinel} knows none")
        raise ConnectionError(f"no Sentinel tells of the master {self._target.master!r}: {'; '.join(problems)}")

    async def _ask(self, sentinel: Address) -> Address | None:
        connection = await Connector(sentinel, self._target.sentinel_options).connect()
        try:
            async with within(RESPONSE_TIMEOUT, sentinel):
                await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._target.master)
                answer = await connection.read_response(disconnect_on_error=False)
        finally:
            await drop(connection)
        return None if answer is None else Address(answer[0].decode(), int(answer[1]))
