"""Who is there, on one connection, and until when.

A principal is whatever the application's own function makes of a token. One that has `expires_at` ends a WebSocket at
that moment: a timer of the loop, no task, closes it from beside its endpoint (`trunkline._expulsion`). The timer is set
by the `Authenticated` of the connection, and ends with the dependency. Expiry is told in the time of day, which may be
set, so long spans are looked at again on the way.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from trunkline.concurrency import is_async_callable, run_in_threadpool
from trunkline.security._errors import Unauthorized
from trunkline.security._tokens import signature_for
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.requests import HTTPConnection
    from trunkline.security._tokens import TokenSource

__all__ = ["Authenticated", "Authentication", "get_authentication"]

P = TypeVar("P")

_KEY = "trunkline.authentication"
_UNAUTHORIZED = 3000
_EXPIRED = "The authentication has expired"

# Seconds after which the time of day is looked at again.
LONG = 3600.0


def _expiry_given(principal: object) -> Any:
    """What a principal says of its end: an attribute, or an item of a mapping; `...` if it says nothing of it."""
    if isinstance(principal, Mapping):
        return principal.get("expires_at", ...)
    return getattr(principal, "expires_at", ...)


def expiry_of(principal: object) -> float | None:
    """When a principal expires, in seconds since 1970; None for never.

    Raises:
        TypeError: Its `expires_at` is no point of time.
    """
    expiry = _expiry_given(principal)
    if expiry is None or expiry is ...:
        return None
    if isinstance(expiry, datetime) and expiry.utcoffset() is not None:
        return expiry.timestamp()
    if isinstance(expiry, int | float) and not isinstance(expiry, bool) and math.isfinite(expiry):
        return float(expiry)
    raise TypeError(
        "the expires_at of a principal is an aware datetime, for example datetime.now(UTC) + timedelta(hours=1), or "
        f"seconds since 1970, as a JWT has them, or None, but got {expiry!r}"
    )


class Authenticated(Generic[P]):
    """Who is there, on one connection: what `get_authentication` gives.

    Attributes:
        principal: What `verify` returned, or the one that it was renewed by.
        expires_at: When that expires, in seconds since 1970; None for never.
    """

    __slots__ = ("_connection", "_timer", "expires_at", "principal")

    def __init__(self, connection: HTTPConnection[Any], principal: P, expires_at: float | None) -> None:
        self._connection: HTTPConnection[Any] | None = connection
        self._timer: asyncio.TimerHandle | None = None
        self._become(principal, expires_at)

    def renew(self, principal: P) -> None:
        """Go on with a new principal, for example because the client has sent a fresh token. asyncio only.

            get_authentication(websocket).renew(await verify(message.token))

        That it is the same user is for the application to see to. One that has expired already closes the connection.

        Args:
            principal: As `verify` returns one.

        Raises:
            TypeError: Its `expires_at` is no point of time.
        """
        expires_at = expiry_of(principal)
        if self._connection is not None:
            self._stop()
            self._become(principal, expires_at)

    def revoke(self, reason: str = "The authentication was revoked") -> None:
        """Close the WebSocket with 3000 now, for example because its user has logged out. asyncio only.

        Args:
            reason: Text for the client, cut to 123 bytes of UTF-8 at a character.
        """
        self._stop()
        if isinstance(self._connection, WebSocket):
            self._connection._expel(_UNAUTHORIZED, reason)

    def _become(self, principal: P, expires_at: float | None) -> None:
        self.principal = principal
        self.expires_at = expires_at
        assert self._connection is not None
        self._connection.scope["user"] = principal
        if expires_at is not None and isinstance(self._connection, WebSocket):
            self._watch(self._connection, expires_at)

    def _watch(self, websocket: WebSocket[Any], expires_at: float) -> None:
        left = expires_at - time.time()
        if left > 0:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(left, LONG), self._watch, websocket, expires_at)
        else:
            self._timer = None
            websocket._expel(_UNAUTHORIZED, _EXPIRED)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """The connection has ended: nothing expires any more. For `Authentication`."""
        self._stop()
        self._connection = None


class Authentication(Generic[P]):
    """Makes a principal of a token: a dependency, of HTTP and WebSocket routes alike.

        async def verify(token: str) -> User | None: ...

        authentication = Authentication(FirstOf(BearerToken(), CookieToken("session")), verify)

        @app.websocket("/feed")
        async def feed(websocket: WebSocket, user: Annotated[User, Depends(authentication)]) -> None: ...

    A principal that has an attribute or item `expires_at` (an aware `datetime`, seconds since 1970, or None for never)
    is refused if that has passed, and closes a WebSocket with 3000 when it comes, also while the endpoint waits for a
    message. `get_authentication` gives what can be renewed instead. That takes asyncio. The principal is
    `connection.user`, too.

    Args:
        source: Where the token comes.
        verify: The principal for a token; None for a token that is not valid. May raise `Unauthorized` or `Forbidden`
            itself. A `def` runs in a worker thread, so that it may block.

    Raises:
        TypeError: `verify` cannot be called.
    """

    @overload
    def __init__(self, source: TokenSource, verify: Callable[[str], Awaitable[P | None]]) -> None: ...

    @overload
    def __init__(self, source: TokenSource, verify: Callable[[str], P | None]) -> None: ...

    def __init__(self, source: TokenSource, verify: Callable[[str], Any]) -> None:
        if not callable(verify):
            raise TypeError(f"verify is a function that makes a principal of a token, but got {verify!r}")
        self._source = source
        self._verify = verify
        self._is_async = is_async_callable(verify)
        self._accepts = source._accepts
        self.__signature__ = signature_for(source._connection_class)

    async def __call__(self, connection: HTTPConnection[Any]) -> AsyncIterator[P]:
        principal = await self._principal(await self._source(connection))
        expires_at = expiry_of(principal)
        if expires_at is not None and expires_at <= time.time():
            raise self._refusal(_EXPIRED)
        if isinstance(connection, WebSocket) and _expiry_given(principal) is not ...:
            connection._expect_expel()
        authenticated = connection.scope[_KEY] = Authenticated(connection, principal, expires_at)
        try:
            yield principal
        finally:
            authenticated.end()

    async def _principal(self, token: str) -> P:
        found: P | None = await (self._verify(token) if self._is_async else run_in_threadpool(self._verify, token))
        if found is None:
            raise self._refusal("The token is not valid")
        return found

    def _refusal(self, words: str) -> Unauthorized:
        # RFC 6750 section 3.1: a token that was sent and is expired, revoked or malformed.
        return Unauthorized(words, challenge=self._source.challenge.replace("Bearer", 'Bearer error="invalid_token"'))


def get_authentication(connection: HTTPConnection[Any]) -> Authenticated[Any]:
    """Who is there on a connection that an `Authentication` has let in, and until when.

    Args:
        connection: The WebSocket or the request.

    Raises:
        RuntimeError: None has.
    """
    authenticated: Authenticated[Any] | None = connection.scope.get(_KEY)
    if authenticated is None:
        raise RuntimeError(
            "nobody is authenticated on this connection; give the route dependencies=[Depends(authentication)], or a "
            "parameter that depends on an Authentication"
        )
    return authenticated
