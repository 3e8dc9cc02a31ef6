"""The connection for commands: in order, and as many at a time as have come while the last ones were answered.

A command waits in the queue until there is a connection, and no longer than whoever asked wants to wait. Once it was
handed to the server and the connection is lost, nobody knows whether it was done; only what may be done twice is
then tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, ResponseError

from trunkline.hub.brokers.redis.connecting import FAILURES, pauses
from trunkline.hub.brokers.redis.scripts import ALL
from trunkline.hub.errors import BrokerError, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.hub.brokers.redis.connecting import Connector

__all__ = ["Commands"]

logger = logging.getLogger("trunkline.hub")

BATCH = 512


class _Call:
    """A command, and who waits for its answer."""

    __slots__ = ("answer", "arguments", "repeatable", "told")

    def __init__(
        self, arguments: Callable[[str], Sequence[Any]], repeatable: bool, answer: asyncio.Future[Any]
    ) -> None:
        self.arguments = arguments
        self.repeatable = repeatable
        self.answer = answer
        self.told = False


class Commands:
    """One connection to the server, kept up.

    Args:
        connector: Makes it.

    Attributes:
        reconnects: How many times it was lost.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._queue: deque[_Call] = deque()
        self._wanted = asyncio.Event()
        self._connection: Any = None
        self._run_id = ""
        self._last_error: BaseException | None = None
        self.reconnects = 0

    async def call(self, arguments: Callable[[str], Sequence[Any]], *, repeatable: bool, timeout: float) -> Any:
        """Have the server do something.

        Args:
            arguments: Gets the server's `run_id` and gives the command.
            repeatable: Whether it may be done twice.
            timeout: Seconds to wait for the answer.

        Raises:
            BrokerError: It was not done: no connection, or the server refuses it.
            OutcomeUnknown: It may have been done.
        """
        call = _Call(arguments, repeatable, asyncio.get_running_loop().create_future())
        self._queue.append(call)
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout):
                return await call.answer
        except TimeoutError:
            raise self._too_late(call, timeout) from self._last_error

    def _too_late(self, call: _Call, timeout: float) -> BrokerError:
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
                        await asyncio.sleep(next(waits))
        finally:
            await self._disconnect()

    async def _work(self) -> None:
        if self._connection is None:
            await self._connect()
        # Those who have given up are not asked for any more.
        batch: list[_Call] = []
        while self._queue and len(batch) < BATCH:
            call = self._queue.popleft()
            if not call.answer.done():
                batch.append(call)
        try:
            await self._ask(batch)
        except BaseException:
            self._give_back(batch)
            raise

    async def _ask(self, batch: list[_Call]) -> None:
        connection = self._connection
        packed = connection.pack_commands([call.arguments(self._run_id) for call in batch])
        for call in batch:
            call.told = True
        await connection.send_packed_command(packed, check_health=False)
        for call in batch:
            try:
                answer = await connection.read_response(disconnect_on_error=False)
            except NoScriptError:
                # Flushed since: it was not done. Behind the next connection it is there again.
                call.told = False
                raise
            except ResponseError as error:
                if not call.answer.done():
                    call.answer.set_exception(BrokerError(f"Redis refuses it: {error}"))
            else:
                if not call.answer.done():
                    call.answer.set_result(answer)

    def _give_back(self, batch: list[_Call]) -> None:
        """The connection was lost: what may be tried again is, in order, and what may not has an unknown outcome."""
        for call in reversed(batch):
            if call.answer.done():
                continue
            if call.repeatable or not call.told:
                self._queue.appendleft(call)
            else:
                call.answer.set_exception(OutcomeUnknown("the connection to Redis was lost: the outcome is unknown"))

    async def _connect(self) -> None:
        self._connection = connection = await self._connector.connect()
        for script in ALL:
            await connection.send_command("SCRIPT", "LOAD", script.text)
        await connection.send_command("INFO", "server")
        for _ in ALL:
            await connection.read_response(disconnect_on_error=False)
        info = bytes(await connection.read_response(disconnect_on_error=False)).decode()
        self._run_id = next(line[7:] for line in info.splitlines() if line.startswith("run_id:"))

    def _lost(self, error: BaseException) -> None:
        self._last_error = error
        if self._connection is not None:
            self.reconnects += 1
            logger.warning("the connection to Redis was lost: %s", error)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
