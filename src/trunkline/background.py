"""Work that is done after the response has been sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec

from trunkline.concurrency import is_async_callable, run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["BackgroundTask", "BackgroundTasks"]

P = ParamSpec("P")


class BackgroundTask:
    """One call, made when the response has been sent; a plain function runs in a worker thread.

    Args:
        func: The function, plain or `async`.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
    """

    def __init__(self, func: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.is_async = is_async_callable(func)

    async def __call__(self) -> None:
        if self.is_async:
            await self.func(*self.args, **self.kwargs)
        else:
            await run_in_threadpool(self.func, *self.args, **self.kwargs)


class BackgroundTasks(BackgroundTask):
    """Several calls, one after the other; one that fails ends them.

    Args:
        tasks: Those to begin with.
    """

    def __init__(self, tasks: Sequence[BackgroundTask] | None = None) -> None:
        self.tasks = list(tasks or ())

    def add_task(self, func: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Add a call behind the others.

        Args:
            func: The function, plain or `async`.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
        """
        self.tasks.append(BackgroundTask(func, *args, **kwargs))

    async def __call__(self) -> None:
        for task in self.tasks:
            await task()
