"""How long a connection may last and how long it may say nothing: in virtual time, on both kinds of servers."""

import asyncio
import math
from typing import Any

import pytest

from tests.engine.client_frames import PING, client_frame
from tests.limits.endpoints import ECHOES, aside
from tests.listeners.peers import SECONDS, AsgiClient, Client, LineClient, until
from tests.virtual_time import VirtualTimeLoop
from trunkline import App, Depends, Hub, WebSocket, WebSocketDisconnect
from trunkline.limits import Limits
from trunkline.middleware import Middleware
from trunkline.routing import WebSocketRoute

pytestmark = pytest.mark.anyio

IDLE = Limits(idle_timeout=3)
LIFE = Limits(max_life=3)
SAID_NOTHING = (3008, "no message for 3 s")
IS_OVER = (1001, "open for 3 s, which is the most")


@pytest.fixture
def anyio_backend() -> Any:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


def now() -> float:
    return asyncio.get_running_loop().time()


async def closed_at(client: Client) -> float:
    await until(lambda: client.close is not None)
    return now()


def timers() -> list[Any]:
    loop: Any = asyncio.get_running_loop()
    return [timer for timer in loop._scheduled if not timer.cancelled() and "_Deadlines" in repr(timer)]


@pytest.mark.parametrize("whose", ["own", "of the application"])
@pytest.mark.parametrize("kind", ECHOES)
async def test_a_connection_that_says_nothing_is_closed_with_3008(client: Client, kind: str, whose: str) -> None:
    await client.open(aside(kind, IDLE) if whose == "own" else aside(kind, None, IDLE), "/echo/")
    await asyncio.sleep(2)
    client.says("a")
    await client.hears("a")
    assert await closed_at(client) == pytest.approx(5, abs=0.1)
    assert client.close == SAID_NOTHING
    client.closes(3008)
    assert await client.end() is None
    assert timers() == []


@pytest.mark.parametrize("kind", ECHOES)
async def test_a_connection_is_closed_with_1001_when_its_time_is_over(client: Client, kind: str) -> None:
    await client.open(aside(kind, LIFE), "/echo/")
    for number in range(6):
        client.says(str(number))
        await asyncio.sleep(0.45)
    assert await closed_at(client) == pytest.approx(3, abs=0.1)
    assert client.close == IS_OVER
    assert len(client.got) == 6
    client.closes(1001)
    assert await client.end() is None
    assert timers() == []


async def test_messages_of_ours_count_as_well(client: Client) -> None:
    async def ticks() -> Any:
        for number in range(3):
            yield str(number)
            await asyncio.sleep(2)
        await asyncio.Event().wait()

    app = App()
    app.stream("/", limits=IDLE)(ticks)
    await client.open(app)
    assert await closed_at(client) == pytest.approx(7, abs=0.1)


async def test_what_the_hub_writes_counts_as_well(client: Client) -> None:
    hub = Hub()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async with hub.topic("t").join(websocket):
            await websocket.wait_closed()

    app = App()
    app.websocket("/", limits=IDLE)(endpoint)
    app.websocket("/without")(endpoint)
    other = type(client)()
    async with hub:
        await client.open(app)
        await other.open(app, "/without")
        await asyncio.sleep(2)
        await hub.topic("t").publish("x")
        assert await closed_at(client) == pytest.approx(5, abs=0.1)
        client.closes(3008)
        assert await client.end() is None
        assert client.got == other.got == ["x"]
        other.closes()
        assert await other.end() is None


async def test_pings_are_no_messages(line_client: LineClient) -> None:
    ends: list[Any] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        ends.extend([await websocket.wait_closed(), now()])

    app = App()
    app.websocket("/", limits=IDLE)(endpoint)
    await line_client.open(app)
    for _ in range(5):
        await asyncio.sleep(0.5)
        line_client.peer._protocol.data_received(client_frame(PING, b""))
    await line_client.end()
    assert ends == [SAID_NOTHING, pytest.approx(3, abs=0.1)]


async def test_a_message_that_the_application_has_not_taken_yet_is_one(line_client: LineClient) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await asyncio.sleep(5)
        assert await websocket.receive_text() == "a"
        await websocket.send_text("b")

    app = App()
    app.websocket("/", limits=IDLE)(endpoint)
    await line_client.open(app)
    await asyncio.sleep(1)
    line_client.says("a")
    await line_client.hears("b")
    assert line_client.close in (None, (1000, ""))


@pytest.mark.parametrize("limits", [IDLE, LIFE], ids=["idle", "life"])
async def test_an_endpoint_that_only_sends_learns_of_it_by_the_code(client: Client, limits: Limits) -> None:
    codes: list[int] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await asyncio.sleep(4)
        assert websocket.closed
        try:
            await websocket.send_text("too late")
        except (WebSocketDisconnect, RuntimeError):
            codes.append((await websocket.wait_closed()).code)

    app = App()
    app.websocket("/", limits=limits)(endpoint)
    await client.open(app)
    assert await client.end() is None
    assert codes == [3008 if limits is IDLE else 1001]


async def test_idleness_begins_when_the_connection_is_open(client: Client) -> None:
    async def slow() -> None:
        await asyncio.sleep(4)

    app = aside("websocket", None, IDLE)
    app.websocket("/slow", dependencies=[Depends(slow)])(_waits)
    await client.open(app, "/slow")
    await until(lambda: client.close is not None)
    assert client.close == SAID_NOTHING
    assert 6 < now() < 7.5


async def _waits(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.wait_closed()


async def test_a_middleware_that_wraps_the_connection_changes_nothing(line_client: LineClient) -> None:
    def wrapping(app: Any) -> Any:
        async def wrapper(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, lambda: receive(), lambda message: send(message))

        return wrapper

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(message)

    app = App(routes=[WebSocketRoute("/", echo, limits=IDLE, middleware=[Middleware(wrapping)])])
    await line_client.open(app)
    await asyncio.sleep(2)
    line_client.says("a")
    await line_client.hears("a")
    assert await closed_at(line_client) == pytest.approx(5, abs=0.1)
    assert line_client.close == SAID_NOTHING


async def test_one_timer_however_many_messages(client: Client) -> None:
    await client.open(aside("websocket", IDLE), "/echo/")
    client.says(*map(str, range(50)))
    await client.hears(*map(str, range(50)))
    assert len(timers()) == 1


@pytest.mark.parametrize("kind", ["websocket", "listener", "stream", "class"])
async def test_no_timer_is_left_behind_a_connection(client: Client, kind: str) -> None:
    await client.open(aside(kind, Limits(idle_timeout=3, max_life=30, handshake_timeout=5)), "/echo/")
    assert timers()
    client.closes()
    await client.end()
    assert timers() == []


async def test_a_route_may_lift_what_its_application_says(client: Client) -> None:
    lifted = Limits(idle_timeout=math.inf, max_life=math.inf, handshake_timeout=math.inf)
    await client.open(aside("websocket", lifted, Limits(idle_timeout=1, max_life=1, handshake_timeout=1)), "/echo/")
    await asyncio.sleep(5)
    client.says("a")
    await client.hears("a")


# The handshake


async def never() -> None:
    await asyncio.Event().wait()


async def test_a_handshake_that_takes_too_long_is_refused(asgi_client: AsgiClient) -> None:
    ends: list[Any] = []

    async def endpoint(websocket: WebSocket) -> None:
        await asyncio.sleep(3)
        try:
            await websocket.accept()
        except WebSocketDisconnect as disconnect:
            ends.append(disconnect.code)

    app = App()
    app.websocket("/", limits=Limits(handshake_timeout=2))(endpoint)
    await asgi_client.open(app)
    assert now() == pytest.approx(2, abs=0.1)
    assert asgi_client.close == (1013, "not accepted within 2 s")
    await asgi_client.end()
    assert ends == [1013]


async def test_a_handshake_in_time_is_not_refused(client: Client) -> None:
    await client.open(aside("websocket", Limits(handshake_timeout=1)), "/echo/")
    await asyncio.sleep(2)
    client.says("a")
    await client.hears("a")


@pytest.mark.parametrize("seconds", [2, 12])
async def test_our_engine_takes_the_handshake_timeout_of_a_route(line_client: LineClient, seconds: int) -> None:
    app = App()
    app.websocket("/", dependencies=[Depends(never)], limits=Limits(handshake_timeout=seconds))(_waits)
    opening = asyncio.ensure_future(line_client.open(app))
    await asyncio.sleep(seconds - 0.1)
    assert line_client.peer.transport.written == b""
    await asyncio.sleep(0.2)
    assert line_client.peer.transport.written.startswith(b"HTTP/1.1 503 ")
    await asyncio.wait({opening})
    assert isinstance(opening.exception(), TimeoutError if seconds > SECONDS else type(None))
