"""The messages of a listener in a loop, on any server: one after the other, or several at once.

With `concurrency=n` up to n messages are in hand at once, each in a task of its own, and each waits before it answers
until the one before it is done. So answers leave in the order of the messages, whichever is ready first.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio

from trunkline._listeners._forms import MESSAGE
from trunkline._listeners._wire import frame_of
from trunkline.states import DISCONNECTED, WebSocketDisconnect, WebSocketDisconnected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from trunkline._listeners._forms import Bound
    from trunkline._listeners._slow import SlowWatch
    from trunkline.websockets import WebSocket

    Respond = Callable[[Any], Awaitable[None]]

__all__ = ["MessageLoop", "respond"]


async def respond(websocket: WebSocket[Any], answer: Any) -> None:
    """Send an answer, if there is one and we have not closed the connection.

    Args:
        websocket: The connection.
        answer: What a listener returned, or a stream yielded.

    Raises:
        CodecError: The codec cannot encode it.
        WebSocketDisconnect: The client is gone.
    """
    if answer is None or websocket.application_state is DISCONNECTED:
        return
    data = frame_of(answer, websocket.message_settings.codec)
    try:
        await websocket._send_encoded(data)
    except WebSocketDisconnected:  # closed while the send waited for its turn
        raise WebSocketDisconnect(*websocket._close_info or (1006, "")) from None


class MessageLoop:
    """Takes the messages of one connection to its listener.

    Args:
        websocket: The connection, accepted.
        decode: What makes a message.
        bound: The listener.
        watch: Who is told how long a plain function took; None for one that is async.
    """

    def __init__(
        self,
        websocket: WebSocket[Any],
        decode: Callable[[str | bytes], Any],
        bound: Bound,
        watch: SlowWatch | None,
    ) -> None:
        self._websocket = websocket
        self._decode = decode
        self._call = bound.call
        self._solution = bound.solution
        self._watch = watch
        self._error: Exception | None = None

    async def run(self, concurrency: int) -> None:
        """Serve messages until the connection ends.

        Args:
            concurrency: How many at once.
        """
        async with aclosing(self._websocket._iterate(self._decode)) as messages:
            if concurrency > 1:
                await self._serve_several(messages, concurrency)
                return
            async for message in messages:
                await self._serve(message, self._respond)
                if self._websocket.application_state is DISCONNECTED:
                    return

    async def _respond(self, answer: Any) -> None:
        await respond(self._websocket, answer)

    async def _result(self, *args: Any, **kwargs: Any) -> Any:
        if self._watch is None:
            return await self._call(*args, **kwargs)
        return self._watch.call(self._call, *args, **kwargs)

    async def _serve(self, message: Any, respond: Respond) -> None:
        """Handle one message. The order of its end is that of an HTTP request."""
        if self._solution is None:
            await respond(await self._result(message))
            return
        inner = self._solution.for_message({MESSAGE: message})
        async with inner.lifetime("message"):
            async with inner.lifetime("function"):
                answer = await self._result(**await inner.solve())
            await respond(answer)
            if inner.tasks is not None:
                await inner.tasks()

    async def _serve_several(self, messages: AsyncGenerator[Any, None], concurrency: int) -> None:
        free = anyio.Semaphore(concurrency)
        before = anyio.Event()
        before.set()
        async with anyio.create_task_group() as group:
            try:
                while True:
                    await free.acquire()
                    if self._websocket.application_state is DISCONNECTED:
                        break
                    message = await anext(messages)
                    done = anyio.Event()
                    group.start_soon(self._serve_in_turn, message, before, done, free, group.cancel_scope)
                    before = done
            except StopAsyncIteration:
                pass
            except Exception as error:
                self._fail(error, group.cancel_scope)
        if self._error is not None:
            raise self._error

    async def _serve_in_turn(
        self, message: Any, before: anyio.Event, done: anyio.Event, free: anyio.Semaphore, scope: anyio.CancelScope
    ) -> None:
        async def respond_in_turn(answer: Any) -> None:
            await before.wait()
            await self._respond(answer)

        try:
            await self._serve(message, respond_in_turn)
            await before.wait()
        except WebSocketDisconnect:
            pass  # which the loop meets too: what the others have in hand is done to its end
        except Exception as error:
            self._fail(error, scope)
        done.set()
        free.release()

    def _fail(self, error: Exception, scope: anyio.CancelScope) -> None:
        """The first error ends them all, and leaves as itself."""
        self._error = self._error or error
        scope.cancel()
