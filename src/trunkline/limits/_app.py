"""An ASGI application whose WebSockets keep to limits.

Our engine keeps to some of them itself, as settings of the connection: then nothing stands between it and the
application. For the others its Line is replaced by one that counts, and on any other server a `LimitedChannel` stands
in between.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import anyio

from trunkline.limits._channel import LimitedChannel
from trunkline.limits._line import LimitedLine, with_line
from trunkline.limits._meter import Meter, with_meter
from trunkline.line import line_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trunkline.limits._limits import Limits
    from trunkline.line import Line
    from trunkline.types import ASGIApp, Receive, Scope, Send

__all__ = ["limited"]


def limited(app: ASGIApp, limits: Limits) -> ASGIApp:
    """The application with limits around it; itself where there are none.

    Args:
        app: The application; its connections that are no WebSockets pass through.
        limits: The limits.
    """
    settings = _engine_settings(limits)
    is_counted = bool(limits.rates) or limits.said("idle_timeout") is not None
    if not settings and not is_counted:
        return app
    counted = _Counted(app, limits, is_counted)

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "websocket":
            return app(scope, receive, send)
        line = line_of(scope)
        if line is not None:
            line.configure(**settings)
            if not is_counted:
                return app(scope, receive, send)
        return counted.call(scope, receive, send, line)

    return call


def _engine_settings(limits: Limits) -> dict[str, Any]:
    """What our engine is told, in its own words."""
    said: dict[str, float | None] = {
        "max_message": sys.maxsize if limits.max_message == math.inf else limits.max_message,
        "handshake_timeout": limits.handshake_timeout,
    }
    settings: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if limits.handshake_timeout == math.inf:
        settings["handshake_timeout"] = None
    return settings


class _Counted:
    """An application whose messages are counted between it and the server."""

    def __init__(self, app: ASGIApp, limits: Limits, is_counted: bool) -> None:
        self._app = app
        self._limits = limits
        self._is_counted = is_counted
        self._max_message = math.inf if limits.max_message is None else limits.max_message

    async def call(self, scope: Scope, receive: Receive, send: Send, line: Line | None) -> None:
        # A frame of its own, so that nobody takes the way to the server for a straight one.
        meter = Meter(self._limits, anyio.current_time()) if self._is_counted else None
        if meter is not None:
            scope = with_meter(scope, meter)
        if line is None or meter is None:
            channel = LimitedChannel(receive, send, self._max_message, meter)
            await self._app(scope, channel.receive, channel.send)
            return
        counting = LimitedLine(line, meter)
        if receive is line.receive and send is line.send:
            receive, send = counting.receive, counting.send
        else:  # a middleware is to see the messages
            channel = LimitedChannel(receive, send, self._max_message, meter)
            receive, send = channel.receive, channel.send
        try:
            await self._app(with_line(scope, counting), receive, send)
        finally:
            counting.stop()
