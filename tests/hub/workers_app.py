"""An application for several worker processes: rooms with a past, without one, and with presence.

Who joins is told which process serves it. A message is published, unless it asks for what the process knows.
"""

from __future__ import annotations

import os
from typing import Any

from trunkline import App, Hub, TopicConfig, WebSocket
from trunkline.hub import PresenceConfig, Publication, Retention, Topic
from trunkline.hub.brokers.redis import broker, connecting, listener

if "HURRIED" in os.environ:
    # Time limits that a test can wait for.
    listener.SUBSCRIBE_TIMEOUT = listener.SILENCE = broker.READ_TIMEOUT = 0.5
    connecting.RESPONSE_TIMEOUT = connecting.CONNECT_TIMEOUT = 0.5
    listener.PING_EVERY = 0.1
    connecting.LONGEST_PAUSE = 0.2


def encode(publication: Publication) -> Any:
    return {"at": str(publication.position), "value": publication.value}


hub = Hub(
    topics={
        "kept:*": TopicConfig(history=Retention(100_000, 600), encode=encode),
        "here:*": TopicConfig(presence=PresenceConfig(lease=1, grace=0, every=0.05)),
    }
)
app = App()


async def answer(question: str, topic: Topic) -> Any:
    if question == "presence":
        return await topic.presence()
    return {**topic.stats._asdict(), "reconnects": hub.broker.reconnects}


@app.websocket("/{topic}")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    topic = hub.topic(websocket.path_params["topic"])
    query = websocket.query_params
    async with topic.join(websocket, since=query.get("since"), key=query.get("key")) as membership:
        await websocket.send_json(
            {"process": os.getpid(), "recovered": membership.recovered, "at": str(membership.position)}
        )
        async for value in websocket.iter_json():
            if isinstance(value, dict):
                await websocket.send_json({"answer": await answer(value["ask"], topic)})
            else:
                await topic.publish(value, idempotency_key=f"{value}"[:40], timeout=20)
