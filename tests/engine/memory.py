"""A connection in memory: a loop whose clock jumps to the next timer, a transport that records, a client's frames."""

from __future__ import annotations

import asyncio
import logging
import selectors
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from uvicorn.config import Config
from uvicorn.server import ServerState

from tests.engine.client_frames import CLOSE, client_frame
from tests.engine.heads import raw_request
from trunkline.engine import EngineSettings, WebSocketProtocol
from trunkline.engine.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trunkline.types import ASGIApp

__all__ = [
    "BareTransport",
    "ClockLoop",
    "Pair",
    "Peer",
    "Records",
    "ServerFrame",
    "Transport",
    "frames",
    "open_connection",
    "run",
    "settle",
    "unopened_connection",
]

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for the next timer, it moves the loop's clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("the test waits for something that cannot happen: there is no timer and nothing to run")
        self.now += max(timeout, 0)
        return super().select(0)


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run a test on a loop of its own whose clock jumps."""
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        return runner.run(test)


async def settle() -> None:
    """Let everything happen that needs no time to pass."""
    for _ in range(20):
        await asyncio.sleep(0)


class BareTransport:
    """What uvicorn's own tests give a WebSocket protocol for a transport, and no more."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False
        self.reading = True
        self.protocol: Any = None

    def get_extra_info(self, name: str, default: object = None) -> Any:
        return {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def write(self, data: bytes) -> None:
        assert not self.closed, f"written to a closed transport: {bytes(data)!r}"
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Transport(BareTransport):
    """A transport over TCP, or TLS: what is written arrives at once, until the peer stalls.

    Attributes:
        stuck: What has been written since the peer reads nothing; None while it reads.
    """

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__()
        self.tls = tls
        self.stuck: bytearray | None = None
        self.aborted = False
        self.eof = False
        self.high = 64 * 1024

    def get_extra_info(self, name: str, default: object = None) -> Any:
        return True if name == "sslcontext" and self.tls else super().get_extra_info(name, default)

    def write(self, data: bytes) -> None:
        assert not self.eof, "written behind the end of the stream"
        if self.stuck is None:
            super().write(data)
            return
        self.stuck += data
        if len(self.stuck) > self.high:
            self.protocol.pause_writing()

    def stall(self) -> None:
        """The peer stops reading."""
        self.stuck = bytearray()

    def flow(self) -> None:
        """The peer reads again."""
        assert self.stuck is not None
        stuck, self.stuck = self.stuck, None
        self.written += stuck
        self.protocol.resume_writing()
        if self.closed:
            self._lose()

    def get_write_buffer_size(self) -> int:
        return len(self.stuck or b"")

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def can_write_eof(self) -> bool:
        return not self.tls

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        if not self.closed:
            super().close()
            if not self.stuck:
                self._lose()

    def abort(self) -> None:
        self.aborted = True
        if not self.closed or self.stuck:
            self.closed = True
            self.stuck = None
            self._lose()

    def _lose(self) -> None:
        asyncio.get_running_loop().call_soon(lambda: self.protocol.connection_lost(None))

    # The peer

    def feed(self, data: bytes) -> None:
        """Bytes arrive, as the loop delivers them to the protocol of the moment."""
        if isinstance(self.protocol, asyncio.BufferedProtocol):
            view = memoryview(self.protocol.get_buffer(-1))
            view[: len(data)] = data
            self.protocol.buffer_updated(len(data))
        else:
            self.protocol.data_received(data)

    def feed_eof(self) -> None:
        """The peer sends no more."""
        if not self.protocol.eof_received():
            self.close()


class ServerFrame(NamedTuple):
    """A frame of a server."""

    opcode: int
    payload: bytes
    rsv1: bool = False


def frames(data: bytes | bytearray) -> list[ServerFrame]:
    """The frames that a server has written; fails on half a frame."""
    found = []
    position = 0
    while position < len(data):
        first, length = data[position], data[position + 1]
        assert first & 0xB0 == 0x80, "a server's frame is final and has no reserved bit but RSV1"
        assert not length & 0x80, "a server's frame is not masked (RFC 6455 section 5.1)"
        size = {126: 2, 127: 8}.get(length, 0)
        start = position + 2 + size
        if size:
            length = int.from_bytes(data[position + 2 : start])
        position = start + length
        assert position <= len(data)
        found.append(ServerFrame(first & 15, bytes(data[start:position]), bool(first & 0x40)))
    return found


class Client:
    """The client's side of a transport that frames go through."""

    transport: Any

    def send(self, *parts: bytes) -> None:
        """Send frames, in one read."""
        self.transport.feed(b"".join(parts))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self.send(client_frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason.encode()))

    def frames(self) -> list[ServerFrame]:
        """What has arrived since accept."""
        return frames(self.transport.written)

    def messages(self) -> list[str | bytes]:
        """The messages that have arrived."""
        return [
            frame.payload.decode() if frame.opcode == 1 else frame.payload
            for frame in self.frames()
            if frame.opcode < 8
        ]

    def close_frame(self) -> tuple[int, str] | None:
        """The close frame that has arrived; nothing may follow it."""
        closes = [frame.payload for frame in self.frames() if frame.opcode == CLOSE]
        assert len(closes) <= 1, "two close frames"
        if not closes:
            return None
        assert self.frames()[-1].opcode == CLOSE, "something follows the close frame"
        payload = closes[0]
        return (int.from_bytes(payload[:2]) if payload else 1005), payload[2:].decode()


class Pair(Client):
    """A connection without a handshake, and its client."""

    def __init__(self, settings: EngineSettings, *, tls: bool = False) -> None:
        transport: Any = Transport(tls=tls)
        self.transport = transport
        self.ends = 0
        self.connection = Connection(asyncio.get_running_loop(), transport, settings, self._ended)
        self.transport.protocol = self.connection

    def _ended(self) -> None:
        self.ends += 1


def unopened_connection(*, tls: bool = False, **settings: Any) -> Pair:
    """A connection before accept; without pings unless they are asked for."""
    return Pair(EngineSettings(**{"ping_interval": None, **settings}), tls=tls)


def open_connection(*, tls: bool = False, **settings: Any) -> Pair:
    """A connection right behind accept; without pings unless they are asked for."""
    pair = unopened_connection(tls=tls, **settings)
    pair.connection.open(None)
    return pair


class Peer(Client):
    """A client of the protocol class as uvicorn makes it, for an application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        protocol: type[WebSocketProtocol] = WebSocketProtocol,
        transport: Any = None,
        state: ServerState | None = None,
        **options: Any,
    ) -> None:
        config = Config(app, log_config=None, **{"ws_ping_interval": None, **options})
        config.load()
        config.loaded_app = app
        self.state = state or ServerState()
        self.protocol = protocol(config, self.state, {"from": "lifespan"})
        self.transport = Transport() if transport is None else transport
        self.transport.protocol = self.protocol
        self.head = b""

    async def connect(self, request: bytes | None = None) -> bytes:
        """Send the request, and return the head of what comes back; b"" when nothing does yet."""
        self.protocol.connection_made(self.transport)
        self.transport.feed(raw_request() if request is None else request)
        await settle()
        return self.take_head()

    def take_head(self) -> bytes:
        """Take the head of the response out of what was written."""
        head, end, rest = bytes(self.transport.written).partition(b"\r\n\r\n")
        if end:
            self.head = head
            self.transport.written[:] = rest
        return self.head

    @property
    def status(self) -> int:
        """The status of the response."""
        return int(self.head.split(b" ")[1])

    @property
    def body(self) -> bytes:
        """What follows the head of a refusal."""
        return bytes(self.transport.written)


class Records(logging.Handler):
    """What uvicorn's log was told."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self, level: int = logging.INFO) -> list[str]:
        """The messages of a level and above."""
        return [record.getMessage() for record in self.records if record.levelno >= level]
