"""One call of an ASGI application with everything the client says given beforehand, and what came of it.

`call` is for asynchronous tests. `run`, `http` and `websocket` are for plain ones, and raise what the application does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.types import ASGIApp, Message, Scope

CONNECT: Message = {"type": "websocket.connect"}
DENIAL: dict[str, Any] = {"websocket.http.response": {}}


@dataclass
class Outcome:
    """What an application did.

    Attributes:
        sent: Its messages.
        error: What it raised.
    """

    sent: list[Message] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def types(self) -> list[str]:
        return [message["type"].removeprefix("websocket.") for message in self.sent]

    @property
    def close(self) -> tuple[int, str] | None:
        """The code and reason of the close."""
        closes = [message for message in self.sent if message["type"] == "websocket.close"]
        assert len(closes) <= 1, "closed twice"
        return (closes[0]["code"], closes[0]["reason"]) if closes else None

    @property
    def status(self) -> int:
        """The status of the response, or of the denial response."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.sent[0]["headers"]}


class Lost(OSError):
    """What a server raises when there is nobody to send to."""


async def call(
    app: ASGIApp, scope: Scope, incoming: Iterable[Message] = (), *, sends_before_loss: int | None = None
) -> Outcome:
    """Call an application.

    Args:
        app: The application.
        scope: The ASGI scope.
        incoming: What it receives; then it waits for ever.
        sends_before_loss: How many sends succeed before the peer is gone.
    """
    outcome = Outcome()
    messages = iter(incoming)

    async def receive() -> Message:
        for message in messages:
            return message
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        if sends_before_loss is not None and len(outcome.sent) >= sends_before_loss:
            raise Lost("the peer is gone")
        outcome.sent.append(message)

    with anyio.fail_after(5):
        try:
            await app(scope, receive, send)
        except Exception as error:
            outcome.error = error
    return outcome


def websocket_scope(path: str = "/", headers: dict[str, str] | None = None, **values: Any) -> Scope:
    """A scope as a server makes it for a handshake."""
    return {"type": "websocket", "path": path, "root_path": "", "query_string": b"", **_common(headers), **values}


def http_scope(path: str = "/", headers: dict[str, str] | None = None, **values: Any) -> Scope:
    """A scope as a server makes it for a GET."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b"", **_common(headers)}
    return {**scope, **values}


def _common(headers: dict[str, str] | None) -> dict[str, Any]:
    pairs = {"host": "testserver", **(headers or {})}
    return {
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()],
        "client": ("10.1.1.1", 50000),
        "server": ("testserver", 80),
        "extensions": DENIAL,
    }


def run(app: ASGIApp, scope: Scope, *incoming: Message, backend: str = "asyncio") -> list[Message]:
    """What an application sends for a scope, in an event loop of its own."""
    return _run(app, scope, incoming, backend).sent


def http(app: ASGIApp, path: str, /, method: str = "GET", **scope: Any) -> Outcome:
    """The answer to a request without a body."""
    full: Scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], **scope}
    return _run(app, full, [{"type": "http.request", "body": b"", "more_body": False}])


def websocket(app: ASGIApp, path: str, /, *incoming: Message, **scope: Any) -> list[Message]:
    """What a WebSocket application sends; the connect message comes by itself."""
    full: Scope = {"type": "websocket", "path": path, "query_string": b"", "headers": [], "subprotocols": [], **scope}
    return run(app, full, CONNECT, *incoming)


def _run(app: ASGIApp, scope: Scope, incoming: Iterable[Message], backend: str = "asyncio") -> Outcome:
    outcome = anyio.run(call, app, scope, incoming, backend=backend)
    if outcome.error is not None:
        raise outcome.error
    return outcome


def text(data: str) -> Message:
    return {"type": "websocket.receive", "text": data}


def binary(data: bytes) -> Message:
    return {"type": "websocket.receive", "bytes": data}


def disconnect(code: int = 1000) -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": ""}
