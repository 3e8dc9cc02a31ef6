"""Tests of hello.py as a user writes them: pytest with trunkline's two test clients."""

import pytest

from hello import app
from trunkline.testclient import TestClient
from trunkline.testing import connect


# region: sync
def test_echo() -> None:
    client = TestClient(app)
    with client.websocket_connect("/echo") as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "you said: hello"


# endregion


# region: async
@pytest.mark.anyio
async def test_echo_on_the_loop_of_the_test() -> None:
    async with connect(app, "/echo") as websocket:
        await websocket.send_text("hello")
        assert await websocket.receive_text() == "you said: hello"
        await websocket.close(4000, "enough")
    assert websocket.close_code == 4000


# endregion


# region: faults
@pytest.mark.anyio
async def test_a_client_that_stops_reading_holds_the_echo_back() -> None:
    async with connect(app, "/echo", timeout=2.0) as websocket:
        websocket.stall()
        await websocket.send_text("hello")
        await websocket.wait_blocked()  # the endpoint waits in send_text
        websocket.resume()
        assert await websocket.receive_text() == "you said: hello"
        websocket.drop()  # no close frame: the endpoint sees 1006
    assert websocket.close_code == 1006


# endregion


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
