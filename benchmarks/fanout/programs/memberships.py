"""What a membership costs: connections that wait on /room, which an HTTP request lets into a topic.

The answer is what tracemalloc says of it, in bytes for each.
"""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

from trunkline import App, Hub, WebSocket

if TYPE_CHECKING:
    from trunkline.hub import Membership
    from trunkline.types import Receive, Scope, Send

topic = Hub("memory://").topic("room")
waiting: list[WebSocket] = []
rooms = App()


@rooms.websocket("/room")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    waiting.append(websocket)
    async for _ in websocket.iter_text():
        pass


async def join_all() -> float:
    members: list[Membership | None] = [None] * len(waiting)
    gc.collect()
    tracemalloc.start()  # only now: what the connections hold does not count, and was not slowed down by it
    before = tracemalloc.get_traced_memory()[0]
    for index, websocket in enumerate(waiting):
        members[index] = await topic.join(websocket).__aenter__()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    return (after - before) / len(members)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        await rooms(scope, receive, send)
        return
    body = b"%.1f" % await join_all()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
