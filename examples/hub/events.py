"""Server-sent events from a topic, for browsers that only listen. Run it with `trunkline run events:app`."""

import json
from collections.abc import AsyncIterator

from trunkline import App, Hub, Request, TopicConfig
from trunkline.hub import Retention
from trunkline.responses import StreamingResponse

app = App()

# region: events
hub = Hub(topics={"prices": TopicConfig(history=Retention(count=1000, seconds=600))})


@app.get("/prices")
async def prices(request: Request) -> StreamingResponse:
    # What `EventSource` sends by itself when it comes back: the `id` of the last event that it got.
    since = request.headers.get("last-event-id")

    async def events() -> AsyncIterator[str]:
        async with hub.topic("prices").subscribe(since=since) as publications:
            if not publications.recovered:
                yield f"id: {publications.position}\nevent: reload\ndata:\n\n"
            async for publication in publications:
                yield f"id: {publication.position}\ndata: {json.dumps(publication.value)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


# endregion


@app.post("/prices")
async def change(request: Request) -> None:
    await hub.topic("prices").publish(await request.json())
