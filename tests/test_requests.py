"""What a request and a WebSocket have in common, and the request; side by side with Starlette's where claimed equal."""

from __future__ import annotations

import http.cookies
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import anyio
import pytest
import starlette.requests as reference
from hypothesis import example, given, strategies as st

from trunkline.datastructures import URL, Address, State, URLPath
from trunkline.exceptions import HTTPException
from trunkline.requests import ClientDisconnect, HTTPConnection, Request, cookie_parser, empty_send
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from trunkline.types import Message, Receive


def scope(type_: str = "http", **more: Any) -> dict[str, Any]:
    return {"type": type_, "method": "GET", "path": "/live", "query_string": b"", "headers": [], **more}


def receiving(*messages: Message) -> Receive:
    """A receive channel that gives these messages and then waits for ever."""
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await anyio.sleep_forever()
        return waiting.pop(0)

    return receive


def body_in(*pieces: bytes) -> list[Message]:
    return [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]


# What a connection is


@pytest.mark.parametrize("type_", ["http", "websocket"])
def test_a_connection_serves_requests_and_websockets(type_: str) -> None:
    assert HTTPConnection(scope(type_))["type"] == type_


def test_a_scope_of_another_type_is_refused_in_words() -> None:
    with pytest.raises(AssertionError, match=r"HTTPConnection takes .* 'http' or 'websocket', but got 'lifespan'"):
        HTTPConnection(scope("lifespan"))
    with pytest.raises(AssertionError, match=r"Request takes .* type 'http', but got 'websocket'; use .*WebSocket"):
        Request(scope("websocket"))


def test_a_connection_is_a_mapping_over_its_scope() -> None:
    connection = HTTPConnection({"type": "http", "path": "/"})

    assert isinstance(connection, Mapping)
    assert dict(connection) == {"type": "http", "path": "/"}
    assert len(connection) == 2
    assert connection.get("missing") is None


def test_a_connection_is_equal_only_to_itself() -> None:
    one, other = HTTPConnection(scope()), HTTPConnection(scope())

    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_nothing_is_read_from_the_scope_before_it_is_asked_for() -> None:
    read: list[str] = []

    class Recording(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            read.append(key)
            return super().__getitem__(key)

    HTTPConnection(Recording(scope()))

    assert read == ["type"]


@pytest.mark.parametrize("name", ["url", "base_url", "headers", "query_params", "cookies", "state"])
def test_what_is_worked_out_is_worked_out_once(name: str) -> None:
    connection = HTTPConnection(scope())

    assert getattr(connection, name) is getattr(connection, name)


BYTES = st.binary(max_size=8)
SCOPES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["http", "websocket"]),
        "path": st.text(max_size=8).map(lambda path: f"/{path}"),
        "query_string": st.text(max_size=8).map(str.encode),
        "headers": st.lists(
            st.tuples(st.sampled_from([b"host", b"cookie", b"x"]), st.sampled_from([b"a=b; c", b"e.org"]) | BYTES)
        ),
    },
    optional={
        "scheme": st.sampled_from(["http", "https", "ws", "wss"]),
        "server": st.sampled_from([None, ("::1", 80), ("example.org", 8000)]),
        "client": st.sampled_from([None, ("127.0.0.1", 5000), ["::1", 1]]),
        "root_path": st.sampled_from(["", "/mounted", "/mounted/"]),
        "app_root_path": st.sampled_from(["", "/app"]),
        "path_params": st.just({"room": 7}),
        "state": st.just({"a": 1}),
    },
)


@given(SCOPES)
def test_a_connection_describes_its_scope_as_starlettes_does(given_scope: dict[str, Any]) -> None:
    def described(connection: Any) -> list[object]:
        return [
            str(connection.url),
            str(connection.base_url),
            connection.headers.raw,
            connection.query_params.multi_items(),
            connection.path_params,
            connection.cookies,
            connection.client,
            list(connection.state),
            dict(connection),
        ]

    mine, theirs = dict(given_scope), dict(given_scope)
    assert described(HTTPConnection(mine)) == described(reference.HTTPConnection(theirs))


def test_a_scope_that_says_little_is_enough() -> None:
    connection = HTTPConnection({"type": "websocket", "path": "/é\udcff"})

    assert str(connection.url) == "/é\udcff"
    assert str(connection.base_url) == "/"
    assert (
        dict(connection.headers) == dict(connection.query_params) == connection.cookies == connection.path_params == {}
    )
    assert connection.client is None


def test_the_client_is_an_address() -> None:
    assert HTTPConnection(scope(client=["127.0.0.1", 5000])).client == Address("127.0.0.1", 5000)


def test_the_state_is_that_of_the_scope_and_made_where_it_is_missing() -> None:
    with_state, without = scope(state={"a": 1}), scope()
    HTTPConnection(with_state).state.b = 2
    connection = HTTPConnection[State](without)
    connection.state.c = 3

    assert with_state["state"] == {"a": 1, "b": 2}
    assert without["state"] == {"c": 3}


class Kept(TypedDict):
    """What a lifespan yields."""

    pool: str


def test_the_state_may_have_a_type_of_ones_own() -> None:
    pool: str = HTTPConnection[Kept](scope(state={"pool": "a"})).state["pool"]
    of_a_websocket: str = WebSocket[Kept](scope("websocket", state={"pool": "b"}), receiving(), empty_send).state[
        "pool"
    ]
    assert (pool, of_a_websocket) == ("a", "b")


def test_the_application_is_that_of_the_scope() -> None:
    application = object()

    assert HTTPConnection(scope(app=application)).app is application


# What a middleware gives


@pytest.mark.parametrize(
    ("name", "middleware"),
    [("session", "SessionMiddleware"), ("auth", "AuthenticationMiddleware"), ("user", "AuthenticationMiddleware")],
)
def test_what_a_middleware_gives_names_the_middleware_where_it_is_missing(name: str, middleware: str) -> None:
    with pytest.raises(AssertionError, match=rf"{middleware} must be installed to access request.{name}"):
        getattr(HTTPConnection(scope()), name)
    assert getattr(HTTPConnection({**scope(), name: 7}), name) == 7


def test_a_session_is_told_that_it_was_used() -> None:
    class Session(dict[str, Any]):
        accessed = False

        def mark_accessed(self) -> None:
            self.accessed = True

    session = Session()

    assert HTTPConnection(scope(session=session)).session is session
    assert session.accessed


# url_for


class Routes:
    def __init__(self, root: str) -> None:
        self.root = root

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        return URLPath(f"{self.root}/{name}/{path_params['room']}", "websocket")


def test_url_for_asks_the_router_and_else_the_application() -> None:
    common = scope("websocket", scheme="wss", headers=[(b"host", b"example.org")], app_root_path="/base")
    routed = HTTPConnection({**common, "router": Routes("/r"), "app": Routes("/a")})
    applied = HTTPConnection({**common, "app": Routes("/a")})

    assert routed.url_for("live", room=7) == URL("wss://example.org/base/r/live/7")
    assert applied.url_for("live", room=7) == URL("wss://example.org/base/a/live/7")


def test_url_for_outside_an_application_says_so() -> None:
    with pytest.raises(RuntimeError, match="can only be used inside a trunkline application or with a router"):
        HTTPConnection(scope()).url_for("live")


# Cookies


@given(st.text(st.sampled_from('ab=; "\\01234é,\t[{'), max_size=30))
@example('a="b\\073c\\"d\\\\"; "; b="; c=""; =d; e=f=g')
def test_cookies_are_parsed_as_starlette_does(header: str) -> None:
    assert cookie_parser(header) == reference.cookie_parser(header)


@given(st.text(st.characters(max_codepoint=255)))
def test_a_cookie_that_python_has_written_is_read_back(value: str) -> None:
    written = http.cookies.SimpleCookie().value_encode(value)[1]

    # What needs no quotes has no spaces at its ends either.
    assert cookie_parser(f"a={written}") == {"a": value}


def test_the_cookies_of_several_headers_are_merged() -> None:
    headers = [(b"cookie", b"a=1; b=2"), (b"x", b"y"), (b"cookie", b"b=3; c=4")]

    assert HTTPConnection(scope(headers=headers)).cookies == {"a": "1", "b": "3", "c": "4"}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("header", ["a=b;" * 2**18, 'a="' + "\\" * 2**20 + '"', "=" * 2**20, " " * 2**20, '"' * 2**20])
def test_a_mebibyte_of_cookies_is_read_in_linear_time(header: str) -> None:
    headers = [(b"cookie", header.encode())]

    assert len(HTTPConnection(scope(headers=headers)).cookies) <= 1


def test_ten_thousand_headers_are_read() -> None:
    headers = [(b"x-%d" % number, b"") for number in range(10_000)] + [(b"cookie", b"a=1")]

    assert HTTPConnection(scope(headers=headers)).cookies == {"a": "1"}


# The request


@pytest.mark.anyio
@pytest.mark.parametrize("pieces", [(b"123",), (b"1", b"23"), (b"123", b""), (b"", b"12", b"", b"3")])
async def test_a_body_is_read_whole_and_once(pieces: tuple[bytes, ...]) -> None:
    request = Request(scope(), receiving(*body_in(*pieces)))

    assert await request.body() == await request.body() == b"123"
    assert await request.json() == await request.json() == 123
    assert [piece async for piece in request.stream()] == [b"123", b""]


@pytest.mark.anyio
async def test_a_body_may_come_without_keys_that_have_defaults() -> None:
    assert await Request(scope(), receiving({"type": "http.request"})).body() == b""


@pytest.mark.anyio
async def test_a_body_is_streamed_in_the_pieces_in_which_it_comes() -> None:
    request = Request(scope(), receiving(*body_in(b"1", b"", b"23")))

    assert [piece async for piece in request.stream()] == [b"1", b"23", b""]
    with pytest.raises(RuntimeError, match="Stream consumed"):
        await request.body()


@pytest.mark.anyio
async def test_two_readers_of_one_stream_share_its_pieces() -> None:
    request = Request(scope(), receiving(*body_in(b"1", b"2", b"3")))
    one, other = request.stream(), request.stream()

    assert [await anext(reader) for reader in (one, other, one, one, other)] == [b"1", b"2", b"3", b"", b""]
    for reader in (one, other):
        with pytest.raises(StopAsyncIteration):
            await anext(reader)


@pytest.mark.anyio
async def test_a_client_that_goes_before_the_end_of_its_body_is_noticed() -> None:
    request = Request(scope(), receiving({"type": "http.request", "more_body": True}, {"type": "http.disconnect"}))

    with pytest.raises(ClientDisconnect, match="gone before its request was complete"):
        await request.body()
    assert await request.is_disconnected()


@pytest.mark.anyio
async def test_a_message_that_is_no_part_of_a_request_is_refused() -> None:
    request = Request(scope(), receiving({"type": "websocket.receive"}))

    with pytest.raises(RuntimeError, match=r'"http.request" or "http.disconnect", but got \'websocket.receive\''):
        await request.body()


@pytest.mark.anyio
async def test_invalid_json_is_left_to_the_endpoint() -> None:
    with pytest.raises(json.JSONDecodeError):
        await Request(scope(), receiving(*body_in(b"{"))).json()


@pytest.mark.anyio
async def test_a_body_over_the_limit_is_refused_as_soon_as_it_is_known() -> None:
    limit = Request.max_body_size
    assert limit == 1024 * 1024
    declared = Request(scope(headers=[(b"content-length", b"%d" % (limit + 1))]))
    counted = Request(scope(), receiving(*body_in(b"x" * limit, b"x", b"never read")))
    fitting = Request(scope(headers=[(b"content-length", b"%d" % limit)]), receiving(*body_in(b"x" * limit)))

    for request in (declared, counted):
        with pytest.raises(HTTPException, match="413: The body of the request is over the limit of 1048576 bytes"):
            await request.body()
    assert len(await fitting.body()) == limit


@pytest.mark.anyio
async def test_the_limit_is_set_on_the_request_or_lifted() -> None:
    small, unlimited = (Request(scope(), receiving(*body_in(b"x" * 2**21))) for _ in range(2))
    small.max_body_size = 3
    unlimited.max_body_size = None

    with pytest.raises(HTTPException, match="over the limit of 3 bytes"):
        await small.body()
    assert len(await unlimited.body()) == 2**21


@pytest.mark.anyio
@pytest.mark.parametrize("declared", [b"-1", b"x", b"\xb2", b"9" * 5000])
async def test_a_length_that_is_no_length_is_left_to_the_counting(declared: bytes) -> None:
    request = Request(scope(headers=[(b"content-length", declared)]), receiving(*body_in(b"1")))

    assert await request.body() == b"1"


@pytest.mark.anyio
async def test_a_stream_has_no_limit() -> None:
    request = Request(scope(), receiving(*body_in(b"x" * 2**20, b"x")))

    assert sum([len(piece) async for piece in request.stream()]) == 2**20 + 1


@pytest.mark.anyio
async def test_asking_whether_the_client_is_there_does_not_wait() -> None:
    gone = Request(scope(), receiving({"type": "http.disconnect"}))
    there = Request(scope(), receiving())

    assert [await gone.is_disconnected(), await gone.is_disconnected()] == [True, True]
    assert not await there.is_disconnected()


@pytest.mark.anyio
async def test_channels_that_were_not_given_say_so() -> None:
    request = Request(scope())

    with pytest.raises(RuntimeError, match="Receive channel has not been made available"):
        await request.body()
    with pytest.raises(RuntimeError, match="Send channel has not been made available"):
        await request._send({})


def test_a_request_has_a_method_and_its_receive_channel() -> None:
    receive = receiving()
    request = Request(scope(method="POST"), receive)

    assert request.method == "POST"
    assert request.receive is receive
