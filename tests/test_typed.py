"""Typed messages on a `WebSocket`: over plain ASGI and over the Line, and through an `App`."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from tests.asgi_peer import AsgiPeer
from tests.line_peer import LinePeer
from tests.messages.vocabulary import LANGUAGES, Language, ModelJoin, ModelSay, StructJoin, StructLeave, StructSay
from trunkline import App, WebSocket, WebSocketDisconnect
from trunkline.messages import CodecError, InvalidMessage, InvalidPolicy, MessageSettings
from trunkline.states import WebSocketDisconnected
from trunkline.testing import connect

if TYPE_CHECKING:
    from trunkline.types import Message

    Peer = AsgiPeer | LinePeer

pytestmark = pytest.mark.anyio

TYPE = StructJoin | StructSay | StructLeave


@pytest.fixture(params=["asyncio", "asyncio with the Line", "trio"])
def setting(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(setting: str) -> str:
    return setting.split(maxsplit=1)[0]


@pytest.fixture
def peer(setting: str) -> Peer:
    return LinePeer() if "Line" in setting else AsgiPeer()


def frame(data: str | bytes) -> Message:
    return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}


async def opened(peer: Peer, **settings: Any) -> WebSocket:
    websocket = await peer.accepted()
    websocket.message_settings = MessageSettings(**settings)
    return websocket


def answers(peer: Peer) -> list[Any]:
    """What the client got, decoded, and how the connection was closed."""
    return [
        json.loads(message["text"])
        if message.get("text") is not None
        else msgspec.msgpack.decode(message["bytes"])
        if message.get("bytes") is not None
        else (message["code"], message["reason"])
        for message in peer.sent
    ]


def is_error(answer: Any) -> bool:
    return set(answer) == {"type", "code", "errors"} and (answer["type"], answer["code"]) == (
        "error",
        "invalid_message",
    )


# Receiving and sending


@pytest.mark.parametrize("language", LANGUAGES, ids=str)
async def test_messages_are_received_and_sent_as_their_classes(language: Language, peer: Peer) -> None:
    websocket = await opened(peer, codec=language.codec)
    said: dict[str, Any] = {"room": "blue", "text": "hü", "number": 1, "tags": ["a"]}
    peer.says(*(frame(language.wire(value)) for value in ({"type": "join", "room": "blue"}, {"type": "say", **said})))
    peer.closes(1001)
    seen = [message async for message in websocket.iter_messages(language.type)]
    assert seen == [language.message("join", room="blue"), language.message("say", **said)]


@pytest.mark.parametrize("language", LANGUAGES, ids=str)
async def test_what_is_sent_is_of_the_codec(language: Language, peer: Peer) -> None:
    websocket = await opened(peer, codec=language.codec)
    await websocket.send_message(language.message("join", room="blue"))
    assert await websocket.try_send_message(language.message("leave"))
    assert answers(peer) == [{"type": "join", "room": "blue"}, {"type": "leave"}]
    assert ["bytes" in message for message in peer.sent] == [language.codec == "msgpack"] * 2


async def test_json_comes_in_binary_messages_too(peer: Peer) -> None:
    websocket = await opened(peer)
    peer.says(frame('{"type":"leave"}'), frame(b'{"type":"join","room":"blue"}'))
    assert await websocket.receive_message(TYPE) == StructLeave()
    assert await websocket.receive_message(StructJoin) == StructJoin("blue")


async def test_the_end_is_the_end_of_the_iteration_and_an_exception_elsewhere(peer: Peer) -> None:
    websocket = await opened(peer)
    peer.sends('{"type":"leave"}')
    peer.closes(1001, "going")
    assert [message async for message in websocket.iter_messages(TYPE)] == [StructLeave()]

    another = LinePeer() if isinstance(peer, LinePeer) else AsgiPeer()
    websocket = await opened(another)
    another.closes(1001, "going")
    with pytest.raises(WebSocketDisconnect) as caught:
        await websocket.receive_message(TYPE)
    assert (caught.value.code, caught.value.reason) == (1001, "going")


async def test_a_receive_that_is_cancelled_loses_nothing(peer: Peer) -> None:
    websocket = await opened(peer)

    async def receive() -> None:
        raise AssertionError(await websocket.receive_message(TYPE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    peer.sends('{"type":"leave"}')
    assert await websocket.receive_message(TYPE) == StructLeave()


async def test_several_receive_in_order(peer: Peer) -> None:
    websocket = await opened(peer)
    seen: list[tuple[int, str]] = []

    async def receive(number: int) -> None:
        message = await websocket.receive_message(StructJoin)
        seen.append((number, message.room))

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(receive, number)
            await anyio.wait_all_tasks_blocked()
        peer.sends(*(f'{{"type":"join","room":"{number}"}}' for number in range(3)))
    assert seen == [(0, "0"), (1, "1"), (2, "2")]


async def test_another_iteration_goes_on_where_one_was_left(peer: Peer) -> None:
    websocket = await opened(peer)
    peer.sends('{"type":"join","room":"a"}', '{"type":"leave"}', '{"type":"join","room":"b"}')
    peer.closes()
    iterator: Any = websocket.iter_messages(TYPE)
    async with aclosing(iterator):
        assert await anext(iterator) == StructJoin("a")
    assert [message async for message in websocket.iter_messages(TYPE)] == [StructLeave(), StructJoin("b")]


async def test_a_type_that_the_codec_cannot_handle_is_refused_before_anything_is_awaited(peer: Peer) -> None:
    websocket = await opened(peer, codec="msgpack")
    with pytest.raises(CodecError, match="it does not know ModelJoin"):
        websocket.iter_messages(ModelJoin)
    with pytest.raises(CodecError, match="it does not know ModelJoin"):
        await websocket.receive_message(ModelJoin)
    with pytest.raises(CodecError):
        await websocket.send_message(ModelJoin(room="blue"))
    assert peer.sent == []


async def test_before_accept_and_after_the_end_they_say_what_the_others_say() -> None:
    peer = AsgiPeer()
    websocket = peer.websocket()
    for receive in (websocket.receive_message(TYPE), anext(websocket.iter_messages(TYPE))):
        with pytest.raises(WebSocketDisconnected, match='Need to call "accept" first'):
            await receive
    with pytest.raises(RuntimeError):
        await websocket.send_message(StructLeave())
    websocket = await AsgiPeer().accepted()
    await websocket.close()
    with pytest.raises(WebSocketDisconnected):
        await websocket.send_message(StructLeave())
    assert await websocket.try_send_message(StructLeave()) is False
    with pytest.raises(CodecError):
        await websocket.try_send_message(object())


async def test_a_subclass_that_overrides_receive_and_send_is_asked() -> None:
    class Counting(WebSocket):
        received = sent = 0

        async def receive(self) -> Message:
            self.received += 1
            return await super().receive()

        async def send(self, message: Message) -> None:
            self.sent += 1
            await super().send(message)

    plain = AsgiPeer()
    plain.says({"type": "websocket.connect"}, frame('{"type":"leave"}'), frame("{"))
    websocket = Counting({"type": "websocket", "path": "/", "headers": []}, plain.receive, plain.send)
    await websocket.accept()
    plain.closes()
    assert [message async for message in websocket.iter_messages(TYPE)] == [StructLeave()]
    assert (websocket.received, websocket.sent) == (4, 2)


# Invalid messages


async def test_an_invalid_message_is_answered_and_the_next_one_taken(peer: Peer) -> None:
    websocket = await opened(peer)
    peer.sends('{"type":"join"}', '{"type":"leave"}', "{", '{"type":"join","room":"b"}')
    assert await websocket.receive_message(TYPE) == StructLeave()
    assert await websocket.receive_message(TYPE) == StructJoin("b")
    missing, malformed = answers(peer)
    assert is_error(missing)
    assert is_error(malformed)
    assert missing["errors"] == [{"type": "missing", "loc": ["room"], "msg": "Object missing required field `room`"}]
    assert malformed["errors"][0]["type"] == "json_invalid"


async def test_the_answer_has_pydantics_type_and_place(peer: Peer) -> None:
    websocket = await opened(peer)
    peer.sends('{"type":"say","room":"a","text":5}')
    peer.closes()
    assert [message async for message in websocket.iter_messages(ModelJoin | ModelSay)] == []
    if not isinstance(peer, LinePeer):  # which knows that the client has left
        (answer,) = answers(peer)
        assert answer["errors"] == [
            {"type": "string_type", "loc": ["say", "text"], "msg": "Input should be a valid string"}
        ]


async def test_a_text_message_for_msgpack_is_answered_in_msgpack(peer: Peer) -> None:
    websocket = await opened(peer, codec="msgpack")
    peer.says(frame('{"type":"leave"}'), frame(msgspec.msgpack.encode({"type": "leave"})))
    assert await websocket.receive_message(TYPE) == StructLeave()
    (answer,) = answers(peer)
    assert is_error(answer)
    assert answer["errors"][0]["type"] == "frame_type"


async def test_too_many_in_a_row_close_the_connection(peer: Peer) -> None:
    websocket = await opened(peer, max_invalid=2)
    peer.sends("1", "2", '{"type":"leave"}', "3", "4", "5", '{"type":"leave"}')
    assert [message async for message in websocket.iter_messages(TYPE)] == [StructLeave()]
    *errors, close = answers(peer)
    assert [is_error(error) for error in errors] == [True] * 4
    assert close == (1008, "too many invalid messages")
    assert websocket.closed


async def test_they_are_counted_across_iterations_and_types(peer: Peer) -> None:
    websocket = await opened(peer, max_invalid=1, codec="json")
    peer.sends("1", "2")
    with pytest.raises(WebSocketDisconnect) as caught:
        await websocket.receive_message(ModelJoin)
    assert (caught.value.code, caught.value.reason) == (1008, "too many invalid messages")


@pytest.mark.parametrize(
    ("codec", "data", "close"),
    [
        ("json", "{", (1007, "the message cannot be decoded")),
        ("json", b'{"type":"join","room":"\xff"}', (1007, "the message cannot be decoded")),
        ("json", '{"type":"join"}', (1008, "the message is not of an expected type")),
        ("msgpack", b"\x81", (1007, "the message cannot be decoded")),
        ("msgpack", b"\x80", (1008, "the message is not of an expected type")),
        ("msgpack", "text", (1003, "the message is of the wrong kind, text or binary")),
    ],
)
async def test_or_closes_the_connection(codec: str, data: str | bytes, close: tuple[int, str], peer: Peer) -> None:
    websocket = await opened(peer, codec=codec, invalid="close")
    peer.says(frame(data))
    with pytest.raises(WebSocketDisconnect) as caught:
        await websocket.receive_message(TYPE)
    assert (caught.value.code, caught.value.reason) == close
    assert answers(peer) == [close]


async def test_or_is_raised(peer: Peer) -> None:
    websocket = await opened(peer, invalid="raise", max_invalid=0)
    peer.sends("{", '{"type":"join"}', '{"type":"leave"}')
    with pytest.raises(InvalidMessage) as caught:
        await websocket.receive_message(TYPE)
    assert caught.value.close_code == 1007
    with pytest.raises(InvalidMessage) as caught:
        async for _ in websocket.iter_messages(TYPE):
            raise AssertionError
    assert caught.value.close_code == 1008
    assert await websocket.receive_message(TYPE) == StructLeave()
    assert peer.sent == []


@pytest.mark.parametrize("policy", ["reply", "close"])
async def test_after_our_own_close_there_is_nobody_to_answer(policy: InvalidPolicy, peer: Peer) -> None:
    websocket = await opened(peer, invalid=policy)
    ended: list[Exception] = []

    async def receive() -> None:
        try:
            await websocket.receive_message(TYPE)
        except (WebSocketDisconnect, WebSocketDisconnected) as end:
            ended.append(end)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        await websocket.close()
        peer.sends("{")
        peer.closes()
    assert len(ended) == 1
    assert [message["type"] for message in peer.sent] == ["websocket.close"]


@pytest.mark.parametrize("setting", ["asyncio"], indirect=True)
async def test_what_a_client_sent_before_it_closed_is_received_behind_what_is_invalid() -> None:
    peer = LinePeer()
    websocket = await opened(peer)
    peer.sends("{", '{"type":"leave"}', "{", '{"type":"join","room":"b"}')
    peer.closes()
    assert [message async for message in websocket.iter_messages(TYPE)] == [StructLeave(), StructJoin("b")]


@pytest.mark.parametrize("policy", ["reply", "close"])
async def test_a_client_that_is_gone_needs_no_answer(policy: str, peer: Peer) -> None:
    websocket = await opened(peer, invalid=policy)
    peer.sends("{")
    peer.lost = True
    if isinstance(peer, AsgiPeer):
        peer.closes(1006)
    with pytest.raises(WebSocketDisconnect):
        await websocket.receive_message(TYPE)


async def test_an_answer_waits_for_a_client_that_does_not_read(peer: Peer) -> None:
    websocket = await opened(peer)
    peer.stalls()
    peer.sends("{", '{"type":"leave"}')
    received: list[Any] = []

    async def receive() -> None:
        received.append(await websocket.receive_message(TYPE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        assert received == []
        peer.resumes()
    assert received == [StructLeave()]


# In an application


@pytest.fixture
def backend() -> str:
    return "asyncio"


def application(settings: MessageSettings, type_: Any = TYPE) -> App:
    app = App()

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        websocket.message_settings = settings
        await websocket.accept()
        async for message in websocket.iter_messages(type_):
            await websocket.send_message(message)

    return app


class TestInAnApplication:
    """On asyncio, which `connect` needs."""

    @pytest.fixture(params=["asyncio"])
    def setting(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.mark.parametrize(
        ("offered", "agreed", "codec"),
        [
            (["v1.msgpack", "v1.json"], "v1.msgpack", "msgpack"),
            (["v0", "v1.json"], "v1.json", "json"),
            (["v0"], None, "json"),
            (None, None, "json"),
        ],
    )
    async def test_the_subprotocol_decides_on_the_codec(
        self, offered: list[str] | None, agreed: str | None, codec: str
    ) -> None:
        app = application(MessageSettings(subprotocols={"v1.json": "json", "v1.msgpack": "msgpack"}))
        async with connect(app, "/echo", subprotocols=offered) as client:
            assert client.accepted_subprotocol == agreed
            if codec == "msgpack":
                await client.send_bytes(msgspec.msgpack.encode({"type": "leave"}))
                assert msgspec.msgpack.decode(await client.receive_bytes()) == {"type": "leave"}
            else:
                await client.send_text('{"type":"leave"}')
                assert await client.receive_json() == {"type": "leave"}

    async def test_a_subprotocol_that_the_endpoint_chooses_decides_too(self) -> None:
        app = App()

        @app.websocket("/")
        async def endpoint(websocket: WebSocket) -> None:
            websocket.message_settings = MessageSettings(subprotocols={"json": "json", "msgpack": "msgpack"})
            await websocket.accept("msgpack")
            await websocket.send_message([websocket.message_settings.codec])

        async with connect(app, "/", subprotocols=["json", "msgpack"]) as client:
            assert msgspec.msgpack.decode(await client.receive_bytes()) == ["msgpack"]

    @pytest.mark.parametrize(("data", "code"), [("{", 1007), ('{"type":"join"}', 1008)])
    async def test_an_invalid_message_that_nobody_catches_closes_with_its_code(self, data: str, code: int) -> None:
        with pytest.raises(InvalidMessage):
            async with connect(application(MessageSettings(invalid="raise")), "/echo") as client:
                await client.send_text(data)
                with pytest.raises(WebSocketDisconnect) as caught:
                    await client.receive()
        assert caught.value.code == code

    async def test_a_handler_can_answer_it(self) -> None:
        app = application(MessageSettings(invalid="raise"))

        @app.exception_handler(InvalidMessage)
        async def answer(websocket: Any, error: InvalidMessage) -> None:
            await websocket.send_json({"wrong": error.errors[0]["loc"]})

        async with connect(app, "/echo") as client:
            await client.send_text('{"type":"join"}')
            assert await client.receive_json() == {"wrong": ["room"]}
            with pytest.raises(WebSocketDisconnect) as caught:
                await client.receive()
        assert (caught.value.code, caught.value.reason) == (1008, "the message is not of an expected type")

    async def test_a_close_for_an_invalid_message_is_a_normal_end(self) -> None:
        async with connect(application(MessageSettings(invalid="close")), "/echo") as client:
            await client.send_text("{")
            with pytest.raises(WebSocketDisconnect) as caught:
                await client.receive()
        assert caught.value.code == 1007

    async def test_tasks_receive_them_too(self) -> None:
        app = App()
        entered = asyncio.Event()

        @app.websocket("/")
        async def endpoint(websocket: WebSocket) -> None:
            await websocket.accept()
            async with websocket.tasks() as tasks:
                tasks.create_task(echo(websocket))
                entered.set()

        async def echo(websocket: WebSocket) -> None:
            async for message in websocket.iter_messages(TYPE):
                await websocket.send_message(message)

        async with connect(app, "/") as client:
            await entered.wait()
            await client.send_text("{")
            await client.send_text('{"type":"leave"}')
            assert is_error(await client.receive_json())
            assert await client.receive_json() == {"type": "leave"}


async def test_the_settings_of_a_class_are_those_of_its_connections() -> None:
    class Strict(WebSocket):
        message_settings = MessageSettings(invalid="close")

    assert Strict({"type": "websocket"}, AsgiPeer().receive, AsgiPeer().send).message_settings.invalid == "close"
    assert WebSocket.message_settings == MessageSettings()
