"""A chat: rooms, names, who is here and who is typing. Open it in two windows and talk.

    uvicorn examples.chat.app:app

The page and the server exchange JSON objects with a `type`:

    from the page    message(text)  typing(active)
    from the server  welcome(you, members)  joined(id, name)  left(id, name)
                     message(id, name, text, time)  typing(id, name, active)  error(text)

Nobody waits for anybody: what is said in a room goes into a bounded outbox per member, and a task per member sends it.
A member whose outbox is full reads too slowly and is dropped; the page connects again by itself. A member who talks
too fast is read more slowly, which the network passes on to them. Rooms live in this process and vanish when empty.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trunkline import App, HTTPException, Request, WebSocket, WebSocketDisconnect, WebSocketException
from trunkline.responses import FileResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NAME = 32  # characters
MAX_ROOM_NAME = 40  # characters
MAX_TEXT = 2000  # characters of one message
MAX_FRAME = 16 * MAX_TEXT  # characters of JSON: each of the text's may come as two \uXXXX
MAX_MEMBERS = 200  # of one room
MAX_OUTBOX = 256  # messages that wait for one member
PAUSE = 0.05  # seconds between two messages of one member

Event = dict[str, Any]


class Member:
    """Somebody in a room, with the messages that wait to be sent to them."""

    ids = count(1)

    def __init__(self, name: str) -> None:
        self.id = next(self.ids)
        self.name = name
        self.outbox: asyncio.Queue[str] = asyncio.Queue(MAX_OUTBOX)
        self.too_slow = asyncio.Event()

    def put(self, text: str) -> None:
        """Leave a message in the outbox; never waits."""
        try:
            self.outbox.put_nowait(text)
        except asyncio.QueueFull:
            self.too_slow.set()

    def introduction(self) -> Event:
        return {"id": self.id, "name": self.name}


class Room:
    """The members of one room. Its methods never wait, so that no member sees a half-done change."""

    rooms: ClassVar[dict[str, Room]] = {}  # those that have members, by name

    def __init__(self) -> None:
        self.members: list[Member] = []

    @classmethod
    @contextmanager
    def entered(cls, room_name: str, name: str) -> Iterator[tuple[Room, Member]]:
        """Be a member of a room, which is made for its first member and removed with its last."""
        room = cls.rooms.setdefault(room_name, cls())
        if len(room.members) >= MAX_MEMBERS:
            raise WebSocketException(1013, "This room is full.")
        member = Member(name)
        room.publish({"type": "joined", **member.introduction()})
        room.members.append(member)
        everybody = [each.introduction() for each in room.members]
        member.put(json.dumps({"type": "welcome", "you": member.id, "members": everybody}))
        try:
            yield room, member
        finally:
            room.members.remove(member)
            room.publish({"type": "left", **member.introduction()})
            if not room.members:
                del cls.rooms[room_name]

    def publish(self, event: Event) -> None:
        """Say it to everybody in the room; encoded once, however many they are."""
        text = json.dumps(event)
        for member in self.members:
            member.put(text)


def clean_name(text: str) -> str:
    """One line of printable characters."""
    return "".join(filter(str.isprintable, " ".join(text.split()))).strip()


def read(data: str | bytes) -> Event:
    """What a member says.

    Raises:
        ValueError: It cannot be taken; the text tells the member why.
    """
    if isinstance(data, bytes) or len(data) > MAX_FRAME:
        raise ValueError(f"Expected a text message of at most {MAX_FRAME} characters.")
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("Expected JSON.") from None
    match event:
        case {"type": "message", "text": str(text)} if 0 < len(text.strip()) <= MAX_TEXT:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            return {"type": "message", "text": text.strip(), "time": now}
        case {"type": "message"}:
            raise ValueError(f"A message has between 1 and {MAX_TEXT} characters of text.")
        case {"type": "typing", "active": bool(active)}:
            return {"type": "typing", "active": active}
    raise ValueError('Expected {"type": "message", "text": "..."} or {"type": "typing", "active": true}.')


app = App()


@app.websocket("/rooms/{room}")
async def chat(websocket: WebSocket) -> None:
    """One member's stay in a room, from entering to leaving."""
    # A browser learns the reason of a close, but not that of a refused handshake: so accept first, then look.
    await websocket.accept()
    room_name = websocket.path_params["room"]
    name = clean_name(websocket.query_params.get("name", ""))
    if not 0 < len(name) <= MAX_NAME:
        raise WebSocketException(1008, f"A name has between 1 and {MAX_NAME} characters.")
    if len(room_name) > MAX_ROOM_NAME:
        raise WebSocketException(1008, f"The name of a room has at most {MAX_ROOM_NAME} characters.")

    try:
        with Room.entered(room_name, name) as (room, member):
            async with websocket.tasks() as tasks:
                listening = tasks.create_task(listen(websocket, room, member))
                sending = tasks.create_task(send_outbox(websocket, member))
                await member.too_slow.wait()
                listening.cancel()
                sending.cancel()
        await websocket.close(1013, "You fell too far behind.")
    except WebSocketDisconnect:
        pass  # the usual end of a stay


async def listen(websocket: WebSocket, room: Room, member: Member) -> None:
    async for data in websocket:
        try:
            event = read(data)
        except ValueError as error:
            member.put(json.dumps({"type": "error", "text": str(error)}))
        else:
            room.publish({**member.introduction(), **event})
        await asyncio.sleep(PAUSE)


async def send_outbox(websocket: WebSocket, member: Member) -> None:
    while True:
        await websocket.send_text(await member.outbox.get())


STATIC = Path(__file__).parent / "static"
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


@app.get("/")
async def page(request: Request) -> FileResponse:
    return FileResponse(STATIC / "index.html", headers=HEADERS)


@app.get("/static/{file}")
async def asset(request: Request) -> FileResponse:
    if request.path_params["file"] not in ("chat.css", "chat.js"):
        raise HTTPException(404)
    return FileResponse(STATIC / request.path_params["file"], headers=HEADERS)
