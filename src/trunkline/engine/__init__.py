"""The engine: WebSockets under any ASGI application, through uvicorn.

uvicorn --ws trunkline.engine:WebSocketProtocol app:app
"""

from __future__ import annotations

from trunkline.engine.deflate import DeflateSettings
from trunkline.engine.front import HTTPProtocol
from trunkline.engine.protocol import WebSocketProtocol
from trunkline.engine.settings import EngineSettings

__all__ = ["DeflateSettings", "EngineSettings", "HTTPProtocol", "WebSocketProtocol"]
