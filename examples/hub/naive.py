"""Rooms the naive way, as many a program has them: one process, and everybody waits for the slowest."""

from trunkline import App, WebSocket, WebSocketDisconnect

app = App()


# region: manager
class ConnectionManager:
    def __init__(self) -> None:
        self.connections: list[WebSocket] = []

    async def broadcast(self, message: str) -> None:
        for connection in self.connections:
            await connection.send_text(message)


manager = ConnectionManager()


@app.websocket("/room")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    manager.connections.append(websocket)
    try:
        while True:
            await manager.broadcast(await websocket.receive_text())
    except WebSocketDisconnect:
        manager.connections.remove(websocket)


# endregion
