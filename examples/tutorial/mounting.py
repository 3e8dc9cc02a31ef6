"""A FastAPI application inside a trunkline App: the App starts both, FastAPI answers below /api."""

from fastapi import FastAPI

from trunkline import App, WebSocket

api = FastAPI()


@api.get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


app = App()


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


app.mount("/api", api)
