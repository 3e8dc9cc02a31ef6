"""Streams: what is sent, when they are cancelled, and the messages that they take."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from tests.listeners.peers import AsgiClient, Client, until
from trunkline import App, BackgroundTasks, Depends, WebSocket, WebSocketException
from trunkline.messages import MessageSettings
from trunkline.routing import StreamRoute

pytestmark = pytest.mark.anyio


class Price(BaseModel):
    type: Literal["price"] = "price"
    symbol: str


class Stop(BaseModel):
    type: Literal["stop"] = "stop"


log: list[Any] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


def streaming(stream: Any, path: str = "/", **options: Any) -> App:
    app = App()
    app.stream(path, **options)(stream)
    return app


async def noted() -> Any:
    try:
        yield "noted"
    except BaseException as error:
        log.append(f"closed by {type(error).__name__}")
        raise
    log.append("closed")


async def test_each_value_is_sent_and_the_end_closes(client: Client) -> None:
    async def stream(symbol: str, n: int = 1) -> AsyncIterator[Any]:
        for _ in range(n):
            yield Price(symbol=symbol)
        for value in ("text", b"binary", None, {"a": 1}):
            yield value

    await client.open(streaming(stream, "/{symbol}"), "/TRK?n=2")
    assert await client.end() is None
    price = '{"type":"price","symbol":"TRK"}'
    assert client.got == [price, price, "text", b"binary", '{"a":1}']
    assert client.close == (1000, "")


@pytest.mark.parametrize("lost", [False, True])
async def test_it_is_cancelled_at_once_when_the_client_leaves(lost: bool, client: Client) -> None:
    async def stream(_: Annotated[str, Depends(noted)]) -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            log.append("finally")

    await client.open(streaming(stream))
    client.says("what it does not want")
    await client.hears("a")
    if lost:
        client.vanishes()
    else:
        client.closes(1001)
    assert await client.end() is None
    assert log == ["cancelled", "finally", "closed by WebSocketDisconnect"]


async def test_it_is_ended_while_it_sends(client: Client) -> None:
    async def stream() -> AsyncIterator[str]:
        try:
            while True:
                yield "a" * 100_000
        finally:
            log.append("finally")

    client.peer.stalls() if isinstance(client, AsgiClient) else None
    opening = asyncio.ensure_future(client.open(streaming(stream)))
    if isinstance(client, AsgiClient):
        await asyncio.sleep(0.01)
        client.peer.resumes()
    await opening
    client.peer.stalls()
    await asyncio.sleep(0.01)
    client.vanishes()
    client.peer.resumes()
    assert await client.end() is None
    assert log == ["finally"]


async def test_what_the_client_sends_is_dropped_without_bound(client: Client) -> None:
    go_on = asyncio.Event()

    async def stream() -> AsyncIterator[str]:
        await go_on.wait()
        yield "a"

    await client.open(streaming(stream))
    for _ in range(10):
        client.says(*["x"] * 100)
        await asyncio.sleep(0)
    go_on.set()
    assert await client.end() is None
    assert client.got == ["a"]


@pytest.mark.parametrize("kind", [AsyncIterator, AsyncIterable])
async def test_messages_come_through_a_parameter(kind: Any, client: Client) -> None:
    async def stream(messages: Any, websocket: WebSocket, q: int = 0) -> AsyncIterator[Any]:
        async for message in messages:
            if isinstance(message, Stop):
                return
            yield {"symbol": message.symbol, "q": q}

    stream.__annotations__["messages"] = kind[Price | Stop]
    await client.open(streaming(stream), "/?q=3")
    client.says({"type": "price", "symbol": "A"}, "{")
    await until(lambda: len(client.got) == 2)
    assert client.got[0] == '{"symbol":"A","q":3}'
    assert "json_invalid" in str(client.got[1])
    client.says({"type": "stop"})
    assert await client.end() is None
    assert client.close == (1000, "")


async def test_text_messages_come_as_they_are(client: Client) -> None:
    async def stream(words: AsyncIterator[str]) -> AsyncIterator[str]:
        async for word in words:
            yield word.upper()

    await client.open(streaming(stream))
    client.says("a", "b")
    await client.hears("A", "B")
    client.closes()
    assert await client.end() is None


async def test_a_close_for_an_invalid_message_ends_it(client: Client) -> None:
    async def stream(messages: AsyncIterator[Stop]) -> AsyncIterator[str]:
        async for _ in messages:
            yield "never"

    await client.open(streaming(stream, messages=MessageSettings(invalid="close")))
    client.says("{")
    await until(lambda: client.close is not None)
    client.closes(1007)
    assert await client.end() is None
    assert client.close == (1007, "the message cannot be decoded")


async def test_an_error_leaves_as_itself(client: Client) -> None:
    app = App()

    @app.stream("/")
    async def stream(_: Annotated[str, Depends(noted)]) -> AsyncIterator[str]:
        yield "a"
        raise LookupError("gone")

    @app.exception_handler(LookupError)
    async def handle(websocket: WebSocket, error: LookupError) -> None:
        await websocket.close(4004, str(error))

    await client.open(app)
    assert await client.end() is None
    assert client.close == (4004, "gone")
    assert log == ["closed by LookupError"]


async def test_an_error_of_the_teardown_is_not_lost() -> None:
    client = AsgiClient()

    async def stream() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            raise LookupError("in finally")

    await client.open(streaming(stream))
    await client.hears("a")
    client.closes()
    assert isinstance(await client.end(), LookupError)


async def test_a_websocket_exception_closes_with_its_code(client: Client) -> None:
    async def stream() -> AsyncIterator[str]:
        yield "a"
        raise WebSocketException(4003, "enough")

    await client.open(streaming(stream))
    assert await client.end() is None
    assert (client.got, client.close) == (["a"], (4003, "enough"))


@pytest.mark.parametrize("leaves", [False, True])
async def test_background_tasks_run_at_the_end(leaves: bool, client: Client) -> None:
    async def stream(tasks: BackgroundTasks) -> AsyncIterator[str]:
        tasks.add_task(log.append, "task")
        yield "a"
        if leaves:
            await asyncio.Event().wait()

    await client.open(streaming(stream))
    if leaves:
        await client.hears("a")
        client.closes()
    assert await client.end() is None
    assert log == ["task"]


async def test_a_stream_that_closes_ends(client: Client) -> None:
    async def stream(websocket: WebSocket) -> AsyncIterator[str]:
        yield "a"
        await websocket.close(4002)
        yield "b"

    await client.open(streaming(stream))
    client.closes(4002)
    assert await client.end() is None
    assert client.got == ["a"]


def test_a_stream_is_a_route_like_others() -> None:
    async def stream(symbol: str) -> AsyncIterator[str]:
        yield symbol

    route = StreamRoute("/{symbol}", stream)
    app = App()
    app.router.include_router(App(routes=[route]).router, "/prices")
    assert app.url_path_for("stream", symbol="A") == "/prices/A"
