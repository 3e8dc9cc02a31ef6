"""One echo in each way to write an endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from trunkline import App, Router, WebSocket
from trunkline.endpoints import WebSocketEndpoint

__all__ = ["ECHOES", "Echo", "aside", "echo", "plain_echo", "raw_asgi"]


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket:
        await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))


def plain_echo(message: str | bytes) -> str | bytes:
    return message


async def _async_echo(message: str | bytes) -> str | bytes:
    return message


async def _stream_echo(messages: AsyncIterator[str | bytes]) -> AsyncIterator[str | bytes]:
    async for message in messages:
        yield message


class Echo(WebSocketEndpoint):
    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await (websocket.send_text(data) if isinstance(data, str) else websocket.send_bytes(data))


class _RawAsgi:
    """An ASGI application that knows nothing of us."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})


raw_asgi = _RawAsgi()

Add = Callable[[Any, str, Any], None]


def _mounted(target: Any, path: str, limits: Any) -> None:
    inner = Router(limits=limits)
    inner.websocket("/")(echo)
    target.mount(path, inner)


def _included(target: Any, path: str, limits: Any) -> None:
    inner = Router(limits=limits)
    inner.websocket("/")(echo)
    target.include_router(inner, path)


def _included_so(target: Any, path: str, limits: Any) -> None:
    inner = Router()
    inner.websocket("/")(echo)
    target.include_router(inner, path, limits=limits)


# How each is added to an application or router, with limits of its own.
ECHOES: dict[str, Add] = {
    "websocket": lambda target, path, limits: target.websocket(path, limits=limits)(echo),
    "class": lambda target, path, limits: target.websocket(path, limits=limits)(Echo),
    "asgi": lambda target, path, limits: target.add_websocket_route(path, raw_asgi, limits=limits),
    "listener": lambda target, path, limits: target.listener(path, limits=limits)(plain_echo),
    "async listener": lambda target, path, limits: target.listener(path, limits=limits)(_async_echo),
    "stream": lambda target, path, limits: target.stream(path, limits=limits)(_stream_echo),
    "mounted": _mounted,
    "included": _included,
    "included with limits": _included_so,
}


def aside(kind: str, limits: Any = None, around: Any = None, **options: Any) -> App:
    """An application with one echo at /echo/, which has limits of its own or those of the application."""
    app = App(limits=around, **options)
    ECHOES[kind](app, "/echo" if kind in ("mounted", "included", "included with limits") else "/echo/", limits)
    return app
