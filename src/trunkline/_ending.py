"""What ends with the applications of an event loop, though nobody has told them of it: hubs.

A hub starts at its first use, and an `App` may import it from anywhere. Both meet here: while lifespans run in an event
loop, what was started in it is remembered, and the last of them ends it, behind the code of the application.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["end_with_lifespan", "lifespan_of_loop"]


class _Lifespans:
    """Those that run in an event loop, and what ends with the last."""

    __slots__ = ("count", "ends")

    def __init__(self) -> None:
        self.count = 0
        self.ends = AsyncExitStack()


_running: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lifespans] = WeakKeyDictionary()


@asynccontextmanager
async def lifespan_of_loop() -> AsyncIterator[None]:
    """Have what starts inside end with this, or with the last of these in the event loop; without asyncio nothing."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    lifespans = _running.setdefault(loop, _Lifespans())
    lifespans.count += 1
    try:
        yield
    finally:
        lifespans.count -= 1
        if not lifespans.count:
            del _running[loop]
            await lifespans.ends.aclose()


def end_with_lifespan(end: Callable[[], Awaitable[None]]) -> None:
    """Have something ended with the lifespans of the event loop that runs; where there is none, by whoever uses it.

    Args:
        end: Called once; does nothing if it has ended before.
    """
    lifespans = _running.get(asyncio.get_running_loop())
    if lifespans is not None:
        lifespans.ends.push_async_callback(end)
