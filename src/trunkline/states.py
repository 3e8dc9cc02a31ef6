"""The two state machines of a WebSocket over ASGI, as one table each, and the exceptions that speak of them.

A connection has two states that move independently: the *client's*, moved by the messages that the application
receives, and the *application's*, moved by the messages that it sends. Each row of a table names the messages
allowed in a state and the state that each leads to; whatever is not in the row is refused. An empty row is the end.

The only transition that depends on more than the message type is the body of a denial response: it ends the
connection unless `more_body` is true.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from trunkline.exceptions import TrunklineError
from trunkline.status import close_code_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.types import Message

__all__ = [
    "CloseInfo",
    "WebSocketDisconnect",
    "WebSocketDisconnected",
    "WebSocketMessageTypeError",
    "WebSocketPayloadError",
    "WebSocketState",
    "check_may_receive",
    "next_application_state",
    "next_client_state",
]


class WebSocketState(enum.Enum):
    """A side of a WebSocket: before the handshake is answered, open, ended, or answering with an HTTP response."""

    CONNECTING = 0
    CONNECTED = 1
    DISCONNECTED = 2
    RESPONSE = 3

    # The tables are keyed by state; an enumeration's own hash is a Python function.
    __hash__ = object.__hash__


class CloseInfo(NamedTuple):
    """How a connection ended: a close code (RFC 6455 section 7.4; 1006 for a lost connection) and the reason."""

    code: int
    reason: str


class WebSocketDisconnect(TrunklineError):
    """Raised when the client has gone. Meant to be caught; a normal end when it leaves an endpoint.

    Args:
        code: The close code of RFC 6455 section 7.4; 1005 for a close without one, 1006 for a lost connection.
        reason: The reason given in the close frame.
    """

    def __init__(self, code: int = 1000, reason: str | None = None) -> None:
        self.code = code
        self.reason = reason or ""

    def __str__(self) -> str:
        text = f"WebSocket closed: {self.code} ({close_code_name(self.code)})"
        return f"{text}: {self.reason}" if self.reason else text

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, reason={self.reason!r})"


class WebSocketDisconnected(TrunklineError, RuntimeError):
    """Raised for using a WebSocket that is not connected: before `accept`, or after its end."""


class WebSocketMessageTypeError(TrunklineError, KeyError):
    """Raised when a text message was asked for and a binary one came, or the other way round.

    A `KeyError` too, because the reference implementation lets that one out. Not caught by the endpoint, it closes
    the connection with 1003 (RFC 6455 section 7.4.1: a type of data that cannot be accepted).

    Args:
        expected: `"text"` or `"bytes"`: what the endpoint asked for.
        received: `"text"` or `"bytes"`: what the client sent, or `"nothing"`.
    """

    def __init__(self, expected: str, received: str) -> None:
        super().__init__(expected)
        self.expected = expected
        self.received = received

    def __str__(self) -> str:
        name = {"text": "text", "bytes": "binary"}
        remedy = {
            "text": 'use receive_bytes(), receive_json(mode="binary")',
            "bytes": "use receive_text(), receive_json()",
        }[self.expected]
        return (
            f"expected a {name[self.expected]} message, but the client sent {name.get(self.received, 'neither')}; "
            f"{remedy} or iterate over the websocket to take both"
        )


class WebSocketPayloadError(TrunklineError, UnicodeDecodeError):
    """Raised when a binary message that should be JSON is not UTF-8 (RFC 8259 section 8.1).

    Not caught by the endpoint, it closes the connection with 1007.
    """


CONNECTING = WebSocketState.CONNECTING
CONNECTED = WebSocketState.CONNECTED
DISCONNECTED = WebSocketState.DISCONNECTED
RESPONSE = WebSocketState.RESPONSE

_CLIENT: Mapping[WebSocketState, Mapping[str, WebSocketState]] = {
    CONNECTING: {"websocket.connect": CONNECTED},
    CONNECTED: {"websocket.receive": CONNECTED, "websocket.disconnect": DISCONNECTED},
    DISCONNECTED: {},
    RESPONSE: {},
}

_APPLICATION: Mapping[WebSocketState, Mapping[str, WebSocketState]] = {
    CONNECTING: {
        "websocket.accept": CONNECTED,
        "websocket.close": DISCONNECTED,
        "websocket.http.response.start": RESPONSE,
    },
    CONNECTED: {"websocket.send": CONNECTED, "websocket.close": DISCONNECTED},
    RESPONSE: {"websocket.http.response.body": DISCONNECTED},
    DISCONNECTED: {},
}


def _expected(types: Iterable[str], got: object) -> RuntimeError:
    *most, last = (f'"{type_}"' for type_ in types)
    wanted = f"{', '.join(most)} or {last}" if most else last
    return RuntimeError(f"Expected ASGI message {wanted}, but got {got!r}")


def check_may_receive(state: WebSocketState) -> None:
    """Refuse another receive after the end, before anything is awaited."""
    if not _CLIENT[state]:
        raise WebSocketDisconnected('Cannot call "receive" once a disconnect message has been received.')


def next_client_state(state: WebSocketState, message: Message) -> WebSocketState:
    """The client's state after the application received `message`.

    Raises:
        RuntimeError: The message is not allowed in this state; the text names those that are.
        WebSocketDisconnected: The disconnect message has been received before.
    """
    row = _CLIENT[state]
    following = row.get(message["type"])
    if following is None:
        check_may_receive(state)
        raise _expected(row, message["type"])
    return following


def next_application_state(state: WebSocketState, message: Message) -> WebSocketState:
    """The application's state after it sent `message`.

    Raises:
        RuntimeError: The message is not allowed in this state; the text names those that are.
        WebSocketDisconnected: The application has ended its side before.
    """
    row = _APPLICATION[state]
    following = row.get(message["type"])
    if following is None:
        if not row:
            raise WebSocketDisconnected('Cannot call "send" once a close message has been sent.')
        raise _expected(row, message["type"])
    if state is RESPONSE and message.get("more_body", False):
        return RESPONSE
    return following
