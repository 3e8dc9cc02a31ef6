"""The way past uvicorn's HTTP parser, for a request that is a WebSocket handshake and comes in one piece.

uvicorn's HTTP side parses the head, writes it out again for the WebSocket protocol, which parses it again, and drops
what came behind it in the same segment; its objects live on in a cycle until the garbage collector comes. Nearly every
handshake is one segment, and then the WebSocket protocol can have it as it came. All else (other requests, a head in
pieces) is uvicorn's, as if nothing had stood before it.

But for one thing: query strings may hold tokens, so the access log shows the path alone, as that of WebSockets does.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from typing import TYPE_CHECKING, Any

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

__all__ = ["HTTPProtocol"]

_UVICORN_SIDE: Any = import_from_string(HTTP_PROTOCOLS["auto"])

# RFC 6455 section 4.2.1: what makes a request a handshake is checked by the WebSocket protocol, which answers in words
# if more is missing. Without these two headers it is a request like any other.
_upgrades = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE).search
_connects = re.compile(rb"\r\nconnection:(?:[^\r\n]*,)?[ \t]*upgrade[ \t]*[,\r]", re.IGNORECASE).search


def _is_handshake(data: bytes) -> bool:
    end = data.find(b"\r\n\r\n")
    return end > 0 and data.startswith(b"GET ") and bool(_upgrades(data, 0, end + 2) and _connects(data, 0, end + 2))


def _cut_query(record: logging.LogRecord) -> bool:
    """Cut the query off the path of an access log's record, whose arguments uvicorn's formatter takes apart."""
    match record.args:
        case (client, method, str(path), version, status):
            record.args = client, method, path.partition("?")[0], version, status
    return True


@functools.cache
def _cut_queries() -> None:
    """Set up the access log. At the first connection: nothing of ours runs before, once uvicorn has its loggers."""
    logging.getLogger("uvicorn.access").addFilter(_cut_query)


class HTTPProtocol(asyncio.Protocol):
    """What `uvicorn --http trunkline.engine:HTTPProtocol` makes of every connection, until its first bytes have come.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's sets of connections and tasks.
        app_state: What the lifespan left.
        _loop: The loop, where uvicorn says it.
    """

    __slots__ = ("__weakref__", "_app_state", "_config", "_loop", "_server_state", "transport")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop
        _cut_queries()

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        self.transport: Any = transport
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes

    def data_received(self, data: bytes) -> None:
        """The first bytes: hand them over, with the transport."""
        self._server_state.connections.discard(self)
        upgraded = self._config.ws_protocol_class
        make: Any = upgraded if upgraded is not None and _is_handshake(data) else _UVICORN_SIDE
        protocol = make(
            config=self._config, server_state=self._server_state, app_state=self._app_state, _loop=self._loop
        )
        protocol.connection_made(self.transport)
        protocol.data_received(data)
        self.transport.set_protocol(protocol)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, and has said nothing."""
        self._server_state.connections.discard(self)

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.transport.close()
