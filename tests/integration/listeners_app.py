"""Listeners for real servers: each way that messages go, and what the process holds meanwhile."""

import asyncio
import gc
import os

from tests.engine.robust_app import resident
from trunkline import App, WebSocket
from trunkline.engine.connection import Connection

app = App()
events: list[str] = []


@app.listener("/echo")
def echo(message: str) -> str:
    return message


@app.listener("/binary")
def binary(message: bytes) -> bytes:
    return message


@app.listener("/at-once")
async def at_once(message: str) -> str:
    return message


@app.listener("/waits")
async def waits(message: str) -> str:
    await asyncio.sleep(0.001)
    return message


@app.listener("/grows")
def grows(message: str) -> str:
    return message * 16384


@app.listener("/fails")
def fails(message: str) -> str:
    raise LookupError(f"of {message}")


@app.listener("/room")
class Room:
    """Tells of its end, and takes its time for that."""

    def __init__(self, who: str) -> None:
        self.who = who

    def on_connect(self) -> str:
        return f"welcome, {self.who}"

    def on_message(self, message: str) -> str:
        return f"{self.who}: {message}"

    async def on_disconnect(self, close_code: int) -> None:
        await asyncio.sleep(0.1)
        events.append(f"{self.who} {close_code}")
        print(f"left: {self.who} {close_code}", flush=True)


@app.websocket("/facts")
async def facts(websocket: WebSocket) -> None:
    await websocket.accept()
    memory = resident()
    await websocket.send_json(
        {
            "pid": os.getpid(),
            "tasks": len(asyncio.all_tasks()),
            "connections": sum(type(thing) is Connection for thing in gc.get_objects()),
            "resident": memory,
            "events": events,
        }
    )
