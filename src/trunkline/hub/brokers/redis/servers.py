"""The servers that a broker speaks to: one, wherever it is, or those of a cluster (`cluster`)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from trunkline.hub.brokers.redis.commands import Commands
from trunkline.hub.brokers.redis.connecting import Connector, MasterConnector
from trunkline.hub.brokers.redis.listener import Listener
from trunkline.hub.brokers.redis.naming import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.hub.brokers.base import Receiver
    from trunkline.hub.brokers.redis.naming import PubSub
    from trunkline.hub.brokers.redis.urls import Target
    from trunkline.hub.globs import Key

__all__ = ["One", "Server", "Servers"]


class Server:
    """Both connections to one server, in tasks of their own.

    Args:
        connector: Makes them.
        receiver: The hub.
        words: The kind of pub/sub.
        failed: Called when one of them was lost, or when another server seems to be responsible.
    """

    def __init__(
        self,
        connector: Connector | MasterConnector,
        receiver: Receiver,
        words: PubSub,
        failed: Callable[[], None],
    ) -> None:
        self.commands = Commands(connector, failed)
        self.listener = Listener(connector, receiver, words, failed)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.commands.run()), loop.create_task(self.listener.run())]

    async def disconnect(self) -> None:
        """End both connections; what is wanted of them stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """End both connections, and let nobody wait for them."""
        await self.disconnect()
        self.commands.stop()
        self.listener.stop()

    @property
    def reconnects(self) -> int:
        """How many times a connection was lost or could not be made."""
        return self.commands.reconnects + self.listener.reconnects


class Servers(ABC):
    """Which server is responsible for a topic. Made in the event loop in which it is used."""

    words: PubSub

    @abstractmethod
    def of(self, key: Key) -> Server:
        """The server of a topic, as far as is known."""

    @property
    @abstractmethod
    def all(self) -> Iterable[Server]:
        """All that are responsible for something."""

    @property
    @abstractmethod
    def reconnects(self) -> int:
        """How many times a connection was lost or could not be made."""

    @abstractmethod
    async def stop(self) -> None:
        """Close all connections."""


class One(Servers):
    """One server for all topics: always the same, or the master of which Sentinels tell.

    Args:
        target: Where it is found.
        receiver: The hub.
    """

    words = PLAIN

    def __init__(self, target: Target, receiver: Receiver) -> None:
        connector = MasterConnector(target) if target.master else Connector(target.hosts[0], target.options)
        self._server = Server(connector, receiver, self.words, lambda: None)

    def of(self, key: Key) -> Server:
        """The server."""
        return self._server

    @property
    def all(self) -> Iterable[Server]:
        """The server."""
        return (self._server,)

    @property
    def reconnects(self) -> int:
        """How many times a connection was lost or could not be made."""
        return self._server.reconnects

    async def stop(self) -> None:
        """Close both connections."""
        await self._server.stop()
