"""The engine as a WebSocket protocol class of uvicorn: from the upgrade to the answer, and the application's task.

uvicorn's HTTP side hands over by calling `connection_made` and then `data_received` with the request's head, rebuilt;
only after that it makes this object the transport's protocol. So nothing is switched in there: when the application
accepts, the `Connection` takes the transport over in a later callback, and what arrives meanwhile through
`data_received` goes to the same decoder. This object stays in uvicorn's set of connections until the transport is
gone, because uvicorn waits for that set when it shuts down.

None of this is a public interface of uvicorn; tests/engine/test_uvicorn_contract.py fails when it changes.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from trunkline.engine.connection import OPEN, OPENING, ClientGone, Connection
from trunkline.engine.deflate import Deflate, DeflateSettings, negotiate
from trunkline.engine.handshake import (
    DenialResponse,
    HandshakeError,
    HandshakeReader,
    HandshakeRequest,
    build_accept,
    build_refusal,
    build_scope,
    client_address,
    server_address,
)
from trunkline.engine.settings import EngineSettings, from_environment
from trunkline.line import EXTENSION, VERSION
from trunkline.states import CONNECTING, RESPONSE, CloseInfo, next_application_state

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from trunkline.types import Message, Scope

__all__ = ["WebSocketProtocol"]

EARLY_BYTES = 64 * 1024
SHUTDOWN_DEADLINE = 10.0
LAST_CANCEL = 1.0
_DEFLATE = DeflateSettings()
_LOST = CloseInfo(1006, "")

# uvicorn's option, its default, our setting: an option that was left at its default leaves ours as it is.
_OPTIONS = (
    ("ws_max_size", 16 * 1024 * 1024, "max_message"),
    ("ws_max_queue", 32, "inbound_messages"),
    ("ws_ping_interval", 20.0, "ping_interval"),
    ("ws_ping_timeout", 20.0, "ping_timeout"),
    ("ws_per_message_deflate", True, "compression"),
)


@functools.lru_cache(maxsize=8)
def _settings(config: Config, settings: EngineSettings) -> EngineSettings:
    changes = {
        ours: getattr(config, theirs) for theirs, default, ours in _OPTIONS if getattr(config, theirs) != default
    }
    return from_environment(replace(settings, **changes))


class WebSocketProtocol(asyncio.Protocol):
    """What `uvicorn --ws trunkline.engine:WebSocketProtocol` makes of every upgrade.

    Subclass it and set `settings` for other limits.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's sets of connections and tasks.
        app_state: What the lifespan left.
        _loop: The loop, where uvicorn says it.
    """

    settings: ClassVar[EngineSettings] = EngineSettings()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_event_loop()
        self._reader: HandshakeReader | None = HandshakeReader()
        self._early = bytearray()
        self._state = CONNECTING
        self._connected = False
        self._denial: DenialResponse | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._request: HandshakeRequest = None  # type: ignore[assignment]  # set by `_begin`
        self._scope: Scope = None  # type: ignore[assignment]  # set by `_begin`

    # The transport's side

    def connection_made(self, transport: Any) -> None:
        """uvicorn hands the transport over."""
        self.transport: Any = transport  # uvicorn's own tests give one that has only part of the methods
        self._connection = Connection(self._loop, self.transport, _settings(self._config, self.settings), self._ended)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes

    def data_received(self, data: bytes) -> None:
        """Bytes from the client: the head of the request, and after accept frames that came before the switch."""
        if self._connection.phase is not OPENING:
            self._connection.feed(data, len(data))
        elif self._reader is not None:
            self._read_head(data)
        else:
            self._early += data
            if len(self._early) > EARLY_BYTES:
                self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more."""
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport holds more than its high-water mark."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The transport has drained."""
        self._connection.resume_writing()

    def _ended(self) -> None:
        self._stop_timer()
        self._server_state.connections.discard(self)

    # The handshake

    def _read_head(self, data: bytes) -> None:
        assert self._reader is not None
        try:
            request = self._reader.feed(data)
        except HandshakeError as error:
            self._reader = None
            self._hang_up_with(error.response(self._server_state.default_headers))
            return
        if request is not None:
            self._reader = None
            self._begin(request)

    def _begin(self, request: HandshakeRequest) -> None:
        if self._over_limit():
            logger.warning("Exceeded concurrency limit.")
            self._refuse(503)
            return
        self._request = request
        self._early += request.rest
        self._scope = build_scope(
            request,
            scheme="wss" if self.transport.get_extra_info("sslcontext") else "ws",
            client=client_address(self.transport),
            server=server_address(self.transport),
            root_path=self._config.root_path,
            state=self._app_state,
            extensions={EXTENSION: {"version": VERSION, "line": self._connection}},
        )
        # The application gets these very objects: by them a framework knows that nobody stands in between.
        self._connection.receive = self._receive
        self._connection.send = self._send
        self._task = self._loop.create_task(self._run())
        self._server_state.tasks.add(self._task)
        self._task.add_done_callback(self._server_state.tasks.discard)
        timeout = self._connection.settings.handshake_timeout
        if timeout is not None:
            self._timer = self._loop.call_later(timeout, self._handshake_timed_out, timeout)

    def _over_limit(self) -> bool:
        limit = self._config.limit_concurrency
        return limit is not None and (
            len(self._server_state.connections) > limit or len(self._server_state.tasks) >= limit
        )

    def _handshake_timed_out(self, timeout: float) -> None:
        logger.warning("%s: the application did not answer the handshake within %g s.", self._place(), timeout)
        self._refuse(503)

    def _refuse(self, status: int, body: bytes = b"") -> None:
        self._hang_up_with(build_refusal(status, body, default_headers=self._server_state.default_headers))

    def _hang_up_with(self, response: bytes) -> None:
        self._stop_timer()
        self.transport.write(response)
        self.transport.close()
        self._connection.end(_LOST)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _place(self) -> str:
        """Who and where, for the log: never the query, which may hold a token."""
        client = self._scope["client"]
        who = "{}:{}".format(*client) if client else ""
        return f'{who} - "WebSocket {quote(self._scope["path"])}"'

    # The application's side

    async def _run(self) -> None:
        try:
            result: object = await self._config.loaded_app(self._scope, self._connection.receive, self._connection.send)
        except ClientGone:
            pass
        except BaseException as error:
            if type(error).__name__ != "WebSocketDisconnect" or self._connection.closed is None:
                logger.exception("Exception in ASGI application\n")
            self._answer_for_application()
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if self._state is CONNECTING and self._connection.closed is None:
                logger.error("ASGI callable returned without completing handshake.")
            elif result is not None:
                logger.error("ASGI callable should return None, but returned '%s'.", result)
            self._answer_for_application()
        finally:
            self._connection.leave()

    def _answer_for_application(self) -> None:
        """The application has ended: say what it has not said, if anybody waits for it."""
        if self._connection.closed is not None or self.transport.is_closing():
            return
        if self._state is CONNECTING:
            self._refuse(500, b"Internal Server Error")
        elif self._denial is not None and not self._denial.complete:
            self._hang_up_with(self._denial.end())

    async def _receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        return await self._connection.next_message()

    async def _send(self, message: Message) -> None:
        connection = self._connection
        if connection.phase is OPEN and message["type"] == "websocket.send":
            if not connection.writable:
                await connection.drain()
            _write(connection, message)
            return
        following = next_application_state(self._state, message)
        if connection.closed is not None and not (connection.phase is OPEN and message["type"] == "websocket.close"):
            raise ClientGone("the client has gone")
        self._ANSWERS[message["type"]](self, message)
        self._state = following

    def _accept(self, message: Message) -> None:
        connection = self._connection
        agreement = negotiate(self._request.extensions, _DEFLATE) if connection.settings.compression else None
        response = build_accept(
            self._request,
            subprotocol=message.get("subprotocol"),
            headers=message.get("headers") or (),
            default_headers=self._server_state.default_headers,
            extensions=agreement.header if agreement is not None else None,
        )
        logger.info("%s [accepted]", self._place())
        self._stop_timer()
        self.transport.write(response)
        connection.open(Deflate(agreement, _DEFLATE) if agreement is not None else None)
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            connection.feed(early, len(early))
            if len(early) > EARLY_BYTES:
                self.transport.resume_reading()
        self._loop.call_soon(self._switch)

    def _switch(self) -> None:
        if not self.transport.is_closing() and hasattr(self.transport, "set_protocol"):
            self.transport.set_write_buffer_limits(high=self._connection.settings.high_water)
            self.transport.set_protocol(self._connection)

    def _close(self, message: Message) -> None:
        code, reason = message.get("code", 1000), message.get("reason") or ""
        if self._connection.phase is OPEN:
            self._connection.close(1000 if code is None else code, reason)
        else:
            logger.info("%s 403", self._place())
            self._refuse(403)

    def _start_denial(self, message: Message) -> None:
        self._denial = DenialResponse(self._server_state.default_headers)
        head = self._denial.start(message["status"], message.get("headers") or ())
        logger.info("%s %d", self._place(), message["status"])
        self._stop_timer()
        self.transport.write(head)

    def _continue_denial(self, message: Message) -> None:
        assert self._denial is not None
        body = self._denial.body(message.get("body", b""), message.get("more_body", False))
        if self._denial.complete:
            self._hang_up_with(body)
        else:
            self.transport.write(body)

    _ANSWERS: ClassVar[dict[str, Any]] = {
        "websocket.accept": _accept,
        "websocket.close": _close,
        "websocket.http.response.start": _start_denial,
        "websocket.http.response.body": _continue_denial,
    }

    # The server's end

    def shutdown(self) -> None:
        """uvicorn stops: close with 1012 at a random moment of the window, and see to it that the task ends."""
        window = self._connection.settings.drain_window
        if self._connection.phase is OPENING:
            if self._state is not RESPONSE and not self.transport.is_closing():
                self._refuse(503)
        elif window:
            self._loop.call_later(random.uniform(0, window), self._restart)
        else:
            self._restart()
        deadline = self._config.timeout_graceful_shutdown or max(SHUTDOWN_DEADLINE, window + 1)
        self._loop.call_later(deadline, self._cancel)

    def _restart(self) -> None:
        if self._connection.phase is OPEN:
            self._connection.close(1012, "")

    def _cancel(self) -> None:
        self._connection.abort()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._loop.call_later(LAST_CANCEL, self._give_up)

    def _give_up(self) -> None:
        if self._task is not None and not self._task.done():
            logger.error("%s: the handler ignores its cancellation; leaving without it: %r", self._place(), self._task)
            self._server_state.tasks.discard(self._task)


logger = logging.getLogger("uvicorn.error")


def _write(connection: Connection, message: Message) -> None:
    data = message.get("bytes")
    if data is not None:
        connection.write_bytes(data)
        return
    text = message.get("text")
    if text is None:
        raise ValueError('websocket.send has neither "text" nor "bytes" (ASGI: exactly one of them is not None)')
    connection.write_text(text)
