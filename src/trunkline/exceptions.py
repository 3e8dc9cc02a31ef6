"""The root of trunkline's exceptions, and those that an endpoint raises to refuse or end a connection."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "HTTPException",
    "RequestValidationError",
    "TrunklineError",
    "ValidationException",
    "WebSocketException",
    "WebSocketRequestValidationError",
]


class TrunklineError(Exception):
    """The root of every exception that trunkline defines."""


def _phrase(status_code: int) -> str:
    try:
        return HTTPStatus(status_code).phrase
    except ValueError:
        return ""


class HTTPException(TrunklineError):
    """Raised by an endpoint or a dependency to answer with an HTTP error.

    On a WebSocket route it becomes a denial response before `accept`, and a close with the code mapped from the
    status after it.

    Args:
        status_code: The HTTP status, for example 404.
        detail: The text of the answer; the phrase of the status when left out.
        headers: Headers of the answer.
    """

    def __init__(self, status_code: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.status_code = status_code
        self.detail = _phrase(status_code) if detail is None else detail
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status_code}: {self.detail}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(status_code={self.status_code!r}, detail={self.detail!r})"


class WebSocketException(TrunklineError):
    """Raised by an endpoint or a dependency to end a WebSocket with a close code.

    Before `accept` the handshake is refused (HTTP 403 on the wire, as ASGI says for a close before accept).

    Args:
        code: A close code that may be sent (RFC 6455 section 7.4), for example 1008.
        reason: Text for the client, cut to 123 bytes of UTF-8 when it is sent.
    """

    def __init__(self, code: int, reason: str | None = None) -> None:
        self.code = code
        self.reason = reason or ""

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, reason={self.reason!r})"


# How much of the errors of one connection is written out.
_MAX_LINES = 10
_MAX_LINE = 200


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


class ValidationException(TrunklineError):
    """Raised when the parameters of a connection are not what its endpoint and its dependencies ask for."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        self._errors = errors

    def errors(self) -> Sequence[Mapping[str, Any]]:
        """One mapping for each error, with `type`, `loc`, `msg`, `input` and sometimes `ctx`, as pydantic has them."""
        return self._errors

    def __str__(self) -> str:
        # Without the input, which may be a token: this text goes to logs. Names may be the client's, too.
        count = len(self._errors)
        lines = [f"{'.'.join(map(str, error['loc']))}: {error['msg']} ({error['type']})" for error in self._errors]
        shown = [_printable(line[:_MAX_LINE]) for line in lines[:_MAX_LINES]]
        more = [f"and {count - _MAX_LINES} more"] if count > _MAX_LINES else []
        return "\n  ".join([f"{count} invalid parameter{'s' if count > 1 else ''}", *shown, *more])


class RequestValidationError(ValidationException):
    """An HTTP request with invalid parameters: answered with 422, unless there is a handler for it.

    Args:
        errors: One mapping for each error.
        body: The body where it was parsed, which trunkline does not do; FastAPI's handlers look at it.
    """

    def __init__(self, errors: Sequence[Mapping[str, Any]], *, body: Any = None) -> None:
        super().__init__(errors)
        self.body = body


class WebSocketRequestValidationError(ValidationException):
    """A WebSocket whose handshake has invalid parameters: closed with 1008, unless there is a handler for it.

    Args:
        errors: One mapping for each error.
    """
