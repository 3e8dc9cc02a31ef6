"""The `WebSocket` side by side with Starlette's, over an ASGI server that lives in memory.

    scripts/bench websocket

The server answers at once, so that nothing but the class is measured: microseconds for one echo, one send, one
receive, and for setting up and closing one connection. A ratio is Starlette's time through ours, of the same round.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import starlette.applications
import starlette.routing
import starlette.websockets

import trunkline.applications
import trunkline.routing
import trunkline.websockets
from benchmarks.paired import compare, header

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.types import Message

MESSAGES = 20_000
CONNECTIONS = 4_000
TEXT = "x" * 128
BINARY = b"x" * 128
VALUE = {"type": "say", "room": "blue", "text": "hello, world", "seq": 12345}
JSON = '{"type":"say","room":"blue","text":"hello, world","seq":12345}'
CONNECT: Message = {"type": "websocket.connect"}
DISCONNECT: Message = {"type": "websocket.disconnect", "code": 1000}
HEADERS = [
    (b"host", b"example.com"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]


def server(
    message: Message, count: int
) -> tuple[Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]]:
    """The `receive` and `send` of one connection, whose client sends `count` messages and closes."""
    script = iter(
        [{"type": "websocket.connect"}] + [message] * count + [{"type": "websocket.disconnect", "code": 1000}]
    )

    async def receive() -> Message:
        return next(script)

    async def send(message: Message) -> None:
        pass

    return receive, send


def scope() -> dict[str, Any]:
    return {"type": "websocket", "path": "/echo", "root_path": "", "query_string": b"a=1", "headers": HEADERS}


async def echo_text(websocket: Any) -> None:
    while True:
        await websocket.send_text(await websocket.receive_text())


async def echo_bytes(websocket: Any) -> None:
    while True:
        await websocket.send_bytes(await websocket.receive_bytes())


async def echo_json(websocket: Any) -> None:
    while True:
        await websocket.send_json(await websocket.receive_json())


async def iterate_text(websocket: Any) -> None:
    async for message in websocket.iter_text():
        await websocket.send_text(message)


def microseconds_per_message(
    module: Any, endpoint: Callable[[Any], Awaitable[None]], message: Message, count: int = MESSAGES
) -> float:
    async def run() -> float:
        websocket = module.WebSocket(scope(), *server(message, count))
        await websocket.accept()
        began = time.perf_counter()
        try:
            await endpoint(websocket)
        except module.WebSocketDisconnect:
            pass
        return (time.perf_counter() - began) / count * 1e6

    return asyncio.run(run())


def microseconds_per_connection(call: Callable[..., Awaitable[None]]) -> float:
    """For one connection that is accepted and closed."""

    async def run() -> float:
        connections = [(scope(), *server({}, 0)) for _ in range(CONNECTIONS)]
        began = time.perf_counter()
        for connection in connections:
            await call(*connection)
        return (time.perf_counter() - began) / CONNECTIONS * 1e6

    return asyncio.run(run())


def connects(module: Any) -> Callable[..., Awaitable[None]]:
    """The bare class."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        websocket = module.WebSocket(scope, receive, send)
        await websocket.accept()
        await websocket.close()

    return call


async def accept_and_close(websocket: Any) -> None:
    """Read what most endpoints read of a handshake, accept, close."""
    assert websocket.headers["host"]
    assert websocket.query_params["a"] == "1"
    await websocket.accept()
    await websocket.close()


def main() -> None:
    ours, theirs = trunkline.websockets, starlette.websockets
    text, binary = {"type": "websocket.receive", "text": TEXT}, {"type": "websocket.receive", "bytes": BINARY}
    parsed = {"type": "websocket.receive", "text": JSON}
    header()
    cases: list[tuple[str, Callable[[Any], Awaitable[None]], Message]] = [
        ("echo of text, 128 bytes", echo_text, text),
        ("echo of text, iter_text", iterate_text, text),
        ("echo of bytes, 128 bytes", echo_bytes, binary),
        ("echo of JSON, 62 bytes", echo_json, parsed),
    ]
    for name, endpoint, message in cases:
        measure = partial(microseconds_per_message, endpoint=endpoint, message=message)
        compare(name, partial(measure, ours), partial(measure, theirs))
    compare(
        "connection, the class",
        partial(microseconds_per_connection, connects(ours)),
        partial(microseconds_per_connection, connects(theirs)),
    )
    our_app = trunkline.applications.App(routes=[trunkline.routing.WebSocketRoute("/echo", accept_and_close)])
    their_app = starlette.applications.Starlette(routes=[starlette.routing.WebSocketRoute("/echo", accept_and_close)])
    compare(
        "connection, through an app",
        partial(microseconds_per_connection, our_app),
        partial(microseconds_per_connection, their_app),
    )


if __name__ == "__main__":
    main()
