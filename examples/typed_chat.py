"""A chat whose messages are classes. Run it with `trunkline run typed_chat:app`.

A client says hello with its name, then talks; what it may send and what it gets is all below, in one place. Whoever
sends something else is told what was expected, and stays. `examples/chat/` is a chat on the hub, with a page.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints

from trunkline import App, WebSocket, WebSocketDisconnect, WebSocketException
from trunkline.messages import codec_for, encode

HELLO_SECONDS = 10.0
MAX_OUTBOX = 256  # messages that wait for one member

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=32)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class Hello(BaseModel):
    """The first message of a client."""

    type: Literal["hello"] = "hello"
    name: Name


class Say(BaseModel):
    """Something for everybody in the room."""

    type: Literal["say"] = "say"
    text: Text


class Rename(BaseModel):
    """Another name from now on."""

    type: Literal["rename"] = "rename"
    name: Name


class Welcome(BaseModel):
    """The answer to a hello."""

    type: Literal["welcome"] = "welcome"
    members: list[str]


class Said(BaseModel):
    type: Literal["said"] = "said"
    name: str
    text: str


class Joined(BaseModel):
    type: Literal["joined"] = "joined"
    name: str


class Renamed(BaseModel):
    type: Literal["renamed"] = "renamed"
    before: str
    name: str


class Left(BaseModel):
    type: Literal["left"] = "left"
    name: str


FromClient = Say | Rename
FromServer = Welcome | Said | Joined | Renamed | Left

codec_for(FromClient)  # a mistake in the classes shows when the program starts


class Member:
    """Somebody in a room, with the messages that wait to be sent to them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outbox: asyncio.Queue[str | bytes] = asyncio.Queue(MAX_OUTBOX)
        self.too_slow = asyncio.Event()

    def put(self, data: str | bytes) -> None:
        """Leave a message in the outbox; never waits."""
        try:
            self.outbox.put_nowait(data)
        except asyncio.QueueFull:
            self.too_slow.set()


rooms: dict[str, list[Member]] = {}


def publish(room: list[Member], message: FromServer) -> None:
    """Say it to everybody in the room; encoded once, however many they are."""
    data = encode(message)
    for member in room:
        member.put(data)


@contextmanager
def entered(room_name: str, member: Member) -> Iterator[list[Member]]:
    """Be a member of a room, which is made for its first member and removed with its last."""
    room = rooms.setdefault(room_name, [])
    publish(room, Joined(name=member.name))
    room.append(member)
    member.put(encode(Welcome(members=[each.name for each in room])))
    try:
        yield room
    finally:
        room.remove(member)
        publish(room, Left(name=member.name))
        if not room:
            del rooms[room_name]


app = App()


@app.websocket("/rooms/{room}")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            hello = await websocket.receive_message(Hello)
    except TimeoutError:
        raise WebSocketException(3008, "Say hello first.") from None
    member = Member(hello.name)
    try:
        with entered(websocket.path_params["room"], member) as room:
            async with websocket.tasks() as tasks:
                listening = tasks.create_task(listen(websocket, room, member))
                sending = tasks.create_task(send_outbox(websocket, member))
                await member.too_slow.wait()
                listening.cancel()
                sending.cancel()
        await websocket.close(1013, "You fell too far behind.")
    except WebSocketDisconnect:
        pass  # the usual end of a stay


async def listen(websocket: WebSocket, room: list[Member], member: Member) -> None:
    async for message in websocket.iter_messages(FromClient):
        match message:
            case Say(text=text):
                publish(room, Said(name=member.name, text=text))
            case Rename(name=name):
                publish(room, Renamed(before=member.name, name=name))
                member.name = name


async def send_outbox(websocket: WebSocket, member: Member) -> None:
    while True:
        data = await member.outbox.get()
        await (websocket.send_text(data) if isinstance(data, str) else websocket.send_bytes(data))
