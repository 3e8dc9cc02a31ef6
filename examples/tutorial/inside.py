"""An endpoint that stays in FastAPI's router, with its parameters, and uses trunkline's WebSocket."""

import asyncio

import fastapi
from fastapi import FastAPI

import trunkline

app = FastAPI()


@app.websocket("/ticks")
async def ticks(theirs: fastapi.WebSocket, seconds: float = 1.0) -> None:
    websocket = trunkline.WebSocket.of(theirs)
    await websocket.accept()
    try:
        async with websocket.tasks() as tasks:
            tasks.create_task(send_ticks(websocket, seconds))
    except trunkline.WebSocketDisconnect:
        pass


async def send_ticks(websocket: trunkline.WebSocket, seconds: float) -> None:
    number = 0
    while True:
        number += 1
        await websocket.send_json({"tick": number})
        await asyncio.sleep(seconds)
