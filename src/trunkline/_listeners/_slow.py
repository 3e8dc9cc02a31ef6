"""Telling of plain functions that hold up the loop."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from trunkline.dependencies._signatures import described

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LIMIT", "SlowWatch"]

logger = logging.getLogger("trunkline")

# Seconds for which a message may hold up all other connections of the loop before it is told of.
LIMIT = 0.1


class SlowWatch:
    """Warns, once for each listener, of a message, or those of one read, that took too long on the loop.

    Args:
        listener: Whom to name.
    """

    __slots__ = ("_has_told", "_listener")

    def __init__(self, listener: Callable[..., Any]) -> None:
        self._listener = listener
        self._has_told = False

    def tell(self, seconds: float) -> None:
        """It took longer than the limit."""
        if self._has_told:
            return
        self._has_told = True
        logger.warning(
            "%s held up all connections of the loop for %.0f ms, with what had come at once from one of them; make it "
            "async, or let it run in a worker thread with threaded=True",
            described(self._listener),
            seconds * 1000,
        )

    def call(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a plain function, and tell if it takes too long."""
        began = perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            took = perf_counter() - began
            if took > LIMIT:
                self.tell(took)
