"""Writing past a transport, on real sockets: what the loops are trusted with, and that no byte is out of place."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.engine.memory import Transport, frames
from trunkline.engine.codec import NATIVE
from trunkline.engine.connection import Connection
from trunkline.engine.direct import NOT_DIRECT, PLAIN, send_now, socket_of
from trunkline.engine.settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

pytestmark = pytest.mark.skipif(not NATIVE, reason="not compiled")
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
FAMILIES = {"TCP": socket.AF_INET, "unix": socket.AF_UNIX}
RESET = struct.pack("ii", 1, 0)

Run = Any  # a function that runs a test on a loop


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    def run(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(asyncio.wait_for(test, 30))

    return run


def pair(family: int) -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection, with small buffers in the kernel."""
    if family == socket.AF_UNIX:
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


async def opened(ours: socket.socket, **limits: Any) -> tuple[Connection, asyncio.Event]:
    """A connection on a socket, and what is set when it has ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    connection = Connection(loop, transport, EngineSettings(ping_interval=None, **limits), ended.set)
    transport.set_protocol(connection)
    connection.open(None)
    return connection, ended


class Witness(asyncio.Protocol):
    """Looks at its socket when the transport is lost."""

    def __init__(self, inode: int, descriptor: int) -> None:
        self.inode, self.descriptor = inode, descriptor
        self.lost: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self.lost.set_result(os.fstat(self.descriptor).st_ino == self.inode)
        except OSError:
            self.lost.set_result(False)


@asynccontextmanager
async def witnessed(family: int = socket.AF_INET) -> AsyncIterator[tuple[Any, Witness, socket.socket]]:
    """A transport, its protocol, and the other end."""
    ours, theirs = pair(family)
    witness = Witness(os.fstat(ours.fileno()).st_ino, ours.fileno())
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: witness, sock=ours)
    with theirs:
        yield transport, witness, theirs
        transport.abort()


def leave(transport: Any, theirs: socket.socket) -> None:
    theirs.close()


def reset(transport: Any, theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    theirs.close()


def write_to_nobody(transport: Any, theirs: socket.socket) -> None:
    transport.pause_reading()
    reset(transport, theirs)
    for _ in range(3):
        transport.write(bytes(100_000))


def close(transport: Any, theirs: socket.socket) -> None:
    transport.close()


def abort(transport: Any, theirs: socket.socket) -> None:
    transport.write(bytes(1_000_000))
    transport.abort()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("end", [leave, reset, write_to_nobody, close, abort])
def test_a_socket_is_open_until_the_transport_has_told_its_end(run: Run, end: Any, family: str) -> None:
    async def test() -> None:
        async with witnessed(FAMILIES[family]) as (transport, witness, theirs):
            end(transport, theirs)
            assert await witness.lost

    run(test())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_transport_counts_what_it_was_given_and_the_system_has_not_taken(run: Run, family: str) -> None:
    async def test() -> None:
        async with witnessed(FAMILIES[family]) as (transport, *_):
            assert transport.get_write_buffer_size() == 0
            transport.write(bytes(10_000_000))
            assert transport.get_write_buffer_size() > 0

    run(test())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_transport_is_passed_by(run: Run, family: str) -> None:
    async def test() -> None:
        async with witnessed(FAMILIES[family]) as (transport, witness, theirs):
            kind = type(transport)
            assert f"{kind.__module__}.{kind.__qualname__}" in PLAIN
            assert socket_of(transport) == witness.descriptor
            assert send_now(socket_of(transport), b"past it") == 7
            assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b"past it"

    run(test())


def test_a_transport_that_has_to_see_every_byte_is_not_passed_by(run: Run) -> None:
    class Counting:
        def __init__(self, transport: Any) -> None:
            self._transport = transport

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)

    async def test() -> None:
        async with witnessed() as (transport, *_):
            counting: Any = Counting(transport)
            assert socket_of(counting) == NOT_DIRECT
            made_up: Any = Transport()
            assert socket_of(made_up) == NOT_DIRECT

    run(test())


def test_a_transport_that_encrypts_is_not_passed_by(run: Run, certificate: Path) -> None:
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate))
    ours.load_cert_chain(certificate, f"{certificate}.key")

    async def test() -> None:
        seen: list[int] = []

        def served(_: Any, writer: asyncio.StreamWriter) -> None:
            seen.append(socket_of(writer.transport))  # type: ignore[arg-type]  # asyncio's types say less than it gives
            writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=ours)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=theirs)
            assert await reader.read() == b""
            writer.close()
        assert seen == [NOT_DIRECT]

    run(test())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_system_takes_the_peer_gets_all_in_order(run: Run, family: str, seed: int) -> None:
    """Small and large messages, to a peer that now reads and now does not."""
    chance = random.Random(seed)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = pair(FAMILIES[family])
        connection, ended = await opened(ours, high_water=20_000)
        sent: list[bytes] = []
        received = bytearray()

        async def read() -> None:
            while data := await loop.sock_recv(theirs, chance.choice([100, 5000, 1 << 16])):
                received.extend(data)
                if chance.random() < 0.2:
                    await asyncio.sleep(0.001)

        reader = loop.create_task(read())
        for number in range(400):
            payload = bytes([number % 256]) * chance.choice([1, 10, 100, 1000, 3000, 17_000, 70_000])
            while not connection.write_bytes(payload):
                await connection.drain()
            sent.append(payload)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            elif chance.random() < 0.3:
                connection.flush()
        connection.leave()
        await reader
        theirs.close()
        await ended.wait()
        assert [frame.payload for frame in frames(bytes(received))] == sent

    run(test())


def test_a_peer_that_is_gone_is_the_transports_to_find_out(run: Run) -> None:
    async def test() -> None:
        ours, theirs = pair(socket.AF_INET)
        connection, ended = await opened(ours)
        connection._transport.pause_reading()
        reset(connection._transport, theirs)
        while connection.write_text("anybody there?"):
            connection.flush()
            await asyncio.sleep(0)
        await ended.wait()
        assert connection.closed is not None
        assert connection.closed.code == 1006

    run(test())
