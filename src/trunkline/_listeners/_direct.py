"""The messages of a listener straight from the read: no task is switched and no future made for any of them.

The Line calls back when a read has brought messages, and what is theirs is done there and then. What a callback cannot
do, because it waits or raises, is a *deed* for the connection's task: an answer that is not welcome yet, an error, a
close, the end. Until that has been done no further message is taken, so the messages keep their order, the Line fills
to its inbound bound, and the client is slowed down.

Where that task is meanwhile makes the two kinds. It is parked in one await (`ParkedService`), since whoever called it
may count on its lasting as long as the connection. Or nobody does (`trunkline._straight`), and there is none: the call
has returned, and the server runs another one for a deed (`DetachedService`). A function that may wait is always a deed,
one for all that a read has brought (`WaitingService`); the server starts it inside the read, and most are over then.

At any time either a task does a deed, and the service is busy, or the callback works.

Without a task, the scope and the `WebSocket` are most of what an idle connection holds. Where the listener has not
asked for it and no exception handler of the program may get it, it is let go, and made anew from the Line when there
is something to be said that needs its states: an answer that waits, a close.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from trunkline._listeners._forms import say_goodbye
from trunkline._listeners._slow import LIMIT
from trunkline._listeners._wire import frame_of
from trunkline.endpoints import run_websocket
from trunkline.line import EXTENSION, VERSION
from trunkline.messages import InvalidMessage
from trunkline.middleware.exceptions import are_ours, end_websocket, forget_settled
from trunkline.middleware.handlers import HANDLERS
from trunkline.states import CONNECTED, DISCONNECTED, CloseInfo, WebSocketDisconnect, WebSocketDisconnected
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline._listeners._forms import Bound
    from trunkline._listeners._slow import SlowWatch
    from trunkline.background import BackgroundTasks
    from trunkline.line import Line

    Deed = Callable[[], Awaitable[None]]

__all__ = ["DetachedService", "DirectService", "Means", "ParkedService", "WaitingService"]


class Means(NamedTuple):
    """What serves all connections of a listener that speak one codec.

    Attributes:
        decode: What makes a message.
        kind: The class of those that are the message already, if they are.
        watch: Who is told of messages that took too long.
    """

    decode: Callable[[str | bytes], Any]
    kind: type | None
    watch: SlowWatch


class _Verdict(NamedTuple):
    """What an invalid message leads to."""

    answer: str | bytes | CloseInfo


class DirectService:
    """Serves one connection with a plain function.

    Args:
        websocket: The connection, accepted, with the Line in both directions.
        line: That Line.
        means: What is the same for others.
        bound: The listener: takes the message, returns the answer.
    """

    __slots__ = ("_bound", "_context", "_is_busy", "_line", "_means", "_settings", "_websocket")

    def __init__(self, websocket: WebSocket[Any], line: Line, means: Means, bound: Bound) -> None:
        self._websocket: WebSocket[Any] | None = websocket
        self._line = line
        self._means = means
        self._bound = bound
        self._settings = websocket.message_settings
        self._is_busy = False
        # What a handler sets there, the next one sees; the connection's task keeps its own.
        self._context = copy_context()

    @property
    def websocket(self) -> WebSocket[Any]:
        """The connection."""
        assert self._websocket is not None
        return self._websocket

    def _hand_over(self, deed: Deed) -> None:
        """Have a task do what a callback cannot."""
        raise NotImplementedError

    def _come(self) -> None:
        """Messages have come, or the end is known."""
        if self._is_busy:
            return
        self._is_busy = True
        deed = self._context.run(self._serve)
        if deed is None:
            self._is_busy = False
        else:
            self._hand_over(deed)

    def _serve(self) -> Deed | None:
        began = perf_counter()
        try:
            return self._take()
        except Exception as error:
            return partial(_raise, [error])
        finally:
            took = perf_counter() - began
            if took > LIMIT:
                self._means.watch.tell(took)

    def _take(self) -> Deed | None:
        """Serve what has come; what is left to the task, if something is."""
        line, means, call = self._line, self._means, self._bound.call
        while True:
            websocket = self._websocket
            # Behind an invalid message each is looked at, until one is valid.
            kind = None if websocket is not None and websocket._invalid_in_a_row else means.kind
            left = line.answer(kind, call, self._answer)
            if left is None:
                return None if line.closed is None else self._end
            if isinstance(left, _Verdict):
                if isinstance(left.answer, CloseInfo):
                    return partial(self.websocket._close_for, left.answer)
                left = left.answer
            data = frame_of(left, self._settings.codec)
            if not (line.write_text(data) if isinstance(data, str) else line.write_bytes(data)):
                return partial(self._send, data)

    def _answer(self, data: str | bytes) -> object:
        """The answer to a message that is to be decoded."""
        try:
            message = self._means.decode(data)
        except InvalidMessage as error:
            return self._verdict(error)
        if self._websocket is not None:
            self._websocket._invalid_in_a_row = 0
        answer = self._bound.call(message)
        return answer if answer is None else frame_of(answer, self._settings.codec)

    def _verdict(self, error: InvalidMessage) -> _Verdict | None:
        """What an invalid message leads to; None where nobody waits for the answer."""
        verdict = self.websocket._verdict(error)
        return _Verdict(verdict) if isinstance(verdict, CloseInfo) or self._line.closed is None else None

    # What the task does

    async def _send(self, data: str | bytes) -> None:
        """Send what was not welcome, when it is."""
        try:
            await self.websocket._send_encoded(data)
        except WebSocketDisconnected:
            await self._end()

    async def _end(self) -> None:
        self.websocket._end_of_line(self._line, None)


class ParkedService(DirectService):
    """Serves from within a call that lasts as long as the connection."""

    __slots__ = ("_parked",)

    _parked: asyncio.Future[Deed]

    async def run(self) -> None:
        """Serve messages until the connection ends.

        Raises:
            WebSocketDisconnect: It has ended.
            Exception: What the listener raised.
        """
        loop = asyncio.get_running_loop()
        self._line.on_message(self._come)
        try:
            while True:
                self._parked = loop.create_future()
                self._is_busy = False
                self._come()  # for what came meanwhile
                deed = await self._parked
                await deed()
        finally:
            self._line.on_message(None)

    def _hand_over(self, deed: Deed) -> None:
        if not self._parked.done():  # by a cancellation
            self._parked.set_result(deed)


class DetachedService(DirectService):
    """Serves a connection whose call has returned.

    Args:
        websocket: The connection, accepted, with the Line in both directions.
        line: That Line.
        means: What is the same for others.
        bound: The listener: takes the message, returns the answer.
        tasks: What is to be done after all.
    """

    __slots__ = ("_handlers", "_tasks")

    def __init__(
        self, websocket: WebSocket[Any], line: Line, means: Means, bound: Bound, tasks: BackgroundTasks | None
    ) -> None:
        super().__init__(websocket, line, means, bound)
        self._tasks = tasks
        self._handlers: Any = None

    @property
    def websocket(self) -> WebSocket[Any]:
        """The connection, made anew if it was let go."""
        if self._websocket is None:
            line = self._line
            entry = {"version": VERSION, "line": line}
            scope = {"type": "websocket", "extensions": {EXTENSION: entry}, HANDLERS: self._handlers}
            self._websocket = WebSocket(scope, line.receive, line.send)
            self._websocket.client_state = self._websocket.application_state = CONNECTED
            self._websocket._take_the_line()
            self._websocket.message_settings = self._settings
        return self._websocket

    def let_go(self) -> None:
        """Forget the `WebSocket`, of which the listener has not heard, unless an exception handler may get it."""
        scope = self.websocket.scope
        if are_ours(scope):
            self._handlers = scope.get(HANDLERS)
            self._websocket = None

    async def go_on(self, deed: Deed) -> None:
        """Do something as the connection's call, and leave the connection to the Line unless that was the end.

        Args:
            deed: Raises `WebSocketDisconnect` at the end.

        Raises:
            Exception: What the listener raised.
        """
        try:
            await deed()
        except WebSocketDisconnect:
            await say_goodbye(self.websocket, self._bound)
            await end_websocket(self.websocket, None)
            if self._tasks is not None:
                await self._tasks()
        except BaseException:
            await say_goodbye(self.websocket, self._bound)
            raise
        else:
            self._is_busy = False
            self._line.detach(self._come)

    def _hand_over(self, deed: Deed) -> None:
        self._line.resume(self._resumed(deed), self._context)

    async def _resumed(self, deed: Deed) -> None:
        try:
            await self.go_on(deed)
        except BaseException as error:
            await self._fail(error)

    async def _fail(self, error: BaseException) -> None:
        """End as an endpoint does that fails: by the exception handlers, with a close code, and raising on."""
        websocket = self.websocket
        try:
            await run_websocket(partial(_raise, [error]), websocket, closes=False)
        finally:
            forget_settled(websocket.scope)


class WaitingService(DetachedService):
    """Serves a connection whose call has returned with a function that may wait, in one call for each read."""

    __slots__ = ()

    def _come(self) -> None:
        if not self._is_busy:
            self._is_busy = True
            self._hand_over(self._answer_all)

    async def _answer_all(self) -> None:
        """Serve what has come, and what comes meanwhile."""
        line, decode, call = self._line, self._means.decode, self._bound.call
        while (data := line.take()) is not None:
            try:
                message = decode(data)
            except InvalidMessage as error:
                verdict = self._verdict(error)
                if verdict is not None and isinstance(verdict.answer, CloseInfo):
                    await self.websocket._close_for(verdict.answer)
                answer = None if verdict is None else verdict.answer
            else:
                if self._websocket is not None:
                    self._websocket._invalid_in_a_row = 0
                answer = await call(message)
            if self._websocket is not None and self._websocket.application_state is DISCONNECTED:
                break
            if answer is not None:
                data = frame_of(answer, self._settings.codec)
                if not (line.write_text(data) if isinstance(data, str) else line.write_bytes(data)):
                    await self._send(data)
        line.take_all()
        if line.closed is not None:
            await self._end()


async def _raise(held: list[BaseException], _: object = None) -> NoReturn:
    raise held.pop()  # held by nothing else: its traceback has this frame
