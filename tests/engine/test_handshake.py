"""Reading the opening handshake: every rule of RFC 6455 section 4.2.1, in any cut of the bytes."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, strategies as st
from websockets.datastructures import Headers as WebSocketsHeaders
from websockets.http11 import Request as WebSocketsRequest
from websockets.server import ServerProtocol

from tests.engine.heads import KEY, USUAL, parse_response, raw_request, read, refused, usual
from trunkline.engine.answers import accept_key
from trunkline.engine.handshake import MAX_HEAD_SIZE, MAX_HEADERS, Extension, HandshakeError, HandshakeReader

if TYPE_CHECKING:
    from tests.engine.heads import Pairs


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
    "query without a path": (raw_request(line=b"GET ?chat HTTP/1.1"), 400, "target"),
    "host not in ASCII": (raw_request(line=b"GET http://\xe9/ HTTP/1.1"), 400, "target"),
    "no target": (raw_request(line=b"GET  HTTP/1.1"), 400, "target"),
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
        (b"HTTP://EXAMPLE.ORG/A", b"/A", b""),
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
