"""The response whose body is sent piece by piece, and how one that takes its time notices that the client has gone."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import anyio

from trunkline.concurrency import iterate_in_threadpool
from trunkline.requests import ClientDisconnect
from trunkline.responses.base import MESSAGES, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.background import BackgroundTask
    from trunkline.types import Message, Receive, Scope, Send

__all__ = ["Content", "ContentStream", "StreamingResponse", "until_disconnect"]

Content = str | bytes | memoryview
ContentStream = AsyncIterable[Content] | Iterable[Content]


async def until_disconnect(scope: Scope, receive: Receive, stream: Callable[[], Awaitable[None]]) -> None:
    """Stream until the end, or until the client has gone.

    From version 2.4 of the ASGI specification on `send` says that the client has gone; before, only `receive` does.
    """
    version = scope.get("asgi", {}).get("spec_version", "2.0")
    if scope["type"] == "websocket" or tuple(map(int, version.split("."))) >= (2, 4):
        await stream()
        return

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await stream()
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # Whoever sends a response expects the error itself, as without a group.
        if len(group.exceptions) > 1:
            raise
        error = group.exceptions[0]
        raise error from error.__cause__


class StreamingResponse(Response):
    """A response whose body is sent piece by piece.

    Args:
        content: An asynchronous iterable of the pieces, or a plain one, which runs in worker threads.
        status_code: As for `Response`, like the others.
        headers: See there; without a `content-length` the server sends the body in chunks.
        media_type: See there.
        background: See there.
    """

    def __init__(
        self,
        content: ContentStream,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self.body_iterator = content if isinstance(content, AsyncIterable) else iterate_in_threadpool(content)
        self.status_code = status_code
        if media_type is not None:
            self.media_type = media_type
        self.background = background
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(scope, receive, lambda: self._stream(scope, send))
        await self._run_background()

    async def _stream(self, scope: Scope, send: Send) -> None:
        body = MESSAGES[scope["type"]].body

        async def send_message(message: Message) -> None:
            try:
                await send(message)
            except OSError as error:
                raise ClientDisconnect("the client has gone before the response was complete") from error

        await send_message(self._start(scope, self.status_code, self.raw_headers))
        pieces = aiter(self.body_iterator)
        try:
            async for piece in pieces:
                data = piece.encode(self.charset) if isinstance(piece, str) else piece
                await send_message({"type": body, "body": data, "more_body": True})
        finally:
            # Left to the garbage collector, a generator would do its cleaning up who knows when.
            if hasattr(pieces, "aclose"):
                await pieces.aclose()
        await send_message({"type": body, "body": b"", "more_body": False})
