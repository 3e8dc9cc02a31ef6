"""Call an ASGI application once, with all that the client says known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.types import ASGIApp, Message, Scope


class Answer(NamedTuple):
    """What came back for an HTTP request."""

    status: int
    headers: dict[str, str]
    text: str


def run(app: Callable[..., Any], scope: Scope, *incoming: Message, backend: str = "asyncio") -> list[Message]:
    """What the application sends for a scope; the messages of the client come first, then nothing ever."""
    sent: list[Message] = []
    waiting = list(incoming)

    async def receive() -> Message:
        if not waiting:
            raise AssertionError("the application asks for more than the client says")
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> None:
        await app(scope, receive, send)

    anyio.run(main, backend=backend)
    return sent


def http(app: ASGIApp, path: str, /, method: str = "GET", **scope: Any) -> Answer:
    """The answer to a request without a body."""
    full: Scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], **scope}
    start, *body = run(app, full, {"type": "http.request", "body": b"", "more_body": False})
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(part.get("body", b"") for part in body).decode())


def websocket(app: ASGIApp, path: str, /, *incoming: Message, **scope: Any) -> list[Message]:
    """What a WebSocket application sends; the connect message comes by itself."""
    full: Scope = {"type": "websocket", "path": path, "query_string": b"", "headers": [], "subprotocols": [], **scope}
    return run(app, full, {"type": "websocket.connect"}, *incoming)


def text(data: str) -> Message:
    return {"type": "websocket.receive", "text": data}


def binary(data: bytes) -> Message:
    return {"type": "websocket.receive", "bytes": data}


def disconnect(code: int = 1000) -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": ""}
