"""How a WebSocket ends when its endpoint has ended: the close code that an exception becomes, and the close itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio

from trunkline.exceptions import HTTPException, WebSocketException, WebSocketRequestValidationError
from trunkline.messages import InvalidMessage
from trunkline.middleware.kin import is_a, lineage
from trunkline.states import (
    CloseInfo,
    WebSocketDisconnect,
    WebSocketDisconnected,
    WebSocketMessageTypeError,
    WebSocketPayloadError,
    WebSocketState,
)
from trunkline.status import check_close_code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.websockets import WebSocket

__all__ = ["end_websocket", "ending_of"]

# What a send raises when there is nobody left to send to.
PEER_IS_GONE = (OSError, WebSocketDisconnect, WebSocketDisconnected)

_INTERNAL_ERROR = CloseInfo(1011, "")
_POLICY_VIOLATION = 1008

_BY_STATUS: Mapping[int, int] = {401: 3000, 403: 3003, 408: 3008}
_WANTED = {"text": "a text message was expected", "bytes": "a binary message was expected"}

# Seconds that a cancelled endpoint's close frame may take, so that a stalled peer does not hold up a shutdown.
_LAST_WORD = 1.0


def _of_http_exception(exc: HTTPException) -> CloseInfo:
    refused = 400 <= exc.status_code < 500
    code = _BY_STATUS.get(exc.status_code, _POLICY_VIOLATION if refused else _INTERNAL_ERROR.code)
    detail: object = exc.detail
    return CloseInfo(code, detail if isinstance(detail, str) else "")


def _of_websocket_exception(exc: WebSocketException) -> CloseInfo:
    try:
        check_close_code(exc.code)
    except ValueError:
        return _INTERNAL_ERROR
    return CloseInfo(exc.code, exc.reason)


def _of_message_type_error(exc: WebSocketMessageTypeError) -> CloseInfo:
    return CloseInfo(1003, _WANTED[exc.expected])


def _of_json_error(_: json.JSONDecodeError | WebSocketPayloadError) -> CloseInfo:
    return CloseInfo(1007, "the message is not valid JSON")


def _of_invalid_message(exc: InvalidMessage) -> CloseInfo:
    return CloseInfo(exc.close_code, exc.reason)


def _of_validation_error(_: WebSocketRequestValidationError) -> CloseInfo:
    return CloseInfo(_POLICY_VIOLATION, "the parameters of the handshake are invalid")


_ENDINGS: Mapping[type[BaseException], Any] = {
    WebSocketException: _of_websocket_exception,
    HTTPException: _of_http_exception,
    WebSocketMessageTypeError: _of_message_type_error,
    json.JSONDecodeError: _of_json_error,
    WebSocketPayloadError: _of_json_error,
    InvalidMessage: _of_invalid_message,
    WebSocketRequestValidationError: _of_validation_error,
}


def ending_of(exc: BaseException) -> CloseInfo:
    """The close code and reason that tell the client of an exception, without any of our internals.

    | exception | code |
    |---|---|
    | `WebSocketException` | its own |
    | `HTTPException` | 401: 3000, 403: 3003, 408: 3008, other 4xx: 1008, else 1011; its detail is the reason |
    | `WebSocketMessageTypeError` | 1003 |
    | `json.JSONDecodeError`, `WebSocketPayloadError` | 1007 |
    | `InvalidMessage` | its own: 1003, 1007 or 1008 |
    | `WebSocketRequestValidationError` | 1008 |
    | a group of one | as that one |
    | any other | 1011 without a reason |

    Args:
        exc: The exception that ended the endpoint.
    """
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    for kind in lineage(exc):
        if kind in _ENDINGS:
            info: CloseInfo = _ENDINGS[kind](exc)
            return info
    return _INTERNAL_ERROR


async def end_websocket(websocket: WebSocket[Any], exc: BaseException | None) -> None:
    """Close what an endpoint has left open: with 1000 after a return, else with the code of its exception.

    Sends only where the application has accepted and not closed, and the client has not gone. Never raises for a
    client that goes meanwhile, so that it cannot hide `exc`, which the caller raises on.

    Args:
        websocket: The endpoint's own WebSocket, because its states tell what is still to be sent.
        exc: What left the endpoint; None for a return. `WebSocketDisconnect` is a normal end: nothing is sent.
    """
    if isinstance(exc, GeneratorExit):
        return  # a coroutine that is being thrown away may await nothing more
    await websocket._expulsion_done()
    if websocket.application_state is not WebSocketState.CONNECTED or websocket.closed:
        return
    if is_a(exc, WebSocketDisconnect):
        return
    code, reason = CloseInfo(1000, "") if exc is None else ending_of(exc)
    try:
        if exc is None or isinstance(exc, Exception):
            await websocket.close(code, reason)
            return
        # Cancelled: an await would only be cancelled again.
        with anyio.move_on_after(_LAST_WORD, shield=True):
            await websocket.close(code, reason)
    except PEER_IS_GONE:
        pass
