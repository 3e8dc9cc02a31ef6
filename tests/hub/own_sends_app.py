"""Endpoints that send by themselves while the hub sends to the same connection, ours and FastAPI's."""

from __future__ import annotations

import asyncio
from typing import Any

import fastapi

from trunkline import App, Hub, WebSocket

COUNT = 300
hub = Hub("memory://")
ours = App()
app = fastapi.FastAPI()
app.mount("/ours", ours)


async def both(websocket: Any, name: str) -> None:
    """Publish and send: from this task each number first by the hub, from two others at once."""
    topic = hub.topic(name)
    async with topic.join(websocket), asyncio.TaskGroup() as tasks:
        tasks.create_task(_published(topic))
        tasks.create_task(_sent(websocket))
        for n in range(COUNT):
            await topic.publish(f"hub {n}")
            await websocket.send_text(f"own {n}")
    await websocket.receive_text()


async def _published(topic: Any) -> None:
    for n in range(COUNT):
        await topic.publish(f"{n}".encode())
        await asyncio.sleep(0)


async def _sent(websocket: Any) -> None:
    for n in range(COUNT):
        await websocket.send_text(f"other {n}")
        await asyncio.sleep(0)


@ours.websocket("/{name}")
async def our_endpoint(websocket: WebSocket) -> None:
    await websocket.accept()
    await both(websocket, websocket.path_params["name"])


@app.websocket("/theirs/{name}")
async def their_endpoint(websocket: fastapi.WebSocket, name: str) -> None:
    await websocket.accept()
    await both(websocket, name)
