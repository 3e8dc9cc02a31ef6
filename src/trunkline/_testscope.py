"""What both testing tools need before a message flows: the scope of a connection, and one shape of application."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote, urlsplit

from trunkline.exceptions import TrunklineError
from trunkline.states import WebSocketDisconnect
from trunkline.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline.types import Message

# The two shapes of an application: ASGI 2 takes the scope and returns an instance, ASGI 3 takes all at once.
ASGIInstance = Callable[[Receive, Send], Awaitable[None]]
ASGI2App = Callable[[Scope], ASGIInstance]
ASGI3App = ASGIApp

DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "ws": 80, "https": 443, "wss": 443}

# What a WebSocket client adds to its request (RFC 6455 section 4.1); the key is no secret in a test.
HANDSHAKE_HEADERS: Mapping[str, str] = {
    "connection": "upgrade",
    "sec-websocket-key": "testserver==",
    "sec-websocket-version": "13",
}

# What stands unescaped in a URL (RFC 3986 section 3.3 and 3.4), and the percent sign of what is escaped already.
_PATH_SAFE = "/%:@!$&'()*+,;=-._~"
_QUERY_SAFE = _PATH_SAFE + "?"


class UnexpectedMessage(TrunklineError, KeyError):
    """Raised to the test when the application sent another kind of message than the test asked for.

    A `KeyError` too, because the reference implementation lets that one out.

    Args:
        expected: `"text"` or `"bytes"`.
        message: The ASGI message that came.
    """

    def __init__(self, expected: str, message: Message) -> None:
        super().__init__(expected)
        self.expected = expected
        self.message = message

    def __str__(self) -> str:
        wanted, other, remedy = {
            "text": ("text", "bytes", 'receive_bytes() or receive_json(mode="binary")'),
            "bytes": ("binary", "text", "receive_text() or receive_json()"),
        }[self.expected]
        if self.message.get(other) is None:
            return f"expected a {wanted} message, but the application sent {self.message!r}"
        return f"expected a {wanted} message, but the application sent {self.message[other]!r}; use {remedy}"


def payload(message: Message, kind: str) -> Any:
    """The text or the bytes of a message from the application.

    Raises:
        UnexpectedMessage: It carries the other one, or is not a message with data at all.
    """
    data = message.get(kind)
    if data is None:
        raise UnexpectedMessage(kind, message)
    return data


def is_disconnect(exc: BaseException | None) -> bool:
    """Whether this says that the client has gone: ours, or a class of the same name in another framework."""
    return isinstance(exc, WebSocketDisconnect) or any(
        base.__name__ == "WebSocketDisconnect" for base in type(exc).__mro__
    )


def as_asgi3(app: ASGI2App | ASGI3App) -> ASGI3App:
    """The application as a callable of scope, receive and send; one that takes the scope alone is ASGI 2."""
    try:
        inspect.signature(app).bind(None, None, None)
    except TypeError:
        return _asgi3_from_asgi2(cast("ASGI2App", app))
    except ValueError:
        pass  # a callable without a signature, as compiled ones may be
    return cast("ASGI3App", app)


def _asgi3_from_asgi2(app: ASGI2App) -> ASGI3App:
    async def asgi3(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return asgi3


def offered_subprotocols(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The subprotocols of a handshake, in the client's order (RFC 6455 section 4.1; several headers are one list)."""
    values = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-protocol"]
    return [name for value in values for item in value.split(",") if (name := item.strip())]


def connection_scope(
    scheme: str,
    host: str,
    port: int | None,
    target: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    client: tuple[str, int] | None,
    root_path: str = "",
    state: Mapping[str, Any],
) -> dict[str, Any]:
    """What the scopes of HTTP and WebSocket have in common.

    Args:
        scheme: `http`, `https`, `ws` or `wss`.
        host: The server's name; without brackets if it is an IPv6 address.
        port: The server's port; the default of the scheme if None.
        target: Path and query as they stand in the request line, percent-encoded.
        headers: Names in lower case.
        client: Address of the client.
        root_path: Where the application is mounted.
        state: What the lifespan left; each connection gets a copy.
    """
    raw_path, _, query = target.partition(b"?")
    return {
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": list(headers),
        "client": client,
        "server": [host, DEFAULT_PORTS[scheme] if port is None else port],
        "state": dict(state),
    }


def websocket_scope(common: Mapping[str, Any]) -> dict[str, Any]:
    """The scope of a WebSocket, from what it has in common with HTTP."""
    return {
        **common,
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "subprotocols": offered_subprotocols(common["headers"]),
        "extensions": {"websocket.http.response": {}},
    }


def handshake_scope(
    url: str,
    headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] | None,
    subprotocols: Sequence[str] | None,
    client: tuple[str, int] | None,
    state: Mapping[str, Any],
) -> dict[str, Any]:
    """The scope of a WebSocket that a client opens to a URL.

    Raises:
        ValueError: The URL is not one of a WebSocket (RFC 6455 section 3).
    """
    parts = urlsplit(url)
    scheme = parts.scheme or "ws"
    if scheme not in ("ws", "wss") or "#" in url or "@" in parts.netloc or not (parts.netloc or url[:1] in ("/", "?")):
        raise ValueError(
            "expected a path, or a URL of scheme ws or wss without credentials and fragment (RFC 6455 section 3), "
            f"but got {url!r}"
        )
    authority = parts.netloc or "testserver"
    target = quote(parts.path or "/", safe=_PATH_SAFE) + ("?" + quote(parts.query, safe=_QUERY_SAFE)) * bool(
        parts.query
    )
    own = {"host": authority, "user-agent": "testclient", "upgrade": "websocket", **HANDSHAKE_HEADERS}
    if subprotocols:
        own["sec-websocket-protocol"] = ", ".join(subprotocols)
    given = _raw_headers(headers.items() if isinstance(headers, Mapping) else headers or ())
    names = {name for name, _ in given}
    common = connection_scope(
        scheme,
        parts.hostname or authority,
        parts.port,
        target.encode("ascii"),
        [header for header in _raw_headers(own.items()) if header[0] not in names] + given,
        client=client,
        state=state,
    )
    return websocket_scope(common)


def _raw_headers(headers: Iterable[tuple[str | bytes, str | bytes]]) -> list[tuple[bytes, bytes]]:
    return [(_latin1(name).lower(), _latin1(value)) for name, value in headers]


def _latin1(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
