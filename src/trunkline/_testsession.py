"""The client's end of a WebSocket in a synchronous test.

A session owns the task of its application, which runs in an event loop of another thread; a *portal* of anyio leads
there. Two streams lie between them, one for each direction. The stream towards the test ends when the application
ends, so whoever waits for a message of an application that has ended is told so and never waits for ever.
"""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.lowlevel
import httpx2

from trunkline._testscope import is_disconnect, payload
from trunkline.states import CloseInfo, WebSocketDisconnect
from trunkline.types import Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from anyio.abc import TaskStatus
    from anyio.from_thread import BlockingPortal

    from trunkline.types import ASGIApp

    PortalFactory = Callable[[], AbstractContextManager[BlockingPortal]]

# An application that has been told of the disconnect gets this many seconds to clean up before it is cancelled.
_GRACE = 1.0

# One that is about to ask for the next message finds the disconnect within these turns of its loop.
_TURNS = 50


class WebSocketDenialResponse(httpx2.Response, WebSocketDisconnect):  # type: ignore[misc]
    """Raised when the application answers a handshake with an HTTP response: the response, and a disconnect at once.

    Its `code` is 1006, because no close frame was exchanged (RFC 6455 section 7.1.5), its `reason` the phrase of the
    status.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.code = 1006
        self.reason = self.reason_phrase

    def __str__(self) -> str:
        return f"WebSocket handshake refused: {self.status_code} {self.reason_phrase}".rstrip()


class WebSocketTestSession:
    """The client's end of a WebSocket; made by `TestClient.websocket_connect`, used as a context manager.

    Entering opens the connection. Leaving closes it with 1000, lets an application that hears of it end by itself
    (1 s at most), cancels any other, and raises the exception that the application ended with.

    Attributes:
        accepted_subprotocol: The subprotocol that the application chose, or None.
        extra_headers: The headers that it sent with its accept.
        scope: The scope that it got.

    Args:
        app: An ASGI 3 application.
        scope: The scope of the connection.
        portal_factory: Gives the way into the loop that the application runs in.
    """

    def __init__(self, app: ASGIApp, scope: dict[str, Any], portal_factory: PortalFactory) -> None:
        self.app = app
        self.scope = scope
        self.portal_factory = portal_factory
        self.accepted_subprotocol: str | None = None
        self.extra_headers: list[tuple[bytes, bytes]] | None = None
        self._end: CloseInfo | None = None
        self._closed_by_test: CloseInfo | None = None
        self._answered = False
        self._told = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._to_app, self._inbox = anyio.create_memory_object_stream[Message](math.inf)
            self._outbox, self._to_test = anyio.create_memory_object_stream[Message](math.inf)
            self.portal = stack.enter_context(self.portal_factory())
            self._task, self._cancel_scope = self.portal.start_task(self._run)
            stack.push(self._leave)
            self.send({"type": "websocket.connect"})
            self._handshake()
            self.exit_stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: Any) -> bool | None:
        return self.exit_stack.__exit__(*exc_info)

    def send(self, message: Message) -> None:
        """Hand the application an ASGI message."""
        self.portal.call(self._to_app.send, message)

    def send_text(self, data: str) -> None:
        """Send a text message."""
        self.send({"type": "websocket.receive", "text": data})

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self.send({"type": "websocket.receive", "bytes": data})

    def send_json(self, data: Any, mode: Literal["text", "binary"] = "text") -> None:
        """Send data as JSON, in a text message or, with mode "binary", as UTF-8 in a binary one."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        if mode == "text":
            self.send_text(text)
        else:
            self.send_bytes(text.encode())

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close from the client's side: the application receives the disconnect.

        Args:
            code: The close code (RFC 6455 section 7.4).
            reason: The reason.
        """
        self._closed_by_test = CloseInfo(code, reason or "")
        self.send({"type": "websocket.disconnect", "code": code, "reason": reason})

    def receive(self) -> Message:
        """The next ASGI message of the application, as it was sent; waits for it as long as the application runs.

        Raises:
            WebSocketDisconnect: A close was received before, or the application has ended: with the code of the
                test's own close, or 1006, and with the exception of the application as its cause.
        """
        if self._end is not None:
            raise WebSocketDisconnect(*self._end)
        try:
            message = self.portal.call(self._to_test.receive)
        except anyio.EndOfStream:
            raise self._application_ended() from self._task.exception()
        self._answered = True
        if message["type"] == "websocket.close":
            self._end = CloseInfo(message.get("code", 1000), message.get("reason") or "")
        return message

    def receive_text(self) -> str:
        """The next text message.

        Raises:
            WebSocketDisconnect: The connection has ended.
            KeyError: Another message came; its text says which.
        """
        text: str = payload(self._receive_data(), "text")
        return text

    def receive_bytes(self) -> bytes:
        """The next binary message; raises as `receive_text` does."""
        data: bytes = payload(self._receive_data(), "bytes")
        return data

    def receive_json(self, mode: Literal["text", "binary"] = "text") -> Any:
        """The next message, decoded from JSON; a text message, or a binary one with mode "binary"."""
        return json.loads(self.receive_text() if mode == "text" else self.receive_bytes())

    def _handshake(self) -> None:
        message = self._receive_data()
        self.accepted_subprotocol = message.get("subprotocol")
        self.extra_headers = message.get("headers")

    def _application_ended(self) -> Exception:
        if self._answered:
            return WebSocketDisconnect(*(self._closed_by_test or CloseInfo(1006, "")))
        return RuntimeError(
            'The application ended without an answer to the handshake: expected "websocket.accept", '
            '"websocket.close" or a denial response.'
        )

    def _receive_data(self) -> Message:
        message = self.receive()
        if self._end is not None:
            raise WebSocketDisconnect(*self._end)
        if message["type"] == "websocket.http.response.start":
            raise self._denial(message)
        return message

    def _denial(self, start: Message) -> WebSocketDenialResponse:
        chunks: list[bytes] = []
        more = True
        while more:
            message = self.receive()
            assert message["type"] == "websocket.http.response.body", (
                f'Expected ASGI message "websocket.http.response.body", but got {message["type"]!r}'
            )
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        return WebSocketDenialResponse(
            status_code=start["status"], headers=start.get("headers", []), content=b"".join(chunks)
        )

    async def _run(self, *, task_status: TaskStatus[anyio.CancelScope]) -> None:
        with self._outbox, anyio.CancelScope() as cancel_scope:
            self._ended = anyio.Event()
            task_status.started(cancel_scope)
            try:
                await self.app(self.scope, self._app_receive, self._outbox.send)
            finally:
                self._ended.set()

    async def _app_receive(self) -> Message:
        message = await self._inbox.receive()
        self._told = self._told or message["type"] == "websocket.disconnect"
        return message

    async def _finish(self) -> None:
        for _ in range(_TURNS):
            if self._told or self._ended.is_set():
                break
            await anyio.lowlevel.checkpoint()
        if self._told:
            with anyio.move_on_after(_GRACE):
                await self._ended.wait()
        self._cancel_scope.cancel()
        await self._ended.wait()
        for stream in (self._to_app, self._inbox, self._to_test):
            stream.close()

    def _leave(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(1000)
        self.portal.call(self._finish)
        error = self._task.exception()
        # The disconnect that answers our own close must not hide why the test left.
        hides = is_disconnect(error) and exc is not None and not isinstance(exc, WebSocketDisconnect)
        if error is not None and not hides:
            raise error
