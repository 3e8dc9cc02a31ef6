"""HTTP status codes and WebSocket close codes by name, and what each close code means.

Sources: RFC 9110 and the IANA registry of HTTP status codes; RFC 6455 section 7.4 and the IANA registry of WebSocket
close codes. Codes 3000-3999 are registered by libraries and frameworks, 4000-4999 are private (RFC 6455 section 7.4.2).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLOSE_CODES",
    "HTTP_100_CONTINUE",
    "HTTP_101_SWITCHING_PROTOCOLS",
    "HTTP_102_PROCESSING",
    "HTTP_103_EARLY_HINTS",
    "HTTP_200_OK",
    "HTTP_201_CREATED",
    "HTTP_202_ACCEPTED",
    "HTTP_203_NON_AUTHORITATIVE_INFORMATION",
    "HTTP_204_NO_CONTENT",
    "HTTP_205_RESET_CONTENT",
    "HTTP_206_PARTIAL_CONTENT",
    "HTTP_207_MULTI_STATUS",
    "HTTP_208_ALREADY_REPORTED",
    "HTTP_226_IM_USED",
    "HTTP_300_MULTIPLE_CHOICES",
    "HTTP_301_MOVED_PERMANENTLY",
    "HTTP_302_FOUND",
    "HTTP_303_SEE_OTHER",
    "HTTP_304_NOT_MODIFIED",
    "HTTP_305_USE_PROXY",
    "HTTP_306_RESERVED",
    "HTTP_307_TEMPORARY_REDIRECT",
    "HTTP_308_PERMANENT_REDIRECT",
    "HTTP_400_BAD_REQUEST",
    "HTTP_401_UNAUTHORIZED",
    "HTTP_402_PAYMENT_REQUIRED",
    "HTTP_403_FORBIDDEN",
    "HTTP_404_NOT_FOUND",
    "HTTP_405_METHOD_NOT_ALLOWED",
    "HTTP_406_NOT_ACCEPTABLE",
    "HTTP_407_PROXY_AUTHENTICATION_REQUIRED",
    "HTTP_408_REQUEST_TIMEOUT",
    "HTTP_409_CONFLICT",
    "HTTP_410_GONE",
    "HTTP_411_LENGTH_REQUIRED",
    "HTTP_412_PRECONDITION_FAILED",
    "HTTP_413_CONTENT_TOO_LARGE",
    "HTTP_414_URI_TOO_LONG",
    "HTTP_415_UNSUPPORTED_MEDIA_TYPE",
    "HTTP_416_RANGE_NOT_SATISFIABLE",
    "HTTP_417_EXPECTATION_FAILED",
    "HTTP_418_IM_A_TEAPOT",
    "HTTP_421_MISDIRECTED_REQUEST",
    "HTTP_422_UNPROCESSABLE_CONTENT",
    "HTTP_423_LOCKED",
    "HTTP_424_FAILED_DEPENDENCY",
    "HTTP_425_TOO_EARLY",
    "HTTP_426_UPGRADE_REQUIRED",
    "HTTP_428_PRECONDITION_REQUIRED",
    "HTTP_429_TOO_MANY_REQUESTS",
    "HTTP_431_REQUEST_HEADER_FIELDS_TOO_LARGE",
    "HTTP_451_UNAVAILABLE_FOR_LEGAL_REASONS",
    "HTTP_500_INTERNAL_SERVER_ERROR",
    "HTTP_501_NOT_IMPLEMENTED",
    "HTTP_502_BAD_GATEWAY",
    "HTTP_503_SERVICE_UNAVAILABLE",
    "HTTP_504_GATEWAY_TIMEOUT",
    "HTTP_505_HTTP_VERSION_NOT_SUPPORTED",
    "HTTP_506_VARIANT_ALSO_NEGOTIATES",
    "HTTP_507_INSUFFICIENT_STORAGE",
    "HTTP_508_LOOP_DETECTED",
    "HTTP_510_NOT_EXTENDED",
    "HTTP_511_NETWORK_AUTHENTICATION_REQUIRED",
    "WS_1000_NORMAL_CLOSURE",
    "WS_1001_GOING_AWAY",
    "WS_1002_PROTOCOL_ERROR",
    "WS_1003_UNSUPPORTED_DATA",
    "WS_1005_NO_STATUS_RCVD",
    "WS_1006_ABNORMAL_CLOSURE",
    "WS_1007_INVALID_FRAME_PAYLOAD_DATA",
    "WS_1008_POLICY_VIOLATION",
    "WS_1009_MESSAGE_TOO_BIG",
    "WS_1010_MANDATORY_EXT",
    "WS_1011_INTERNAL_ERROR",
    "WS_1012_SERVICE_RESTART",
    "WS_1013_TRY_AGAIN_LATER",
    "WS_1014_BAD_GATEWAY",
    "WS_1015_TLS_HANDSHAKE",
    "CloseCode",
    "check_close_code",
    "close_code_name",
    "cut_reason",
]

HTTP_100_CONTINUE = 100
HTTP_101_SWITCHING_PROTOCOLS = 101
HTTP_102_PROCESSING = 102
HTTP_103_EARLY_HINTS = 103
HTTP_200_OK = 200
HTTP_201_CREATED = 201
HTTP_202_ACCEPTED = 202
HTTP_203_NON_AUTHORITATIVE_INFORMATION = 203
HTTP_204_NO_CONTENT = 204
HTTP_205_RESET_CONTENT = 205
HTTP_206_PARTIAL_CONTENT = 206
HTTP_207_MULTI_STATUS = 207
HTTP_208_ALREADY_REPORTED = 208
HTTP_226_IM_USED = 226
HTTP_300_MULTIPLE_CHOICES = 300
HTTP_301_MOVED_PERMANENTLY = 301
HTTP_302_FOUND = 302
HTTP_303_SEE_OTHER = 303
HTTP_304_NOT_MODIFIED = 304
HTTP_305_USE_PROXY = 305
HTTP_306_RESERVED = 306
HTTP_307_TEMPORARY_REDIRECT = 307
HTTP_308_PERMANENT_REDIRECT = 308
HTTP_400_BAD_REQUEST = 400
HTTP_401_UNAUTHORIZED = 401
HTTP_402_PAYMENT_REQUIRED = 402
HTTP_403_FORBIDDEN = 403
HTTP_404_NOT_FOUND = 404
HTTP_405_METHOD_NOT_ALLOWED = 405
HTTP_406_NOT_ACCEPTABLE = 406
HTTP_407_PROXY_AUTHENTICATION_REQUIRED = 407
HTTP_408_REQUEST_TIMEOUT = 408
HTTP_409_CONFLICT = 409
HTTP_410_GONE = 410
HTTP_411_LENGTH_REQUIRED = 411
HTTP_412_PRECONDITION_FAILED = 412
HTTP_413_CONTENT_TOO_LARGE = 413
HTTP_414_URI_TOO_LONG = 414
HTTP_415_UNSUPPORTED_MEDIA_TYPE = 415
HTTP_416_RANGE_NOT_SATISFIABLE = 416
HTTP_417_EXPECTATION_FAILED = 417
HTTP_418_IM_A_TEAPOT = 418
HTTP_421_MISDIRECTED_REQUEST = 421
HTTP_422_UNPROCESSABLE_CONTENT = 422
HTTP_423_LOCKED = 423
HTTP_424_FAILED_DEPENDENCY = 424
HTTP_425_TOO_EARLY = 425
HTTP_426_UPGRADE_REQUIRED = 426
HTTP_428_PRECONDITION_REQUIRED = 428
HTTP_429_TOO_MANY_REQUESTS = 429
HTTP_431_REQUEST_HEADER_FIELDS_TOO_LARGE = 431
HTTP_451_UNAVAILABLE_FOR_LEGAL_REASONS = 451
HTTP_500_INTERNAL_SERVER_ERROR = 500
HTTP_501_NOT_IMPLEMENTED = 501
HTTP_502_BAD_GATEWAY = 502
HTTP_503_SERVICE_UNAVAILABLE = 503
HTTP_504_GATEWAY_TIMEOUT = 504
HTTP_505_HTTP_VERSION_NOT_SUPPORTED = 505
HTTP_506_VARIANT_ALSO_NEGOTIATES = 506
HTTP_507_INSUFFICIENT_STORAGE = 507
HTTP_508_LOOP_DETECTED = 508
HTTP_510_NOT_EXTENDED = 510
HTTP_511_NETWORK_AUTHENTICATION_REQUIRED = 511
WS_1000_NORMAL_CLOSURE = 1000
WS_1001_GOING_AWAY = 1001
WS_1002_PROTOCOL_ERROR = 1002
WS_1003_UNSUPPORTED_DATA = 1003
WS_1005_NO_STATUS_RCVD = 1005
WS_1006_ABNORMAL_CLOSURE = 1006
WS_1007_INVALID_FRAME_PAYLOAD_DATA = 1007
WS_1008_POLICY_VIOLATION = 1008
WS_1009_MESSAGE_TOO_BIG = 1009
WS_1010_MANDATORY_EXT = 1010
WS_1011_INTERNAL_ERROR = 1011
WS_1012_SERVICE_RESTART = 1012
WS_1013_TRY_AGAIN_LATER = 1013
WS_1014_BAD_GATEWAY = 1014
WS_1015_TLS_HANDSHAKE = 1015

_RENAMED = {
    "HTTP_413_REQUEST_ENTITY_TOO_LARGE": "HTTP_413_CONTENT_TOO_LARGE",
    "HTTP_414_REQUEST_URI_TOO_LONG": "HTTP_414_URI_TOO_LONG",
    "HTTP_416_REQUESTED_RANGE_NOT_SATISFIABLE": "HTTP_416_RANGE_NOT_SATISFIABLE",
    "HTTP_422_UNPROCESSABLE_ENTITY": "HTTP_422_UNPROCESSABLE_CONTENT",
}


def __getattr__(name: str) -> int:
    current = _RENAMED.get(name)
    if current is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{name!r} is the old name of {current!r}: use that.", DeprecationWarning, stacklevel=2)
    code: int = globals()[current]
    return code


class CloseCode(NamedTuple):
    """One close code.

    Attributes:
        name: The name of the registry.
        meaning: What it tells the other side.
        sendable: Whether a close frame may carry it (RFC 6455 section 7.4.1).
        reconnect: Whether a client does well to connect again, after a random delay.
    """

    name: str
    meaning: str
    sendable: bool = True
    reconnect: bool = False


CLOSE_CODES: Mapping[int, CloseCode] = {
    1000: CloseCode("normal closure", "the purpose of the connection is fulfilled"),
    1001: CloseCode("going away", "the server goes down, or the browser leaves the page", reconnect=True),
    1002: CloseCode("protocol error", "the peer broke the protocol"),
    1003: CloseCode("unsupported data", "a text message came where binary is wanted, or the other way round"),
    1005: CloseCode("no status received", "the close frame had no code", sendable=False),
    1006: CloseCode("abnormal closure", "the connection was lost without a close frame", False, True),
    1007: CloseCode("invalid payload data", "the data does not fit its type: bad UTF-8, bad JSON"),
    1008: CloseCode("policy violation", "refused for a reason that has no code of its own"),
    1009: CloseCode("message too big", "a message is over the limit"),
    1010: CloseCode("mandatory extension", "the client needs an extension that the server did not take"),
    1011: CloseCode("internal error", "the server met a condition it did not expect", reconnect=True),
    1012: CloseCode("service restart", "the server restarts", reconnect=True),
    1013: CloseCode("try again later", "the server is overloaded, or the client reads too slowly", reconnect=True),
    1014: CloseCode("bad gateway", "a proxy got an invalid answer from upstream", reconnect=True),
    1015: CloseCode("TLS handshake", "the TLS handshake failed", sendable=False),
    3000: CloseCode("unauthorized", "credentials are missing or invalid"),
    3003: CloseCode("forbidden", "the credentials do not allow this"),
    3008: CloseCode("timeout", "the client took too long", reconnect=True),
}

_REGISTERED_BY_LIBRARIES = range(3000, 4000)
_PRIVATE = range(4000, 5000)
_SENDABLE = frozenset(code for code, known in CLOSE_CODES.items() if known.sendable).union(
    _REGISTERED_BY_LIBRARIES, _PRIVATE
)


def close_code_name(code: int) -> str:
    """The registry's name of a close code, for log lines and messages."""
    if code in CLOSE_CODES:
        return CLOSE_CODES[code].name
    if code in _REGISTERED_BY_LIBRARIES:
        return "registered by a library"
    if code in _PRIVATE:
        return "private use"
    return "unknown"


def check_close_code(code: int) -> None:
    """Refuse a code that no close frame may carry.

    Raises:
        ValueError: The code is reserved or out of range (RFC 6455 sections 7.4.1 and 7.4.2).
    """
    if code in _SENDABLE:
        return
    known = CLOSE_CODES.get(code)
    what = f"{code} ({known.name}) is for local use and is never sent" if known else f"{code} is not one of them"
    raise ValueError(
        f"a close code that may be sent is expected (1000-1003, 1007-1014 or 3000-4999), but {what}; "
        "use 1000 for a normal end, 1008 for a refusal, 4000-4999 for codes of your own"
    )


def cut_reason(reason: str, limit: int = 123) -> str:
    """Cut a close reason to what fits a control frame beside the code: 123 bytes of UTF-8 (RFC 6455 section 5.5).

    Args:
        reason: The text.
        limit: Bytes of UTF-8 at most; the cut is at a character.
    """
    if len(reason) * 4 <= limit:
        return reason
    return reason.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
