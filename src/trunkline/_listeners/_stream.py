"""A stream as an ASGI application: the parameters, accept, what the generator yields, the end.

The generator runs in the task of the connection, inside `websocket.tasks()`, which cancels it when the client leaves.
What it does not want of the client is read and dropped beside it, so that the leaving is seen on every server.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

from trunkline._listeners._loop import respond
from trunkline._listeners._session import open_connection
from trunkline._listeners._wire import check_type, decoder_of
from trunkline.dependencies._plan import Plan, Recipe
from trunkline.dependencies._signatures import EMPTY, described, parameters_of, without_partial
from trunkline.dependencies._solution import Solution
from trunkline.endpoints import EndpointError, run_websocket
from trunkline.middleware.exceptions import end_websocket
from trunkline.states import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from trunkline.messages import MessageSettings
    from trunkline.types import ASGIApp, Receive, Scope, Send
    from trunkline.websockets import WebSocket

__all__ = ["stream_app"]


def stream_app(
    generator: Callable[..., Any], path_names: Iterable[str], dependencies: Sequence[Any], messages: MessageSettings
) -> ASGIApp:
    """The ASGI application of a stream.

    Args:
        generator: The async generator function.
        path_names: The names of the path's parameters.
        dependencies: What is solved before.
        messages: How messages are encoded, and what becomes of invalid ones.

    Raises:
        EndpointError: It is no async generator function, or takes messages more than once.
        DependencyError: A parameter could not be filled on any connection.
        CodecError: A codec cannot handle the messages that it takes.
    """
    if not inspect.isasyncgenfunction(inspect.unwrap(without_partial(generator))):
        raise EndpointError(
            f"a stream is an async function that yields what is to be sent, but {described(generator)} is not; "
            "write `async def` and `yield`"
        )
    incoming = _incoming(generator)
    if incoming is not None:
        check_type(incoming.type, messages)
    # The plan does not see the parameter that is filled here.
    others = generator if incoming is None else partial(generator, **{incoming.name: None})
    plan = Plan(Recipe(others, tuple(dependencies), "websocket", frozenset(path_names)))
    session = _Session(generator, incoming, messages)

    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        now = plan.on(scope)
        return run_websocket(partial(session.converse, now), now.connection_class(scope, receive, send))

    return app


class _Incoming(NamedTuple):
    """The parameter through which a stream gets messages."""

    name: str
    type: Any


def _incoming(generator: Callable[..., Any]) -> _Incoming | None:
    found = [
        _Incoming(given.name, *get_args(given.annotation))
        for given in parameters_of(generator)
        if get_origin(given.annotation) in (AsyncIterator, AsyncIterable) and given.default is EMPTY
    ]
    if len(found) > 1:
        raise EndpointError(
            f"a stream takes the client's messages once, but {described(generator)} does so in "
            f"{', '.join(repr(one.name) for one in found)}; write a union: `messages: AsyncIterator[Join | Say]`"
        )
    return found[0] if found else None


class _Session:
    """What the connections of a stream share."""

    def __init__(self, generator: Callable[..., Any], incoming: _Incoming | None, messages: MessageSettings) -> None:
        self._generator = generator
        self._incoming = incoming
        self._messages = messages

    async def converse(self, plan: Plan, websocket: WebSocket[Any]) -> None:
        websocket.message_settings = self._messages
        try:
            await self._converse(Solution(plan, websocket), websocket)
        except WebSocketDisconnect:
            pass

    async def _converse(self, solution: Solution, websocket: WebSocket[Any]) -> None:
        async with solution.lifetime("connection"):
            try:
                async with solution.lifetime("function"):
                    arguments = await solution.solve()
                    await open_connection(websocket)
                    await self._stream(websocket, arguments)
            except WebSocketDisconnect:
                if solution.tasks is not None:
                    await solution.tasks()
                raise
            await end_websocket(websocket, None)
            if solution.tasks is not None:
                await solution.tasks()

    async def _stream(self, websocket: WebSocket[Any], arguments: dict[str, Any]) -> None:
        """Send until the generator or the client ends; an error of the generator leaves as itself."""
        errors: list[Exception] = []
        try:
            async with websocket.tasks() as tasks:
                if self._incoming is None:
                    reader = tasks.create_task(_drop_messages(websocket))
                    generator = self._generator(**arguments)
                else:
                    reader = None
                    decode = decoder_of(self._incoming.type, websocket.message_settings.codec)
                    arguments[self._incoming.name] = websocket._iterate(decode)
                    generator = self._generator(**arguments)
                try:
                    await _send_all(websocket, generator)
                except Exception as error:
                    errors.append(error)
                if reader is not None:
                    reader.cancel()
        except WebSocketDisconnect:
            if not errors:
                raise
        if errors:
            raise errors[0]


async def _send_all(websocket: WebSocket[Any], generator: AsyncGenerator[Any, None]) -> None:
    async with aclosing(generator) as values:
        async for value in values:
            await respond(websocket, value)


async def _drop_messages(websocket: WebSocket[Any]) -> None:
    while True:
        await websocket._receive_any()
