"""An endpoint that sends by itself while the hub sends: nothing is lost or mixed, on real servers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect

from tests.contracts.servers import SERVERS, Server, serve
from tests.hub.own_sends_app import COUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio
APP = "tests.hub.own_sends_app:app"
ROWS = [replace(row, app=APP) for row in SERVERS if row.name in ("engine", "uvicorn-websockets-sansio", "hypercorn")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Its name, and where it listens."""
    row: Server = request.param
    with serve(row, tmp_path_factory.mktemp(row.name)) as server:
        yield row.name, server.host


@pytest.mark.parametrize("kind", ["ours", "theirs"])
async def test_what_endpoint_and_hub_send_arrives_whole_and_in_the_order_of_each(
    server: tuple[str, str], kind: str
) -> None:
    name_of_server, host = server
    async with asyncio.timeout(40), connect(f"ws://{host}/{kind}/room", max_queue=None, proxy=None) as client:
        came = [await client.recv() for _ in range(4 * COUNT)]
        await client.send("enough")
    texts = [message for message in came if isinstance(message, str)]
    assert [message for message in came if isinstance(message, bytes)] == [str(n).encode() for n in range(COUNT)]
    for name in ("hub", "own", "other"):
        assert [text for text in texts if text.startswith(name)] == [f"{name} {n}" for n in range(COUNT)]
    if kind == "ours" or name_of_server == "engine":
        for n in range(COUNT):
            assert texts.index(f"hub {n}") < texts.index(f"own {n}"), "overtaken by what was sent later"
