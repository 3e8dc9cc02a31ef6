"""Exception handlers, for HTTP and for WebSockets.

An exception is looked at in two places. At the endpoint, where the handler gets the endpoint's own `Request` or
`WebSocket` (`serve_request`, `handle_websocket_exception`), and at the `ExceptionMiddleware`, which sees what routers,
inner middleware and plain ASGI endpoints raise.

For a WebSocket the endpoint is the better place: only its own `WebSocket` knows whether it has been accepted, and
`send` is never wrapped to find out. So everything is settled there: the handlers of all applications around are asked,
nearest first, and an exception that a handler raises meets the handlers again, each of them at most once. What is
raised on from there is marked as settled, and every middleware that it passes lets it pass: nothing is handled twice.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trunkline._straight import passes
from trunkline.concurrency import is_async_callable, run_in_threadpool
from trunkline.dependencies._pydantic import jsonable_errors
from trunkline.exceptions import (
    HTTPException,
    RequestValidationError,
    WebSocketException,
    WebSocketRequestValidationError,
)
from trunkline.middleware.endings import PEER_IS_GONE, end_websocket, ending_of
from trunkline.middleware.kin import is_a, lineage
from trunkline.requests import Request
from trunkline.responses import JSONResponse, PlainTextResponse, Response
from trunkline.websockets import WebSocket, WebSocketState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

__all__ = ["ExceptionMiddleware", "end_websocket", "handle_websocket_exception"]

logger = logging.getLogger("trunkline")

_KEY = "trunkline.exception_handlers"
_DENIAL = "websocket.http.response"
_WITHOUT_BODY = frozenset({204, 304})


class _Handlers:
    """The handlers of one application as one connection meets them, and those of the application around it."""

    __slots__ = ("by_class", "by_status", "outer", "settled")

    def __init__(
        self,
        by_class: Mapping[Any, ExceptionHandler],
        by_status: Mapping[int, ExceptionHandler],
        outer: _Handlers | None = None,
    ) -> None:
        self.by_class = by_class
        self.by_status = by_status
        self.outer = outer
        self.settled: Exception | None = None

    def find(self, exc: Exception) -> ExceptionHandler | None:
        """The handler for an exception: by its status first, then by its class and the classes above it."""
        if self.by_status and is_a(exc, HTTPException):
            status: int = exc.status_code  # type: ignore[attr-defined]  # Starlette's have it too
            if status in self.by_status:
                return self.by_status[status]
        for cls in lineage(exc):
            if cls in self.by_class:
                return self.by_class[cls]
        return None

    def outwards(self) -> Iterator[_Handlers]:
        handlers: _Handlers | None = self
        while handlers is not None:
            yield handlers
            handlers = handlers.outer


def _handlers_of(scope: Scope) -> _Handlers:
    return scope.get(_KEY) or _Handlers({}, {})


def has_handlers(scope: Scope) -> bool:
    """Whether an application of ours is around: one of another framework does not know our exceptions."""
    return _KEY in scope


async def call_handler(handler: ExceptionHandler, conn: Request[Any] | WebSocket[Any], exc: Exception) -> Any:
    """Run an exception handler: a `def` one in a worker thread, so that it may block."""
    if is_async_callable(handler):
        return await handler(conn, exc)
    return await run_in_threadpool(handler, conn, exc)


async def handle_websocket_exception(websocket: WebSocket[Any], exc: Exception) -> None:
    """Let the handlers of the applications around answer an exception of an endpoint; raise what none of them did.

    Args:
        websocket: The endpoint's own, which the handlers get.
        exc: What left the endpoint.
    """
    await _settle(websocket, exc, _handlers_of(websocket.scope))


def forget_settled(scope: Scope) -> None:
    """Forget what was raised on as settled, where no application's middleware will meet it: its call has returned."""
    for around in _handlers_of(scope).outwards():
        around.settled = None


async def serve_request(app: ASGIApp, request: Request[Any] | None, scope: Scope, receive: Receive, send: Send) -> None:
    """Call an application for an HTTP request, with the exception handlers of the applications around it.

    Args:
        app: What is to be called.
        request: What the handlers get; made for them if left out.
        scope: The scope of the request.
        receive: Its receive channel.
        send: Its send channel.
    """
    handlers = _handlers_of(scope)
    started = False

    async def sender(message: Message) -> None:
        nonlocal started
        started = started or message["type"] == "http.response.start"
        await send(message)

    try:
        await app(scope, receive, sender)
    except Exception as exc:
        handler = handlers.find(exc)
        if handler is None or exc is handlers.settled:
            raise
        if started:
            raise RuntimeError("Caught handled exception, but response already started.") from exc
        handlers.settled = exc
        conn = Request(scope, receive, send) if request is None else request
        response = await call_handler(handler, conn, exc)
        if response is None:
            raise RuntimeError(f"a response was expected from the exception handler {handler!r}, not None") from exc
        await response(scope, receive, sender)
        _forget(exc, handlers)


def _forget(exc: Exception, handlers: _Handlers) -> None:
    # An instance that is raised again and again would gather the tracebacks of all its connections.
    exc.__traceback__ = None
    handlers.settled = None


async def _settle(websocket: WebSocket[Any], exc: Exception, handlers: _Handlers) -> None:
    """Let the handlers answer an exception, unless that was tried before; raise what none of them did."""
    if exc is handlers.settled:
        handlers.settled = None
        raise exc
    asked: list[ExceptionHandler] = []
    while (handler := _nearest(handlers, exc)) is not None and handler not in asked:
        asked.append(handler)
        try:
            response = await call_handler(handler, websocket, exc)
            await _conclude(websocket, exc, response)
        except PEER_IS_GONE as gone:
            exc.add_note(f"Its exception handler {handler!r} ended with {gone!r}.")
            break
        except Exception as raised:
            exc = raised
        else:
            _forget(exc, handlers)
            return
    for around in handlers.outwards():
        around.settled = exc
    raise exc


def _nearest(handlers: _Handlers, exc: Exception) -> ExceptionHandler | None:
    found = (around.find(exc) for around in handlers.outwards())
    return next((handler for handler in found if handler is not None), None)


async def _conclude(websocket: WebSocket[Any], exc: Exception, response: Response | None) -> None:
    """End the connection of a handled exception, where its handler did not."""
    if websocket.application_state is not WebSocketState.CONNECTING:
        await end_websocket(websocket, exc)
        return
    # A client that has gone meanwhile needs no answer: the exception is handled all the same.
    with suppress(*PEER_IS_GONE):
        if response is not None and _DENIAL in (websocket.scope.get("extensions") or {}):
            await websocket.send_denial_response(response)
        else:
            await websocket.close(*ending_of(exc))


class ExceptionMiddleware:
    """Answers exceptions by their handlers; the innermost middleware of an `App`.

    `HTTPException` and `WebSocketException` have handlers from the start, which Starlette's exceptions of these names
    meet too, and so have invalid parameters: 422, or a close with 1008. On a WebSocket, a response that a handler
    returns is sent as a denial response before `accept` (a plain refusal where the server cannot); an accepted
    connection that the handler leaves open is closed with the code of the exception (`end_websocket`).

    Args:
        app: The application to wrap.
        handlers: Exception handlers by exception class or HTTP status; they get the `Request` or `WebSocket` and the
            exception.
        debug: Taken as Starlette does; changes nothing.
    """

    def __init__(
        self, app: ASGIApp, handlers: Mapping[Any, ExceptionHandler] | None = None, debug: bool = False
    ) -> None:
        self.app = app
        self.debug = debug
        self._by_status: dict[int, ExceptionHandler] = {}
        self._by_class: dict[Any, ExceptionHandler] = {
            HTTPException: self.http_exception,
            WebSocketException: self.websocket_exception,
            RequestValidationError: self.request_validation_error,
            WebSocketRequestValidationError: self.websocket_validation_error,
        }
        for key, handler in (handlers or {}).items():
            self.add_exception_handler(key, handler)

    def add_exception_handler(self, exc_class_or_status_code: int | type[Exception], handler: ExceptionHandler) -> None:
        """Register a handler for an exception class and those below it, or for an HTTP status.

        Args:
            exc_class_or_status_code: For example `ValueError`, or 404.
            handler: `async def` or `def` (run in a worker thread) with two parameters, the connection and the
                exception.

        Raises:
            TypeError: The key is neither, or the handler cannot be called.
        """
        check_handler(exc_class_or_status_code, handler)
        if isinstance(exc_class_or_status_code, int):
            self._by_status[exc_class_or_status_code] = handler
        else:
            self._by_class[exc_class_or_status_code] = handler

    @passes
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        handlers = scope[_KEY] = _Handlers(self._by_class, self._by_status, scope.get(_KEY))
        if kind == "http":
            await serve_request(self.app, None, scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except Exception as exc:
            await _settle(WebSocket(scope, receive, send), exc, handlers)

    async def http_exception(self, conn: Request[Any] | WebSocket[Any], exc: Any) -> Response:
        """Answer with the status, detail and headers of an `HTTPException`."""
        _check_can_be_told(conn, exc)
        if exc.status_code in _WITHOUT_BODY:
            return Response(status_code=exc.status_code, headers=exc.headers)
        detail: object = exc.detail
        if not isinstance(detail, str):
            # FastAPI's programs give data as the detail, and this is how it answers.
            return JSONResponse({"detail": detail}, status_code=exc.status_code, headers=exc.headers)
        return PlainTextResponse(detail, status_code=exc.status_code, headers=exc.headers)

    async def websocket_exception(self, websocket: WebSocket[Any], exc: Any) -> None:
        """Close with the code and reason of a `WebSocketException`."""
        _check_can_be_told(websocket, exc)
        if websocket.scope["type"] != "websocket":
            exc.add_note("Raised for an HTTP request, which has no close code; raise HTTPException, which serves both.")
            raise exc
        with suppress(*PEER_IS_GONE):
            await websocket.close(code=exc.code, reason=exc.reason)

    async def request_validation_error(self, request: Request[Any], exc: Any) -> Response:
        """Answer 422 with the errors of a `RequestValidationError`, in FastAPI's shape."""
        _check_can_be_told(request, exc)
        return JSONResponse({"detail": jsonable_errors(exc.errors())}, status_code=422)

    async def websocket_validation_error(self, websocket: WebSocket[Any], exc: Any) -> None:
        """Log the errors of a `WebSocketRequestValidationError`, without what was sent, and close with 1008."""
        _check_can_be_told(websocket, exc)
        logger.warning("a WebSocket to %r was refused: %s", websocket.scope["path"], exc)
        with suppress(*PEER_IS_GONE):
            await websocket.close(*ending_of(exc))


_OPEN = frozenset({WebSocketState.CONNECTING, WebSocketState.CONNECTED})


def _check_can_be_told(conn: Request[Any] | WebSocket[Any], exc: Exception) -> None:
    # Raised after the application has ended its side: answering it silently would swallow it.
    if isinstance(conn, WebSocket) and conn.application_state not in _OPEN:
        raise exc


def check_handler(key: Any, handler: Any) -> None:
    """Refuse, at registration, what could not work as an exception handler.

    Raises:
        TypeError: The key is neither a class of exceptions nor a status, or the handler cannot be called.
    """
    by_class = isinstance(key, type) and issubclass(key, Exception)
    if not by_class and (not isinstance(key, int) or isinstance(key, bool)):
        raise TypeError(
            f"an exception handler is registered for a class of exceptions (ValueError) or an HTTP status (404), "
            f"but got {key!r}"
        )
    if not callable(handler):
        raise TypeError(f"an exception handler is a function of the connection and the exception, but got {handler!r}")
