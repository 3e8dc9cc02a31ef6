"""The servers of a cluster: each is responsible for some of 16384 slots, and a topic is in one of them.

Which is responsible is asked when the hub starts, whenever a server fails, and whenever one says that it is not. Then
everything of a topic that has gone elsewhere goes there too, in its order: what was asked for and has not been done,
and the subscription. A server that is responsible for nothing any more is let go. Until the answer has come all is
believed to be where it was: at first at the first address of the URL, which says otherwise where it is not.
"""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial
from typing import TYPE_CHECKING

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from trunkline.hub.brokers.redis.connecting import FAILURES, Connector, drop, pauses, within
from trunkline.hub.brokers.redis.naming import SHARDED, slot_name
from trunkline.hub.brokers.redis.servers import Server, Servers
from trunkline.hub.brokers.redis.urls import Address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.hub.brokers.base import Receiver
    from trunkline.hub.brokers.redis.urls import Target
    from trunkline.hub.globs import Key

__all__ = ["Cluster"]

logger = logging.getLogger("trunkline.hub")

# A server that takes longer to tell of the cluster is not waited for: another one knows as well.
ANSWER_TIMEOUT = 1.0


class Cluster(Servers):
    """The servers of a cluster.

    Args:
        target: Some of them.
        receiver: The hub.
    """

    words = SHARDED

    def __init__(self, target: Target, receiver: Receiver) -> None:
        self._target = target
        self._receiver = receiver
        self._servers: dict[Address, Server] = {}
        self._past_reconnects = 0
        self._doubtful = asyncio.Event()
        self._owners = [target.hosts[0]] * REDIS_CLUSTER_HASH_SLOTS
        self._start(target.hosts[0])
        self._doubtful.set()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def of(self, key: Key) -> Server:
        """The server of a topic's slot, as far as is known."""
        return self._servers[self._owner(key)]

    def _owner(self, key: Key) -> Address:
        assert isinstance(key, str), "a cluster takes no patterns"
        return self._owners[key_slot(b"{%b}" % slot_name(key).encode())]

    @property
    def all(self) -> Iterable[Server]:
        """Those that are responsible for a slot."""
        return tuple(self._servers.values())

    @property
    def reconnects(self) -> int:
        """How many times a connection was lost or could not be made."""
        return self._past_reconnects + sum(server.reconnects for server in self._servers.values())

    async def stop(self) -> None:
        """Close all connections."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(*(server.stop() for server in self._servers.values()))

    def _start(self, address: Address) -> None:
        connector = Connector(address, self._target.options)
        self._servers[address] = Server(connector, self._receiver, self.words, self._doubtful.set)

    # Who is responsible

    async def _watch(self) -> None:
        waits = pauses()
        while True:
            if not self._doubtful.is_set():
                waits = pauses()
            await self._doubtful.wait()
            self._doubtful.clear()
            await self._hand_over(await self._ask_somebody() or self._owners)
            await asyncio.sleep(next(waits))

    async def _ask_somebody(self) -> list[Address] | None:
        known = list({*self._servers, *self._target.hosts})
        random.shuffle(known)
        for address in known:
            try:
                async with within(ANSWER_TIMEOUT, address):
                    return await self._ask(address)
            except FAILURES as error:
                logger.debug("%s does not tell of the cluster: %s", address, error)
        return None

    async def _ask(self, address: Address) -> list[Address]:
        connection = await Connector(address, self._target.options).connect()
        try:
            await connection.send_command("CLUSTER", "SLOTS")
            answer = await connection.read_response(disconnect_on_error=False)
        finally:
            await drop(connection)
        owners = list(self._owners)
        for first, last, (host, port, *_), *_ in answer:
            # A server that does not know its own name leaves it out.
            owners[first : last + 1] = [Address((host or b"").decode() or address.host, port)] * (last + 1 - first)
        return owners

    # What goes elsewhere

    async def _hand_over(self, owners: list[Address]) -> None:
        self._owners = owners
        responsible = set(owners)
        for address in responsible - self._servers.keys():
            self._start(address)
        for address in tuple(self._servers):
            self._redistribute(address)
        for server in self._servers.values():
            server.listener.ask_again()
        for address in self._servers.keys() - responsible:
            await self._servers[address].disconnect()
            # What it was doing, and may be done again.
            self._redistribute(address)
            self._past_reconnects += self._servers.pop(address).reconnects

    def _redistribute(self, address: Address) -> None:
        server = self._servers[address]
        is_ours = partial(self._is_of, address)
        for call in server.commands.give_up(is_ours):
            self.of(call.topic).commands.take([call])
        for wish in server.listener.give_up(is_ours):
            self.of(wish.key).listener.take([wish])

    def _is_of(self, address: Address, key: Key) -> bool:
        return self._owner(key) == address
