"""Who is there, found in every way that a client can say it. Run it with `trunkline run authentication:app`."""

import time
from typing import Annotated, Literal

from pydantic import BaseModel

from trunkline import App, Depends, WebSocket
from trunkline.security import (
    Authentication,
    BearerToken,
    CookieToken,
    FirstMessageToken,
    FirstOf,
    Forbidden,
    SubprotocolToken,
    Tickets,
    get_authentication,
)

app = App()


# region: verify
class User(BaseModel):
    name: str
    is_admin: bool = False
    expires_at: float | None = None  # seconds since 1970


def verify(token: str) -> User | None:
    """In a real program: look the session up, or check the signature of a JWT."""
    name, _, secret = token.partition("-")
    if secret != "secret":
        return None
    return User(name=name, is_admin=name == "ada", expires_at=time.time() + 3600)


# endregion


# region: anywhere
authentication = Authentication(FirstOf(BearerToken(), CookieToken("session")), verify)
LoggedIn = Annotated[User, Depends(authentication)]


@app.get("/me")
async def me(user: LoggedIn) -> str:
    return user.name


@app.websocket("/feed")
async def feed(websocket: WebSocket, user: LoggedIn) -> None:
    await websocket.accept()
    await websocket.send_text(f"hello {user.name}")
    async for message in websocket.iter_text():
        await websocket.send_text(f"you said: {message}")


# endregion


# region: forbidden
async def admin(user: LoggedIn) -> User:
    if not user.is_admin:
        raise Forbidden("This is for administrators")
    return user


@app.listener("/admin", dependencies=[Depends(admin)])
def command(message: str) -> str:
    return f"done: {message}"


# endregion


# region: tickets
tickets = Tickets()  # with several workers: Tickets("redis://localhost:6379")


@app.post("/ticket")
async def ticket(user: LoggedIn) -> dict[str, str]:
    return {"ticket": await tickets.issue(user.name)}


async def named(name: str) -> User | None:
    return User(name=name)


@app.websocket("/with-ticket")
async def with_ticket(websocket: WebSocket, user: Annotated[User, Depends(Authentication(tickets, named))]) -> None:
    await websocket.accept()
    await websocket.send_text(f"hello {user.name}")


# endregion


# region: subprotocol
offered = Authentication(SubprotocolToken("feed.v1"), verify)


@app.websocket("/with-subprotocol")
async def with_subprotocol(websocket: WebSocket, user: Annotated[User, Depends(offered)]) -> None:
    await websocket.accept()  # answers feed.v1
    await websocket.send_text(f"hello {user.name}")


# endregion


# region: message
spoken = Authentication(FirstMessageToken(seconds=5, field="token"), verify)


@app.websocket("/with-message")
async def with_message(websocket: WebSocket, user: Annotated[User, Depends(spoken)]) -> None:
    await websocket.send_text(f"hello {user.name}")  # it has been accepted


# endregion


# region: renew
class Say(BaseModel):
    type: Literal["say"]
    text: str


class Renew(BaseModel):
    type: Literal["renew"]
    token: str


@app.listener("/renewing")
def renewing(message: Say | Renew, websocket: WebSocket, user: LoggedIn) -> str:
    authenticated = get_authentication(websocket)
    if isinstance(message, Say):
        return f"{authenticated.principal.name} says: {message.text}"
    renewed = verify(message.token)
    if renewed is None or renewed.name != user.name:
        return "this is not a token of yours"
    authenticated.renew(renewed)
    return "renewed"


# endregion
