"""The same rooms on the hub, then with a past. Run it with `trunkline run rooms:app`."""

from trunkline import App, Hub, TopicConfig, WebSocket
from trunkline.hub import Publication, Retention

app = App()

# region: hub
hub = Hub()


@app.websocket("/rooms/{room}")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    topic = hub.topic(f"room:{websocket.path_params['room']}")
    async with topic.join(websocket):
        async for text in websocket.iter_text():
            await topic.publish(text)


# endregion


# region: history
def encode(publication: Publication) -> dict[str, str]:
    return {"text": publication.value, "position": str(publication.position)}


keeping = Hub(topics={"room:*": TopicConfig(history=Retention(count=1000, seconds=3600), encode=encode)})


@app.websocket("/kept/{room}")
async def kept_room(websocket: WebSocket) -> None:
    await websocket.accept()
    topic = keeping.topic(f"room:{websocket.path_params['room']}")
    async with topic.join(websocket, since=websocket.query_params.get("since")) as membership:
        await websocket.send_json({"recovered": membership.recovered, "position": str(membership.position)})
        async for text in websocket.iter_text():
            await topic.publish(text)


# endregion


# region: past
@app.websocket("/opened/{room}")
async def opened_room(websocket: WebSocket) -> None:
    await websocket.accept()
    topic = keeping.topic(f"room:{websocket.path_params['room']}")
    past = await topic.history(50)
    await websocket.send_json([encode(publication) for publication in past.publications])
    async with topic.join(websocket, since=past.position):
        async for text in websocket.iter_text():
            await topic.publish(text)


# endregion
