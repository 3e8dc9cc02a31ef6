"""One-time tickets: tokens for where a longer-lived one would be seen, such as the address of a WebSocket.

A ticket is 32 random bytes that stand for a value for some seconds. The store knows it by its SHA-256 only, so who
reads the store cannot use what is there. A hash without salt will do: there is nothing to guess.
"""

from __future__ import annotations

import importlib
import logging
import secrets
import time
from abc import ABC, abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from trunkline.exceptions import HTTPException, TrunklineError
from trunkline.security._errors import Unauthorized
from trunkline.security._tokens import QueryToken
from trunkline.workers import worker_count

if TYPE_CHECKING:
    from trunkline.requests import HTTPConnection

__all__ = ["MemoryTicketStore", "TicketError", "TicketStore", "Tickets"]

logger = logging.getLogger("trunkline.security")


class TicketError(TrunklineError, RuntimeError):
    """Raised where tickets cannot be kept as they were asked to be."""


class TicketStore(ABC):
    """Where the values of tickets are kept. Subclass it for a store of your own."""

    @abstractmethod
    async def put(self, key: str, value: str, seconds: float) -> None:
        """Keep a value, and forget it after some time.

        Args:
            key: What it is asked for by.
            value: The value.
            seconds: For how long, at most.
        """

    @abstractmethod
    async def take(self, key: str) -> str | None:
        """Give a value to the first who asks, and forget it: of several who ask at once, in any process, one gets it.

        Args:
            key: What it was kept by.

        Returns:
            The value; None if there is none.
        """

    async def aclose(self) -> None:  # noqa: B027 - most have nothing to close
        """Give back what the store holds open."""


class MemoryTicketStore(TicketStore):
    """Keeps tickets in this process, which no other one sees: with several workers most tickets are not found.

    Args:
        limit: How many are kept at once; beyond that no more are issued (503).
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._kept: dict[str, tuple[float, str]] = {}

    async def put(self, key: str, value: str, seconds: float) -> None:
        """Keep a value, and forget it after some time."""
        self._forget_expired()
        if len(self._kept) >= self._limit:
            raise HTTPException(503, "Too many tickets are outstanding")
        self._kept[key] = time.monotonic() + seconds, value

    async def take(self, key: str) -> str | None:
        """Give a value to the first who asks, and forget it."""
        end, value = self._kept.pop(key, (0.0, None))
        return value if end > time.monotonic() else None

    def _forget_expired(self) -> None:
        # Those that are kept for the same time, as all of one `Tickets` are, expire in the order in which they came.
        now = time.monotonic()
        while self._kept:
            first = next(iter(self._kept))
            if self._kept[first][0] > now:
                return
            del self._kept[first]


def _store_of(store: str | TicketStore) -> TicketStore:
    if isinstance(store, TicketStore):
        return store
    if store == "memory://":
        return MemoryTicketStore()
    if not str(store).startswith(("redis://", "rediss://")):
        raise ValueError(
            f'expected "memory://", "redis://host:port/db", "rediss://host:port/db" or a TicketStore, but got {store!r}'
        )
    try:
        module = importlib.import_module("trunkline.security._redis")
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise TicketError("tickets in Redis need the package redis: pip install 'trunkline[redis]'") from None
    made: TicketStore = module.RedisTicketStore(store)
    return made


class Tickets(QueryToken):
    """One-time tickets: issued over HTTP, given in the query string of a WebSocket, and good once, for a short time.

        tickets = Tickets("redis://localhost:6379")

        @app.post("/ticket")
        async def ticket(user: Annotated[User, Depends(authentication)]) -> dict[str, str]:
            return {"ticket": await tickets.issue(user.name)}

    As a source of tokens it gives what the ticket was issued for: a name, or another token, which `verify` gets. A
    ticket that is unknown, used or expired is refused, also where another source would follow.

    Args:
        store: `"memory://"`, within this process; `"redis://host:port/db"` (over TLS `"rediss://..."`), for all
            processes that use that Redis or Valkey (6.2 or later); or a `TicketStore`.
        name: The name of the query parameter.
        seconds: How long a ticket is good.

    Raises:
        ValueError: The store, the name or the time is none.
        TicketError: The package `redis` is not installed.
    """

    challenge = "Ticket"

    def __init__(self, store: str | TicketStore = "memory://", *, name: str = "ticket", seconds: float = 30.0) -> None:
        super().__init__(name)
        if not seconds > 0:
            raise ValueError(f"a ticket is good for more than 0 seconds, but got {seconds!r}")
        self._store = _store_of(store)
        self._seconds = seconds
        self._has_warned = False
        self._warn_of_workers()

    async def issue(self, value: str) -> str:
        """A ticket that stands for a value.

        Args:
            value: What the source gives for it, once: text, for example the name of the user.

        Returns:
            The ticket: 43 letters, digits, hyphens and underscores. It may stand in an address as it is.

        Raises:
            TypeError: The value is not a str.
            HTTPException: The store in memory is full (503).
        """
        if not isinstance(value, str):
            raise TypeError(f"a ticket stands for a str, for example the name of the user, but got {value!r}")
        self._warn_of_workers()
        ticket = secrets.token_urlsafe(32)
        await self._store.put(_key_of(ticket), value, self._seconds)
        return ticket

    async def find(self, connection: HTTPConnection[Any]) -> str | None:
        """What the ticket of this connection was issued for; None if there is no ticket.

        Raises:
            Unauthorized: There is one, and it is good no more.
        """
        ticket = await super().find(connection)
        if ticket is None:
            return None
        value = await self._store.take(_key_of(ticket))
        if value is None:
            raise Unauthorized("The ticket is not valid", challenge=self.challenge)
        return value

    async def aclose(self) -> None:
        """Close what the store holds open, when the application ends."""
        await self._store.aclose()

    def _warn_of_workers(self) -> None:
        # When it is made, and again when it is used: a server's own configuration is known by then.
        if self._has_warned or worker_count() < 2 or not isinstance(self._store, MemoryTicketStore):
            return
        self._has_warned = True
        logger.warning(
            "there are %d worker processes, but these tickets are kept in the memory of the one that issues them: the "
            'others refuse them. Keep them in Redis: Tickets("redis://localhost:6379")',
            worker_count(),
        )


def _key_of(ticket: str) -> str:
    return sha256(ticket.encode()).hexdigest()
