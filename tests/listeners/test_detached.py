"""A listener's connection without a task: what is there while it is idle, and who does what a callback cannot."""

import asyncio
import contextvars
import gc
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.listeners.peers import LineClient, ParkedClient, until
from trunkline import App, BackgroundTasks, Depends, Router, WebSocket
from trunkline.middleware import Middleware
from trunkline.routing import ListenerRoute, Mount
from trunkline.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio


@pytest.fixture
def client() -> LineClient:
    return LineClient()


uvicorns: Any = ProxyHeadersMiddleware


def echo(message: str) -> str:
    return message


def app_of(listener: Any, **options: Any) -> App:
    return App(routes=[ListenerRoute("/", listener, **options)])


async def is_detached(app: ASGIApp, client: LineClient | None = None) -> bool:
    """Whether a connection that has just been opened, and works, has no task."""
    client = client or LineClient()
    await client.open(app)
    for _ in range(5):
        await asyncio.sleep(0)
    detached, task = client.peer.detached, client.task
    assert detached == (task is None)
    client.says("a")
    await client.hears("a")
    client.closes()
    assert await client.end() is None
    return detached


async def test_an_idle_connection_has_no_task(client: LineClient) -> None:
    before = asyncio.all_tasks()
    await client.open(app_of(echo))
    await until(lambda: client.task is None)
    assert asyncio.all_tasks() == before
    client.says("a")
    assert client.got == ["a"]
    assert asyncio.all_tasks() == before
    client.closes(4001)
    assert client.task is not None, "which ends the connection"
    assert await client.end() is None
    assert asyncio.all_tasks() == before


async def test_a_thousand_idle_connections_hold_few_objects() -> None:
    app = app_of(echo)
    assert await is_detached(app), "and what is made once has been made"
    clients = [LineClient() for _ in range(1000)]
    gc.collect()
    before = Counter(type(one).__name__ for one in gc.get_objects())
    for client in clients:
        await client.open(app)
    await until(lambda: all(client.task is None for client in clients))
    gc.collect()
    after = Counter(type(one).__name__ for one in gc.get_objects())
    grown = {name: count / 1000 for name, count in (after - before).items() if count > 500}
    assert not {"Task", "_GatheringFuture", "Future", "coroutine", "generator", "async_generator"} & grown.keys()
    assert sum(grown.values()) < 60, grown


def passing_through(app: ASGIApp) -> ASGIApp:
    def through(scope: Scope, receive: Receive, send: Send) -> Any:
        return app(scope, receive, send)

    return through


def waiting(app: ASGIApp) -> ASGIApp:
    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return around


async def opened() -> AsyncIterator[str]:
    yield "open"


async def found() -> str:
    return "found"


def with_found(message: str, _: Annotated[str, Depends(found)]) -> str:
    return message


def with_opened(message: str, _: Annotated[str, Depends(opened)]) -> str:
    return message


def with_found_each_time(message: str, _: Annotated[str, Depends(found, scope="message")]) -> str:
    return message


class Echo:
    async def on_connect(self) -> None:
        await asyncio.sleep(0)

    def on_message(self, message: str) -> str:
        return message


ROUTE = ListenerRoute("/", echo)


@pytest.mark.parametrize(
    "app",
    [
        app_of(echo),
        app_of(Echo),
        app_of(with_found),
        app_of(echo, dependencies=[Depends(found)]),
        app_of(echo, middleware=[Middleware(passing_through)]),
        App(routes=[Mount("", routes=[ROUTE])]),
        App(routes=[ROUTE], exception_handlers={KeyError: lambda *_: None}),
        Router([ROUTE]),
        uvicorns(app_of(echo)),
    ],
    ids=["function", "class", "dependency", "of the route", "through", "mounted", "handlers", "router", "uvicorn"],
)
async def test_where_nobody_waits_for_the_call_there_is_no_task(app: Any) -> None:
    assert await is_detached(app)


@pytest.mark.parametrize(
    "app",
    [
        app_of(with_opened),
        app_of(with_found_each_time),
        app_of(echo, dependencies=[Depends(opened)]),
        app_of(echo, middleware=[Middleware(waiting)]),
        App(routes=[ROUTE], middleware=[Middleware(waiting)]),
        App(routes=[Mount("", app_of(echo))]),
        waiting(app_of(echo)),
    ],
    ids=["yield", "scope message", "yield of the route", "of the route", "of the app", "app in app", "around"],
)
async def test_where_somebody_does_the_call_stays(app: Any) -> None:
    assert not await is_detached(app)


async def test_an_included_router_with_middleware_keeps_the_call() -> None:
    router = Router([ROUTE], middleware=[Middleware(waiting)])
    app = App()
    app.include_router(router)
    assert not await is_detached(app)


async def test_an_answer_that_is_not_welcome_is_sent_by_a_task(client: LineClient) -> None:
    await client.open(app_of(echo))
    client.peer.stalls()
    client.says("a", "b")
    assert client.task is not None
    client.peer.resumes()
    await client.hears("a", "b")
    await until(lambda: client.task is None)
    assert client.peer.detached
    client.says("c")
    assert client.got == ["a", "b", "c"]


async def test_the_context_of_the_connection_goes_on(client: LineClient) -> None:
    who = contextvars.ContextVar("who", default="nobody")
    log: list[str] = []

    async def authenticated() -> None:
        who.set("anna")

    class Listener:
        def __init__(self, _: Annotated[None, Depends(authenticated)]) -> None:
            pass

        def on_message(self, message: str) -> str:
            before = who.get()
            who.set(message)
            return before

        async def on_disconnect(self, close_code: int) -> None:
            log.append(who.get())

    await client.open(app_of(Listener))
    client.says("berta", "carl")
    await client.hears("anna", "berta")
    client.closes()
    await client.end()
    assert (log, who.get()) == (["carl"], "nobody")


async def test_background_tasks_run_behind_the_end(client: LineClient) -> None:
    log: list[str] = []

    async def remembers(tasks: BackgroundTasks) -> None:
        tasks.add_task(log.append, "done")

    def listener(message: str, _: Annotated[None, Depends(remembers)]) -> str:
        return message

    await client.open(app_of(listener))
    client.says("a")
    await client.hears("a")
    assert log == []
    client.closes()
    await client.end()
    assert log == ["done"]


async def test_a_handled_error_leaves_nothing_behind(client: LineClient) -> None:
    connections: list[WebSocket] = []

    def listener(message: str, websocket: WebSocket) -> str:
        connections.append(websocket)
        raise KeyError(message)

    await client.open(app_of(listener))
    client.says("a")
    assert isinstance(await client.end(), KeyError)
    assert client.close == (1011, "")
    handlers = connections[0].scope["trunkline.exception_handlers"]
    assert handlers.settled is None, "which would hold the traceback of all that"


async def test_a_listener_that_is_called_while_it_is_called(client: LineClient) -> None:
    seen: list[str] = []

    def listener(message: str) -> str:
        seen.append(message)
        client.says("inner") if message == "outer" else None
        return message

    await client.open(app_of(listener))
    client.says("outer")
    await client.hears("outer", "inner")


async def test_parked_and_detached_are_told_apart() -> None:
    assert not await is_detached(app_of(echo), ParkedClient())
