"""Typed messages of a `WebSocket`: what its methods for them do, beside what it has for text and bytes.

An iteration is the hot path: its codec is looked up once, and a message is taken from the Line where there is one and
decoded from what came, with neither a call nor a copy in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from trunkline.messages import InvalidMessage, MessageSettings, codec_for, encode
from trunkline.states import CloseInfo, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from typing_extensions import TypeForm

    from trunkline.line import Line
    from trunkline.turn import Turn

__all__ = ["TypedMessages"]

T = TypeVar("T")


class TypedMessages:
    """The part of `WebSocket` that speaks typed messages.

    Attributes:
        message_settings: How they are encoded, and what becomes of invalid ones; set before `accept` where it names
            subprotocols.
    """

    message_settings: MessageSettings = MessageSettings()

    _invalid_in_a_row: int = 0

    if TYPE_CHECKING:
        _fast_in: Line | None
        _fast_out: Line | None
        _sending: Turn

        @property
        def closed(self) -> bool:
            """Whether the end is known."""

        async def _receive_any(self) -> str | bytes:
            """The next message, text or binary."""

        async def _try(self, send: Callable[[Any], Awaitable[None]], data: Any) -> bool:
            """Whether it could be sent."""

        async def send_text(self, data: str) -> None:
            """Send a text message."""

        async def send_bytes(self, data: bytes) -> None:
            """Send a binary message."""

        async def close(self, code: int = 1000, reason: str | None = None) -> None:
            """Close the connection."""

    async def receive_message(self, type_: TypeForm[T], /) -> T:
        """The next valid message of a type, decoded and validated.

            message = await websocket.receive_message(Join | Say | Leave)

        What becomes of invalid ones is said in `message_settings`; by default they are answered, and the next one is
        waited for.

        Args:
            type_: A class (of pydantic or msgspec, a dataclass, a TypedDict), a union of some, or any other type that
                the codec can decode.

        Raises:
            WebSocketDisconnect: The client has closed, or is gone; or the connection was closed for an invalid message.
            InvalidMessage: A message is invalid, and the settings say `"raise"`.
            CodecError: The codec cannot handle the type.
            WebSocketDisconnected: The connection has not been accepted, or has ended.
        """
        decode = codec_for(type_, self.message_settings.codec).decode
        while True:
            data = await self._receive_any()
            try:
                message = decode(data)
            except InvalidMessage as error:
                await self._reject(error)
            else:
                self._invalid_in_a_row = 0
                return message

    def iter_messages(self, type_: TypeForm[T], /) -> AsyncIterator[T]:
        """Valid messages of a type until the connection ends, which ends the iteration quietly.

            async for message in websocket.iter_messages(Join | Say | Leave):
                ...

        Args:
            type_: As for `receive_message`, which says the rest too.

        Raises:
            CodecError: The codec cannot handle the type.
        """
        return self._iterate(codec_for(type_, self.message_settings.codec).decode)

    async def _iterate(self, decode: Callable[[str | bytes], T]) -> AsyncGenerator[T, None]:
        try:
            while True:
                line = self._fast_in
                data = None if line is None else line.take()
                if data is None:
                    data = await self._receive_any()
                try:
                    message = decode(data)
                except InvalidMessage as error:
                    await self._reject(error)
                    continue
                if self._invalid_in_a_row:
                    self._invalid_in_a_row = 0
                yield message
        except WebSocketDisconnect:
            pass

    def _verdict(self, error: InvalidMessage) -> str | bytes | CloseInfo:
        """What one more invalid message leads to: an answer or a close."""
        self._invalid_in_a_row += 1
        return self.message_settings.verdict(error, self._invalid_in_a_row)

    async def _reject(self, error: InvalidMessage) -> None:
        verdict = self._verdict(error)
        if isinstance(verdict, CloseInfo):
            await self._close_for(verdict)
        elif not self.closed:  # what the client sent before it closed is still to be received
            await self._send_encoded(verdict)

    async def _close_for(self, verdict: CloseInfo) -> NoReturn:
        await self._try(self._close_with, verdict)
        raise WebSocketDisconnect(*verdict)

    async def _close_with(self, verdict: CloseInfo) -> None:
        await self.close(*verdict)

    async def _send_encoded(self, data: str | bytes) -> None:
        if isinstance(data, str):
            await self.send_text(data)
        else:
            await self.send_bytes(data)

    async def send_message(self, value: object) -> None:
        """Send a value as a typed message, in the codec of `message_settings`.

        Args:
            value: What the codec can encode: a model or a Struct, a dataclass, a dict, ...

        Raises:
            CodecError: The codec cannot encode it.
            WebSocketDisconnect: The client is gone (1006).
            WebSocketDisconnected: The connection has been closed.
            RuntimeError: It has not been accepted.
        """
        data = encode(value, self.message_settings.codec)
        line = self._fast_out
        if (
            line is None
            or self._sending.taken
            or not (line.write_text(data) if isinstance(data, str) else line.write_bytes(data))
        ):
            await self._send_encoded(data)

    async def try_send_message(self, value: object) -> bool:
        """Send a typed message if the connection is open, like `send_message`, waiting as it does.

        Args:
            value: What the codec can encode.

        Returns:
            True when the message was handed to the server, False when either side has closed or the client is gone.

        Raises:
            CodecError: The codec cannot encode it.
            RuntimeError: The connection has not been accepted.
        """
        return await self._try(self._send_encoded, encode(value, self.message_settings.codec))
