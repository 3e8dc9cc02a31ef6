"""The answers to an opening handshake, as an independent HTTP client reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.heads import ACCEPT, KEY, parse_response, raw_request, read, usual
from trunkline.engine.answers import DenialResponse, accept_key, build_accept, build_refusal

if TYPE_CHECKING:
    from tests.engine.heads import Pairs
    from trunkline.types import Message

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


@pytest.mark.parametrize("offered", [b"a, b", b"", b"C"])
def test_a_subprotocol_that_was_not_offered_is_sent_all_the_same(offered: bytes) -> None:
    request = read(raw_request(usual((b"Sec-WebSocket-Protocol", offered))))
    assert b"\r\nSec-WebSocket-Protocol: c\r\n" in build_accept(request, subprotocol="c")


def test_a_subprotocol_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="line break"):
        build_accept(read(raw_request()), subprotocol="c\r\nx: y")


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
