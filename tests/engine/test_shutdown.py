"""A server that stops, reloads, or has several workers: real processes, signals, files; clients that stay connected."""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.client_frames import CLOSE, client_frame, text
from tests.engine.served import COMMANDS, SECONDS, Raw, engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.served import Engine

STARTS = [("uvicorn", "uvloop"), ("uvicorn", "asyncio"), ("trunkline run", "uvloop")]


def ready(server: Engine, path: str) -> Raw:
    """A client whose handler is in its wait."""
    client = server.client(path).accepted()
    if path == "/echo":
        client.sock.sendall(text("ready"))
    assert client.texts(1) == ["ready"]
    return client


@contextlib.contextmanager
def workers(number: int, *options: str, started_by: str) -> Iterator[Engine]:
    """Worker processes on one port, all of them started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--workers", str(number), "--port", str(port), *options)
    with engine(*options, started_by=started_by) as server:
        for _ in range(number):
            server.log.wait_for("Application startup complete")
        server.port = port
        server.listens()
        yield server


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# One process


@pytest.mark.parametrize("path", ["/echo", "/idle", "/stubborn"])
@pytest.mark.parametrize(("started_by", "loop"), STARTS)
def test_the_process_is_gone_by_the_deadline_whatever_its_handlers_do(path: str, started_by: str, loop: str) -> None:
    options = ("--loop", loop, "--timeout-graceful-shutdown", "1")
    with engine(*options, started_by=started_by) as server, ready(server, path) as client:
        server.process.send_signal(signal.SIGTERM)
        assert client.close_code() == 1012
        client.sock.sendall(client_frame(CLOSE, (1012).to_bytes(2)))
        assert client.ended()
        server.process.wait(SECONDS)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("started_by", COMMANDS)
def test_a_handler_that_does_not_end_is_named_in_the_log(started_by: str, stop: signal.Signals) -> None:
    with (
        engine("--timeout-graceful-shutdown", "1", started_by=started_by) as server,
        ready(server, "/stubborn") as client,
    ):
        server.process.send_signal(stop)
        assert client.close_code() == 1012
        server.log.wait_for(r'"WebSocket /stubborn": the handler has not ended in time and is cancelled')
        if stop == signal.SIGINT:  # after SIGTERM uvicorn ends the process itself
            server.log.wait_for(r'"WebSocket /stubborn": the handler ignores its cancellation and is thrown out')
        server.process.wait(SECONDS)


def test_a_client_that_does_not_answer_the_1012_does_not_hold_the_process() -> None:
    with engine("--timeout-graceful-shutdown", "1") as server, ready(server, "/echo"):
        server.ends_within(SECONDS)


@pytest.mark.parametrize("started_by", COMMANDS)
def test_handlers_see_the_disconnect_of_a_stop(started_by: str) -> None:
    with engine(started_by=started_by) as server, ready(server, "/notice") as client:
        server.process.send_signal(signal.SIGTERM)
        assert server.log.wait_for("noticed: (.*)")[1] == "websocket.disconnect 1012"
        assert client.close_code() == 1012
        client.sock.sendall(client_frame(CLOSE, (1012).to_bytes(2)))
        server.process.wait(SECONDS)


@pytest.mark.parametrize("started_by", COMMANDS)
def test_a_handshake_in_flight_gets_503(started_by: str) -> None:
    with engine("--timeout-graceful-shutdown", "1", started_by=started_by) as server, server.client("/late") as client:
        server.until(lambda facts: facts["connections"] == 2)
        server.process.send_signal(signal.SIGTERM)
        assert client.head().startswith(b"HTTP/1.1 503 ")
        assert client.ended()
        server.process.wait(SECONDS)


def test_a_stopping_server_takes_no_new_connections() -> None:
    with engine("--timeout-graceful-shutdown", "3") as server, ready(server, "/idle") as client:
        server.process.send_signal(signal.SIGTERM)
        assert client.close_code() == 1012
        with pytest.raises(ConnectionRefusedError):
            server.client("/echo")
        server.process.wait(SECONDS)


def seconds_of_closes(clients: list[Raw]) -> list[float]:
    """When each got its close frame, after now; each is answered."""
    began = time.monotonic()
    seconds = []
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
        while selector.get_map():
            found = selector.select(SECONDS)
            assert found, "no close frame for too long"
            for key, _ in found:
                selector.unregister(key.fileobj)
                assert key.data.close_code() == 1012
                seconds.append(time.monotonic() - began)
                key.data.sock.sendall(client_frame(CLOSE, (1012).to_bytes(2)))
    return seconds


@pytest.mark.parametrize("serving", [engine, functools.partial(workers, 2)], ids=["one process", "two workers"])
def test_the_closes_are_spread_over_the_window(serving: Any) -> None:
    options = ("--drain", "3", "--timeout-graceful-shutdown", "5")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(*options, started_by="trunkline run"))
        clients = [stack.enter_context(ready(server, path)) for path in ("/echo", "/idle") * 10]
        server.process.send_signal(signal.SIGTERM)
        seconds = seconds_of_closes(clients)
        # Twenty moments within one third of the window: once in 50 million runs.
        assert seconds[-1] - seconds[0] > 1
        server.process.wait(SECONDS)


# Several workers


@pytest.mark.parametrize("started_by", COMMANDS)
def test_workers_are_gone_by_the_deadline_whatever_their_handlers_do(started_by: str) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(workers(2, "--timeout-graceful-shutdown", "1", started_by=started_by))
        pids: set[int] = set()
        while len(pids) < 2:
            pids.add(server.facts()["pid"])
        assert server.process.pid not in pids
        clients = [stack.enter_context(ready(server, path)) for path in ("/idle", "/stubborn") * 5]
        late = stack.enter_context(server.client("/late"))
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert client.close_code() == 1012
            assert client.ended()
        assert late.ended()
        server.process.wait(SECONDS)
        assert not any(map(is_alive, pids))


# Reloading


@pytest.mark.parametrize("started_by", COMMANDS)
def test_a_reload_is_not_delayed_by_open_connections(started_by: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    shutil.copy(Path(__file__).with_name("robust_app.py"), program)
    # Much longer than the log is waited for: what waits for a connection fails.
    options = ("--reload", "--reload-delay", "0.1", "--timeout-graceful-shutdown", "100")
    waits = {"drain_window": 60, "close_timeout": 100}
    with contextlib.ExitStack() as stack:
        program_of = engine(*options, app="program:app", started_by=started_by, cwd=tmp_path, **waits)
        server = stack.enter_context(program_of)
        server.log.wait_for("Application startup complete")
        server.listens()
        before = server.facts()["pid"]
        clients = [stack.enter_context(ready(server, path)) for path in ("/echo", "/idle", "/stubborn")]
        stack.enter_context(server.client("/late"))
        program.write_text(program.read_text() + "\n# changed\n")
        server.log.wait_for("Reloading")
        for client in clients:
            assert client.close_code() == 1012
        server.log.wait_for("Application startup complete")
        server.listens()
        assert server.facts()["pid"] != before
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(SECONDS)
