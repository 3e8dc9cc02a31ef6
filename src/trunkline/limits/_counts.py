"""How many connections one address or one user has: as dependencies, solved before `accept`.

A connection is counted from then on until its endpoint has ended, however it ends: what a dependency holds is given
back with it. Nothing is awaited between looking and counting.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator  # noqa: TC003 - of dependencies, read when a route is made
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trunkline.dependencies import Depends
from trunkline.exceptions import HTTPException
from trunkline.limits._address import client_network
from trunkline.limits._errors import LimitError
from trunkline.security._origins import proxies_of
from trunkline.status import HTTP_429_TOO_MANY_REQUESTS
from trunkline.websockets import WebSocket  # noqa: TC001 - of a dependency
from trunkline.workers import worker_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["per_ip", "per_user"]

logger = logging.getLogger("trunkline.limits")


class _Counts:
    """How many there are of each.

    Args:
        most: How many there may be.
        words: Of whom they are.
    """

    def __init__(self, most: float, words: str) -> None:
        self._most = most
        self._words = words
        self._counts: dict[str | int, int] = {}
        self._has_warned = False

    @contextmanager
    def one_more(self, key: str | int) -> Iterator[None]:
        """Count one for the length of the block.

        Raises:
            HTTPException: There are as many as there may be (429; RFC 6585 section 4).
        """
        if not self._has_warned and worker_count() > 1:
            self._warn_of_workers()
        count = self._counts.get(key, 0)
        if count >= self._most:
            raise HTTPException(HTTP_429_TOO_MANY_REQUESTS, f"more than {self._most} connections of one {self._words}")
        self._counts[key] = count + 1
        try:
            yield
        finally:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]

    def _warn_of_workers(self) -> None:
        self._has_warned = True
        logger.warning(
            "there are %d worker processes, and each counts the connections of one %s by itself: there may be %d times "
            "as many as the %d that are allowed",
            worker_count(),
            self._words,
            worker_count(),
            self._most,
        )


def per_ip(most: float) -> Any:
    """A dependency by which an address has so many connections at most.

    Args:
        most: How many.
    """
    counts = _Counts(most, "address")
    is_reported = False

    async def one_of_an_address(websocket: WebSocket[Any]) -> AsyncIterator[None]:
        network = client_network(websocket.scope, proxies_of(websocket.scope))
        if network is not None:
            with counts.one_more(network):
                yield
            return
        nonlocal is_reported
        if not is_reported:
            is_reported = True
            logger.warning(
                "connections are not counted by address, because the server tells no address of its clients; behind a "
                'proxy on a unix socket write App(trusted_proxies="*")'
            )
        yield

    return Depends(one_of_an_address)


def per_user(most: float, user: Callable[..., Any]) -> Any:
    """A dependency by which a user has so many connections at most.

    Args:
        most: How many.
        user: A dependency that gives what tells users apart, None for nobody.
    """
    counts = _Counts(most, "user")

    async def one_of_a_user(who: Any = Depends(user)) -> AsyncIterator[None]:  # noqa: B008 - the style of defaults
        if who is None:
            yield
            return
        if not isinstance(who, str | int):
            raise LimitError(
                "expected a str or an int that tells users apart, or None, of user= of Limits, but got a "
                f"{type(who).__qualname__} from {user!r}; give a function that returns for example user.id"
            )
        with counts.one_more(who):
            yield

    return Depends(one_of_a_user)
