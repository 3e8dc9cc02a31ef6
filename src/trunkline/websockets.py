"""The WebSocket of an endpoint, over plain ASGI.

Two states move independently, by the tables of `trunkline.states`. Beside them stand:

- `_idle`: nobody is inside the server's `receive`, and there is no inbox. Only then a receiver may go straight in;
  otherwise it goes through the `Inbox`, which serves several receivers in order and holds what was read ahead.
- `_sending`: the turn of whoever is inside the server's `send`. Messages leave whole and one after the other, and the
  state moves when the turn has come, so a cancelled send has either been handed over or never happened.
- `_fast_in`, `_fast_out`: the server's Line, where it has one and nobody stands in between (`trunkline.line`). Then
  messages are taken and written past ASGI. `tasks` switches `_fast_in` off, to see who receives.
- `_end`: the message that ended the connection, ours or the server's, as soon as it is known; the first counts.
- `_expelled`: set when the connection was closed from beside its endpoint (`trunkline._expulsion`).

`receive_text`, `receive_bytes`, `send_text` and `send_bytes` are the hot paths. When nothing is in the way they await
the server's callable themselves and touch the tables only at the ends; otherwise they take the general way through
`receive` and `send`. A subclass that overrides `receive` or `send` is always asked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from trunkline._expulsion import Expellable
from trunkline._typed import TypedMessages
from trunkline.datastructures import check_headers
from trunkline.inbox import Inbox, LineInbox
from trunkline.line import Line, line_of
from trunkline.requests import HTTPConnection, StateT
from trunkline.states import (
    CONNECTED,
    CONNECTING,
    DISCONNECTED,
    CloseInfo,
    WebSocketDisconnect,
    WebSocketDisconnected,
    WebSocketMessageTypeError,
    WebSocketPayloadError,
    WebSocketState,
    check_may_receive,
    next_application_state,
    next_client_state,
)
from trunkline.status import check_close_code, cut_reason
from trunkline.tasks import ConnectionTasks
from trunkline.turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from typing import Self

    from trunkline.types import Message, Receive, Scope, Send

__all__ = [
    "CloseInfo",
    "WebSocket",
    "WebSocketClose",
    "WebSocketDisconnect",
    "WebSocketDisconnected",
    "WebSocketMessageTypeError",
    "WebSocketPayloadError",
    "WebSocketState",
]

_NOT_ACCEPTED = 'WebSocket is not connected. Need to call "accept" first.'
# In the scope: the subprotocol that `accept` answers with where it is given none.
SUBPROTOCOL = "trunkline.subprotocol"
_LOSS: Message = {"type": "websocket.disconnect", "code": 1006, "reason": ""}

# Compact and not ASCII-escaped; made once, because `json.dumps` makes an encoder per call for settings of one's own.
_encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _decode_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        # Nested too deeply, or a number of too many digits: what the client sent is no better than bad syntax.
        raise json.JSONDecodeError(str(error), text, 0) from None


def _check_mode(mode: str) -> None:
    if mode not in ("text", "binary"):
        raise RuntimeError('The "mode" argument should be "text" or "binary".')


def _check_text(data: object) -> None:
    if not isinstance(data, str):
        raise TypeError(
            f"a text message is a str, but got {type(data).__name__}; "
            "use send_bytes() for binary data, send_json() for anything else"
        )


def _check_bytes(data: object) -> None:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"a binary message is bytes, but got {type(data).__name__}; "
            "use send_text() for a str, send_json() for anything else"
        )


def _check_accept(subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Refuse what would break out of its header line, or is of another type than ASGI says."""
    if subprotocol is not None and any(c in subprotocol for c in "\r\n\0"):
        raise ValueError(f"a subprotocol is one token of RFC 9110, but got {subprotocol!r}")
    pairs = headers if isinstance(headers, list) else list(headers)
    for name, value in pairs:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(
                f"the headers of accept are pairs of bytes, but got ({name!r}, {value!r}); "
                'write for example headers=[(b"x-name", b"value")]'
            )
    check_headers(pairs)
    return pairs


def _close_info_of(message: Message) -> CloseInfo:
    """What the message that ended a connection says; servers leave out the code, or give a member of an enum.

    ASGI: the code of a close is 1000 by default; a disconnect without one came without a status (1005).
    """
    code = message.get("code")
    if code is None:
        code = 1005 if message["type"] == "websocket.disconnect" else 1000
    return CloseInfo(int(code), message.get("reason") or "")


class WebSocket(HTTPConnection[StateT], TypedMessages, Expellable):
    """One WebSocket connection, seen from the endpoint.

        @app.websocket("/echo")
        async def echo(websocket: WebSocket) -> None:
            await websocket.accept()
            async for message in websocket:
                await websocket.send_text(f"you said {message}")

    Sends and receives may be called from several tasks at once: they are served in order.

    Args:
        scope: The ASGI scope, of type `websocket`.
        receive: The server's `receive`.
        send: The server's `send`.

    Attributes:
        client_state: What the client has said of itself so far, as far as `receive` has returned it.
        application_state: What the application has said so far.
        message_settings: How typed messages are encoded, and what becomes of invalid ones: `MessageSettings`.
    """

    scope_types: ClassVar[tuple[str, ...]] = ("websocket",)

    _direct_receive: ClassVar[bool] = True
    _direct_send: ClassVar[bool] = True
    _inbox: Inbox | LineInbox | None = None
    _end: Message | None = None
    _line_in: Line | None = None
    _fast_in: Line | None = None
    _fast_out: Line | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._direct_receive = cls.receive is WebSocket.receive
        cls._direct_send = cls.send is WebSocket.send

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope)
        self._receive = receive
        self._send = send
        self._idle = True
        self._sending = Turn()
        self.client_state = CONNECTING
        self.application_state = CONNECTING
        if "extensions" in scope:
            line = line_of(scope)
            if line is not None and receive is line.receive:
                self._line_in = line

    @classmethod
    def of(cls, websocket: Any) -> Self:
        """This connection as ours, for an endpoint that was given another framework's `WebSocket`.

            @fastapi_app.websocket("/ws")
            async def endpoint(theirs: fastapi.WebSocket) -> None:
                websocket = trunkline.WebSocket.of(theirs)

        Use the returned one from then on: the other's states stand still.

        Args:
            websocket: Starlette's or FastAPI's `WebSocket`, accepted or not; or ours, which is returned as it is.

        Raises:
            TypeError: It is something else.
        """
        if isinstance(websocket, cls):
            return websocket
        try:
            ours = cls(websocket.scope, websocket._receive, websocket._send)
            ours.client_state = WebSocketState(websocket.client_state.value)
            ours.application_state = WebSocketState(websocket.application_state.value)
            if ours.application_state is CONNECTED:
                ours._take_the_line()
        except AttributeError as error:
            raise TypeError(
                f"expected Starlette's or FastAPI's WebSocket, but got {type(websocket).__name__} ({error}); "
                "elsewhere make one from ASGI: WebSocket(scope, receive, send)"
            ) from None
        return ours

    # The end

    @property
    def closed(self) -> bool:
        """Whether the end is known: our close, the client's, or the loss of the connection.

        On our engine it is known at once. On another server the client's end is known when it has been received, by
        `receive` or a variant of it, or while `wait_closed` or `tasks` is awaited.
        """
        return self._close_info is not None

    @property
    def line(self) -> Line | None:
        """The Line to write to past ASGI (`trunkline.line`); None without one, or where a middleware wraps `send`."""
        return self._fast_out

    async def wait_closed(self) -> CloseInfo:
        """Wait for the end of the connection; any number of tasks may. asyncio only.

        What the client sends meanwhile is kept for `receive`: 64 messages or 1 MiB at most (on our engine: its inbound
        bound), and beyond that the end is seen when they have been received.

        Returns:
            The code and the reason; our own code after our own close, 1006 for a lost connection.

        Raises:
            WebSocketDisconnected: The connection has not been accepted.
        """
        if self._fast_in is not None:
            return await self._fast_in.wait_closed()
        if self._close_info is None:
            await self._open_inbox().watch()
        return cast("CloseInfo", self._close_info)

    def tasks(self) -> ConnectionTasks:
        """A task group that ends with the connection. asyncio only.

            async with websocket.tasks() as tg:
                tg.create_task(send_ticks(websocket))
                async for message in websocket:
                    ...

        When the client leaves, the tasks and the body are cancelled, and `WebSocketDisconnect` leaves the block. After
        a clean close with unread messages, tasks that receive get those first (for 5 s at most). Other errors of the
        tasks or the body leave as an `ExceptionGroup`, as from `asyncio.TaskGroup`. The end of the body waits for the
        tasks; our own `close` cancels nothing.

        Returns:
            A context manager whose value has `create_task`.

        Raises:
            WebSocketDisconnected: On entering: the connection has not been accepted.
        """
        return ConnectionTasks(self)

    # What `tasks` needs.

    @property
    def _close_info(self) -> CloseInfo | None:
        """How the connection ended, or None while it is open."""
        end = self._end
        if end is None:
            return None if self._line_in is None else self._line_in.closed
        return _close_info_of(end)

    @property
    def _closed_by_us(self) -> bool:
        """Whether it was our own close that ended it."""
        return self._end is not None and self._end["type"] != "websocket.disconnect"

    def _open_inbox(self) -> Inbox | LineInbox:
        """The inbox, from now on the only way to receive. For `tasks` and `wait_closed`.

        Raises:
            WebSocketDisconnected: The connection has not been accepted.
        """
        if self.application_state is not CONNECTED and self._close_info is None:
            raise WebSocketDisconnected(_NOT_ACCEPTED)
        return self._inbox or self._make_inbox()

    def _make_inbox(self) -> Inbox | LineInbox:
        if self._line_in is not None:
            self._inbox = LineInbox(self._line_in)
        else:
            self._inbox = Inbox(self._receive, self._ended, reading=not self._idle)
        self._idle = False
        self._fast_in = None
        return self._inbox

    def _take_the_line(self) -> None:
        """Accepted: from now on data goes past ASGI, in each direction that nobody has wrapped."""
        line = line_of(self.scope)
        if line is None:
            return
        if self._line_in is not None and self._direct_receive and self._inbox is None:
            self._fast_in = line
        if self._send is line.send and self._direct_send:
            self._fast_out = line

    def _ended(self, message: Message) -> None:
        """The end has become known: to `closed` at once, and to those who wait for it."""
        self._fast_in = self._fast_out = None
        if self._end is None:
            known = None if self._line_in is None else self._line_in.closed
            self._end = message if known is None else {"type": "websocket.disconnect", **known._asdict()}
        if self._inbox is not None:
            self._inbox.wake()

    def _lost(self) -> WebSocketDisconnect:
        """The server's `send` has said that the peer is gone."""
        self.application_state = DISCONNECTED
        self._ended(_LOSS)
        return WebSocketDisconnect(*self._expelled or (_LOSS["code"],))

    # ASGI messages

    async def receive(self) -> Message:
        """The next ASGI message, whose order is checked.

        Returns:
            `websocket.connect` first, then `websocket.receive`, at last `websocket.disconnect`.

        Raises:
            RuntimeError: The server sent a message that is not allowed in this state.
            WebSocketDisconnected: The disconnect message has been received before.
        """
        if self.client_state is DISCONNECTED:
            check_may_receive(self.client_state)
        if self._idle:
            self._idle = False
            try:
                message = await self._receive()
            finally:
                if self._inbox is None:
                    self._idle = True
                else:
                    self._inbox.rest()
        else:
            message = await (self._inbox or self._make_inbox()).next()
            if self.client_state is DISCONNECTED:
                # Another receiver, which waited before this one, has got it first.
                return message
        self._receive_moved(message)
        return message

    def _receive_moved(self, message: Message) -> None:
        if self.client_state is DISCONNECTED and self._expelled is not None:
            return  # this one was inside the server's `receive` when another learned that we closed
        self.client_state = next_client_state(self.client_state, message)
        if self.client_state is DISCONNECTED:
            self._ended(message)
            if self._inbox is not None:
                self._inbox.ended(message)

    async def send(self, message: Message) -> None:
        """Send an ASGI message, whose order is checked.

        Args:
            message: `websocket.accept`, `websocket.close` or `websocket.http.response.start` first; then
                `websocket.send` and `websocket.close`, or `websocket.http.response.body`.

        Raises:
            RuntimeError: The message is not allowed in this state.
            WebSocketDisconnected: A close has been sent before, or the connection was found lost.
            WebSocketDisconnect: The client is gone (1006).
        """
        turn = self._sending
        if turn.taken:
            await turn.wait()
        turn.taken = True
        try:
            await self.send_in_turn(message)
        finally:
            turn.give_back()

    async def send_in_turn(self, message: Message) -> None:
        """As `send`, for whoever holds the turn of `sending`.

        Args:
            message: As of `send`.

        Raises:
            RuntimeError: The message is not allowed in this state.
            WebSocketDisconnected: A close has been sent before, or the connection was found lost.
            WebSocketDisconnect: The client is gone (1006).
        """
        state = self.application_state
        if state is DISCONNECTED and self._expelled is not None:
            raise WebSocketDisconnect(*self._expelled)
        self.application_state = next_application_state(state, message)
        if self.application_state is DISCONNECTED:
            self._ended(message)
        try:
            await self._send(message)
        except OSError as error:
            if state is not CONNECTED:
                raise
            raise self._lost() from error
        if state is CONNECTING and "extensions" in self.scope and self.application_state is CONNECTED:
            self._take_the_line()

    @property
    def sending(self) -> Turn | None:
        """The turn that every send takes, for those who send several messages that nothing is to overtake.

        None where a subclass has a `send` of its own, which is to be asked for each.
        """
        return self._sending if self._direct_send else None

    # Opening and closing

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Complete the handshake; waits for the connect message if it has not come yet.

        Args:
            subprotocol: One of `scope["subprotocols"]` (RFC 6455 section 1.9), or None; left out, it is agreed upon
                where `message_settings` or a `SubprotocolToken` name some.
            headers: More headers for the answer to the handshake, names in lower case.

        Raises:
            ValueError: A header or the subprotocol holds a line break or a NUL.
            TypeError: A header is not a pair of bytes.
        """
        if subprotocol is None:
            subprotocol = self.scope.get(SUBPROTOCOL)
        if self.message_settings.subprotocols:
            subprotocol = self._agree_on(subprotocol)
        pairs = _check_accept(subprotocol, headers or []) if headers or subprotocol else []
        if self._expelled is not None:
            raise WebSocketDisconnect(*self._expelled)
        if self.client_state is CONNECTING:
            await self.receive()
        await self.send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": pairs})

    def _agree_on(self, subprotocol: str | None) -> str | None:
        settings = self.message_settings
        agreed = subprotocol or settings.agree(self.scope.get("subprotocols") or [])
        self.message_settings = settings.speaking(agreed)
        return agreed

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection; before `accept`, refuse the handshake (HTTP 403 on the wire).

        Args:
            code: A close code that may be sent (RFC 6455 section 7.4): 1000-1003, 1007-1014, 3000-4999. Before
                `accept` it can be any, because none is sent.
            reason: Text for the client, cut to 123 bytes of UTF-8 at a character.

        Raises:
            ValueError: The code may not be sent.
            WebSocketDisconnected: It has been closed before.
        """
        if self.application_state is not CONNECTING:
            check_close_code(code)
        await self.send({"type": "websocket.close", "code": code, "reason": cut_reason(reason) if reason else ""})

    async def send_denial_response(self, response: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        """Answer the handshake with an HTTP response, instead of `accept` or `close`.

        Args:
            response: A `Response`, or any ASGI application that answers this scope.

        Raises:
            RuntimeError: The server lacks the `websocket.http.response` extension of ASGI.
        """
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            raise RuntimeError("The server doesn't support the Websocket Denial Response extension.")
        await response(self.scope, self.receive, self.send)

    # Receiving

    async def receive_text(self) -> str:
        """The next message, which must be a text message.

        Raises:
            WebSocketDisconnect: The client has closed, or is gone.
            WebSocketMessageTypeError: The message is binary.
            WebSocketDisconnected: The connection has not been accepted, or has ended.
        """
        line = self._fast_in
        if line is not None:
            taken = line.take()
            if taken is None:
                await line.arrival()
                taken = line.take()
            return taken if type(taken) is str else self._not_text(line, taken)
        if (
            self._idle
            and self.client_state is CONNECTED
            and self.application_state is CONNECTED
            and self._direct_receive
        ):
            self._idle = False
            try:
                message = await self._receive()
            finally:
                if self._inbox is None:
                    self._idle = True
                else:
                    self._inbox.rest()
            if message["type"] == "websocket.receive":
                text: str | None = message.get("text")
                if text is not None:
                    return text
            self._receive_moved(message)
        else:
            message = await self._receive_data()
        return cast("str", self._content(message, "text", "bytes"))

    async def receive_bytes(self) -> bytes:
        """The next message, which must be a binary message.

        Raises:
            WebSocketDisconnect: The client has closed, or is gone.
            WebSocketMessageTypeError: The message is text.
            WebSocketDisconnected: The connection has not been accepted, or has ended.
        """
        line = self._fast_in
        if line is not None:
            taken = line.take()
            if taken is None:
                await line.arrival()
                taken = line.take()
            return taken if type(taken) is bytes else self._not_bytes(line, taken)
        if (
            self._idle
            and self.client_state is CONNECTED
            and self.application_state is CONNECTED
            and self._direct_receive
        ):
            self._idle = False
            try:
                message = await self._receive()
            finally:
                if self._inbox is None:
                    self._idle = True
                else:
                    self._inbox.rest()
            if message["type"] == "websocket.receive":
                data: bytes | None = message.get("bytes")
                if data is not None:
                    return data
            self._receive_moved(message)
        else:
            message = await self._receive_data()
        return cast("bytes", self._content(message, "bytes", "text"))

    async def receive_json(self, mode: str = "text") -> Any:
        """The next message, parsed as JSON.

        Args:
            mode: Whether a `"text"` or a `"binary"` message (UTF-8) is expected.

        Raises:
            json.JSONDecodeError: The message is not JSON. Not caught, it closes with 1007.
            WebSocketPayloadError: A binary message is not UTF-8. Not caught, it closes with 1007.
            RuntimeError: The mode is another one.
        """
        _check_mode(mode)
        if mode == "text":
            return _decode_json(await self.receive_text())
        data = await self.receive_bytes()
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise WebSocketPayloadError(*error.args) from None
        return _decode_json(text)

    async def _receive_data(self) -> Message:
        if self.application_state is not CONNECTED and self._expelled is None:
            raise WebSocketDisconnected(_NOT_ACCEPTED)
        return await self.receive()

    def _not_text(self, line: Line, taken: str | bytes | None) -> NoReturn:
        self._end_of_line(line, taken)
        raise WebSocketMessageTypeError("text", "bytes")

    def _not_bytes(self, line: Line, taken: str | bytes | None) -> NoReturn:
        self._end_of_line(line, taken)
        raise WebSocketMessageTypeError("bytes", "text")

    def _end_of_line(self, line: Line, taken: str | bytes | None) -> None:
        """Where the Line has given None, the client has been heard to the end."""
        if taken is None:
            end = cast("CloseInfo", line.closed)
            if self.client_state is CONNECTED:
                self._receive_moved({"type": "websocket.disconnect", "code": end.code, "reason": end.reason})
            raise WebSocketDisconnect(*end)

    def _content(self, message: Message, wanted: str, other: str) -> str | bytes:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(*_close_info_of(message))
        content: str | bytes | None = message.get(wanted)
        if content is None:
            raise WebSocketMessageTypeError(wanted, "nothing" if message.get(other) is None else other)
        return content

    async def _receive_any(self) -> str | bytes:
        """The next message, text or binary."""
        line = self._fast_in
        if line is None:
            message = await self._receive_data()
            return self._content(message, *(("text", "bytes") if message.get("bytes") is None else ("bytes", "text")))
        taken = line.take()
        if taken is None:
            await line.arrival()
            taken = line.take()
        self._end_of_line(line, taken)
        return cast("str | bytes", taken)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        try:
            while True:
                yield await self._receive_any()
        except WebSocketDisconnect:
            pass

    async def iter_text(self) -> AsyncIterator[str]:
        """Text messages until the client leaves, which ends the iteration quietly."""
        try:
            while True:
                yield await self.receive_text()
        except WebSocketDisconnect:
            pass

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Binary messages until the client leaves, which ends the iteration quietly."""
        try:
            while True:
                yield await self.receive_bytes()
        except WebSocketDisconnect:
            pass

    async def iter_json(self) -> AsyncIterator[Any]:
        """Text messages, parsed as JSON, until the client leaves, which ends the iteration quietly."""
        try:
            while True:
                yield await self.receive_json()
        except WebSocketDisconnect:
            pass

    # Sending

    async def send_text(self, data: str) -> None:
        """Send a text message. Waits while the server's buffer for this client is full.

        Args:
            data: The text.

        Raises:
            WebSocketDisconnect: The client is gone (1006).
            WebSocketDisconnected: The connection has been closed.
            RuntimeError: It has not been accepted.
            TypeError: The data is not a str.
        """
        if type(data) is not str:
            _check_text(data)
        line = self._fast_out
        if line is None or self._sending.taken or not line.write_text(data):
            await self._send_data({"type": "websocket.send", "text": data})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message. Waits while the server's buffer for this client is full.

        Args:
            data: The bytes; a bytearray or memoryview too.

        Raises:
            WebSocketDisconnect: The client is gone (1006).
            WebSocketDisconnected: The connection has been closed.
            RuntimeError: It has not been accepted.
            TypeError: The data is not bytes.
        """
        if type(data) is not bytes:
            _check_bytes(data)
        line = self._fast_out
        if line is None or self._sending.taken or not line.write_bytes(data):
            await self._send_data({"type": "websocket.send", "bytes": data})

    async def send_json(self, data: Any, mode: str = "text") -> None:
        """Send a value as compact JSON, not ASCII-escaped.

        Args:
            data: What `json.dumps` takes.
            mode: Whether to send a `"text"` or a `"binary"` message (UTF-8).

        Raises:
            TypeError: The value cannot be written as JSON.
            RuntimeError: The mode is another one, or the connection has not been accepted.
            WebSocketDisconnect: The client is gone (1006).
            WebSocketDisconnected: The connection has been closed.
        """
        _check_mode(mode)
        text = _encode_json(data)
        line = None if self._sending.taken else self._fast_out
        if mode == "text":
            if line is None or not line.write_text(text):
                await self._send_data({"type": "websocket.send", "text": text})
        else:
            encoded = text.encode()
            if line is None or not line.write_bytes(encoded):
                await self._send_data({"type": "websocket.send", "bytes": encoded})

    async def _send_data(self, message: Message) -> None:
        """Hand one `websocket.send` to the server, straight when nothing is in the way."""
        turn = self._sending
        if turn.taken or self.application_state is not CONNECTED or not self._direct_send:
            await self.send(message)
            return
        turn.taken = True
        try:
            await self._send(message)
        except OSError as error:
            raise self._lost() from error
        finally:
            turn.give_back()

    async def try_send_text(self, data: str) -> bool:
        """Send a text message if the connection is open, like `send_text`, waiting as it does.

        Args:
            data: The text.

        Returns:
            True when the message was handed to the server, False when either side has closed or the client is gone.

        Raises:
            RuntimeError: The connection has not been accepted.
            TypeError: The data is not a str.
        """
        _check_text(data)
        return await self._try(self.send_text, data)

    async def try_send_bytes(self, data: bytes) -> bool:
        """Send a binary message if the connection is open, like `send_bytes`, waiting as it does.

        Args:
            data: The bytes.

        Returns:
            True when the message was handed to the server, False when either side has closed or the client is gone.

        Raises:
            RuntimeError: The connection has not been accepted.
            TypeError: The data is not bytes.
        """
        _check_bytes(data)
        return await self._try(self.send_bytes, data)

    async def try_send_json(self, data: Any, mode: str = "text") -> bool:
        """Send a value as JSON if the connection is open, like `send_json`, waiting as it does.

        Args:
            data: What `json.dumps` takes.
            mode: Whether to send a `"text"` or a `"binary"` message (UTF-8).

        Returns:
            True when the message was handed to the server, False when either side has closed or the client is gone.

        Raises:
            TypeError: The value cannot be written as JSON.
            RuntimeError: The mode is another one, or the connection has not been accepted.
        """
        _check_mode(mode)
        text = _encode_json(data)
        if mode == "text":
            return await self._try(self.send_text, text)
        return await self._try(self.send_bytes, text.encode())

    async def _try(self, send: Callable[[Any], Awaitable[None]], data: str | bytes) -> bool:
        if self.closed:
            return False
        try:
            await send(data)
        except (WebSocketDisconnect, WebSocketDisconnected):
            return False
        return True


class WebSocketClose:
    """An ASGI application that refuses a WebSocket, or closes an accepted one.

    Args:
        code: A close code that may be sent (RFC 6455 section 7.4).
        reason: Text for the client, cut to 123 bytes of UTF-8 at a character.

    Raises:
        ValueError: The code may not be sent.
    """

    def __init__(self, code: int = 1000, reason: str | None = None) -> None:
        check_close_code(code)
        self.code = code
        self.reason = cut_reason(reason or "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": self.code, "reason": self.reason})
