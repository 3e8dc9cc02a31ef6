"""Tables of exception handlers, and those that are around one connection.

An application has a table, and so may a router, a mount and a route. Each stands inside the middleware of the same
place. As a connection comes in, each table that it passes becomes a `Level` that knows the one outside of it, and the
scope holds the innermost; an exception asks from there outwards.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trunkline.concurrency import is_async_callable, run_in_threadpool
from trunkline.exceptions import (
    HTTPException,
    RequestValidationError,
    TrunklineError,
    WebSocketException,
    WebSocketRequestValidationError,
)
from trunkline.middleware.endings import PEER_IS_GONE
from trunkline.middleware.kin import is_a, lineage
from trunkline.states import WebSocketDisconnect, WebSocketState
from trunkline.status import check_close_code
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from typing import TypeAlias

    from trunkline.requests import Request
    from trunkline.types import ExceptionHandler, ExceptionHandlers, Scope

    Table: TypeAlias = Mapping[Any, "ExceptionHandler | CloseWith"]

__all__ = [
    "HANDLERS",
    "CloseWith",
    "Level",
    "call_handler",
    "check_can_be_told",
    "enter",
    "handler_of",
    "is_answered",
    "level_of",
    "table_of",
]

HANDLERS = "trunkline.exception_handlers"

# These say by themselves how a connection ends, so what is registered for any exception does not get them.
_DECIDED = (
    HTTPException,
    RequestValidationError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketRequestValidationError,
)
_ANY = (TrunklineError, Exception)

_OPEN = (WebSocketState.CONNECTING, WebSocketState.CONNECTED)


class CloseWith:
    """The handler that a close code in a table stands for; it has no answer to an HTTP request.

    Args:
        code: The close code.

    Raises:
        ValueError: The code may not be sent.
    """

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        check_close_code(code)
        self.code = code

    async def __call__(self, websocket: WebSocket[Any], exc: Exception) -> None:
        check_can_be_told(websocket, exc)
        with suppress(*PEER_IS_GONE):
            await websocket.close(self.code)


def check_can_be_told(conn: Request[Any] | WebSocket[Any], exc: Exception) -> None:
    """Raise an exception that came after the application had ended its side: answering it would swallow it."""
    if isinstance(conn, WebSocket) and conn.application_state not in _OPEN:
        raise exc


def handler_of(key: Any, handler: Any) -> ExceptionHandler | CloseWith:
    """What stands in a table for a handler; what could not work is refused.

    Args:
        key: The class of exceptions or the HTTP status.
        handler: The function, or the close code.

    Raises:
        TypeError: The key is neither, or the handler cannot be called.
        ValueError: The close code may not be sent.
    """
    by_class = isinstance(key, type) and issubclass(key, Exception)
    if not by_class and (not isinstance(key, int) or isinstance(key, bool)):
        raise TypeError(
            f"an exception handler is registered for a class of exceptions (ValueError) or an HTTP status (404), "
            f"but got {key!r}"
        )
    if isinstance(handler, int) and not isinstance(handler, bool):
        return CloseWith(handler)
    if not callable(handler):
        raise TypeError(
            "an exception handler is a function of the connection and the exception, or a close code (4000), but got "
            f"{handler!r}"
        )
    made: ExceptionHandler = handler
    return made


def table_of(handlers: ExceptionHandlers | None) -> dict[Any, ExceptionHandler | CloseWith]:
    """The table of a user's handlers.

    Args:
        handlers: Functions or close codes, by class of exceptions or HTTP status.

    Raises:
        TypeError: A key or a handler cannot be one.
        ValueError: A close code may not be sent.
    """
    return {key: handler_of(key, handler) for key, handler in (handlers or {}).items()}


class Level:
    """A table as one connection meets it.

    Args:
        table: The handlers.
        outer: The level around this one.
        is_ours: Whether a program has added nothing to the table.

    Attributes:
        settled: An exception that has been looked at, and passes from now on.
    """

    __slots__ = ("_outer", "_table", "is_ours", "settled")

    def __init__(self, table: Table, outer: Level | None = None, *, is_ours: bool = False) -> None:
        self._table = table
        self._outer = outer
        self.is_ours = is_ours
        self.settled: Exception | None = None

    def outwards(self) -> Iterator[Level]:
        """This one and those around it, nearest first."""
        level: Level | None = self
        while level is not None:
            yield level
            level = level._outer

    def find(
        self, exc: Exception, protocol: str, asked: Collection[ExceptionHandler | CloseWith] = ()
    ) -> ExceptionHandler | CloseWith | None:
        """The nearest handler for an exception.

        Args:
            exc: The exception.
            protocol: `"http"`, for which close codes say nothing, or `"websocket"`.
            asked: The handlers that have been asked already; the next table counts where one of them is found.
        """
        keys = tuple(_keys(exc))
        found = (level._find(keys, protocol) for level in self.outwards())
        return next((handler for handler in found if handler is not None and handler not in asked), None)

    def _find(self, keys: Iterable[Any], protocol: str) -> ExceptionHandler | CloseWith | None:
        handlers = (self._table[key] for key in keys if key in self._table)
        return next((one for one in handlers if protocol == "websocket" or not isinstance(one, CloseWith)), None)


def _keys(exc: Exception) -> Iterator[Any]:
    """What a table is asked for: the status first, then the class and those above it."""
    if is_a(exc, HTTPException):
        yield exc.status_code  # type: ignore[attr-defined]  # Starlette's have it too
    is_decided = any(is_a(exc, kind) for kind in _DECIDED)
    for cls in lineage(exc):
        if not (is_decided and cls in _ANY):
            yield cls


def enter(scope: Scope, table: Table, *, is_ours: bool = False) -> Level:
    """The level of a table that a connection comes to; what is inside finds it with `level_of`."""
    level = scope[HANDLERS] = Level(table, scope.get(HANDLERS), is_ours=is_ours)
    return level


def level_of(scope: Scope) -> Level:
    """The innermost level of a connection; one that has no handlers where nobody has entered any."""
    return scope.get(HANDLERS) or Level({}, is_ours=True)


def is_answered(scope: Scope, exc: Exception) -> bool:
    """Whether somebody around a connection has a handler for an exception."""
    return level_of(scope).find(exc, scope["type"]) is not None


async def call_handler(handler: ExceptionHandler, conn: Request[Any] | WebSocket[Any], exc: Exception) -> Any:
    """Run an exception handler: a `def` one in a worker thread, so that it may block."""
    if is_async_callable(handler):
        return await handler(conn, exc)
    return await run_in_threadpool(handler, conn, exc)
