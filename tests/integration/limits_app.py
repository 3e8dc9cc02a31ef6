"""A route for each limit and each way to write an endpoint."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from tests.contracts.wrapped import without_line
from trunkline import App, Depends, Query, WebSocket
from trunkline.limits import Limits, Rate


def user(name: Annotated[str | None, Query()] = None) -> str | None:
    return name


LIMITS = {
    "size": Limits(max_message=10),
    "messages": Limits(messages_per_second=Rate(0.1, burst=3), policy="close"),
    "bytes": Limits(bytes_per_second=Rate(1, burst=30), policy="close"),
    "wait": Limits(messages_per_second=Rate(100, burst=5)),
    "address": Limits(connections_per_ip=2),
    "user": Limits(connections_per_user=2, user=user),
    "idle": Limits(idle_timeout=0.5),
    "life": Limits(max_life=0.5),
}

app = App(trusted_proxies=["127.0.0.1"])


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def listener(message: str) -> str:
    return message


async def waiting_listener(message: str) -> str:
    await asyncio.sleep(0)
    return message


async def stream(messages: AsyncIterator[str]) -> AsyncIterator[str]:
    async for message in messages:
        yield message


for name, limits in LIMITS.items():
    app.websocket(f"/{name}/raw", limits=limits)(echo)
    app.listener(f"/{name}/listener", limits=limits)(listener)
    app.listener(f"/{name}/waiting", name=f"{name}-waiting", limits=limits)(waiting_listener)
    app.stream(f"/{name}/stream", limits=limits)(stream)


async def never() -> None:
    await asyncio.Event().wait()


app.websocket("/handshake", dependencies=[Depends(never)], limits=Limits(handshake_timeout=0.2))(echo)

wrapped = without_line(app)
