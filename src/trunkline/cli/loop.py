"""The event loop of `trunkline run`, made in the process that serves: the server itself, or each of its workers."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from uvicorn.loops.auto import auto_loop_factory

if TYPE_CHECKING:
    import asyncio

__all__ = ["new_event_loop"]

YOUNG_OBJECTS = 10_000


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed, else asyncio's; with a garbage collector that suits connections.

    A connection is some 80 objects that live long. By default the collector looks at the young objects after every 700
    of them, so at every ninth handshake, and takes a quarter of the time that we do for one. It finds nothing: when a
    connection ends, its memory is freed without it.
    """
    young, *older = gc.get_threshold()
    if 0 < young < YOUNG_OBJECTS:
        gc.set_threshold(YOUNG_OBJECTS, *older)
    return auto_loop_factory()()
