"""`websocket.tasks()`: a task group that ends with the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import trunkline.tasks
from tests.asgi_peer import AsgiPeer
from tests.line_peer import LinePeer
from trunkline.websockets import WebSocketDisconnect, WebSocketDisconnected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.websockets import WebSocket

    Peer = AsgiPeer | LinePeer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[AsgiPeer, LinePeer])
def peer(request: pytest.FixtureRequest) -> Peer:
    made: Peer = request.param()
    return made


class Work:
    """A task's body that says how it ended."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def fail(error: Exception) -> None:
    raise error


async def receive_all(websocket: WebSocket, got: list[str]) -> None:
    while True:
        got.append(await websocket.receive_text())


async def test_the_end_of_the_body_waits_for_the_tasks(peer: Peer) -> None:
    websocket = await peer.accepted()
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("work")

    async with asyncio.timeout(5):
        async with websocket.tasks() as tg:
            task = tg.create_task(work(), name="worker")
            assert task.get_name() == "worker"
            assert done == []
    assert done == ["work"]
    assert peer.reading == 0


async def test_a_group_without_tasks_ends_with_its_body(peer: Peer) -> None:
    websocket = await peer.accepted()
    async with asyncio.timeout(5):
        async with websocket.tasks():
            pass
        async with websocket.tasks():
            await asyncio.sleep(0)


@pytest.mark.parametrize("code", [1000, 1006, 4000])
async def test_an_endpoint_that_only_sends_notices_the_end(code: int, peer: Peer) -> None:
    websocket = await peer.accepted()
    work = Work()
    with pytest.raises(WebSocketDisconnect) as caught:
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(work())
            await work.started.wait()
            peer.closes(code, "bye")
            await asyncio.Event().wait()
    # A plain server may give a reason with 1006; a connection that is really lost has none.
    assert (caught.value.code, caught.value.reason) in [(code, "bye"), (1006, "")]
    assert caught.value.code == code
    assert work.cancelled


async def test_nobody_receives_so_unread_messages_hold_nothing_up(peer: Peer) -> None:
    websocket = await peer.accepted()
    work = Work()
    peer.sends("unread", "unread")
    peer.closes(1000)
    with pytest.raises(WebSocketDisconnect):
        async with asyncio.timeout(trunkline.tasks.DELIVERY_SECONDS / 2), websocket.tasks() as tg:
            tg.create_task(work())
    assert work.cancelled


async def test_messages_before_a_clean_close_are_delivered_first(peer: Peer) -> None:
    websocket = await peer.accepted()
    work = Work()
    got: list[str] = []
    peer.sends("a", "b", "c")
    peer.closes(1001)

    async def read() -> None:
        while True:
            message = await websocket.receive_text()
            await asyncio.sleep(0)
            assert not work.cancelled
            got.append(message)

    with pytest.raises(WebSocketDisconnect) as caught:
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(work())
            tg.create_task(read())
    assert got == ["a", "b", "c"]
    assert caught.value.code == 1001
    assert work.cancelled


async def test_a_body_that_receives_gets_what_came_before_the_close(peer: Peer) -> None:
    websocket = await peer.accepted()
    work = Work()
    got: list[str] = []
    with pytest.raises(WebSocketDisconnect):
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(work())
            await work.started.wait()
            peer.sends("a", "b", "c")
            peer.closes(1000)
            async for message in websocket.iter_text():
                got.append(message)
                for _ in range(5):
                    await asyncio.sleep(0)
    assert got == ["a", "b", "c"]
    assert work.cancelled


async def test_a_lost_connection_cancels_at_once(peer: Peer) -> None:
    websocket = await peer.accepted()
    got: list[str] = []

    async def read() -> None:
        while True:
            got.append(await websocket.receive_text())
            await asyncio.Event().wait()

    with pytest.raises(WebSocketDisconnect) as caught:
        async with asyncio.timeout(trunkline.tasks.DELIVERY_SECONDS / 2), websocket.tasks() as tg:
            tg.create_task(read())
            peer.sends("a", "unread")
            peer.closes(1006)
    assert got == ["a"]
    assert caught.value.code == 1006


async def test_delivery_is_bounded(monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    monkeypatch.setattr(trunkline.tasks, "DELIVERY_SECONDS", 0.01)
    websocket = await peer.accepted()

    async def read_one_and_hang() -> None:
        await websocket.receive_text()
        await asyncio.Event().wait()

    with pytest.raises(WebSocketDisconnect):
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(read_one_and_hang())
            peer.sends("a", "unread")
            peer.closes(1000)


async def test_delivery_ends_with_the_last_reader(peer: Peer) -> None:
    websocket = await peer.accepted()
    work = Work()
    got: list[str] = []

    async def read_one() -> None:
        got.append(await websocket.receive_text())
        await asyncio.sleep(0)

    with pytest.raises(WebSocketDisconnect):
        async with asyncio.timeout(trunkline.tasks.DELIVERY_SECONDS / 2), websocket.tasks() as tg:
            tg.create_task(work())
            tg.create_task(read_one())
            peer.sends("a", "unread")
            peer.closes(1000)
    assert got == ["a"]


async def test_a_reader_inside_wait_for_is_a_reader(peer: Peer) -> None:
    websocket = await peer.accepted()
    got: list[str] = []

    async def read() -> None:
        while True:
            got.append(await asyncio.wait_for(websocket.receive_text(), 5))

    with pytest.raises(WebSocketDisconnect):
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(read())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            peer.sends("a", "b", "c")
            peer.closes(1000)
    assert got == ["a", "b", "c"]


async def test_disconnects_of_several_tasks_are_one(peer: Peer) -> None:
    websocket = await peer.accepted()

    async def tick() -> None:
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0)

    with pytest.raises(WebSocketDisconnect) as caught:
        async with asyncio.timeout(5), websocket.tasks() as tg:
            for _ in range(3):
                tg.create_task(tick())
                tg.create_task(receive_all(websocket, []))
            await asyncio.sleep(0)
            peer.lost = True
    assert caught.value.code == 1006


@pytest.mark.parametrize(
    "body",
    [
        lambda tg: tg.create_task(fail(ValueError("mine"))),
        lambda tg: fail(ValueError("mine")),
    ],
    ids=["child", "body"],
)
async def test_other_errors_leave_as_a_group(body: Callable[[Any], Awaitable[None]], peer: Peer) -> None:
    websocket = await peer.accepted()
    work = Work()
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(work())
            await work.started.wait()
            await body(tg)
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert work.cancelled
    assert not websocket.closed


async def test_other_errors_leave_without_the_disconnects(peer: Peer) -> None:
    websocket = await peer.accepted()

    async def clean_up_badly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while cleaning up")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(clean_up_badly())
            tg.create_task(receive_all(websocket, []))
            await asyncio.sleep(0)
            peer.closes(1001)
    assert [str(error) for error in caught.value.exceptions] == ["while cleaning up"]


async def test_a_disconnect_that_a_task_raises_itself_ends_the_group(peer: Peer) -> None:
    websocket = await peer.accepted()
    with pytest.raises(WebSocketDisconnect) as caught:
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(fail(WebSocketDisconnect(4001, "mine")))
            await asyncio.Event().wait()
    assert (caught.value.code, caught.value.reason) == (4001, "mine")


async def test_our_own_close_cancels_nothing(peer: Peer) -> None:
    websocket = await peer.accepted()
    finished = False

    async def work() -> None:
        nonlocal finished
        await websocket.wait_closed()
        for _ in range(10):
            await asyncio.sleep(0)
        finished = True

    async with asyncio.timeout(5), websocket.tasks() as tg:
        tg.create_task(work())
        await asyncio.sleep(0)
        await websocket.close(4000)
    assert finished


async def test_a_task_that_uses_the_connection_after_our_close_meets_a_disconnect(peer: Peer) -> None:
    websocket = await peer.accepted()

    async def tick() -> None:
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0)

    with pytest.raises(WebSocketDisconnect) as caught:
        async with asyncio.timeout(5), websocket.tasks() as tg:
            tg.create_task(tick())
            await asyncio.sleep(0)
            await websocket.close(4000, "done")
    assert (caught.value.code, caught.value.reason) == (4000, "done")


async def test_a_cancellation_from_outside_passes(peer: Peer) -> None:
    websocket = await peer.accepted()
    work = Work()

    async def endpoint() -> None:
        async with websocket.tasks() as tg:
            tg.create_task(work())
            await asyncio.Event().wait()

    task = asyncio.create_task(endpoint())
    await work.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.cancelled
    assert peer.reading == 0
    peer.sends("still there")
    assert await websocket.receive_text() == "still there"


async def test_a_task_may_create_tasks(peer: Peer) -> None:
    websocket = await peer.accepted()
    done: list[int] = []

    async with asyncio.timeout(5), websocket.tasks() as tg:

        async def work(depth: int) -> None:
            await asyncio.sleep(0)
            done.append(depth)
            if depth:
                tg.create_task(work(depth - 1))

        tg.create_task(work(3))
    assert done == [3, 2, 1, 0]


async def test_entering_after_the_end_raises_the_disconnect(peer: Peer) -> None:
    websocket = await peer.accepted()
    peer.closes(1001)
    await websocket.wait_closed()
    with pytest.raises(WebSocketDisconnect):
        async with asyncio.timeout(5), websocket.tasks():
            await asyncio.Event().wait()


async def test_a_task_made_outside_the_group_is_refused(peer: Peer) -> None:
    websocket = await peer.accepted()
    group = websocket.tasks()
    work = Work()()
    with pytest.raises(RuntimeError):
        group.create_task(work)
    work.close()


async def test_before_accept_it_says_what_is_missing() -> None:
    with pytest.raises(WebSocketDisconnected, match='Need to call "accept" first'):
        async with AsgiPeer().websocket().tasks():
            pass
