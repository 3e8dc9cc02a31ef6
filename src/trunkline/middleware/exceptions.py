"""Exception handlers, for HTTP and for WebSockets.

An exception is looked at in two places. At the endpoint, where the handler gets the endpoint's own `Request` or
`WebSocket` (`serve_request`, `handle_websocket_exception`), and at each table of handlers (`Handled`), which sees what
routers, inner middleware and plain ASGI endpoints raise.

For a WebSocket the endpoint is the better place: only its own `WebSocket` knows whether it has been accepted, and
`send` is never wrapped to find out. So everything is settled there: all tables around are asked, nearest first, and an
exception that a handler raises meets the handlers again, each of them at most once. What is raised on from there is
marked as settled, and every table that it passes lets it pass: nothing is handled twice.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trunkline._straight import passes
from trunkline.dependencies._pydantic import jsonable_errors
from trunkline.exceptions import (
    HTTPException,
    RequestValidationError,
    WebSocketException,
    WebSocketRequestValidationError,
)
from trunkline.middleware.endings import PEER_IS_GONE, end_websocket, ending_of
from trunkline.middleware.handlers import (
    call_handler,
    check_can_be_told,
    enter,
    handler_of,
    level_of,
    table_of,
)
from trunkline.requests import Request
from trunkline.responses import JSONResponse, PlainTextResponse, Response
from trunkline.websockets import WebSocket, WebSocketState

if TYPE_CHECKING:
    from trunkline.middleware.handlers import CloseWith, Level, Table
    from trunkline.types import ASGIApp, ExceptionHandler, ExceptionHandlers, Message, Receive, Scope, Send

__all__ = ["ExceptionMiddleware", "end_websocket", "handle_websocket_exception", "handled"]

logger = logging.getLogger("trunkline")

_DENIAL = "websocket.http.response"
_WITHOUT_BODY = frozenset({204, 304})


async def handle_websocket_exception(websocket: WebSocket[Any], exc: Exception) -> None:
    """Let the handlers of the applications around answer an exception of an endpoint; raise what none of them did.

    Args:
        websocket: The endpoint's own, which the handlers get.
        exc: What left the endpoint.
    """
    await _settle(websocket, exc, level_of(websocket.scope))


def are_ours(scope: Scope) -> bool:
    """Whether no handler of the program is around a connection: ours look at nothing but its states."""
    return all(level.is_ours for level in level_of(scope).outwards())


def forget_settled(scope: Scope) -> None:
    """Forget what was raised on as settled, where no table will meet it: its call has returned."""
    for around in level_of(scope).outwards():
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
    level = level_of(scope)
    started = False

    async def sender(message: Message) -> None:
        nonlocal started
        started = started or message["type"] == "http.response.start"
        await send(message)

    try:
        await app(scope, receive, sender)
    except Exception as exc:
        if exc is level.settled or level.find(exc, "http") is None:
            raise
        if started:
            raise RuntimeError("Caught handled exception, but response already started.") from exc
        response = await _response(exc, level, Request(scope, receive, send) if request is None else request)
        await response(scope, receive, sender)
        _forget_traceback(exc)


async def _response(exc: Exception, level: Level, request: Request[Any]) -> Response:
    """The answer of the handlers to an exception; raise what none of them answered."""
    asked: list[Any] = []
    while (handler := level.find(exc, "http", asked)) is not None:
        asked.append(handler)
        try:
            response: Response | None = await call_handler(handler, request, exc)
        except Exception as raised:
            exc = raised
            continue
        if response is None:
            raise RuntimeError(f"a response was expected from the exception handler {handler!r}, not None") from exc
        return response
    _mark(exc, level)
    raise exc


def _mark(exc: Exception, level: Level) -> None:
    """Let an exception pass all levels."""
    for around in level.outwards():
        around.settled = exc


def _forget_traceback(exc: Exception) -> None:
    # An instance that is raised again and again would gather the tracebacks of all its connections.
    exc.__traceback__ = None


async def _settle(websocket: WebSocket[Any], exc: Exception, level: Level) -> None:
    """Let the handlers answer an exception, unless that was tried before; raise what none of them did."""
    if exc is level.settled:
        level.settled = None
        raise exc
    asked: list[Any] = []
    while (handler := level.find(exc, "websocket", asked)) is not None:
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
            _forget_traceback(exc)
            return
    _mark(exc, level)
    raise exc


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


class Handled:
    """An application inside a table of exception handlers.

    Args:
        app: The application to wrap.
        table: The handlers.
    """

    _is_ours = False

    def __init__(self, app: ASGIApp, table: Table) -> None:
        self.app = app
        self._table = table

    @passes
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        level = enter(scope, self._table, is_ours=self._is_ours)
        if kind == "http":
            await serve_request(self.app, None, scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except Exception as exc:
            await _settle(WebSocket(scope, receive, send), exc, level)


def handled(app: ASGIApp, handlers: ExceptionHandlers | None) -> ASGIApp:
    """An application inside a user's exception handlers; the application itself where there are none.

    Args:
        app: The application.
        handlers: Functions or close codes, by class of exceptions or HTTP status.

    Raises:
        TypeError: A key or a handler cannot be one.
        ValueError: A close code may not be sent.
    """
    return Handled(app, table_of(handlers)) if handlers else app


class ExceptionMiddleware(Handled):
    """Answers exceptions by their handlers; the innermost middleware of an `App`.

    `HTTPException` and `WebSocketException` have handlers from the start, which Starlette's exceptions of these names
    meet too, and so have invalid parameters: 422, or a close with 1008. On a WebSocket, a response that a handler
    returns is sent as a denial response before `accept` (a plain refusal where the server cannot); an accepted
    connection that the handler leaves open is closed with the code of the exception (`end_websocket`).

    Args:
        app: The application to wrap.
        handlers: Exception handlers by exception class or HTTP status; they get the `Request` or `WebSocket` and the
            exception. A number is short for one that closes with this code.
        debug: Taken as Starlette does; changes nothing.

    Raises:
        TypeError: A key is neither, or a handler cannot be called.
        ValueError: A close code may not be sent.
    """

    def __init__(self, app: ASGIApp, handlers: ExceptionHandlers | None = None, debug: bool = False) -> None:
        self.debug = debug
        self._handlers: dict[Any, ExceptionHandler | CloseWith] = {
            HTTPException: self.http_exception,
            WebSocketException: self.websocket_exception,
            RequestValidationError: self.request_validation_error,
            WebSocketRequestValidationError: self.websocket_validation_error,
            **table_of(handlers),
        }
        super().__init__(app, self._handlers)
        self._is_ours = type(self) is ExceptionMiddleware and not handlers

    def add_exception_handler(
        self, exc_class_or_status_code: int | type[Exception], handler: ExceptionHandler | int
    ) -> None:
        """Register a handler for an exception class and those below it, or for an HTTP status.

        Args:
            exc_class_or_status_code: For example `ValueError`, or 404.
            handler: `async def` or `def` (run in a worker thread) with two parameters, the connection and the
                exception; or a close code.

        Raises:
            TypeError: The key is neither, or the handler cannot be called.
            ValueError: The close code may not be sent.
        """
        self._handlers[exc_class_or_status_code] = handler_of(exc_class_or_status_code, handler)
        self._is_ours = False

    async def http_exception(self, conn: Request[Any] | WebSocket[Any], exc: Any) -> Response:
        """Answer with the status, detail and headers of an `HTTPException`."""
        check_can_be_told(conn, exc)
        if exc.status_code in _WITHOUT_BODY:
            return Response(status_code=exc.status_code, headers=exc.headers)
        detail: object = exc.detail
        if not isinstance(detail, str):
            # FastAPI's programs give data as the detail, and this is how it answers.
            return JSONResponse({"detail": detail}, status_code=exc.status_code, headers=exc.headers)
        return PlainTextResponse(detail, status_code=exc.status_code, headers=exc.headers)

    async def websocket_exception(self, websocket: WebSocket[Any], exc: Any) -> None:
        """Close with the code and reason of a `WebSocketException`."""
        check_can_be_told(websocket, exc)
        if websocket.scope["type"] != "websocket":
            exc.add_note("Raised for an HTTP request, which has no close code; raise HTTPException, which serves both.")
            raise exc
        with suppress(*PEER_IS_GONE):
            await websocket.close(code=exc.code, reason=exc.reason)

    async def request_validation_error(self, request: Request[Any], exc: Any) -> Response:
        """Answer 422 with the errors of a `RequestValidationError`, in FastAPI's shape."""
        check_can_be_told(request, exc)
        return JSONResponse({"detail": jsonable_errors(exc.errors())}, status_code=422)

    async def websocket_validation_error(self, websocket: WebSocket[Any], exc: Any) -> None:
        """Log the errors of a `WebSocketRequestValidationError`, without what was sent, and close with 1008."""
        check_can_be_told(websocket, exc)
        logger.warning("a WebSocket to %r was refused: %s", websocket.scope.get("path", ""), exc)
        with suppress(*PEER_IS_GONE):
            await websocket.close(*ending_of(exc))
