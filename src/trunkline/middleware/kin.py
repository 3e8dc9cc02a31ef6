"""Exceptions of Starlette and FastAPI, taken as the ones of ours that they correspond to.

What is mounted in an `App` raises them: a `StaticFiles` for a file that is not there, a Starlette router without an
application for a path that it lacks; and a program that moves here import by import. They are known by module and
name, so nothing of theirs is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.exceptions import HTTPException, WebSocketException
from trunkline.states import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["is_a", "lineage"]

_OURS: Mapping[tuple[str, str], type[Exception]] = {
    ("starlette.exceptions", "HTTPException"): HTTPException,
    ("starlette.exceptions", "WebSocketException"): WebSocketException,
    ("starlette.websockets", "WebSocketDisconnect"): WebSocketDisconnect,
}


def lineage(exc: BaseException) -> Iterator[type]:
    """The classes of an exception, nearest first; behind one of Starlette's, the one of ours."""
    for cls in type(exc).__mro__:
        yield cls
        ours = _OURS.get((cls.__module__, cls.__qualname__))
        if ours is not None:
            yield ours


def is_a(exc: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an exception is one of ours of this class, or corresponds to it."""
    return exc is not None and kind in lineage(exc)
