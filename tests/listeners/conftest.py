"""Each listener and stream is tested on every way that its messages can go."""

from __future__ import annotations

import pytest

from tests.listeners.peers import AsgiClient, Client, LineClient, ParkedClient


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[AsgiClient, LineClient, ParkedClient], ids=["asgi", "line", "parked"])
def client(request: pytest.FixtureRequest) -> Client:
    made: Client = request.param()
    return made
