"""Clients in memory of a whole application: over plain ASGI, and on our engine with its Line."""

from __future__ import annotations

import asyncio
import json
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

    from trunkline.types import ASGIApp, Message

SECONDS = 10


async def until(holds: Callable[[], bool]) -> None:
    """Let the application run until something holds."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - on what no event tells of
            await asyncio.sleep(0.001)


class Client:
    """What the tests do, over either peer."""

    task: asyncio.Task[Any]
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
        await until(lambda: len(self.got) >= len(data) or self.task.done())
        assert self.got == list(data)

    async def end(self) -> BaseException | None:
        """Wait until the application has ended; its error."""
        await until(self.task.done)
        return None if self.task.cancelled() else self.task.exception()


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
        self.task = asyncio.ensure_future(app(scope, self.peer.receive, self.peer.send))
        await until(lambda: bool(self.peer.sent) or self.task.done())

    def vanishes(self) -> None:
        self.peer.lost = True
        self.peer.closes(1006)


class _EnginePeer(LinePeer):
    async def connect(self, app: ASGIApp, request: bytes) -> asyncio.Task[Any]:
        config = Config(app, log_level="critical", ws_ping_interval=None)
        config.load()
        config.loaded_app = app
        self._protocol = WebSocketProtocol(config, ServerState(), {})
        self._protocol.connection_made(self.transport)
        self._protocol.data_received(request)
        await until(lambda: b"\r\n\r\n" in self.transport.written)
        self._answered = self.transport.written.index(b"\r\n\r\n") + 4
        task = self._protocol._task
        assert task is not None
        return task

    def at_once(self, *texts: str) -> None:
        """The client's messages come in one read."""
        self._protocol.data_received(b"".join(client_frame(TEXT, text.encode()) for text in texts))

    @property
    def status(self) -> int:
        return int(self.transport.written.split()[1])


class LineClient(Client):
    """A client of our engine."""

    def __init__(self) -> None:
        self.peer: _EnginePeer = _EnginePeer()

    async def open(self, app: ASGIApp, target: str = "/", subprotocol: str | None = None) -> None:
        headers = usual() if subprotocol is None else usual((b"Sec-WebSocket-Protocol", subprotocol.encode()))
        self.task = await self.peer.connect(app, raw_request(headers, f"GET {target} HTTP/1.1".encode()))

    def vanishes(self) -> None:
        self.peer.lost = True

    @property
    def close(self) -> tuple[int, str] | None:
        # Before accept the engine answers by HTTP.
        return (1008, "") if self.peer.status == 403 else super().close
