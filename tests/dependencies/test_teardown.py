"""Dependencies with `yield`: torn down after every kind of end, in reverse order; and background tasks, which run."""

import asyncio
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest

from tests.asgi_call import CONNECT, call, disconnect, http_scope, run, text, websocket_scope
from trunkline import App, BackgroundTasks, Depends, HTTPException, Query, WebSocket, WebSocketException
from trunkline.background import BackgroundTask
from trunkline.dependencies import DependencyError
from trunkline.responses import PlainTextResponse
from trunkline.routing import Route, WebSocketRoute
from trunkline.states import WebSocketDisconnect

Log = list[Any]
pytestmark = pytest.mark.anyio


class Stage:
    """Dependencies that note what happens, and an application in which an endpoint does what a test says."""

    def __init__(self) -> None:
        self.log: Log = []

    def opened(self, name: str, *, in_thread: bool = False) -> Any:
        def enter() -> None:
            self.log.append(f"{name} open")

        def leave(error: BaseException | None) -> None:
            self.log.append(f"{name} closed" + (f" by {type(error).__name__}" if error else ""))

        def plain() -> Any:
            enter()
            try:
                yield name
            except BaseException as error:
                leave(error)
                raise
            leave(None)

        async def asynchronous() -> Any:
            enter()
            try:
                yield name
            except BaseException as error:
                await anyio.lowlevel.checkpoint()  # a teardown may wait, also when it is cancelled
                leave(error)
                raise
            await anyio.lowlevel.checkpoint()
            leave(None)

        return plain if in_thread else asynchronous

    def app(self, does: Any, protocol: str, *, scope: Any = None) -> App:
        first, second = self.opened("first", in_thread=True), self.opened("second")

        async def endpoint(websocket: WebSocket, a: Any = Depends(first), b: Any = Depends(second, scope=scope)) -> Any:
            await websocket.accept()
            await does(websocket)

        async def page(a: Any = Depends(first), b: Any = Depends(second, scope=scope)) -> Any:
            return await does(None)

        return App(routes=[Route("/", page) if protocol == "http" else WebSocketRoute("/", endpoint)])


OPEN = ["first open", "second open"]


def closed(by: str = "") -> Log:
    ending = f" by {by}" if by else ""
    return [f"second closed{ending}", f"first closed{ending}"]


async def nothing(websocket: Any) -> None: ...
async def receiving(websocket: WebSocket) -> None:
    await websocket.receive_text()
    await websocket.receive_text()


def raising(error: Exception) -> Any:
    async def fail(websocket: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("protocol", ["http", "websocket"])
async def test_after_a_normal_end(protocol: str) -> None:
    stage = Stage()
    outcome = await call(stage.app(nothing, protocol), {**http_scope("/"), "type": protocol}, [CONNECT])
    assert outcome.error is None
    assert stage.log == OPEN + closed()


@pytest.mark.parametrize("protocol", ["http", "websocket"])
@pytest.mark.parametrize("error", [ValueError("x"), HTTPException(403), WebSocketException(4001)])
async def test_an_exception_of_the_endpoint_is_raised_at_each_yield(protocol: str, error: Exception) -> None:
    stage = Stage()
    outcome = await call(stage.app(raising(error), protocol), {**http_scope("/"), "type": protocol}, [CONNECT])
    assert stage.log == OPEN + closed(type(error).__name__)
    if protocol == "websocket":
        assert outcome.close == {"ValueError": (1011, ""), "HTTPException": (3003, "Forbidden")}.get(
            type(error).__name__, (4001, "")
        )


async def test_after_a_disconnect() -> None:
    stage = Stage()
    outcome = await call(stage.app(receiving, "websocket"), websocket_scope("/"), [CONNECT, text("x"), disconnect()])
    assert isinstance(outcome.error, WebSocketDisconnect)
    assert stage.log == OPEN + closed("WebSocketDisconnect")


@pytest.mark.parametrize("protocol", ["http", "websocket"])
async def test_after_a_cancellation(protocol: str) -> None:
    """By a scope of anyio, which would cancel every further await: the teardown is shielded."""
    stage = Stage()
    with anyio.CancelScope() as scope:

        async def cancel(websocket: Any) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        await call(stage.app(cancel, protocol), {**http_scope("/"), "type": protocol}, [CONNECT])
    assert scope.cancelled_caught
    assert [entry.split(" by ")[0] for entry in stage.log] == OPEN + closed()
    assert [entry.split(" by ")[1] for entry in stage.log[2:]] == [anyio.get_cancelled_exc_class().__name__] * 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_after_a_cancellation_by_asyncio() -> None:
    stage = Stage()
    reached = asyncio.Event()

    async def wait(websocket: Any) -> None:
        reached.set()
        await asyncio.sleep(3600)

    task = asyncio.ensure_future(call(stage.app(wait, "websocket"), websocket_scope("/"), [CONNECT]))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.log == OPEN + closed("CancelledError")


async def test_a_scope_that_is_cancelled_during_the_teardown_does_not_cut_it_short() -> None:
    stage = Stage()
    with anyio.CancelScope() as scope:

        async def cancel(websocket: Any) -> None:
            scope.cancel()

        await call(stage.app(cancel, "http"), http_scope("/"))
    assert stage.log == OPEN + closed()


async def test_after_a_dependency_that_fails() -> None:
    stage = Stage()

    async def fail(_: Any = Depends(stage.opened("first"))) -> None:
        raise KeyError("x")

    async def endpoint(websocket: WebSocket, a: Any = Depends(fail)) -> None:
        raise AssertionError("not to be reached")

    outcome = await call(App(routes=[WebSocketRoute("/", endpoint)]), websocket_scope("/"), [CONNECT])
    assert isinstance(outcome.error, KeyError)
    assert stage.log == ["first open", "first closed by KeyError"]


async def test_after_invalid_parameters() -> None:
    stage = Stage()

    async def endpoint(websocket: WebSocket, q: int, a: Any = Depends(stage.opened("first"))) -> None:
        raise AssertionError("not to be reached")

    outcome = await call(App(routes=[WebSocketRoute("/", endpoint)]), websocket_scope("/"), [CONNECT])
    assert outcome.types == ["close"]
    assert stage.log == ["first open", "first closed by WebSocketRequestValidationError"]


async def test_a_dependency_that_turns_an_exception_into_another_decides_the_end() -> None:
    async def translating() -> Any:
        try:
            yield
        except ValueError:
            raise WebSocketException(4004, "translated") from None

    async def endpoint(websocket: WebSocket, _: Any = Depends(translating)) -> None:
        await websocket.accept()
        raise ValueError

    outcome = await call(App(routes=[WebSocketRoute("/", endpoint)]), websocket_scope("/"), [CONNECT])
    assert (outcome.error, outcome.close) == (None, (4004, "translated"))


def swallowing() -> Any:
    try:
        yield
    except ValueError:
        pass


async def test_a_dependency_that_swallows_an_exception_ends_a_websocket_normally() -> None:
    async def endpoint(websocket: WebSocket, _: Any = Depends(swallowing)) -> None:
        await websocket.accept()
        raise ValueError

    outcome = await call(App(routes=[WebSocketRoute("/", endpoint)]), websocket_scope("/"), [CONNECT])
    assert (outcome.error, outcome.close) == (None, (1000, ""))


async def test_a_dependency_that_swallows_an_exception_leaves_a_request_without_response_and_is_told_so() -> None:
    async def page(_: Any = Depends(swallowing)) -> None:
        raise ValueError

    outcome = await call(App(routes=[Route("/", page)]), http_scope("/"))
    assert isinstance(outcome.error, RuntimeError)
    assert "write `raise` at the end of that `except`" in str(outcome.error)


# The order of an ending


async def test_function_scope_ends_before_the_answer_and_connection_scope_after_the_background_tasks() -> None:
    stage = Stage()

    class Noting(PlainTextResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await super().__call__(scope, receive, send)
            stage.log.append("answered")

    async def page(
        tasks: BackgroundTasks,
        a: Any = Depends(stage.opened("connection")),
        b: Any = Depends(stage.opened("function"), scope="function"),
    ) -> Any:
        tasks.add_task(stage.log.append, "task")
        return Noting("x")

    await call(App(routes=[Route("/", page)]), http_scope("/"))
    assert stage.log == [
        "connection open", "function open", "function closed", "answered", "task", "connection closed"
    ]  # fmt: skip


def tasked(stage: Stage, does: Any) -> App:
    async def note(tasks: BackgroundTasks) -> None:
        tasks.add_task(stage.log.append, "task of a dependency")

    async def endpoint(
        websocket: WebSocket,
        tasks: BackgroundTasks,
        _: Annotated[None, Depends(note)],
        a: Any = Depends(stage.opened("connection")),
        b: Any = Depends(stage.opened("function"), scope="function"),
    ) -> None:
        async def note_state() -> None:
            stage.log.append(f"task: {websocket.application_state.name}")

        await websocket.accept()
        tasks.add_task(note_state)
        await does(websocket)

    return App(routes=[WebSocketRoute("/", endpoint)])


BEGUN = ["connection open", "function open"]


async def test_background_tasks_of_a_websocket_run_when_it_has_been_closed() -> None:
    stage = Stage()
    outcome = await call(tasked(stage, nothing), websocket_scope("/"), [CONNECT])
    assert outcome.close == (1000, "")
    tasks = ["task of a dependency", "task: DISCONNECTED"]
    assert stage.log == [*BEGUN, "function closed", *tasks, "connection closed"]


async def test_background_tasks_of_a_websocket_run_when_the_client_has_gone() -> None:
    stage = Stage()
    outcome = await call(tasked(stage, receiving), websocket_scope("/"), [CONNECT, disconnect()])
    assert isinstance(outcome.error, WebSocketDisconnect)
    gone = "closed by WebSocketDisconnect"
    tasks = ["task of a dependency", "task: CONNECTED"]
    assert stage.log == [*BEGUN, f"function {gone}", *tasks, f"connection {gone}"]


async def test_background_tasks_do_not_run_after_an_error() -> None:
    stage = Stage()
    await call(tasked(stage, raising(ValueError("x"))), websocket_scope("/"), [CONNECT])
    assert stage.log == [*BEGUN, "function closed by ValueError", "connection closed by ValueError"]


async def test_background_tasks_and_those_of_the_response_run_both() -> None:
    log: Log = []

    async def page(tasks: BackgroundTasks, q: Annotated[str, Query()] = "x") -> Any:
        tasks.add_task(log.append, "injected")
        return PlainTextResponse(q, background=BackgroundTasks([_task(log)]))

    await call(App(routes=[Route("/", page)]), http_scope("/"))
    assert log == ["of the response", "injected"]


def _task(log: Log) -> Any:

    return BackgroundTask(log.append, "of the response")


async def test_background_tasks_of_dependencies_around_an_application_run() -> None:
    log: Log = []

    async def note(tasks: BackgroundTasks) -> None:
        tasks.add_task(log.append, "task")

    class Page:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            log.append("application")
            await PlainTextResponse("x")(scope, receive, send)

    await call(App(routes=[Route("/", Page())], dependencies=[Depends(note)]), http_scope("/"))
    assert log == ["application", "task"]


# Lifetimes that do not fit


def test_what_lives_long_cannot_hold_what_ends_before_it() -> None:
    stage = Stage()

    async def long(_: Any = Depends(stage.opened("short"), scope="function")) -> Any:
        yield

    async def endpoint(websocket: WebSocket, _: Any = Depends(long)) -> None: ...

    with pytest.raises(DependencyError, match=r'a dependency of scope "connection" depends on .* of scope "function"'):
        WebSocketRoute("/", endpoint)


def test_nor_through_a_function_that_ends_with_nothing() -> None:
    stage = Stage()

    async def between(_: Any = Depends(stage.opened("short"), scope="function")) -> None: ...

    async def long(_: Any = Depends(between)) -> Any:
        yield

    async def endpoint(websocket: WebSocket, _: Any = Depends(long)) -> None: ...
    async def fine(websocket: WebSocket, _: Any = Depends(between)) -> None: ...

    with pytest.raises(DependencyError, match=r'depends on .*between.* of scope "function", which ends before it'):
        WebSocketRoute("/", endpoint)
    assert WebSocketRoute("/", fine).endpoint is fine


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_generator_that_does_not_yield_is_an_error(backend: str) -> None:
    async def empty() -> Any:
        for name in list[str]():
            yield name

    async def page(_: Any = Depends(empty)) -> None: ...

    with pytest.raises(RuntimeError, match="generator didn't yield"):
        run(App(routes=[Route("/", page)]), http_scope("/"), backend=backend)
