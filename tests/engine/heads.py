"""Request heads to read, and an independent reader of what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import pytest

from trunkline.engine.handshake import HandshakeError, HandshakeReader, HandshakeRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

# The key and its answer in RFC 6455 section 1.3.
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

Pairs = list[tuple[bytes, bytes]]

USUAL: Pairs = [
    (b"Host", b"example.org"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", KEY),
    (b"Sec-WebSocket-Version", b"13"),
]


def raw_request(headers: Iterable[tuple[bytes, bytes]] = USUAL, line: bytes = b"GET /chat HTTP/1.1") -> bytes:
    return b"".join([line, b"\r\n", *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n"])


def usual(*more: tuple[bytes, bytes], **changed: bytes | None) -> Pairs:
    """The usual headers; a change of None leaves one out, `more` are appended."""
    replaced = {name.replace("_", "-").encode(): value for name, value in changed.items()}
    kept = [(name, replaced.get(name.lower(), value)) for name, value in USUAL]
    return [(name, value) for name, value in kept if value is not None] + list(more)


def read(data: bytes) -> HandshakeRequest:
    request = HandshakeReader().feed(data)
    assert request is not None
    return request


def refused(data: bytes) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        HandshakeReader().feed(data)
    return caught.value


def parse_response(data: bytes) -> tuple[h11.Response, bytes]:
    """The response as an independent HTTP client reads it, up to the end of the connection."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "example.org")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(b"")
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert isinstance(event, h11.EndOfMessage)
            return response, body
