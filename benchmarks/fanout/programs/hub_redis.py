"""A room on the hub over Redis: without a past, and with one."""

from __future__ import annotations

import os

from trunkline import App, Hub, TopicConfig, WebSocket
from trunkline.hub import Retention

hub = Hub(os.environ["BENCHMARK_REDIS"], topics={"kept": TopicConfig(history=Retention(count=100, seconds=60))})
app = App()


@app.websocket("/{name}")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    topic = hub.topic(websocket.path_params["name"])
    async with topic.join(websocket):
        async for text in websocket.iter_text():
            await topic.publish(text)
