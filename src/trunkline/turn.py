"""Taking turns: who may go in when only one may be inside."""

from __future__ import annotations

from collections import deque

import anyio

__all__ = ["Turn"]


class Turn:
    """Lets one task in at a time, in order of arrival.

        if turn.taken:
            await turn.wait()
        turn.taken = True
        try: ...
        finally: turn.give_back()

    Written out like this where it is used, because most of the time nobody has to wait and nothing is awaited.
    """

    __slots__ = ("_queue", "taken")

    def __init__(self) -> None:
        self.taken = False
        self._queue: deque[anyio.Event] | None = None

    async def wait(self) -> None:
        """Wait until it is this task's turn; only for a turn that is taken."""
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        called = anyio.Event()
        queue.append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self.give_back()
            else:
                queue.remove(called)
            raise

    def line_up(self) -> anyio.Event:
        """Take a place in the queue without waiting: the event is set when the turn has come; then `step_out`."""
        called = anyio.Event()
        if not self.taken:
            self.taken = True
            called.set()
        else:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(called)
        return called

    def step_out(self, called: anyio.Event) -> None:
        """End a turn that has come, or the waiting for it."""
        if called.is_set():
            self.give_back()
        else:
            assert self._queue is not None
            self._queue.remove(called)

    def give_back(self) -> None:
        """End this task's turn: the next one's begins."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self.taken = False
