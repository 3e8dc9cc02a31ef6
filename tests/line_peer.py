"""The same connection as `AsgiPeer`, on our engine: a client's bytes in, a server's bytes out, through memory.

The application is the test itself: its scope, `receive` and `send` are handed out, and its task waits for the end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.engine.client_frames import BINARY as BINARY_FRAME, CLOSE, TEXT, client_frame
from tests.engine.heads import raw_request
from trunkline.engine import WebSocketProtocol
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from trunkline.types import Message, Receive, Scope, Send


class MemoryTransport:
    """What the protocol does to its transport."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closing = False
        self.reading = True

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 80)}.get(name)

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class LinePeer:
    """The client's side of one connection, and the server beneath the test."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self._answered = 0
        self._gone = False

    async def called(self) -> tuple[Scope, Receive, Send]:
        """What the application is called with."""
        called: asyncio.Future[tuple[Scope, Receive, Send]] = asyncio.get_running_loop().create_future()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            called.set_result((scope, receive, send))
            await asyncio.Event().wait()

        config = Config(app, log_config=None, log_level="critical", ws_ping_interval=None)
        config.load()
        config.loaded_app = app
        self._protocol = WebSocketProtocol(config, ServerState(), {})
        self._protocol.connection_made(self.transport)
        self._protocol.data_received(raw_request())
        return await called

    async def accepted(self, **_: object) -> WebSocket:
        """A `WebSocket` of this connection, accepted, with nothing sent or read since."""
        return await self.accept(WebSocket(*await self.called()))

    async def accept(self, websocket: WebSocket) -> WebSocket:
        """Accept a `WebSocket` of this connection, and look only at what is sent from then on."""
        await websocket.accept()
        self._answered = self.transport.written.index(b"\r\n\r\n") + 4
        return websocket

    def says(self, *messages: Message) -> None:
        """The client sends what these ASGI messages tell of."""
        for message in messages:
            if message["type"] == "websocket.disconnect":
                self.closes(message["code"], message.get("reason", ""))
            elif message.get("text") is not None:
                self._frame(TEXT, message["text"].encode())
            else:
                self._frame(BINARY_FRAME, message["bytes"])

    def sends(self, *texts: str) -> None:
        """The client sends text messages."""
        for text in texts:
            self._frame(TEXT, text.encode())

    def closes(self, code: int = 1000, reason: str = "") -> None:
        """The client closes, or is lost where the code is 1006."""
        if code == 1006:
            self.lost = True
        else:
            self._frame(CLOSE, code.to_bytes(2) + reason.encode())

    @property
    def reading(self) -> int:
        """How many wait inside the server for the next message."""
        return int(self._protocol._connection.waiting)

    @property
    def lost(self) -> bool:
        """Whether the connection is gone; setting it drops the connection."""
        return self._gone

    @lost.setter
    def lost(self, _: bool) -> None:
        self._gone = True
        self._protocol.connection_lost(None)

    def stalls(self) -> None:
        """The client stops reading: sends wait."""
        self._protocol.pause_writing()

    def resumes(self) -> None:
        """The client reads again."""
        self._protocol.resume_writing()

    @property
    def sent(self) -> list[Message]:
        """What the application has sent since accept, read from the bytes by another implementation."""
        self._protocol._connection.flush()
        client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
        client.receive_data(bytes(self.transport.written[self._answered :]))
        return [_message(event) for event in client.events_received() if isinstance(event, Frame)]

    def texts(self) -> list[str]:
        """The texts that the application has sent."""
        return [message["text"] for message in self.sent if "text" in message]

    def _frame(self, opcode: int, payload: bytes) -> None:
        data = client_frame(opcode, payload)
        self._protocol.data_received(data)


def _message(frame: Frame) -> Message:
    data = bytes(frame.data)
    if frame.opcode is Opcode.TEXT:
        return {"type": "websocket.send", "text": data.decode()}
    if frame.opcode is Opcode.BINARY:
        return {"type": "websocket.send", "bytes": data}
    close = Close.parse(data)
    return {"type": "websocket.close", "code": int(close.code), "reason": close.reason}
