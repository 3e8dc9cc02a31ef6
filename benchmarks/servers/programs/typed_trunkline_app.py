"""The same echo on trunkline: models of pydantic, Structs of msgspec, MessagePack; and nothing decoded at all."""

from __future__ import annotations

from typing import Literal

import msgspec
from pydantic import BaseModel

from trunkline import App, WebSocket
from trunkline.messages import MessageSettings


class Join(BaseModel):
    type: Literal["join"] = "join"
    room: str


class Say(BaseModel):
    type: Literal["say"] = "say"
    room: str
    text: str
    number: int
    tags: list[str]


class Leave(BaseModel):
    type: Literal["leave"] = "leave"
    room: str


class JoinStruct(msgspec.Struct, tag="join"):
    room: str


class SayStruct(msgspec.Struct, tag="say"):
    room: str
    text: str
    number: int
    tags: list[str]


class LeaveStruct(msgspec.Struct, tag="leave"):
    room: str


app = App()


@app.websocket("/pydantic")
async def models(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_messages(Join | Say | Leave):
        await websocket.send_message(message)


@app.websocket("/msgspec")
async def structs(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_messages(JoinStruct | SayStruct | LeaveStruct):
        await websocket.send_message(message)


app.add_websocket_route("/msgpack", structs, "msgpack", messages=MessageSettings(codec="msgpack"))


@app.listener("/listener/pydantic")
def model(message: Join | Say | Leave) -> Join | Say | Leave:
    return message


@app.listener("/listener/msgspec")
def struct(message: JoinStruct | SayStruct | LeaveStruct) -> JoinStruct | SayStruct | LeaveStruct:
    return message


@app.websocket("/text")
async def text(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)
