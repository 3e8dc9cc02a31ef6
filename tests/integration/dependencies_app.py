"""An application whose dependencies note what happens to them, for tests on real servers."""

from typing import Annotated, Any

import anyio
import anyio.lowlevel

from tests.contracts.wrapped import without_line
from trunkline import (
    App,
    BackgroundTasks,
    Cookie,
    Depends,
    Header,
    HTTPConnection,
    Query,
    WebSocket,
    WebSocketException,
)

app = App(origins="*")
log: list[str] = []


async def session(conn: HTTPConnection) -> Any:
    log.append(f"open for {conn.scope['type']}")
    try:
        yield "session"
    except BaseException as error:
        log.append(f"closed by {type(error).__name__}")
        raise
    log.append("closed")


def user(
    session: Annotated[str, Depends(session)],
    token: Annotated[str | None, Query()] = None,
    x_token: Annotated[str | None, Header()] = None,
    ticket: Annotated[str | None, Cookie()] = None,
) -> str:
    name = token or x_token or ticket
    if name is None:
        raise WebSocketException(1008)
    return f"{name} in {session}"


@app.websocket("/talk/{room}")
async def talk(
    websocket: WebSocket, room: str, user: Annotated[str, Depends(user)], tasks: BackgroundTasks, n: int = 1
) -> None:
    tasks.add_task(log.append, f"task of {room}")
    await websocket.accept()
    await websocket.send_text(f"{user}, {room}")
    for _ in range(n):
        await websocket.send_text(await websocket.receive_text())


@app.get("/users/{user_id}")
async def show(user_id: int, user: Annotated[str, Depends(user)]) -> Any:
    return {"id": user_id, "user": user}


async def opened() -> Any:
    try:
        yield
    except BaseException as error:
        await anyio.lowlevel.checkpoint()
        print(f"torn down by {type(error).__name__}", flush=True)
        raise


@app.websocket("/busy")
async def busy(websocket: WebSocket, _: Annotated[None, Depends(opened)]) -> None:
    """Neither receives nor sends: only a cancellation ends it."""
    await websocket.accept()
    await websocket.send_text("busy")
    await anyio.sleep_forever()


@app.get("/log")
async def taken() -> Any:
    """What was noted since it was last asked for."""
    entries = log.copy()
    log.clear()
    return entries


wrapped = without_line(app)
