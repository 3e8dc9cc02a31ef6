"""A chat: rooms, what was said before, who is here and who is typing. Open it in two windows and talk.

    trunkline run examples.chat.app:app
    TRUNKLINE_BROKER=redis://localhost:6379 trunkline run examples.chat.app:app --workers 2

A room is a topic of the hub. What is said goes into its history: a page that is opened is told the end of it, and one
that comes back says the position of the last message that it has (`since`) and gets the rest, each message once. A page
repeats what it has not seen come back, under the same `nonce`, and the hub sends it once. So nothing is lost or doubled
when a connection breaks, a worker is killed or the chat is deployed. A member who reads too slowly is closed by the hub
and comes back the same way; one who talks too fast is read more slowly, which the network passes on to them.

The page and the server exchange JSON objects with a `type`:

    from the page    message(text, nonce)  typing(active)
    from the server  welcome(you, worker)  present(people)  people(leaves, joins)
                     message(id, name, text, time, nonce, position)  typing(id, name, active)
                     reload()  error(code, errors)
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, StrictBool, StringConstraints

from trunkline import App, HTTPException, Hub, Request, TopicConfig, WebSocket, WebSocketDisconnect, WebSocketException
from trunkline.hub import BrokerError, OutboxLimits, Position, PresenceConfig, Publication, Retention, Topic, policies
from trunkline.limits import Limits, Rate
from trunkline.responses import FileResponse

MAX_NAME = 32  # characters
MAX_ROOM_NAME = 40  # characters
MAX_TEXT = 2000  # characters of one message
MAX_MESSAGE = 16 * MAX_TEXT  # bytes of JSON: each of the text's may come as two \uXXXX
MAX_MEMBERS = 1000  # of one room in one process
PAST = 50  # messages that a page is opened with
RATE = Rate(20, burst=40)  # messages per second of one member; more are taken later


class Say(BaseModel):
    """A message to everybody in the room."""

    type: Literal["message"]
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
    nonce: Annotated[str, StringConstraints(pattern=r"^\w{1,32}$")]


class Typing(BaseModel):
    """Somebody begins to write, or stops."""

    type: Literal["typing"]
    active: StrictBool


class Visitor(NamedTuple):
    """Who a connection is of: others know the id, and only the page knows the secret that it is made of."""

    id: str
    name: str


def with_position(publication: Publication) -> dict[str, Any]:
    """A message as pages get it."""
    return {**publication.value, "position": str(publication.position)}


def with_type(publication: Publication) -> dict[str, Any]:
    """A change of who is here as pages get it."""
    return {"type": "people", **publication.value}


hub = Hub(
    topics={
        "room:*": TopicConfig(
            history=Retention(count=1000, seconds=24 * 3600),
            presence=PresenceConfig(grace=3),
            outbox=OutboxLimits(bytes=1024 * 1024, seconds=10),
            encode=with_position,
        ),
        # With a history too, so that a change that Redis or the network loses is made up for.
        "presence:room:*": TopicConfig(history=Retention(count=1000, seconds=60), encode=with_type),
        "typing:*": TopicConfig(policy=policies.drop_oldest, outbox=OutboxLimits(bytes=4096)),
    }
)


@asynccontextmanager
async def lifespan(_: App) -> AsyncIterator[None]:
    """End the hub with the server: those who leave with it are gone unless they come back."""
    async with hub:
        yield


app = App(lifespan=lifespan)


@app.websocket("/rooms/{room}", limits=Limits(max_message=MAX_MESSAGE, messages_per_second=RATE))
async def chat(websocket: WebSocket) -> None:
    """One connection of somebody in a room."""
    # A browser learns the reason of a close, but not that of a refused handshake: so accept first, then look.
    await websocket.accept()
    try:
        await stay(websocket, websocket.path_params["room"], visitor_of(websocket))
    except WebSocketDisconnect:
        pass  # the usual end of a stay
    except BrokerError:
        await websocket.close(1013, "The chat cannot reach its broker.")


def visitor_of(websocket: WebSocket) -> Visitor:
    """Who it is.

    Raises:
        WebSocketException: The name or the room's cannot be taken.
    """
    if len(websocket.path_params["room"]) > MAX_ROOM_NAME:
        raise WebSocketException(1008, f"The name of a room has at most {MAX_ROOM_NAME} characters.")
    name = "".join(filter(str.isprintable, " ".join(websocket.query_params.get("name", "").split()))).strip()
    if not 0 < len(name) <= MAX_NAME:
        raise WebSocketException(1008, f"A name has between 1 and {MAX_NAME} characters.")
    secret = websocket.query_params.get("secret") or secrets.token_hex()
    return Visitor(sha256(secret.encode()).hexdigest()[:16], name)


async def stay(websocket: WebSocket, name: str, me: Visitor) -> None:
    """One stay in a room, from entering to leaving."""
    room, typing = hub.topic(f"room:{name}"), hub.topic(f"typing:{name}")
    if len(room.members) >= MAX_MEMBERS:
        raise WebSocketException(1013, "This room is full.")
    await websocket.send_json({"type": "welcome", "you": me.id, "worker": os.getpid()})
    since = websocket.query_params.get("since") or await send_past(websocket, room)
    async with (
        room.changes.join(websocket),
        typing.join(websocket),
        room.join(websocket, since=since, key=me.id, meta={"name": me.name}) as membership,
    ):
        if not membership.recovered:
            # Too much was said since, or the history is another one. The page comes again as if it was opened.
            await websocket.send_json({"type": "reload"})
            return
        await websocket.send_json({"type": "present", "people": await room.presence()})
        async for event in websocket.iter_messages(Say | Typing):
            if isinstance(event, Say):
                await publish(room, me, event)
            else:
                await typing.publish({**event.model_dump(), **me._asdict()}, exclude=websocket)


async def send_past(websocket: WebSocket, room: Topic) -> Position:
    """What was said last, for a page that is opened; gives the position behind it."""
    past = await room.history(PAST)
    for publication in past.publications:
        await websocket.send_json(with_position(publication))
    return past.position


async def publish(room: Topic, me: Visitor, said: Say) -> None:
    """Say it to everybody in the room, once, however often the page repeats it."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    await room.publish({**said.model_dump(), **me._asdict(), "time": time}, idempotency_key=f"{me.id}:{said.nonce}")


STATIC = Path(__file__).parent / "static"
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


@app.get("/")
async def page(request: Request) -> FileResponse:
    """The page."""
    return FileResponse(STATIC / "index.html", headers=HEADERS)


@app.get("/static/{file}")
async def asset(request: Request) -> FileResponse:
    """What the page needs."""
    if request.path_params["file"] not in ("chat.css", "chat.js"):
        raise HTTPException(404)
    return FileResponse(STATIC / request.path_params["file"], headers=HEADERS)
