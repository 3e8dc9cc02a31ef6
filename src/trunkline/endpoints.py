"""Endpoints: what a route calls, as functions and as classes, and how each becomes an ASGI application.

Every WebSocket endpoint runs through `run_websocket`: it is the one place that says how a connection ends when its
endpoint returns or raises. What is already an ASGI application is called as it is, with nothing added.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trunkline._straight import passes
from trunkline.concurrency import is_async_callable, run_in_threadpool
from trunkline.dependencies._pydantic import jsonable
from trunkline.dependencies._signatures import described, parameters_of
from trunkline.exceptions import HTTPException, TrunklineError
from trunkline.line import line_of
from trunkline.middleware.exceptions import (
    end_websocket,
    handle_websocket_exception,
    serve_request,
)
from trunkline.middleware.handlers import is_answered
from trunkline.requests import Request
from trunkline.responses import JSONResponse, PlainTextResponse
from trunkline.states import WebSocketDisconnect
from trunkline.status import WS_1000_NORMAL_CLOSURE, WS_1003_UNSUPPORTED_DATA, WS_1011_INTERNAL_ERROR
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from trunkline.messages import MessageSettings
    from trunkline.responses import Response
    from trunkline.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["EndpointError", "HTTPEndpoint", "WebSocketEndpoint", "get_name", "request_response", "websocket_session"]


logger = logging.getLogger("trunkline")


class EndpointError(TrunklineError, TypeError):
    """Raised for an endpoint that its route cannot call: when the route is made, as far as it can be told then."""


def get_name(endpoint: Callable[..., Any]) -> str:
    """The name of a route that was given none: that of its function or class."""
    name: str = getattr(endpoint, "__name__", type(endpoint).__name__)
    return name


def is_function(endpoint: object) -> bool:
    """Whether the endpoint is called with a request or WebSocket; everything else is an ASGI application."""
    while isinstance(endpoint, functools.partial):
        endpoint = endpoint.func
    return inspect.isfunction(endpoint) or inspect.ismethod(endpoint)


def _is_async(endpoint: Callable[..., Any]) -> bool:
    return is_async_callable(endpoint) or is_async_callable(inspect.unwrap(endpoint))


def check_http_endpoint(endpoint: Any) -> None:
    """Refuse what a `Route` cannot call.

    Raises:
        EndpointError: Not callable, a generator, the class of the other kind, or an ASGI application that is a
            function.
    """
    _check_callable(endpoint, "def endpoint(request)")
    if isinstance(endpoint, type) and issubclass(endpoint, WebSocketEndpoint):
        raise EndpointError(f"{endpoint.__name__} is a WebSocketEndpoint; use it with WebSocketRoute, not with Route")
    if is_function(endpoint):
        _check_function(endpoint, "request")


def check_websocket_endpoint(endpoint: Any) -> None:
    """Refuse what a `WebSocketRoute` cannot call.

    A function that is not async is let through with a warning in the log: it may return an awaitable, or do nothing
    but raise, as some programs' endpoints do.

    Raises:
        EndpointError: As `check_http_endpoint`.
    """
    _check_callable(endpoint, "async def endpoint(websocket)")
    if isinstance(endpoint, type) and issubclass(endpoint, HTTPEndpoint):
        raise EndpointError(f"{endpoint.__name__} is an HTTPEndpoint; use it with Route, not with WebSocketRoute")
    if not is_function(endpoint):
        return
    _check_function(endpoint, "websocket")
    if not _is_async(endpoint):
        logger.warning("%s", _not_async(endpoint))


def check_speaks(endpoint: Any) -> None:
    """Refuse an endpoint whose `WebSocket` its route cannot give settings.

    Raises:
        EndpointError: It is not a function.
    """
    if not is_function(endpoint):
        raise EndpointError(
            f"messages= is for functions, but got {endpoint!r}, which makes its own WebSocket; set "
            "`websocket.message_settings` there, before accept"
        )


def _not_async(endpoint: Callable[..., Any]) -> str:
    return (
        f"a WebSocket endpoint is an async function, but {described(endpoint)} is not; write `async def`, "
        "and functools.wraps in a decorator around it"
    )


def _check_callable(endpoint: Any, example: str) -> None:
    if not callable(endpoint):
        raise EndpointError(
            f"an endpoint is a function, a class or an ASGI application, but got {endpoint!r}; write `{example}`"
        )


def _check_function(endpoint: Callable[..., Any], parameter: str) -> None:
    function = inspect.unwrap(endpoint)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise EndpointError(
            f"an endpoint does not yield, but {described(endpoint)} is a generator; "
            f"write a function that takes the {parameter}, without yield"
        )
    if [given.name for given in parameters_of(endpoint)] == ["scope", "receive", "send"]:
        raise EndpointError(
            f"an endpoint takes the {parameter} or what is found in it, but {described(endpoint)} is an ASGI "
            "application, and as a function that goes into a Mount"
        )


def request_response(func: Callable[[Request], Any]) -> ASGIApp:
    """The ASGI application that answers with what `func` returns.

    Args:
        func: Takes the `Request`, returns a `Response`, or what becomes JSON. One that is not async runs in a worker
            thread.
    """
    is_async = is_async_callable(func)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request: Request = Request(scope, receive, send)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            result: Any = await func(request) if is_async else await run_in_threadpool(func, request)
            await as_response(result, func)(scope, receive, send)

        await serve_request(answer, request, scope, receive, send)

    return app


def as_response(result: Any, endpoint: Callable[..., Any]) -> ASGIApp:
    """What an endpoint returned as a response: itself if it is one, else JSON.

    Args:
        result: What was returned; pydantic models, dataclasses, dates and the like become plain.
        endpoint: Who returned it.

    Raises:
        TypeError: It is neither a response nor has JSON for it.
    """
    if callable(result):
        response: ASGIApp = result
        return response
    try:
        return JSONResponse(jsonable(result))
    except ValueError as error:
        raise TypeError(
            f"an endpoint returns a Response or what JSON can hold, but {described(endpoint)} returned {result!r} "
            f"({error}); return for example JSONResponse(...)"
        ) from error


def websocket_session(func: Callable[[WebSocket], Awaitable[None]], messages: MessageSettings | None = None) -> ASGIApp:
    """The ASGI application that gives each connection to `func`, and ends it as `run_websocket` says.

    Args:
        func: An async function that takes the `WebSocket`.
        messages: The settings of its typed messages.
    """

    # Not `async def`: a coroutine that only awaits another one costs at every message, and memory all the time.
    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        websocket: WebSocket = WebSocket(scope, receive, send)
        if messages is not None:
            websocket.message_settings = messages
        return run_websocket(func, websocket)

    return app


def check_awaitable(running: object, endpoint: Callable[..., Any]) -> None:
    """Refuse what a WebSocket endpoint returned that cannot be awaited."""
    if not inspect.isawaitable(running):
        raise EndpointError(_not_async(endpoint))


@passes
async def run_websocket(
    func: Callable[[WebSocket], Awaitable[None]], websocket: WebSocket, *, closes: bool = True
) -> None:
    """Run an endpoint to its end, and end the connection with it.

    The exception handlers of the application come first; what none of them handles closes the connection with the
    code mapped for it, if it was accepted and still stands, and is raised again. A normal end closes with 1000.

    Args:
        func: The endpoint.
        websocket: Its connection.
        closes: Whether a normal end closes; one that has done so itself, or has left the connection open, says no.
    """
    try:
        try:
            running: Any = func(websocket)
            check_awaitable(running, func)
            line = line_of(websocket.scope)
            await (running if line is None else line.shortcut(running))
        except Exception as error:
            await handle_websocket_exception(websocket, error)
    except BaseException as error:
        await end_websocket(websocket, error)
        raise
    if closes:
        await end_websocket(websocket, None)


class HTTPEndpoint:
    """A class whose methods `get`, `post`, ... answer the requests of these HTTP methods.

        class Room(HTTPEndpoint):
            async def get(self, request):
                return JSONResponse({"room": request.path_params["room"]})

    A method that is not async runs in a worker thread. `HEAD` is answered by `get` unless there is a `head`.
    The class itself is the ASGI application; there is a new instance for each request.
    """

    METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send

    def __await__(self) -> Generator[Any, None, None]:
        return self.dispatch().__await__()

    async def dispatch(self) -> None:
        """Answer the request with the method's handler, or with 405."""
        handler = self._handler(self.scope["method"]) or self.method_not_allowed
        await request_response(handler)(self.scope, self.receive, self.send)

    def _handler(self, method: str) -> Callable[[Request], Any] | None:
        if method not in self.METHODS:
            return None
        handler: Callable[[Request], Any] | None = getattr(self, method.lower(), None)
        return self._handler("GET") if handler is None and method == "HEAD" else handler

    async def method_not_allowed(self, request: Request) -> Response:
        """Answer a method for which there is no handler: 405 with `Allow` (RFC 9110 section 15.5.6)."""
        allowed = [method for method in self.METHODS if self._handler(method) is not None]
        return method_not_allowed(self.scope, allowed)


def method_not_allowed(scope: Scope, allowed: list[str]) -> Response:
    """The answer 405; where there are exception handlers for it, it is raised instead, so that they see it."""
    headers = {"Allow": ", ".join(allowed)}
    refusal = HTTPException(405, headers=headers)
    if is_answered(scope, refusal):
        raise refusal
    return PlainTextResponse("Method Not Allowed", status_code=405, headers=headers)


class WebSocketEndpoint:
    """A class whose methods are called as a connection opens, receives and ends.

        class Echo(WebSocketEndpoint):
            encoding = "text"

            async def on_receive(self, websocket, data):
                await websocket.send_text(data)

    The class itself is the ASGI application; there is a new instance for each connection.

    Attributes:
        encoding: What messages must be: `"text"`, `"bytes"`, `"json"` (text or UTF-8 bytes), or None for text or bytes
            as they come. Another message closes the connection with 1003 (RFC 6455 section 7.4.1).
    """

    encoding: Literal["text", "bytes", "json"] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.encoding not in (None, "text", "bytes", "json"):
            raise EndpointError(
                f'the encoding of {cls.__name__} must be "text", "bytes", "json" or None, but is {cls.encoding!r}'
            )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send

    def __await__(self) -> Generator[Any, None, None]:
        return self.dispatch().__await__()

    async def dispatch(self) -> None:
        """Serve the connection to its end."""
        await run_websocket(self._serve, WebSocket(self.scope, self.receive, self.send))

    async def _serve(self, websocket: WebSocket) -> None:
        await self.on_connect(websocket)
        close_code = WS_1011_INTERNAL_ERROR
        try:
            close_code = await self._receive_until_disconnect(websocket)
        except WebSocketDisconnect as disconnect:
            close_code = disconnect.code
            raise
        finally:
            await self.on_disconnect(websocket, close_code)

    async def _receive_until_disconnect(self, websocket: WebSocket) -> int:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or WS_1000_NORMAL_CLOSURE)
            await self.on_receive(websocket, await self.decode(websocket, message))

    async def decode(self, websocket: WebSocket, message: Message) -> Any:
        """What `on_receive` gets for a message.

        Raises:
            RuntimeError: The message is not of the encoding; the connection has been closed with 1003.
        """
        got = next((kind for kind in ("text", "bytes") if message.get(kind) is not None), "neither")
        wanted = got if self.encoding is None else self.encoding
        if got == "neither" or (wanted != got and wanted != "json"):
            await websocket.close(WS_1003_UNSUPPORTED_DATA)
            raise RuntimeError(f"Expected {self.encoding or 'text or bytes'} websocket messages, but got {got}")
        data = message[got]
        return await self._decode_json(websocket, data) if wanted == "json" else data

    async def _decode_json(self, websocket: WebSocket, data: str | bytes) -> Any:
        try:
            return json.loads(data if isinstance(data, str) else data.decode())
        except (ValueError, RecursionError) as error:  # the latter for brackets nested more deeply than the stack
            await websocket.close(WS_1003_UNSUPPORTED_DATA)
            raise RuntimeError("Malformed JSON data received.") from error

    async def on_connect(self, websocket: WebSocket) -> None:
        """Override to decide on a connection: accept it, as this does, or close it."""
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        """Override to take a message; `data` is as `encoding` says."""

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        """Override to clean up. Called whenever `on_connect` has returned.

        Args:
            websocket: The connection.
            close_code: The client's; 1011 when this class failed or was cancelled.
        """
