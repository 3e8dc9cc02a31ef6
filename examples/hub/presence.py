"""Rooms that know who is in them. Run it with `trunkline run presence:app`."""

from trunkline import App, Hub, TopicConfig, WebSocket
from trunkline.hub import PresenceConfig

app = App()

# region: presence
hub = Hub(topics={"room:*": TopicConfig(presence=PresenceConfig())})


@app.websocket("/rooms/{room}")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    topic = hub.topic(f"room:{websocket.path_params['room']}")
    name = websocket.query_params["name"]
    async with topic.changes.join(websocket), topic.join(websocket, key=name, meta={"device": "phone"}):
        await websocket.send_json({"present": await topic.presence()})
        async for text in websocket.iter_text():
            await topic.publish(f"{name}: {text}")


# endregion
