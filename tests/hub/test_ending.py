"""Hubs end with the lifespan of the application that uses them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from websockets.sync.client import connect

from tests.cli_process import serving
from trunkline import App, Hub, WebSocket
from trunkline._ending import end_with_lifespan, lifespan_of_loop
from trunkline.testclient import TestClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.hub.redis_server import RedisServer


def test_a_hub_ends_with_the_application_behind_its_own_code_and_starts_again_with_it() -> None:
    hub = Hub("memory://")
    seen: list[bool] = []

    @asynccontextmanager
    async def lifespan(_: App) -> AsyncIterator[None]:
        yield
        await hub.topic("t").publish("good-bye")
        seen.append(hub.is_running())

    app = App(lifespan=lifespan)

    @app.websocket("/")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async with hub.topic("t").join(websocket):
            await hub.topic("t").publish("hello")
            async for _ in websocket.iter_text():
                pass

    for _ in range(2):
        with TestClient(app) as client, client.websocket_connect("/") as connection:
            assert connection.receive_text() == "hello"
            assert hub.is_running()
            loop = hub.loop
        assert hub._loop is None, "closed, not only left behind by a loop that has ended"
        assert loop.is_closed()
    assert seen == [True, True]


def test_what_starts_inside_ends_with_the_last_lifespan_of_the_loop_even_if_one_end_fails() -> None:
    ended: list[str] = []

    async def end() -> None:
        ended.append("one")

    async def fail() -> None:
        raise ZeroDivisionError

    async def test() -> None:
        end_with_lifespan(fail)  # nobody is there to do it
        async with lifespan_of_loop():
            async with lifespan_of_loop():
                end_with_lifespan(end)
                end_with_lifespan(fail)
            assert not ended
        raise AssertionError("the failure was swallowed")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(test())
    assert ended == ["one"]


def test_without_asyncio_there_is_no_hub_to_end() -> None:
    async def test() -> str:
        async with lifespan_of_loop():
            return "ended"

    assert anyio.run(test, backend="trio") == "ended"


SCRIPT = """
import {framework}
from trunkline import Hub, WebSocket
from trunkline.hub import PresenceConfig, Retention, TopicConfig

hub = Hub({url!r}, topics={{"*": TopicConfig(history=Retention(10, 60), presence=PresenceConfig())}})
app = {application}

@app.websocket("/")
async def endpoint(websocket: {websocket}):
    await websocket.accept()
    async with hub.topic("t").join(websocket, key="ada"), hub.topic("t").changes.join(websocket):
        await hub.topic("t").publish("hello")
        async for _ in websocket.iter_text():
            pass
"""


@pytest.mark.parametrize(
    ("framework", "application", "websocket"),
    [("trunkline", "trunkline.App()", "WebSocket"), ("fastapi", "fastapi.FastAPI()", "fastapi.WebSocket")],
)
def test_nothing_is_pending_when_a_server_ends(
    framework: str, application: str, websocket: str, shared_redis: RedisServer, tmp_path: Any
) -> None:
    values = {"framework": framework, "application": application, "websocket": websocket, "url": shared_redis.url}
    (tmp_path / "served.py").write_text(SCRIPT.format(**values))
    arguments = ("run", "served:app", "--app-dir", str(tmp_path), "--port", "0")
    with serving(*arguments, env={"PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "default"}) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        with connect(f"ws://127.0.0.1:{port}/", proxy=None) as connection:
            assert connection.recv(timeout=20) == "hello"
            server.end()
        output = "".join(server.all_lines())
    for word in ("pending", "destroyed", "Traceback", "never", "unclosed", "WARNING"):
        assert word not in output, output
