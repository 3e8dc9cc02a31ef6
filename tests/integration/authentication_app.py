"""An application with authentication in every form, for tests on real servers."""

from typing import Annotated

from trunkline import App, Depends, WebSocket
from trunkline.security import BearerToken, CookieToken, FirstOf, Forbidden, QueryToken, SubprotocolToken, Unauthorized

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
