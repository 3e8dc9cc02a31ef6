"""Listeners: what is called for a message, what is answered, what is torn down, and how a connection ends."""

import asyncio
import contextvars
import json
import logging
import threading
import time
from functools import partial
from typing import Annotated, Any, Literal

import anyio
import msgspec
import pytest
from pydantic import BaseModel

from tests.listeners.peers import AsgiClient, Client, LineClient, until
from trunkline import App, BackgroundTasks, Depends, Query, Router, WebSocket, WebSocketException
from trunkline.messages import InvalidMessage, InvalidPolicy, MessageSettings
from trunkline.middleware import Middleware
from trunkline.routing import ListenerRoute

pytestmark = pytest.mark.anyio


class Join(BaseModel):
    type: Literal["join"] = "join"
    room: str


class Say(BaseModel):
    type: Literal["say"] = "say"
    text: str


class Move(msgspec.Struct, tag="move"):
    x: int


JOIN = {"type": "join", "room": "blue"}
SAY = {"type": "say", "text": "hü"}

log: list[Any] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


def listening(listener: Any, path: str = "/", **options: Any) -> App:
    app = App()
    app.listener(path, **options)(listener)
    return app


def plain(message: Any) -> Any:
    return message


async def asynchronous(message: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return message


def typed(function: Any, type_: Any) -> Any:
    """A copy of a function whose message has a type."""
    if asyncio.iscoroutinefunction(function):

        async def listener(message: Any) -> Any:
            return await function(message)

        made: Any = listener
    else:

        def listener_(message: Any) -> Any:
            return function(message)

        made = listener_
    made.__annotations__["message"] = type_
    return made


BOTH = pytest.mark.parametrize("function", [plain, asynchronous])


# Messages and answers


@BOTH
async def test_each_message_is_answered_in_order(function: Any, client: Client) -> None:
    await client.open(listening(typed(function, str)))
    client.says("a", "b", "ü")
    await client.hears("a", "b", "ü")
    client.says("c")
    await client.hears("a", "b", "ü", "c")
    client.closes()
    assert await client.end() is None


@BOTH
async def test_text_and_binary_messages_are_themselves(function: Any, client: Client) -> None:
    await client.open(listening(typed(function, str | bytes)))
    client.says("a", b"b")
    await client.hears("a", b"b")


@pytest.mark.parametrize(("type_", "data", "wanted"), [(str, b"x", "text"), (bytes, "x", "binary")])
@BOTH
async def test_a_frame_of_the_other_kind_is_an_invalid_message(
    function: Any, type_: Any, data: Any, wanted: str, client: Client
) -> None:
    await client.open(listening(typed(function, type_)))
    client.says(data)
    await until(lambda: bool(client.got))
    answer = json.loads(client.got[0])
    assert answer["errors"][0]["type"] == "frame_type"
    assert answer["errors"][0]["msg"].startswith(f"Expected a {wanted} message")


@BOTH
async def test_typed_messages_are_decoded_and_answers_encoded(function: Any, client: Client) -> None:
    def described(message: Any) -> Any:
        return Say(text=type(message).__name__)

    async def described_later(message: Any) -> Any:
        return described(message)

    await client.open(listening(typed(described if function is plain else described_later, Join | Say)))
    client.says(JOIN, SAY)
    await client.hears('{"type":"say","text":"Join"}', '{"type":"say","text":"Say"}')


async def test_a_binary_codec_answers_in_binary(client: Client) -> None:
    await client.open(listening(typed(plain, Move), messages=MessageSettings(codec="msgpack")))
    client.says(msgspec.msgpack.encode(Move(3)))
    await client.hears(msgspec.msgpack.encode(Move(3)))


async def test_a_subprotocol_chooses_the_codec(client: Client) -> None:
    settings = MessageSettings(subprotocols={"game.msgpack": "msgpack"})
    await client.open(listening(typed(plain, Move), messages=settings), subprotocol="game.msgpack")
    client.says(msgspec.msgpack.encode(Move(3)))
    await client.hears(msgspec.msgpack.encode(Move(3)))


@BOTH
async def test_none_answers_nothing_and_bytes_like_values_are_binary(function: Any, client: Client) -> None:
    answers = {"none": None, "array": bytearray(b"x"), "view": memoryview(b"y")}
    await client.open(listening(partial_of(function, answers)))
    client.says("none", "array", "view")
    await client.hears(b"x", b"y")


def partial_of(function: Any, answers: dict[str, Any]) -> Any:
    def answer(message: str) -> Any:
        return answers[message]

    async def answer_later(message: str) -> Any:
        return answers[message]

    return answer if function is plain else answer_later


async def test_a_partial_can_listen(client: Client) -> None:
    def greet(message: str, greeting: str) -> str:
        return f"{greeting} {message}"

    await client.open(listening(partial(greet, greeting="hello")))
    client.says("anna")
    await client.hears("hello anna")


# Invalid messages


@BOTH
@pytest.mark.parametrize("policy", ["close", "raise"])
async def test_an_invalid_message_is_closed_for_or_raised(function: Any, policy: InvalidPolicy, client: Client) -> None:
    await client.open(listening(typed(function, Join), messages=MessageSettings(invalid=policy)))
    client.says({"type": "join"}, JOIN)
    error = await client.end()
    assert client.got == []
    assert client.close == (1008, "the message is not of an expected type")
    assert (error is None) == (policy == "close")


@BOTH
async def test_invalid_messages_are_answered_until_there_are_too_many_in_a_row(function: Any, client: Client) -> None:
    await client.open(listening(typed(function, Join), messages=MessageSettings(max_invalid=2)))
    client.says("{", "{", JOIN, "{", "{", "{", JOIN)
    assert await client.end() is None
    kinds = [json.loads(data)["type"] for data in client.got]
    assert kinds == ["error", "error", "join", "error", "error"]
    assert client.close == (1008, "too many invalid messages")


async def test_an_exception_handler_meets_an_invalid_message(client: Client) -> None:
    app = App()

    @app.listener("/", messages=MessageSettings(invalid="raise"))
    def listener(message: Join) -> None: ...

    @app.exception_handler(InvalidMessage)
    async def handle(websocket: WebSocket, error: InvalidMessage) -> None:
        await websocket.close(4000, error.errors[0]["type"])

    await client.open(app)
    client.says({"type": "join"})
    assert await client.end() is None
    assert client.close == (4000, "missing")


# Parameters and dependencies


async def pool(q: int = 1) -> Any:
    log.append("pool open")
    try:
        yield f"pool {q}"
    except BaseException as error:
        log.append(f"pool closed by {type(error).__name__}")
        raise
    log.append("pool closed")


async def session(pool: Annotated[str, Depends(pool)]) -> Any:
    log.append("session open")
    try:
        yield f"session of {pool}"
    except BaseException as error:
        log.append(f"session closed by {type(error).__name__}")
        raise
    log.append("session closed")


@BOTH
async def test_parameters_of_the_connection_are_had_once(function: Any, client: Client) -> None:
    def answer(room: str, text: str, websocket: WebSocket, pool: Annotated[str, Depends(pool)], q: int = 0) -> Any:
        return f"{room} {text} {pool} {q} {websocket.path_params['room']}"

    async def answer_later(
        room: str, text: str, websocket: WebSocket, pool: Annotated[str, Depends(pool)], q: int = 0
    ) -> Any:
        return answer(room, text, websocket, pool, q)

    await client.open(listening(answer if function is plain else answer_later, "/{room}"), "/blue?q=7")
    assert log == ["pool open"]
    client.says("a", "b")
    await client.hears("blue a pool 7 7 blue", "blue b pool 7 7 blue")
    client.closes()
    assert await client.end() is None
    assert log == ["pool open", "pool closed"]


@BOTH
async def test_a_dependency_of_a_message_lives_around_it(function: Any, client: Client) -> None:
    Session = Annotated[str, Depends(session, scope="message")]

    def row(message: str, session: Session) -> str:
        return f"{message} in {session}"

    Row = Annotated[str, Depends(row, scope="message")]

    def answer(message: str, row: Row, tasks: BackgroundTasks) -> str:
        tasks.add_task(log.append, f"task of {message}")
        log.append(message)
        return row

    async def answer_later(message: str, row: Row, tasks: BackgroundTasks) -> str:
        return answer(message, row, tasks)

    await client.open(listening(answer if function is plain else answer_later))
    client.says("a", "b")
    await client.hears("a in session of pool 1", "b in session of pool 1")
    client.closes()
    assert await client.end() is None
    around = [["session open", name, f"task of {name}", "session closed"] for name in "ab"]
    assert log == ["pool open", *around[0], *around[1], "pool closed"]


@BOTH
async def test_an_error_is_raised_at_each_yield_and_closes(function: Any, client: Client) -> None:
    def fail(message: str, _: Annotated[str, Depends(session, scope="message")]) -> None:
        raise ValueError(message)

    async def fail_later(message: str, _: Annotated[str, Depends(session, scope="message")]) -> None:
        raise ValueError(message)

    await client.open(listening(fail if function is plain else fail_later))
    client.says("a")
    await client.end()
    assert log == ["pool open", "session open", "session closed by ValueError", "pool closed by ValueError"]
    assert client.close == (1011, "")


async def test_invalid_parameters_are_refused_before_accept(client: Client) -> None:
    def answer(message: str, q: Annotated[int, Query()]) -> None: ...

    await client.open(listening(answer), "/?q=none")
    await client.end()
    assert client.close is not None
    assert client.close[0] == 1008


async def test_dependencies_of_the_route_and_of_an_inclusion_come_first(client: Client) -> None:
    def note(name: str) -> Any:
        return Depends(lambda: log.append(name))

    router = Router()

    @router.listener("/{room}", name="rooms", dependencies=[note("route")])
    def listener(message: str, room: str, _: Annotated[None, note("own")]) -> str:
        return f"{message} in {room}"

    app = App()
    app.include_router(router, "/chat", dependencies=[note("inclusion")])
    assert app.url_path_for("rooms", room="blue") == "/chat/blue"
    await client.open(app, "/chat/blue")
    client.says("a")
    await client.hears("a in blue")
    assert log == ["inclusion", "route", "own"]


async def test_overrides_count(client: Client) -> None:
    def answer(message: str, pool: Annotated[str, Depends(pool)]) -> str:
        return pool

    app = listening(answer)
    app.dependency_overrides[pool] = lambda: "fake"
    await client.open(app)
    client.says("a")
    await client.hears("fake")


async def test_a_dependency_may_accept(client: Client) -> None:
    async def greet(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("who?")
        log.append(await websocket.receive_text())

    def answer(message: str, _: Annotated[None, Depends(greet)]) -> str:
        return message

    await client.open(listening(answer))
    client.says("anna", "a")
    await client.hears("who?", "a")
    assert log == ["anna"]


async def test_background_tasks_of_the_connection_run_at_its_end(client: Client) -> None:
    def remember(tasks: BackgroundTasks) -> None:
        tasks.add_task(log.append, "task")

    def answer(message: str, _: Annotated[None, Depends(remember)]) -> None: ...

    await client.open(listening(answer))
    assert log == []
    client.closes()
    assert await client.end() is None
    assert log == ["task"]


async def test_middleware_of_the_route_sees_the_messages() -> None:
    class Counting:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def counted(message: Any) -> None:
                log.append(message["type"])
                await send(message)

            await self.app(scope, receive, counted)

    client = LineClient()
    await client.open(listening(typed(plain, str), middleware=[Middleware(Counting)]))
    client.says("a")
    await client.hears("a")
    assert log == ["websocket.accept", "websocket.send"]


# The end


@pytest.mark.parametrize("lost", [False, True])
@BOTH
async def test_the_client_leaving_is_a_normal_end(function: Any, lost: bool, client: Client) -> None:
    def answer(message: str, _: Annotated[str, Depends(pool)]) -> str:
        return message

    async def answer_later(message: str, _: Annotated[str, Depends(pool)]) -> str:
        return message

    await client.open(listening(answer if function is plain else answer_later))
    if lost:
        client.vanishes()
    else:
        client.says("a", "b")
        client.closes(1001)
    assert await client.end() is None
    assert log == ["pool open", "pool closed"]
    if not lost:
        assert client.got == ["a", "b"]
    if isinstance(client, AsgiClient):
        assert client.close is None


@BOTH
async def test_an_error_closes_and_is_raised(function: Any, client: Client) -> None:
    await client.open(listening(partial_of(function, {})))
    client.says("a", "b")
    error = await client.end()
    assert client.close == (1011, "")
    assert isinstance(error, KeyError)


@BOTH
async def test_errors_meet_exception_handlers_and_close_codes(function: Any, client: Client) -> None:
    app = listening(partial_of(function, {}))
    seen = []

    @app.exception_handler(KeyError)
    async def handle(websocket: WebSocket, error: KeyError) -> None:
        seen.append(websocket)
        await websocket.close(4001, "unknown")

    await client.open(app)
    client.says("a")
    assert await client.end() is None
    assert client.close == (4001, "unknown")
    assert len(seen) == 1


@BOTH
async def test_a_websocket_exception_says_its_code(function: Any, client: Client) -> None:
    def refuse(message: str) -> None:
        raise WebSocketException(4003, message)

    async def refuse_later(message: str) -> None:
        raise WebSocketException(4003, message)

    await client.open(listening(refuse if function is plain else refuse_later))
    client.says("no")
    assert await client.end() is None
    assert client.close == (4003, "no")


async def test_a_listener_that_closes_is_called_no_more(client: Client) -> None:
    async def close(message: str, websocket: WebSocket) -> str:
        log.append(message)
        await websocket.close(4002)
        return "too late"

    await client.open(listening(close))
    client.says("a", "b")
    assert await client.end() is None
    assert (log, client.got, client.close) == (["a"], [], (4002, ""))


async def test_a_close_by_another_task_ends_a_plain_listener(client: Client) -> None:
    tasks = set()

    def close(message: str, websocket: WebSocket) -> None:
        tasks.add(asyncio.ensure_future(websocket.close(4002)))

    await client.open(listening(close))
    client.says("a")
    await until(lambda: client.close is not None)
    client.closes(4002)
    assert await client.end() is None
    assert client.close == (4002, "")


async def test_a_cancelled_listener_is_torn_down(client: Client) -> None:
    def answer(message: str, _: Annotated[str, Depends(pool)]) -> str:
        return message

    await client.open(listening(answer))
    client.says("a")
    await client.hears("a")
    client.cancel()
    await client.end()
    assert log == ["pool open", "pool closed by CancelledError"]
    assert client.close == (1011, "")


# The class form


class Chat:
    """Notes what happens."""

    def __init__(self, websocket: WebSocket, pool: Annotated[str, Depends(pool)], q: int = 0) -> None:
        self.websocket = websocket
        self.q = q
        self.room = "lobby"

    def on_connect(self) -> str:
        return f"hello {self.q}"

    def on_join(self, message: Join) -> None:
        self.room = message.room

    def on_say(self, message: Say) -> Say:
        return Say(text=f"{message.text} in {self.room}")

    def on_disconnect(self, close_code: int) -> None:
        log.append(close_code)


class AsyncChat(Chat):
    async def on_connect(self) -> str:  # type: ignore[override]
        return f"hello {self.q}"

    async def on_say(self, message: Say) -> Say:  # type: ignore[override]
        await anyio.lowlevel.checkpoint()
        return Say(text=f"{message.text} in {self.room}")

    async def on_disconnect(self, close_code: int) -> None:  # type: ignore[override]
        log.append(close_code)


@pytest.mark.parametrize("cls", [Chat, AsyncChat])
async def test_a_class_has_an_instance_for_each_connection(cls: Any, client: Client) -> None:
    app = listening(cls)
    await client.open(app, "/?q=5")
    client.says(SAY, JOIN, SAY)
    await client.hears("hello 5", '{"type":"say","text":"hü in lobby"}', '{"type":"say","text":"hü in blue"}')
    client.closes(1001)
    assert await client.end() is None
    assert log == ["pool open", 1001, "pool closed"]
    another = type(client)()
    await another.open(app)
    another.says(SAY)
    await another.hears("hello 0", '{"type":"say","text":"hü in lobby"}')
    another.closes()
    await another.end()


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_class_with_one_method_takes_what_it_is_annotated_with(threaded: bool, client: Client) -> None:
    class Echo:
        def on_message(self, message: str | bytes) -> str | bytes:
            log.append(threading.current_thread() is threading.main_thread())
            return message

    await client.open(listening(Echo, threaded=threaded))
    client.says("a", b"b")
    await client.hears("a", b"b")
    assert log == [not threaded] * 2


async def test_a_class_is_told_of_its_own_failure(client: Client) -> None:
    class Failing:
        def on_message(self, message: str) -> None:
            raise ValueError(message)

        def on_disconnect(self, close_code: int) -> None:
            log.append(close_code)

    await client.open(listening(Failing))
    client.says("a")
    await client.end()
    assert log == [1011]
    assert client.close == (1011, "")


async def test_a_subclass_of_a_message_goes_to_the_method_of_its_class(client: Client) -> None:
    class Loud(Say):
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            return handler(source)

    class Talk:
        def on_join(self, message: Join) -> str:
            return "join"

        def on_anything(self, message: Loud) -> str:
            return message.text

    await client.open(listening(Talk))
    client.says(SAY)
    await client.hears("hü")


# Threads, slowness, contexts


async def test_threaded_runs_in_a_worker_thread(client: Client) -> None:
    def where(message: str) -> str:
        return str(threading.current_thread() is threading.main_thread())

    await client.open(listening(where, threaded=True))
    client.says("a")
    await client.hears("False")


async def test_a_plain_listener_that_blocks_is_told_of_once(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    def block(message: str) -> str:
        time.sleep(0.11)
        return message

    with caplog.at_level(logging.WARNING, logger="trunkline"):
        await client.open(listening(block))
        client.says("a", "b")
        await client.hears("a", "b")
    (record,) = caplog.records
    assert "block (" in record.message
    assert "threaded=True" in record.message


name: contextvars.ContextVar[str] = contextvars.ContextVar("name")


@BOTH
async def test_a_listener_sees_the_context_of_its_connection(function: Any, client: Client) -> None:
    async def identify(q: str) -> None:
        name.set(q)

    def whose(message: str, _: Annotated[None, Depends(identify)]) -> str:
        return name.get()

    async def whose_later(message: str, _: Annotated[None, Depends(identify)]) -> str:
        return name.get()

    app = listening(whose if function is plain else whose_later)
    other = type(client)()
    await client.open(app, "/?q=anna")
    await other.open(app, "/?q=ben")
    client.says("a")
    other.says("a")
    await client.hears("anna")
    await other.hears("ben")


# Several at once


async def test_several_messages_are_in_hand_and_their_answers_keep_the_order(client: Client) -> None:
    events: dict[str, asyncio.Event] = {one: asyncio.Event() for one in "abcd"}

    async def answer(message: str) -> str | None:
        log.append(message)
        await events[message].wait()
        return None if message == "b" else message

    await client.open(listening(answer, concurrency=3))
    client.says("a", "b", "c", "d")
    await until(lambda: log == ["a", "b", "c"])
    events["c"].set()
    events["b"].set()
    events["d"].set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert client.got == []
    assert log == ["a", "b", "c"], "a message in hand counts until it has been answered"
    events["a"].set()
    await client.hears("a", "c", "d")
    client.closes()
    assert await client.end() is None


async def test_an_error_among_several_ends_all_and_leaves_as_itself(client: Client) -> None:
    async def answer(message: str) -> None:
        if message == "bad":
            raise ValueError(message)
        try:
            await asyncio.Event().wait()
        finally:
            log.append(f"{message} cancelled")

    await client.open(listening(answer, concurrency=2))
    client.says("a", "bad")
    error = await client.end()
    assert log == ["a cancelled"]
    assert client.close == (1011, "")
    assert isinstance(error, ValueError)


async def test_what_is_in_hand_is_done_to_its_end_when_the_client_leaves(client: Client) -> None:
    go_on = asyncio.Event()

    async def answer(message: str, _: Annotated[str, Depends(session, scope="message")]) -> str:
        await go_on.wait()
        log.append(message)
        return message

    await client.open(listening(answer, concurrency=2))
    client.says("a", "b")
    await until(lambda: log.count("session open") == 2)
    client.vanishes()
    go_on.set()
    assert await client.end() is None
    assert sorted(entry for entry in log if len(entry) == 1) == ["a", "b"]
    assert log[-1] == "pool closed"


async def test_an_invalid_message_among_several_leaves_as_itself(client: Client) -> None:
    await client.open(listening(typed(asynchronous, Join), concurrency=2, messages=MessageSettings(invalid="raise")))
    client.says({"type": "join"})
    error = await client.end()
    assert client.close == (1008, "the message is not of an expected type")
    assert isinstance(error, InvalidMessage)


async def test_a_listener_of_several_that_closes_ends(client: Client) -> None:
    async def close(message: str, websocket: WebSocket) -> None:
        await websocket.close(4002)

    await client.open(listening(close, concurrency=2))
    client.says("a")
    await until(lambda: client.close is not None)
    client.closes(4002)
    assert await client.end() is None
    assert client.close == (4002, "")


def test_a_listener_is_a_route_like_others() -> None:
    route = ListenerRoute("/a/{b}", typed(plain, str), name="x")
    assert route == ListenerRoute("/a/{b}", route.endpoint)
    assert repr(route) == "ListenerRoute(path='/a/{b}', name='x')"
    assert App(routes=[route]).url_path_for("x", b="c") == "/a/c"
