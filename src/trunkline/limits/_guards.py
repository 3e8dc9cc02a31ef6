"""The dependencies that keep to limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.limits._deadlines import in_time

if TYPE_CHECKING:
    from trunkline.limits._limits import Limits

__all__ = ["guards_of"]

_DEADLINES = ("idle_timeout", "max_life", "handshake_timeout")


def guards_of(limits: Limits) -> tuple[Any, ...]:
    """What is solved before all other dependencies of a WebSocket; nothing where nothing has to be watched.

    Args:
        limits: The limits.
    """
    has_deadlines = any(limits.said(name) is not None for name in _DEADLINES)
    return (*limits._counts.values(), *([in_time(limits)] if has_deadlines else ()))
