"""An ASGI application whose WebSockets keep to limits.

Our engine keeps them itself, as settings of the connection: then nothing stands between it and the application. On any
other server a `LimitedChannel` does.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from trunkline.limits._channel import LimitedChannel
from trunkline.line import line_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trunkline.limits._limits import Limits
    from trunkline.types import ASGIApp, Receive, Scope, Send

__all__ = ["limited"]


def limited(app: ASGIApp, limits: Limits) -> ASGIApp:
    """The application with limits around it; itself where there are none.

    Args:
        app: The application; its connections that are no WebSockets pass through.
        limits: The limits.
    """
    settings = _engine_settings(limits)
    if not settings:
        return app
    max_message = None if limits.max_message in (None, math.inf) else settings["max_message"]

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "websocket":
            return app(scope, receive, send)
        line = line_of(scope)
        if line is None:
            channel = LimitedChannel(receive, send, max_message)
            return app(scope, channel.receive, channel.send)
        line.configure(**settings)
        return app(scope, receive, send)

    return call


def _engine_settings(limits: Limits) -> dict[str, Any]:
    """What our engine is told, in its own words."""
    if limits.max_message is None:
        return {}
    return {"max_message": sys.maxsize if limits.max_message == math.inf else limits.max_message}
