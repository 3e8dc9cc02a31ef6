"""The same chat on trunkline: other imports, and a send that does not raise for a member who has left."""

from trunkline import App, WebSocket, WebSocketDisconnect

app = App()
members: dict[str, set[WebSocket]] = {}


@app.get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


@app.websocket("/rooms/{room}")
async def chat(websocket: WebSocket, room: str) -> None:
    await websocket.accept()
    here = members.setdefault(room, set())
    here.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for member in list(here):
                await member.try_send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        here.discard(websocket)
