"""What the application is told of a request: the connection scope of ASGI."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.engine.handshake import HandshakeRequest
    from trunkline.types import Scope

__all__ = ["build_scope", "client_address", "server_address"]

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
# One for all connections: what is nested in a scope is not for an application to change.
_ASGI = {"version": "3.0", "spec_version": "2.5"}


def build_scope(
    request: HandshakeRequest,
    *,
    scheme: str,
    client: tuple[str, int] | None,
    server: tuple[str, int | None] | None,
    root_path: str = "",
    state: Mapping[str, Any] | None = None,
    extensions: dict[str, Any] | None = None,
) -> Scope:
    """The connection scope of ASGI's WebSocket specification, version 2.5.

    Args:
        request: The request to describe.
        scheme: `"ws"`, or `"wss"` over TLS.
        client: The client's host and port, if known (`client_address`).
        server: The server's host and port, or its unix socket and None (`server_address`).
        root_path: The path under which the application is mounted; `path` and `raw_path` begin with it.
        state: What the lifespan left; copied, so that connections do not see each other's changes.
        extensions: What the server offers beside denial responses.
    """
    raw_path = request.raw_path
    path = raw_path.decode("ascii")
    if root_path:
        raw_path = quote(root_path, safe=_PRINTABLE).encode("ascii") + raw_path
    return {
        "type": "websocket",
        "asgi": _ASGI,
        "http_version": request.http_version,
        "scheme": scheme,
        "server": server,
        "client": client,
        "root_path": root_path,
        "path": root_path + (unquote(path) if "%" in path else path),
        "raw_path": raw_path,
        "query_string": request.query_string,
        "headers": request.headers,
        "subprotocols": request.subprotocols,
        "state": dict(state or ()),
        "extensions": {"websocket.http.response": {}, **(extensions or {})},
    }


def client_address(transport: Any) -> tuple[str, int] | None:
    """The client's host and port; None over a unix socket, or if the client has gone already."""
    address = _extra_info(transport, "peername")
    return (str(address[0]), int(address[1])) if isinstance(address, tuple | list) else None


def server_address(transport: Any) -> tuple[str, int | None] | None:
    """The server's host and port, or the path of its unix socket and None."""
    address = _extra_info(transport, "sockname")
    if isinstance(address, tuple | list):
        return _shared_address(address[0], address[1])
    return (str(address), None) if address and isinstance(address, str) else None


@lru_cache(maxsize=64)
def _shared_address(host: str, port: int) -> tuple[str, int]:
    """One object for all connections that came in there."""
    return str(host), int(port)


def _extra_info(transport: Any, name: str) -> object:
    try:
        return transport.get_extra_info(name)
    except OSError:
        # uvloop asks the socket only now, and the socket may be gone.
        return None
