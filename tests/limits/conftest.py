"""Each limit is tested on both kinds of servers: with the Line, and with nothing but ASGI."""

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


@pytest.fixture
def asgi_client() -> AsgiClient:
    return AsgiClient()


@pytest.fixture
def line_client() -> LineClient:
    return LineClient()
