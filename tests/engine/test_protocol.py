"""The protocol class in memory: the handshake, the application's task, and the server's end."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import weakref
import zlib
from typing import TYPE_CHECKING

import pytest
from starlette.websockets import WebSocketDisconnect as StarletteDisconnect
from uvicorn.config import Config
from uvicorn.server import ServerState

from tests.engine.client_frames import BINARY, CLOSE, TEXT, client_frame, text
from tests.engine.heads import ACCEPT, parse_response, raw_request, usual
from tests.engine.memory import BareTransport, Peer, Records, ServerFrame, Transport, run, settle
from trunkline.engine import DeflateSettings, EngineSettings, WebSocketProtocol
from trunkline.engine.connection import Connection
from trunkline.engine.outbound import ClientGone
from trunkline.states import WebSocketDisconnect
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.types import ASGIApp, Message, Receive, Scope, Send

    Step = Callable[[Receive, Send], Awaitable[None]]

ACCEPT_MESSAGE = {"type": "websocket.accept"}
LOST = {"type": "websocket.disconnect", "code": 1006}


def application(step: Step) -> ASGIApp:
    """An application that takes the connect message and then a step."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "websocket.connect"}
        await step(receive, send)

    return app


def accepting(step: Step | None = None) -> ASGIApp:
    """An application that accepts, and then takes a step, or waits for ever."""

    async def accept(receive: Receive, send: Send) -> None:
        await send(ACCEPT_MESSAGE)
        await (asyncio.Event().wait() if step is None else step(receive, send))

    return application(accept)


def sending(*messages: Message) -> Step:
    async def step(receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return step


async def wait(receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def echo(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


# The handshake


def test_an_accept_answers_the_key_with_the_applications_headers_behind_the_servers(log: Records) -> None:
    async def test() -> None:
        message = {"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-one", b"1"), (b"x-one", b"2")]}
        state = ServerState()
        state.default_headers = [(b"server", b"uvicorn")]
        peer = Peer(application(sending(message)), state=state)
        head = await peer.connect(raw_request(usual((b"Sec-WebSocket-Protocol", b"a, b"))))
        assert head.split(b"\r\n") == [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + ACCEPT,
            b"Sec-WebSocket-Protocol: b",
            b"server: uvicorn",
            b"x-one: 1",
            b"x-one: 2",
        ]
        assert log.texts() == ['127.0.0.1:50000 - "WebSocket /chat" [accepted]']

    run(test())


def test_a_subprotocol_that_was_not_offered_is_sent_with_a_warning(log: Records) -> None:
    async def test() -> None:
        for offer in ((b"Sec-WebSocket-Protocol", b"a, bearer.secret"), (b"x", b"")):
            peer = Peer(accepting(wait))
            peer.protocol._config.loaded_app = application(sending({**ACCEPT_MESSAGE, "subprotocol": "c"}))
            head = await peer.connect(raw_request(usual(offer)))
            assert b"Sec-WebSocket-Protocol: c" in head
            (warning,) = log.texts(logging.WARNING)
            assert "'c', which the client did not offer" in warning
            assert "secret" not in warning
            log.records.clear()

    run(test())


def test_the_scope_tells_of_the_request_and_carries_the_line() -> None:
    async def test() -> None:
        scopes: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)

        peer = Peer(app, root_path="/root")
        await peer.connect(raw_request(line=b"GET /a%20b?token=1 HTTP/1.1"))
        (scope,) = scopes
        assert (scope["type"], scope["scheme"], scope["path"]) == ("websocket", "ws", "/root/a b")
        assert (scope["query_string"], scope["client"], scope["server"]) == (
            b"token=1",
            ("127.0.0.1", 50000),
            ("127.0.0.1", 80),
        )
        assert scope["state"] == {"from": "lifespan"}
        assert scope["extensions"]["websocket.http.response"] == {}
        entry = scope["extensions"]["trunkline.line"]
        assert entry["version"] == 1
        assert isinstance(entry["line"], Connection)
        secure = Peer(app, transport=Transport(tls=True))
        await secure.connect()
        assert scopes[1]["scheme"] == "wss"

    run(test())


def test_the_query_is_never_logged(log: Records) -> None:
    async def test() -> None:
        apps = (accepting(), application(sending({"type": "websocket.close"})), application(wait))
        peers = [Peer(app) for app in apps]
        for peer in peers:
            await peer.connect(raw_request(line=b"GET /a%20b?token=secret HTTP/1.1"))
        await asyncio.sleep(60)
        assert len(log.texts()) == 3
        assert all('"WebSocket /a%20b"' in line for line in log.texts())
        assert "secret" not in str(log.texts())

    run(test())


def test_frames_that_come_before_accept_are_not_lost() -> None:
    async def test() -> None:
        go = asyncio.Event()

        async def late(receive: Receive, send: Send) -> None:
            await go.wait()
            await send(ACCEPT_MESSAGE)
            await echo(receive, send)

        peer = Peer(application(late))
        request = raw_request()
        peer.protocol.connection_made(peer.transport)
        peer.send(request[:30])
        peer.send(request[30:], text("1")[:3])
        await settle()
        peer.send(text("1")[3:], text("2"))
        go.set()
        await settle()
        peer.send(text("3"))
        await settle()
        peer.take_head()
        assert peer.messages() == ["1", "2", "3"]
        assert isinstance(peer.transport.protocol, Connection), "the connection has taken over"

    run(test())


def test_the_transport_changes_hands_in_a_later_callback_and_not_at_all_when_it_closes() -> None:
    async def test() -> None:
        peer = Peer(accepting(wait))
        protocols: list[object] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT_MESSAGE)
            protocols.append(peer.transport.protocol)
            peer.transport.abort()
            await wait(receive, send)

        peer.protocol._config.loaded_app = app
        await peer.connect()
        assert protocols == [peer.protocol]
        assert peer.transport.protocol is peer.protocol
        assert peer.state.connections == set()

    run(test())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (raw_request(usual(sec_websocket_version=b"11")), 426),
        (raw_request(usual(sec_websocket_key=None)), 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * 70_000, 431),
    ],
)
def test_what_is_no_handshake_is_refused_and_reaches_no_application(request_: bytes, status: int) -> None:
    async def test() -> None:
        peer = Peer(application(wait))
        await peer.connect(request_)
        assert peer.status == status
        assert peer.transport.closed
        assert peer.state.tasks == set()
        assert peer.state.connections == set()
        peer.protocol.data_received(b"late")
        peer.protocol.shutdown()

    run(test())


def test_above_the_limit_of_concurrency_a_handshake_gets_503(log: Records) -> None:
    async def test() -> None:
        state = ServerState()
        peers = [Peer(accepting(), state=state, limit_concurrency=2) for _ in range(3)]
        for peer in peers:
            await peer.connect()
        assert [peer.status for peer in peers] == [101, 101, 503]
        assert log.texts(logging.WARNING) == ["Exceeded concurrency limit."]
        peers[0].protocol.connection_lost(None)
        assert len(state.tasks) == 2, "its application has not ended"
        again = Peer(accepting(), state=state, limit_concurrency=2)
        await again.connect()
        assert again.status == 503

    run(test())


def test_a_handshake_that_is_not_answered_in_time_gets_503_and_the_application_is_told(log: Records) -> None:
    async def test() -> None:
        seen: list[object] = []

        async def slow(receive: Receive, send: Send) -> None:
            await asyncio.sleep(11)
            seen.append(await receive())
            try:
                await send(ACCEPT_MESSAGE)
            except OSError as error:
                seen.append(type(error))
                raise

        peer = Peer(application(slow))
        await peer.connect()
        await asyncio.sleep(9.9)
        assert not peer.transport.written
        await asyncio.sleep(2)
        peer.take_head()
        assert peer.status == 503
        assert peer.transport.closed
        assert seen == [LOST, ClientGone]
        assert log.texts(logging.WARNING) == [
            '127.0.0.1:50000 - "WebSocket /chat": the application did not answer the handshake within 10 s.'
        ]

    run(test())


@pytest.mark.parametrize("answer", [ACCEPT_MESSAGE, {"type": "websocket.http.response.start", "status": 404}])
def test_an_answered_handshake_has_no_time_limit(answer: Message) -> None:
    async def test() -> None:
        async def step(receive: Receive, send: Send) -> None:
            await send(answer)
            await wait(receive, send)

        peer = Peer(application(step))
        await peer.connect()
        await asyncio.sleep(100)
        assert not peer.transport.closed

    run(test())


def test_without_a_time_limit_a_handshake_waits() -> None:
    class Patient(WebSocketProtocol):
        settings = EngineSettings(handshake_timeout=None)

    async def test() -> None:
        peer = Peer(application(wait), protocol=Patient)
        await peer.connect()
        await asyncio.sleep(1000)
        assert not peer.transport.written

    run(test())


# Refusing


def test_a_close_before_accept_is_403_and_the_end(log: Records) -> None:
    async def test() -> None:
        seen: list[Message] = []

        async def refuse(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.close", "code": 4003, "reason": "no"})
            seen.append(await receive())

        peer = Peer(application(refuse))
        await peer.connect()
        assert peer.status == 403
        assert b"content-length: 0" in peer.head
        assert seen == [LOST]
        assert peer.transport.closed
        assert log.texts() == ['127.0.0.1:50000 - "WebSocket /chat" 403']

    run(test())


def test_a_denial_response_is_sent_with_a_length_and_ends_the_connection(log: Records) -> None:
    async def test() -> None:
        peer = Peer(
            application(
                sending(
                    {"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-why", b"tea")]},
                    {"type": "websocket.http.response.body", "body": b"short and stout"},
                )
            )
        )
        await peer.connect()
        response, body = parse_response(peer.head + b"\r\n\r\n" + peer.body)
        assert response.status_code == 418
        assert dict(response.headers.raw_items())[b"x-why"] == b"tea"
        assert (b"content-length", b"15") in response.headers.raw_items()
        assert body == b"short and stout"
        assert peer.transport.closed
        assert log.texts() == ['127.0.0.1:50000 - "WebSocket /chat" 418']

    run(test())


def test_a_streamed_denial_waits_for_the_transport() -> None:
    async def test() -> None:
        sent = 0

        async def stream(receive: Receive, send: Send) -> None:
            nonlocal sent
            await send({"type": "websocket.http.response.start", "status": 404})
            for _ in range(5):
                await send({"type": "websocket.http.response.body", "body": bytes(50_000), "more_body": True})
                sent += 1
            await send({"type": "websocket.http.response.body"})

        peer = Peer(application(stream))
        peer.transport.stall()
        await peer.connect()
        assert sent == 2
        await asyncio.sleep(20)
        assert sent == 2
        peer.transport.flow()
        await settle()
        assert sent == 5
        peer.take_head()
        assert peer.body == bytes(250_000)
        assert peer.transport.closed

    run(test())


def test_a_denial_whose_client_does_not_read_is_dropped() -> None:
    async def test() -> None:
        async def stream(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 404})
            while True:
                await send({"type": "websocket.http.response.body", "body": bytes(50_000), "more_body": True})

        peer = Peer(application(stream))
        peer.transport.stall()
        await peer.connect()
        await asyncio.sleep(29)
        assert not peer.transport.aborted
        await asyncio.sleep(2)
        assert peer.transport.aborted
        assert peer.state.tasks == set()

    run(test())


@pytest.mark.parametrize("fails", [False, True])
def test_a_denial_that_the_application_does_not_finish_is_finished_for_it(fails: bool) -> None:
    async def test() -> None:
        async def start(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 404})
            if fails:
                raise ValueError("in the middle")

        peer = Peer(application(start))
        await peer.connect()
        assert peer.status == 404
        assert peer.transport.closed

    run(test())


# An application that ends early


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "ASGI callable returned without completing handshake."),
        (ValueError("mine"), "Exception in ASGI application\n"),
        (WebSocketDisconnect(1000), "Exception in ASGI application\n"),
        (SystemExit(3), "Exception in ASGI application\n"),
    ],
)
def test_an_application_that_ends_before_it_answers_is_500(
    log: Records, error: BaseException | None, words: str
) -> None:
    async def test() -> None:
        async def fail(receive: Receive, send: Send) -> None:
            if error is not None:
                raise error

        peer = Peer(application(fail))
        await peer.connect()
        assert (peer.status, peer.body) == (500, b"Internal Server Error")
        assert peer.transport.closed
        assert log.texts(logging.ERROR) == [words]
        assert peer.state.tasks == set()
        assert peer.state.connections == set()

    run(test())


def test_an_application_whose_client_has_left_before_the_answer_is_not_blamed(log: Records) -> None:
    async def test() -> None:
        go = asyncio.Event()

        async def late(receive: Receive, send: Send) -> None:
            await go.wait()
            assert await receive() == LOST

        peer = Peer(application(late))
        await peer.connect()
        peer.transport.feed_eof()
        go.set()
        await settle()
        assert not peer.transport.written
        assert log.texts() == []

    run(test())


@pytest.mark.parametrize("error", [None, ValueError("mine"), WebSocketDisconnect(1000)])
def test_an_application_that_ends_after_accept_leaves_the_client_without_a_close_frame(
    log: Records, error: Exception | None
) -> None:
    async def test() -> None:
        async def fail(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.send", "text": "the last"})
            if error is not None:
                raise error

        peer = Peer(accepting(fail))
        await peer.connect()
        assert peer.frames() == [ServerFrame(TEXT, b"the last")]
        assert peer.transport.eof
        assert log.texts(logging.ERROR) == ([] if error is None else ["Exception in ASGI application\n"])

    run(test())


def test_what_an_application_returns_is_said_to_be_none(log: Records) -> None:
    async def test() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(ACCEPT_MESSAGE)
            return 123  # type: ignore[return-value]  # that is what is tested

        peer = Peer(app)
        await peer.connect()
        assert log.texts(logging.ERROR) == ["ASGI callable should return None, but returned '123'."]

    run(test())


class Derived(WebSocketDisconnect):
    pass


@pytest.mark.parametrize("error", [WebSocketDisconnect(3005), StarletteDisconnect(3005), Derived(3005)])
def test_a_disconnect_that_leaves_the_application_is_a_normal_end(log: Records, error: Exception) -> None:
    async def test() -> None:
        async def step(receive: Receive, send: Send) -> None:
            assert (await receive())["code"] == 3005
            raise error

        peer = Peer(accepting(step))
        await peer.connect()
        peer.close(3005, "bye")
        await settle()
        assert peer.close_frame() == (3005, "")
        assert log.texts(logging.WARNING) == []
        assert peer.state.tasks == set()

    run(test())


def test_an_error_behind_the_end_is_logged_all_the_same(log: Records) -> None:
    async def test() -> None:
        async def step(receive: Receive, send: Send) -> None:
            await receive()
            raise ValueError("mine")

        peer = Peer(accepting(step))
        await peer.connect()
        peer.close()
        await settle()
        assert log.texts(logging.ERROR) == ["Exception in ASGI application\n"]

    run(test())


# receive and send


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda peer: peer.close(3005, "bye"), {"code": 3005, "reason": "bye"}),
        (lambda peer: peer.close(3005), {"code": 3005, "reason": ""}),
        (lambda peer: peer.close(None), {"code": 1005, "reason": ""}),
        (lambda peer: peer.transport.abort(), {"code": 1006}),
        (lambda peer: peer.protocol.shutdown(), {"code": 1012}),
    ],
)
def test_the_disconnect_message_says_how_it_ended(end: Callable[[Peer], None], message: Message) -> None:
    async def test() -> None:
        seen: list[Message] = []

        async def step(receive: Receive, send: Send) -> None:
            seen.extend([await receive(), await receive()])

        peer = Peer(accepting(step))
        await peer.connect()
        end(peer)
        await settle()
        assert seen == [{"type": "websocket.disconnect", **message}] * 2

    run(test())


def test_text_and_bytes_go_both_ways() -> None:
    async def test() -> None:
        peer = Peer(accepting(echo))
        await peer.connect()
        peer.send(text("ä"), client_frame(BINARY, b"\xff"), text(""))
        await settle()
        assert peer.messages() == ["ä", b"\xff", ""]

    run(test())


def test_both_keys_may_be_present_and_others_do_no_harm() -> None:
    async def test() -> None:
        messages: list[Message] = [
            {"type": "websocket.send", "text": "a", "bytes": None, "extra": 1},
            {"type": "websocket.send", "text": None, "bytes": b"b"},
        ]
        peer = Peer(accepting(sending(*messages)))
        await peer.connect()
        assert peer.messages() == ["a", b"b"]

    run(test())


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        ({"type": "websocket.send"}, ValueError, 'neither "text" nor "bytes"'),
        ({"type": "websocket.send", "text": b"bytes"}, TypeError, "str"),
        ({"type": "websocket.accept"}, RuntimeError, 'Expected ASGI message "websocket.send" or "websocket.close"'),
        ({"type": "http.response.start"}, RuntimeError, "but got 'http.response.start'"),
        ({}, KeyError, "type"),
        ({"type": "websocket.close", "code": 1006}, ValueError, "1006"),
        ({"type": "websocket.close", "code": 1005}, ValueError, "1005"),
    ],
)
def test_a_message_that_is_wrong_is_refused_and_nothing_is_written(
    message: Message, error: type[Exception], words: str
) -> None:
    async def test() -> None:
        async def step(receive: Receive, send: Send) -> None:
            with pytest.raises(error, match=words):
                await send(message)
            await send({"type": "websocket.send", "text": "after"})
            await wait(receive, send)

        peer = Peer(accepting(step))
        await peer.connect()
        assert peer.frames() == [ServerFrame(TEXT, b"after")]

    run(test())


def test_an_accept_that_is_wrong_leaves_the_handshake_unanswered() -> None:
    async def test() -> None:
        async def step(receive: Receive, send: Send) -> None:
            with pytest.raises(ValueError, match="line break"):
                await send({**ACCEPT_MESSAGE, "headers": [(b"x", b"a\r\nb: c")]})
            with pytest.raises(RuntimeError, match=r'"websocket\.accept"'):
                await send({"type": "websocket.send", "text": "too early"})
            await send(ACCEPT_MESSAGE)

        peer = Peer(application(step))
        await peer.connect()
        assert peer.status == 101

    run(test())


def test_a_send_on_a_connection_that_has_ended_is_an_oserror_and_no_error_in_the_log(log: Records) -> None:
    async def test() -> None:
        errors: list[OSError] = []

        async def step(receive: Receive, send: Send) -> None:
            await receive()
            for message in ({"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}):
                with pytest.raises(OSError, match="has ended") as caught:
                    await send(message)
                errors.append(caught.value)
            raise errors[0]

        peer = Peer(accepting(step))
        await peer.connect()
        peer.close()
        await settle()
        assert len(errors) == 2
        assert log.texts(logging.WARNING) == []

    run(test())


@pytest.mark.parametrize("close", [{}, {"code": None, "reason": None}, {"code": 1000, "reason": ""}])
def test_a_close_without_a_code_is_1000_and_nothing_may_follow_it(close: Message) -> None:
    async def test() -> None:
        seen: list[object] = []

        async def step(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.close", **close})
            with pytest.raises(RuntimeError, match="once a close message has been sent"):
                await send({"type": "websocket.send", "text": "late"})
            seen.append(await receive())

        peer = Peer(accepting(step))
        await peer.connect()
        assert peer.frames() == [ServerFrame(CLOSE, (1000).to_bytes(2))]
        assert seen == [{"type": "websocket.disconnect", "code": 1000, "reason": ""}]
        peer.close()
        assert peer.transport.closed

    run(test())


def test_a_send_waits_while_the_transport_is_full() -> None:
    async def test() -> None:
        sent = 0

        async def step(receive: Receive, send: Send) -> None:
            nonlocal sent
            while True:
                await send({"type": "websocket.send", "bytes": bytes(10_000)})
                sent += 1

        peer = Peer(accepting(wait))
        peer.protocol._config.loaded_app = accepting(step)
        peer.protocol.connection_made(peer.transport)
        peer.transport.stall()
        peer.transport.feed(raw_request())
        await settle()
        assert 6 < sent < 20, "64 KiB, and what is under way"
        before = sent
        await asyncio.sleep(29)
        assert sent == before
        await asyncio.sleep(2)
        assert peer.transport.aborted
        assert peer.state.tasks == set()

    run(test())


def test_what_is_written_first_leaves_first_by_send_and_by_the_line() -> None:
    async def test() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            line = scope["extensions"]["trunkline.line"]["line"]
            await receive()
            await send(ACCEPT_MESSAGE)
            line.write_text("1")
            await send({"type": "websocket.send", "text": "2"})
            line.write_bytes(b"3")
            await send({"type": "websocket.send", "text": "x" * 100_000})
            while not line.write_text("5"):
                await line.drain()
            await send({"type": "websocket.send", "text": "6"})
            line.write_text("7")
            await send({"type": "websocket.close"})

        peer = Peer(app)
        await peer.connect()
        assert peer.messages() == ["1", "2", b"3", "x" * 100_000, "5", "6", "7"]
        assert peer.close_frame() == (1000, "")

    run(test())


@pytest.mark.parametrize("wrapped", ["", "receive", "send", "receive send"])
def test_a_middleware_sees_every_message_of_the_direction_that_it_wraps(wrapped: str) -> None:
    async def test() -> None:
        seen: dict[str, list[str]] = {"receive": [], "send": []}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async def receiving() -> Message:
                message = await receive()
                seen["receive"].append(message["type"])
                return message

            async def sending(message: Message) -> None:
                seen["send"].append(message["type"])
                await send(message)

            given = (receiving if "receive" in wrapped else receive, sending if "send" in wrapped else send)
            websocket = WebSocket(scope, *given)
            await websocket.accept()
            assert (websocket._fast_in is None) is ("receive" in wrapped)
            assert (websocket._fast_out is None) is ("send" in wrapped)
            async for number in websocket.iter_text():
                await websocket.send_text(number)

        peer = Peer(app)
        await peer.connect()
        for number in range(5):
            peer.send(text(f"{number}"), text("and"))
            await settle()
        peer.close()
        await settle()
        assert peer.messages() == [word for number in range(5) for word in (f"{number}", "and")]
        assert peer.close_frame() == (1000, "")
        expected = {
            "receive": ["websocket.connect", *["websocket.receive"] * 10, "websocket.disconnect"],
            "send": ["websocket.accept", *["websocket.send"] * 10],
        }
        for direction, types in expected.items():
            assert seen[direction] == (types if direction in wrapped else [])

    run(test())


# Limits


def test_limits_are_ours_then_uvicorns_options_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(WebSocketProtocol):
        settings = EngineSettings(max_message=111, ping_timeout=11, close_timeout=1)

    monkeypatch.setenv("TRUNKLINE_WS_CLOSE_TIMEOUT", "3")

    async def test() -> None:
        config = Config(
            application(wait),
            log_config=None,
            ws_ping_timeout=22,
            ws_ping_interval=0,
            ws_max_queue=7,
            ws_per_message_deflate=False,
        )
        protocol = Mine(config, ServerState(), {})
        protocol.connection_made(Transport())
        settings = protocol._connection.settings
        assert (settings.max_message, settings.ping_timeout, settings.close_timeout) == (111, 22, 3)
        assert (settings.ping_interval, settings.inbound_messages, settings.compression) == (None, 7, False)

    run(test())


def test_an_interval_or_timeout_of_0_is_none() -> None:
    async def test() -> None:
        config = Config(application(wait), log_config=None, ws_ping_interval=0, ws_ping_timeout=0)
        protocol = WebSocketProtocol(config, ServerState(), {})
        protocol.connection_made(Transport())
        settings = protocol._connection.settings
        assert (settings.ping_interval, settings.ping_timeout) == (None, None)

    run(test())


def test_uvicorns_size_limit_is_ours() -> None:
    async def test() -> None:
        peer = Peer(accepting(echo), ws_max_size=10)
        await peer.connect()
        peer.send(text("x" * 10), text("x" * 11))
        await settle()
        assert peer.messages() == ["x" * 10]
        closing = peer.close_frame()
        assert closing is not None
        assert closing[0] == 1009

    run(test())


def test_the_line_sets_the_limits_of_one_connection() -> None:
    async def test() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            line = scope["extensions"]["trunkline.line"]["line"]
            line.configure(max_message=5, compression=False)
            await receive()
            await send(ACCEPT_MESSAGE)
            await echo(receive, send)

        peer = Peer(app)
        head = await peer.connect(raw_request(usual((b"Sec-WebSocket-Extensions", b"permessage-deflate"))))
        assert b"Extensions" not in head
        peer.send(text("x" * 6))
        await settle()
        closing = peer.close_frame()
        assert closing is not None
        assert closing[0] == 1009

    run(test())


def test_compression_is_agreed_upon_where_the_client_offers_it() -> None:
    async def test() -> None:
        peer = Peer(accepting(sending({"type": "websocket.send", "text": "x" * 1000})))
        head = await peer.connect(raw_request(usual((b"Sec-WebSocket-Extensions", b"permessage-deflate"))))
        assert b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover" in head
        (frame,) = peer.frames()
        assert frame.rsv1
        assert len(frame.payload) < 100

    run(test())


OFFERING = raw_request(usual((b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits")))


def test_takeover_is_turned_on_for_one_connection_on_its_line() -> None:
    async def test() -> None:
        words = json.dumps({"type": "price", "symbol": "ACME", "price": 101.25})

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            line = scope["extensions"]["trunkline.line"]["line"]
            line.configure(compression=DeflateSettings(context_takeover=True, window_bits=10))
            await receive()
            await send(ACCEPT_MESSAGE)
            for _ in range(2):
                await send({"type": "websocket.send", "text": words})

        peer = Peer(app)
        head = await peer.connect(OFFERING)
        assert b"permessage-deflate; server_max_window_bits=10; client_max_window_bits=10" in head
        first, second = peer.frames()
        assert len(second.payload) < len(first.payload) / 4
        reader = zlib.decompressobj(-10)
        for frame in (first, second):
            assert reader.decompress(frame.payload + b"\x00\x00\xff\xff").decode() == words

    run(test())


def test_the_settings_of_the_class_say_how_messages_are_compressed() -> None:
    class Mine(WebSocketProtocol):
        settings = EngineSettings(compression=DeflateSettings(window_bits=9, threshold=4))

    async def test() -> None:
        peer = Peer(accepting(sending({"type": "websocket.send", "text": "aaaa"})), protocol=Mine)
        head = await peer.connect(OFFERING)
        assert b"server_max_window_bits=9; client_max_window_bits=9" in head
        assert peer.frames()[0].rsv1

    run(test())


def test_uvicorns_switch_turns_compression_off_and_leaves_the_settings_of_the_class_otherwise() -> None:
    class Mine(WebSocketProtocol):
        settings = EngineSettings(compression=DeflateSettings(context_takeover=True))

    async def test() -> None:
        for switch, header in ((True, b"permessage-deflate; server_max_window_bits=12"), (False, None)):
            peer = Peer(accepting(echo), protocol=Mine, ws_per_message_deflate=switch)
            head = await peer.connect(OFFERING)
            assert header in head if header else b"Sec-WebSocket-Extensions" not in head

    run(test())


# The server's end


def test_a_shutdown_closes_with_1012_and_waits_for_the_answer() -> None:
    async def test() -> None:
        peer = Peer(accepting(echo))
        await peer.connect()
        peer.protocol.shutdown()
        peer.protocol.shutdown()
        assert peer.close_frame() == (1012, "")
        assert not peer.transport.closed
        await settle()
        assert peer.state.tasks == set()
        peer.close(1012)
        await settle()
        assert peer.transport.closed
        assert peer.state.connections == set()

    run(test())


def test_a_shutdown_spreads_its_closes_over_the_window() -> None:
    class Spread(WebSocketProtocol):
        settings = EngineSettings(drain_window=20)

    async def test() -> None:
        state = ServerState()
        peers = [Peer(accepting(echo), protocol=Spread, state=state) for _ in range(40)]
        for peer in peers:
            await peer.connect()
            peer.protocol.shutdown()
        closed = []
        for _ in range(4):
            await asyncio.sleep(5.01)
            closed.append(sum(peer.close_frame() is not None for peer in peers))
        assert 0 < closed[0] < closed[1] < closed[2] < closed[3] == 40
        peers[0].close(1012)

    run(test())


def test_a_window_never_goes_beyond_uvicorns_deadline() -> None:
    class Spread(WebSocketProtocol):
        settings = EngineSettings(drain_window=1000)

    async def test() -> None:
        peers = [Peer(accepting(), protocol=Spread, timeout_graceful_shutdown=5) for _ in range(10)]
        for peer in peers:
            await peer.connect()
            peer.protocol.shutdown()
        await asyncio.sleep(4.99)
        assert any(peer.close_frame() for peer in peers)
        await asyncio.sleep(0.1)
        assert all(peer.transport.aborted for peer in peers)
        assert all(peer.state.tasks == set() for peer in peers)

    run(test())


def test_a_connection_that_ends_within_the_window_is_left_alone() -> None:
    class Spread(WebSocketProtocol):
        settings = EngineSettings(drain_window=20)

    async def test() -> None:
        peer = Peer(accepting(echo), protocol=Spread)
        await peer.connect()
        peer.protocol.shutdown()
        peer.close(3005)
        await settle()
        assert peer.close_frame() == (3005, "")
        await asyncio.sleep(60)
        assert peer.state.tasks == set()

    run(test())


def test_a_shutdown_answers_handshakes_in_flight_with_503() -> None:
    async def test() -> None:
        peer = Peer(application(wait))
        await peer.connect()
        peer.protocol.shutdown()
        peer.take_head()
        assert peer.status == 503
        assert peer.transport.closed
        await asyncio.sleep(10.1)
        assert peer.state.tasks == set()

    run(test())


def test_a_shutdown_lets_a_denial_response_go_on() -> None:
    async def test() -> None:
        async def step(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 404})
            await asyncio.sleep(1)
            await send({"type": "websocket.http.response.body", "body": b"whole"})

        peer = Peer(application(step))
        await peer.connect()
        peer.protocol.shutdown()
        await asyncio.sleep(2)
        peer.take_head()
        assert (peer.status, peer.body) == (404, b"whole")

    run(test())


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 10), (3, 3), (0, 0)])
def test_at_the_deadline_a_handler_that_ignores_the_end_is_cancelled(
    log: Records, timeout: int | None, seconds: float
) -> None:
    async def test() -> None:
        peer = Peer(accepting(wait), timeout_graceful_shutdown=timeout)
        await peer.connect()
        peer.protocol.shutdown()
        if seconds:
            await asyncio.sleep(seconds - 0.1)
            assert len(peer.state.tasks) == 1
        await asyncio.sleep(0.2)
        assert peer.state.tasks == set()
        assert peer.state.connections == set()
        assert peer.transport.aborted
        (warning,) = log.texts(logging.WARNING)
        assert warning.endswith('"WebSocket /chat": the handler has not ended in time and is cancelled.')

    run(test())


def test_a_reload_waits_for_nothing() -> None:
    class Slow(WebSocketProtocol):
        settings = EngineSettings(drain_window=20, close_timeout=100)

    async def test() -> None:
        peer = Peer(accepting(wait), protocol=Slow, timeout_graceful_shutdown=100, reload=True)
        peer.protocol._config.app = "program:app"  # only what is named can be imported again
        await peer.connect()
        peer.protocol.shutdown()
        assert peer.close_frame() == (1012, "")
        await asyncio.sleep(0.6)
        assert peer.transport.aborted
        assert (peer.state.tasks, peer.state.connections) == (set(), set())

    run(test())


def test_a_handler_that_swallows_its_cancellation_is_named_and_left_behind(log: Records) -> None:
    async def test() -> None:
        stop = asyncio.Event()

        async def stubborn(receive: Receive, send: Send) -> None:
            while not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), 1000)
                except asyncio.CancelledError:
                    pass

        peer = Peer(accepting(stubborn))
        await peer.connect()
        (task,) = peer.state.tasks
        peer.protocol.shutdown()
        await asyncio.sleep(10.9)
        assert not task.done()
        await asyncio.sleep(0.2)
        assert peer.state.tasks == set()
        assert task.done()
        (error,) = log.texts(logging.ERROR)
        assert "ignores its cancellation" in error
        assert '"WebSocket /chat"' in error

    run(test())


def test_a_handler_that_swallows_whatever_is_raised_is_left_behind_too(log: Records) -> None:
    async def test() -> None:
        async def stubborn(receive: Receive, send: Send) -> None:
            for _ in range(3):
                try:
                    await wait(receive, send)
                except BaseException:
                    pass

        peer = Peer(accepting(stubborn))
        await peer.connect()
        peer.protocol.shutdown()
        (task,) = peer.state.tasks
        await asyncio.sleep(11.1)
        assert peer.state.tasks == set()
        assert task.done()
        assert "ignores its cancellation" in log.texts(logging.ERROR)[0]

    run(test())


def test_a_handler_may_take_its_time_to_clean_up_after_its_cancellation(log: Records) -> None:
    async def test() -> None:
        cleaned = False

        async def step(receive: Receive, send: Send) -> None:
            nonlocal cleaned
            try:
                await wait(receive, send)
            finally:
                await asyncio.sleep(0.9)
                cleaned = True

        peer = Peer(accepting(step))
        await peer.connect()
        peer.protocol.shutdown()
        await asyncio.sleep(12)
        assert cleaned
        assert peer.state.tasks == set()
        assert log.texts(logging.ERROR) == []

    run(test())


def test_a_handler_that_is_cancelled_before_its_answer_leaves_a_500() -> None:
    async def test() -> None:
        peer = Peer(application(wait))
        await peer.connect()
        (task,) = peer.state.tasks
        task.cancel()
        await settle()
        peer.take_head()
        assert peer.status == 500
        assert task.cancelled()

    run(test())


def test_what_has_ended_is_free_without_the_garbage_collector() -> None:
    async def test() -> None:
        for end in ("client", "application"):
            peer = Peer(accepting(echo if end == "client" else sending()), ws_ping_interval=5)
            await peer.connect()
            peer.send(text("a"), b"\xff\xff" if end == "client" else b"")
            await settle()
            peer.transport.abort()
            await settle()
            gone = weakref.ref(peer.protocol)
            peer.transport.protocol = None
            gc.collect()
            gc.disable()
            try:
                del peer.protocol
                assert gone() is None, f"after the end by the {end}, held by {gc.get_referrers(gone())}"
            finally:
                gc.enable()

    run(test())


# What uvicorn's own tests give and look at


def test_a_transport_without_a_hand_over_feeds_the_same_connection() -> None:
    async def test() -> None:
        peer = Peer(accepting(echo), transport=BareTransport())
        peer.protocol.close_timeout = 3
        assert peer.protocol.close_timeout == 3

        def feed(data: bytes) -> None:
            peer.protocol.data_received(data)

        peer.transport.feed = feed
        await peer.connect()
        peer.send(text("a"))
        await settle()
        peer.protocol.pause_writing()
        peer.send(text("b"))
        await settle()
        assert peer.messages() == ["a"]
        peer.protocol.resume_writing()
        await settle()
        assert peer.messages() == ["a", "b"]
        assert not peer.protocol.eof_received()
        assert peer.protocol.close_timer is None

    run(test())


def test_the_close_timer_runs_while_an_answer_is_awaited() -> None:
    async def test() -> None:
        peer = Peer(accepting(sending({"type": "websocket.close"})), transport=BareTransport())
        peer.transport.feed = peer.protocol.data_received
        peer.protocol.close_timeout = 3
        await peer.connect()
        timers = [peer.protocol.close_timer]
        peer.protocol.shutdown()
        assert peer.transport.closed
        timers.append(peer.protocol.close_timer)
        assert [timer is None for timer in timers] == [False, True]

        other = Peer(accepting(sending({"type": "websocket.close"})), transport=BareTransport())
        other.transport.feed = other.protocol.data_received
        other.protocol.close_timeout = 3
        await other.connect()
        await asyncio.sleep(3.1)
        assert other.transport.closed, "closed, where it cannot be aborted"

    run(test())


def test_the_ping_timer_runs_from_accept_on() -> None:
    async def test() -> None:
        peer = Peer(accepting(), ws_ping_interval=5)
        await peer.connect()
        timer = peer.protocol.ping_timer
        assert timer is not None
        assert peer.protocol.ping_sent_at == 0.0
        await asyncio.sleep(5.1)
        assert peer.protocol.ping_sent_at > 0.0
        silent = Peer(accepting())
        await silent.connect()
        assert silent.protocol.ping_timer is None
        assert silent.protocol.ping_sent_at == 0.0

    run(test())
