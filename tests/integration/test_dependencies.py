"""Dependencies and parameters over real sockets: what the client sees, and what is torn down however it leaves."""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.contracts.servers import RunningServer, Server, serve, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = serving(
    "tests.integration.dependencies_app",
    "engine",
    "engine-without-the-line",
    "uvicorn-websockets-sansio",
    "hypercorn",
    "granian",
)


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(request.param, tmp_path_factory.mktemp("log")) as running:
        yield running


# Granian ends its process without cancelling what runs; Hypercorn waits for its clients, without end, from Python 3.12
# on.
NEVER_CANCELS = {"granian", *(["hypercorn"] if sys.version_info >= (3, 12) else [])}


@pytest.mark.parametrize("row", [row for row in ROWS if row.name not in NEVER_CANCELS], ids=lambda row: row.name)
def test_a_server_that_stops(row: Server, tmp_path: Path) -> None:
    with serve(row, tmp_path) as server:
        with connect(f"ws://{server.host}/busy") as client:
            assert client.recv(timeout=10) == "busy"
            server.process.terminate()
            server.process.wait(20)
        assert str(server).count("torn down by CancelledError") == 1


def get(server: RunningServer, path: str, **headers: str) -> tuple[int, Any]:
    try:
        with urlopen(Request(f"http://{server.host}{path}", headers=headers), timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def logged(server: RunningServer, wanted: list[str]) -> None:
    """Wait until just this has been noted, in this order."""
    seen: list[str] = []
    deadline = time.monotonic() + 10
    while len(seen) < len(wanted):
        assert time.monotonic() < deadline, f"{seen} instead of {wanted}"
        seen += get(server, "/log")[1]
    assert seen == wanted


@pytest.mark.parametrize(
    ("query", "headers"), [("?token=anna", {}), ("", {"X-Token": "anna"}), ("", {"Cookie": "ticket=anna"})]
)
def test_one_dependency_over_http_and_websocket(server: RunningServer, query: str, headers: dict[str, str]) -> None:
    assert get(server, f"/users/7{query}", **headers) == (200, {"id": 7, "user": "anna in session"})
    logged(server, ["open for http", "closed"])
    with connect(f"ws://{server.host}/talk/blue{query}", additional_headers=headers) as client:
        assert client.recv(timeout=10) == "anna in session, blue"
        client.send("hello")
        assert client.recv(timeout=10) == "hello"
        with pytest.raises(Exception, match="1000"):
            client.recv(timeout=10)
    logged(server, ["open for websocket", "task of blue", "closed"])


def test_a_client_that_leaves(server: RunningServer) -> None:
    with connect(f"ws://{server.host}/talk/blue?token=anna") as client:
        client.recv(timeout=10)
    logged(server, ["open for websocket", "task of blue", "closed by WebSocketDisconnect"])


def test_a_client_that_is_lost(server: RunningServer) -> None:
    with connect(f"ws://{server.host}/talk/blue?token=anna") as client:
        client.recv(timeout=10)
        # Closing now sends a reset: the connection is gone without a word.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.shutdown(socket.SHUT_RDWR)
        client.socket.close()
    logged(server, ["open for websocket", "task of blue", "closed by WebSocketDisconnect"])


@pytest.mark.parametrize("query", ["", "?token=anna&n=many"])
def test_a_client_that_is_refused(server: RunningServer, query: str) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://{server.host}/talk/blue{query}"):
        pass
    assert caught.value.response.status_code == 403
    why = "WebSocketRequestValidationError" if query else "WebSocketException"
    logged(server, ["open for websocket", f"closed by {why}"])


def test_invalid_parameters_of_a_request(server: RunningServer) -> None:
    status, body = get(server, "/users/seven?token=anna")
    assert status == 422
    assert [(error["type"], error["loc"]) for error in body["detail"]] == [("int_parsing", ["path", "user_id"])]
    logged(server, ["open for http", "closed by RequestValidationError"])
