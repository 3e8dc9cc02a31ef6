"""Starting a coroutine inside a callback of the loop: it runs at once, and becomes a task only where it waits.

Python 3.12 has eager tasks. Before, the first step is made here, in the name of a task that goes on from there when the
loop comes to it: libraries ask which task is running, and an `asyncio.timeout` or a cancel scope must meet the same one
in all steps.
"""

from __future__ import annotations

import asyncio
import sys
import types
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from contextvars import Context

__all__ = ["start_at_once"]


def start_at_once(
    call: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context | None = None
) -> asyncio.Task[None] | None:
    """Run a coroutine until it waits.

    Args:
        call: The coroutine.
        loop: The running loop. Where a task of it is running, the coroutine starts soon instead: a task does not
            expect others to run while it waits for nothing.
        name: The name of the task.
        context: What it runs in, and nobody else at present; a copy of the present one if left out.

    Returns:
        The task that goes on with it; None if it has ended.
    """
    if asyncio.current_task(loop) is not None:
        return loop.create_task(call, name=name, context=context)
    if sys.version_info >= (3, 12):
        task = asyncio.Task(call, loop=loop, name=name, context=context, eager_start=True)
        return None if task.done() else task
    return _start_by_hand(call, loop, name, copy_context() if context is None else context)


class _FirstStep:
    """The first step of a coroutine, and then all others."""

    __slots__ = ("call", "error", "has_ended", "waits_for")

    def __init__(self, call: Coroutine[Any, Any, None]) -> None:
        self.call = call
        self.has_ended = False
        self.error: BaseException | None = None
        self.waits_for: Any = None

    def take(self) -> None:
        try:
            self.waits_for = self.call.send(None)
        except StopIteration:
            self.has_ended = True
        except BaseException as error:
            self.has_ended = True
            # Without the frame of this call, from which there is a way to the task: a cycle.
            self.error = error.with_traceback(error.__traceback__.tb_next)  # type: ignore[union-attr]  # just raised

    async def go_on(self) -> None:
        """What the task runs."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # which holds the traceback, and so this frame
        if not self.has_ended:
            await self._wait()

    @types.coroutine
    def _wait(self) -> Generator[Any, Any, None]:
        waits_for, self.waits_for = self.waits_for, None
        while True:
            try:
                yield waits_for
            except BaseException as error:
                try:
                    waits_for = self.call.throw(error)
                except StopIteration:
                    return
            else:
                break
        yield from self.call


def _start_by_hand(
    call: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context
) -> asyncio.Task[None] | None:
    first = _FirstStep(call)
    task = loop.create_task(first.go_on(), name=name, context=context)
    asyncio.tasks._enter_task(loop, task)
    try:
        context.run(first.take)
    finally:
        asyncio.tasks._leave_task(loop, task)
    return None if first.has_ended else task
