"""Endpoints whose parameters are filled by a plan, as ASGI applications.

An endpoint that takes its connection and nothing else needs none, and keeps the short way of `trunkline.endpoints`.
For all others the order of an ending is this one, for HTTP and WebSockets alike:

1. What has the scope "function" is torn down.
2. The response is sent, or the WebSocket is closed with 1000.
3. Background tasks run.
4. What has the scope "connection" is torn down.

An exception, a disconnect and a cancellation skip to the teardown: they are raised at each `yield`, and what comes out
there decides how the connection ends. Only after a disconnect, which is a normal end, background tasks run too.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, get_origin

from trunkline.concurrency import is_async_callable, run_in_threadpool
from trunkline.dependencies._arguments import BASES
from trunkline.dependencies._markers import DependencyError, is_marker
from trunkline.dependencies._plan import Plan, Recipe
from trunkline.dependencies._signatures import EMPTY, Unresolved, described, parameters_of
from trunkline.dependencies._solution import Solution
from trunkline.endpoints import (
    EndpointError,
    as_response,
    check_awaitable,
    is_function,
    request_response,
    run_websocket,
    websocket_session,
)
from trunkline.middleware.exceptions import end_websocket, serve_request
from trunkline.middleware.kin import is_a
from trunkline.requests import HTTPConnection
from trunkline.websockets import WebSocketDisconnect, WebSocketState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trunkline.dependencies._signatures import Given
    from trunkline.messages import MessageSettings
    from trunkline.types import ASGIApp, Receive, Scope, Send

_CONNECTIONS = ("HTTPConnection", "Request", "WebSocket")


def endpoint_app(
    endpoint: Callable[..., Any],
    protocol: str,
    path_names: Iterable[str],
    dependencies: Sequence[Any],
    messages: MessageSettings | None = None,
) -> ASGIApp:
    """The ASGI application of a route.

    Args:
        endpoint: What the route leads to.
        protocol: `"http"` or `"websocket"`.
        path_names: The names of the path's parameters.
        dependencies: What is solved before.
        messages: The settings of the `WebSocket` that a function gets.

    Raises:
        DependencyError: A parameter could not be filled on any connection.
        EndpointError: Nobody takes the WebSocket.
    """
    names = frozenset(path_names)
    if not is_function(endpoint):
        return guarded(endpoint, (protocol,), dependencies, names)
    takes_connection = _takes_connection_alone(endpoint, protocol, names)
    if takes_connection and not dependencies:
        return request_response(endpoint) if protocol == "http" else websocket_session(endpoint, messages)
    plan = Plan(Recipe(None if takes_connection else endpoint, tuple(dependencies), protocol, names))
    if protocol == "http":
        return _response(endpoint, plan, takes_connection)
    if not takes_connection and not plan.takes_connection:
        raise EndpointError(
            f"neither {described(endpoint)} nor a dependency of it takes the WebSocket, so nobody could accept it; "
            "write `websocket: WebSocket` among its parameters"
        )
    return _session(endpoint, plan, takes_connection, messages)


def _takes_connection_alone(endpoint: Callable[..., Any], protocol: str, path_names: frozenset[str]) -> bool:
    """Whether an endpoint takes its connection by position, as Starlette's do, and has no other parameter."""
    parameters = parameters_of(endpoint)
    named = [given for given in parameters if not given.is_starred]
    if len(named) == 1:
        return _is_connection(named[0], protocol, path_names)
    if not named:
        return any(given.kind is inspect.Parameter.VAR_POSITIONAL for given in parameters)
    first = named[0]
    if first.annotation is EMPTY and first.default is EMPTY and first.name not in path_names:
        kind = BASES[protocol].__name__
        raise EndpointError(
            f"{described(endpoint)} has several parameters, so each is known by its annotation, but {first.name!r} "
            f"has none; write `{first.name}: {kind}` if it is the connection"
            + (", and give the method of an object, not of a class" if first.name == "self" else "")
        )
    return False


def _is_connection(given: Given, protocol: str, path_names: frozenset[str]) -> bool:
    if given.kind is inspect.Parameter.KEYWORD_ONLY or given.name in path_names or is_marker(given.default):
        return False
    annotation = get_origin(given.annotation) or given.annotation
    if annotation in (EMPTY, Any, HTTPConnection, BASES[protocol]) or isinstance(annotation, Unresolved):
        return True
    # Starlette's, in a program whose imports have not all changed.
    module = getattr(annotation, "__module__", "")
    return module.startswith("starlette.") and annotation.__name__ in _CONNECTIONS


def _session(endpoint: Callable[..., Any], plan: Plan, by_position: bool, messages: MessageSettings | None) -> ASGIApp:
    async def converse(plan: Plan, websocket: Any) -> None:
        if messages is not None:
            websocket.message_settings = messages
        solution = Solution(plan, websocket)
        async with solution.lifetime("connection"):
            try:
                async with solution.lifetime("function"):
                    arguments = await solution.solve()
                    running = endpoint(websocket) if by_position else endpoint(**arguments)
                    check_awaitable(running, endpoint)
                    await running
            except Exception as error:
                if solution.tasks is not None and is_a(error, WebSocketDisconnect):
                    await solution.tasks()
                raise
            await end_websocket(websocket, None)
            if solution.tasks is not None:
                await solution.tasks()

    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        now = plan.on(scope)
        return run_websocket(partial(converse, now), now.connection_class(scope, receive, send))

    return app


def _response(endpoint: Callable[..., Any], plan: Plan, by_position: bool) -> ASGIApp:
    is_async = is_async_callable(endpoint)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        now = plan.on(scope)
        request = now.connection_class(scope, receive, send)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            solution = Solution(now, request)
            is_answered = False
            async with solution.lifetime("connection"):
                async with solution.lifetime("function"):
                    arguments = await solution.solve()
                    position = (request,) if by_position else ()
                    if is_async:
                        result = await endpoint(*position, **arguments)
                    else:
                        result = await run_in_threadpool(endpoint, *position, **arguments)
                    response = as_response(result, endpoint)
                await response(scope, receive, send)
                is_answered = True
                if solution.tasks is not None:
                    await solution.tasks()
            if not is_answered:
                raise RuntimeError(
                    f"there is no response, because a dependency of {described(endpoint)} has caught an exception at "
                    "its `yield` and not raised one; write `raise` at the end of that `except`"
                )

        await serve_request(answer, request, scope, receive, send)

    return app


def guarded(
    app: ASGIApp, protocols: Iterable[str], dependencies: Sequence[Any], path_names: Iterable[str] = ()
) -> ASGIApp:
    """An ASGI application behind dependencies, which may refuse a connection, and whose values nobody takes.

    Args:
        app: The application.
        protocols: What it serves.
        dependencies: What is solved before; the application itself where there are none.
        path_names: The names of the path's parameters.

    Raises:
        DependencyError: A dependency could not be solved on one of the protocols, or accepts WebSockets itself.
    """
    if not dependencies:
        return app
    names = frozenset(path_names)
    plans = {protocol: Plan(Recipe(None, tuple(dependencies), protocol, names)) for protocol in protocols}
    for dependency in dependencies:
        if getattr(dependency.call, "_accepts", False):
            raise DependencyError(
                f"{described(dependency.call)} waits for a first message, for which it accepts the connection, but "
                "that is for the class or ASGI application behind it to do; write a function, a listener or a stream"
            )

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        plan = plans[scope["type"]].on(scope)
        connection = plan.connection_class(scope, receive, send)
        solution = Solution(plan, connection)
        async with solution.lifetime("connection"):
            async with solution.lifetime("function"):
                await solution.solve()
                _check_untouched(connection)
                if getattr(connection, "_expects_expel", False):
                    await _run_closable(app, connection)
                else:
                    await app(scope, receive, send)
            if solution.tasks is not None:
                await solution.tasks()

    return guard


async def _run_closable(app: ASGIApp, connection: Any) -> None:
    """Run an application that has a WebSocket of its own, so that ours can close the connection from beside it."""
    try:
        await app(connection.scope, connection.receive, connection.send)
    finally:
        await connection._expulsion_done()


def _check_untouched(connection: Any) -> None:
    """Refuse a WebSocket that the application behind would wait for in vain: it makes one of its own."""
    state = getattr(connection, "client_state", WebSocketState.CONNECTING)
    if state is not WebSocketState.CONNECTING or getattr(connection, "application_state", state) is not state:
        raise RuntimeError(
            "a dependency before a class or an ASGI application has accepted, closed or received from the WebSocket, "
            "which is the application's to do; raise an exception to refuse it"
        )
