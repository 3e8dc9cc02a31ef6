"""Clients in memory of a whole application: over plain ASGI, and on our engine, where a call may return or not."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from tests.asgi_peer import AsgiPeer
from tests.engine.client_frames import TEXT, client_frame
from tests.engine.heads import raw_request, usual
from tests.line_peer import LinePeer
from trunkline.engine import WebSocketProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 10


class _Logged(logging.Handler):
    """What our engine says of applications that fail."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.errors.append(record.exc_info[1])


_logged = _Logged()
logging.getLogger("uvicorn.error").addHandler(_logged)


async def until(holds: Callable[[], bool]) -> None:
    """Let the application run until something holds."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - on what no event tells of
            await asyncio.sleep(0.001)


class Client:
    """What the tests do, over either peer."""

    peer: AsgiPeer | LinePeer

    async def open(self, app: ASGIApp, target: str = "/", subprotocol: str | None = None) -> None:
        """Connect, and wait for the answer to the handshake."""
        raise NotImplementedError

    def says(self, *data: str | bytes | dict[str, Any]) -> None:
        """Send messages; dictionaries as JSON."""
        for one in data:
            value = json.dumps(one) if isinstance(one, dict) else one
            self.peer.says({"type": "websocket.receive", "text" if isinstance(value, str) else "bytes": value})

    def closes(self, code: int = 1000) -> None:
        self.peer.closes(code)

    def vanishes(self) -> None:
        """The connection is lost."""
        raise NotImplementedError

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task of the application's call; None where none runs."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel the application's call."""
        assert self.task is not None
        self.task.cancel()

    @property
    def has_ended(self) -> bool:
        """Whether the application is done with the connection."""
        raise NotImplementedError

    @property
    def messages(self) -> list[Message]:
        """All that the application has sent since it accepted."""
        return [message for message in self.peer.sent if message["type"] != "websocket.accept"]

    @property
    def got(self) -> list[str | bytes]:
        """The data of the messages that the application has sent."""
        data = [message.get("text") if message.get("bytes") is None else message["bytes"] for message in self.messages]
        return [one for one in data if one is not None]

    @property
    def close(self) -> tuple[int, str] | None:
        """How the application has closed."""
        closes = [message for message in self.messages if message["type"] == "websocket.close"]
        return (closes[0]["code"], closes[0]["reason"]) if closes else None

    async def hears(self, *data: str | bytes) -> None:
        """Wait until just this has been sent."""
        await until(lambda: len(self.got) >= len(data) or self.has_ended)
        assert self.got == list(data)

    @property
    def error(self) -> BaseException | None:
        """What the application has raised."""
        raise NotImplementedError

    async def end(self) -> BaseException | None:
        """Wait until the application has ended; its error."""
        await until(lambda: self.has_ended)
        return self.error


class AsgiClient(Client):
    """A client of a server that has nothing but ASGI."""

    def __init__(self) -> None:
        self.peer: AsgiPeer = AsgiPeer()

    async def open(self, app: ASGIApp, target: str = "/", subprotocol: str | None = None) -> None:
        path, _, query = target.partition("?")
        scope: Any = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "subprotocols": [] if subprotocol is None else [subprotocol],
        }
        self.peer.says({"type": "websocket.connect"})
        self._task = asyncio.ensure_future(app(scope, self.peer.receive, self.peer.send))
        await until(lambda: bool(self.peer.sent) or self.has_ended)

    def vanishes(self) -> None:
        self.peer.lost = True
        self.peer.closes(1006)

    @property
    def task(self) -> asyncio.Task[Any] | None:
        return self._task

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    @property
    def error(self) -> BaseException | None:
        return None if self._task.cancelled() else self._task.exception()


class _EnginePeer(LinePeer):
    async def connect(self, app: ASGIApp, request: bytes) -> None:
        config = Config(app, log_config=None, log_level="error", ws_ping_interval=None)
        config.load()
        config.loaded_app = app
        self._protocol = WebSocketProtocol(config, ServerState(), {})
        self._protocol.connection_made(self.transport)
        self._protocol.data_received(request)
        await until(lambda: b"\r\n\r\n" in self.transport.written)
        self._answered = self.transport.written.index(b"\r\n\r\n") + 4

    @property
    def task(self) -> asyncio.Task[Any] | None:
        return self._protocol._task

    @property
    def detached(self) -> bool:
        return self._protocol._connection.detached

    def at_once(self, *texts: str) -> None:
        """The client's messages come in one read."""
        self._protocol.data_received(b"".join(client_frame(TEXT, text.encode()) for text in texts))

    @property
    def status(self) -> int:
        return int(self.transport.written.split()[1])


class LineClient(Client):
    """A client of our engine, which keeps the connection of a listener without a task where that can be."""

    def __init__(self) -> None:
        self.peer: _EnginePeer = _EnginePeer()

    async def open(self, app: ASGIApp, target: str = "/", subprotocol: str | None = None) -> None:
        _logged.errors.clear()
        headers = usual() if subprotocol is None else usual((b"Sec-WebSocket-Protocol", subprotocol.encode()))
        await self.peer.connect(app, raw_request(headers, f"GET {target} HTTP/1.1".encode()))

    def vanishes(self) -> None:
        self.peer.lost = True

    @property
    def task(self) -> asyncio.Task[Any] | None:
        return self.peer.task

    @property
    def has_ended(self) -> bool:
        return self.task is None and not self.peer.detached

    @property
    def error(self) -> BaseException | None:
        return _logged.errors[0] if _logged.errors else None

    @property
    def close(self) -> tuple[int, str] | None:
        # Before accept the engine answers by HTTP.
        return (1008, "") if self.peer.status == 403 else super().close


class ParkedClient(LineClient):
    """A client of our engine, where somebody around the application waits for its call to return."""

    async def open(self, app: ASGIApp, target: str = "/", subprotocol: str | None = None) -> None:
        async def around(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        await super().open(around, target, subprotocol)
