"""The opening handshake: every rule of RFC 6455 section 4.2, the responses, and the scope beside uvicorn's."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
from typing import TYPE_CHECKING, Any

import h11
import pytest
from hypothesis import example, given, settings, strategies as st
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.datastructures import Headers as WebSocketsHeaders
from websockets.http11 import Request as WebSocketsRequest
from websockets.server import ServerProtocol

from trunkline.engine.handshake import (
    MAX_HEAD_SIZE,
    MAX_HEADERS,
    DenialResponse,
    Extension,
    HandshakeError,
    HandshakeReader,
    HandshakeRequest,
    accept_key,
    build_accept,
    build_refusal,
    build_scope,
    client_address,
    server_address,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.types import Message

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


# Reading


def test_a_request_is_read_whole_with_its_headers_in_order() -> None:
    more = [(b"X-A", b"1"), (b"Cookie", b"a=b"), (b"x-a", b"  two \t"), (b"X-Empty", b"")]
    request = read(raw_request(usual(*more), b"GET /chat/room%201?q=%31&r HTTP/1.1"))
    assert request.method == "GET"
    assert request.target == b"/chat/room%201?q=%31&r"
    assert (request.raw_path, request.query_string) == (b"/chat/room%201", b"q=%31&r")
    assert request.http_version == "1.1"
    assert request.key == KEY
    assert request.headers == [
        (b"host", b"example.org"),
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-key", KEY),
        (b"sec-websocket-version", b"13"),
        (b"x-a", b"1"),
        (b"cookie", b"a=b"),
        (b"x-a", b"two"),
        (b"x-empty", b""),
    ]
    assert (request.subprotocols, request.extensions, request.rest) == ([], [], b"")


def test_an_incomplete_head_gives_nothing_yet() -> None:
    reader = HandshakeReader()
    assert reader.feed(b"") is None
    assert reader.feed(raw_request()[:-1]) is None
    assert reader.feed(b"\n") is not None


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken_and_not_kept(kind: Any) -> None:
    buffer = bytearray(raw_request() + b"frames")
    view = kind(buffer)
    request = read(view)
    del view
    buffer[:] = b"x"
    assert request.rest == b"frames"
    assert request.key == KEY


@given(st.data(), st.binary(max_size=20))
def test_however_the_bytes_are_cut_the_request_is_the_same_and_nothing_is_lost(
    data: st.DataObject, rest: bytes
) -> None:
    raw = raw_request(usual((b"X-A", b"1")))
    whole = raw + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    reader = HandshakeReader()
    request, lost = None, b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if request is None:
            request = reader.feed(whole[start:end])
        else:
            lost += whole[start:end]
    assert request is not None
    assert request._replace(rest=request.rest + lost) == read(raw)._replace(rest=rest)


def test_byte_by_byte_is_linear_up_to_the_limit() -> None:
    reader = HandshakeReader()
    seen: list[tuple[int, int]] = []

    class Watched(bytearray):
        def find(self, sub: Any, start: Any = 0, *rest: Any) -> int:
            seen.append((start, len(self)))
            return super().find(sub, start, *rest)

    reader._buffer = Watched()
    padding = b"x" * (MAX_HEAD_SIZE - len(raw_request(usual((b"Padding", b"")))))
    raw = raw_request(usual((b"Padding", padding)))
    assert len(raw) == MAX_HEAD_SIZE
    assert [reader.feed(raw[i : i + 1]) for i in range(len(raw) - 1)] == [None] * (len(raw) - 1)
    assert reader.feed(raw[-1:]) is not None
    assert all(end - start <= 4 for start, end in seen)


@pytest.mark.parametrize("step", [1, 1000, 10**6])
def test_a_head_over_the_limit_is_refused_however_it_is_cut(step: int) -> None:
    raw = raw_request(usual((b"Padding", b"x" * (MAX_HEAD_SIZE - len(raw_request()) - len("Padding: \r\n") + 1))))
    assert len(raw) == MAX_HEAD_SIZE + 1
    reader = HandshakeReader()
    with pytest.raises(HandshakeError, match="65536 bytes") as caught:
        for start in range(0, len(raw), step):
            assert reader.feed(raw[start : start + step]) is None
    assert caught.value.status == 431


def test_a_head_without_an_end_is_refused_at_the_limit() -> None:
    reader = HandshakeReader()
    assert reader.feed(b"x" * MAX_HEAD_SIZE) is None
    with pytest.raises(HandshakeError, match="65536 bytes"):
        reader.feed(b"x")


def test_bytes_behind_the_head_do_not_count_toward_its_limit() -> None:
    assert len(read(raw_request() + b"f" * (2 * MAX_HEAD_SIZE)).rest) == 2 * MAX_HEAD_SIZE


def test_the_number_of_headers_is_bounded() -> None:
    fitting = [(b"x", b"")] * (MAX_HEADERS - len(USUAL))
    assert len(read(raw_request(usual(*fitting))).headers) == MAX_HEADERS
    assert refused(raw_request(usual(*fitting, (b"x", b"")))).status == 431


# What makes no handshake: the request, the status, words of the answer


REFUSALS: dict[str, tuple[bytes, int, str]] = {
    "no request line": (raw_request(line=b""), 400, "request line"),
    "two words": (raw_request(line=b"GET /chat"), 400, "request line"),
    "four words": (raw_request(line=b"GET /chat room HTTP/1.1"), 400, "request line"),
    "two spaces": (raw_request(line=b"GET  /chat HTTP/1.1"), 400, "request line"),
    "tab as space": (raw_request(line=b"GET\t/chat\tHTTP/1.1"), 400, "request line"),
    "method is no token": (raw_request(line=b"G(T /chat HTTP/1.1"), 400, "request line"),
    "another protocol": (raw_request(line=b"GET /chat RTSP/1.0"), 400, "request line"),
    "POST": (raw_request(line=b"POST /chat HTTP/1.1"), 405, "GET"),
    "lowercase get": (raw_request(line=b"get /chat HTTP/1.1"), 405, "GET"),
    "HTTP/1.0": (raw_request(line=b"GET /chat HTTP/1.0"), 505, "HTTP/1.1"),
    "HTTP/2.0": (raw_request(line=b"GET /chat HTTP/2.0"), 505, "HTTP/1.1"),
    "lowercase http": (raw_request(line=b"GET /chat http/1.1"), 400, "request line"),
    "half a version": (raw_request(line=b"GET /chat HTTP/1."), 505, "HTTP/1.1"),
    "relative target": (raw_request(line=b"GET chat HTTP/1.1"), 400, "target"),
    "asterisk": (raw_request(line=b"GET * HTTP/1.1"), 400, "target"),
    "authority": (raw_request(line=b"GET example.org:80 HTTP/1.1"), 400, "target"),
    "URI of another scheme": (raw_request(line=b"GET ftp://example.org/ HTTP/1.1"), 400, "target"),
    "URI without a host": (raw_request(line=b"GET http:///chat HTTP/1.1"), 400, "target"),
    "fragment": (raw_request(line=b"GET /chat#top HTTP/1.1"), 400, "target"),
    "fragment of the query": (raw_request(line=b"GET /chat?a#top HTTP/1.1"), 400, "target"),
    "path not in ASCII": (raw_request(line="GET /caf\u00e9 HTTP/1.1".encode()), 400, "target"),
    "query not in ASCII": (raw_request(line="GET /?caf\u00e9 HTTP/1.1".encode()), 400, "target"),
    "NUL in the target": (raw_request(line=b"GET /\0 HTTP/1.1"), 400, "control character"),
    "NUL in a header": (raw_request(usual((b"x", b"a\0b"))), 400, "control character"),
    "DEL in a header": (raw_request(usual((b"x", b"a\x7fb"))), 400, "control character"),
    "bare CR": (raw_request(usual((b"x", b"a\rb"))), 400, "control character"),
    "bare LF": (raw_request(usual((b"x", b"a\nb: c"))), 400, "control character"),
    "CR twice": (raw_request(usual((b"x", b"a\r"))), 400, "control character"),
    "LF then CR": (raw_request(usual((b"x", b"a\n\rb"))), 400, "control character"),
    "folded line": (raw_request(usual((b"x", b"a\r\n b"))), 400, "each on one line"),
    "folded first line": (raw_request([(b" x", b"a"), *USUAL]), 400, "each on one line"),
    "line without a colon": (raw_request(usual()).replace(b"\r\n\r\n", b"\r\nfoo\r\n\r\n"), 400, "name: value"),
    "space before the colon": (raw_request(usual((b"x ", b"a"))), 400, "name: value"),
    "empty header name": (raw_request(usual((b"", b"a"))), 400, "name: value"),
    "header name with a space": (raw_request(usual((b"x y", b"a"))), 400, "name: value"),
    "header name not in ASCII": (raw_request(usual((b"\xe9", b"a"))), 400, "name: value"),
    "no host": (raw_request(usual(host=None)), 400, "Host"),
    "two hosts": (raw_request(usual((b"host", b"example.org"))), 400, "Host"),
    "no upgrade": (raw_request(usual(upgrade=None)), 426, "Upgrade: websocket"),
    "another upgrade": (raw_request(usual(upgrade=b"h2c")), 426, "Upgrade: websocket"),
    "upgrade that only begins alike": (raw_request(usual(upgrade=b"websockets")), 426, "Upgrade: websocket"),
    "no connection": (raw_request(usual(connection=None)), 426, "Connection: Upgrade"),
    "another connection": (raw_request(usual(connection=b"keep-alive")), 426, "Connection: Upgrade"),
    "no version": (raw_request(usual(sec_websocket_version=None)), 426, "Sec-WebSocket-Version: 13"),
    "version 8": (raw_request(usual(sec_websocket_version=b"8")), 426, "Sec-WebSocket-Version: 13"),
    "two versions": (raw_request(usual((b"sec-websocket-version", b"13"))), 426, "exactly one"),
    "list of versions": (raw_request(usual(sec_websocket_version=b"13, 8")), 426, "exactly one"),
    "no key": (raw_request(usual(sec_websocket_key=None)), 400, "Missing Sec-WebSocket-Key header"),
    "two keys": (raw_request(usual((b"sec-websocket-key", KEY))), 400, "exactly one"),
    "empty key": (raw_request(usual(sec_websocket_key=b"")), 400, "16 bytes"),
    "15 bytes": (raw_request(usual(sec_websocket_key=base64.b64encode(b"x" * 15))), 400, "16 bytes"),
    "17 bytes": (raw_request(usual(sec_websocket_key=base64.b64encode(b"x" * 17))), 400, "16 bytes"),
    "key not in base64": (raw_request(usual(sec_websocket_key=b"-" * 22 + b"==")), 400, "16 bytes"),
    "key without padding": (raw_request(usual(sec_websocket_key=KEY.rstrip(b"="))), 400, "16 bytes"),
    "body by length": (raw_request(usual((b"content-length", b"5"))), 400, "no body"),
    "body by nonsense": (raw_request(usual((b"content-length", b"-0"))), 400, "no body"),
    "body in chunks": (raw_request(usual((b"transfer-encoding", b"chunked"))), 400, "no body"),
    "unterminated string": (raw_request(usual((b"sec-websocket-extensions", b'x; a="b'))), 400, "Extensions"),
    "extension with a value": (raw_request(usual((b"sec-websocket-extensions", b"x=1"))), 400, "Extensions"),
    "extension without a name": (raw_request(usual((b"sec-websocket-extensions", b"; a"))), 400, "Extensions"),
    "extension that goes on": (raw_request(usual((b"sec-websocket-extensions", b"x; a;"))), 400, "Extensions"),
    "empty parameter": (raw_request(usual((b"sec-websocket-extensions", b"x; , y"))), 400, "Extensions"),
    "quoted no token": (raw_request(usual((b"sec-websocket-extensions", b'x; a="b c"'))), 400, "Extensions"),
    "empty quoted": (raw_request(usual((b"sec-websocket-extensions", b'x; a=""'))), 400, "Extensions"),
    "words without a comma": (raw_request(usual((b"sec-websocket-extensions", b"x y"))), 400, "Extensions"),
}


@pytest.mark.parametrize(("raw", "status", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_request_that_is_no_handshake_is_refused_in_words(raw: bytes, status: int, words: str) -> None:
    error = refused(raw)
    assert error.status == status
    assert words in error.text
    assert str(error) == f"{status}: {error.text}"
    response, body = parse_response(error.response([(b"server", b"test")]))
    assert response.status_code == status
    assert body == error.text.encode() + b"\n"
    headers = dict(response.headers)
    assert headers[b"server"] == b"test"
    assert b"close" in headers[b"connection"]
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"


def test_refusals_say_what_their_status_demands() -> None:
    version = dict(parse_response(refused(raw_request(usual(sec_websocket_version=b"8"))).response())[0].headers)
    assert version[b"sec-websocket-version"] == b"13"
    assert version[b"upgrade"] == b"websocket"
    assert version[b"connection"] == b"close, upgrade"
    method = dict(parse_response(refused(raw_request(line=b"PUT / HTTP/1.1")).response())[0].headers)
    assert method[b"allow"] == b"GET"
    assert method[b"connection"] == b"close"


ACCEPTED = {
    "tokens in any case": usual(upgrade=b"WebSocket", connection=b"UPGRADE"),
    "lists": usual(upgrade=b"h2c , websocket", connection=b"keep-alive,\tUpgrade"),
    "lists over several headers": usual((b"connection", b"upgrade"), (b"upgrade", b"h2c"), connection=b"keep-alive"),
    "empty elements": usual(connection=b", ,Upgrade,"),
    "body of no length": usual((b"content-length", b"0"), (b"content-length", b"0")),
    "latin-1 in a value": usual((b"x", b"caf\xe9")),
    "tab in a value": usual((b"x", b"a\tb")),
    "colons in a value": usual((b"x", b":a:b:")),
    "every token character": usual((b"!#$%&'*+-.^_`|~09azAZ", b"a")),
    "host that is empty": usual(host=b""),
}


@pytest.mark.parametrize("headers", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_rfc_allows_is_accepted(headers: Pairs) -> None:
    assert [value for _, value in read(raw_request(headers)).headers] == [value for _, value in headers]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a/b", b"/a/b", b""),
        (b"//a", b"//a", b""),
        (b"/a?", b"/a", b""),
        (b"/?a?b", b"/", b"a?b"),
        (b"/a%2Fb?c=%20", b"/a%2Fb", b"c=%20"),
        (b"/http://example.org", b"/http://example.org", b""),
        (b"http://example.org", b"/", b""),
        (b"https://example.org/a?b", b"/a", b"b"),
        (b"ws://user@example.org:80/a", b"/a", b""),
        (b"wss://[::1]?b", b"/", b"b"),
        (b"/?http://example.org/", b"/", b"http://example.org/"),
    ],
)
def test_the_target_is_a_path_or_a_whole_uri(target: bytes, path: bytes, query: bytes) -> None:
    request = read(raw_request(line=b"GET " + target + b" HTTP/1.1"))
    assert (request.raw_path, request.query_string, request.target) == (path, query, target)


def test_a_later_minor_version_is_accepted() -> None:
    assert read(raw_request(line=b"GET / HTTP/1.2")).http_version == "1.2"


def test_subprotocols_keep_their_order_over_several_headers() -> None:
    headers = usual(
        (b"Sec-WebSocket-Protocol", b"b,a ,\tb"),
        (b"sec-websocket-protocol", b""),
        *[(b"sec-websocket-protocol", b"token=/\xe9,, c")],
    )
    assert read(raw_request(headers)).subprotocols == ["b", "a", "b", "token=/\u00e9", "c"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b""], []),
        ([b" , ,"], []),
        ([b"x"], [("x", ())]),
        ([b"x , y"], [("x", ()), ("y", ())]),
        ([b"x,", b"y"], [("x", ()), ("y", ())]),
        ([b"x; a; b=1;c = 2"], [("x", (("a", None), ("b", "1"), ("c", "2")))]),
        ([b'x; a="1"; b="\\1\\2" , y'], [("x", (("a", "1"), ("b", "12"))), ("y", ())]),
        ([b"x; a; a", b"x"], [("x", (("a", None), ("a", None))), ("x", ())]),
    ],
)
def test_extensions_are_parsed(values: list[bytes], expected: list[tuple[str, Any]]) -> None:
    headers = usual(*((b"Sec-WebSocket-Extensions", value) for value in values))
    assert read(raw_request(headers)).extensions == [Extension(*pair) for pair in expected]


def test_a_hostile_extensions_header_is_parsed_in_one_pass() -> None:
    for value in (b"x;" * 15_000, b'x; a="' + b"\\" * 60_000, b"x" + b" " * 60_000, b"x," * 15_000, b"," * 60_000):
        with contextlib.suppress(HandshakeError):
            read(raw_request(usual((b"sec-websocket-extensions", value))))


@given(st.binary(max_size=200))
@example(b"\r\n\r\n")
@example(b" \r\n\r\n")
def test_garbage_raises_nothing_but_handshake_errors(garbage: bytes) -> None:
    for data in (garbage, garbage + b"\r\n\r\n", raw_request(line=b"GET " + garbage + b" HTTP/1.1")):
        with contextlib.suppress(HandshakeError):
            HandshakeReader().feed(data)


@given(st.data())
def test_a_mutated_request_raises_nothing_but_handshake_errors_and_agrees_with_websockets(data: st.DataObject) -> None:
    headers = usual((b"Sec-WebSocket-Extensions", b'permessage-deflate; client_max_window_bits="9", x;y=z'))
    raw = bytearray(raw_request(headers))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        request = HandshakeReader().feed(bytes(raw) + b"\r\n\r\n")
    except HandshakeError:
        return
    assert request is not None
    # Whatever we accept, an independent server accepts too, with one exception: it takes a single upgrade only.
    server = ServerProtocol()
    theirs = WebSocketsHeaders([(name.decode(), value.decode("latin-1")) for name, value in request.headers])
    if len(theirs.get_all("upgrade")) == 1 and "," not in theirs["upgrade"]:
        response = server.accept(WebSocketsRequest(request.target.decode(), theirs))
        assert response.status_code == 101
        assert response.headers["sec-websocket-accept"].encode() == accept_key(request.key)


# Accepting


def test_the_key_of_the_rfc_is_answered_as_the_rfc_says() -> None:
    assert accept_key(KEY) == ACCEPT


def test_an_accepted_handshake_is_answered() -> None:
    request = read(raw_request(usual((b"Sec-WebSocket-Protocol", b"a, b"))))
    response = build_accept(
        request,
        subprotocol="b",
        headers=[(b"X-One", b"1"), (b"server", b"mine"), (b"x-one", b"2")],
        default_headers=[(b"date", b"today"), (b"server", b"ours")],
        extensions=b"permessage-deflate",
    )
    head, _, rest = response.partition(b"\r\n\r\n")
    assert rest == b""
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + ACCEPT,
        b"Sec-WebSocket-Extensions: permessage-deflate",
        b"Sec-WebSocket-Protocol: b",
        b"date: today",
        b"server: ours",
        b"x-one: 1",
        b"server: mine",
        b"x-one: 2",
    ]


def test_an_accept_says_no_more_than_was_agreed() -> None:
    assert build_accept(read(raw_request())).count(b"\r\n") == 5


@pytest.mark.parametrize(("offered", "words"), [(b"a, b", "'a', 'b'"), (b"", "none"), (b"C", "'C'")])
def test_a_subprotocol_that_was_not_offered_is_refused(offered: bytes, words: str) -> None:
    request = read(raw_request(usual((b"Sec-WebSocket-Protocol", offered))))
    with pytest.raises(ValueError, match=f"offered \\({words}\\), but got 'c'"):
        build_accept(request, subprotocol="c")


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"content-length",
        b"sec-websocket-accept",
        b"Sec-WebSocket-Extensions",
        b"transfer-encoding",
        b"upgrade",
    ],
)
def test_an_application_cannot_override_the_handshake(name: bytes) -> None:
    with pytest.raises(ValueError, match=f"may not have '{name.decode().lower()}'"):
        build_accept(read(raw_request()), headers=[(name, b"x")])


def test_a_subprotocol_among_the_headers_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r'as "subprotocol" of websocket\.accept'):
        build_accept(read(raw_request()), headers=[(b"Sec-WebSocket-Protocol", b"a")])


BAD_HEADERS: list[tuple[Any, type[Exception], str]] = [
    ((b"x", b"a\r\nset-cookie: b"), ValueError, "line break"),
    ((b"x", b"a\nb"), ValueError, "line break"),
    ((b"x", b"a\rb"), ValueError, "line break"),
    ((b"x", b"a\0"), ValueError, "NUL"),
    ((b"x\r\ny", b"a"), ValueError, "header's name"),
    ((b"x: y", b"a"), ValueError, "header's name"),
    ((b":status", b"101"), ValueError, "header's name"),
    ((b"", b"a"), ValueError, "header's name"),
    (("x", b"a"), TypeError, "pairs of bytes"),
    ((b"x", "a"), TypeError, "pairs of bytes"),
    ((b"x", 5), TypeError, "pairs of bytes"),
]


@pytest.mark.parametrize(("header", "error", "words"), BAD_HEADERS)
def test_no_header_can_break_a_response(header: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build_accept(read(raw_request()), headers=[header])
    with pytest.raises(error, match=words):
        DenialResponse().start(403, [header])


# Refusing


def test_a_refusal_is_a_whole_response() -> None:
    response, body = parse_response(build_refusal(default_headers=[(b"date", b"today")]))
    assert (response.status_code, response.reason, body) == (403, b"Forbidden", b"")
    assert list(response.headers) == [(b"date", b"today"), (b"connection", b"close"), (b"content-length", b"0")]


def test_a_refusal_has_a_text() -> None:
    response, body = parse_response(build_refusal(500, b"Internal Server Error"))
    assert (response.status_code, body) == (500, b"Internal Server Error")
    assert dict(response.headers) == {
        b"connection": b"close",
        b"content-type": b"text/plain; charset=utf-8",
        b"content-length": b"21",
    }


def test_a_status_without_a_name_can_be_sent() -> None:
    assert parse_response(build_refusal(599))[0].status_code == 599


def deny(status: int, headers: Pairs, *bodies: Message) -> bytes:
    response = DenialResponse()
    sent = response.start(status, headers)
    assert response.status == status
    for message in bodies:
        assert not response.complete
        sent += response.body(**message)
    assert response.complete
    return sent


def test_a_denial_response_of_one_piece_gets_its_length() -> None:
    response, body = parse_response(deny(401, [(b"WWW-Authenticate", b"Basic")], {"body": b"who?"}))
    assert (response.status_code, body) == (401, b"who?")
    assert list(response.headers) == [
        (b"www-authenticate", b"Basic"),
        (b"connection", b"close"),
        (b"content-length", b"4"),
    ]


def test_a_denial_response_without_a_body_has_length_0() -> None:
    response, body = parse_response(deny(403, [], {}))
    assert dict(response.headers)[b"content-length"] == b"0"
    assert body == b""


def test_the_status_line_leaves_with_the_start_also_when_the_length_is_open() -> None:
    response = DenialResponse([(b"server", b"ours")])
    start = response.start(404, [(b"x", b"1")])
    assert start == b"HTTP/1.1 404 Not Found\r\nserver: ours\r\nx: 1\r\nconnection: close\r\n"
    assert response.body(b"no") == b"content-length: 2\r\n\r\nno"


def test_the_head_leaves_whole_with_the_start_when_the_length_is_known() -> None:
    response = DenialResponse()
    assert response.start(404, [(b"Content-Length", b"4")]).endswith(
        b"\r\ncontent-length: 4\r\nconnection: close\r\n\r\n"
    )
    assert response.body(b"no", more_body=True) == b"no"
    assert not response.complete
    assert response.body(b"pe") == b"pe"
    assert response.complete


def test_a_streamed_denial_response_ends_with_the_connection() -> None:
    sent = deny(
        403, [], {"body": b"a", "more_body": True}, {"body": b"", "more_body": True}, {"body": b"b", "more_body": False}
    )
    response, body = parse_response(sent)
    assert body == b"ab"
    assert list(response.headers) == [(b"connection", b"close")]


def test_transfer_encoding_and_connection_of_the_application_are_left_out() -> None:
    headers = [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"keep-alive")]
    response, body = parse_response(deny(403, headers, {"body": b"a"}))
    assert body == b"a"
    assert list(response.headers) == [(b"connection", b"close"), (b"content-length", b"1")]


def test_a_denial_that_demands_an_upgrade_lists_it_in_connection() -> None:
    response, _ = parse_response(deny(426, [(b"upgrade", b"h2c")], {}))
    assert dict(response.headers)[b"connection"] == b"close, upgrade"


@pytest.mark.parametrize(("status", "length"), [(204, None), (304, b"4")])
def test_a_response_that_has_no_body_sends_none(status: int, length: bytes | None) -> None:
    sent = deny(status, [(b"content-length", b"4")], {"body": b"body"})
    response, body = parse_response(sent)
    assert sent.endswith(b"\r\n\r\n")
    assert (response.status_code, body) == (status, b"")
    assert dict(response.headers).get(b"content-length") == length


@pytest.mark.parametrize("pieces", [[b"12345"], [b"123", b"45"]])
def test_a_body_longer_than_its_length_is_refused_before_it_is_written(pieces: list[bytes]) -> None:
    response = DenialResponse()
    response.start(403, [(b"content-length", b"4")])
    with pytest.raises(RuntimeError, match="1 bytes longer than its content-length"):
        for piece in pieces:
            response.body(piece, more_body=True)


def test_a_body_shorter_than_its_length_is_refused() -> None:
    response = DenialResponse()
    response.start(403, [(b"content-length", b"4")])
    with pytest.raises(RuntimeError, match="3 bytes shorter than its content-length"):
        response.body(b"1")


@pytest.mark.parametrize("values", [[b"4", b"5"], [b"-1"], [b"+1"], [b"four"], [b""], [b"1_0"], ["\u0661".encode()]])
def test_a_length_that_is_none_is_refused(values: list[bytes]) -> None:
    with pytest.raises(ValueError, match="expected one content-length"):
        DenialResponse().start(403, [(b"content-length", value) for value in values])


def test_the_same_length_twice_is_one() -> None:
    headers = [(b"content-length", b"2"), (b"content-length", b"2")]
    assert parse_response(deny(403, headers, {"body": b"ab"}))[1] == b"ab"


@pytest.mark.parametrize("status", [100, 101, 199, 600, 700, -1])
def test_only_a_final_status_can_be_sent(status: int) -> None:
    with pytest.raises(ValueError, match=f"200 to 599, but got {status}"):
        DenialResponse().start(status)


@pytest.mark.parametrize("status", ["403", None, 403.0])
def test_a_status_is_an_int(status: Any) -> None:
    with pytest.raises(TypeError, match="expected an int as status"):
        DenialResponse().start(status)


@pytest.mark.parametrize("body", ["text", None, 5])
def test_a_body_is_bytes(body: Any) -> None:
    response = DenialResponse()
    response.start(403)
    with pytest.raises(TypeError, match=f"but got {type(body).__name__}"):
        response.body(body)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_body_may_be_any_buffer(kind: Any) -> None:
    assert parse_response(deny(403, [], {"body": kind(b"no")}))[1] == b"no"


def test_an_application_that_ends_without_a_body_leaves_its_status() -> None:
    response = DenialResponse()
    sent = response.start(404) + response.end()
    assert response.complete
    answer, body = parse_response(sent)
    assert (answer.status_code, body) == (404, b"")
    assert response.end() == b""


# The scope


class FakeTransport:
    def __init__(self, **info: object) -> None:
        self.info = {"peername": ("10.0.0.1", 5000), "sockname": ("10.0.0.2", 80), **info}
        self.written = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        value = self.info.get(name, default)
        if isinstance(value, Exception):
            raise value
        return value

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        pass


@functools.cache
def uvicorn_config(root_path: str) -> Config:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("never runs")

    config = Config(app, root_path=root_path, lifespan="off", log_config=None)
    config.load()
    return config


def uvicorn_scope(raw: bytes, transport: Any, root_path: str, state: dict[str, Any]) -> dict[str, Any]:
    """The scope that uvicorn's own protocol makes of the same bytes."""
    loop = asyncio.new_event_loop()
    try:
        server = ServerState()
        protocol = WebSocketsSansIOProtocol(uvicorn_config(root_path), server, state, loop)
        protocol.connection_made(transport)
        protocol.data_received(raw)
        for task in server.tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*server.tasks, return_exceptions=True))
        return dict(protocol.scope)
    finally:
        loop.close()


PATHS = st.lists(
    st.one_of(st.sampled_from(["a", "/", "%20", "%2F", "%C3%A9", "%FF", "%zz", "%", ";", "~", "@", ":", "+"])),
    max_size=6,
).map(lambda parts: "/" + "".join(parts))
QUERIES = st.one_of(
    st.just(""),
    st.lists(st.sampled_from(["a", "=", "&", "%20", "?", "/"]), max_size=5).map(lambda parts: "?" + "".join(parts)),
)
VALUES = st.binary(max_size=8).filter(
    lambda value: (
        value == value.strip(b" \t") and not value.translate(None, bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)]))
    )
)


@settings(max_examples=60, deadline=None)
@given(
    PATHS,
    QUERIES,
    st.lists(st.tuples(st.sampled_from([b"X-A", b"x-a", b"Cookie", b"Origin"]), VALUES), max_size=4).filter(
        lambda pairs: [name for name, _ in pairs].count(b"Origin") <= 1
    ),
    st.lists(st.sampled_from([b"a", b"a, b", b"b ,c"]), max_size=2),
    st.sampled_from(["", "/api", "/v 1"]),
)
def test_the_scope_is_as_uvicorn_makes_it(
    path: str, query: str, more: Pairs, offers: list[bytes], root_path: str
) -> None:
    protocols = [(b"Sec-WebSocket-Protocol", offer) for offer in offers]
    raw = raw_request(usual(*more, *protocols), f"GET {path}{query} HTTP/1.1".encode())
    transport = FakeTransport()
    state = {"key": [1]}
    # uvicorn's HTTP side has made the names lowercase before its WebSocket protocol gets them.
    lowercase = raw_request([(name.lower(), value) for name, value in read(raw).headers], raw.partition(b"\r\n")[0])
    theirs = uvicorn_scope(lowercase, transport, root_path, state)
    ours = build_scope(
        read(raw),
        scheme="ws",
        client=client_address(transport),
        server=server_address(transport),
        root_path=root_path,
        state=state,
    )
    assert theirs.pop("asgi") == {"version": "3.0", "spec_version": "2.4"}
    # 2.5 only says that a disconnect message may have a reason; ours has one.
    assert ours.pop("asgi") == {"version": "3.0", "spec_version": "2.5"}
    if " " in root_path:
        # `raw_path` is a path as it could have stood in the request; uvicorn leaves the space in it.
        assert ours["raw_path"].startswith(b"/v%201/")
        theirs["raw_path"] = theirs["raw_path"].replace(b" ", b"%20")
    assert ours == theirs
    assert ours["state"] is not state


def test_a_root_path_not_in_ascii_is_encoded() -> None:
    scope = build_scope(read(raw_request()), scheme="ws", client=None, server=None, root_path="/caf\u00e9%20")
    assert (scope["path"], scope["raw_path"]) == ("/caf\u00e9%20/chat", b"/caf%C3%A9%20/chat")


def test_the_scope_names_what_the_server_offers_and_where_it_runs() -> None:
    line = object()
    scope = build_scope(
        read(raw_request()), scheme="wss", client=None, server=("/run/s", None), extensions={"trunkline.line": line}
    )
    assert scope["extensions"] == {"websocket.http.response": {}, "trunkline.line": line}
    assert (scope["scheme"], scope["client"], scope["server"]) == ("wss", None, ("/run/s", None))
    assert scope["state"] == {}


@pytest.mark.parametrize(
    ("info", "client", "server"),
    [
        ({}, ("10.0.0.1", 5000), ("10.0.0.2", 80)),
        ({"peername": ("::1", 5, 0, 0), "sockname": ["::1", 80]}, ("::1", 5), ("::1", 80)),
        ({"peername": "", "sockname": "/run/s"}, None, ("/run/s", None)),
        ({"peername": None, "sockname": ""}, None, None),
        ({"peername": OSError(), "sockname": OSError()}, None, None),
    ],
    ids=["IPv4", "IPv6", "unix", "unnamed", "gone"],
)
def test_addresses_are_what_the_transport_knows(
    info: dict[str, Any], client: tuple[str, int] | None, server: tuple[str, int | None] | None
) -> None:
    transport = FakeTransport(**info)
    assert client_address(transport) == client
    assert server_address(transport) == server
