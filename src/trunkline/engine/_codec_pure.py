"""The codec in pure Python: the same interface and behaviour as `_codec`, where that could not be built.

The theory is the native codec's, with three differences: what is held of a frame that cannot begin yet is put in
front of the next read (131 bytes at most, so the work stays linear), the store is a `bytearray`, and text that
arrives in pieces is checked by Python's incremental decoder.

Calls are what costs here, so the messages that nearly all are (one frame of less than 64 KiB, uncompressed, whole in
the read) are taken in one call before anything else is looked at. Whatever is not such a message, and whatever is
wrong with one, is left to the way that all others go.
"""

from __future__ import annotations

import codecs
import functools
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from trunkline.engine import events
from trunkline.engine.events import BadData, Close, TooBig, Violation, control_event, too_big

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from trunkline.engine.events import Event

__all__ = ["Decoder", "binary_frame", "frame", "frame_header", "text_frame"]

CONTINUATION, TEXT, BINARY, CONTROL = 0x0, 0x1, 0x2, 0x8
KNOWN_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, 0x8, 0x9, 0xA})
FINAL = MASKED = 0x80
RSV1, RSV2_RSV3 = 0x40, 0x30
MUCH = 16 * 1024
WHOLE_TEXT = FINAL | TEXT
WHOLE = (WHOLE_TEXT, FINAL | BINARY)
NOTHING = 0

# How a payload length is written behind the first two bytes (RFC 6455 5.2): its size, and the smallest that needs it.
LENGTH_FORMS = {126: (2, 126), 127: (8, 0x10000)}
write_tiny, write_short, write_long = Struct("!BB").pack, Struct("!BBH").pack, Struct("!BBQ").pack

from_bytes = int.from_bytes


class Frame(NamedTuple):
    """The header of a frame, and its own size."""

    opcode: int
    final: bool
    rsv1: bool
    length: int
    mask: bytes
    header: int


@functools.cache
def xor_table(byte: int) -> bytes:
    """What each byte becomes under one byte of a mask."""
    return bytes(byte ^ number for number in range(256))


def unmask(data: bytes, mask: bytes) -> bytes:
    """RFC 6455 section 5.3: as one operation on two long numbers, or, for much data, on every fourth byte at a time."""
    size = len(data)
    if size >= MUCH:
        unmasked = bytearray(size)
        for place in range(4):
            unmasked[place::4] = data[place::4].translate(xor_table(mask[place]))
        return bytes(unmasked)
    return (from_bytes(data) ^ from_bytes((mask * (size // 4 + 1))[:size])).to_bytes(size)


class Utf8Check:
    """Checks text that arrives in pieces, and finds what is wrong as soon as it is seen."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def continues(self, data: bytes) -> bool:
        """Whether `data` may stand where the text has come to."""
        try:
            self._decoder.decode(data)
        except UnicodeDecodeError:
            return False
        # Python takes the first two bytes of an encoded surrogate, and refuses them at the third.
        begun = self._decoder.getstate()[0]
        return not (begun[:1] == b"\xed" and begun[1:2] >= b"\xa0")


class Decoder:
    """Turns what a client sends into messages and events.

    Args:
        max_message: Bytes of one message at most, after inflating.
        inflate: Given when permessage-deflate was negotiated: called with the payload of a compressed message and the
            largest size allowed; raises `TooBig` or `BadData`.
    """

    __slots__ = (
        "_compressed",
        "_ended",
        "_final",
        "_held",
        "_inflate",
        "_kind",
        "_left",
        "_mask",
        "_max_message",
        "_store",
        "_utf8",
        "received",
    )

    def __init__(self, max_message: int, inflate: Callable[[bytes, int], bytes] | None = None) -> None:
        if max_message < 0:
            raise ValueError(f"max_message is a number of bytes, 0 or more, but it is {max_message}")
        self._max_message = max_message
        self._inflate = inflate
        self._ended = False
        self.received = 0
        self._forget()

    def _forget(self) -> None:
        """Give up what is held of a frame or message."""
        self._held = b""
        self._kind = NOTHING
        self._compressed = False
        self._store = bytearray()
        self._left = 0
        self._final = False
        self._mask = b""

    @property
    def buffered(self) -> int:
        """Bytes held of a frame or message that is not whole yet."""
        return len(self._held) + len(self._store)

    @property
    def in_message(self) -> bool:
        """Whether a part of a frame or message has come, and its rest has not."""
        return self._kind != NOTHING or bool(self._held)

    def feed(self, data: bytes | bytearray | memoryview, size: int, messages: list[str | bytes]) -> list[Event] | None:
        """Take the first `size` bytes of `data`, and append to `messages` what they complete.

        Args:
            data: Any bytes-like object; it is only read, and no reference to it is kept.
            size: Bytes of it that count.
            messages: Gets whole messages in order: `str` for text, `bytes` for binary.

        Returns:
            The events in order, or None. A `Close` or `Violation` is the last, stands behind all messages, and what
            is fed after it is ignored.
        """
        if not 0 <= size <= len(data):
            raise ValueError(f"size is {size}, but the data has {len(data)} bytes")
        if self._ended:
            return None
        read = bytes(data[:size])
        if self._held:
            read = self._held + read
        elif self._kind == NOTHING:
            taken = self._take_messages(read, size, messages)
            if taken == size:
                return None
            if taken:
                read = read[taken:]
        return self._read(read, messages) if read else None

    def _take_messages(self, data: bytes, size: int, messages: list[str | bytes]) -> int:
        """Take the messages at the beginning that are one short frame each; where what is something else begins."""
        start, received, limit = 0, 0, self._max_message
        while size - start >= 8:
            first, length = data[start], data[start + 1] ^ MASKED
            body = start + 6
            if length == 126:
                length = data[start + 2] << 8 | data[start + 3]
                body += 2
                if length < 126:
                    break
            elif length > 126:
                break
            end = body + length
            if length > limit or end > size or first not in WHOLE:
                break
            payload = unmask(data[body:end], data[body - 4 : body])
            if first == WHOLE_TEXT:
                try:
                    messages.append(payload.decode())
                except UnicodeDecodeError:
                    break
            else:
                messages.append(payload)
            received += length
            start = end
        self.received += received
        return start

    def _read(self, data: bytes, messages: list[str | bytes]) -> list[Event] | None:
        found: list[Event] = []
        self._held = b""
        self._ended = True
        start, end = 0, len(data)
        event: Event | None
        while start < end:
            if self._left:
                start, event = self._payload(data, start, messages)
            else:
                start, event = self._frame(data, start, messages)
            if event is not None:
                found.append(event)
                if isinstance(event, (Close, Violation)):
                    self._forget()
                    return found
        self._ended = False
        return found or None

    def _frame(self, data: bytes, start: int, messages: list[str | bytes]) -> tuple[int, Event | None]:
        """The next frame: take it if it is whole, begin it if its header is, or hold what there is."""
        frame = self._header(data, start)
        if isinstance(frame, Violation):
            return start, frame
        body = start + frame.header if frame else start
        if frame is None or (frame.opcode & CONTROL and body + frame.length > len(data)):
            self._held = data[start:]
            return len(data), None
        end = body + frame.length
        if frame.opcode & CONTROL:
            return end, control_event(frame.opcode, unmask(data[body:end], frame.mask))
        if frame.final and self._kind == NOTHING and end <= len(data):
            return end, self._deliver(frame.opcode, frame.rsv1, unmask(data[body:end], frame.mask), messages)
        self._begin(frame)
        return self._payload(data, body, messages)

    def _header(self, data: bytes, start: int) -> Frame | Violation | None:
        """Read and check a header: None while bytes of it are missing, or a `Violation`, as soon as it is seen."""
        if len(data) - start < 2:
            return None
        first, second = data[start], data[start + 1]
        fault = self._opening(first, second)
        if fault:
            return fault
        length = second & 0x7F
        mask = start + 2
        if length > 125:
            length_size, smallest = LENGTH_FORMS[length]
            mask += length_size
            if len(data) < mask:
                return None
            length = int.from_bytes(data[start + 2 : mask])
            if length >> 63:
                return events.TOP_BIT
            if length < smallest:
                return events.NOT_MINIMAL
        opcode, rsv1 = first & 0x0F, bool(first & RSV1)
        if opcode < CONTROL and len(self._store) + length > self._limit(rsv1 or self._compressed):
            return too_big(self._max_message)
        if len(data) < mask + 4:
            return None
        return Frame(opcode, bool(first & FINAL), rsv1, length, data[mask : mask + 4], mask + 4 - start)

    def _opening(self, first: int, second: int) -> Violation | None:
        """Check the first two bytes of a header."""
        opcode = first & 0x0F
        if first & RSV2_RSV3 or (first & RSV1 and (self._inflate is None or opcode not in (TEXT, BINARY))):
            return events.RESERVED_BIT
        if opcode not in KNOWN_OPCODES:
            return events.UNKNOWN_OPCODE
        if not second & MASKED:
            return events.UNMASKED
        if opcode & CONTROL:
            if not first & FINAL:
                return events.FRAGMENTED_CONTROL
            return events.LONG_CONTROL if second & 0x7F > 125 else None
        if opcode == CONTINUATION:
            return events.LONE_CONTINUATION if self._kind == NOTHING else None
        return events.UNFINISHED_MESSAGE if self._kind != NOTHING else None

    def _limit(self, compressed: bool) -> int:
        """Bytes that the payload of a message may have before it is inflated: deflate can make data larger."""
        return self._max_message + (self._max_message >> 3) + 64 if compressed else self._max_message

    def _begin(self, frame: Frame) -> None:
        """Enter the payload of a data frame."""
        if frame.opcode != CONTINUATION:
            self._kind, self._compressed = frame.opcode, frame.rsv1
            self._utf8 = Utf8Check()
        self._left, self._final, self._mask = frame.length, frame.final, frame.mask

    def _payload(self, data: bytes, start: int, messages: list[str | bytes]) -> tuple[int, Violation | None]:
        """Take what has come of the frame's payload."""
        part = unmask(data[start : start + self._left], self._mask)
        self._store += part
        self._left -= len(part)
        turn = len(part) & 3
        self._mask = self._mask[turn:] + self._mask[:turn]
        start += len(part)
        if self._kind == TEXT and not self._compressed and not self._utf8.continues(part):
            return start, events.BAD_UTF8
        if self._left or not self._final:
            return start, None
        kind, compressed, payload = self._kind, self._compressed, bytes(self._store)
        self._forget()
        return start, self._deliver(kind, compressed, payload, messages)

    def _deliver(self, kind: int, compressed: bool, payload: bytes, messages: list[str | bytes]) -> Violation | None:
        """Append a whole message."""
        if compressed:
            assert self._inflate is not None
            try:
                payload = self._inflate(payload, self._max_message)
            except TooBig:
                return too_big(self._max_message)
            except BadData:
                return events.BAD_DEFLATE
        try:
            messages.append(payload.decode() if kind == TEXT else payload)
        except UnicodeDecodeError:
            return events.BAD_UTF8
        self.received += len(payload)
        return None


def text_frame(data: str) -> bytes:
    """The frame of a text message.

    Args:
        data: The text.

    Raises:
        UnicodeEncodeError: The text has a lone surrogate, which UTF-8 cannot carry.
    """
    if not isinstance(data, str):
        raise TypeError(f"a text message is a str, but it is {type(data).__name__}; use binary_frame() for bytes")
    payload = data.encode()
    return frame_header(TEXT, len(payload)) + payload


def binary_frame(data: Buffer) -> bytes:
    """The frame of a binary message.

    Args:
        data: Any bytes-like object.
    """
    return frame(BINARY, data)


def frame(opcode: int, payload: Buffer, rsv1: bool = False) -> bytes:
    """One whole frame.

    Args:
        opcode: The opcode of RFC 6455 section 5.2.
        payload: Any bytes-like object.
        rsv1: Whether the payload is compressed (RFC 7692 section 6).
    """
    size = len(payload) if isinstance(payload, bytes) else memoryview(payload).nbytes
    return frame_header(opcode, size, rsv1) + payload


def frame_header(opcode: int, length: int, rsv1: bool = False) -> bytes:
    """The header of a frame whose payload is written beside it.

    Args:
        opcode: The opcode of RFC 6455 section 5.2.
        length: Bytes of the payload.
        rsv1: Whether the payload is compressed (RFC 7692 section 6).
    """
    if not 0 <= opcode <= 15:
        raise ValueError(f"an opcode is 0 to 15, but it is {opcode}")
    if length < 0:
        raise ValueError(f"length is a number of bytes, 0 or more, but it is {length}")
    first = FINAL | (RSV1 if rsv1 else 0) | opcode
    if length < 126:
        return write_tiny(first, length)
    return write_short(first, 126, length) if length < 0x10000 else write_long(first, 127, length)
