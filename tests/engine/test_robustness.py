"""What breaks servers, on real sockets: the engine beneath uvicorn in a child process, clients that misbehave."""

from __future__ import annotations

import random
import socket

import pytest

from tests.engine.client_frames import BINARY, CLOSE, PING, PONG, client_frame, header, text
from tests.engine.heads import raw_request
from tests.engine.served import LOOPS, SECONDS, Engine, Raw, engine, reset_at_close

# Busy handlers


@pytest.mark.parametrize("loop", LOOPS)
def test_a_handler_that_is_busy_for_longer_than_the_ping_timeout_keeps_its_connection(loop: str) -> None:
    options = ("--loop", loop, "--ws-ping-interval", "0.2", "--ws-ping-timeout", "0.2")
    with engine(*options) as server, server.websocket("/busy?seconds=1.5", ping_interval=None) as client:
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


@pytest.mark.parametrize("loop", LOOPS)
def test_a_reset_is_known_at_once_behind_unread_messages_which_are_delivered_first(loop: str) -> None:
    with engine("--loop", loop) as server:
        with server.client("/watch").accepted() as client:
            assert client.texts(1) == ["ready"]
            client.sock.sendall(text("a") + client_frame(PING, b"?"))
            assert client.frame() == (PONG, b"?"), "so what came before it has been read"
            reset_at_close(client.sock)
        server.until(lambda facts: "watch 1006 a" in facts["events"] and facts["connections"] == 1)


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
                    reset_at_close(sock)
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


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_goes_on_sending_sees_the_servers_close(loop: str) -> None:
    large = client_frame(BINARY, bytes(2 << 20))
    with engine("--loop", loop) as server, server.client("/farewell") as client:
        for _ in range(10):
            client.sock.sendall(large)
        assert client.accepted().texts(1) == ["ready"]
        assert client.frame() == (CLOSE, (4000).to_bytes(2) + b"enough")
        client.sock.sendall(client_frame(CLOSE, (4000).to_bytes(2)))
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
