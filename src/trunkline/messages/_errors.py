"""What is wrong with a message, for the endpoint and for the client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from trunkline.exceptions import TrunklineError
from trunkline.status import (
    WS_1003_UNSUPPORTED_DATA,
    WS_1007_INVALID_FRAME_PAYLOAD_DATA,
    WS_1008_POLICY_VIOLATION,
    check_close_code,
)

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:  # pydantic needs what a TypedDict inherits, which older ones forget
    from typing_extensions import TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CodecError", "ErrorDetail", "ErrorMessage", "InvalidMessage", "undecodable"]

# What an error tells is for a developer to read, and some of it comes from the client: never much of it.
MAX_ERRORS = 10
MAX_DEPTH = 20
MAX_TEXT = 200

_REASONS: Mapping[int, str] = {
    WS_1003_UNSUPPORTED_DATA: "the message is of the wrong kind, text or binary",
    WS_1007_INVALID_FRAME_PAYLOAD_DATA: "the message cannot be decoded",
    WS_1008_POLICY_VIOLATION: "the message is not of an expected type",
}


class ErrorDetail(TypedDict):
    """One thing that is wrong with a message.

    Attributes:
        type: What kind of error, for programs: `"missing"`, `"int_parsing"`, `"json_invalid"`, ...
        loc: Where, as names and indexes from the outside in; empty for the message as a whole.
        msg: What was expected, for people.
    """

    type: str
    loc: list[str | int]
    msg: str


class ErrorMessage(TypedDict):
    """The message that answers an invalid one."""

    type: Literal["error"]
    code: Literal["invalid_message"]
    errors: list[ErrorDetail]


class CodecError(TrunklineError, TypeError):
    """Raised for a type or a value that a codec cannot handle, and for a codec that cannot be used."""


class InvalidMessage(TrunklineError, ValueError):
    """Raised for a message of the client that cannot be decoded, or is not of an expected type.

    Not caught by the endpoint, it closes the connection with its close code.

    Args:
        errors: What is wrong. Kept are the first 10, texts of 200 characters, locations 20 deep.
        close_code: 1007 for what cannot be decoded at all, 1003 for a text message where binary ones are expected or
            the other way round, else 1008 (RFC 6455 section 7.4.1).

    Attributes:
        errors: What is wrong, cut as said above.
        close_code: As given.

    Raises:
        ValueError: The close code may not be sent.
    """

    def __init__(self, errors: Iterable[ErrorDetail], close_code: int = WS_1008_POLICY_VIOLATION) -> None:
        check_close_code(close_code)
        self.errors = [_cut(detail) for detail, _ in zip(errors, range(MAX_ERRORS), strict=False)]
        self.close_code = close_code

    @property
    def reason(self) -> str:
        """The reason of a close for this: fixed words, nothing of the message."""
        return _REASONS.get(self.close_code, "")

    @property
    def answer(self) -> ErrorMessage:
        """What tells the client."""
        return {"type": "error", "code": "invalid_message", "errors": self.errors}

    def __str__(self) -> str:
        details = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in self.errors)
        return f"invalid message: {'; '.join(details)}"


def _cut(detail: ErrorDetail) -> ErrorDetail:
    loc = [part[:MAX_TEXT] if isinstance(part, str) else part for part in detail["loc"][:MAX_DEPTH]]
    return {"type": detail["type"][:MAX_TEXT], "loc": loc, "msg": detail["msg"][:MAX_TEXT]}


def undecodable(kind: str, msg: str) -> InvalidMessage:
    """The error for bytes or a text that are not of the format."""
    return InvalidMessage([{"type": kind, "loc": [], "msg": msg}], WS_1007_INVALID_FRAME_PAYLOAD_DATA)
