"""What a type checker infers of typed messages: mypy reads this, nobody runs it. Each `type: ignore` is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, assert_never, assert_type

from pydantic import BaseModel, Field

from trunkline.datastructures import State
from trunkline.messages import Codec, MessageSettings, codec_for, encode

if TYPE_CHECKING:
    from trunkline import WebSocket


class Join(BaseModel):
    type: Literal["join"] = "join"
    room: str


class Say(BaseModel):
    type: Literal["say"] = "say"
    text: str


Message = Annotated[Join | Say, Field(discriminator="type")]


async def received(websocket: WebSocket) -> None:
    assert_type(await websocket.receive_message(Join), Join)
    assert_type(await websocket.receive_message(Join | Say), Join | Say)
    assert_type(await websocket.receive_message(Message), Join | Say)
    assert_type(await websocket.receive_message(list[Join]), list[Join])
    assert_type(await websocket.receive_message(Join | None), Join | None)
    assert_type(await websocket.receive_message(dict[str, Any]), dict[str, Any])
    await websocket.receive_message(5)  # type: ignore[arg-type]


async def iterated(websocket: WebSocket) -> None:
    async for message in websocket.iter_messages(Join | Say):
        match message:
            case Join():
                assert_type(message.room, str)
                message.text  # type: ignore[attr-defined]  # noqa: B018
            case Say(text=text):
                assert_type(text, str)
            case _:
                assert_never(message)


async def chosen_later(websocket: WebSocket, type_: type[Join], anything: Any) -> None:
    assert_type(await websocket.receive_message(type_), Join)
    assert_type(await websocket.receive_message(anything), Any)


async def with_state(websocket: WebSocket[Mapping[str, int]]) -> None:
    """The parameter of the class is its state; the type of messages belongs to the methods."""
    assert_type(websocket.state, Mapping[str, int])
    assert_type(await websocket.receive_message(Join), Join)


async def without_state(websocket: WebSocket) -> None:
    assert_type(websocket.state, State)


def codecs() -> None:
    assert_type(codec_for(Join | Say), Codec[Join | Say])
    assert_type(codec_for(Message, "msgpack").decode(b""), Join | Say)
    assert_type(encode(Join(room="blue")), str | bytes)
    MessageSettings(invalid="ignore")  # type: ignore[arg-type]
