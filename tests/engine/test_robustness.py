"""What breaks servers, on real sockets: the engine beneath uvicorn in a child process, clients that misbehave."""

from __future__ import annotations

import json
import random
import shutil
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
import websockets.sync.client

from tests.engine.client_frames import BINARY, CLOSE, PING, client_frame, header, text
from tests.engine.heads import raw_request
from tests.engine.served import LOOPS, SECONDS, Engine, Raw, engine
from tests.support import unavailable

if TYPE_CHECKING:
    from pathlib import Path

# Busy handlers


@pytest.mark.parametrize("loop", LOOPS)
def test_a_handler_that_is_busy_for_longer_than_the_ping_timeout_keeps_its_connection(loop: str) -> None:
    options = ("--loop", loop, "--ws-ping-interval", "0.2", "--ws-ping-timeout", "0.2")
    with engine(*options) as server:
        uri = f"ws://127.0.0.1:{server.port}/busy?seconds=1.5"
        with websockets.sync.client.connect(uri, proxy=None, ping_interval=None) as client:
            assert client.recv(SECONDS) == "ready"
            for number in range(100):  # more than the inbound bound
                client.send(f"{number}")
            assert [client.recv(SECONDS) for _ in range(100)] == [f"{number}" for number in range(100)]


def test_the_end_is_known_at_once_behind_unread_messages_and_they_are_answered_before_it() -> None:
    with engine() as server, server.client("/watch").accepted() as client:
        assert client.texts(1) == ["ready"]
        client.sock.sendall(text("a") + text("b") + client_frame(CLOSE, (3005).to_bytes(2)))
        assert client.texts(2) == ["3005 a", "3005 b"]
        assert client.close_code() == 3005
        assert client.ended()


# Peers that do not read


def stalled(server: Engine, path: str, number: int) -> list[Raw]:
    """Clients that never read."""
    clients = []
    for _ in range(number):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        clients.append(Raw(sock, path))
    return clients


@pytest.mark.parametrize("loop", LOOPS)
def test_peers_that_stop_reading_are_dropped_when_a_send_has_waited_long_enough(loop: str) -> None:
    with engine("--loop", loop, send_timeout=0.5) as server:
        clients = stalled(server, "/flood", 20)
        server.until(lambda facts: facts["events"].count("flood ended") == 20 and facts["connections"] == 1)
        for client in clients:
            with client:
                assert client.ended()


@pytest.mark.parametrize("loop", LOOPS)
def test_peers_that_do_not_read_what_was_pushed_are_dropped_by_their_pings_and_the_memory_is_freed(loop: str) -> None:
    options = ("--loop", loop, "--ws-ping-interval", "0.5", "--ws-ping-timeout", "0.5")
    with engine(*options) as server:
        before = server.facts()["resident"]
        clients = stalled(server, "/push", 10)
        ended = "push ended 1011"
        facts = server.until(lambda facts: facts["events"].count(ended) == 10 and facts["connections"] == 1)
        assert facts["resident"] - before < 60 << 20, "of 200 MiB pushed"
        for client in clients:
            with client:
                assert client.ended()


# Handshakes


def test_a_handshake_that_the_application_does_not_answer_is_503() -> None:
    with engine(handshake_timeout=0.3) as server, server.client("/late") as client:
        assert client.head().startswith(b"HTTP/1.1 503 ")
        assert client.ended()


def test_partial_handshakes_and_drops_at_random_leave_nothing_behind() -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    request = raw_request(line=b"GET /echo HTTP/1.1")
    frames = text("x" * 300) + client_frame(PING, b"?") + client_frame(CLOSE)
    with engine() as server:
        before = server.facts()
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", server.port), SECONDS) as sock:
                sock.sendall((request + frames)[: chance.randrange(len(request + frames))])
                if chance.random() < 0.5:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset
        after = server.until(lambda facts: facts["connections"] == 1 and facts["tasks"] <= before["tasks"])
        assert after["resident"] - before["resident"] < 30 << 20, f"seed {seed}"


def test_frames_that_come_byte_by_byte_are_read() -> None:
    with engine() as server, server.client("/echo").accepted() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in text("slowly") + client_frame(CLOSE, (1000).to_bytes(2)):
            client.sock.sendall(bytes([byte]))
        assert client.texts(1) == ["slowly"]
        assert client.close_code() == 1000


# The end of a stream


@pytest.mark.parametrize("loop", LOOPS)
def test_a_socket_that_is_half_closed_without_a_close_frame_ends(loop: str) -> None:
    with engine("--loop", loop) as server:
        with server.client("/echo").accepted() as client:
            client.sock.sendall(text("a"))
            assert client.texts(1) == ["a"]
            client.sock.shutdown(socket.SHUT_WR)
            assert client.ended()
        server.until(lambda facts: facts["connections"] == 1)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_socket_that_is_half_closed_behind_a_close_frame_gets_its_answers(loop: str) -> None:
    with engine("--loop", loop) as server, server.client("/busy?seconds=0.2").accepted() as client:
        client.sock.sendall(text("a") + text("b") + client_frame(CLOSE, (3005).to_bytes(2)))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.texts(3) == ["ready", "a", "b"]
        assert client.close_code() == 3005
        assert client.ended()


# Violations


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_in_the_middle_of_a_large_message_sees_why_it_is_closed(loop: str) -> None:
    with engine("--loop", loop, "--ws-max-size", "65536") as server:
        for _ in range(5):
            with server.client("/echo").accepted() as client:
                sees_1009(client)


def sees_1009(client: Raw) -> None:
    """Send 10 MiB and only then look at what has come: the close frame, not a reset in its place."""
    client.sock.sendall(text("before") + header(BINARY, 10 << 20))
    for _ in range(160):
        client.sock.sendall(bytes(1 << 16))
    assert client.texts(1) == ["before"]
    assert client.close_code() == 1009
    client.sock.shutdown(socket.SHUT_WR)
    assert client.ended()


# Ways to serve


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("loop", LOOPS)
def test_both_http_sides_of_uvicorn_hand_over(http: str, loop: str) -> None:
    with engine("--http", http, "--loop", loop) as server:
        uri = f"ws://127.0.0.1:{server.port}/echo"
        with websockets.sync.client.connect(uri, proxy=None, max_size=None) as client:
            for message in ("text", b"bytes", "x" * 1000, bytes(3 << 20)):
                client.send(message)
                assert client.recv(SECONDS) == message


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        unavailable("openssl is not there, which makes a certificate")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{path}.key"]
    subprocess.run([openssl, "req", "-x509", "-days", "2", *name, *key, "-out", path], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("loop", LOOPS)
def test_the_engine_serves_over_tls(loop: str, certificate: Path) -> None:
    options = ("--loop", loop, "--ssl-keyfile", f"{certificate}.key", "--ssl-certfile", str(certificate))
    with engine(*options, "--ws-max-size", str(4 << 20)) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        uri = f"wss://127.0.0.1:{server.port}"
        with websockets.sync.client.connect(f"{uri}/echo", proxy=None, ssl=context, max_size=None) as client:
            for message in ("text", bytes(3 << 20)):
                client.send(message)
                assert client.recv(SECONDS) == message
        with websockets.sync.client.connect(f"{uri}/facts", proxy=None, ssl=context) as client:
            assert json.loads(client.recv(SECONDS))["scope"]["scheme"] == "wss"
        plain = socket.create_connection(("127.0.0.1", server.port), SECONDS)
        with Raw(context.wrap_socket(plain, server_hostname="127.0.0.1")).accepted() as raw:
            raw.sock.sendall(text("before") + header(BINARY, 10 << 20) + bytes(1 << 20))
            assert raw.texts(1) == ["before"]
            assert raw.close_code() == 1009


def test_the_engine_serves_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with engine("--uds", path), websockets.sync.client.unix_connect(path, "ws://localhost/facts") as client:
        scope = json.loads(client.recv(SECONDS))["scope"]
    assert (scope["server"], scope["client"]) == ([path, None], None)


def test_the_root_path_stands_in_front_of_the_path() -> None:
    with engine("--root-path", "/api") as server:
        scope = server.facts()["scope"]
    assert (scope["root_path"], scope["path"]) == ("/api", "/api/facts")


def test_the_client_is_who_a_trusted_proxy_says() -> None:
    with engine("--proxy-headers", "--forwarded-allow-ips", "127.0.0.1") as server:
        scope = server.facts(additional_headers={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "wss"})["scope"]
    assert (scope["client"], scope["scheme"]) == (["1.2.3.4", 0], "wss")
