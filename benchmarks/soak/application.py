"""What the soak serves: endpoints that end in every way, and what the process says of itself."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
from collections import Counter
from pathlib import Path

from trunkline import App, HTTPException, Request, WebSocket
from trunkline.engine.connection import Connection
from trunkline.line import line_of
from trunkline.responses import JSONResponse

app = App()
errors: list[str] = []


class Crash(Exception):
    """What `/crash` raises; any other error in the log is one of ours."""


class Collector(logging.Filter):
    """Drops what is expected from the log, and keeps the first other errors for who asks for the facts."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], Crash):
            return False
        if record.levelno >= logging.ERROR and len(errors) < 20:
            errors.append(logging.Formatter().format(record))
        return True


for name in ("uvicorn.error", "asyncio"):
    logging.getLogger(name).addFilter(Collector())


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket:
        await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))


@app.websocket("/asgi")
async def asgi(websocket: WebSocket) -> None:
    """The same over `receive` and `send`, as another framework has it."""
    receive, send = websocket.receive, websocket.send
    await websocket.accept()
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@app.websocket("/tasks")
async def tasks(websocket: WebSocket) -> None:
    await websocket.accept()

    async def push() -> None:
        while True:
            await websocket.send_text("push")
            await asyncio.sleep(0.05)

    async with websocket.tasks() as group:
        group.create_task(push())
        async for message in websocket:
            await websocket.send_json({"got": len(message)})


@app.listener("/listener")
def listener(message: bytes) -> bytes:
    return message


@app.listener("/waiting")
class Waiting:
    """Waits for some of its messages, and at its end."""

    async def on_message(self, message: bytes) -> bytes:
        if len(message) % 2:
            await asyncio.sleep(0.01)
        return message

    async def on_disconnect(self, close_code: int) -> None:
        await asyncio.sleep(0.01)


@app.listener("/failing")
def failing(message: bytes) -> bytes:
    raise Crash


@app.websocket("/busy")
async def busy(websocket: WebSocket) -> None:
    """Looks at nothing for a while, and at the end only then."""
    await websocket.accept()
    await asyncio.sleep(0.2)
    await websocket.wait_closed()


@app.websocket("/flood")
async def flood(websocket: WebSocket) -> None:
    await websocket.accept()
    while await websocket.try_send_bytes(bytes(1 << 16)):
        pass


@app.websocket("/crash")
async def crash(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive()
    raise Crash


@app.websocket("/close")
async def close(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(4000, "enough")


@app.websocket("/denied")
async def denied(websocket: WebSocket) -> None:
    raise HTTPException(401, "no token")


@app.websocket("/late")
async def late(websocket: WebSocket) -> None:
    """Never answers the handshake, until that is given up."""
    line = line_of(websocket.scope)
    assert line is not None
    await line.wait_closed()


def resident() -> int:
    """Bytes of memory that the process has, without what the allocator keeps for later."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@app.route("/facts")
async def facts(request: Request) -> JSONResponse:
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    timers = sum(not thing.cancelled() for thing in gc.get_objects() if type(thing).__name__ == "TimerHandle")
    return JSONResponse(
        {
            "connections": kinds[Connection],
            "tasks": len(asyncio.all_tasks()),
            "timers": timers,
            "files": len(os.listdir("/proc/self/fd")),
            "objects": kinds.total(),
            "resident": resident(),
            "errors": errors,
        }
    )
