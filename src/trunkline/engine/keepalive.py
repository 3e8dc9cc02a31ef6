"""Keepalive pings (RFC 6455 section 5.5.2): whether a silent peer is still there, and how far away it is.

A ping is sent every `interval`, one at a time. A peer that answers neither with its pong nor with anything else within
`timeout` is given up. Anything else counts, because a pong cannot overtake the frame that the peer is sending. While
reading is paused nobody can be heard, so the clock stands still: the time is taken off the ping's age when reading
goes on. Pings are sent all the same, because writing is then the only way to find out that the peer is gone.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from trunkline.engine.shared import Alarm

__all__ = ["Keepalive", "Pinged"]


class Pinged(Protocol):
    """What pings are sent through.

    Attributes:
        heard: Set by the connection whenever anything comes.
        latency: Seconds between the last answered ping and its pong, None before the first.
    """

    heard: bool
    latency: float | None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Call back after some time."""
        raise NotImplementedError

    def ping(self, payload: bytes) -> None:
        """Send a ping."""

    def give_up(self) -> None:
        """The peer has been silent for too long."""


class Keepalive:
    """The pings of one open connection.

    Args:
        loop: Its loop.
        peer: The connection.
        interval: Seconds from one ping's answer to the next ping.
        timeout: Seconds for the answer; None: for ever.

    Attributes:
        sent_at: When the last ping was sent, in the loop's time; later by what reading was paused since; 0.0 before.
        timer: What runs next; None when stopped.
    """

    __slots__ = ("_interval", "_loop", "_paused_at", "_payload", "_peer", "_timeout", "sent_at", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: Pinged, interval: float, timeout: float | None) -> None:
        self._loop = loop
        self._peer = peer
        self._interval = interval
        self._timeout = timeout
        self._payload: bytes | None = None
        self._paused_at: float | None = None
        self.sent_at = 0.0
        self.timer: Alarm | asyncio.TimerHandle | None = None
        self._wait()

    def stop(self) -> None:
        """Send no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def ponged(self, payload: bytes) -> None:
        """A pong has come; only the one that answers the last ping counts."""
        if payload == self._payload:
            self._peer.latency = self._loop.time() - self.sent_at
            self._wait()

    def reading_paused(self) -> None:
        """The clock stands still."""
        self._paused_at = self._loop.time()

    def reading_resumed(self) -> None:
        """The clock goes on."""
        if self._paused_at is not None and self._payload is not None:
            self.sent_at += self._loop.time() - max(self._paused_at, self.sent_at)
        self._paused_at = None

    def _wait(self) -> None:
        self.stop()
        self._payload = None
        self.timer = self._peer.call_later(self._interval, self._ping)

    def _ping(self) -> None:
        self._payload = random.randbytes(4)
        self.sent_at = self._loop.time()
        self._peer.heard = False
        if self._timeout is None:
            self.timer = self._peer.call_later(self._interval, self._ping)
        else:
            self.timer = self._peer.call_later(self._timeout, self._check)
        self._peer.ping(self._payload)

    def _check(self) -> None:
        assert self._timeout is not None, "there was a timeout when the ping was sent"
        if self._peer.heard or self._paused_at is not None:
            self._wait()
            return
        left = self.sent_at + self._timeout - self._loop.time()
        if left > 0:
            # A span of its own, after a pause of reading: not for the queue of those who have the same.
            self.timer = self._loop.call_later(left, self._check)
        else:
            self.stop()
            self._peer.give_up()
