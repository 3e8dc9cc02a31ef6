"""Parameters of endpoints, and dependencies that HTTP and WebSocket routes share."""

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import BaseModel

from trunkline import (
    App,
    BackgroundTasks,
    Cookie,
    Depends,
    Header,
    HTTPConnection,
    HTTPException,
    Query,
    Router,
    WebSocket,
)
from trunkline.exceptions import WebSocketRequestValidationError
from trunkline.responses import JSONResponse

app = App()


# region: parameters
@app.websocket("/rooms/{room}")
async def room(
    websocket: WebSocket,
    room: str,  # its name is in the path
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    tags: Annotated[list[str], Query()] = [],  # noqa: B006 - each connection gets a copy
    accept_language: Annotated[str | None, Header()] = None,
    theme: Annotated[str, Cookie()] = "light",
) -> None:
    await websocket.accept()
    await websocket.send_json([room, limit, tags, accept_language, theme])


# endregion


# region: shared
class User(BaseModel):
    name: str
    is_admin: bool = False


USERS = {"s3cret": User(name="anna", is_admin=True), "other": User(name="ben")}


async def get_user(conn: HTTPConnection, token: Annotated[str | None, Query()] = None) -> User:
    user = USERS.get(token or conn.headers.get("x-token", ""))
    if user is None:
        raise HTTPException(401, "a token is needed")
    return user


@app.get("/me")
async def me(user: Annotated[User, Depends(get_user)]) -> User:
    return user


@app.websocket("/feed")
async def feed(websocket: WebSocket, user: Annotated[User, Depends(get_user)]) -> None:
    await websocket.accept()
    await websocket.send_text(f"hello {user.name}")


# endregion


# region: yield
class Session:
    def __init__(self) -> None:
        self.log: list[str] = []

    async def close(self) -> None:
        self.log.append("closed")


SESSIONS: list[Session] = []


async def get_session() -> AsyncIterator[Session]:
    session = Session()
    SESSIONS.append(session)
    try:
        yield session
    except Exception as error:
        session.log.append(f"rolled back: {type(error).__name__}")
        raise  # always: who swallows an exception here answers for what comes after
    finally:
        await session.close()


@app.websocket("/orders")
async def orders(websocket: WebSocket, session: Annotated[Session, Depends(get_session)]) -> None:
    await websocket.accept()
    async for order in websocket.iter_json():
        session.log.append(f"order {order['id']}")
        await websocket.send_json({"accepted": order["id"]})


# endregion


# region: background
VISITS: list[str] = []


@app.websocket("/visits/{name}")
async def visits(websocket: WebSocket, name: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(VISITS.append, name)  # when the connection has ended
    await websocket.accept()
    await websocket.wait_closed()


# endregion


# region: routers
def only_admins(user: Annotated[User, Depends(get_user)]) -> None:
    if not user.is_admin:
        raise HTTPException(403)


admin = Router(dependencies=[Depends(only_admins)])


@admin.websocket("/log")
async def log(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("all is well")


app.include_router(admin, prefix="/admin")
# endregion


# region: handler
@app.exception_handler(WebSocketRequestValidationError)
async def tell(websocket: WebSocket, error: WebSocketRequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": [f"{entry['loc'][1]}: {entry['msg']}" for entry in error.errors()]}, 422)


# endregion
