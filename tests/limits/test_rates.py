"""Messages and bytes per second: in virtual time, on both kinds of servers."""

import asyncio
from typing import Any

import pytest

from tests.limits.endpoints import aside
from tests.listeners.peers import AsgiClient, Client, LineClient, until
from tests.virtual_time import VirtualTimeLoop
from trunkline import App, Hub, WebSocket, WebSocketDisconnect
from trunkline.limits import Limits, Rate
from trunkline.middleware import Middleware
from trunkline.routing import WebSocketRoute

pytestmark = pytest.mark.anyio

KINDS = ["websocket", "class", "asgi", "listener", "async listener", "stream", "mounted", "included"]
TWO = Rate(2, burst=3)
LIMITS = Limits(messages_per_second=TWO)


@pytest.fixture
def anyio_backend() -> Any:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


def now() -> float:
    return asyncio.get_running_loop().time()


async def took(client: Client, count: int) -> float:
    """How long it takes until so many answers have come."""
    began = now()
    await until(lambda: len(client.got) >= count)
    return now() - began


@pytest.mark.parametrize("kind", KINDS)
async def test_messages_above_the_rate_wait_and_none_is_lost(client: Client, kind: str) -> None:
    await client.open(aside(kind, Limits(messages_per_second=TWO)), "/echo/")
    client.says(*map(str, range(7)))
    assert await took(client, 3) < 0.1
    assert await took(client, 7) == pytest.approx(2, abs=0.02)
    assert client.got == list(map(str, range(7)))
    client.closes()
    assert await client.end() is None
    assert client.close in (None, (1000, ""))


@pytest.mark.parametrize("kind", KINDS)
async def test_with_the_policy_close_one_too_many_closes_with_1008_and_is_not_delivered(
    client: Client, kind: str
) -> None:
    await client.open(aside(kind, Limits(messages_per_second=TWO, policy="close")), "/echo/")
    client.says("a", "b", "c", "d", "e")
    await until(lambda: client.close is not None)
    assert client.close == (1008, "more than 2 messages per second")
    # A stream is told of the end at once, which on a server without the Line takes reading ahead: there the close may
    # overtake answers.
    ahead = kind == "stream" and isinstance(client, AsgiClient)
    assert client.got == ["a", "b", "c"][: len(client.got) if ahead else 3]
    assert await client.end() is None


@pytest.mark.parametrize("kind", ["websocket", "listener"])
async def test_bytes_above_the_rate_wait(client: Client, kind: str) -> None:
    await client.open(aside(kind, Limits(bytes_per_second=100)), "/echo/")
    client.says("x" * 100, b"y" * 100, "z")
    assert await took(client, 3) == pytest.approx(1.02, abs=0.05)


@pytest.mark.parametrize("kind", ["websocket", "listener"])
async def test_bytes_above_the_rate_close(client: Client, kind: str) -> None:
    await client.open(aside(kind, Limits(bytes_per_second=100, policy="close")), "/echo/")
    client.says("x" * 100)
    await client.hears("x" * 100)
    await asyncio.sleep(0.5)
    client.says(b"y" * 50)
    await client.hears("x" * 100, b"y" * 50)
    client.says("z" * 50)
    await until(lambda: client.close is not None)
    assert client.close == (1008, "more than 100 bytes per second")


@pytest.mark.parametrize("kind", ["websocket", "listener"])
async def test_a_client_within_the_rate_is_never_touched(client: Client, kind: str) -> None:
    await client.open(aside(kind, Limits(messages_per_second=10, policy="close")), "/echo/")
    for number in range(50):
        client.says(str(number))
        await asyncio.sleep(0.1)
    await client.hears(*map(str, range(50)))


async def test_a_busy_application_closes_no_client_that_keeps_to_the_rate(client: Client) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async for message in websocket.iter_text():
            if message == "0":
                await asyncio.sleep(2)
            await websocket.send_text(message)

    app = App()
    app.websocket("/", limits=Limits(messages_per_second=Rate(10, burst=2), policy="close"))(endpoint)
    await client.open(app)
    for number in range(20):
        client.says(str(number))
        await asyncio.sleep(0.1)
    await client.hears(*map(str, range(20)))


async def test_a_pause_gives_the_burst_again_and_no_more(client: Client) -> None:
    await client.open(aside("websocket", Limits(messages_per_second=TWO, policy="close")), "/echo/")
    client.says("a", "b", "c")
    await client.hears("a", "b", "c")
    await asyncio.sleep(5)
    client.says("a", "b", "c", "d")
    await until(lambda: client.close is not None)
    assert len(client.got) == 6


async def test_reading_pauses_while_messages_wait(line_client: LineClient) -> None:
    await line_client.open(aside("listener", Limits(messages_per_second=Rate(20, burst=1))), "/echo/")
    line_client.says(*map(str, range(70)))
    assert not line_client.peer.transport.reading
    await until(lambda: len(line_client.got) == 70)
    assert line_client.peer.transport.reading


async def test_the_end_is_known_at_once_while_messages_wait(line_client: LineClient) -> None:
    ended: list[float] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.wait_closed()
        ended.append(now())
        assert [message async for message in websocket.iter_text()] == ["a", "b", "c"]
        ended.append(now())

    app = App()
    app.websocket("/", limits=Limits(messages_per_second=Rate(0.1, burst=1)))(endpoint)
    await line_client.open(app)
    line_client.says("a", "b", "c")
    line_client.closes()
    assert await line_client.end() is None
    assert ended == pytest.approx([0, 0], abs=0.1)


@pytest.mark.parametrize("kind", ["websocket", "listener"])
async def test_whoever_waits_for_the_time_of_a_message_learns_of_the_end(line_client: LineClient, kind: str) -> None:
    await line_client.open(aside(kind, Limits(messages_per_second=Rate(0.1, burst=1))), "/echo/")
    line_client.says("a", "b")
    await line_client.hears("a")
    line_client.closes()
    assert await line_client.end() is None
    assert now() < 1
    assert line_client.got == ["a", "b"]


@pytest.mark.parametrize("kind", ["websocket", "listener"])
async def test_no_timer_is_left_behind_a_connection_that_is_lost(line_client: LineClient, kind: str) -> None:
    await line_client.open(aside(kind, Limits(messages_per_second=Rate(0.1, burst=1))), "/echo/")
    line_client.says("a", "b", "c")
    await line_client.hears("a")
    line_client.vanishes()
    await line_client.end()
    loop: Any = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled() and "Intake" in repr(timer)] == []


async def test_several_receivers_are_served_in_order(client: Client) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()

        async def receiver(name: str) -> None:
            await websocket.send_text(name + await websocket.receive_text())

        async with asyncio.TaskGroup() as group:
            for name in "abcd":
                group.create_task(receiver(name))

    app = App()
    app.websocket("/", limits=Limits(messages_per_second=TWO))(endpoint)
    await client.open(app)
    client.says("1", "2", "3", "4")
    await client.hears("a1", "b2", "c3", "d4")
    assert await client.end() is None


async def test_receivers_all_learn_of_a_close(line_client: LineClient) -> None:
    ends: list[int] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()

        async def receiver() -> None:
            try:
                while True:
                    await websocket.receive_text()
            except WebSocketDisconnect as disconnect:
                ends.append(disconnect.code)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(receiver())

    app = App()
    app.websocket("/", limits=Limits(messages_per_second=Rate(1), policy="close"))(endpoint)
    await line_client.open(app)
    line_client.peer.at_once("a", "b", "c")
    assert await line_client.end() is None
    assert ends == [1008] * 3


async def test_a_receiver_that_gives_up_while_its_message_waits_loses_none(client: Client) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await websocket.receive_text()
        await websocket.send_text(await websocket.receive_text())

    app = App()
    app.websocket("/", limits=Limits(messages_per_second=1))(endpoint)
    await client.open(app)
    client.says("a", "b")
    await client.hears("b")


async def test_a_stream_learns_at_once_that_its_client_has_left(line_client: LineClient) -> None:
    ended: list[float] = []

    async def ticks() -> Any:
        try:
            while True:
                yield "tick"
                await asyncio.sleep(1)
        finally:
            ended.append(now())

    app = App()
    app.stream("/", limits=Limits(messages_per_second=Rate(0.01, burst=1)))(ticks)
    await line_client.open(app)
    line_client.says("a", "b", "c")
    await asyncio.sleep(0.1)
    line_client.closes()
    await line_client.end()
    assert ended == pytest.approx([0.1], abs=0.1)


@pytest.mark.parametrize("policy", ["wait", "close"])
async def test_a_middleware_that_wraps_receive_sees_the_messages_as_they_are_taken(
    line_client: LineClient, policy: Any
) -> None:
    seen: list[str] = []

    def counting(app: Any) -> Any:
        async def wrapper(scope: Any, receive: Any, send: Any) -> None:
            async def counted() -> Any:
                message = await receive()
                seen.append(message["type"].removeprefix("websocket."))
                return message

            await app(scope, counted, send)

        return wrapper

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(message)

    limits = Limits(messages_per_second=TWO, policy=policy)
    app = App(routes=[WebSocketRoute("/", echo, limits=limits, middleware=[Middleware(counting)])])
    await line_client.open(app)
    line_client.says("a", "b", "c", "d")
    if policy == "close":
        await until(lambda: line_client.close is not None)
        assert line_client.close == (1008, "more than 2 messages per second")
        assert line_client.got == ["a", "b", "c"]
    else:
        assert await took(line_client, 4) == pytest.approx(0.5, abs=0.02)
    assert seen == ["connect", *["receive"] * 4]


async def test_a_callback_is_stopped_with_its_timer(line_client: LineClient) -> None:
    calls: list[Any] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        line = websocket.line
        assert line is not None
        line.on_message(lambda: calls.extend(line.take_all()))
        while not calls:  # noqa: ASYNC110 - for what a callback does
            await asyncio.sleep(0.1)
        assert line.unread
        line.on_message(None)
        await asyncio.sleep(5)
        calls.append(line.take_all())
        assert not line.unread

    app = App()
    app.websocket("/", limits=Limits(messages_per_second=1))(endpoint)
    await line_client.open(app)
    line_client.says("a", "b")
    assert await line_client.end() is None
    assert calls == ["a", ["b"]]


async def test_a_line_with_limits_passes_on_all_else(line_client: LineClient) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        line = websocket.line
        assert line is not None
        assert line.writable
        assert line.closed is None
        assert await line.next() == "a"
        line.write_frame(line.make_frame("b"))

    app = App()
    app.websocket("/", limits=Limits(messages_per_second=1))(endpoint)
    await line_client.open(app)
    line_client.says("a")
    await line_client.hears("b")


@pytest.mark.parametrize("limits_of_each", [[LIMITS, LIMITS], [LIMITS, None, LIMITS], [None, LIMITS]], ids=len)
async def test_a_topic_reaches_members_of_limited_routes_and_all_others(limits_of_each: list[Limits | None]) -> None:
    hub, app = Hub(), App()

    async def join(websocket: WebSocket) -> None:
        await websocket.accept()
        async with hub.topic("t").join(websocket):
            await websocket.wait_closed()

    clients = [LineClient() for _ in limits_of_each]
    for number, limits in enumerate(limits_of_each):
        app.websocket(f"/{number}", limits=limits)(join)
        await clients[number].open(app, f"/{number}")
    await until(lambda: len(hub.topic("t").members) == len(clients))
    for text in ("one", "two"):
        await hub.topic("t").publish(text)
    await until(lambda: all(client.got == ["one", "two"] for client in clients))
    for client in clients:
        client.closes()
        await client.end()


async def test_on_servers_that_have_nothing_but_asgi_the_disconnect_comes_in_its_turn(asgi_client: AsgiClient) -> None:
    await asgi_client.open(aside("websocket", Limits(messages_per_second=1)), "/echo/")
    asgi_client.says("a", "b")
    asgi_client.closes()
    assert await asgi_client.end() is None
    assert asgi_client.got == ["a", "b"]
