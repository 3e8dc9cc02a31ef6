"""An application with authentication in every form, for tests on real servers."""

import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import anyio

from trunkline import App, Depends, WebSocket
from trunkline.endpoints import WebSocketEndpoint
from trunkline.security import (
    Authentication,
    BearerToken,
    CookieToken,
    FirstMessageToken,
    FirstOf,
    Forbidden,
    QueryToken,
    SubprotocolToken,
    Tickets,
    Unauthorized,
    get_authentication,
)
from trunkline.types import Receive, Scope, Send

app = App()

anywhere = FirstOf(BearerToken(), CookieToken("session"), QueryToken(), SubprotocolToken("feed.v1"))


async def user(token: Annotated[str, Depends(anywhere)]) -> str:
    if not token.startswith("secret-"):
        raise Unauthorized("The token is not valid")
    if token == "secret-eve":
        raise Forbidden
    return token.removeprefix("secret-")


User = Annotated[str, Depends(user)]


@app.get("/me")
async def me(user: User) -> str:
    return user


@app.websocket("/feed")
async def feed(websocket: WebSocket, user: User) -> None:
    await websocket.accept()
    await websocket.send_text(user)
    async for message in websocket:
        if message == "leave":
            raise Forbidden("not any more")
        if message == "fail":
            raise RuntimeError("the endpoint fails")


@dataclass
class Guest:
    """Somebody whose token says for how many seconds it holds, `secret-0.2`."""

    expires_at: float


def guest_of(token: str) -> Guest:
    return Guest(time.time() + float(token.removeprefix("secret-")))


guest = Authentication(QueryToken(), guest_of)
Guarded = Depends(guest)


@app.websocket("/expiring/raw", dependencies=[Guarded])
async def raw(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        get_authentication(websocket).renew(guest_of(await websocket.receive_text()))
        await websocket.send_text("renewed")


@app.listener("/expiring/listener")
def listener(message: str, websocket: WebSocket, guest: Annotated[Guest, Guarded]) -> str:
    get_authentication(websocket).renew(guest_of(message))
    return "renewed"


@app.listener("/expiring/plain", dependencies=[Guarded])
def plain(message: str) -> str:
    return "renewed"


@app.stream("/expiring/stream", dependencies=[Guarded])
async def stream() -> AsyncIterator[str]:
    yield "renewed"
    await anyio.sleep_forever()


class Class(WebSocketEndpoint):
    async def on_receive(self, websocket: WebSocket, data: str) -> None:
        await websocket.send_text("renewed")


app.router.add_websocket_route("/expiring/class", Class, dependencies=[Guarded])


tickets = Tickets(os.environ.get("TICKETS", "memory://"))


@app.post("/ticket")
async def ticket(user: User) -> dict[str, str | int]:
    return {"ticket": await tickets.issue(user), "process": os.getpid()}


async def ticket_or_message(websocket: WebSocket, token: str) -> None:
    if websocket.application_state.name == "CONNECTING":
        await websocket.accept()
    await websocket.send_json({"user": token, "process": os.getpid()})


@app.websocket("/ticket")
async def with_ticket(websocket: WebSocket, name: Annotated[str, Depends(tickets)]) -> None:
    await ticket_or_message(websocket, name)


@app.websocket("/message")
async def with_message(
    websocket: WebSocket, token: Annotated[str, Depends(FirstOf(tickets, FirstMessageToken(0.5, field="token")))]
) -> None:
    await user(token) if token != "anna" else None
    await ticket_or_message(websocket, token)


async def without_denial(scope: Scope, receive: Receive, send: Send) -> None:
    """As a server that has no denial responses."""
    extensions = {name: value for name, value in scope.get("extensions", {}).items() if "response" not in name}
    await app({**scope, "extensions": extensions}, receive, send)
