# The benchmark installs what this imports.
# mypy: ignore-errors
"""A room on python-socketio: what comes as the event `m` is emitted to everybody."""

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")


@server.event
async def connect(sid, environ) -> None:
    await server.enter_room(sid, "room")


@server.on("m")
async def said(sid, text: str) -> None:
    await server.emit("m", text, room="room")


app = socketio.ASGIApp(server)
