"""What one connection, or one message of it, has been given by its plan; and what is to be torn down again.

    solution = Solution(plan, websocket)
    async with solution.lifetime("connection"):
        async with solution.lifetime("function"):
            await endpoint(**await solution.solve())

A listener keeps the solution of its connection, and makes a smaller one for each message:

    await solution.solve()
    ...
    inner = solution.for_message({"message": message})
    async with inner.lifetime("message"):
        async with inner.lifetime("function"):
            answer = await handler(**await inner.solve())

No task is made for any of it. Where `plan.is_immediate`, a message needs nothing but `with_message`, which awaits
nothing and makes nothing but the arguments.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from trunkline.background import BackgroundTasks
from trunkline.concurrency import run_in_threadpool
from trunkline.dependencies._fields import FAILED
from trunkline.dependencies._signatures import Kind
from trunkline.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.dependencies._markers import Lifetime
    from trunkline.dependencies._plan import Plan, Step
    from trunkline.requests import HTTPConnection

_INVALID: Mapping[str, type[ValidationException]] = {
    "http": RequestValidationError,
    "websocket": WebSocketRequestValidationError,
}
_NOTHING: Mapping[Any, Any] = {}
_NOTHING_TO_LEAVE: AbstractAsyncContextManager[Any] = nullcontext()


class Solution:
    """The values of one connection.

    Args:
        plan: What to solve.
        connection: Where parameters are read from, made with `plan.connection_class`.
        values: What is in the slots; nothing if left out.
    """

    __slots__ = ("_before", "_exits", "_stage", "connection", "errors", "given", "plan", "tasks", "values")

    def __init__(self, plan: Plan, connection: HTTPConnection[Any], values: list[Any] | None = None) -> None:
        self.plan = plan
        self.connection = connection
        self.values: list[Any] = [None] * plan.size if values is None else values
        self.errors: list[dict[str, Any]] = []
        self.given = _NOTHING
        self.tasks: BackgroundTasks | None = None
        self._exits: dict[Lifetime, AsyncExitStack] = {}
        self._stage = plan.stages[0]
        self._before: dict[str, Any] = {}  # the arguments that were had in the stage before

    def for_message(self, given: Mapping[Any, Any]) -> Solution:
        """The values for one message, over those of the connection.

        Args:
            given: What the listener's plan has claimed, by key.
        """
        inner = Solution(self.plan, self.connection, self.values.copy())
        inner.given = given
        inner._stage = self.plan.stages[1]
        inner._before = self._before
        return inner

    def with_message(self, given: Mapping[Any, Any]) -> dict[str, Any]:
        """The arguments for one message, where the plan is immediate.

        Args:
            given: What the listener's plan has claimed, by key.
        """
        arguments = self._before.copy()
        for name, key in self.plan.claimed:
            arguments[name] = given[key]
        return arguments

    def lifetime(self, lifetime: Lifetime) -> AbstractAsyncContextManager[Any]:
        """A block at whose end everything of this lifetime is torn down."""
        if lifetime not in self.plan.lifetimes:
            return _NOTHING_TO_LEAVE
        stack = self._exits[lifetime] = AsyncExitStack()
        return stack

    async def solve(self) -> dict[str, Any]:
        """Go through the steps, and give the arguments of the endpoint, as far as they are had in this stage.

        Raises:
            RequestValidationError: Parameters of a request are invalid.
            WebSocketRequestValidationError: Those of a WebSocket are.
            Exception: What a dependency raises.
        """
        values = self.values
        for batch in self._stage.batches:
            step = batch[0]
            if step.kind is Kind.SYNC:
                await run_in_threadpool(self._call, batch)
                continue
            arguments = step.binding.arguments(self)
            if arguments is None:
                values[step.slot] = FAILED
            elif step.kind is Kind.ASYNC:
                values[step.slot] = await step.call(**arguments)
            else:
                values[step.slot] = await self._exits[step.lifetime].enter_async_context(step.call(**arguments))
        return self._arguments()

    def _call(self, batch: Sequence[Step]) -> None:
        """Plain calls one after the other, in a worker thread: one way there and back for all of them."""
        for step in batch:
            arguments = step.binding.arguments(self)
            self.values[step.slot] = FAILED if arguments is None else step.call(**arguments)

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the endpoint, when all steps are done."""
        arguments = self._stage.target.arguments(self)
        if arguments is None or self.errors:
            raise _INVALID[self.plan.recipe.protocol](self.errors)
        if self._before:
            arguments = {**self._before, **arguments}
        self._before = arguments
        return arguments

    def background_tasks(self) -> BackgroundTasks:
        """The work that is to be done after all: one list for everybody on this connection."""
        if self.tasks is None:
            self.tasks = BackgroundTasks()
        return self.tasks
