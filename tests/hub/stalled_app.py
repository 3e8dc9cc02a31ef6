"""Rooms on real servers, with our WebSocket and Starlette's, and what became of their members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute

from trunkline import App, Hub, TopicConfig, WebSocket
from trunkline.hub import OutboxLimits

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket as StarletteWebSocket

hub = Hub("memory://", topics={"*": TopicConfig(outbox=OutboxLimits(seconds=1))})
ours = App()


@ours.websocket("/")
async def our_room(websocket: WebSocket) -> None:
    await websocket.accept()
    topic = hub.topic("ours")
    async with topic.join(websocket):
        async for text in websocket.iter_text():
            await topic.publish(text)


async def their_room(websocket: StarletteWebSocket) -> None:
    await websocket.accept()
    topic = hub.topic("theirs")
    async with topic.join(websocket):
        async for text in websocket.iter_text():
            await topic.publish(text)


async def stats(request: Request) -> JSONResponse:
    return JSONResponse(hub.topic(request.path_params["topic"]).stats._asdict())


app = Starlette(
    routes=[Mount("/ours", ours), WebSocketRoute("/theirs/", their_room), Route("/stats/{topic}", stats)],
)
