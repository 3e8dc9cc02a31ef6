"""Where a token comes: in a header, a cookie, the query string or a subprotocol, or in the first of several places.

A token that is empty, or comes twice in one place, counts as none: which of two is meant nobody can tell.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

from trunkline.requests import HTTPConnection
from trunkline.security._errors import Unauthorized
from trunkline.websockets import SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BearerToken", "CookieToken", "FirstOf", "QueryToken", "SubprotocolToken", "TokenSource", "signature_for"]

# RFC 9110 section 5.6.2: what a name of a header, a cookie or a subprotocol is made of.
_is_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch


def signature_for(connection_class: type[Any]) -> Signature:
    """The signature of a dependency that takes this kind of connection, for the plan of an endpoint."""
    return Signature([Parameter("connection", Parameter.KEYWORD_ONLY, annotation=connection_class)])


def _only(values: Sequence[str]) -> str | None:
    """The value, if there is just one and it is not empty."""
    return (values[0] or None) if len(values) == 1 else None


def _checked(name: object, what: str, example: str) -> str:
    if not isinstance(name, str) or not _is_name(name):
        raise ValueError(f"expected {what}, for example {example!r}, but got {name!r}")
    return name


class TokenSource(ABC):
    """A place where a token comes. As a dependency it gives the token, or refuses the connection with 401.

    Subclass it for a place of your own: give it `find`, and a `challenge`.

    Attributes:
        challenge: How one may authenticate here, for the header `WWW-Authenticate` of a 401.
    """

    challenge: str = "Bearer"
    # What it takes. One that only takes a `WebSocket` says so in its signature too, for the plan of an endpoint.
    _connection_class: type[HTTPConnection[Any]] = HTTPConnection
    # Whether it accepts the connection and waits there for a token: then there is no going on to another source, and
    # none may stand before an application that has to accept.
    _accepts: bool = False

    @abstractmethod
    async def find(self, connection: Any) -> str | None:
        """The token of this connection; None if there is none.

        Args:
            connection: A `Request` or a `WebSocket`.
        """

    def hide(self, connection: HTTPConnection[Any]) -> None:  # noqa: B027 - most have nothing to hide
        """Take the token out of where others look, if they may; called before any `find`, of each of several sources.

        Args:
            connection: The connection.
        """

    async def __call__(self, connection: HTTPConnection[Any]) -> str:
        self.hide(connection)
        token = await self.find(connection)
        if token is None:
            raise Unauthorized(challenge=self.challenge)
        return token


class BearerToken(TokenSource):
    """A token in the header `Authorization: Bearer ...` (RFC 6750 section 2.1).

    For programs; a page in a browser cannot set headers of a WebSocket.
    """

    async def find(self, connection: HTTPConnection[Any]) -> str | None:
        """The token of this connection; None if there is none."""
        header = _only(connection.headers.getlist("authorization")) or ""
        # RFC 9110 section 11.1: the scheme is case-insensitive.
        scheme, _, token = header.partition(" ")
        token = token.strip(" ")
        return token if scheme.lower() == "bearer" and token and " " not in token else None


class CookieToken(TokenSource):
    """A token in a cookie, which a browser sends along by itself.

    The origin check of `App` keeps the pages of others from using it; `SameSite` and `HttpOnly` do their part.

    Args:
        name: The name of the cookie.

    Raises:
        ValueError: That is no name.
    """

    challenge = "Cookie"

    def __init__(self, name: str) -> None:
        self._name = _checked(name, "the name of a cookie", "session")

    async def find(self, connection: HTTPConnection[Any]) -> str | None:
        """The token of this connection; None if there is none."""
        return connection.cookies.get(self._name) or None


class QueryToken(TokenSource):
    """A token in the query string.

    Addresses are kept in histories and in the logs of proxies, so let it be one of short life: see `Tickets`.

    Args:
        name: The name of the parameter.

    Raises:
        ValueError: That is no name.
    """

    def __init__(self, name: str = "token") -> None:
        self._name = _checked(name, "the name of a query parameter", "token")

    async def find(self, connection: HTTPConnection[Any]) -> str | None:
        """The token of this connection; None if there is none."""
        return _only(connection.query_params.getlist(self._name))


class SubprotocolToken(TokenSource):
    """A token among the subprotocols that a WebSocket offers, which a page can choose freely:

        new WebSocket("/feed", ["feed.v1", "bearer." + token])

    The token is taken out of `scope["subprotocols"]`, so that nothing answers with it. Of the others the first that
    this server speaks is answered, unless `accept` names one. A browser fails a connection whose answer names none, so
    a page has to offer one beside the token.

    A subprotocol is made of letters, digits and ``!#$%&'*+-.^_`|~`` (RFC 6455 section 4.1): base64url fits, base64 does
    not. On an HTTP request there is none.

    Args:
        speaks: The subprotocols of this server, the preferred one first.
        prefix: What the token stands behind.

    Raises:
        ValueError: A subprotocol or the prefix has other characters, or a subprotocol begins with the prefix.
    """

    def __init__(self, *speaks: str, prefix: str = "bearer.") -> None:
        self._prefix = _checked(prefix, "a prefix of characters that a subprotocol may have", "bearer.")
        self._speaks = [_checked(one, "a subprotocol", "feed.v1") for one in speaks]
        if any(one.startswith(prefix) for one in speaks):
            raise ValueError(f"what begins with {prefix!r} is a token, so it cannot be a subprotocol of {speaks!r}")

    async def find(self, connection: HTTPConnection[Any]) -> str | None:
        """The token of this connection; None if there is none."""
        if connection.scope["type"] != "websocket":
            return None
        # From the headers, where it stays: `hide` has taken it out of the scope's list.
        offered = [one.strip() for one in ",".join(connection.headers.getlist("sec-websocket-protocol")).split(",")]
        return _only([one.removeprefix(self._prefix) for one in offered if one.startswith(self._prefix)])

    def hide(self, connection: HTTPConnection[Any]) -> None:
        """Leave the other subprotocols, and have one of them answered."""
        scope = connection.scope
        if scope["type"] != "websocket":
            return
        offered = scope["subprotocols"] = [
            one for one in scope.get("subprotocols") or () if not one.startswith(self._prefix)
        ]
        spoken = next((one for one in self._speaks if one in offered), None)
        if spoken is not None:
            scope[SUBPROTOCOL] = spoken


class FirstOf(TokenSource):
    """The first token that is present, of several sources.

    Whether it is valid is not asked here: a token that is wrong is refused, and the next source is not tried.

    Args:
        sources: Where to look, in this order.

    Raises:
        TypeError: Something else was given, or nothing.
        ValueError: One that waits for a token, as `FirstMessageToken` does, is not the last.
    """

    def __init__(self, *sources: TokenSource) -> None:
        given: Sequence[object] = sources
        if not given or not all(isinstance(source, TokenSource) for source in given):
            raise TypeError(
                f"FirstOf takes sources of tokens, for example FirstOf(BearerToken(), CookieToken('session')), but got "
                f"{given!r}"
            )
        if any(source._accepts for source in sources[:-1]):
            raise ValueError(
                "FirstMessageToken waits until a token comes, so nothing is asked behind it: make it the last"
            )
        self._sources = sources
        self._accepts = sources[-1]._accepts
        self.challenge = ", ".join(dict.fromkeys(source.challenge for source in sources))
        self._connection_class = next(
            (source._connection_class for source in sources if source._connection_class is not HTTPConnection),
            HTTPConnection,
        )
        self.__signature__ = signature_for(self._connection_class)

    async def find(self, connection: Any) -> str | None:
        """The first token of this connection; None if there is none."""
        for source in self._sources:
            token = await source.find(connection)
            if token is not None:
                return token
        return None

    def hide(self, connection: HTTPConnection[Any]) -> None:
        """Have all sources hide theirs."""
        for source in self._sources:
            source.hide(connection)
