"""The application of the tests on real sockets: raw ASGI, one path per way in which a handler is difficult."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from trunkline.engine.connection import Connection

if TYPE_CHECKING:
    from trunkline.types import Message, Receive, Scope, Send

events: list[str] = []


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def late(scope: Scope, receive: Receive, send: Send) -> None:
    await echo(scope, receive, send)


async def busy(scope: Scope, receive: Receive, send: Send) -> None:
    """Works for some seconds before it reads what has come."""
    await send({"type": "websocket.send", "text": "ready"})
    await asyncio.sleep(float(parse_qs(scope["query_string"])[b"seconds"][0]))
    await echo(scope, receive, send)


async def idle(scope: Scope, receive: Receive, send: Send) -> None:
    """Neither reads nor writes, and does not notice the end."""
    await send({"type": "websocket.send", "text": "ready"})
    await asyncio.Event().wait()


async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
    """Goes on when it is cancelled."""
    await send({"type": "websocket.send", "text": "ready"})
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass


async def farewell(scope: Scope, receive: Receive, send: Send) -> None:
    """Closes without having read anything."""
    await send({"type": "websocket.send", "text": "ready"})
    await send({"type": "websocket.close", "code": 4000, "reason": "enough"})


async def notice(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it is told of the end."""
    await send({"type": "websocket.send", "text": "ready"})
    message = await receive()
    print(f"noticed: {message['type']} {message.get('code')}", flush=True)


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends for ever, and waits when it is told to."""
    try:
        while True:
            await send({"type": "websocket.send", "bytes": bytes(1 << 20)})
    except OSError:
        events.append("flood ended")


async def push(scope: Scope, receive: Receive, send: Send) -> None:
    """Writes 20 MiB without waiting."""
    line = scope["extensions"]["trunkline.line"]["line"]
    for _ in range(20):
        line.write_bytes(bytes(1 << 20))
    info = await line.wait_closed()
    events.append(f"push ended {info.code}")


async def watch(scope: Scope, receive: Receive, send: Send) -> None:
    """Learns of the end first, and reads what came before it then."""
    line = scope["extensions"]["trunkline.line"]["line"]
    await send({"type": "websocket.send", "text": "ready"})
    info = await line.wait_closed()
    while (message := await receive())["type"] == "websocket.receive":
        events.append(f"watch {info.code} {message['text']}")
        await send({"type": "websocket.send", "text": f"{info.code} {message['text']}"})


def resident() -> int:
    """Bytes of memory that the process has, without what the allocator keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def facts(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope, and what the process holds."""
    memory = resident()
    seen: dict[str, Any] = {
        "pid": os.getpid(),
        "tasks": len(asyncio.all_tasks()),
        "connections": sum(type(thing) is Connection for thing in gc.get_objects()),
        "resident": memory,
        "events": events,
        "peer": scope["extensions"]["trunkline.line"]["line"].peer,
        "scope": {name: scope[name] for name in ("scheme", "root_path", "path", "client", "server")},
    }
    await send({"type": "websocket.send", "text": json.dumps(seen)})
    await send({"type": "websocket.close"})
    await receive()


NAMED = (echo, late, busy, idle, stubborn, farewell, notice, flood, push, watch, facts)
HANDLERS = {handler.__name__: handler for handler in NAMED}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await receive()
    name = scope["path"].rpartition("/")[2]
    if name == "late":
        await asyncio.sleep(60)
    if name == "refuse":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    await HANDLERS[name](scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        message: Message = await receive()
        assert message["type"] == f"lifespan.{phase}"
        await send({"type": f"lifespan.{phase}.complete"})
