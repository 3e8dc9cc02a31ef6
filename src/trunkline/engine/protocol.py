"""The engine as a WebSocket protocol class of uvicorn: from the upgrade to the answer, and to the server's end.

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

from trunkline.engine.calls import Calls
from trunkline.engine.connection import CLOSING, OPEN, OPENING, Connection
from trunkline.engine.deflate import Deflate, negotiate
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
from trunkline.engine.outbound import ClientGone
from trunkline.engine.settings import EngineSettings, from_environment, from_uvicorn
from trunkline.line import EXTENSION, VERSION
from trunkline.states import CONNECTING, next_application_state
from trunkline.status import check_close_code
from trunkline.workers import note_workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from trunkline.engine.shared import Alarm
    from trunkline.types import Message, Scope

__all__ = ["WebSocketProtocol"]

SHUTDOWN_DEADLINE = 10.0
# Somebody who has just saved a file waits for it.
RELOAD_DEADLINE = 0.5

logger = logging.getLogger("uvicorn.error")


@functools.lru_cache(maxsize=8)
def _settings(config: Config, settings: EngineSettings) -> EngineSettings:
    """Ours, then uvicorn's options, then our environment variables. Once for a server, like this:"""
    note_workers(config.workers)
    return from_environment(from_uvicorn(settings, functools.partial(getattr, config)))


class WebSocketProtocol(Calls, asyncio.Protocol):
    """What `uvicorn --ws trunkline.engine:WebSocketProtocol` makes of every upgrade.

    Subclass it and set `settings` for other limits.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's sets of connections and tasks.
        app_state: What the lifespan left.
        _loop: The loop, where uvicorn says it.
    """

    __slots__ = (
        "__weakref__",
        "_app_state",
        "_connected",
        "_denial",
        "_limits",
        "_reader",
        "_request",
        "_stopping",
        "_timer",
        "transport",
    )

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
        super().__init__(config, server_state, _loop or asyncio.get_event_loop())
        self._app_state = app_state
        self._limits = _settings(config, self.settings)
        self._reader: HandshakeReader | None = HandshakeReader()
        self._state = CONNECTING
        self._connected = False
        self._stopping = False
        self._denial: DenialResponse | None = None
        self._timer: Alarm | None = None
        self._request: HandshakeRequest | None = None
        self._scope: Scope = None  # type: ignore[assignment]  # set by `_begin`

    # The transport's side

    def connection_made(self, transport: Any) -> None:
        """uvicorn hands the transport over."""
        self.transport: Any = transport  # uvicorn's own tests give one that has only part of the methods
        self._connection = Connection(self._loop, self.transport, self._limits, self._ended)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes

    def data_received(self, data: bytes) -> None:
        """Bytes from the client: the head of the request, and frames that come before the switch."""
        if self._reader is not None:
            self._read_head(data)
        elif self._connection.phase is OPENING:
            self._connection.hold(data)
        else:
            self._connection.feed(data, len(data))

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

    # What uvicorn's own tests look at

    @property
    def close_timeout(self) -> float:
        """Seconds for the client to answer a close frame; to be set before the connection is made."""
        return self._limits.close_timeout

    @close_timeout.setter
    def close_timeout(self, seconds: float) -> None:
        self._limits = replace(self._limits, close_timeout=seconds)

    @property
    def close_timer(self) -> asyncio.TimerHandle | None:
        """What gives up waiting for the answer to our close frame; None when nobody waits for one."""
        waits = self._connection.phase is CLOSING and not self.transport.is_closing()
        return self._connection.timer if waits else None

    @property
    def ping_timer(self) -> Alarm | asyncio.TimerHandle | None:
        """What sends the next keepalive ping, or misses the last pong; None when there is none."""
        keepalive = self._connection.keepalive
        return None if keepalive is None else keepalive.timer

    @property
    def ping_sent_at(self) -> float:
        """When the last keepalive ping was sent, in the loop's time; 0.0 before the first."""
        keepalive = self._connection.keepalive
        return 0.0 if keepalive is None else keepalive.sent_at

    # The handshake

    def _read_head(self, data: bytes) -> None:
        assert self._reader is not None
        try:
            request = self._reader.feed(data)
        except HandshakeError as error:
            self._reader = None
            self._answer_with(error.response(self._server_state.default_headers))
            return
        if request is not None:
            self._reader = None
            self._begin(request)

    def _begin(self, request: HandshakeRequest) -> None:
        if self._over_limit():
            logger.warning("Exceeded concurrency limit.")
            self._refuse(503)
            return
        connection = self._connection
        self._request = request
        if request.rest:
            connection.hold(request.rest)
        self._scope = build_scope(
            request,
            scheme="wss" if self.transport.get_extra_info("sslcontext") else "ws",
            client=client_address(self.transport),
            server=server_address(self.transport),
            root_path=self._config.root_path,
            state=self._app_state,
            extensions={EXTENSION: {"version": VERSION, "line": connection}},
        )
        # The application gets these very objects: by them a framework knows that nobody stands in between.
        connection.receive = self._receive
        connection.send = self._send
        connection.resume = self._resume
        connection.retime = self._time_handshake
        self._time_handshake()
        self._start()

    def _over_limit(self) -> bool:
        # This connection is among the connections already; its task is not among the tasks.
        limit = self._config.limit_concurrency
        return limit is not None and (
            len(self._server_state.connections) > limit or len(self._server_state.tasks) >= limit
        )

    def _time_handshake(self) -> None:
        """Set the clock of the handshake, anew where the application has set another limit."""
        if self._timer is not None:
            self._timer.cancel()
        timeout = self._connection.settings.handshake_timeout
        self._timer = None if timeout is None else self._connection.call_later(timeout, self._handshake_timed_out)

    def _handshake_timed_out(self) -> None:
        timeout = self._connection.settings.handshake_timeout
        logger.warning("%s: the application did not answer the handshake within %g s.", self._place(), timeout)
        self._refuse(503)

    def _refuse(self, status: int, body: bytes = b"") -> None:
        self._answer_with(build_refusal(status, body, default_headers=self._server_state.default_headers))

    def _answer_with(self, response: bytes) -> None:
        """Write the last of a response that is not 101."""
        self._stop_timer()
        self.transport.write(response)
        self._connection.refused()

    def _stop_timer(self) -> None:
        self._connection.retime = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The application's side

    def _answer_for_application(self) -> None:
        """The application has ended: say what it has not said, if anybody waits for it."""
        if self._connection.phase is not OPENING:
            return
        if self._denial is None:
            self._refuse(500, b"Internal Server Error")
        else:
            self._answer_with(self._denial.end())

    async def _receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        connection = self._connection
        message = connection.take()
        if message is None:
            await connection.arrival()
            message = connection.take()
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        if message is not None:
            return {"type": "websocket.receive", "bytes": message}
        return connection.disconnect_message()

    async def _send(self, message: Message) -> None:
        connection = self._connection
        if connection.phase is OPEN and message["type"] == "websocket.send":
            if not _write(connection, message):
                await connection.write_in_turn(functools.partial(_write, connection, message))
            return
        following = next_application_state(self._state, message)
        if connection.phase > OPEN:
            raise ClientGone("the connection has ended")
        answer = self._ANSWERS[message["type"]]
        await answer(self, message)
        self._state = following

    async def _accept(self, message: Message) -> None:
        connection, request = self._connection, self._request
        assert request is not None
        subprotocol = message.get("subprotocol")
        deflate = connection.settings.deflate
        agreement = negotiate(request.extensions, deflate) if deflate else None
        response = build_accept(
            request,
            subprotocol=subprotocol,
            headers=message.get("headers") or (),
            default_headers=self._server_state.default_headers,
            extensions=None if agreement is None else agreement.header,
        )
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s [accepted]", self._place())
        if subprotocol and subprotocol not in request.subprotocols:
            # Not what it offered: that may hold a token.
            logger.warning(
                "%s: accepted with the subprotocol %r, which the client did not offer; most clients fail the "
                "connection then (RFC 6455 section 4.1).",
                self._place(),
                subprotocol,
            )
        self._request = None  # the scope has what is still needed of it
        self._stop_timer()
        self.transport.write(response)
        connection.open(Deflate(agreement, deflate) if agreement and deflate else None)
        # Never from inside `data_received`: uvicorn and uvloop are in the middle of their own hand-over there.
        self._loop.call_soon(self._switch)

    def _switch(self) -> None:
        if not self.transport.is_closing() and hasattr(self.transport, "set_protocol"):
            self.transport.set_write_buffer_limits(high=self._connection.settings.high_water)
            self.transport.set_protocol(self._connection)

    async def _close(self, message: Message) -> None:
        if self._connection.phase is OPEN:
            code = message.get("code")
            code = 1000 if code is None else int(code)
            check_close_code(code)
            await self._connection.close_in_turn(code, message.get("reason") or "")
        else:
            logger.info("%s 403", self._place())
            self._refuse(403)

    async def _start_denial(self, message: Message) -> None:
        denial = DenialResponse(self._server_state.default_headers)
        head = denial.start(message["status"], message.get("headers") or ())
        logger.info("%s %d", self._place(), message["status"])
        self._denial = denial
        self._stop_timer()
        self.transport.write(head)

    async def _continue_denial(self, message: Message) -> None:
        assert self._denial is not None
        await self._connection.written()
        if self._connection.phase is not OPENING:
            raise ClientGone("the connection has ended")
        body = self._denial.body(message.get("body", b""), message.get("more_body", False))
        if self._denial.complete:
            self._answer_with(body)
        else:
            self.transport.write(body)

    _ANSWERS: ClassVar[dict[str, Callable[[Any, Message], Awaitable[None]]]] = {
        "websocket.accept": _accept,
        "websocket.close": _close,
        "websocket.http.response.start": _start_denial,
        "websocket.http.response.body": _continue_denial,
    }

    # The server's end

    def shutdown(self) -> None:
        """uvicorn stops: close with 1012 at a random moment of the window, and see to it that the task ends."""
        if self._stopping:
            return
        self._stopping = True
        window, deadline = self._time_to_drain()
        if self._connection.phase is OPEN and window:
            self._loop.call_later(random.uniform(0, window), self._end_connection)
        else:
            self._end_connection()
        self._loop.call_later(deadline, self._cancel)

    def _time_to_drain(self) -> tuple[float, float]:
        """Seconds over which the closes are spread, and seconds until everything has to be over."""
        if self._config.should_reload:
            return 0.0, RELOAD_DEADLINE
        window, timeout = self._connection.settings.drain_window, self._config.timeout_graceful_shutdown
        if timeout is None:
            return window, max(SHUTDOWN_DEADLINE, window + 1)
        return min(window, timeout), timeout

    def _end_connection(self) -> None:
        phase = self._connection.phase
        if phase is OPEN:
            self._connection.close(1012, "")
        elif phase is CLOSING:
            self.transport.close()
        elif phase is OPENING and self._denial is None:
            self._refuse(503)


def _write(connection: Connection, message: Message) -> bool:
    data = message.get("bytes")
    if data is not None:
        return connection.write_bytes(data)
    text = message.get("text")
    if text is None:
        raise ValueError('websocket.send has neither "text" nor "bytes" (ASGI: exactly one of them is not None)')
    return connection.write_text(text)
