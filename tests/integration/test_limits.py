"""Each limit over real sockets: on our engine, behind what hides its Line, and on another server's protocol."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.contracts.servers import RunningServer, serve, serving
from tests.engine.served import reset_at_close

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from websockets.sync.client import ClientConnection

ROWS = serving(
    "tests.integration.limits_app", "engine", "engine-asyncio", "engine-without-the-line", "uvicorn-websockets-sansio"
)
KINDS = ("raw", "listener", "waiting", "stream")
SECONDS = 10


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(request.param, tmp_path_factory.mktemp("log")) as running:
        yield running
        assert "Traceback" not in str(running)


def client(server: RunningServer, path: str, **options: Any) -> AbstractContextManager[ClientConnection]:
    connection: AbstractContextManager[ClientConnection] = connect(f"ws://{server.host}{path}", proxy=None, **options)
    return connection


def end_of(connection: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            connection.recv(timeout=SECONDS)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def status_of(server: RunningServer, path: str, **options: Any) -> int:
    """The status that a handshake is refused with; 101 if it is not."""
    try:
        with client(server, path, **options):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("limit", "welcome", "beyond", "end"),
    [
        ("size", ["x" * 10], "x" * 11, (1009, "a message has 10 bytes at most")),
        ("messages", ["a", "b", "c"], "d", (1008, "more than 0.1 messages per second")),
        ("bytes", ["x" * 10, "y" * 10], "z" * 20, (1008, "more than 1 bytes per second")),
        ("idle", ["a", "b"], None, (3008, "no message for 0.5 s")),
        ("life", ["a", "b"], None, (1001, "open for 0.5 s, which is the most")),
    ],
)
def test_what_goes_beyond_a_limit_ends_the_connection(
    server: RunningServer, limit: str, kind: str, welcome: list[str], beyond: str | None, end: tuple[int, str]
) -> None:
    with client(server, f"/{limit}/{kind}") as connection:
        for text in welcome:
            connection.send(text)
            assert connection.recv(timeout=SECONDS) == text
        if beyond is not None:
            connection.send(beyond)
        assert end_of(connection) == end


@pytest.mark.parametrize("kind", KINDS)
def test_messages_above_the_rate_wait_and_none_is_lost(server: RunningServer, kind: str) -> None:
    with client(server, f"/wait/{kind}") as connection:
        texts = [str(number) for number in range(100)]
        for text in texts:
            connection.send(text)
        assert [connection.recv(timeout=SECONDS) for _ in texts] == texts


@pytest.mark.parametrize("kind", KINDS)
def test_one_connection_too_many_is_refused_until_another_has_ended(server: RunningServer, kind: str) -> None:
    for limit, query in (("address", ""), ("user", "?name=ann")):
        path = f"/{limit}/{kind}{query}"
        for ending in (closes, resets):
            with client(server, path):
                with client(server, path) as other:
                    assert status_of(server, path) == 429
                    ending(other)
                deadline = time.monotonic() + SECONDS
                while status_of(server, path) == 429:
                    assert time.monotonic() < deadline, "the end of a connection is not noticed"
                    time.sleep(0.02)
            until_free(server, path)


def until_free(server: RunningServer, path: str) -> None:
    """Wait until nothing is counted: two fit in, twice."""
    deadline = time.monotonic() + SECONDS
    for _ in range(2):
        while True:
            try:
                with client(server, path), client(server, path):
                    break
            except InvalidStatus:
                assert time.monotonic() < deadline, "the end of a connection is not noticed"
                time.sleep(0.02)


def closes(connection: ClientConnection) -> None:
    connection.close()


def resets(connection: ClientConnection) -> None:
    reset_at_close(connection.socket)
    connection.socket.shutdown(socket.SHUT_RD)
    connection.socket.close()


def test_a_trusted_proxy_tells_whose_connection_it_is(server: RunningServer) -> None:
    def forwarded(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": address}

    path = "/address/raw"
    ann = forwarded("192.0.2.1")
    with client(server, path, additional_headers=ann), client(server, path, additional_headers=ann):
        assert status_of(server, path, additional_headers=ann) == 429
        assert status_of(server, path, additional_headers=forwarded("192.0.2.2")) == 101


def test_a_handshake_that_takes_too_long_is_refused(server: RunningServer) -> None:
    assert status_of(server, "/handshake") == (503 if server.row.name.startswith("engine") else 403)
