"""The connection for what is delivered, with a server in memory: what a real one does too rarely."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from trunkline.hub.brokers.redis.listener import Listener
from trunkline.hub.brokers.redis.naming import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable


class LostConnection:
    """A connection of a server that goes away when the test says so."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.lost = asyncio.Event()
        self._reader = self._parser = self
        self.transport = self
        self.parse_error = RuntimeError

    async def connect(self) -> LostConnection:
        return self

    async def send_packed_command(self, *_: Any, **__: Any) -> None:
        pass

    async def read(self, _: int) -> bytes:
        self.reading.set()
        await self.lost.wait()
        raise ConnectionResetError("gone")

    async def disconnect(self, **_: Any) -> None:
        pass

    def abort(self) -> None:
        pass


def steps(count: int) -> Callable[[], Any]:
    async def wait() -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    return wait


async def cancelled_while_it_fails(wait: Callable[[], Any]) -> bool:
    server = LostConnection()
    connector: Any = server
    receiver: Any = None
    listener = Listener(connector, receiver, PLAIN, lambda: None)
    running = asyncio.create_task(listener.run())
    subscribing = asyncio.create_task(listener.subscribe("t"))
    await server.reading.wait()
    server.lost.set()
    await wait()
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5)
    listener.stop()
    await asyncio.gather(subscribing, return_exceptions=True)
    return bool(done)


def test_it_ends_when_it_is_cancelled_in_the_moment_in_which_its_connection_is_lost() -> None:
    for count in range(12):
        assert asyncio.run(cancelled_while_it_fails(steps(count))), f"after {count} steps it went on"
