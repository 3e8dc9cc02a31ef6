"""An event loop whose time passes only when everybody waits, and then at once: for tests in memory, of seconds."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

__all__ = ["VirtualTimeLoop"]


class _Selector(selectors.DefaultSelector):
    """Lets the time of its loop pass instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            return super().select(None)
        if not ready:
            self.now += timeout or 0.0
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop; for `pytest.mark.anyio` by an `anyio_backend` of `("asyncio", {"loop_factory": VirtualTimeLoop})`."""

    def __init__(self) -> None:
        self._times = _Selector()
        super().__init__(self._times)

    def time(self) -> float:
        return self._times.now
