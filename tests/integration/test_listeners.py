"""Listeners on real servers: what they answer, what is held for them, and how their connections end."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.client_frames import BINARY, CLOSE, client_frame, text
from tests.engine.served import LOOPS, SECONDS, Raw, engine, reset_at_close

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.engine.served import Engine

HTTP_SIDES = ("httptools", "trunkline.engine:HTTPProtocol")
WAYS = ("/echo", "/at-once", "/waits")
GOODBYE = client_frame(CLOSE, (4000).to_bytes(2))


def serving(*options: str, **settings: Any) -> AbstractContextManager[Engine]:
    return engine(*options, app="tests.integration.listeners_app:app", **settings)


@pytest.mark.parametrize("http", HTTP_SIDES)
@pytest.mark.parametrize("loop", LOOPS)
def test_idle_connections_have_no_task_and_answer_all_the_same(loop: str, http: str) -> None:
    with serving("--loop", loop, "--http", http) as server, ExitStack() as stack:
        before = server.facts()
        clients = [stack.enter_context(server.client(WAYS[number % 3]).accepted()) for number in range(30)]
        facts = server.until(lambda facts: facts["tasks"] <= before["tasks"])
        assert facts["connections"] == before["connections"] + 30
        for number, client in enumerate(clients):
            client.sock.sendall(text(f"{number}"))
        for number, client in enumerate(clients):
            assert client.texts(1) == [f"{number}"]
        facts = server.until(lambda facts: facts["tasks"] <= before["tasks"])
        assert facts["connections"] == before["connections"] + 30
        for client in clients:
            client.sock.sendall(GOODBYE)
            assert client.close_code() == 4000
            assert client.ended()
        server.until(lambda facts: facts["connections"] == before["connections"])


@pytest.mark.parametrize("loop", LOOPS)
def test_many_messages_in_pieces_of_any_size_are_answered_in_order(loop: str) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    wanted = [f"{number} {'x' * chance.choice((0, 10, 200, 20_000))}" for number in range(300)]
    stream = b"".join(map(text, wanted))
    with serving("--loop", loop) as server:
        for path in WAYS:
            with server.client(path).accepted() as client:
                position = 0
                while position < len(stream):
                    size = chance.choice((1, 100, 10_000, 200_000))
                    client.sock.sendall(stream[position : position + size])
                    position += size
                assert client.texts(len(wanted)) == wanted, f"seed {seed}"


def test_binary_messages_and_one_of_the_wrong_kind() -> None:
    with serving() as server, server.client("/binary").accepted() as client:
        client.sock.sendall(client_frame(BINARY, b"\0\1") + text("text") + client_frame(BINARY, bytes(70_000)))
        assert client.frame() == (BINARY, b"\0\1")
        (error,) = client.texts(1)
        assert '"frame_type"' in error
        assert client.frame() == (BINARY, bytes(70_000))


def test_a_thousand_idle_connections_take_little_memory() -> None:
    with serving("--http", HTTP_SIDES[1]) as server, ExitStack() as stack:
        for _ in range(50):  # what a process takes once
            server.client("/echo").accepted().sock.close()
        before = server.until(lambda facts: facts["connections"] == 1)
        for _ in range(1000):
            stack.enter_context(server.client("/echo").accepted())
        after = server.facts()
        assert after["tasks"] <= before["tasks"]
        assert (after["resident"] - before["resident"]) / 1000 < 6 << 10, "bytes for each"


@pytest.mark.parametrize("loop", LOOPS)
def test_peers_that_are_killed_are_noticed_at_once(loop: str) -> None:
    with serving("--loop", loop) as server:
        for path in WAYS:
            with server.client(path).accepted() as client:
                client.sock.sendall(text("a") * 100)
                reset_at_close(client.sock)
        with server.client("/room?who=anna").accepted() as client:
            assert client.texts(1) == ["welcome, anna"]
            reset_at_close(client.sock)
        facts = server.until(lambda facts: bool(facts["events"]) and facts["connections"] == 1)
        assert facts["events"] == ["anna 1006"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_reads_nothing_is_slowed_down_and_loses_nothing(loop: str) -> None:
    number = 4000  # of 16 KiB
    with serving("--loop", loop, send_timeout=20) as server:
        before = server.facts()["resident"]
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        with Raw(sock, "/grows").accepted() as client:
            sock.sendall(text("x") * number)
            facts = server.until(lambda facts: facts["tasks"] > 2)
            time.sleep(0.2)  # in which it could take more
            facts = server.facts()
            assert facts["resident"] - before < 8 << 20, "of 64 MiB"
            assert client.texts(number) == ["x" * 16384] * number


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_reads_nothing_for_too_long_is_dropped(loop: str) -> None:
    with serving("--loop", loop, send_timeout=0.3) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        with Raw(sock, "/grows").accepted():
            sock.sendall(text("x") * 4000)
            server.until(lambda facts: facts["connections"] == 1)


def test_an_error_closes_with_1011_and_is_logged_once() -> None:
    with serving() as server:
        with server.client("/fails").accepted() as client:
            client.sock.sendall(text("me") * 3)
            assert client.close_code() == 1011
        server.until(lambda facts: facts["connections"] == 1)
        server.process.send_signal(signal.SIGTERM)
        log = "".join(server.log.all_lines())
        assert log.count("LookupError: of me") == 1
        assert log.count("Exception in ASGI application") == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_stops_closes_with_1012_and_waits_for_the_end_of_each(loop: str) -> None:
    with serving("--loop", loop) as server, ExitStack() as stack:
        names = [f"client-{number}" for number in range(10)]
        clients = [stack.enter_context(server.client(f"/room?who={name}").accepted()) for name in names]
        idle = stack.enter_context(server.client("/echo").accepted())
        for client, name in zip(clients, names, strict=True):
            assert client.texts(1) == [f"welcome, {name}"]
        server.process.send_signal(signal.SIGTERM)
        for client in [*clients, idle]:
            assert client.close_code() == 1012
            client.sock.sendall(client_frame(CLOSE, (1012).to_bytes(2)))
            assert client.ended()
        assert server.process.wait(SECONDS) in (0, -signal.SIGTERM)
        log = "".join(server.log.all_lines())
        for name in names:
            assert f"left: {name} 1012" in log
        assert "Traceback" not in log


def test_workers_that_stop_close_their_listeners() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving("--workers", "2", "--port", str(port)) as server, ExitStack() as stack:
        for _ in range(2):
            server.log.wait_for("Application startup complete")
        server.port = port
        server.listens()
        clients = [stack.enter_context(server.client(f"/room?who={number}").accepted()) for number in range(20)]
        for number, client in enumerate(clients):
            assert client.texts(1) == [f"welcome, {number}"]
        os.kill(server.process.pid, signal.SIGTERM)
        for client in clients:
            assert client.close_code() == 1012
            client.sock.sendall(client_frame(CLOSE, (1012).to_bytes(2)))
        server.process.wait(SECONDS)
        log = "".join(server.log.all_lines())
        assert all(f"left: {number} 1012" in log for number in range(20))
