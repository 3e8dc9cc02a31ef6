"""The client's end of a WebSocket in an asynchronous test, and what stands between it and the application.

The application runs as a task beside the test, and is checked as a strict server checks it. What is true at all times:

- One value, `_end`, says how the connection ended, whoever ended it; it is set once. From then on the application
  receives the disconnect (after the messages that came before it), and the test gets `WebSocketDisconnect` (after the
  messages that the application had sent). Once the peer has left, or the application has returned, the
  application's sends raise `OSError` (`_gone`).
- An application that ends ends the connection. So every wait ends: by a message, by the end, or by the timeout.
- Nothing depends on time but the timeouts, and those only end tests that fail anyway.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trunkline._testrules import checked
from trunkline._testscope import is_disconnect, payload
from trunkline.datastructures import Headers
from trunkline.states import (
    CONNECTED,
    CONNECTING,
    DISCONNECTED,
    CloseInfo,
    WebSocketDisconnect,
    WebSocketState,
    next_application_state,
)
from trunkline.status import check_close_code, cut_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from trunkline._testscope import ASGI3App
    from trunkline.types import Message

# Messages that one side may be ahead of the other; then its send waits, as on a socket whose buffers are full.
WINDOW = 1024

_LOST = CloseInfo(1006, "")
_NO_STATUS = 1005


class WebSocketDenied(WebSocketDisconnect):
    """Raised by `connect` when the application refuses the handshake.

    Attributes:
        status: The HTTP status of the answer; 403 for a close before accept, as ASGI says.
        headers: The headers of a denial response.
        body: The body of a denial response.
        code: The code of a close before accept; 1006 for a denial response.
        reason: The reason of a close before accept.
    """

    def __init__(
        self, status: int, headers: Headers | None = None, body: bytes = b"", *, code: int = 1006, reason: str = ""
    ) -> None:
        super().__init__(code, reason)
        self.status = status
        self.headers = Headers() if headers is None else headers
        self.body = body

    def __str__(self) -> str:
        return f"WebSocket handshake refused with HTTP status {self.status}; {super().__str__()}"


class _PeerGone(OSError):
    """Raised by the application's `send` when the connection has ended (ASGI specs/www.rst, spec version 2.4)."""


class Peer:
    """The client's end of a connection; made by `connect`, used with `async with`.

    Entering waits for the answer to the handshake. Leaving closes with 1000 unless the connection has ended, waits for
    the application to end, and raises the exception that it ended with. A disconnect that leaves the application
    after the connection has ended is a normal end.

    Every wait is limited by the timeout of `connect`; `TimeoutError` then says what was waited for, and what the
    application was doing.

    Attributes:
        accepted_subprotocol: The subprotocol that the application chose, or None.
        headers: The headers that it sent with its accept.
        scope: The scope that it got.
    """

    def __init__(self, app: ASGI3App, scope: dict[str, Any], timeout: float) -> None:
        self.scope = scope
        self.accepted_subprotocol: str | None = None
        self.headers = Headers()
        self._app = app
        self._timeout = timeout
        self._to_app: deque[Message] = deque([{"type": "websocket.connect"}])
        self._to_test: deque[Message] = deque()
        self._state = CONNECTING
        self._accepted = False
        self._refusal: WebSocketDenied | None = None
        self._end: CloseInfo | None = None
        self._gone = False
        self._stalled = False
        self._ended_by_itself = False
        self._waiting = {"receive": 0, "send": 0}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"application at {self.scope['path']}")
        self._task.add_done_callback(self._application_ended)
        try:
            await self._wait(lambda: self._accepted or self._end is not None, "answer to the handshake")
            if not self._accepted:
                raise self._no_accept()
        except BaseException as exc:
            await self._leave(exc)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave(exc)

    @property
    def close_code(self) -> int | None:
        """The close code of the connection (1006 if it was lost); None while it is open."""
        return None if self._end is None else self._end.code

    @property
    def close_reason(self) -> str | None:
        """The close reason; None while the connection is open."""
        return None if self._end is None else self._end.reason

    async def send_text(self, data: str) -> None:
        """Send a text message.

        Raises:
            WebSocketDisconnect: The connection has ended.
            TimeoutError: The application leaves 1024 messages unread.
        """
        await self._send({"type": "websocket.receive", "text": data})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message; raises as `send_text` does."""
        await self._send({"type": "websocket.receive", "bytes": data})

    async def send_json(self, data: Any, mode: Literal["text", "binary"] = "text") -> None:
        """Send data as JSON, in a text message or, with mode "binary", as UTF-8 in a binary one."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        await (self.send_text(text) if mode == "text" else self.send_bytes(text.encode()))

    async def receive(self) -> str | bytes:
        """The next message, text as `str` and binary as `bytes`.

        Raises:
            WebSocketDisconnect: The connection has ended and every message before the end has been received. If the
                application failed, its exception is the cause.
            TimeoutError: No message came in time.
        """
        message = await self._receive("message")
        data: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
        return data

    async def receive_text(self) -> str:
        """The next message, which must be a text message.

        Raises:
            KeyError: It is a binary one.
            WebSocketDisconnect: As `receive`.
            TimeoutError: As `receive`.
        """
        text: str = payload(await self._receive("text message"), "text")
        return text

    async def receive_bytes(self) -> bytes:
        """The next message, which must be a binary message; raises as `receive_text` does."""
        data: bytes = payload(await self._receive("binary message"), "bytes")
        return data

    async def receive_json(self, mode: Literal["text", "binary"] = "text") -> Any:
        """The next message, decoded from JSON; a text message, or a binary one with mode "binary"."""
        return json.loads(await (self.receive_text() if mode == "text" else self.receive_bytes()))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        """The next message; the iteration ends quietly when the connection does."""
        try:
            return await self.receive()
        except WebSocketDisconnect:
            raise StopAsyncIteration from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close from the client's side. What the application had sent before can still be received.

        Args:
            code: A close code that may be sent (RFC 6455 section 7.4), or 1005 for a close frame without one.
            reason: The reason, cut to 123 bytes of UTF-8.
        """
        if code != _NO_STATUS:
            check_close_code(code)
        self._hang_up(CloseInfo(code, cut_reason(reason)))

    def drop(self) -> None:
        """Vanish without a close frame: the application receives the disconnect 1006, and its sends raise OSError."""
        self._hang_up(_LOST)

    def stall(self) -> None:
        """Stop reading: the application's next `send` waits until `resume()` or the end."""
        self._stalled = True

    def resume(self) -> None:
        """Read again."""
        self._stalled = False
        self._notify()

    async def wait_blocked(self) -> None:
        """Wait until the application waits in `send`, because the peer is stalled or 1024 messages are unread.

        Raises:
            WebSocketDisconnect: The connection has ended.
            TimeoutError: The application did not send in time.
        """
        await self._wait(lambda: self._waiting["send"] > 0 or self._end is not None, "send that has to wait")
        if self._end is not None:
            raise self._disconnect()

    # The application's side.

    async def _run(self) -> None:
        await self._app(self.scope, self._app_receive, self._app_send)

    async def _app_receive(self) -> Message:
        with self._counted("receive"):
            await self._until(lambda: bool(self._to_app) or self._end is not None)
        if self._to_app:
            message = self._to_app.popleft()
            self._notify()
            return message
        # The disconnect is told again to whoever asks again; the turn keeps a loop that ignores it cancellable.
        await asyncio.sleep(0)
        code, reason = self._end or _LOST
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def _app_send(self, message: Message) -> None:
        next_application_state(self._state, message)
        message = checked(message, self._state, self.scope["subprotocols"])
        with self._counted("send"):
            await self._until(lambda: self._gone or not self._blocked())
        if self._gone:
            raise _PeerGone(f"cannot send {message['type']}: the connection has ended with {self.close_code}")
        before, self._state = self._state, next_application_state(self._state, message)
        self._take(before, message)
        self._notify()

    def _take(self, before: WebSocketState, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                self._accepted = True
                self.accepted_subprotocol = message.get("subprotocol")
                self.headers = Headers(raw=message["headers"])
            case "websocket.send":
                self._to_test.append(message)
            case "websocket.close" if before is CONNECTED:
                self._end = CloseInfo(message.get("code", 1000), message.get("reason") or "")
            case "websocket.close":
                self._refusal = WebSocketDenied(403, code=message.get("code", 1000), reason=message.get("reason") or "")
                self._end = _LOST
            case "websocket.http.response.start":
                self._refusal = WebSocketDenied(message["status"], Headers(raw=message["headers"]))
            case _:  # a body: the table of states lets nothing else through
                assert self._refusal is not None
                self._refusal.body += message.get("body", b"")
                if self._state is DISCONNECTED:
                    self._end = _LOST

    def _application_ended(self, task: asyncio.Task[None]) -> None:
        if self._end is None:
            self._end = _LOST
            self._ended_by_itself = True
        self._gone = True
        self._notify()

    # The test's side.

    async def _send(self, message: Message) -> None:
        await self._wait(lambda: len(self._to_app) < WINDOW or self._end is not None, "room for another message")
        if self._end is not None:
            raise self._disconnect() from self._failure()
        self._to_app.append(message)
        self._notify()

    async def _receive(self, what: str) -> Message:
        await self._wait(lambda: bool(self._to_test) or self._end is not None, what)
        if not self._to_test:
            raise self._disconnect() from self._failure()
        message = self._to_test.popleft()
        self._notify()
        return message

    def _disconnect(self) -> WebSocketDisconnect:
        return WebSocketDisconnect(*(self._end or _LOST))

    def _no_accept(self) -> BaseException:
        if self._refusal is not None:
            return self._refusal
        return self._failure() or RuntimeError(
            'The application ended without an answer to the handshake: expected "websocket.accept", '
            '"websocket.close" or a denial response.'
        )

    def _hang_up(self, end: CloseInfo) -> None:
        if self._end is None:
            self._end = end
        self._gone = True
        self._notify()

    # The end.

    async def _leave(self, exc: BaseException | None) -> None:
        """End the connection and the application, and raise what the test has to know of it."""
        self._hang_up(CloseInfo(1000, ""))
        overdue = await self._end_application(0 if isinstance(exc, asyncio.CancelledError) else self._timeout)
        error = self._failure()
        if error is exc or (error is not None and self._is_normal_end(error)):
            error = None
        if overdue is not None and (reported := error or exc) is not None:
            reported.add_note(overdue)
        if error is not None and (exc is None or isinstance(exc, WebSocketDisconnect)):
            _raise_unchanged(error)
        if overdue is not None and exc is None:
            raise TimeoutError(overdue)
        if error is not None and exc is not None and exc.__cause__ is None:
            exc.__cause__ = error

    async def _end_application(self, patience: float) -> str | None:
        """Wait for the application to end, else cancel it; what to say if that was needed."""
        overdue = None
        try:
            await asyncio.wait({self._task}, timeout=patience)
        finally:
            if not self._task.done():
                overdue = (
                    f"the application did not end within {patience:g} s of the end of the connection: "
                    f"{self._doing()}; it was cancelled"
                )
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=self._timeout)
        return overdue if self._task.done() else f"{overdue}, but it goes on"

    def _failure(self) -> BaseException | None:
        """The exception that the application ended with; None if it runs, has returned, or was cancelled."""
        if not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def _is_normal_end(self, error: BaseException) -> bool:
        if self._ended_by_itself:
            return False
        if isinstance(error, BaseExceptionGroup):
            return all(self._is_normal_end(each) for each in error.exceptions)
        return is_disconnect(error) or isinstance(error, _PeerGone)

    # Waiting.

    def _notify(self) -> None:
        """Wake everyone who waits; each looks for itself whether it concerns them."""
        self._changed.set()
        self._changed.clear()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            await self._changed.wait()

    async def _wait(self, ready: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._until(ready)
        except TimeoutError:
            raise TimeoutError(f"no {what} from the application within {self._timeout:g} s; {self._doing()}") from None

    def _blocked(self) -> bool:
        return self._stalled or len(self._to_test) >= WINDOW

    @contextmanager
    def _counted(self, name: Literal["receive", "send"]) -> Iterator[None]:
        self._waiting[name] += 1
        self._notify()
        try:
            yield
        finally:
            self._waiting[name] -= 1

    def _doing(self) -> str:
        """What the application does, as far as can be seen from outside."""
        if self._waiting["send"]:
            why = "the peer is stalled" if self._stalled else f"the test has {WINDOW} messages unread"
            return f"it is waiting in send, because {why}"
        if self._waiting["receive"]:
            return "it is waiting in receive"
        return f"it is waiting at {waiting_at(self._task)}"


def _raise_unchanged(error: BaseException) -> None:
    """Raise an exception with the context it has: what the test was doing is not what it came from."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context


def waiting_at(task: asyncio.Task[Any]) -> str:
    """Where a task is suspended: the innermost three of its calls, outermost first."""
    calls = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        calls.append(f"{frame.f_code.co_name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})")
        awaited = awaited.cr_await
    return " > ".join(calls[-3:])
