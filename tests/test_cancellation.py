"""An endpoint that is cancelled, at every place where it can be: it ends, says its last word, and leaves no task.

A run is repeated, cancelled at its first suspension, at its second, and so on, until it ends before it is cancelled.
"""

from __future__ import annotations

import asyncio
import types
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from tests.asgi_call import Lost, Outcome, websocket_scope
from trunkline.applications import App
from trunkline.endpoints import WebSocketEndpoint
from trunkline.responses import PlainTextResponse
from trunkline.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

    from trunkline.types import ASGIApp, Message, Scope

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@types.coroutine
def stepwise(coroutine: Coroutine[Any, Any, None], suspended: Callable[[], None]) -> Generator[Any, Any, None]:
    """Run a coroutine, calling back at each of its suspensions."""
    step = coroutine.send
    value: Any = None
    while True:
        try:
            awaited = step(value)
        except StopIteration:
            return
        suspended()
        try:
            value = yield awaited
            step = coroutine.send
        except BaseException as error:
            value = error
            step = coroutine.throw


async def cancelled_at(suspension: int, app: ASGIApp, scope: Scope, incoming: Sequence[Message]) -> Outcome:
    """What came of an application that is cancelled at one of its suspensions, or not if it has fewer.

    The error of the outcome is a `CancelledError`, and None where it ended before.
    """
    outcome = Outcome()
    messages = deque(incoming)
    count = 0

    async def receive() -> Message:
        await asyncio.sleep(0)
        return messages.popleft()

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        if not messages:
            raise Lost
        outcome.sent.append(message)

    def suspended() -> None:
        nonlocal count
        count += 1
        if count == suspension:
            loop.call_soon(task.cancel)

    async def run() -> None:
        await stepwise(app(scope, receive, send), suspended)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    task = loop.create_task(run())
    try:
        async with asyncio.timeout(5):
            await asyncio.wait({task})
    finally:
        task.cancel()
    assert asyncio.all_tasks() == before
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if count >= suspension:
        # `tasks` may have learned of the end in the same step as of the cancellation: asyncio.TaskGroup raises that.
        assert isinstance(error, (asyncio.CancelledError, WebSocketDisconnect))
        outcome.error = error
    return outcome


app = App()


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for data in websocket:
        assert isinstance(data, str)
        await websocket.send_text(data)


@app.websocket("/tasks")
async def tasks(websocket: WebSocket) -> None:
    await websocket.accept()
    async with websocket.tasks() as group:
        group.create_task(websocket.send_json([1]))
        group.create_task(websocket.wait_closed())
        async for text in websocket.iter_text():
            await websocket.send_text(text)


@app.websocket("/closing")
async def closing(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    await websocket.close(4000)


@app.websocket("/denied")
async def denied(websocket: WebSocket) -> None:
    await websocket.receive()
    await websocket.send_denial_response(PlainTextResponse("no", status_code=418))


@app.websocket("/class")
class Echo(WebSocketEndpoint):
    encoding = "text"

    async def on_receive(self, websocket: WebSocket, data: str) -> None:
        await websocket.send_text(data)


async def every_cancellation(path: str) -> list[Outcome]:
    """What came of each run that was cancelled, of a connection whose client says two things and leaves."""
    outcomes: list[Outcome] = []
    incoming: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.receive", "text": "b"},
        {"type": "websocket.disconnect", "code": 1001, "reason": ""},
    ]
    while True:
        outcome = await cancelled_at(len(outcomes) + 1, app, websocket_scope(path), incoming)
        if outcome.error is None:
            return outcomes
        outcomes.append(outcome)


@pytest.mark.parametrize(
    ("path", "silent"),
    [
        ("/echo", 0),
        ("/class", 0),
        ("/tasks", 2),  # the last two know already that the client has left
        ("/closing", 1),  # the last one is inside its own close
        ("/denied", 0),
    ],
)
async def test_a_websocket_cancelled_anywhere_is_ended_once(path: str, silent: int) -> None:
    outcomes = await every_cancellation(path)
    assert len(outcomes) >= 3
    accepted = [outcome for outcome in outcomes if "accept" in outcome.types]
    assert {outcome.close for outcome in accepted[: len(accepted) - silent]} <= {(1011, "")}
    assert all(outcome.close is None for outcome in accepted[len(accepted) - silent :])
