"""A listener as an ASGI application: the parameters, accept, the messages, the end.

The client's leaving is a normal end of a listener: it is raised at no `yield` of a dependency and logged nowhere.
Otherwise the order of an ending is that of other endpoints (`trunkline._injection`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trunkline._listeners._direct import DirectService
from trunkline._listeners._forms import call_maybe_async, form_of
from trunkline._listeners._loop import MessageLoop, respond
from trunkline._listeners._slow import SlowWatch
from trunkline._listeners._wire import check_type, decoder_of
from trunkline.dependencies._signatures import described
from trunkline.dependencies._solution import Solution
from trunkline.endpoints import EndpointError, run_websocket
from trunkline.middleware.exceptions import end_websocket
from trunkline.states import CONNECTING, WebSocketDisconnect
from trunkline.status import WS_1011_INTERNAL_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trunkline._listeners._forms import Bound, Form
    from trunkline.dependencies._plan import Plan
    from trunkline.messages import MessageSettings
    from trunkline.types import ASGIApp, Receive, Scope, Send
    from trunkline.websockets import WebSocket

__all__ = ["ListenerOptions", "listener_app", "open_connection"]


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """How a listener is run.

    Attributes:
        messages: How messages are encoded, and what becomes of invalid ones.
        concurrency: How many messages of one connection are handled at once.
        threaded: Whether what is not async runs in a worker thread.

    Raises:
        ValueError: The concurrency is less than 1.
    """

    messages: MessageSettings
    concurrency: int
    threaded: bool

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"expected 1 or more as concurrency, but got {self.concurrency!r}")


def listener_app(
    listener: Callable[..., Any], path_names: Iterable[str], dependencies: Sequence[Any], options: ListenerOptions
) -> ASGIApp:
    """The ASGI application of a listener.

    Args:
        listener: The function or class.
        path_names: The names of the path's parameters.
        dependencies: What is solved before.
        options: How it is run.

    Raises:
        EndpointError: It cannot be a listener.
        DependencyError: A parameter could not be filled on any connection.
        CodecError: A codec cannot handle its messages.
    """
    form = form_of(listener, frozenset(path_names), dependencies, threaded=options.threaded)
    if form.is_plain and options.concurrency > 1:
        raise EndpointError(
            f"concurrency={options.concurrency} is for functions that wait, but {described(listener)} is not async; "
            "write `async def`, or let it run in worker threads with threaded=True"
        )
    check_type(form.type, options.messages)
    session = _Session(form, options, SlowWatch(listener))

    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        plan = form.plan.on(scope)
        return run_websocket(partial(session.converse, plan), plan.connection_class(scope, receive, send))

    return app


async def open_connection(websocket: WebSocket[Any]) -> None:
    """Accept, unless a dependency has done so."""
    if websocket.application_state is CONNECTING:
        await websocket.accept()


class _Session:
    """What the connections of a listener share."""

    def __init__(self, form: Form, options: ListenerOptions, watch: SlowWatch) -> None:
        self._form = form
        self._options = options
        self._watch = watch

    async def converse(self, plan: Plan, websocket: WebSocket[Any]) -> None:
        websocket.message_settings = self._options.messages
        solution = Solution(plan, websocket)
        async with solution.lifetime("connection"):
            async with solution.lifetime("function"):
                bound = await self._form.bind(solution)
                await open_connection(websocket)
                await self._serve(websocket, bound)
            await end_websocket(websocket, None)
            if solution.tasks is not None:
                await solution.tasks()

    async def _serve(self, websocket: WebSocket[Any], bound: Bound) -> None:
        try:
            if bound.on_connect is not None:
                await respond(websocket, await call_maybe_async(bound.on_connect))
            await self._listen(websocket, bound)
        except WebSocketDisconnect:
            pass
        finally:
            if bound.on_disconnect is not None:
                end = websocket._close_info
                await call_maybe_async(bound.on_disconnect, WS_1011_INTERNAL_ERROR if end is None else end.code)

    async def _listen(self, websocket: WebSocket[Any], bound: Bound) -> None:
        decode = decoder_of(self._form.type, websocket.message_settings.codec)
        line = websocket._fast_in
        if self._form.is_plain and bound.solution is None and line is not None and line is websocket._fast_out:
            await DirectService(websocket, line, decode, bound.call, self._watch).run()
        else:
            watch = self._watch if self._form.is_plain else None
            await MessageLoop(websocket, decode, bound, watch).run(self._options.concurrency)
