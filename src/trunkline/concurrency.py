"""Plain functions and iterators beside the event loop: run in anyio's worker threads, on asyncio and trio alike."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import anyio.to_thread

# Each knows the marks that its version of Python puts on what only behaves like an `async def`.
if sys.version_info >= (3, 12):
    from inspect import iscoroutinefunction
else:
    from asyncio import iscoroutinefunction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

__all__ = ["is_async_callable", "iterate_in_threadpool", "run_in_threadpool"]

P = ParamSpec("P")
T = TypeVar("T")


def is_async_callable(obj: Any) -> bool:
    """Whether calling `obj` gives a coroutine: an `async def`, a partial of one, an object whose `__call__` is one."""
    while isinstance(obj, functools.partial):
        obj = obj.func
    return iscoroutinefunction(obj) or (callable(obj) and iscoroutinefunction(type(obj).__call__))


async def run_in_threadpool(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `func` in a worker thread, in the caller's context.

    Args:
        func: A plain function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
    """
    return await anyio.to_thread.run_sync(functools.partial(func, *args, **kwargs))


async def iterate_in_threadpool(iterable: Iterable[T]) -> AsyncGenerator[T, None]:
    """The items of `iterable`, each taken in a worker thread.

    Args:
        iterable: What may block while it makes an item.
    """
    iterator = iter(iterable)
    # A StopIteration cannot leave a coroutine, so the end is a value.
    end: Any = object()
    while (item := await anyio.to_thread.run_sync(next, iterator, end)) is not end:
        yield item
