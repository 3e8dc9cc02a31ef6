"""An application for several worker processes: rooms with a past, and which process serves a connection."""

from __future__ import annotations

import os
from typing import Any

from trunkline import App, Hub, TopicConfig, WebSocket
from trunkline.hub import Publication, Retention


def encode(publication: Publication) -> Any:
    return {"at": str(publication.position), "value": publication.value}


hub = Hub(topics={"kept:*": TopicConfig(history=Retention(100_000, 600), encode=encode)})
app = App()


@app.websocket("/{topic}")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    topic = hub.topic(websocket.path_params["topic"])
    async with topic.join(websocket, since=websocket.query_params.get("since")) as membership:
        await websocket.send_json(
            {"process": os.getpid(), "recovered": membership.recovered, "at": str(membership.position)}
        )
        async for value in websocket.iter_json():
            await topic.publish(value, idempotency_key=f"{value}", timeout=20)
