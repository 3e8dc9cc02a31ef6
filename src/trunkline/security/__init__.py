"""Who may connect: which web pages, and which users.

**Pages.** A browser lets any page open a WebSocket to any server and sends the server's cookies along, so a page of
someone else can act as its visitor (cross-site WebSocket hijacking; RFC 6455 section 10.2). Every `App` compares what
no page can change, the `Origin` header (RFC 6454 section 7), by these rules, in order:

1. No `Origin`: allowed. `null`, several or malformed ones: refused. (`null` stands for sandboxed frames, local files
   and redirects alike, so it names nobody.)
2. A pattern of the list that matches: allowed.
3. With `"same"`, which is the default: the origin's host and port are those of the `Host` header, or of
   `X-Forwarded-Host` from a trusted proxy. A port that is not written is the default of the origin's scheme; the
   schemes are not compared, because a proxy that ends TLS changes them. Or both are loopback hosts, on any port:
   that is how a page is developed.

Clients that are not browsers may send no `Origin`, or what they like: this check protects visitors, it authenticates
nobody.

**Users.** A token says who somebody is. Where it comes is a `TokenSource`, each a dependency of HTTP and WebSocket
routes alike: `BearerToken`, `CookieToken`, `QueryToken`, `SubprotocolToken`, one-time `Tickets`, and for WebSockets
`FirstMessageToken`; `FirstOf` takes the first that is present.

An `Authentication` makes a principal of it, by a function of yours, and ends a WebSocket when that expires.

    authentication = Authentication(FirstOf(BearerToken(), CookieToken("session")), verify)

    @app.websocket("/feed")
    async def feed(websocket: WebSocket, user: Annotated[User, Depends(authentication)]) -> None: ...

`Unauthorized` and `Forbidden` refuse: with 401 and 403 before accept (a server without denial responses makes 403 of
both), with the close codes 3000 and 3003 after it. What a token is never stands in a log, a close reason or an error.
"""

from __future__ import annotations

from trunkline.security._authentication import Authenticated, Authentication, get_authentication
from trunkline.security._errors import Forbidden, Unauthorized
from trunkline.security._first_message import FirstMessageToken
from trunkline.security._origins import (
    OriginMiddleware,
    OriginPolicy,
    OriginSettingError,
    TrustedProxies,
    origin_allowed,
)
from trunkline.security._tickets import MemoryTicketStore, TicketError, Tickets, TicketStore
from trunkline.security._tokens import BearerToken, CookieToken, FirstOf, QueryToken, SubprotocolToken, TokenSource

__all__ = [
    "Authenticated",
    "Authentication",
    "BearerToken",
    "CookieToken",
    "FirstMessageToken",
    "FirstOf",
    "Forbidden",
    "MemoryTicketStore",
    "OriginMiddleware",
    "OriginPolicy",
    "OriginSettingError",
    "QueryToken",
    "SubprotocolToken",
    "TicketError",
    "TicketStore",
    "Tickets",
    "TokenSource",
    "TrustedProxies",
    "Unauthorized",
    "get_authentication",
    "origin_allowed",
]
