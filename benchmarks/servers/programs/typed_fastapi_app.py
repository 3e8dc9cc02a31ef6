"""A typed echo as users of FastAPI write it: parsed by `receive_json`, then validated by a discriminated union."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, TypeAdapter, ValidationError


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


app = FastAPI()
message_of: TypeAdapter[Join | Say | Leave] = TypeAdapter(Annotated[Join | Say | Leave, Field(discriminator="type")])


@app.websocket("/pydantic")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            data = await websocket.receive_json()
            try:
                message = message_of.validate_python(data)
            except ValidationError as error:
                await websocket.send_json({"type": "error", "errors": error.errors()})
                continue
            await websocket.send_json(message.model_dump())
    except WebSocketDisconnect:
        pass
