"""permessage-deflate (RFC 7692): what is agreed upon in the handshake, and messages through zlib after it.

A compressed message is a DEFLATE stream (RFC 1951) that was flushed to a byte boundary, which leaves an empty stored
block at its end; the four bytes `00 00 ff ff` of that block are not sent. *Context takeover* means that a message may
refer back to the last `2 ** window_bits` bytes of the messages before it. Without it every message stands alone, an
idle connection holds no state at all, and one compressed message fits every connection.

Inflating keeps no zlib object between messages in either mode. The receiver puts a last block behind each message, so
that zlib itself says whether the message was whole, and with context takeover keeps the last bytes of output, which is
all that the next message may refer to.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trunkline.engine.events import BadData, TooBig

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from trunkline.engine.handshake import Extension

__all__ = ["Agreement", "Deflate", "DeflateSettings", "compress", "negotiate"]

_NAME = "permessage-deflate"
_TAIL = b"\x00\x00\xff\xff"
# The rest of the stored block that every message ends in, and an empty last block.
_END = _TAIL + b"\x03\x00"
# RFC 7692 section 7.2.3.6: an empty message. zlib flushes nothing at all if it has flushed just before.
_EMPTY = b"\x00"
# A message may consist of several streams that each end in a last block (RFC 7692 section 7.2.3.4). What has been seen
# ends each message in one; the bound keeps the work linear, because zlib copies what lies behind such a block.
_MAX_STREAMS = 32
# With context takeover even a short message shrinks to a few bytes, if it resembles those before it.
_TAKEOVER_THRESHOLD = 16


@dataclass(frozen=True, slots=True)
class DeflateSettings:
    """How messages are compressed.

    Attributes:
        context_takeover: Whether messages refer back to earlier ones, in both directions. Saves most of the bytes of
            small messages that resemble each other. A connection then keeps about 45 KiB, 250 KiB with a window of 15
            bits, and no message to many can be compressed once.
        window_bits: 9 to 15: the window is `2 ** window_bits` bytes. 8 is not possible, because zlib cannot.
        memory_level: 1 to 9, as zlib's.
        level: 1 (fast) to 9 (small), as zlib's.
        threshold: Messages of fewer bytes are sent as they are, if there is no context takeover.
    """

    context_takeover: bool = False
    window_bits: int = 12
    memory_level: int = 5
    level: int = 3
    threshold: int = 256

    def __post_init__(self) -> None:
        for name, low, high in (("window_bits", 9, 15), ("memory_level", 1, 9), ("level", 1, 9)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"expected {low} to {high} as {name} of DeflateSettings, but got {value!r}")
        if self.threshold < 0:
            raise ValueError(f"expected 0 or more bytes as threshold of DeflateSettings, but got {self.threshold!r}")


class Agreement(NamedTuple):
    """What client and server agreed upon (RFC 7692 section 7.1).

    Attributes:
        server_takeover: Whether the server's messages refer back to earlier ones.
        client_takeover: Whether the client's may.
        server_bits: Window bits of the server's messages.
        client_bits: Window bits of the client's at most.
        header: The value of `Sec-WebSocket-Extensions` that tells the client.
    """

    server_takeover: bool
    client_takeover: bool
    server_bits: int
    client_bits: int
    header: bytes


def negotiate(offers: Iterable[Extension], settings: DeflateSettings) -> Agreement | None:
    """Take the first offer that can be accepted.

    An offer with an unknown parameter, a parameter twice, or a value that is not allowed is declined (RFC 7692
    section 7.1), not an error: the connection goes on without compression.

    Args:
        offers: The elements of the client's `Sec-WebSocket-Extensions`, in its order of preference.
        settings: What the server wants.
    """
    for offer in offers:
        if offer.name == _NAME:
            asked = _read(offer.parameters)
            if asked is not None:
                return _agree(asked, settings)
    return None


def _window_bits(value: str | None) -> int | None:
    # RFC 7692 section 7.1.2: "a decimal integer value without leading zeroes between 8 to 15 inclusive".
    return int(value) if value in ("8", "9", "10", "11", "12", "13", "14", "15") else None


def _server_bits(value: str | None) -> int | None:
    return _window_bits(value) if value != "8" else None


def _client_bits(value: str | None) -> int | None:
    # RFC 7692 section 7.1.2.2: without a value the client says that it takes a limit.
    return 15 if value is None else _window_bits(value)


def _flag(value: str | None) -> int | None:
    return 1 if value is None else None


# The parameters of an offer, and how each value is read: None declines the offer.
_PARAMETERS: Mapping[str, Callable[[str | None], int | None]] = {
    "server_no_context_takeover": _flag,
    "client_no_context_takeover": _flag,
    "server_max_window_bits": _server_bits,
    "client_max_window_bits": _client_bits,
}


def _read(parameters: Iterable[tuple[str, str | None]]) -> dict[str, int] | None:
    asked: dict[str, int] = {}
    for name, text in parameters:
        read = _PARAMETERS.get(name)
        value = read(text) if read is not None and name not in asked else None
        if value is None:
            return None
        asked[name] = value
    return asked


def _agree(asked: Mapping[str, int], settings: DeflateSettings) -> Agreement:
    server_takeover = settings.context_takeover and "server_no_context_takeover" not in asked
    client_takeover = settings.context_takeover and "client_no_context_takeover" not in asked
    server_bits = min(asked.get("server_max_window_bits", 15), settings.window_bits)
    # RFC 7692 section 7.1.2.2: who did not name the parameter must not be given a limit.
    limited = "client_max_window_bits" in asked
    client_bits = min(asked["client_max_window_bits"], settings.window_bits) if limited else 15
    parts = [_NAME]
    if not server_takeover:
        parts.append("server_no_context_takeover")
    if not client_takeover:
        parts.append("client_no_context_takeover")
    if server_bits < 15 or "server_max_window_bits" in asked:
        parts.append(f"server_max_window_bits={server_bits}")
    if limited:
        parts.append(f"client_max_window_bits={client_bits}")
    return Agreement(server_takeover, client_takeover, server_bits, client_bits, "; ".join(parts).encode("ascii"))


def compress(payload: bytes | bytearray | memoryview, window_bits: int, settings: DeflateSettings) -> bytes:
    """Compress a message that stands alone, for one connection or for all that agreed upon as large a window.

    Args:
        payload: The message; text in UTF-8.
        window_bits: `Deflate.shared_bits`, the smallest of all who are to get the message.
        settings: How to compress.
    """
    if not payload:
        return _EMPTY
    return _flush(_compressor(window_bits, settings), payload)


def _compressor(window_bits: int, settings: DeflateSettings) -> zlib._Compress:
    # Measured: copying a fresh compressor is no faster than making one.
    return zlib.compressobj(settings.level, zlib.DEFLATED, -window_bits, settings.memory_level)


def _flush(compressor: zlib._Compress, payload: bytes | bytearray | memoryview) -> bytes:
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]


class Deflate:
    """Compression of one connection.

    Args:
        agreement: What was negotiated.
        settings: What it was negotiated with.

    Attributes:
        threshold: A message of fewer bytes is better sent as it is.
        shared_bits: The window of the messages that `compress` can make for this connection and others together;
            None if its messages refer back to earlier ones.
    """

    __slots__ = ("_bits", "_client_bits", "_compressor", "_history", "_settings", "shared_bits", "threshold")

    def __init__(self, agreement: Agreement, settings: DeflateSettings) -> None:
        self._settings = settings
        self._bits = agreement.server_bits
        self.shared_bits = None if agreement.server_takeover else agreement.server_bits
        self.threshold = _TAKEOVER_THRESHOLD if agreement.server_takeover else settings.threshold
        # zlib's deflate takes 9 bits when asked for 8, so that is what many a client that agreed upon 8 does.
        self._client_bits = max(agreement.client_bits, 9)
        self._compressor: zlib._Compress | None = None
        self._history = b"" if agreement.client_takeover else None

    @property
    def frame_key(self) -> Hashable | None:
        """What a compressed frame depends on beside its message; None if it is on the messages before."""
        return None if self.shared_bits is None else (self.shared_bits, self._settings)

    def compress(self, payload: bytes | bytearray | memoryview) -> bytes:
        """The payload of a compressed frame (RFC 7692 section 7.2.1); the frame has RSV1 set."""
        if self.shared_bits is not None:
            return compress(payload, self._bits, self._settings)
        if not payload:
            return _EMPTY
        if self._compressor is None:
            self._compressor = _compressor(self._bits, self._settings)
        return _flush(self._compressor, payload)

    def inflate(self, payload: bytes, max_size: int) -> bytes:
        """The message of a compressed payload (RFC 7692 section 7.2.2).

        Args:
            payload: The joined payload of the message's frames.
            max_size: Bytes of the message at most. No more than that is ever inflated.

        Raises:
            TooBig: The message is larger than `max_size`.
            BadData: The payload is not a DEFLATE stream that ends where the message does.
        """
        if not payload:
            return b""  # what zlib flushes, and some clients send, for an empty message behind an empty message
        history = self._history or b""
        out = b""
        data = payload + _END
        for _ in range(_MAX_STREAMS):
            decoder = zlib.decompressobj(-self._client_bits, history)
            try:
                # One byte more than allowed: zlib takes 0 for no limit.
                piece = decoder.decompress(data, max_size - len(out) + 1)
            except zlib.error as error:
                raise BadData(f"the message is no DEFLATE stream: {error}") from None
            out += piece
            if len(out) > max_size:
                raise TooBig(f"the message inflates to more than {max_size} bytes")
            if not decoder.eof:
                raise BadData("the message ends inside a block")
            data = decoder.unused_data
            if data or self._history is not None:
                history = (history + piece)[-(1 << self._client_bits) :]
            # A message that ended in a last block has no stored block for our tail to complete.
            if not data or data == _END:
                if self._history is not None:
                    self._history = history
                return out
        raise BadData(f"the message consists of more than {_MAX_STREAMS} streams")
