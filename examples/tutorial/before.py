"""A chat as many write it with FastAPI: where the tutorial starts."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
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
                await member.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        here.discard(websocket)
