"""The two stages of a plan: what is done once for a connection, and what for each of its messages."""

import inspect
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest

from trunkline import BackgroundTasks, Depends, WebSocket
from trunkline.dependencies import DependencyError
from trunkline.dependencies._plan import Plan, Recipe
from trunkline.dependencies._signatures import Given
from trunkline.dependencies._solution import Solution
from trunkline.exceptions import WebSocketRequestValidationError

pytestmark = pytest.mark.anyio


class Message:
    def __init__(self, text: str) -> None:
        self.text = text


def claims(given: Given) -> str | None:
    """The parameters that a listener fills with what comes with a message: by type, and by name."""
    if given.annotation is Message:
        return "message"
    return "number" if given.name == "number" else None


def planned(handler: Any) -> Plan:
    return Plan(Recipe(handler, (), "websocket", is_listener=True, claims=claims))


def connection(query: bytes = b"") -> WebSocket:
    async def nothing(*_: Any) -> Any: ...

    scope: Any = {"type": "websocket", "path": "/", "headers": [], "query_string": query}
    return WebSocket(scope, nothing, nothing)


log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


async def pool(q: int = 1) -> Any:
    log.append("pool open")
    yield f"pool {q}"
    log.append("pool closed")


async def session(pool: Annotated[str, Depends(pool)]) -> Any:
    log.append("session open")
    try:
        yield f"session of {pool}"
    except ValueError:
        log.append("session rolled back")
        raise
    finally:
        log.append("session closed")


async def row(message: Message, session: Annotated[str, Depends(session, scope="message")]) -> str:
    return f"{message.text} in {session}"


async def handler(
    websocket: WebSocket,
    message: Message,
    number: int,
    row: Annotated[str, Depends(row, scope="message")],
    session: Annotated[str, Depends(session, scope="message")],
    pool: Annotated[str, Depends(pool)],
    tasks: BackgroundTasks,
    q: int = 0,
) -> Any:
    return message.text, number, row, session, pool, q, tasks


async def test_a_dependency_of_a_message_lives_around_it_and_one_of_the_connection_around_all() -> None:
    plan = planned(handler)
    outer = Solution(plan, connection(b"q=7"))
    answers = []
    async with outer.lifetime("connection"):
        await outer.solve()
        assert log == ["pool open"]
        for number in (1, 2):
            inner = outer.for_message({"message": Message(f"m{number}"), "number": number})
            async with inner.lifetime("message"), inner.lifetime("function"):
                answers.append(await handler(**await inner.solve()))
    assert [answer[:-1] for answer in answers] == [
        (f"m{n}", n, f"m{n} in session of pool 7", "session of pool 7", "pool 7", 7) for n in (1, 2)
    ]
    assert answers[0][-1] is not answers[1][-1], "background tasks are those of a message"
    assert log == ["pool open", *["session open", "session closed"] * 2, "pool closed"]


async def test_an_error_of_a_handler_is_raised_at_the_yields_of_its_message_only() -> None:
    outer = Solution(planned(handler), connection())
    async with outer.lifetime("connection"):
        await outer.solve()
        inner = outer.for_message({"message": Message("m"), "number": 1})
        with pytest.raises(ValueError, match="of the handler"):
            async with inner.lifetime("message"), inner.lifetime("function"):
                await inner.solve()
                raise ValueError("of the handler")
    assert log == ["pool open", "session open", "session rolled back", "session closed", "pool closed"]


async def test_messages_that_are_handled_at_once_do_not_mix() -> None:
    outer = Solution(planned(handler), connection())
    seen = {}

    async def handle(number: int) -> None:
        inner = outer.for_message({"message": Message(f"m{number}"), "number": number})
        async with inner.lifetime("message"), inner.lifetime("function"):
            arguments = await inner.solve()
            await anyio.lowlevel.checkpoint()
            seen[number] = (await handler(**arguments))[:3]

    async with outer.lifetime("connection"):
        await outer.solve()
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(handle, number)
    assert seen == {n: (f"m{n}", n, f"m{n} in session of pool 1") for n in range(3)}


async def simple(websocket: WebSocket, message: Message, pool: Annotated[str, Depends(pool)], q: int) -> None: ...


async def tasked(message: Message, tasks: BackgroundTasks) -> None: ...


@pytest.mark.parametrize(("handler", "is_immediate"), [(simple, True), (handler, False), (tasked, False)])
def test_a_plan_is_immediate_where_a_message_needs_nothing_but_itself(handler: Any, is_immediate: bool) -> None:
    assert planned(handler).is_immediate is is_immediate


async def test_a_message_of_an_immediate_plan_awaits_nothing() -> None:
    plan = planned(simple)
    websocket = connection(b"q=3")
    outer = Solution(plan, websocket)
    async with outer.lifetime("connection"):
        await outer.solve()
        message = Message("m")
        arguments = outer.with_message({"message": message})
        assert arguments == await outer.for_message({"message": message}).solve()
    assert arguments == {"websocket": websocket, "message": message, "pool": "pool 3", "q": 3}


async def test_parameters_of_a_handler_are_validated_with_the_connection() -> None:
    outer = Solution(planned(simple), connection(b"q=x"))
    with pytest.raises(WebSocketRequestValidationError) as caught:
        async with outer.lifetime("connection"):
            await outer.solve()
    assert [error["loc"] for error in caught.value.errors()] == [("query", "q"), ("query", "q")]


async def once(message: Message) -> str:
    return message.text


async def on_session(_: Annotated[str, Depends(session, scope="message")]) -> Any:
    yield


async def on_function(_: Annotated[str, Depends(session, scope="function")]) -> Any:
    yield


async def one(_: Annotated[str, Depends(once)]) -> None: ...
async def two(_: Annotated[str, Depends(on_session)]) -> None: ...
async def three(_: Annotated[str, Depends(on_function)]) -> None: ...
async def four(_: Annotated[str, Depends(on_function, scope="message")]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (one, 'scope "connection" depends on what comes with a message, of scope "message"'),
        (two, r'scope "connection" depends on session \(.*\) of scope "message"'),
        (three, r'scope "connection" depends on session \(.*\) of scope "function"'),
        (four, r'scope "message" depends on session \(.*\) of scope "function"'),
    ],
)
def test_what_lives_longer_cannot_depend_on_what_ends_before_it(handler: Any, words: str) -> None:
    with pytest.raises(DependencyError, match=words + ".*which ends before it; give it the scope"):
        planned(handler)


def test_given_tells_what_a_listener_decides_by() -> None:
    given = Given("n", int, 3, inspect.Parameter.KEYWORD_ONLY)
    assert (given.name, given.annotation, given.default, given.is_starred) == ("n", int, 3, False)
