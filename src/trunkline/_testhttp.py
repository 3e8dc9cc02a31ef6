"""One HTTP request and its response, between a test's thread and the loop that the application runs in.

A chunk of the body is handed over when the test asks for it and not before: `send` waits until then. So a streaming
response is paced by its reader, as a socket with a full buffer paces it, and a test can look between two chunks.

The response is *complete* when the test has taken its last chunk (or the application has sent the last trailers). From
then on the application may work on for as long as it likes, and closing waits for it; before that, closing means that
the client has gone away, and the application is cancelled.
"""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import anyio
import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from contextlib import ExitStack

    from anyio.from_thread import BlockingPortal

    from trunkline.types import ASGIApp, Message, Scope


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


class Exchange:
    """The application's side: what its `receive` and `send` do. Lives in the loop, and is made there."""

    def __init__(self, app: ASGIApp, scope: Scope, body: bytes) -> None:
        self.head: Message | None = None
        self.trailers: list[tuple[bytes, bytes]] = []
        self.debug: dict[str, Any] | None = None
        self.answered = anyio.Event()
        self.complete = anyio.Event()
        self.cancel_scope = anyio.CancelScope()
        self._app = app
        self._scope = scope
        self._request: Message | None = {"type": "http.request", "body": body}
        self._body_sent = False
        self._chunks, self._taken = anyio.create_memory_object_stream[tuple[bytes, bool]](0)
        self._handlers = {
            "http.response.start": self._start,
            "http.response.body": self._body,
            "http.response.trailers": self._trailers,
            "http.response.debug": self._debug,
        }

    async def run(self) -> None:
        try:
            with self.cancel_scope, self._chunks:
                await self._app(self._scope, self._receive, self._send)
        finally:
            self.answered.set()

    async def next_chunk(self) -> bytes | None:
        """The next chunk of the body; None after the last one."""
        try:
            chunk, last = await self._taken.receive()
        except anyio.EndOfStream:
            return None
        if last:
            self.complete.set()
        return chunk

    async def hang_up(self) -> None:
        """The client goes away: an application that still answers is cancelled."""
        if not self.complete.is_set():
            self.cancel_scope.cancel()

    def close(self) -> None:
        self._chunks.close()
        self._taken.close()

    @property
    def wants_trailers(self) -> bool:
        return self.head is not None and bool(self.head.get("trailers", False))

    async def _receive(self) -> Message:
        if self._request is not None:
            message, self._request = self._request, None
            return message
        # An application may only peek, with a cancelled scope around: what is known already must come without a wait.
        if not self.complete.is_set():
            await self.complete.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        handler = self._handlers.get(message["type"])
        if handler is not None:  # messages of extensions that a test put into the scope are no concern of ours
            await handler(message)

    async def _start(self, message: Message) -> None:
        _expect(self.head is None, 'Received multiple "http.response.start" messages.')
        self.head = message
        self.answered.set()

    async def _body(self, message: Message) -> None:
        _expect(self.head is not None, 'Received "http.response.body" without "http.response.start".')
        _expect(not self.complete.is_set(), 'Received "http.response.body" after response completed.')
        _expect(not self._body_sent, 'Received "http.response.body" after body completed.')
        last = not message.get("more_body", False)
        await self._chunks.send((bytes(message.get("body", b"")), last and not self.wants_trailers))
        self._body_sent = last

    async def _trailers(self, message: Message) -> None:
        _expect(self.wants_trailers, 'Received "http.response.trailers" without declaring trailers.')
        _expect(self._body_sent, 'Received "http.response.trailers" before body completed.')
        _expect(not self.complete.is_set(), 'Received "http.response.trailers" after response completed.')
        self.trailers.extend(message.get("headers", []))
        if not message.get("more_trailers", False):
            self.complete.set()

    async def _debug(self, message: Message) -> None:
        self.debug = message["info"]


class ResponseStream(httpx2.SyncByteStream):
    """The test's side: the body of the response, and the end of the application's task.

    Args:
        exchange: The application's side.
        portal: The way into its loop.
        stack: What to leave at the end; the portal at least.
        with_body: False for the answer to HEAD.
        raise_exceptions: Whether an exception of the application is raised to the test.
        on_close: Called once, when the application has ended.
    """

    def __init__(
        self,
        exchange: Exchange,
        portal: BlockingPortal,
        stack: ExitStack,
        *,
        with_body: bool,
        raise_exceptions: bool,
        on_close: Callable[[ResponseStream], None],
    ) -> None:
        self._exchange = exchange
        self._portal = portal
        self._stack = stack
        self._with_body = with_body
        self._raise_exceptions = raise_exceptions
        self._on_close = on_close
        self._closed = False
        self._task: Future[None] = portal.start_task_soon(exchange.run)

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._portal.call(self._exchange.next_chunk)) is not None:
            if chunk and self._with_body:
                yield chunk
        self.close()

    def close(self) -> None:
        """Leave the response, wait for the application to end, and raise its exception if it had one."""
        self._finish(raise_exceptions=self._raise_exceptions)

    def abort(self) -> None:
        """Cancel the application, even if it has answered and works on in the background."""
        self._portal.call(self._exchange.cancel_scope.cancel)
        self._finish(raise_exceptions=False)

    def _finish(self, *, raise_exceptions: bool) -> None:
        if self._closed:
            return
        self._closed = True
        with self._stack:
            if not self._task.done():
                self._portal.call(self._exchange.hang_up)
            wait([self._task])
            self._exchange.close()
            self._on_close(self)
            if raise_exceptions and (exception := self._task.exception()) is not None:
                raise exception
