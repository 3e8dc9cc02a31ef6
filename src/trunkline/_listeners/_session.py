"""A listener as an ASGI application: the parameters, accept, the messages, the end.

The client's leaving is a normal end of a listener: it is raised at no `yield` of a dependency and logged nowhere.
Otherwise the order of an ending is that of other endpoints (`trunkline._injection`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trunkline._listeners._direct import DetachedService, Means, ParkedService, WaitingService
from trunkline._listeners._forms import call_maybe_async, form_of, say_goodbye
from trunkline._listeners._loop import MessageLoop, respond
from trunkline._listeners._slow import SlowWatch
from trunkline._listeners._wire import check_type, decoder_of, raw_kind
from trunkline._straight import is_straight, passes
from trunkline.dependencies._signatures import described
from trunkline.dependencies._solution import Solution
from trunkline.endpoints import EndpointError, run_websocket
from trunkline.middleware.exceptions import end_websocket
from trunkline.states import CONNECTING, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trunkline._listeners._forms import Bound, Form
    from trunkline.dependencies._plan import Plan
    from trunkline.line import Line
    from trunkline.messages import MessageSettings
    from trunkline.types import ASGIApp, Receive, Scope, Send
    from trunkline.websockets import WebSocket

__all__ = ["ListenerOptions", "listener_app", "open_connection"]


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """How a listener is run.

    Attributes:
        concurrency: How many messages of one connection are handled at once.
        threaded: Whether what is not async runs in a worker thread.

    Raises:
        ValueError: The concurrency is less than 1.
    """

    concurrency: int
    threaded: bool

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"expected 1 or more as concurrency, but got {self.concurrency!r}")


def listener_app(
    listener: Callable[..., Any],
    path_names: Iterable[str],
    dependencies: Sequence[Any],
    messages: MessageSettings,
    options: ListenerOptions,
) -> ASGIApp:
    """The ASGI application of a listener.

    Args:
        listener: The function or class.
        path_names: The names of the path's parameters.
        dependencies: What is solved before.
        messages: How messages are encoded, and what becomes of invalid ones.
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
    check_type(form.type, messages)
    session = _Session(form, messages, options, SlowWatch(listener))

    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        plan = form.plan.on(scope)
        websocket = plan.connection_class(scope, receive, send)
        return run_websocket(partial(session.converse, plan), websocket, closes=False)

    return app


async def open_connection(websocket: WebSocket[Any]) -> None:
    """Accept, unless a dependency has done so."""
    if websocket.application_state is CONNECTING:
        await websocket.accept()


class _Session:
    """What the connections of a listener share."""

    def __init__(self, form: Form, messages: MessageSettings, options: ListenerOptions, watch: SlowWatch) -> None:
        self._form = form
        self._messages = messages
        self._options = options
        self._watch = watch
        self._by_codec: dict[str, Means] = {}

    @passes
    async def converse(self, plan: Plan, websocket: WebSocket[Any]) -> None:
        straight = is_straight()  # asked before anything waits: what resumes us then need not be the call around us
        websocket.message_settings = self._messages
        solution = Solution(plan, websocket)
        async with solution.lifetime("connection"):
            async with solution.lifetime("function"):
                bound = await self._form.bind(solution)
                await open_connection(websocket)
                line = self._direct_line(websocket, bound)
                if line is not None and not plan.lifetimes and straight:
                    kind = DetachedService if self._form.is_plain else WaitingService
                    service = kind(websocket, line, self._means(websocket), bound, solution.tasks)
                    await service.go_on(partial(self._begin, websocket, bound))
                    if not plan.takes_connection:
                        service.let_go()
                    return
                await self._serve(websocket, bound, line)
            await end_websocket(websocket, None)
            if solution.tasks is not None:
                await solution.tasks()

    def _direct_line(self, websocket: WebSocket[Any], bound: Bound) -> Line | None:
        """The Line, where messages can be served straight from it, one after the other."""
        line = websocket._fast_in
        if bound.solution is not None or self._options.concurrency > 1 or line is not websocket._fast_out:
            return None
        return line

    def _means(self, websocket: WebSocket[Any]) -> Means:
        """What serves a connection that speaks the codec that this one has agreed upon."""
        codec = websocket.message_settings.codec
        means = self._by_codec.get(codec)
        if means is None:
            type_ = self._form.type
            means = self._by_codec[codec] = Means(decoder_of(type_, codec), raw_kind(type_), self._watch)
        return means

    async def _begin(self, websocket: WebSocket[Any], bound: Bound) -> None:
        if bound.on_connect is not None:
            await respond(websocket, await call_maybe_async(bound.on_connect))

    async def _serve(self, websocket: WebSocket[Any], bound: Bound, line: Line | None) -> None:
        try:
            await self._begin(websocket, bound)
            means = self._means(websocket)
            if line is not None and self._form.is_plain:
                await ParkedService(websocket, line, means, bound).run()
            else:
                loop = MessageLoop(websocket, means.decode, bound, means.watch if self._form.is_plain else None)
                await loop.run(self._options.concurrency)
        except WebSocketDisconnect:
            pass
        finally:
            await say_goodbye(websocket, bound)
