"""How long a connection may last, and how long it may say nothing: timers beside its endpoint, as a dependency.

A message only leaves the time behind at which it came (`Meter.seen_at`). The timer of idleness looks at that when it is
due, and is set anew for the rest: so a connection has one timer, however many messages it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator  # noqa: TC003 - of a dependency, read when a route is made
from typing import TYPE_CHECKING, Any

from trunkline.dependencies import Depends
from trunkline.limits._meter import meter_of
from trunkline.line import line_of
from trunkline.states import CONNECTING
from trunkline.status import WS_1001_GOING_AWAY, WS_1013_TRY_AGAIN_LATER
from trunkline.websockets import WebSocket  # noqa: TC001 - of a dependency

if TYPE_CHECKING:
    from trunkline.limits._limits import Limits
    from trunkline.limits._meter import Meter

__all__ = ["in_time"]

_TIMEOUT = 3008


def in_time(limits: Limits) -> Any:
    """A dependency that closes connections when their time is over.

    Args:
        limits: The limits.
    """

    async def until_the_end(websocket: WebSocket[Any]) -> AsyncIterator[None]:
        deadlines = _Deadlines(websocket, limits)
        try:
            yield
        finally:
            deadlines.stop()

    return Depends(until_the_end)


class _Deadlines:
    """The timers of one connection.

    Args:
        websocket: The connection.
        limits: What it is to keep to.
    """

    def __init__(self, websocket: WebSocket[Any], limits: Limits) -> None:
        websocket._expect_expel()
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        line = line_of(websocket.scope)
        life, idle, handshake = (limits.said(name) for name in ("max_life", "idle_timeout", "handshake_timeout"))
        if life is not None:
            self._arm("life", life, self._expel, WS_1001_GOING_AWAY, f"open for {life:g} s, which is the most")
        if handshake is not None and line is None:  # our engine has a timer of its own
            self._arm("handshake", handshake, self._give_up, f"not accepted within {handshake:g} s")
        if idle is not None:
            self._arm("idle", idle, self._look, meter_of(websocket.scope), idle)

    def stop(self) -> None:
        """The endpoint has ended."""
        for timer in self._timers.values():
            timer.cancel()

    def _arm(self, name: str, seconds: float, callback: Any, *args: Any) -> None:
        self._timers[name] = self._loop.call_later(seconds, callback, *args)

    def _expel(self, code: int, reason: str) -> None:
        self._websocket._expel(code, reason)

    def _give_up(self, reason: str) -> None:
        if self._websocket.application_state is CONNECTING:
            self._expel(WS_1013_TRY_AGAIN_LATER, reason)

    def _look(self, meter: Meter, idle: float) -> None:
        """Has there been a message? One that the application has not taken yet is one, too."""
        line = self._websocket._line_in
        if self._websocket.application_state is CONNECTING or (line is not None and line.unread):
            meter.seen_at = self._loop.time()
        rest = meter.seen_at + idle - self._loop.time()
        if rest > 0:
            self._arm("idle", rest, self._look, meter, idle)
        else:
            self._expel(_TIMEOUT, f"no message for {idle:g} s")
