"""The answers to an opening handshake: the 101 that completes it, a refusal, and an application's denial response.

Bytes out, no I/O. Whatever an application hands over is checked before it becomes bytes, so that no header can start
another or change how the response is delimited. Behind every answer but the 101 the connection is closed.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from hashlib import sha1
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.engine.handshake import HandshakeRequest

    Headers = list[tuple[bytes, bytes]]
    HeaderPairs = Iterable[tuple[bytes, bytes]]

__all__ = ["TOKEN", "DenialResponse", "accept_key", "build_accept", "build_refusal", "is_token"]

# RFC 9110 section 5.6.2.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
is_token = re.compile(TOKEN).fullmatch


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
        subprotocol: One of `request.subprotocols`. Another one is sent all the same, because applications rely on it.
        headers: The application's headers, in the order in which they are to be sent.
        default_headers: The server's own, such as `date` and `server`; they come first, nothing replaces them.
        extensions: The value of `Sec-WebSocket-Extensions`, if an extension was agreed upon.

    Raises:
        ValueError: A header or the subprotocol may not be sent.
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
        _checked([(b"sec-websocket-protocol", subprotocol.encode("latin-1"))])
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
        if not is_token(name):
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
