"""Typed messages: what comes in and goes out are classes. Run it with `trunkline run messages:app`."""

import json
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from trunkline import App, WebSocket
from trunkline.messages import InvalidMessage, MessageSettings, codec_for, encode, register_codec

app = App()


# region: classes
class Join(BaseModel):
    type: Literal["join"] = "join"
    room: str


class Say(BaseModel):
    type: Literal["say"] = "say"
    text: str = Field(max_length=200)


class Said(BaseModel):
    type: Literal["said"] = "said"
    room: str
    text: str


# endregion


# region: naive
client_message: TypeAdapter[Join | Say] = TypeAdapter(Annotated[Join | Say, Field(discriminator="type")])


@app.websocket("/by-hand")
async def by_hand(websocket: WebSocket) -> None:
    await websocket.accept()
    room = "lobby"
    while True:
        try:
            message = client_message.validate_python(await websocket.receive_json())
        except ValidationError as error:
            await websocket.send_json({"type": "error", "errors": error.errors()})
            continue
        if isinstance(message, Join):
            room = message.room
        else:
            await websocket.send_json(Said(room=room, text=message.text).model_dump(mode="json"))


# endregion


# region: typed
@app.websocket("/chat")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    room = "lobby"
    async for message in websocket.iter_messages(Join | Say):
        match message:
            case Join():
                room = message.room
            case Say():
                await websocket.send_message(Said(room=room, text=message.text))


# endregion


# region: structs
class Move(msgspec.Struct, tag="move"):
    x: int
    y: int


class Stop(msgspec.Struct, tag="stop"):
    pass


class Position(msgspec.Struct, tag="position"):
    x: int
    y: int


@app.websocket("/game")
async def game(websocket: WebSocket) -> None:
    await websocket.accept()
    x = y = 0
    async for message in websocket.iter_messages(Move | Stop):
        if isinstance(message, Stop):
            break
        x, y = x + message.x, y + message.y
        await websocket.send_message(Position(x, y))


# endregion


# region: strict
STRICT = MessageSettings(invalid="close")


@app.websocket("/strict", messages=STRICT)
async def strict(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_messages(Join | Say):
        await websocket.send_message(message)


# endregion


# region: raised
@app.websocket("/forgiving", messages=MessageSettings(invalid="raise"))
async def forgiving(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        try:
            message = await websocket.receive_message(Join | Say)
        except InvalidMessage as invalid:
            message = Say(text=f"(something with {len(invalid.errors)} mistakes)")
        await websocket.send_message(message)


# endregion


# region: subprotocols
GAME = MessageSettings(subprotocols={"game.v1+msgpack": "msgpack", "game.v1+json": "json"})


app.add_websocket_route("/game-in-either", game, messages=GAME)


# endregion


# region: own
class WordsCodec:
    """`say hello` instead of `{"type":"say","text":"hello"}`, for people at a terminal."""

    def __init__(self, type_: Any) -> None:
        self._json = codec_for(type_)

    def decode(self, data: str | bytes) -> Any:
        kind, space, text = str(data).partition(" ")
        if not space:
            raise InvalidMessage([{"type": "no_text", "loc": [], "msg": "Expected a word and a text"}], 1007)
        return self._json.decode(encode({"type": kind, "text": text}))

    def encode(self, value: Any) -> str:
        return " ".join(str(field) for field in json.loads(self._json.encode(value)).values())


register_codec("words", WordsCodec)


@app.websocket("/terminal", messages=MessageSettings(codec="words"))
async def terminal(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_messages(Say):
        await websocket.send_message(message)


# endregion
