"""A client that stops reading, on real sockets and servers: the others notice nothing, and it is thrown out."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from tests.contracts.servers import SERVERS, Server, serve
from tests.hub.peers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio
APP = "tests.hub.stalled_app:app"
ROWS = [replace(row, app=APP) for row in SERVERS if row.name in ("engine", "uvicorn-websockets-sansio", "hypercorn")]
MESSAGE = "x" * 20_000
COUNT = 600


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    row: Server = request.param
    with serve(row, tmp_path_factory.mktemp(row.name)) as server:
        yield server


def stalled_client(host: str, path: str) -> socket.socket:
    """A client that opens a WebSocket and never reads from it."""
    address, port = host.split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((address, int(port)))
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return client


@pytest.mark.parametrize("room", ["ours", "theirs"])
async def test_a_client_that_reads_nothing_delays_nobody_and_is_thrown_out(server: Any, room: str) -> None:
    def members() -> dict[str, int]:
        with urllib.request.urlopen(f"http://{server.host}/stats/{room}", timeout=10) as answer:
            found: dict[str, int] = json.load(answer)
        return found

    async with asyncio.timeout(40):
        with stalled_client(server.host, f"/{room}/"):
            url = f"ws://{server.host}/{room}/"
            async with connect(url, max_queue=None, proxy=None, compression=None) as healthy:

                async def both_are_in() -> bool:
                    return (await asyncio.to_thread(members))["members"] == 2

                async def it_is_out() -> bool:
                    return (await asyncio.to_thread(members))["members"] == 1

                await eventually(both_are_in)
                for n in range(COUNT):
                    await healthy.send(f"{n} {MESSAGE}")
                came = [str(await healthy.recv()).split(" ")[0] for _ in range(COUNT)]
                assert came == [str(n) for n in range(COUNT)]
                await eventually(it_is_out)
                assert (await asyncio.to_thread(members))["expelled"] == 1
