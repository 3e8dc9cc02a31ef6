"""What an HTTP request is answered with, and a WebSocket handshake that is denied.

A response is an ASGI application. Called with a WebSocket's scope it sends the messages of the extension
`websocket.http.response` (ASGI: "WebSocket Denial Response") in place of those of HTTP.
Headers are checked where they are given, and all of them again where they are sent, because `raw_headers` is a list.
"""

from __future__ import annotations

from trunkline.responses.base import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from trunkline.responses.files import FileResponse
from trunkline.responses.streaming import Content, ContentStream, StreamingResponse

__all__ = [
    "Content",
    "ContentStream",
    "FileResponse",
    "HTMLResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Response",
    "StreamingResponse",
]
