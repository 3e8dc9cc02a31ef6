"""A server that has been started and still loads its data: whatever it is asked, it says so, and has done nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.line_peer import LinePeer
from trunkline.hub import Hub
from trunkline.hub.brokers.redis import RedisBroker, connecting
from trunkline.hub.brokers.redis.replies import Replies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
ANSWERS = {
    b"SCRIPT": b"+sha\r\n",
    b"INFO": b"$10\r\nrun_id:1\r\n\r\n",
    b"PUBLISH": b":1\r\n",
}


class Server:
    """Answers each command as Redis would, after it has said once of some that it loads."""

    def __init__(self, *loading: bytes) -> None:
        self.loading = set(loading)
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        commands = Replies(RuntimeError)  # a command is an array, as a reply may be
        while piece := await reader.read(4096):
            for command, *words in commands.feed(piece):
                if command in self.loading:
                    self.loading.discard(command)
                    writer.write(LOADING)
                elif command == b"SUBSCRIBE":
                    (channel,) = words
                    writer.write(b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(channel), channel))
                else:
                    writer.write(ANSWERS.get(command, b"+OK\r\n"))
        writer.close()

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[Hub]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server, Hub(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as hub:
            yield hub


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "LONGEST_PAUSE", 0.01)


@pytest.mark.parametrize("command", [b"INFO", b"PUBLISH"])
def test_what_is_published_meanwhile_is_published_behind_the_next_connection(command: bytes) -> None:
    async def test() -> None:
        server = Server(command)
        async with asyncio.timeout(20), server.hub() as hub:
            assert await hub.topic("t").publish("x", timeout=10) is None
        assert server.connections == 2

    asyncio.run(test())


def test_who_joins_meanwhile_is_in_behind_the_next_connection() -> None:
    async def test() -> None:
        server = Server(b"SUBSCRIBE")
        async with asyncio.timeout(20), server.hub() as hub:
            async with hub.topic("t").join(await LinePeer().accepted()) as member:
                assert member.joined
            assert isinstance(hub.broker, RedisBroker)
            assert hub.broker.reconnects == 1
        assert server.connections == 2

    asyncio.run(test())
