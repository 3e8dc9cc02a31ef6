"""The ways in which uvicorn serves, each with the engine in a process of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import websockets.sync.client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.engine.client_frames import BINARY, CLOSE, client_frame, header, text
from tests.engine.heads import raw_request
from tests.engine.served import COMMANDS, LOOPS, SECONDS, Raw, engine
from tests.support import unavailable

if TYPE_CHECKING:
    from pathlib import Path


HTTP_SIDES = ("h11", "httptools", "trunkline.engine:HTTPProtocol")


@pytest.mark.parametrize("http", HTTP_SIDES)
@pytest.mark.parametrize("loop", LOOPS)
def test_each_http_side_hands_over(http: str, loop: str) -> None:
    with engine("--http", http, "--loop", loop) as server, server.websocket("/echo") as client:
        for message in ("text", b"bytes", "x" * 1000, bytes(3 << 20)):
            client.send(message)
            assert client.recv(SECONDS) == message


def test_our_http_side_keeps_what_a_client_sends_behind_its_handshake_in_one_segment() -> None:
    request = raw_request(line=b"GET /echo HTTP/1.1") + text("one") + text("two")
    with engine(started_by="trunkline run") as server, server.client("/echo", request=request) as client:
        assert client.accepted().texts(2) == ["one", "two"]


async def over_tls(uri: str, context: ssl.SSLContext) -> None:
    """One thread alone: the synchronous client reads and writes an SSL object in two, for which it is not made."""
    async with asyncio.timeout(SECONDS):
        async with connect(f"{uri}/echo", proxy=None, ssl=context, max_size=None) as client:
            for message in ("text", bytes(3 << 20)):
                await client.send(message)
                assert await client.recv() == message
        async with connect(f"{uri}/facts", proxy=None, ssl=context) as client:
            assert json.loads(await client.recv())["scope"]["scheme"] == "wss"


@pytest.mark.parametrize("http", HTTP_SIDES[1:])
@pytest.mark.parametrize("loop", LOOPS)
def test_the_engine_serves_over_tls(loop: str, http: str, certificate: Path) -> None:
    options = (
        "--loop",
        loop,
        "--http",
        http,
        "--ssl-keyfile",
        f"{certificate}.key",
        "--ssl-certfile",
        str(certificate),
    )
    with engine(*options, "--ws-max-size", str(4 << 20)) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        uri = f"wss://127.0.0.1:{server.port}"
        asyncio.run(over_tls(uri, context))
        plain = socket.create_connection(("127.0.0.1", server.port), SECONDS)
        with Raw(context.wrap_socket(plain, server_hostname="127.0.0.1")).accepted() as raw:
            raw.sock.sendall(text("before") + header(BINARY, 10 << 20) + bytes(1 << 20))
            assert raw.texts(1) == ["before"]
            assert raw.close_code() == 1009


def test_the_engine_serves_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with engine("--uds", path), websockets.sync.client.unix_connect(path, "ws://localhost/facts") as client:
        facts = json.loads(client.recv(SECONDS))
    assert (facts["scope"]["server"], facts["scope"]["client"], facts["peer"]) == ([path, None], None, None)


def test_the_root_path_stands_in_front_of_the_path() -> None:
    with engine("--root-path", "/api") as server:
        scope = server.facts()["scope"]
    assert (scope["root_path"], scope["path"]) == ("/api", "/api/facts")


def test_the_client_is_who_a_trusted_proxy_says() -> None:
    with engine("--proxy-headers", "--forwarded-allow-ips", "127.0.0.1") as server:
        facts = server.facts(additional_headers={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "wss"})
    assert (facts["scope"]["client"], facts["scope"]["scheme"]) == (["1.2.3.4", 0], "wss")
    assert facts["peer"][0] == "127.0.0.1"


def test_a_connection_over_ipv6_says_whose_it_is() -> None:
    if not socket.has_ipv6:
        unavailable("this machine has no IPv6")
    with engine("--host", "::1") as server, server.websocket("/facts", host="[::1]") as client:
        scope = json.loads(client.recv(SECONDS))["scope"]
    assert (scope["client"][0], scope["server"]) == ("::1", ["::1", server.port])


def test_a_path_may_have_any_characters() -> None:
    with engine() as server, server.client("/caf%C3%A9/%2F/%FF/facts") as client:
        scope = json.loads(client.accepted().texts(1)[0])["scope"]
    assert scope["path"] == "/caf\xe9///\ufffd/facts"


# Options of uvicorn that concern WebSockets


@pytest.mark.parametrize("http", HTTP_SIDES)
def test_above_the_limit_of_concurrency_a_handshake_gets_503(http: str) -> None:
    with engine("--limit-concurrency", "3", "--http", http) as server:
        with server.client("/echo").accepted() as one, server.client("/echo").accepted() as two:
            with server.client("/echo").accepted(), server.client("/echo") as refused:
                assert refused.head().startswith(b"HTTP/1.1 503 ")
                assert refused.ended()
            for client in (one, two):
                client.sock.sendall(text("still here"))
                assert client.texts(1) == ["still here"]
        server.until(lambda facts: facts["connections"] == 1)


def test_compression_can_be_switched_off() -> None:
    for options, agreed in ((), True), (("--ws-per-message-deflate", "false"), False):
        with engine(*options) as server, server.websocket("/echo") as client:
            assert client.response is not None
            assert ("Sec-WebSocket-Extensions" in client.response.headers) is agreed


@pytest.mark.parametrize("loop", LOOPS)
def test_context_takeover_holds_in_both_directions(loop: str) -> None:
    with engine("--loop", loop, compression="takeover") as server, server.websocket("/echo") as client:
        assert client.response is not None
        assert "no_context_takeover" not in client.response.headers["Sec-WebSocket-Extensions"]
        for number in range(300):
            message = json.dumps({"number": number, "same": "as before"}) * (number % 60)
            client.send(message)
            assert client.recv(SECONDS) == message


def test_the_size_of_a_message_is_limited() -> None:
    with engine("--ws-max-size", "10") as server, server.websocket("/echo") as client:
        client.send("x" * 10)
        assert client.recv(SECONDS) == "x" * 10
        client.send("x" * 11)
        with pytest.raises(ConnectionClosedError) as caught:
            client.recv(SECONDS)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


def test_pings_are_sent_and_a_peer_that_does_not_answer_is_told_1011() -> None:
    options = ("--ws-ping-interval", "0.1", "--ws-ping-timeout", "0.2")
    with engine(*options) as server, server.client("/echo").accepted() as client:
        assert client.close_code() == 1011  # a raw client answers nothing
        assert client.ended()


def test_what_waits_for_the_application_is_limited() -> None:
    """Behind a queue of two messages reading stops: then the client's own buffers fill."""
    with engine("--ws-max-queue", "2", close_timeout=1) as server, server.client("/idle").accepted() as client:
        assert client.texts(1) == ["ready"]
        client.sock.setblocking(False)
        message = client_frame(BINARY, bytes(1 << 16))
        sent = 0
        with pytest.raises(BlockingIOError):
            while sent < 64 << 20:
                sent += client.sock.send(message)


# The log


@pytest.mark.parametrize("started_by", COMMANDS)
def test_the_log_has_the_path_and_the_answer_of_a_handshake_and_never_the_query(started_by: str) -> None:
    with engine(started_by=started_by) as server:
        with server.client("/echo?token=secret").accepted() as client:
            client.sock.sendall(client_frame(CLOSE))
            assert client.ended()
        server.log.wait_for(r'127\.0\.0\.1:\d+ - "WebSocket /echo" \[accepted\]')
        with pytest.raises(InvalidStatus, match="403"):
            server.websocket("/refuse?token=secret")
        server.log.wait_for(r'127\.0\.0\.1:\d+ - "WebSocket /refuse" 403')
        server.ends_within(SECONDS)
        assert "secret" not in "".join(server.log.all_lines())
