"""The size of messages: whose limit holds, what is counted, and how a connection ends that goes beyond it."""

import asyncio
import math
from typing import Any

import pytest

from tests.limits.endpoints import ECHOES, aside, echo, plain_echo
from tests.listeners.peers import AsgiClient, Client, LineClient, until
from tests.virtual_time import VirtualTimeLoop
from trunkline import App, Router, WebSocket
from trunkline.limits import Limits
from trunkline.middleware import Middleware
from trunkline.routing import ListenerRoute, Mount, StreamRoute, WebSocketRoute

pytestmark = pytest.mark.anyio

TEN = Limits(max_message=10)


@pytest.fixture
def anyio_backend() -> Any:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


async def ends_with_1009(client: Client) -> None:
    await until(lambda: client.close is not None)
    code, reason = client.close or (0, "")
    assert code == 1009
    assert "10 bytes" in reason


@pytest.mark.parametrize("whose", ["own", "of the application"])
@pytest.mark.parametrize("kind", ECHOES)
async def test_a_message_over_the_limit_is_not_delivered_and_closes_with_1009(
    client: Client, kind: str, whose: str
) -> None:
    await client.open(aside(kind, TEN) if whose == "own" else aside(kind, None, TEN), "/echo/")
    client.says("x" * 10, b"x" * 10)
    await client.hears("x" * 10, b"x" * 10)
    client.says("x" * 11)
    await ends_with_1009(client)
    assert client.got == ["x" * 10, b"x" * 10]
    assert await client.end() is None


@pytest.mark.parametrize("message", [b"x" * 11, "ü" * 6, "\U0001f600" * 3], ids=["binary", "2 bytes", "4 bytes"])
async def test_bytes_are_counted_not_characters(client: Client, message: str | bytes) -> None:
    await client.open(aside("websocket", TEN), "/echo/")
    client.says(message[:-1])
    await client.hears(message[:-1])
    client.says(message)
    await ends_with_1009(client)


@pytest.mark.parametrize("kind", ["websocket", "listener", "stream", "included", "asgi"])
async def test_what_a_route_says_goes_before_what_its_application_says(client: Client, kind: str) -> None:
    await client.open(aside(kind, Limits(max_message=20), TEN), "/echo/")
    client.says("x" * 20)
    await client.hears("x" * 20)
    client.says("x" * 21)
    await until(lambda: client.close is not None)
    assert client.close is not None
    assert client.close[0] == 1009


async def test_a_route_may_lift_the_limit_of_its_application(client: Client) -> None:
    await client.open(aside("websocket", Limits(max_message=math.inf), TEN), "/echo/")
    client.says("x" * 100)
    await client.hears("x" * 100)


async def test_a_router_stands_between_a_route_and_the_application(client: Client) -> None:
    router = Router(limits=Limits(max_message=20))
    router.websocket("/echo")(echo)
    app = App(limits=TEN)
    app.include_router(router, "/in")
    await client.open(app, "/in/echo")
    client.says("x" * 20)
    await client.hears("x" * 20)


@pytest.mark.parametrize(
    "route",
    [
        WebSocketRoute("/", echo, limits=TEN),
        ListenerRoute("/", plain_echo, limits=TEN),
        Mount("/", Router([WebSocketRoute("/", echo, limits=TEN)])),
    ],
    ids=lambda route: type(route).__name__,
)
async def test_routes_of_a_list_have_limits_too(client: Client, route: Any) -> None:
    await client.open(App(routes=[route]))
    client.says("x" * 11)
    await ends_with_1009(client)


async def test_a_host_is_within_the_limits_of_its_application(line_client: LineClient) -> None:
    inner = Router()
    inner.websocket("/")(echo)
    app = App(limits=TEN)
    app.host("example.org", inner)
    await line_client.open(app)
    line_client.says("x" * 11)
    await ends_with_1009(line_client)


async def test_an_endpoint_that_waits_for_the_next_message_gets_the_disconnect(client: Client) -> None:
    ends: list[Any] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async for _ in websocket:
            pass
        ends.append(await websocket.wait_closed())
        with pytest.raises(RuntimeError):
            await websocket.receive()
        assert not await websocket.try_send_text("too late")

    app = App()
    app.websocket("/", limits=TEN)(endpoint)
    await client.open(app)
    client.says("x" * 11)
    assert await client.end() is None
    assert [end.code for end in ends] == [1009]


async def test_a_foreign_application_cannot_send_to_a_connection_that_a_limit_has_ended(
    asgi_client: AsgiClient,
) -> None:
    seen: list[Any] = []

    class Application:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            seen.extend([await receive(), await receive()])
            with pytest.raises(OSError, match="10 bytes"):
                await send({"type": "websocket.send", "text": "too late"})

    app = App()
    app.add_websocket_route("/", Application(), limits=TEN)
    await asgi_client.open(app)
    asgi_client.says("x" * 11)
    assert await asgi_client.end() is None
    disconnect = {"type": "websocket.disconnect", "code": 1009, "reason": "a message has 10 bytes at most"}
    assert seen == [disconnect, disconnect]


async def test_a_client_that_is_gone_keeps_nobody_from_its_end(asgi_client: AsgiClient) -> None:
    await asgi_client.open(aside("websocket", TEN), "/echo/")
    asgi_client.peer.lost = True
    asgi_client.says("x" * 11)
    assert await asgi_client.end() is None


async def test_a_client_that_reads_nothing_keeps_nobody_for_long(asgi_client: AsgiClient) -> None:
    await asgi_client.open(aside("websocket", TEN), "/echo/")
    asgi_client.peer.stalls()
    asgi_client.says("x" * 11)
    assert await asgi_client.end() is None


async def test_a_receiver_that_is_cancelled_while_it_closes_does_not_keep_the_connection_open(
    asgi_client: AsgiClient,
) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        asgi_client.peer.stalls()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await websocket.receive_text()
        asgi_client.peer.resumes()

    app = App()
    app.websocket("/", limits=TEN)(endpoint)
    await asgi_client.open(app)
    asgi_client.says("x" * 11)
    assert await asgi_client.end() is None
    await ends_with_1009(asgi_client)


async def test_after_our_own_close_nothing_is_closed_again(asgi_client: AsgiClient) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive()
        await websocket.close(1000)
        assert (await websocket.receive())["text"] == "x" * 11

    app = App()
    app.websocket("/", limits=TEN)(endpoint)
    await asgi_client.open(app)
    asgi_client.says("a", "x" * 11)
    assert await asgi_client.end() is None
    assert asgi_client.close == (1000, "")


async def test_our_engine_is_told_also_behind_a_middleware_that_wraps_receive(line_client: LineClient) -> None:
    def wrapping(app: Any) -> Any:
        async def wrapper(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, lambda: receive(), send)

        return wrapper

    app = App(routes=[WebSocketRoute("/", echo, limits=TEN, middleware=[Middleware(wrapping)])])
    await line_client.open(app)
    line_client.says("x" * 11)
    await ends_with_1009(line_client)


async def test_a_listener_within_a_size_still_runs_straight_from_the_read(line_client: LineClient) -> None:
    await line_client.open(aside("listener", TEN), "/echo/")
    line_client.says("a")
    assert line_client.got == ["a"], "answered when the read returns, with nothing awaited"


def test_without_limits_nothing_stands_around_an_endpoint() -> None:
    def wraps(limits: Limits | None) -> Any:
        route = StreamRoute("/", _stream, limits=limits)
        return route.app.__qualname__

    assert wraps(None) == wraps(Limits()) != wraps(TEN)


async def _stream() -> Any:
    yield "x"


async def test_http_requests_pass_through_a_mount_within_limits() -> None:
    called: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["type"])

    app = App(limits=TEN)
    app.mount("/", inner)
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}
    await app.router(scope, None, None)  # type: ignore[arg-type]
    assert called == ["http"]
