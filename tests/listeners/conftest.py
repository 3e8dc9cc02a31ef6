"""Each listener and stream is tested on both kinds of servers."""

from __future__ import annotations

import pytest

from tests.listeners.peers import AsgiClient, Client, LineClient


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[AsgiClient, LineClient], ids=["asgi", "line"])
def client(request: pytest.FixtureRequest) -> Client:
    made: Client = request.param()
    return made
