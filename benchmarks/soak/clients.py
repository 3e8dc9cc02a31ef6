"""Clients as they come: polite ones, and those that break off, stall, lie or send what is no WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING

from tests.engine.client_frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, client_frame, header, text
from tests.engine.heads import raw_request, usual
from tests.engine.served import reset_at_close

if TYPE_CHECKING:
    import random
    import ssl
    from collections.abc import Awaitable, Callable

__all__ = ["BEHAVIOURS", "Client"]

PATIENCE = 30.0  # the server ends every connection long before
ENDPOINTS = ("echo", "asgi", "tasks", "listener", "waiting", "failing", "busy", "flood", "crash", "close")
ECHOING = ("echo", "asgi", "listener", "waiting")
GOODBYE = client_frame(CLOSE, (1000).to_bytes(2))


class Client:
    """One connection.

    Args:
        port: The server's.
        tls: How it speaks TLS, None if it does not.
        chance: What decides.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None, chance: random.Random) -> None:
        self._port = port
        self._tls = tls
        self.chance = chance

    async def __aenter__(self) -> Client:
        opening = asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls, limit=1 << 16)
        self.reader, self.writer = await opening
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def shake_hands(self, path: str, *, deflate: bool = False) -> None:
        """Open a WebSocket."""
        self.send(request(path, deflate=deflate))
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    async def read_to_end(self) -> None:
        """Read until the server ends the connection."""
        while await self.reader.read(1 << 16):
            pass

    async def read_some(self) -> None:
        """Read for a moment."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.reader.read(1 << 16), self.chance.uniform(0, 0.05))

    def reset(self) -> None:
        """Drop the connection with a reset, as a process that is killed with bytes unread does."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None:  # the loops forget it at the end, which the server may have brought
            reset_at_close(sock)
        self.writer.transport.abort()

    def message(self) -> bytes:
        """A message in one frame or in several, with a ping between them."""
        payload = self.chance.randbytes(self.chance.choice((0, 5, 125, 126, 1000, 70_000)))
        if self.chance.random() < 0.5:
            return client_frame(BINARY, payload)
        half = len(payload) // 2
        parts = client_frame(BINARY, payload[:half], fin=False), client_frame(CONTINUATION, payload[half:])
        return client_frame(PING, b"between").join(parts)


def request(path: str, *, deflate: bool = False) -> bytes:
    extensions = ((b"Sec-WebSocket-Extensions", b"permessage-deflate"),) if deflate else ()
    return raw_request(usual(*extensions), f"GET /{path} HTTP/1.1".encode())


async def polite(client: Client) -> None:
    """Sends messages, reads what comes, and closes as the RFC says."""
    await client.shake_hands(client.chance.choice(ENDPOINTS))
    for _ in range(client.chance.randrange(4)):
        client.send(client.message())
        await client.read_some()
    client.send(GOODBYE)
    await client.read_to_end()


async def compressing(client: Client) -> None:
    """Sends compressed messages and large ones, some of which inflate to too much."""
    await client.shake_hands(client.chance.choice(ECHOING), deflate=True)
    size = client.chance.choice((10, 1000, 100_000, 2_000_000))
    compressor = zlib.compressobj(wbits=-12)
    payload = (compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    client.send(client_frame(BINARY, payload, rsv=4) + GOODBYE)
    await client.read_to_end()


async def resetting(client: Client) -> None:
    await client.shake_hands(client.chance.choice(ENDPOINTS))
    client.send(client.message())
    await client.read_some()
    client.reset()


async def half_closing(client: Client) -> None:
    """Ends its side without a close frame; TLS cannot be half-closed, so the whole there."""
    await client.shake_hands(client.chance.choice(ENDPOINTS))
    client.send(client.message())
    if not client.writer.can_write_eof():
        client.writer.close()
        return
    client.writer.write_eof()
    await client.read_to_end()


async def hasty(client: Client) -> None:
    """Sends a handshake and frames, or a part of them, in one go, and is gone."""
    stream = request(client.chance.choice(ENDPOINTS)) + client.message() + GOODBYE
    client.send(stream[: client.chance.randrange(len(stream))])
    await client.read_some()
    if client.chance.random() < 0.5:
        client.reset()


async def silent(client: Client) -> None:
    """Connects and says nothing."""
    await client.read_some()


async def slow(client: Client) -> None:
    """Sends a frame byte by byte, and never all of it."""
    await client.shake_hands(client.chance.choice(ECHOING))
    for byte in client_frame(TEXT, b"x" * 100)[: client.chance.randrange(1, 20)]:
        client.send(bytes([byte]))
        await asyncio.sleep(0.002)


async def stalling(client: Client) -> None:
    """Reads nothing, however much comes, until the server gives it up."""
    await client.shake_hands("flood")
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # StreamWriter says WriteTransport
    await asyncio.sleep(client.chance.uniform(0, 2))
    if client.chance.random() < 0.5:
        client.reset()


async def impatient(client: Client) -> None:
    """Does not wait for the answer to its handshake, or does until the server gives the application up."""
    client.send(request(client.chance.choice(("late", "denied", "nowhere"))))
    if client.chance.random() < 0.7:
        await client.read_some()
    else:
        await client.read_to_end()


async def violating(client: Client) -> None:
    """Breaks the protocol, and reads what is said of that."""
    await client.shake_hands(client.chance.choice(ECHOING))
    client.send(client.message())
    client.send(client.chance.choice(VIOLATIONS))
    await client.read_to_end()


async def babbling(client: Client) -> None:
    """Sends noise, before the handshake or behind it."""
    if client.chance.random() < 0.5:
        await client.shake_hands(client.chance.choice(ECHOING))
    client.send(client.chance.randbytes(client.chance.randrange(1, 2000)))
    await client.read_some()


VIOLATIONS = (
    client_frame(3),
    client_frame(CONTINUATION, b"of nothing"),
    client_frame(TEXT, b"\xff"),
    client_frame(TEXT, b"unmasked", mask=None),
    client_frame(PING, bytes(125), fin=False),
    client_frame(CLOSE, b"\x03"),
    header(BINARY, 1 << 62),
    text("compressed", fin=False) + client_frame(TEXT),
)

# How often each comes, beside the others.
BEHAVIOURS: dict[Callable[[Client], Awaitable[None]], int] = {
    polite: 6,
    compressing: 2,
    resetting: 4,
    half_closing: 2,
    hasty: 4,
    silent: 1,
    slow: 1,
    stalling: 1,
    impatient: 2,
    violating: 3,
    babbling: 2,
}
