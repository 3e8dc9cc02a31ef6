"""A trunkline App inside a FastAPI application: FastAPI keeps HTTP, the App serves the WebSockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from trunkline import App, WebSocket


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[dict[str, str]]:
    yield {"greeting": "hello"}  # what is yielded is websocket.state


live = App(lifespan=lifespan)


@live.websocket("/greet/{name}")
async def greet(websocket: WebSocket, name: str) -> None:
    await websocket.accept()
    await websocket.send_text(f"{websocket.state.greeting} {name}")


app = FastAPI(lifespan=live.lifespan)


@app.get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


app.mount("/live", live)
