"""The same chat on trunkline: other imports, and parameters read from the connection."""

from trunkline import App, Request, WebSocket, WebSocketDisconnect
from trunkline.responses import JSONResponse

app = App()
members: dict[str, set[WebSocket]] = {}


@app.get("/health")
async def health(request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


@app.websocket("/rooms/{room}")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    here = members.setdefault(websocket.path_params["room"], set())
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
