"""Whether an application's call may return before its connection ends, because nothing around it does anything after.

Whoever waits for a call is on the stack while the call runs. So the way from a server to an endpoint is straight if
between the two there are only functions that are known to do nothing more when what they await has returned. One that
is not known, of a middleware or of another framework, is taken to do something.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

__all__ = ["calls_application", "is_straight", "passes"]

Function = TypeVar("Function", bound="Callable[..., Any]")

_callers: set[CodeType] = set()
_passing: set[CodeType] = set()


def calls_application(function: Function) -> Function:
    """Mark what calls an application for a server that keeps a connection open behind the call."""
    _callers.add(function.__code__)
    return function


def passes(function: Function) -> Function:
    """Mark a function that does nothing after what it awaits has returned, if that has left its connection open."""
    _passing.add(function.__code__)
    return function


def is_straight() -> bool:
    """Whether whoever asks may return to the server; asked by a function that `passes`."""
    frame = sys._getframe(1)
    while frame.f_code in _passing and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code in _callers
