"""What the engine takes for granted of uvicorn, which uvicorn documents nowhere: a newer one that differs fails here.

Each test drives uvicorn's own code with a recorder in our place, or compares what we wrote down with what is there.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import Server, ServerState

from tests.engine.client_frames import text
from tests.engine.heads import read, usual
from tests.engine.memory import Transport, run, settle
from trunkline.engine import WebSocketProtocol, settings as engine_settings
from trunkline.engine.connection import Connection

if TYPE_CHECKING:
    from trunkline.types import Receive, Scope, Send

HTTP_SIDES = (H11Protocol, HttpToolsProtocol)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


class Recorder(asyncio.Protocol):
    """Stands where our protocol class stands, and notes what uvicorn does with it."""

    made: list[Recorder]

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.args, self.kwargs = args, kwargs
        self.calls: list[tuple[str, Any]] = []
        self.made.append(self)

    def connection_made(self, transport: Any) -> None:
        self.calls.append(("connection_made", transport))

    def data_received(self, data: bytes) -> None:
        self.calls.append(("data_received", data))

    def shutdown(self) -> None:
        self.calls.append(("shutdown", None))


def http_side(side: Any, ws: Any, state: ServerState) -> Transport:
    """uvicorn's HTTP side on a transport in memory."""
    config = Config(app, ws=ws, http=side, log_config=None, lifespan="off", ws_ping_interval=None)
    config.load()
    transport: Any = Transport()
    transport.protocol = side(config=config, server_state=state, app_state={"a": 1})
    transport.protocol.connection_made(transport)
    found: Transport = transport
    return found


REQUEST = b"".join(
    [
        b"GET /a%20b?c=d HTTP/1.1\r\n",
        *(b"%b: %b\r\n" % pair for pair in usual((b"x-One", b"1"), (b"X-one", b"2"))),
        b"\r\n",
    ]
)


@pytest.mark.parametrize("side", HTTP_SIDES)
def test_the_http_side_makes_the_protocol_feeds_it_the_head_and_only_then_changes_it(side: Any) -> None:
    Recorder.made = []

    async def test() -> None:
        state = ServerState()
        transport = http_side(side, Recorder, state)
        assert len(state.connections) == 1
        first = transport.protocol

        def set_protocol(protocol: Recorder) -> None:
            protocol.calls.append(("set_protocol", None))

        transport.set_protocol = set_protocol  # type: ignore[method-assign]
        transport.feed(REQUEST)
        (recorder,) = Recorder.made
        assert recorder.args == ()
        assert recorder.kwargs == {"config": first.config, "server_state": state, "app_state": {"a": 1}}
        assert [name for name, _ in recorder.calls] == ["connection_made", "data_received", "set_protocol"]
        assert recorder.calls[0][1] is transport
        assert state.connections == set(), "the HTTP side has left, the other enters by itself"
        request = read(recorder.calls[1][1])
        assert (request.target, request.rest) == (b"/a%20b?c=d", b"")
        assert request.headers == [(name.lower(), value) for name, value in usual((b"x-One", b"1"), (b"X-one", b"2"))]

    run(test())


@pytest.mark.parametrize("side", HTTP_SIDES)
def test_bytes_behind_the_request_in_its_segment_are_lost_before_us(side: Any) -> None:
    Recorder.made = []

    async def test() -> None:
        http_side(side, Recorder, ServerState()).feed(REQUEST + text("early"))
        (recorder,) = Recorder.made
        assert read(recorder.calls[1][1]).rest == b"", "uvicorn hands them over now: semantics and tests may say so"

    run(test())


@pytest.mark.parametrize("side", HTTP_SIDES)
def test_the_http_side_and_ours_fit(side: Any) -> None:
    async def test() -> None:
        state = ServerState()
        transport = http_side(side, WebSocketProtocol, state)
        transport.feed(REQUEST)
        assert type(transport.protocol) is WebSocketProtocol
        (entered,) = map(id, state.connections)
        assert entered == id(transport.protocol)
        assert len(state.tasks) == 1
        await settle()
        from_accept_on: object = transport.protocol
        assert isinstance(from_accept_on, Connection)
        transport.feed(text("a"))
        await settle()
        assert transport.written.endswith(b"\x81\x01a")
        transport.abort()
        await settle()
        assert (state.connections, state.tasks) == (set(), set())

    run(test())


def test_our_constructor_is_the_one_of_uvicorns_own_protocol() -> None:
    def names(protocol: type) -> list[str]:
        return list(inspect.signature(protocol).parameters)

    assert names(WebSocketProtocol) == names(WebSocketsSansIOProtocol)


@pytest.mark.parametrize("name", ["connection_made", "data_received", "connection_lost", "eof_received", "shutdown"])
def test_what_uvicorn_and_the_loop_call_is_there(name: str) -> None:
    def arity(protocol: type) -> int:
        return len(inspect.signature(getattr(protocol, name)).parameters)

    assert arity(WebSocketProtocol) == arity(WebSocketsSansIOProtocol)


def test_the_options_that_we_honour_have_the_names_and_defaults_that_we_wrote_down() -> None:
    config = Config(app)
    for name, default, setting in engine_settings._OPTIONS:
        assert getattr(config, name) == default, name
        assert hasattr(WebSocketProtocol.settings, setting)
    named = {name for name, *_ in engine_settings._OPTIONS}
    assert named == {name for name in inspect.signature(Config).parameters if name.startswith("ws_")}, "a new option"


def test_the_configuration_has_what_we_read_of_it() -> None:
    config = Config(app, ws="trunkline.engine:WebSocketProtocol", log_config=None)
    loaded = [config.loaded]
    config.load()
    assert [*loaded, config.loaded] == [False, True]
    assert config.ws_protocol_class is WebSocketProtocol
    assert (config.root_path, config.limit_concurrency, config.timeout_graceful_shutdown) == ("", None, None)
    assert callable(config.loaded_app)


def test_the_server_state_has_what_we_change() -> None:
    assert vars(ServerState()) == {"total_requests": 0, "connections": set(), "tasks": set(), "default_headers": []}


class NoLifespan:
    async def shutdown(self) -> None:
        """Nothing was started."""


def server(timeout: int | None) -> Any:
    made: Any = Server(Config(app, log_config=None, timeout_graceful_shutdown=timeout))
    made.servers, made.lifespan = [], NoLifespan()
    return made


def test_a_shutdown_is_called_once_per_connection_and_waits_for_connections_and_tasks() -> None:
    Recorder.made = []

    async def test() -> None:
        stopping = server(None)
        recorder, task = Recorder(), asyncio.create_task(asyncio.sleep(1000))
        stopping.server_state.connections.add(recorder)
        stopping.server_state.tasks.add(task)
        shutdown = asyncio.create_task(stopping.shutdown())
        await asyncio.sleep(5)
        assert recorder.calls == [("shutdown", None)]
        stopping.server_state.connections.clear()
        await asyncio.sleep(5)
        assert not shutdown.done()
        stopping.server_state.tasks.clear()
        await shutdown
        task.cancel()

    run(test())


def test_at_its_deadline_uvicorn_cancels_the_tasks_that_are_left() -> None:
    Recorder.made = []

    async def test() -> None:
        stopping = server(3)
        task = asyncio.create_task(asyncio.sleep(1000))
        stopping.server_state.connections.add(Recorder())
        stopping.server_state.tasks.add(task)
        await stopping.shutdown()
        await settle()
        assert task.cancelled()

    run(test())
