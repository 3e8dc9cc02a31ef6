"""A task group bound to a connection: receiving, sending and background work side by side, ended by the disconnect.

`asyncio.TaskGroup` does the work. One more child, the watcher, waits for the end of the connection and then raises
`WebSocketDisconnect`, which makes the group cancel the other children and the body, as any failing child does. So the
rules are those of a task group, with these of the connection on top:

- A lost connection, or a close when nobody in the group receives, cancels at once. After a clean close, the messages
  that came before it are delivered first to those of the group that receive: until one of them asks for more, for
  `DELIVERY_SECONDS` at most.
- The watcher never keeps the group alive: it is cancelled when the body and all children have ended.
- However many tasks meet the disconnect, one `WebSocketDisconnect` leaves. Any other error leaves in an
  `ExceptionGroup` of those errors, without the disconnects.
- Our own `close()` ends the watcher, and nothing else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trunkline.states import CloseInfo, WebSocketDisconnect, WebSocketDisconnected

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context
    from types import TracebackType
    from typing import Self

    from trunkline.inbox import Inbox, LineInbox

__all__ = ["ConnectionTasks"]

DELIVERY_SECONDS = 5.0
_LOST = 1006

T = TypeVar("T")


class Connection(Protocol):
    """What the group needs of a connection."""

    def _open_inbox(self) -> Inbox | LineInbox:
        """The inbox, from now on the only way to receive; raises when the connection is not open."""

    @property
    def _close_info(self) -> CloseInfo | None:
        """How the connection ended, or None while it is open."""

    @property
    def _closed_by_us(self) -> bool:
        """Whether it was our own close that ended it."""


class ConnectionTasks:
    """The value of `async with websocket.tasks() as tg`, which states the rules."""

    __slots__ = ("_body", "_children", "_connection", "_group", "_inbox", "_outsider", "_receivers", "_watcher")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._group = asyncio.TaskGroup()
        self._children: set[asyncio.Task[Any]] = set()
        self._receivers: set[asyncio.Task[Any]] = set()
        self._outsider = False

    async def __aenter__(self) -> Self:
        self._inbox = self._connection._open_inbox()
        await self._group.__aenter__()
        self._inbox.observers.append(self._somebody_receives)
        self._body = asyncio.current_task()
        self._watcher = self._group.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended(self._body)
        self._body = None
        self._release_watcher()
        try:
            await self._group.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            raise self._collapse(group) from None
        finally:
            self._inbox.observers.remove(self._somebody_receives)

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Start a task that ends with the connection.

        Args:
            coro: What the task runs.
            name: The task's name, for debugging.
            context: The `contextvars` context it runs in; a copy of the present one when left out.

        Returns:
            The task.

        Raises:
            RuntimeError: The group is not entered, or has ended.
        """
        task = self._group.create_task(coro, name=name, context=context)
        self._children.add(task)
        task.add_done_callback(self._child_done)
        return task

    async def _watch(self) -> None:
        inbox = self._inbox
        await inbox.watch()
        # A task made in the same step as this one has not run yet: let it say that it receives.
        await asyncio.sleep(0)
        end = self._connection._close_info
        if end is None or self._connection._closed_by_us:
            return
        if end.code != _LOST and inbox.unread:
            await self._deliver()
        raise WebSocketDisconnect(*end)

    async def _deliver(self) -> None:
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                while not self._inbox.delivered and (self._receivers or self._outsider):
                    await self._inbox.change()
        except TimeoutError:
            pass

    def _somebody_receives(self) -> None:
        task = asyncio.current_task()
        if task is not None and (task is self._body or task in self._children):
            self._receivers.add(task)
        else:
            # For example the inner task of `asyncio.wait_for` on Python 3.11: whose it is cannot be known.
            self._outsider = True

    def _child_done(self, task: asyncio.Task[Any]) -> None:
        self._children.discard(task)
        self._ended(task)
        self._release_watcher()

    def _ended(self, task: asyncio.Task[Any] | None) -> None:
        if task in self._receivers:
            self._receivers.remove(task)
            self._inbox.notify()

    def _release_watcher(self) -> None:
        if self._body is None and not self._children:
            self._watcher.cancel()

    def _collapse(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """One disconnect for many; the other errors without it."""
        disconnects, others = group.split((WebSocketDisconnect, WebSocketDisconnected))
        if others is not None:
            return others
        end = self._connection._close_info
        return WebSocketDisconnect(*end) if end is not None else _first_leaf(disconnects)


def _first_leaf(error: BaseException | None) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert error is not None
    return error
