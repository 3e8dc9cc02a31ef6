# The benchmark installs what this imports.
# mypy: ignore-errors
"""The chat of Django Channels' tutorial, without its JSON: a group in memory, or over Redis by CHANNELS_LAYER."""

import os

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.conf import settings
from django.urls import path

LAYERS = {
    "memory": "channels.layers.InMemoryChannelLayer",
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
kind = os.environ.get("CHANNELS_LAYER", "memory")
layer = {"BACKEND": LAYERS[kind]}
if kind != "memory":
    layer["CONFIG"] = {"hosts": [os.environ["BENCHMARK_REDIS"]]}
settings.configure(SECRET_KEY="benchmark", CHANNEL_LAYERS={"default": layer})
django.setup()


class Room(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("room", self.channel_name)

    async def receive(self, text_data: str) -> None:
        await self.channel_layer.group_send("room", {"type": "said", "text": text_data})

    async def said(self, event) -> None:
        await self.send(text_data=event["text"])


app = URLRouter([path("room", Room.as_asgi())])
