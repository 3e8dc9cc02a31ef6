"""Connections closed from beside their endpoints, over real sockets: what the client sees, and what the endpoint."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.contracts.servers import RunningServer, serve, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = serving(
    "tests.integration.expulsion_app",
    "engine",
    "engine-asyncio",
    "engine-without-the-line",
    "uvicorn-websockets-sansio",
    "uvicorn-wsproto",
    "hypercorn",
    "granian",
)
KINDS = ("raw", "sending", "tasks", "listener", "waiting", "stream", "class")


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(request.param, tmp_path_factory.mktemp("log")) as running:
        yield running


def get(server: RunningServer, path: str) -> Any:
    with urlopen(f"http://{server.host}{path}", timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_is_closed_from_beside_its_endpoint(kind: str, server: RunningServer) -> None:
    server.mark()
    with connect(f"ws://{server.host}/{kind}") as client:
        client.send("hello")
        assert client.recv(timeout=10) in ("hello", "tick")
        assert get(server, "/expel") == 1
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                client.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (3000, "expired")
    deadline = time.monotonic() + 10
    while not (notes := get(server, "/notes")):
        assert time.monotonic() < deadline, "the endpoint learns nothing"
    assert notes == [f"{kind}: 3000 expired"]
    log = server.since_mark()
    assert "never retrieved" not in log
    if server.row.package == "trunkline":  # other servers take a disconnect that leaves an application for an error
        assert "Traceback" not in log
    assert get(server, "/expel") == 0
