"""A listener's connection without a task: what is there while it is idle, and who does what a callback cannot."""

import asyncio
import contextvars
import gc
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.listeners.peers import LineClient, ParkedClient, until
from trunkline import App, BackgroundTasks, Depends, Router, WebSocket, WebSocketException
from trunkline.exceptions import HTTPException, WebSocketRequestValidationError
from trunkline.messages import MessageSettings
from trunkline.middleware import Middleware
from trunkline.middleware.exceptions import ExceptionMiddleware
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


async def first(websocket: WebSocket) -> str:
    await websocket.accept()
    return await websocket.receive_text()


async def test_a_connection_has_no_task_either_whose_first_message_was_for_a_dependency(client: LineClient) -> None:
    def greet(message: str, name: Annotated[str, Depends(first)]) -> str:
        return f"{message}, {name}"

    await client.open(app_of(greet))
    assert client.task is not None, "it waits for that message"
    asyncio.get_running_loop().call_soon(client.says, "ann")  # as a transport brings it
    await until(lambda: client.task is None)
    client.says("hello")
    await client.hears("hello, ann")
    client.closes()
    assert await client.end() is None


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


async def from_the_loop(client: LineClient, *messages: str) -> None:
    """The client's messages come in reads of the loop's, and not in a test's."""
    done = asyncio.Event()

    def read() -> None:
        client.says(*messages)
        done.set()

    asyncio.get_running_loop().call_soon(read)
    await done.wait()


async def test_an_async_listener_that_does_not_wait_is_over_when_the_read_is(client: LineClient) -> None:
    tasks: list[Any] = []

    async def listener(message: str) -> str:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(10):
            return await found() + message

    await client.open(app_of(listener))
    before = asyncio.all_tasks()
    seen: list[Any] = []

    def read() -> None:
        client.says("a")
        seen.extend([*client.got, client.task])

    asyncio.get_running_loop().call_soon(read)
    await client.hears("founda")
    assert seen == ["founda", None], "answered inside the read, with nobody waiting"
    assert None not in tasks, "libraries look for a task"
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_an_async_listener_that_waits_has_a_task_until_it_is_done(client: LineClient) -> None:
    tasks: list[Any] = []
    go_on = asyncio.Event()

    async def listener(message: str) -> str:
        tasks.append(asyncio.current_task())
        await go_on.wait()
        tasks.append(asyncio.current_task())
        return message

    await client.open(app_of(listener))
    await until(lambda: client.task is None)
    await from_the_loop(client, "a", "b")
    assert (client.got, client.task) == ([], tasks[0])
    go_on.set()
    await client.hears("a", "b")
    assert tasks == [tasks[0]] * 4
    await until(lambda: client.task is None)


async def test_a_timeout_of_an_async_listener(client: LineClient) -> None:
    async def listener(message: str) -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        with anyio.move_on_after(0.01):
            await anyio.sleep_forever()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(found())
        return await task + message

    await client.open(app_of(listener))
    await from_the_loop(client, "!")
    await client.hears("found!")


async def test_what_an_async_listener_sets_in_its_context_the_next_message_sees(client: LineClient) -> None:
    who = contextvars.ContextVar("who", default="nobody")

    async def listener(message: str) -> str:
        before = who.get()
        await asyncio.sleep(0)
        who.set(message)
        return before

    await client.open(app_of(listener))
    for message in ("a", "b", "c"):
        await from_the_loop(client, message)
        await asyncio.sleep(0.001)
    await client.hears("nobody", "a", "b")


async def test_an_async_listener_that_receives_by_itself(client: LineClient) -> None:
    async def listener(message: str, websocket: WebSocket) -> str:
        return message + await websocket.receive_text()

    await client.open(app_of(listener))
    await from_the_loop(client, "a")
    await from_the_loop(client, "b")
    await client.hears("ab")
    # Both in one tick: the second comes before a task that was started by hand has said how it is to be woken.

    def two_reads() -> None:
        client.says("c")
        client.says("d")

    asyncio.get_running_loop().call_soon(two_reads)
    await client.hears("ab", "cd")


async def test_an_async_listener_that_closes_its_connection(client: LineClient) -> None:
    seen: list[str] = []

    async def listener(message: str, websocket: WebSocket) -> str:
        seen.append(message)
        await websocket.close(4002)
        return message

    await client.open(app_of(listener))
    client.says("a", "b")
    await client.end()
    assert (seen, client.got, client.close) == (["a"], [], (4002, ""))


async def test_an_answer_that_is_not_welcome_is_waited_for_by_an_async_listener(client: LineClient) -> None:
    async def listener(message: str) -> str:
        return message

    await client.open(app_of(listener))
    client.peer.stalls()
    client.says("a", "b")
    await until(lambda: client.task is not None)
    client.peer.resumes()
    await client.hears("a", "b")
    await until(lambda: client.task is None)


async def test_a_threaded_listener_has_a_task_only_while_it_runs(client: LineClient) -> None:
    await client.open(app_of(echo, threaded=True))
    await until(lambda: client.task is None)
    await from_the_loop(client, "a")
    assert client.task is not None
    await client.hears("a")
    await until(lambda: client.task is None)


async def test_invalid_messages_are_counted_also_where_the_websocket_was_let_go(client: LineClient) -> None:
    def listener(message: int) -> int:
        return message

    await client.open(app_of(listener, messages=MessageSettings(max_invalid=2)))
    client.says("x", "1", "y", "z", "zz")
    assert await client.end() is None
    assert len(client.got) == 4
    assert client.close is not None
    assert client.close[0] == 1008


async def test_an_error_is_told_to_the_handlers_of_the_program_with_the_connection_of_the_listener(
    client: LineClient,
) -> None:
    seen: list[str] = []

    async def handled(websocket: WebSocket, exc: Exception) -> None:
        seen.append(websocket.path_params["room"])
        await websocket.close(4004)

    def listener(message: str) -> None:
        raise KeyError(message)

    app = App(routes=[ListenerRoute("/{room}", listener)], exception_handlers={KeyError: handled})
    await client.open(app, "/blue")
    client.says("a")
    assert await client.end() is None
    assert (seen, client.close) == (["blue"], (4004, ""))


async def test_the_websocket_is_let_go_where_nobody_can_ask_for_it() -> None:
    def connections() -> int:
        gc.collect()
        return sum(type(one) is WebSocket for one in gc.get_objects())

    def asking(message: str, websocket: WebSocket) -> str:
        return message

    class OwnMiddleware(ExceptionMiddleware):
        pass

    def own(app: ASGIApp) -> ASGIApp:
        return OwnMiddleware(app)

    for app, kept in (
        (app_of(echo), 0),
        (Router([ROUTE]), 0),
        (app_of(asking), 1),
        (App(routes=[ROUTE], exception_handlers={WebSocketException: lambda *_: None}), 1),
        (App(routes=[ROUTE], middleware=[Middleware(own)]), 1),
    ):
        client = LineClient()
        before = connections()
        await client.open(app)
        await until(lambda client=client: client.task is None)  # type: ignore[misc]
        assert connections() == before + kept
        client.says("a")
        await client.hears("a")
        assert connections() == before + kept
        client.closes()
        assert await client.end() is None


@pytest.mark.parametrize(
    ("error", "close"),
    [
        (KeyError("a"), (1011, "")),
        (WebSocketException(4001, "why"), (4001, "why")),
        (HTTPException(403, "no"), (3003, "no")),
        (WebSocketRequestValidationError([]), (1008, "the parameters of the handshake are invalid")),
    ],
    ids=["error", "websocket", "http", "validation"],
)
async def test_what_is_raised_where_the_websocket_was_let_go_closes_as_ever(error: Exception, close: Any) -> None:
    closes = []
    for client in (LineClient(), ParkedClient()):

        def listener(message: str) -> None:
            raise error

        await client.open(app_of(listener))
        client.says("a")
        raised = await client.end()
        closes.append((client.close, raised))
    assert closes[0] == closes[1]
    assert closes[0][0] == close


async def test_parked_and_detached_are_told_apart() -> None:
    assert not await is_detached(app_of(echo), ParkedClient())
