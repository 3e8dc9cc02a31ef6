"""Which web pages may open a WebSocket: the server's own, and those that are listed."""

from trunkline import App, WebSocket

app = App(origins=["same", "https://app.example.com", "https://*.example.org"])


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)
