"""The way straight from the read: who runs it, and what becomes of what a callback cannot do."""

import asyncio
from typing import Any

import pytest

from tests.listeners.peers import LineClient, ParkedClient, until
from tests.listeners.test_listeners import listening
from trunkline import WebSocket

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[LineClient, ParkedClient], ids=["line", "parked"])
def line_client(request: pytest.FixtureRequest) -> LineClient:
    made: LineClient = request.param()
    return made


async def test_a_plain_listener_answers_inside_the_read_and_outside_of_any_task(line_client: LineClient) -> None:
    tasks: list[Any] = []

    def listener(message: str) -> str:
        tasks.append(asyncio.current_task())
        return message

    await line_client.open(listening(listener))
    tests = asyncio.current_task()
    line_client.says("a")
    assert line_client.got == ["a"], "answered when the read returns, with nothing awaited"
    assert tasks == [tests], "whose call the read was"
    asyncio.get_running_loop().call_soon(line_client.says, "b")
    await line_client.hears("a", "b")
    assert tasks == [tests, None]


async def test_an_async_listener_runs_in_the_task_of_its_connection() -> None:
    line_client = ParkedClient()
    tasks: list[Any] = []

    async def listener(message: str) -> str:
        tasks.append(asyncio.current_task())
        return message

    await line_client.open(listening(listener))
    line_client.says("a", "b")
    await line_client.hears("a", "b")
    assert tasks == [line_client.task] * 2


async def test_a_stalled_client_is_waited_for_and_its_messages_are_kept(line_client: LineClient) -> None:
    seen: list[str] = []

    def listener(message: str) -> str:
        seen.append(message)
        return message

    await line_client.open(listening(listener))
    line_client.peer.stalls()
    line_client.peer.at_once("a", "b", "c")
    line_client.says("d")
    for _ in range(20):
        await asyncio.sleep(0)
    assert (seen, line_client.got) == (["a"], []), "no message is taken while an answer waits"
    line_client.peer.resumes()
    await line_client.hears("a", "b", "c", "d")
    line_client.says("e")
    await line_client.hears("a", "b", "c", "d", "e")


async def test_reading_pauses_while_the_client_does_not_read(line_client: LineClient) -> None:
    def listener(message: str) -> str:
        return message

    await line_client.open(listening(listener))
    line_client.peer.stalls()
    for number in range(65):
        line_client.says(str(number))
    assert not line_client.peer.transport.reading
    line_client.peer.resumes()
    await line_client.hears(*map(str, range(65)))
    assert line_client.peer.transport.reading


@pytest.mark.parametrize("number", [65, 66, 67])
async def test_reading_goes_on_where_the_last_answer_of_all_had_to_wait(line_client: LineClient, number: int) -> None:
    def listener(message: str) -> str:
        return message * 40_000  # of which two are more than is welcome

    await line_client.open(listening(listener))
    transport = line_client.peer.transport
    line_client.peer.stalls()
    line_client.peer.at_once(*"x" * number)
    assert not transport.reading
    line_client.peer.resumes()
    await until(lambda: len(line_client.got) == number)
    await until(lambda: transport.reading)


async def test_more_than_the_high_water_mark_from_one_read(line_client: LineClient) -> None:
    def listener(message: str) -> str:
        return message * 40_000

    await line_client.open(listening(listener))
    line_client.peer.at_once(*"abcdefgh")
    await until(lambda: len(line_client.got) == 8)
    assert [str(text)[0] for text in line_client.got] == list("abcdefgh")


async def test_a_client_that_vanishes_while_an_answer_waits(line_client: LineClient) -> None:
    def listener(message: str) -> str:
        return message

    await line_client.open(listening(listener))
    line_client.peer.stalls()
    line_client.says("a")
    await asyncio.sleep(0)
    line_client.vanishes()
    assert await line_client.end() is None


async def test_our_own_close_while_an_answer_waits(line_client: LineClient) -> None:
    connections: list[WebSocket] = []

    def listener(message: str, websocket: WebSocket) -> str:
        connections.append(websocket)
        return message

    await line_client.open(listening(listener))
    line_client.peer.stalls()
    line_client.says("a")
    await connections[0].close(4002)
    assert await line_client.end() is None


async def test_what_came_before_a_close_is_answered_before_it(line_client: LineClient) -> None:
    def listener(message: str) -> str:
        return message

    await line_client.open(listening(listener))
    line_client.peer.stalls()
    line_client.says("a", "b")
    line_client.closes(1001)
    line_client.peer.resumes()
    assert await line_client.end() is None
    assert line_client.got == ["a", "b"]
    assert line_client.close is not None
    assert line_client.close[0] == 1001


async def test_a_listener_that_drops_its_connection(line_client: LineClient) -> None:
    seen: list[str] = []

    def listener(message: str, websocket: WebSocket) -> str:
        seen.append(message)
        websocket.scope["extensions"]["trunkline.line"]["line"].abort()
        return message

    await line_client.open(listening(listener))
    line_client.peer.at_once("a", "b")
    assert await line_client.end() is None
    assert seen == ["a"]


async def test_invalid_messages_behind_a_close_are_not_answered(line_client: LineClient) -> None:
    def listener(message: int) -> int:
        return message

    await line_client.open(listening(listener))
    line_client.peer.stalls()
    line_client.says("1", "x", "2")
    line_client.closes()
    line_client.peer.resumes()
    assert await line_client.end() is None
    assert line_client.got == ["1", "2"]


async def test_a_middleware_around_the_messages_takes_the_loop(line_client: LineClient) -> None:
    received: list[str] = []

    def watching(app: Any) -> Any:
        async def watched(scope: Any, receive: Any, send: Any) -> None:
            async def counted() -> Any:
                message = await receive()
                received.append(message["type"])
                return message

            await app(scope, counted, send)

        return watched

    def listener(message: str) -> str:
        return message

    await line_client.open(watching(listening(listener)))
    line_client.says("a")
    await line_client.hears("a")
    line_client.closes()
    assert await line_client.end() is None
    assert received == ["websocket.connect", "websocket.receive", "websocket.disconnect"]
