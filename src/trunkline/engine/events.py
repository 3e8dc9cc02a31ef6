"""What the codec tells of besides messages: control frames, and the violation that ends a connection.

Both codecs make their events here, so that they cannot differ in a word. A `Violation` is the close frame to send:
its code and its reason. Nothing follows a `Close` or a `Violation`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from trunkline.exceptions import TrunklineError
from trunkline.status import check_close_code

__all__ = [
    "BadData",
    "Close",
    "Event",
    "Ping",
    "Pong",
    "TooBig",
    "Violation",
    "close_event",
    "control_event",
    "too_big",
]


class Ping(NamedTuple):
    """A ping, to be answered by a pong with the same payload (RFC 6455 section 5.5.2)."""

    payload: bytes


class Pong(NamedTuple):
    """A pong: the answer to a ping of ours, or unasked for (RFC 6455 section 5.5.3)."""

    payload: bytes


class Close(NamedTuple):
    """The client's close frame; `code` is 1005 when the frame is empty (RFC 6455 section 7.1.5)."""

    code: int
    reason: str


class Violation(NamedTuple):
    """The client broke the protocol or a limit: the close code and the reason to answer with."""

    code: int
    reason: str


Event: TypeAlias = Ping | Pong | Close | Violation


class TooBig(TrunklineError):
    """Raised by an `inflate` function when the message grows over the limit: 1009."""


class BadData(TrunklineError):
    """Raised by an `inflate` function when the data is not what deflate produces: 1007."""


# The order in which a header is checked: its first two bytes, then its length, as soon as each is there.
RESERVED_BIT = Violation(1002, "a reserved bit is set that no negotiated extension defines (RFC 6455 5.2)")
UNKNOWN_OPCODE = Violation(1002, "unknown opcode: 0, 1, 2, 8, 9 or 10 is expected (RFC 6455 5.2)")
UNMASKED = Violation(1002, "the frame is not masked, as every frame of a client must be (RFC 6455 5.1)")
FRAGMENTED_CONTROL = Violation(1002, "a control frame may not be fragmented (RFC 6455 5.5)")
LONG_CONTROL = Violation(1002, "a control frame carries 125 bytes at most (RFC 6455 5.5)")
LONE_CONTINUATION = Violation(1002, "a continuation frame came, but no message is to be continued (RFC 6455 5.4)")
UNFINISHED_MESSAGE = Violation(1002, "a message began before the fragmented one ended (RFC 6455 5.4)")
TOP_BIT = Violation(1002, "the top bit of a payload length must be 0 (RFC 6455 5.2)")
NOT_MINIMAL = Violation(1002, "a payload length must take the fewest bytes (RFC 6455 5.2)")

BAD_UTF8 = Violation(1007, "a text message is not UTF-8 (RFC 6455 8.1)")
BAD_DEFLATE = Violation(1007, "the compressed data of a message is invalid (RFC 7692 7.2.2)")
SHORT_CLOSE = Violation(1002, "a close frame has no payload, or a code of two bytes (RFC 6455 5.5.1)")
BAD_CLOSE_REASON = Violation(1007, "the reason of a close frame is not UTF-8 (RFC 6455 5.5.1)")
BAD_CLOSE_CODE = Violation(1002, "a close frame has a code that is never sent (RFC 6455 7.4)")


def too_big(limit: int) -> Violation:
    """A message of more than `limit` bytes."""
    return Violation(1009, f"a message has {limit} bytes at most")


def close_event(payload: bytes) -> Close | Violation:
    """The payload of a close frame, read and checked (RFC 6455 sections 5.5.1 and 7.4)."""
    if not payload:
        return Close(1005, "")
    if len(payload) == 1:
        return SHORT_CLOSE
    code = int.from_bytes(payload[:2])
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError:
        return BAD_CLOSE_REASON
    try:
        check_close_code(code)
    except ValueError:
        return BAD_CLOSE_CODE
    return Close(code, reason)


_CONTROL = {8: close_event, 9: Ping, 10: Pong}


def control_event(opcode: int, payload: bytes) -> Event:
    """The event of a whole control frame; its opcode is 8, 9 or 10."""
    return _CONTROL[opcode](payload)
