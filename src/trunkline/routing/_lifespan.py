"""The lifespan of an application: a context that is entered at start-up and left at shutdown."""

from __future__ import annotations

import inspect
import traceback
import warnings
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from trunkline.routing._paths import RouteError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from trunkline.types import Lifespan, Receive, Scope, Send


@asynccontextmanager
async def no_lifespan(app: Any) -> AsyncIterator[None]:
    """The lifespan of whoever was given none."""
    yield


def as_lifespan(lifespan: Any) -> Lifespan[Any]:
    """What was given as a lifespan, as a function that gives an asynchronous context manager.

    Raises:
        RouteError: It is not callable, or a coroutine function.
    """
    if lifespan is None:
        return no_lifespan
    if inspect.isasyncgenfunction(lifespan):
        return asynccontextmanager(_deprecated(lifespan))
    if inspect.isgeneratorfunction(lifespan):
        return _lifted(_deprecated(lifespan))
    if not callable(lifespan) or inspect.iscoroutinefunction(lifespan):
        raise RouteError(
            f"a lifespan is a function that yields once, under @contextlib.asynccontextmanager, but got {lifespan!r}"
        )
    made: Lifespan[Any] = lifespan
    return made


def _deprecated(lifespan: Callable[..., Any]) -> Callable[..., Any]:
    warnings.warn(
        f"the lifespan {lifespan.__qualname__} is a generator function; put @contextlib.asynccontextmanager above it",
        DeprecationWarning,
        stacklevel=4,
    )
    return lifespan


def _lifted(lifespan: Callable[..., Any]) -> Lifespan[Any]:
    synchronous = contextmanager(lifespan)

    @asynccontextmanager
    async def lifted(app: Any) -> AsyncIterator[Any]:
        with synchronous(app) as state:
            yield state

    return lifted


def both_lifespans(first: Lifespan[Any], second: Lifespan[Any]) -> Lifespan[Any]:
    """One lifespan around the other, their states together; on a common key the second one counts."""
    if first is no_lifespan or second is no_lifespan:
        return second if first is no_lifespan else first

    @asynccontextmanager
    async def both(app: Any) -> AsyncIterator[Any]:
        async with first(app) as outer, second(app) as inner:
            yield None if outer is None and inner is None else {**(outer or {}), **(inner or {})}

    return both


async def run_lifespan(lifespan: Lifespan[Any], scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the messages of an ASGI lifespan scope (ASGI spec, Lifespan Protocol).

    Raises:
        RuntimeError: The lifespan yields state, and the server has no place for it.
    """
    failed = "lifespan.startup.failed"
    await receive()
    try:
        async with lifespan(scope.get("app")) as state:
            if state is not None:
                _keep_state(scope, state)
            await send({"type": "lifespan.startup.complete"})
            failed = "lifespan.shutdown.failed"
            await receive()
    except BaseException:
        await send({"type": failed, "message": traceback.format_exc()})
        raise
    await send({"type": "lifespan.shutdown.complete"})


def _keep_state(scope: Scope, state: Mapping[str, Any]) -> None:
    if "state" not in scope:
        raise RuntimeError('The server does not support "state" in the lifespan scope.')
    scope["state"].update(state)
