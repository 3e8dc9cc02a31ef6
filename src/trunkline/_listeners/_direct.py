"""The messages of a listener straight from the read: no task is switched and no future made for any of them.

The Line calls back when a read has brought messages, and what is theirs is done there and then. The task of the
connection is parked in one await meanwhile. It is woken for what a callback cannot do, because it waits or raises: an
answer that is not welcome yet, an error, a close, the end. Until that has been done no further message is taken, so
the messages keep their order, the Line fills to its inbound bound, and the client is slowed down.

At any time either the task is parked and the callback works, or the other way round.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from trunkline._listeners._slow import LIMIT
from trunkline._listeners._wire import frame_of
from trunkline.messages import InvalidMessage
from trunkline.states import CloseInfo, WebSocketDisconnected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline._listeners._slow import SlowWatch
    from trunkline.line import Line
    from trunkline.websockets import WebSocket

    Deed = Callable[[], Awaitable[None]]

__all__ = ["DirectService"]


class DirectService:
    """Serves one connection with a plain function.

    Args:
        websocket: The connection, accepted, with the Line in both directions.
        line: That Line.
        decode: What makes a message.
        call: The listener: takes the message, returns the answer.
        watch: Who is told of messages that took too long.
    """

    __slots__ = ("_call", "_codec", "_context", "_decode", "_is_busy", "_line", "_parked", "_watch", "_websocket")

    def __init__(
        self,
        websocket: WebSocket[Any],
        line: Line,
        decode: Callable[[str | bytes], Any],
        call: Callable[[Any], Any],
        watch: SlowWatch,
    ) -> None:
        self._websocket = websocket
        self._line = line
        self._decode = decode
        self._call = call
        self._watch = watch
        self._codec = websocket.message_settings.codec
        self._is_busy = False
        # What a handler sets there, the next one sees; the connection's task keeps its own.
        self._context = copy_context()

    async def run(self) -> None:
        """Serve messages until the connection ends.

        Raises:
            WebSocketDisconnect: It has ended.
            Exception: What the listener raised.
        """
        loop = asyncio.get_running_loop()
        self._parked: asyncio.Future[Deed] = loop.create_future()
        self._line.on_message(self._come)
        try:
            while True:
                deed = await self._parked
                await deed()
                self._parked = loop.create_future()
                self._come()  # for what came meanwhile
        finally:
            self._line.on_message(None)

    def _come(self) -> None:
        """Messages have come, or the end is known."""
        if not self._is_busy and not self._parked.done():
            self._context.run(self._serve)

    def _serve(self) -> None:
        self._is_busy = True
        try:
            deed = self._take()
        except Exception as error:
            deed = partial(_raise, error)
        finally:
            self._is_busy = False
        if deed is not None and not self._parked.done():
            self._parked.set_result(deed)

    def _take(self) -> Deed | None:
        """Serve what has come; what is left to the task, if something is."""
        line, decode, call = self._line, self._decode, self._call
        began = perf_counter()
        while (data := line.take()) is not None:
            try:
                message = decode(data)
            except InvalidMessage as error:
                answer = self._websocket._verdict(error)
                if isinstance(answer, CloseInfo):
                    return partial(self._websocket._close_for, answer)
                if line.closed is not None:  # nobody waits for it
                    continue
            else:
                self._websocket._invalid_in_a_row = 0
                answer = call(message)
            if answer is not None:
                data = answer if type(answer) is str or type(answer) is bytes else frame_of(answer, self._codec)
                if not (line.write_text(data) if isinstance(data, str) else line.write_bytes(data)):
                    return partial(self._send, data)
            now = perf_counter()
            if now - began > LIMIT:
                self._watch.tell(now - began)
            began = now
        line.take_all()  # nothing: it says that we have taken all, so that the peer may go on, or hear the end
        return None if line.closed is None else self._end

    # What the task does

    async def _send(self, data: str | bytes) -> None:
        """Send what was not welcome, when it is."""
        try:
            await self._websocket._send_encoded(data)
        except WebSocketDisconnected:
            await self._end()

    async def _end(self) -> None:
        self._websocket._end_of_line(self._line, None)


async def _raise(error: Exception) -> NoReturn:
    try:
        raise error
    finally:
        del error  # which holds the traceback, and so this frame
