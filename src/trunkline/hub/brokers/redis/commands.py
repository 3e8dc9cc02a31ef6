"""The connection for commands: in order, and as many at a time as have come while the last ones were answered.

A command waits in the queue until there is a connection, and no longer than whoever asked wants to wait. Once it was
handed to the server and the connection is lost, nobody knows whether it was done; only what may be done twice is
then tried again. What the server says that it has not done, because another one is responsible, or because it will be
able to in a moment, is tried again too, in its order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from redis.exceptions import AskError, ClusterDownError, NoScriptError, ReadOnlyError, ResponseError, TryAgainError

from trunkline.hub.brokers.redis import connecting
from trunkline.hub.brokers.redis.connecting import FAILURES, drop, pauses
from trunkline.hub.brokers.redis.replies import Reader, pack
from trunkline.hub.brokers.redis.scripts import ALL
from trunkline.hub.errors import BrokerError, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trunkline.hub.brokers.redis.connecting import Connector, MasterConnector

__all__ = ["NOT_DONE", "Call", "Commands"]

logger = logging.getLogger("trunkline.hub")

BATCH = 512

# Not here (MOVED is an ASK, too), not any more, not yet; or, of a script that was flushed, behind the next connection.
NOT_DONE = (AskError, ClusterDownError, NoScriptError, ReadOnlyError, TryAgainError)


class Call:
    """A command that concerns a topic, or none, and who waits for its answer."""

    __slots__ = ("answer", "arguments", "repeatable", "told", "topic")

    def __init__(
        self, topic: str, arguments: Callable[[str], Sequence[Any]], repeatable: bool, answer: asyncio.Future[Any]
    ) -> None:
        self.topic = topic
        self.arguments = arguments
        self.repeatable = repeatable
        self.answer = answer
        self.told = False


class Commands:
    """One connection to the server, kept up.

    Args:
        connector: Makes it.
        failed: Called when it was lost, or when another server seems to be responsible.

    Attributes:
        reconnects: How many times it was lost.
    """

    def __init__(self, connector: Connector | MasterConnector, failed: Callable[[], None]) -> None:
        self._connector = connector
        self._failed = failed
        self._queue: deque[Call] = deque()
        self._wanted = asyncio.Event()
        self._connection: Any = None
        self._replies: Reader
        self._run_id = ""
        self._last_error: BaseException | None = None
        self.reconnects = 0

    async def call(
        self, topic: str, arguments: Callable[[str], Sequence[Any]], *, repeatable: bool, timeout: float
    ) -> Any:
        """Have the server do something.

        Args:
            topic: What it concerns, by which another server may be found to be responsible.
            arguments: Gets the server's `run_id` and gives the command.
            repeatable: Whether it may be done twice.
            timeout: Seconds to wait for the answer.

        Raises:
            BrokerError: It was not done: no connection, or the server refuses it.
            OutcomeUnknown: It may have been done.
        """
        loop = asyncio.get_running_loop()
        call = Call(topic, arguments, repeatable, loop.create_future())
        self.take([call])
        # A bare timer: `asyncio.timeout` would cost as much as the rest of this.
        limit = loop.call_later(timeout, self._give_up_waiting, call, timeout)
        try:
            return await call.answer
        finally:
            limit.cancel()

    def _give_up_waiting(self, call: Call, timeout: float) -> None:
        if not call.answer.done():
            error = self._too_late(call, timeout)
            error.__cause__ = self._last_error
            call.answer.set_exception(error)

    def take(self, calls: Iterable[Call]) -> None:
        """Have what was asked for done, behind what was asked for before."""
        self._queue.extend(calls)
        self._wanted.set()

    def give_up(self, is_ours: Callable[[str], bool]) -> list[Call]:
        """What was asked for, and is to be done elsewhere, of topics that are no longer ours."""
        given = [call for call in self._queue if not is_ours(call.topic)]
        self._queue = deque(call for call in self._queue if is_ours(call.topic))
        return given

    def stop(self) -> None:
        """Let nobody wait."""
        for call in self._queue:
            if not call.answer.done():
                call.answer.set_exception(BrokerError("the hub has been closed: nothing was done"))

    def _too_late(self, call: Call, timeout: float) -> BrokerError:
        if call.told:
            return OutcomeUnknown(f"Redis has not answered within {timeout:g} s: the outcome is unknown")
        why = "" if self._last_error is None else f" ({self._last_error})"
        return BrokerError(f"Redis could not be reached within {timeout:g} s{why}: nothing was done")

    async def run(self) -> None:
        """Work off what is asked for, until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                waits = pauses()
                while self._queue:
                    try:
                        await self._work()
                        waits = pauses()
                    except FAILURES as error:
                        self._lost(error)
                        await self._disconnect()
                        self._failed()
                        await asyncio.sleep(next(waits))
        finally:
            await self._disconnect()

    async def _work(self) -> None:
        if self._connection is None:
            await self._connect()
        # Those who have given up are not asked for any more.
        batch: list[Call] = []
        while self._queue and len(batch) < BATCH:
            call = self._queue.popleft()
            if not call.answer.done():
                batch.append(call)
        try:
            await self._ask(batch)
        except BaseException:
            self._give_back(batch)
            raise

    async def _ask(self, batch: list[Call]) -> None:
        packed = pack(call.arguments(self._run_id) for call in batch)
        for call in batch:
            call.told = True
        refusal: ResponseError | None = None
        loop, seconds = asyncio.get_running_loop(), connecting.RESPONSE_TIMEOUT
        try:
            async with asyncio.timeout(seconds) as limit:
                await self._connection.send_packed_command(packed, check_health=False)
                answered = 0
                while answered < len(batch):
                    answers = await self._replies.next()
                    for call, answer in zip(batch[answered:], answers, strict=False):
                        refusal = self._tell(call, answer) or refusal
                    answered += len(answers)
                    limit.reschedule(loop.time() + seconds)
        except TimeoutError:
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        if refusal is not None:
            raise refusal

    def _tell(self, call: Call, answer: Any) -> ResponseError | None:
        """Bring an answer to whom it is for; gives the reason why it was not done and is to be tried again."""
        if isinstance(answer, NOT_DONE):
            call.told = False
            return answer
        if isinstance(answer, ResponseError):
            answer = BrokerError(f"Redis refuses it: {answer}")
        elif isinstance(answer, Exception):
            # One that concerns the connection: the server is still loading its data, or wants another password.
            call.told = False
            raise answer
        if call.answer.done():
            return None
        if isinstance(answer, BrokerError):
            call.answer.set_exception(answer)
        else:
            call.answer.set_result(answer)
        return None

    def _give_back(self, batch: list[Call]) -> None:
        """Not all was done: what may be tried again is, in order, and what may not has an unknown outcome."""
        for call in reversed(batch):
            if call.answer.done():
                continue
            if call.repeatable or not call.told:
                self._queue.appendleft(call)
            else:
                call.answer.set_exception(OutcomeUnknown("the connection to Redis was lost: the outcome is unknown"))

    async def _connect(self) -> None:
        self._connection = connection = await self._connector.connect()
        self._replies = Reader(connection)
        async with connecting.within(connecting.RESPONSE_TIMEOUT, "Redis"):
            first = pack([*(("SCRIPT", "LOAD", script.text) for script in ALL), ("INFO", "server")])
            await connection.send_packed_command(first, check_health=False)
            answers: list[Any] = []
            while len(answers) <= len(ALL):
                answers += await self._replies.next()
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        info = answers[-1].decode()
        self._run_id = next(line[7:] for line in info.splitlines() if line.startswith("run_id:"))

    def _lost(self, error: BaseException) -> None:
        self._last_error = error
        if self._connection is not None and not isinstance(error, NOT_DONE):
            self.reconnects += 1
            logger.warning("the connection to Redis was lost: %s", error)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await drop(connection)
