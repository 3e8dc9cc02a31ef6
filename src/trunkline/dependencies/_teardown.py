"""Dependencies with `yield`: entered as context managers, and left in reverse order whatever ended their lifetime.

Leaving is shielded from cancellation, because what was opened is closed even so; only another cancellation by
asyncio itself, as at the deadline of a shutdown, interrupts it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from trunkline.concurrency import run_in_threadpool
from trunkline.dependencies._signatures import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType


class _Shielded(AbstractAsyncContextManager[Any]):
    """An asynchronous generator, whose end is shielded."""

    __slots__ = ("_inner",)

    def __init__(self, inner: AbstractAsyncContextManager[Any]) -> None:
        self._inner = inner

    async def __aenter__(self) -> Any:
        return await self._inner.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        is_handled: bool | None = False
        with anyio.CancelScope(shield=True):
            is_handled = await self._inner.__aexit__(kind, error, traceback)
        return is_handled  # noqa: RET504 - for mypy, which thinks that a CancelScope may swallow


class _InThread(AbstractAsyncContextManager[Any]):
    """A generator, each of whose halves runs in a worker thread, with the end shielded."""

    __slots__ = ("_inner",)

    def __init__(self, inner: AbstractContextManager[Any]) -> None:
        self._inner = inner

    async def __aenter__(self) -> Any:
        return await run_in_threadpool(self._inner.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        is_handled: bool | None = False
        with anyio.CancelScope(shield=True):
            # Not among the threads that all share: those may all be waiting for what this gives back.
            limiter = anyio.CapacityLimiter(1)
            is_handled = await anyio.to_thread.run_sync(self._inner.__exit__, kind, error, traceback, limiter=limiter)
        return is_handled  # noqa: RET504 - for mypy, which thinks that a CancelScope may swallow


def context_of(call: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
    """What is to be called for a dependency: itself, or what makes a context manager of its generator."""
    if kind is Kind.ASYNC_GENERATOR:
        make = asynccontextmanager(call)
        return lambda **arguments: _Shielded(make(**arguments))
    if kind is Kind.GENERATOR:
        make_sync = contextmanager(call)
        return lambda **arguments: _InThread(make_sync(**arguments))
    return call
