"""Endpoints of every kind, whose connections an HTTP request closes from beside them, and which note how they ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from tests.contracts.wrapped import without_line
from trunkline import App, Depends, WebSocket, WebSocketDisconnect
from trunkline.endpoints import WebSocketEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

app = App()
connections: set[WebSocket] = set()
notes: list[str] = []


async def closable(websocket: WebSocket) -> AsyncIterator[None]:
    websocket._expect_expel()
    connections.add(websocket)
    try:
        yield
    finally:
        connections.discard(websocket)


Closable = Depends(closable)


def noted(kind: str, error: WebSocketDisconnect) -> None:
    notes.append(f"{kind}: {error.code} {error.reason}")


@app.get("/expel")
async def expel() -> int:
    expelled = connections.copy()
    for websocket in expelled:
        websocket._expel(3000, "expired")
    return len(expelled)


@app.get("/notes")
async def told() -> list[str]:
    taken = notes.copy()
    notes.clear()
    return taken


@app.websocket("/raw", dependencies=[Closable])
async def raw(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect as error:
        noted("raw", error)
        raise


@app.websocket("/sending", dependencies=[Closable])
async def sending(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    try:
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0.01)
    except WebSocketDisconnect as error:
        noted("sending", error)
        raise


@app.websocket("/tasks", dependencies=[Closable])
async def tasks(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    try:
        async with websocket.tasks() as group:
            group.create_task(asyncio.sleep(60))
    except WebSocketDisconnect as error:
        noted("tasks", error)
        raise


@app.listener("/listener", dependencies=[Closable])
class Listener:
    def on_message(self, message: str) -> str:
        return message

    def on_disconnect(self, code: int) -> None:
        notes.append(f"listener: {code} expired")


@app.listener("/waiting")
class Waiting:
    def __init__(self, _: Annotated[Any, Closable]) -> None:
        pass

    async def on_message(self, message: str) -> str:
        return message

    def on_disconnect(self, code: int) -> None:
        notes.append(f"waiting: {code} expired")


@app.stream("/stream", dependencies=[Closable])
async def stream() -> AsyncIterator[str]:
    try:
        yield "tick"
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        notes.append("stream: 3000 expired")
        raise


class Class(WebSocketEndpoint):
    async def on_receive(self, websocket: WebSocket, data: str) -> None:
        await websocket.send_text(data)

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        notes.append(f"class: {close_code} expired")


app.router.add_websocket_route("/class", Class, dependencies=[Closable])


wrapped = without_line(app)
