"""The opening handshake of RFC 6455 section 4.2, and the HTTP response that refuses it: bytes in, bytes out, no I/O.

A `HandshakeReader` takes the bytes of a request head in any cut and returns one checked `HandshakeRequest`, or raises
a `HandshakeError` that is itself the answer. What the application then decides becomes bytes by `build_accept`,
`build_refusal` or a `DenialResponse`; `build_scope` tells the application about the request.

True at all times: nothing that a client sends raises anything but `HandshakeError`; no byte behind the head is lost
(`HandshakeRequest.rest`); every byte is looked at a bounded number of times; whatever an application hands over for a
response has been checked before it is written, so no header can start another.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from hashlib import sha1
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from trunkline.exceptions import TrunklineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trunkline.types import Scope

    Headers = list[tuple[bytes, bytes]]
    HeaderPairs = Iterable[tuple[bytes, bytes]]

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

# RFC 9110 section 5.6.2.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_is_token = re.compile(_TOKEN).fullmatch
# RFC 9110 section 5.5: a field value has no control character but the tab.
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\r\n") | {0x7F})
# RFC 9112 section 3.2: a path, or a whole URI (which a server must accept too), then the query; no fragment.
_match_target = re.compile(rb"(?:(?:http|ws)s?://[^/?#]+)?((?:/[!-\"$->@-~]*)?)(?:\?([!-\"$-~]*))?").fullmatch
# RFC 6455 section 4.2.1 (5): 16 bytes in base64, which always is 22 characters and the padding.
_is_key = re.compile(rb"[A-Za-z0-9+/]{22}==").fullmatch
_is_http_1 = re.compile(rb"HTTP/1\.([0-9])").fullmatch
# One extension or one parameter of it, with the delimiter behind it (RFC 6455 section 9.1).
_match_extension_part = re.compile(
    rb"[ \t]*(%b)[ \t]*(?:=[ \t]*(?:(%b)|\"((?:[^\"\\]|\\.)*)\")[ \t]*)?(;|,|\Z)" % (_TOKEN, _TOKEN)
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

    def tokens(self, name: bytes) -> list[bytes]:
        """The elements of a comma-separated list, which may be spread over several headers, in lowercase."""
        return [token.strip(b" \t").lower() for token in b",".join(self.values(name)).split(b",")]


# What a handshake must fulfil, in the order of checking: the rule, and the answer to a request that breaks it.
_UPGRADE = (b"upgrade", b"websocket")
_RULES: tuple[tuple[Callable[[_Head], Any], int, str, tuple[tuple[bytes, bytes], ...]], ...] = (
    # RFC 6455 section 4.2.1 (1).
    (lambda head: head.method == b"GET", 405, "A WebSocket handshake is a GET request.", ((b"allow", b"GET"),)),
    (
        lambda head: (match := _is_http_1(head.version)) and match[1] != b"0",
        505,
        "A WebSocket handshake needs HTTP/1.1.",
        (),
    ),
    # RFC 6455 section 4.2.1 (2), RFC 9112 section 3.2.
    (lambda head: len(head.values(b"host")) == 1, 400, "Expected exactly one Host header.", ()),
    # RFC 6455 section 4.2.1 (3) and (4); RFC 9110 section 15.5.22: 426 names the protocol in Upgrade.
    (
        lambda head: b"websocket" in head.tokens(b"upgrade") and b"upgrade" in head.tokens(b"connection"),
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
    (lambda head: head.values(b"sec-websocket-key"), 400, "Missing Sec-WebSocket-Key header.", ()),
    (
        lambda head: len(keys := head.values(b"sec-websocket-key")) == 1 and _is_key(keys[0]),
        400,
        "Expected exactly one Sec-WebSocket-Key header with 16 bytes in base64.",
        (),
    ),
    # A body would be taken for frames, or by a proxy in front of us for the next request.
    (
        lambda head: not head.values(b"transfer-encoding") and set(head.values(b"content-length")) <= {b"0"},
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


def _parse(head: bytes, rest: bytes) -> HandshakeRequest:
    request_line, *lines = head.split(b"\r\n")
    # A line ends with both CR and LF: servers that take one alone for the end disagree with proxies that do not.
    if not head.count(b"\r") == head.count(b"\n") == len(lines) or len(head.translate(None, _CONTROLS)) != len(head):
        raise HandshakeError(400, "The head of the request has a control character that is illegal there.")
    if len(lines) > MAX_HEADERS:
        raise HandshakeError(431, f"The request has more than {MAX_HEADERS} headers.")
    method, target, version, path = _parse_request_line(request_line)
    headers = [_parse_header(line) for line in lines]
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
        case [method, target, version] if _is_token(method) and version.startswith(b"HTTP/"):
            path = _match_target(target) if target else None
            if path is None:
                raise HandshakeError(400, "Expected a path, or a whole http URI without a fragment, as request target.")
            return method, target, version, path
    raise HandshakeError(400, 'Expected a request line such as "GET /path HTTP/1.1".')


def _parse_header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    # This refuses folded lines too, as RFC 9112 section 5.2 asks: they start with whitespace.
    if not colon or not _is_token(name):
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
        if not _is_token(token):
            raise _malformed_extensions()
    if first and token is not None:
        raise _malformed_extensions()
    return name.decode("ascii"), None if token is None else token.decode("ascii")


def _malformed_extensions() -> HandshakeError:
    return HandshakeError(400, 'Expected Sec-WebSocket-Extensions such as "name; parameter; parameter=value, name".')


def accept_key(key: bytes) -> bytes:
    """The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2 (5.4))."""
    digest = sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    return b2a_base64(digest, newline=False)


# What the handshake itself says; anything else under these names would break it.
_RESERVED = frozenset(
    (
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"transfer-encoding",
        b"upgrade",
    )
)


def build_accept(
    request: HandshakeRequest,
    *,
    subprotocol: str | None = None,
    headers: HeaderPairs = (),
    default_headers: HeaderPairs = (),
    extensions: bytes | None = None,
) -> bytes:
    """The response that completes the handshake (RFC 6455 section 4.2.2).

    Args:
        request: The request that is answered.
        subprotocol: One of `request.subprotocols`.
        headers: The application's headers, in the order in which they are to be sent.
        default_headers: The server's own, such as `date` and `server`; they come first, nothing replaces them.
        extensions: The value of `Sec-WebSocket-Extensions`, if an extension was agreed upon.

    Raises:
        ValueError: The subprotocol was not offered, or a header may not be sent.
        TypeError: A header is not a pair of bytes.
    """
    lines = [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        accept_key(request.key),
        b"\r\n",
    ]
    if extensions:
        lines += (b"Sec-WebSocket-Extensions: ", extensions, b"\r\n")
    if subprotocol:
        if subprotocol not in request.subprotocols:
            offered = ", ".join(map(repr, request.subprotocols)) or "none"
            raise ValueError(
                f"expected one of the subprotocols that the client offered ({offered}), but got {subprotocol!r}; "
                "a client fails the connection otherwise (RFC 6455 section 4.1)"
            )
        lines += (b"Sec-WebSocket-Protocol: ", subprotocol.encode("latin-1"), b"\r\n")
    for name, value in default_headers:
        lines += (name, b": ", value, b"\r\n")
    for name, value in _checked(headers):
        if name in _RESERVED:
            raise ValueError(_reserved(name))
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def _reserved(name: bytes) -> str:
    if name == b"sec-websocket-protocol":
        return 'expected the subprotocol as "subprotocol" of websocket.accept, but got it among its "headers"'
    return f'the "headers" of websocket.accept may not have {name.decode()!r}: the handshake itself decides it'


def _checked(headers: Iterable[tuple[object, object]]) -> Headers:
    """An application's headers, with their names in lowercase, none of which can break the response's framing."""
    checked = []
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(f"expected headers as pairs of bytes, but got ({name!r}, {value!r})")
        if not _is_token(name):
            raise ValueError(f"expected an HTTP header's name (letters, digits, hyphens), but got {name!r}")
        if b"\r" in value or b"\n" in value or b"\0" in value:
            raise ValueError(f"the value of header {name!r} has a line break or a NUL: {value!r}")
        checked.append((name.lower(), value))
    return checked


def _final_head(status: int, headers: HeaderPairs, default_headers: HeaderPairs) -> list[bytes]:
    """The head of a response that ends the connection, without the empty line."""
    try:
        phrase = HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        phrase = b""
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, phrase)]
    options = [b"close"]
    for name, value in (*default_headers, *headers):
        lines.append(b"%b: %b\r\n" % (name, value))
        if name == b"upgrade":
            options.append(b"upgrade")  # RFC 9110 section 7.8: a sender of Upgrade lists it in Connection too.
    lines.append(b"connection: %b\r\n" % b", ".join(options))
    return lines


def build_refusal(
    status: int = 403, body: bytes = b"", headers: HeaderPairs = (), default_headers: HeaderPairs = ()
) -> bytes:
    """A whole response that refuses the handshake; the connection must be closed behind it.

    Args:
        status: The HTTP status. ASGI asks for 403 when the application closes before it accepted.
        body: Text in UTF-8.
        headers: More headers, lowercase.
        default_headers: The server's own, such as `date` and `server`.
    """
    lines = _final_head(status, headers, default_headers)
    if body:
        lines.append(b"content-type: text/plain; charset=utf-8\r\n")
    lines += (b"content-length: %d\r\n\r\n" % len(body), body)
    return b"".join(lines)


class DenialResponse:
    """The HTTP response with which an application refuses the handshake (ASGI, Websocket Denial Response).

    The status line leaves with `start`. The head stays open if the application gave no length: a body that comes as
    one piece gives the length then, a streamed one ends with the connection (RFC 9112 section 6.3), which always is
    closed behind a denial response.

    Args:
        default_headers: The server's own headers, such as `date` and `server`.
    """

    __slots__ = ("_default_headers", "_head_open", "_remaining", "complete", "status")

    def __init__(self, default_headers: HeaderPairs = ()) -> None:
        self._default_headers = default_headers
        self._head_open = False
        # Bytes of body still to come; None if the length is not known.
        self._remaining: int | None = None
        self.complete = False
        self.status = 0

    def start(self, status: int, headers: HeaderPairs = ()) -> bytes:
        """Begin the response: `websocket.http.response.start`.

        Args:
            status: 200 to 599.
            headers: The application's headers. `transfer-encoding` and `connection` are left out: how the body
                is delimited and when the connection ends is the server's business.

        Returns:
            The bytes to write.

        Raises:
            ValueError: The status or a header may not be sent.
            TypeError: The status is no int, or a header not a pair of bytes.
        """
        if not isinstance(status, int):
            raise TypeError(f"expected an int as status of websocket.http.response.start, but got {status!r}")
        if not 200 <= status <= 599:
            raise ValueError(f"expected a final HTTP status, 200 to 599, but got {int(status)}")
        kept = [header for header in _checked(headers) if header[0] not in (b"connection", b"transfer-encoding")]
        length = _content_length(kept)
        if status in (204, 304):
            # RFC 9110 sections 15.3.5, 15.4.5 and 8.6: no body, whatever is said; and with 204 no length either.
            kept = [header for header in kept if header[0] != b"content-length" or status == 304]
        self.status, self._remaining = status, length
        self._head_open = length is None and self._has_body
        lines = _final_head(status, kept, self._default_headers)
        if not self._head_open:
            lines.append(b"\r\n")
        return b"".join(lines)

    @property
    def _has_body(self) -> bool:
        return self.status not in (204, 304)

    def body(self, body: bytes = b"", more_body: bool = False) -> bytes:
        """Go on with the response: `websocket.http.response.body`.

        Returns:
            The bytes to write; the response is `complete` behind those of the last piece.

        Raises:
            RuntimeError: The body is not as long as the `content-length` that the application gave.
            TypeError: The body is not bytes.
        """
        if not isinstance(body, bytes | bytearray | memoryview):
            raise TypeError(f"expected bytes as body of websocket.http.response.body, but got {type(body).__name__}")
        body = bytes(body) if self._has_body else b""
        if self._remaining is not None and self._has_body:
            self._remaining -= len(body)
            if self._remaining < 0 or (self._remaining and not more_body):
                way = "longer" if self._remaining < 0 else "shorter"
                raise RuntimeError(
                    f"the body of the denial response is {abs(self._remaining)} bytes {way} than its content-length"
                )
        head = self._close_head(None if more_body else len(body))
        self.complete = not more_body
        return head + body

    def end(self) -> bytes:
        """Finish the head for an application that ended without a body, so that the client learns the status."""
        self.complete = True
        return self._close_head(None)

    def _close_head(self, length: int | None) -> bytes:
        if not self._head_open:
            return b""
        self._head_open = False
        return b"\r\n" if length is None else b"content-length: %d\r\n\r\n" % length


def _content_length(headers: Headers) -> int | None:
    lengths = {value.strip() for name, value in headers if name == b"content-length"}
    if not lengths:
        return None
    length = lengths.pop()
    if lengths or not length.isdigit():
        raise ValueError(f"expected one content-length, a number of bytes, but got {[length, *lengths]!r}")
    return int(length)


def build_scope(
    request: HandshakeRequest,
    *,
    scheme: str,
    client: tuple[str, int] | None,
    server: tuple[str, int | None] | None,
    root_path: str = "",
    state: Mapping[str, Any] | None = None,
    extensions: dict[str, Any] | None = None,
) -> Scope:
    """The connection scope of ASGI's WebSocket specification, version 2.5.

    Args:
        request: The request to describe.
        scheme: `"ws"`, or `"wss"` over TLS.
        client: The client's host and port, if known (`client_address`).
        server: The server's host and port, or its unix socket and None (`server_address`).
        root_path: The path under which the application is mounted; `path` and `raw_path` begin with it.
        state: What the lifespan left; copied, so that connections do not see each other's changes.
        extensions: What the server offers beside denial responses.
    """
    raw_path = request.raw_path
    path = raw_path.decode("ascii")
    if root_path:
        raw_path = quote(root_path, safe=_PRINTABLE).encode("ascii") + raw_path
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": request.http_version,
        "scheme": scheme,
        "server": server,
        "client": client,
        "root_path": root_path,
        "path": root_path + (unquote(path) if "%" in path else path),
        "raw_path": raw_path,
        "query_string": request.query_string,
        "headers": request.headers,
        "subprotocols": request.subprotocols,
        "state": dict(state or ()),
        "extensions": {"websocket.http.response": {}, **(extensions or {})},
    }


_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def client_address(transport: Any) -> tuple[str, int] | None:
    """The client's host and port; None over a unix socket, or if the client has gone already."""
    address = _extra_info(transport, "peername")
    return (str(address[0]), int(address[1])) if isinstance(address, tuple | list) else None


def server_address(transport: Any) -> tuple[str, int | None] | None:
    """The server's host and port, or the path of its unix socket and None."""
    address = _extra_info(transport, "sockname")
    if isinstance(address, tuple | list):
        return str(address[0]), int(address[1])
    return (str(address), None) if address and isinstance(address, str) else None


def _extra_info(transport: Any, name: str) -> object:
    try:
        return transport.get_extra_info(name)
    except OSError:
        # uvloop asks the socket only now, and the socket may be gone.
        return None
