"""trunkline: the WebSocket framework for Python's ASGI.

from trunkline import App, WebSocket

app = App()

@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)
"""

from __future__ import annotations

from trunkline import status
from trunkline.applications import App
from trunkline.background import BackgroundTasks
from trunkline.dependencies import Cookie, Depends, Header, Path, Query
from trunkline.exceptions import HTTPException, TrunklineError, WebSocketException
from trunkline.hub import Hub, Publisher, TopicConfig
from trunkline.requests import HTTPConnection, Request
from trunkline.routing import Router
from trunkline.websockets import WebSocket, WebSocketDisconnect, WebSocketState

__all__ = [
    "App",
    "BackgroundTasks",
    "Cookie",
    "Depends",
    "HTTPConnection",
    "HTTPException",
    "Header",
    "Hub",
    "Path",
    "Publisher",
    "Query",
    "Request",
    "Router",
    "TopicConfig",
    "TrunklineError",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketException",
    "WebSocketState",
    "__version__",
    "status",
]

__version__ = "0.1.0"
