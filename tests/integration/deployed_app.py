"""An application behind a proxy: what it is told of a connection, and an echo."""

from __future__ import annotations

from trunkline import App, WebSocket

app = App()


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    client = websocket.client
    await websocket.send_json({"url": str(websocket.url), "client": client and client.host})
    async for message in websocket:
        await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))
