"""The three kinds of endpoints with all that a route may say of them, for tests in memory and on real servers."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.contracts.wrapped import without_line
from trunkline import (
    App,
    BackgroundTasks,
    Depends,
    HTTPConnection,
    HTTPException,
    Router,
    WebSocket,
    WebSocketException,
)
from trunkline.messages import InvalidMessage, MessageSettings, register_codec
from trunkline.responses import JSONResponse
from trunkline.routing import Mount


class RoomFull(Exception):
    pass


class Broke(Exception):
    pass


class Unmapped(Exception):
    pass


class RoomClosed(RoomFull):
    pass


FAILURES: dict[str, Exception] = {
    "full": RoomFull("the password is hunter2"),
    "closed": RoomClosed(),
    "broke": Broke(),
    "unmapped": Unmapped(),
    "teapot": HTTPException(418, "short and stout"),
    "kicked": WebSocketException(4100, "kicked"),
}


def failing(why: str) -> Exception:
    return FAILURES[why]


async def explained(websocket: WebSocket, error: Broke) -> None:
    await websocket.send_text("it broke")


async def denied(conn: HTTPConnection, error: RoomClosed) -> JSONResponse:
    return JSONResponse({"room": "closed"}, status_code=409)


router = Router(exception_handlers={RoomFull: 4002, RoomClosed: denied})
TABLE: dict[Any, Any] = {RoomFull: 4001, Broke: explained, 418: 4418}


def add_kinds(to: Router, exception_handlers: dict[Any, Any] | None = None) -> None:
    """Add an endpoint of each kind, which fails as its message says, or the query before accept."""

    async def early(fail: str | None = None) -> None:
        if fail is not None:
            raise failing(fail)

    async def raw(websocket: WebSocket, _: Annotated[None, Depends(early)]) -> None:
        await websocket.accept()
        raise failing(await websocket.receive_text())

    def plain(message: str, _: Annotated[None, Depends(early)]) -> None:
        raise failing(message)

    async def waiting(message: str, _: Annotated[None, Depends(early)]) -> None:
        raise failing(message)

    async def stream(messages: AsyncIterator[str], _: Annotated[None, Depends(early)]) -> AsyncIterator[str]:
        async for message in messages:
            yield "failing"
            raise failing(message)

    to.websocket("/raw", exception_handlers=exception_handlers)(raw)
    to.listener("/plain", exception_handlers=exception_handlers)(plain)
    to.listener("/waiting", exception_handlers=exception_handlers)(waiting)
    to.stream("/stream", exception_handlers=exception_handlers)(stream)


add_kinds(router)


@router.get("/http")
async def http(why: str) -> Any:
    raise failing(why)


own = Router(exception_handlers={RoomFull: 4002})
add_kinds(own, TABLE)
plain = Router()
add_kinds(plain)

app = App(exception_handlers={RoomFull: 4003, Exception: 4999})
app.include_router(own, "/route")
app.include_router(router, "/included")
app.include_router(plain, "/inclusion", exception_handlers={RoomFull: 4004})
app.mount("/router", router)
app.router.routes.append(Mount("/mount", plain, exception_handlers={RoomFull: 4005}))
app.mount("/app", plain)


# Typed messages, as the route says


class Join(BaseModel):
    type: Literal["join"] = "join"
    room: str


class Say(BaseModel):
    type: Literal["say"] = "say"
    text: str


class JoinDict(TypedDict):
    type: Literal["join"]
    room: str


class SayDict(TypedDict):
    type: Literal["say"]
    text: str


@dataclass
class JoinData:
    room: str
    type: Literal["join"] = "join"


@dataclass
class SayData:
    text: str
    type: Literal["say"] = "say"


class Move(msgspec.Struct, tag="move"):
    x: int


class Stop(msgspec.Struct, tag="stop"):
    pass


async def nothing() -> None:
    pass


def add_typed(to: Router | App, type_: Any, messages: MessageSettings | None = None) -> None:
    """Add an endpoint of each kind that sends back what it gets."""

    async def raw(websocket: WebSocket) -> None:
        await websocket.accept()
        async for message in websocket.iter_messages(type_):
            await websocket.send_message(message)

    async def once(websocket: WebSocket, _: Annotated[None, Depends(nothing)]) -> None:
        await websocket.accept()
        while True:
            await websocket.send_message(await websocket.receive_message(type_))

    def plain(message: type_) -> type_:
        return message

    async def waiting(message: type_) -> type_:
        return message

    async def stream(messages: AsyncIterator[type_]) -> AsyncIterator[type_]:
        async for message in messages:
            yield message

    to.websocket("/raw", messages=messages)(raw)
    to.websocket("/once", messages=messages)(once)
    to.listener("/plain", messages=messages)(plain)
    to.listener("/waiting", messages=messages)(waiting)
    to.stream("/stream", messages=messages)(stream)


SETTINGS: dict[str, MessageSettings | None] = {
    "reply": None,
    "strict": MessageSettings(invalid="close"),
    "raise": MessageSettings(invalid="raise"),
    "few": MessageSettings(max_invalid=2),
}
for name, settings in SETTINGS.items():
    talking = Router()
    add_typed(talking, Join | Say, settings)
    app.include_router(talking, f"/{name}")

UNIONS: dict[str, Any] = {
    "models": Join | Say,
    "declared": Annotated[Join | Say, Field(discriminator="type")],
    "dictionaries": JoinDict | SayDict,
    "dataclasses": JoinData | SayData,
}
for name, union in UNIONS.items():
    talking = Router()
    add_typed(talking, union)
    app.include_router(talking, f"/{name}")

mapped = Router(messages=MessageSettings(invalid="raise"), exception_handlers={InvalidMessage: 4422})
add_typed(mapped, Join | Say)
app.include_router(mapped, "/mapped")

either = Router(messages=MessageSettings(codec="msgpack", subprotocols={"game+json": "json", "game+pack": "msgpack"}))
add_typed(either, Move | Stop)
app.include_router(either, "/game")

packed = App(messages=MessageSettings(codec="msgpack"))
add_typed(packed, Move | Stop)
said_otherwise = Router()
add_typed(said_otherwise, Move | Stop, MessageSettings())
packed.include_router(said_otherwise, "/json")
app.mount("/packed", packed)

# What happens to a connection, noted for the tests

log: list[str] = []


@app.websocket("/log")
async def notes(websocket: WebSocket) -> None:
    """What was noted since this was last asked for."""
    await websocket.accept()
    await websocket.send_json(log)
    log.clear()


async def session() -> AsyncIterator[str]:
    log.append("session begins")
    yield "session"
    log.append("session ends")


async def transaction(message: str, session: Annotated[str, Depends(session)]) -> AsyncIterator[str]:
    log.append(f"begin {message}")
    try:
        yield f"{message} in {session}"
    except Broke:
        log.append(f"roll back {message}")
        raise
    log.append(f"commit {message}")


@app.listener("/per-message", exception_handlers={Broke: 4001})
async def per_message(
    message: str, transaction: Annotated[str, Depends(transaction, scope="message")], tasks: BackgroundTasks
) -> str:
    if message == "break":
        raise Broke
    tasks.add_task(log.append, f"after {message}")
    return transaction


@app.listener("/class")
class Talk:
    def __init__(self, who: str = "somebody") -> None:
        self.who = who
        self.room = "lobby"

    def on_connect(self) -> str:
        return f"welcome, {self.who}"

    async def on_join(self, message: Join) -> None:
        self.room = message.room

    def on_say(self, message: Say) -> Say:
        return Say(text=f"{message.text} in {self.room}")

    def on_disconnect(self, close_code: int) -> None:
        log.append(f"{self.who} left with {close_code}")


arrivals: dict[str, asyncio.Event] = {}


@app.listener("/at-once", concurrency=3)
async def at_once(message: str, websocket: WebSocket) -> str:
    """The first message waits for the third, which no other way of handling them would let in before."""
    third = arrivals.setdefault(websocket.headers["x-run"], asyncio.Event())
    if message == "3":
        third.set()
    if message == "1":
        await third.wait()
    return message


@app.listener("/threaded", threaded=True)
def threaded(message: str) -> str:
    return f"{message} in a worker: {threading.current_thread() is not threading.main_thread()}"


@app.stream("/endless")
async def endless() -> AsyncIterator[str]:
    try:
        yield "ready"
        await asyncio.Event().wait()
    finally:
        log.append("the stream has ended")


@app.stream("/finite")
async def finite() -> AsyncIterator[Any]:
    yield "text"
    yield b"bytes"
    yield None
    yield Say(text="typed")


class Words:
    """`say hello` for `Say(text="hello")`."""

    def __init__(self, type_: Any) -> None:
        self.type = type_

    def decode(self, data: str | bytes) -> Any:
        kind, _, text = str(data).partition(" ")
        if kind != "say":
            raise InvalidMessage([{"type": "word", "loc": [], "msg": "Expected say"}], 1007)
        return Say(text=text)

    def encode(self, value: Any) -> str:
        return f"say {value.text}" if isinstance(value, Say) else f"error {value['errors'][0]['type']}"


register_codec("words in tests", Words)
wordy = Router()
add_typed(wordy, Say, MessageSettings(codec="words in tests"))
app.include_router(wordy, "/words")

wrapped = without_line(app)
