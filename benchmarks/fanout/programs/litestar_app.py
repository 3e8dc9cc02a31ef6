# The benchmark installs what this imports.
# mypy: ignore-errors
"""A room on Litestar's channels: in memory, or over Redis by LITESTAR_REDIS and LITESTAR_BACKEND (pubsub, streams)."""

import os

from litestar import Litestar, WebSocket, websocket
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.memory import MemoryChannelsBackend
from litestar.channels.backends.redis import RedisChannelsPubSubBackend, RedisChannelsStreamBackend
from litestar.exceptions import WebSocketDisconnect
from redis.asyncio import Redis


def backend():
    kind = os.environ.get("LITESTAR_BACKEND", "memory")
    if kind == "memory":
        return MemoryChannelsBackend()
    redis = Redis.from_url(os.environ["BENCHMARK_REDIS"])
    if kind == "pubsub":
        return RedisChannelsPubSubBackend(redis=redis)
    return RedisChannelsStreamBackend(history=100, redis=redis)


@websocket("/room")
async def room(socket: WebSocket, channels: ChannelsPlugin) -> None:
    await socket.accept()
    async with channels.start_subscription("room") as subscriber, subscriber.run_in_background(socket.send_text):
        try:
            while True:
                channels.publish(await socket.receive_text(), "room")
        except WebSocketDisconnect:
            pass


app = Litestar([room], plugins=[ChannelsPlugin(backend=backend(), channels=["room"])])
