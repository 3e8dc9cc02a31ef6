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
from trunkline.hub.brokers.redis.connecting import FAILURES, pauses
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
        call = Call(topic, arguments, repeatable, asyncio.get_running_loop().create_future())
        self.take([call])
        try:
            async with asyncio.timeout(timeout):
                return await call.answer
        except TimeoutError:
            raise self._too_late(call, timeout) from self._last_error

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
        connection = self._connection
        packed = connection.pack_commands([call.arguments(self._run_id) for call in batch])
        for call in batch:
            call.told = True
        refusal: ResponseError | None = None
        loop, seconds = asyncio.get_running_loop(), connecting.RESPONSE_TIMEOUT
        try:
            async with asyncio.timeout(seconds) as limit:
                await connection.send_packed_command(packed, check_health=False)
                for call in batch:
                    refusal = await self._read_answer(call) or refusal
                    limit.reschedule(loop.time() + seconds)
        except TimeoutError:
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        if refusal is not None:
            raise refusal

    async def _read_answer(self, call: Call) -> ResponseError | None:
        """Bring an answer to whom it is for; gives the reason why it was not done and is to be tried again."""
        try:
            answer = await self._connection.read_response(disconnect_on_error=False)
        except NOT_DONE as error:
            call.told = False
            return error
        except ResponseError as error:
            if not call.answer.done():
                call.answer.set_exception(BrokerError(f"Redis refuses it: {error}"))
        else:
            if not call.answer.done():
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
        async with connecting.within(connecting.RESPONSE_TIMEOUT, "Redis"):
            for script in ALL:
                await connection.send_command("SCRIPT", "LOAD", script.text)
            await connection.send_command("INFO", "server")
            for _ in ALL:
                await connection.read_response(disconnect_on_error=False)
            info = bytes(await connection.read_response(disconnect_on_error=False)).decode()
        self._run_id = next(line[7:] for line in info.splitlines() if line.startswith("run_id:"))

    def _lost(self, error: BaseException) -> None:
        self._last_error = error
        if self._connection is not None and not isinstance(error, NOT_DONE):
            self.reconnects += 1
            logger.warning("the connection to Redis was lost: %s", error)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
