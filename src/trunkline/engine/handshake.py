"""The opening handshake of RFC 6455 section 4.2: the bytes of a request in, a checked request out, no I/O.

A `HandshakeReader` takes the bytes of a request head in any cut and returns one checked `HandshakeRequest`, or raises
a `HandshakeError` that is itself the answer.

True at all times: nothing that a client sends raises anything but `HandshakeError`; no byte behind the head is lost
(`HandshakeRequest.rest`); every byte is looked at a bounded number of times.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.engine.answers import (
    TOKEN,
    DenialResponse,
    accept_key,
    build_accept,
    build_refusal,
    is_token,
)
from trunkline.engine.scope import build_scope, client_address, server_address
from trunkline.exceptions import TrunklineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trunkline.engine.answers import HeaderPairs, Headers

__all__ = [
    "MAX_HEADERS",
    "MAX_HEAD_SIZE",
    "DenialResponse",
    "Extension",
    "HandshakeError",
    "HandshakeReader",
    "HandshakeRequest",
    "accept_key",
    "build_accept",
    "build_refusal",
    "build_scope",
    "client_address",
    "server_address",
]

MAX_HEAD_SIZE = 65_536
MAX_HEADERS = 256

# RFC 9110 section 5.5: a field value has no control character but the tab.
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\r\n") | {0x7F})
# RFC 9112 section 3.2: a path, or a whole URI (which a server must accept too), then the query; no fragment.
_match_target = re.compile(
    rb"(?=[^?])(?i:(?:http|ws)s?://[!-\"$-.0->@-~]+)?((?:/[!-\"$->@-~]*)?)(?:\?([!-\"$-~]*))?"
).fullmatch
# RFC 6455 section 4.2.1 (5): 16 bytes in base64, which always is 22 characters and the padding.
_is_key = re.compile(rb"[A-Za-z0-9+/]{22}==").fullmatch
_is_http_1 = re.compile(rb"HTTP/1\.([0-9])").fullmatch
# One extension or one parameter of it, with the delimiter behind it (RFC 6455 section 9.1).
_match_extension_part = re.compile(
    rb"[ \t]*(%b)[ \t]*(?:=[ \t]*(?:(%b)|\"((?:[^\"\\]|\\.)*)\")[ \t]*)?(;|,|\Z)" % (TOKEN, TOKEN)
).match
_match_empty_element = re.compile(rb"[ \t]*(?:,|\Z)").match


class HandshakeError(TrunklineError):
    """Raised when a request is no acceptable handshake. Holds the answer: status, text and headers.

    Args:
        status: The HTTP status of the answer.
        text: What was wrong, for the body of the answer.
        headers: What the status demands beside the usual, such as `allow` with 405.
    """

    def __init__(self, status: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.status = status
        self.text = text
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"

    def response(self, default_headers: HeaderPairs = ()) -> bytes:
        """The whole response that tells the client. The connection must be closed behind it."""
        return build_refusal(self.status, f"{self.text}\n".encode(), self.headers, default_headers)


class Extension(NamedTuple):
    """One element of `Sec-WebSocket-Extensions`: a name, and parameters in their order (None: without a value)."""

    name: str
    parameters: tuple[tuple[str, str | None], ...]


class HandshakeRequest(NamedTuple):
    """A request that fulfils RFC 6455 section 4.2.1. Header names are lowercase; order and duplicates are kept."""

    method: str
    target: bytes
    raw_path: bytes
    query_string: bytes
    http_version: str
    headers: Headers
    key: bytes
    subprotocols: list[str]
    extensions: list[Extension]
    rest: bytes


class HandshakeReader:
    """Collects the bytes of one request until its head is whole.

    The head, with the empty line that ends it, is at most `MAX_HEAD_SIZE` bytes and `MAX_HEADERS` headers.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> HandshakeRequest | None:
        """Take the next bytes. Not to be called again once it returned a request or raised.

        Args:
            data: Any number of bytes; no reference to them is kept.

        Returns:
            The request, or None as long as its head is incomplete.

        Raises:
            HandshakeError: The request is no acceptable handshake.
        """
        # The end of the head may lie across the cut; what was searched before is not searched again.
        buffer = self._buffer
        searched = max(0, len(buffer) - 3)
        buffer += data
        end = buffer.find(b"\r\n\r\n", searched)
        if (len(buffer) if end < 0 else end + 4) > MAX_HEAD_SIZE:
            raise HandshakeError(431, f"The head of the request is longer than {MAX_HEAD_SIZE} bytes.")
        return None if end < 0 else _parse(bytes(buffer[:end]), bytes(buffer[end + 4 :]))


class _Head(NamedTuple):
    method: bytes
    version: bytes
    fields: dict[bytes, list[bytes]]

    def values(self, name: bytes) -> list[bytes]:
        return self.fields.get(name, [])

    def lists(self, name: bytes, token: bytes) -> bool:
        """Whether a comma-separated list, which may be spread over several headers, has a token, in any case."""
        value = b",".join(self.fields.get(name, ())).lower()
        return value == token or token in [element.strip(b" \t") for element in value.split(b",")]


# What a handshake must fulfil, in the order of checking: the rule, and the answer to a request that breaks it.
_UPGRADE = (b"upgrade", b"websocket")
_RULES: tuple[tuple[Callable[[_Head], Any], int, str, tuple[tuple[bytes, bytes], ...]], ...] = (
    # RFC 6455 section 4.2.1 (1).
    (lambda head: head.method == b"GET", 405, "A WebSocket handshake is a GET request.", ((b"allow", b"GET"),)),
    (
        lambda head: head.version == b"HTTP/1.1" or ((match := _is_http_1(head.version)) and match[1] != b"0"),
        505,
        "A WebSocket handshake needs HTTP/1.1.",
        (),
    ),
    # RFC 6455 section 4.2.1 (2), RFC 9112 section 3.2.
    (lambda head: len(head.values(b"host")) == 1, 400, "Expected exactly one Host header.", ()),
    # RFC 6455 section 4.2.1 (3) and (4); RFC 9110 section 15.5.22: 426 names the protocol in Upgrade.
    (
        lambda head: head.lists(b"upgrade", b"websocket") and head.lists(b"connection", b"upgrade"),
        426,
        'Expected a WebSocket handshake: the headers "Upgrade: websocket" and "Connection: Upgrade".',
        (_UPGRADE,),
    ),
    # RFC 6455 sections 4.2.1 (6) and 4.4.
    (
        lambda head: head.values(b"sec-websocket-version") == [b"13"],
        426,
        'Expected exactly one header "Sec-WebSocket-Version: 13".',
        (_UPGRADE, (b"sec-websocket-version", b"13")),
    ),
    # RFC 6455 section 4.2.1 (5) and section 11.3.1: the key must not appear more than once.
    (lambda head: b"sec-websocket-key" in head.fields, 400, "Missing Sec-WebSocket-Key header.", ()),
    (
        lambda head: len(keys := head.values(b"sec-websocket-key")) == 1 and _is_key(keys[0]),
        400,
        "Expected exactly one Sec-WebSocket-Key header with 16 bytes in base64.",
        (),
    ),
    # A body would be taken for frames, or by a proxy in front of us for the next request.
    (
        lambda head: (
            b"transfer-encoding" not in head.fields
            and (b"content-length" not in head.fields or set(head.values(b"content-length")) == {b"0"})
        ),
        400,
        "A WebSocket handshake has no body.",
        (),
    ),
)

_CHECKED_FIELDS = frozenset(
    (
        b"connection",
        b"content-length",
        b"host",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
    )
)

# The names that browsers and clients send, as they write them. What is found here needs no check, and all connections
# share the name.
_NAMES = {
    written: name
    for name in (
        *_CHECKED_FIELDS,
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"authorization",
        b"cache-control",
        b"cookie",
        b"origin",
        b"pragma",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"user-agent",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
    )
    for written in (name, name.title(), name.title().replace(b"Websocket", b"WebSocket"))
}

# Whole headers that nearly every handshake has: all connections share them too.
_HEADERS = {
    b"%b: %b" % (written, value): (_NAMES[written], value)
    for written, value in (
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Connection", b"keep-alive, Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Pragma", b"no-cache"),
        (b"Cache-Control", b"no-cache"),
        (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
        (b"Sec-Fetch-Dest", b"websocket"),
        (b"Sec-Fetch-Mode", b"websocket"),
        (b"Sec-Fetch-Site", b"same-origin"),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
    )
}


def _parse(head: bytes, rest: bytes) -> HandshakeRequest:
    request_line, *lines = head.split(b"\r\n")
    # A line ends with both CR and LF: servers that take one alone for the end disagree with proxies that do not.
    if not head.count(b"\r") == head.count(b"\n") == len(lines) or len(head.translate(None, _CONTROLS)) != len(head):
        raise HandshakeError(400, "The head of the request has a control character that is illegal there.")
    if len(lines) > MAX_HEADERS:
        raise HandshakeError(431, f"The request has more than {MAX_HEADERS} headers.")
    method, target, version, path = _parse_request_line(request_line)
    headers = [_HEADERS.get(line) or _parse_header(line) for line in lines]
    fields: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _CHECKED_FIELDS:
            fields.setdefault(name, []).append(value)
    checked = _Head(method, version, fields)
    for holds, status, text, answer_headers in _RULES:
        if not holds(checked):
            raise HandshakeError(status, text, answer_headers)
    return HandshakeRequest(
        method=method.decode("ascii"),
        target=target,
        raw_path=path[1] or b"/",
        query_string=path[2] or b"",
        http_version=version[5:].decode("ascii"),
        headers=headers,
        key=fields[b"sec-websocket-key"][0],
        subprotocols=_list_subprotocols(fields.get(b"sec-websocket-protocol", ())),
        extensions=_parse_extensions(b",".join(fields.get(b"sec-websocket-extensions", ()))),
        rest=rest,
    )


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes, re.Match[bytes]]:
    match line.split(b" "):
        case [method, target, version] if is_token(method) and version.startswith(b"HTTP/"):
            path = _match_target(target)
            if path is None:
                raise HandshakeError(400, "Expected a path, or a whole http URI without a fragment, as request target.")
            return method, target, version, path
    raise HandshakeError(400, 'Expected a request line such as "GET /path HTTP/1.1".')


def _parse_header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if colon and name in _NAMES:
        return _NAMES[name], value.strip(b" \t")
    # This refuses folded lines too, as RFC 9112 section 5.2 asks: they start with whitespace.
    if not colon or not is_token(name):
        raise HandshakeError(400, 'Expected headers such as "name: value", each on one line.')
    return name.lower(), value.strip(b" \t")


def _list_subprotocols(values: Iterable[bytes]) -> list[str]:
    # Kept as offered, also what RFC 6455 section 4.1 (10) would not allow: clients put tokens of all kinds here.
    elements = (element.strip(b" \t") for value in values for element in value.split(b","))
    return [element.decode("latin-1") for element in elements if element]


def _parse_extensions(value: bytes) -> list[Extension]:
    """The elements of `Sec-WebSocket-Extensions`; what breaks its grammar fails the handshake (RFC 6455 9.1)."""
    extensions: list[Extension] = []
    parts: list[tuple[str, str | None]] = []
    position = 0
    while position < len(value):
        match = _match_extension_part(value, position)
        if match is None:
            match = _match_empty_element(value, position)
            if match is None or parts:
                raise _malformed_extensions()
            position = match.end()
            continue
        parts.append(_extension_part(match, first=not parts))
        position = match.end()
        if match[4] == b";":
            continue
        extensions.append(Extension(parts[0][0], tuple(parts[1:])))
        parts = []
    if parts:
        raise _malformed_extensions()
    return extensions


def _extension_part(match: re.Match[bytes], *, first: bool) -> tuple[str, str | None]:
    name, token, quoted = match[1], match[2], match[3]
    if quoted is not None:
        # "When using the quoted-string syntax variant, the value after quoted-string unescaping MUST conform to the
        # 'token' ABNF." (RFC 6455 section 9.1)
        token = re.sub(rb"\\(.)", rb"\1", quoted)
        if not is_token(token):
            raise _malformed_extensions()
    if first and token is not None:
        raise _malformed_extensions()
    return name.decode("ascii"), None if token is None else token.decode("ascii")


def _malformed_extensions() -> HandshakeError:
    return HandshakeError(400, 'Expected Sec-WebSocket-Extensions such as "name; parameter; parameter=value, name".')
