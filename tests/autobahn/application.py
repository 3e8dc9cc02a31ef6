"""Echo, twice: `/asgi` is a plain ASGI application, `/app` an endpoint of our App."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline import App, WebSocket

if TYPE_CHECKING:
    from trunkline.types import Receive, Scope, Send

framework = App()


@framework.websocket("/app")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket:
        if isinstance(message, str):
            await websocket.send_text(message)
        else:
            await websocket.send_bytes(message)


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    served = plain if scope.get("path") == "/asgi" else framework
    await served(scope, receive, send)
