"""The way past uvicorn's HTTP parser: what is handed to whom, in memory; the real servers are in the contract suite."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from tests.engine.client_frames import TEXT, client_frame
from tests.engine.heads import raw_request
from tests.engine.memory import BareTransport, run, settle
from trunkline.engine import HTTPProtocol, WebSocketProtocol
from trunkline.engine.front import _cut_query, _is_handshake

if TYPE_CHECKING:
    from trunkline.types import Receive, Scope, Send


def head(lines: bytes = b"") -> bytes:
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n"


class Transport(BareTransport):
    """One that changes its protocol, as uvicorn asks it to."""

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None:
        pass


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": (await receive())["text"]})
    await receive()


class Client:
    """A connection whose server has nothing but the front yet."""

    def __init__(self, **options: Any) -> None:
        config = Config(echo, log_level="critical", **options)
        config.load()
        self.state: Any = ServerState()
        self.transport = Transport()
        self.front = HTTPProtocol(config, self.state, {}, asyncio.get_running_loop())
        self.transport.protocol = self.front
        self.front.connection_made(self.transport)


def test_a_handshake_in_one_piece_is_handed_over_with_what_comes_behind_it() -> None:
    async def test() -> None:
        client = Client(ws=WebSocketProtocol)
        client.front.data_received(raw_request() + client_frame(TEXT, b"early"))
        await settle()
        response, _, frames = bytes(client.transport.written).partition(b"\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 101 ")
        assert frames == b"\x81\x05early"
        assert [type(one) for one in client.state.connections] == [WebSocketProtocol]
        client.transport.protocol.connection_lost(None)
        await settle()
        assert not client.state.connections
        assert not client.state.tasks

    run(test())


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"ws": WebSocketProtocol}, head()),
        ({"ws": "none"}, raw_request()),
    ],
    ids=["another request", "no WebSockets wanted"],
)
def test_all_else_is_for_uvicorn(options: dict[str, Any], data: bytes) -> None:
    async def test() -> None:
        client = Client(**options)
        client.front.data_received(data)
        await settle()
        assert bytes(client.transport.written).startswith(b"HTTP/1.1 204 ")
        assert client.transport.protocol is not client.front
        assert client.state.connections == {client.transport.protocol}
        client.transport.protocol.connection_lost(None)

    run(test())


def test_a_head_in_pieces_is_for_uvicorn_and_ends_in_the_same_protocol() -> None:
    async def test() -> None:
        client = Client(ws=WebSocketProtocol)
        data = raw_request()
        client.front.data_received(data[:40])
        client.transport.protocol.data_received(data[40:])
        await settle()
        assert bytes(client.transport.written).startswith(b"HTTP/1.1 101 ")
        assert [type(one) for one in client.state.connections] == [WebSocketProtocol]
        client.transport.protocol.connection_lost(None)

    run(test())


def test_who_says_nothing_is_known_until_he_goes_or_the_server_stops() -> None:
    async def test() -> None:
        client = Client(ws=WebSocketProtocol)
        assert client.state.connections == {client.front}
        client.front.shutdown()
        assert client.transport.closed
        client.front.connection_lost(None)
        assert not client.state.connections

    run(test())


UPGRADE, CONNECTION = b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (head(UPGRADE + CONNECTION), True),
        (head(b"upgrade:WebSocket \r\nCONNECTION:keep-alive , upgrade\r\n"), True),
        (head(b"upgrade: websocket\r\nconnection: Upgrade, keep-alive\r\n"), True),
        (head(UPGRADE), False),
        (head(CONNECTION), False),
        (head(UPGRADE + b"Connection: keep-alive\r\n"), False),
        (head(UPGRADE + b"Connection: x-upgrade\r\n"), False),
        (head(UPGRADE + b"Connection: upgraded\r\n"), False),
        (head(b"Upgrade: h2c\r\n" + CONNECTION), False),
        (head(UPGRADE + CONNECTION)[:-1], False),
        (b"POST" + head(UPGRADE + CONNECTION)[3:], False),
        (head() + UPGRADE + CONNECTION + b"\r\n", False),
        (b"", False),
    ],
)
def test_what_is_taken_for_a_handshake(data: bytes, expected: bool) -> None:
    assert _is_handshake(data) is expected


def test_looking_at_a_head_takes_time_in_proportion_to_it() -> None:
    # A pattern that backtracks would not come to an end here.
    for line in (b"upgrade:" + b" " * 60_000, b"connection:" + b"," * 60_000, b"connection:" + b" ," * 30_000):
        assert not _is_handshake(head(UPGRADE + line + b"x\r\n"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("127.0.0.1:1", "GET", "/feed?token=secret", "1.1", 200), '127.0.0.1:1 - "GET /feed HTTP/1.1" 200'),
        (("127.0.0.1:1", "GET", "/feed", "1.1", 200), '127.0.0.1:1 - "GET /feed HTTP/1.1" 200'),
    ],
)
def test_the_access_log_shows_the_path_without_the_query(args: Any, words: str) -> None:
    async def test() -> logging.LogRecord:
        Client()
        Client()
        logger = logging.getLogger("uvicorn.access")
        assert logger.filters.count(_cut_query) == 1
        record = logger.makeRecord(logger.name, logging.INFO, "", 1, '%s - "%s %s HTTP/%s" %d', args, None)
        assert logger.filter(record)
        return record

    assert run(test()).getMessage() == words


def test_other_lines_of_the_access_log_stay_as_they_are() -> None:
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 1, "%s", ("what?",), None)
    assert _cut_query(record)
    assert record.getMessage() == "what?"
