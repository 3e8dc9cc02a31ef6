"""What a strict server refuses in the messages that an application sends, beside their order.

The order is the business of `trunkline.states`. Here are the types and values of the fields, from the ASGI
specification for WebSockets (`specs/www.rst`) and RFC 6455: wrong types raise `TypeError`, values that would break
the protocol `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

from trunkline.states import CONNECTING
from trunkline.status import check_close_code, cut_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.states import WebSocketState
    from trunkline.types import Message

_TYPES: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "websocket.accept": {"subprotocol": (str, NoneType), "headers": (Iterable,)},
    "websocket.send": {"text": (str, NoneType), "bytes": (bytes, NoneType)},
    "websocket.close": {"code": (int,), "reason": (str, NoneType)},
    "websocket.http.response.start": {"status": (int,), "headers": (Iterable,)},
    "websocket.http.response.body": {"body": (bytes,), "more_body": (bool,)},
}

_NAMES: Mapping[type, str] = {NoneType: "None", Iterable: "an iterable of (bytes, bytes)"}


def checked(message: Message, state: WebSocketState, offered: Sequence[str]) -> Message:
    """A copy of the message with its headers as a list; refuses what no server could put on the wire.

    Args:
        message: A message of a type that is allowed now.
        state: What the application has said before.
        offered: The subprotocols that the client offered.

    Raises:
        TypeError: A field has the wrong type, or a required one is missing.
        ValueError: A field has a value that the protocol forbids.
    """
    kind = message["type"]
    for field, types in _TYPES[kind].items():
        if field in message and not isinstance(message[field], types):
            names = " or ".join(_NAMES.get(type_, type_.__name__) for type_ in types)
            raise TypeError(f'expected "{field}" of {kind} to be {names}, but got {message[field]!r}')
    message = {**message, "headers": list(message.get("headers", ()))}
    rule = _RULES.get(kind)
    # A close before accept is an HTTP response, in which neither code nor reason is sent.
    if rule is not None and not (state is CONNECTING and kind == "websocket.close"):
        rule(message, offered)
    return message


def _check_accept(message: Message, offered: Sequence[str]) -> None:
    subprotocol = message.get("subprotocol")
    if subprotocol is not None and subprotocol not in offered:
        # RFC 6455 section 4.1: the client fails the connection.
        raise ValueError(
            f"expected a subprotocol that the client offered ({', '.join(offered) or 'it offered none'}), "
            f"but got {subprotocol!r}; use None to choose none"
        )
    names = _checked_header_names(message)
    if b"sec-websocket-protocol" in names:
        raise ValueError('"headers" of websocket.accept may not name sec-websocket-protocol; use "subprotocol"')


def _check_send(message: Message, offered: Sequence[str]) -> None:
    text, data = message.get("text"), message.get("bytes")
    if (text is None) is (data is None):
        raise ValueError(
            'expected exactly one of "text" and "bytes" of websocket.send to be given, '
            f"but got {'neither' if text is None else 'both'}"
        )
    if text is not None:
        text.encode()  # RFC 6455 section 5.6: a text message is UTF-8, so a lone surrogate cannot be sent


def _check_close(message: Message, offered: Sequence[str]) -> None:
    check_close_code(message.get("code", 1000))
    reason = message.get("reason") or ""
    if cut_reason(reason) != reason:
        raise ValueError(
            "expected a reason of at most 123 bytes of UTF-8 (RFC 6455 section 5.5), "
            f"but got {len(reason.encode('utf-8', 'replace'))}: {reason!r}"
        )


def _check_start(message: Message, offered: Sequence[str]) -> None:
    if "status" not in message:
        raise TypeError('expected "status" in websocket.http.response.start, but it is missing')
    _checked_header_names(message)


def _checked_header_names(message: Message) -> list[bytes]:
    return [_checked_header_name(header) for header in message["headers"]]


def _checked_header_name(header: Any) -> bytes:
    try:
        name, value = header
    except (TypeError, ValueError):
        name = value = None
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise TypeError(f"expected a header to be (bytes, bytes), but got {header!r}")
    if name != name.lower() or name.startswith(b":"):
        raise ValueError(f"expected a header name in lower case that does not start with a colon, but got {name!r}")
    if any(byte in b"\r\n\0" for byte in name + value):
        raise ValueError(f"expected a header without line breaks and NUL, but got {header!r}")
    return name


_RULES: Mapping[str, Callable[[Message, Sequence[str]], None]] = {
    "websocket.accept": _check_accept,
    "websocket.send": _check_send,
    "websocket.close": _check_close,
    "websocket.http.response.start": _check_start,
}
