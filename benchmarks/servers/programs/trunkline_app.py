"""The echo of starlette_app.py with other import lines: a default App, with every check and limit that it has."""

from __future__ import annotations

from trunkline import App, Hub, WebSocket, WebSocketDisconnect
from trunkline.routing import WebSocketRoute


async def text(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


async def binary(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_bytes(await websocket.receive_bytes())
    except WebSocketDisconnect:
        pass


topic = Hub("memory://").topic("room")


async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    async with topic.join(websocket):
        async for message in websocket.iter_text():
            await topic.publish(message)


app = App(
    routes=[
        WebSocketRoute("/text", text),
        WebSocketRoute("/binary", binary),
        WebSocketRoute("/room", room),
    ]
)
