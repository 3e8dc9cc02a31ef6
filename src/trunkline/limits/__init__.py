"""Limits of WebSockets: of messages, of connections and of time.

    app = App(limits=Limits(max_message=64 * 1024))

    @app.websocket("/upload", limits=Limits(max_message=16 * 1024 * 1024))
    async def upload(websocket: WebSocket) -> None: ...

They are given to an application, a router or a route, and what a route says goes before what is said around it, field
by field. Where nothing is said nothing is checked, and nothing stands between an endpoint and its server.
"""

from __future__ import annotations

from trunkline.limits._bucket import Rate
from trunkline.limits._errors import LimitError
from trunkline.limits._limits import Limits

__all__ = ["LimitError", "Limits", "Rate"]
