"""The shortest whole program. Run it with `trunkline run hello:app`."""

from trunkline import App, WebSocket

app = App()


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(f"you said: {message}")
