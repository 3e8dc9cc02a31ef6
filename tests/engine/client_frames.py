"""Frames as clients write them, right and wrong: built by hand, bit by bit, to test the codec with."""

from __future__ import annotations

import ctypes

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"


def masked(payload: bytes, mask: bytes) -> bytes:
    """RFC 6455 5.3, on four strides."""
    strides = [bytes(byte ^ key for byte in payload[i::4]) for i, key in enumerate(mask)]
    out = bytearray(len(payload))
    for i, stride in enumerate(strides):
        out[i::4] = stride
    return bytes(out)


def shortest_form(length: int) -> int:
    """Bytes of the extended payload length (RFC 6455 5.2)."""
    return 0 if length < 126 else 2 if length < 0x10000 else 8


def header(
    opcode: int,
    length: int,
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length_size: int | None = None,
) -> bytes:
    """The header of a frame; `length_size` 0, 2 or 8 writes the length in a form of choice."""
    size = shortest_form(length) if length_size is None else length_size
    masked = 0x80 if mask is not None else 0
    second = masked | {0: length, 2: 126, 8: 127}[size]
    start = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, second])
    return start + (length.to_bytes(size) if size else b"") + (mask or b"")


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length_size: int | None = None,
) -> bytes:
    """A whole frame."""
    head = header(opcode, len(payload), fin=fin, rsv=rsv, mask=mask, length_size=length_size)
    return head + (masked(payload, mask) if mask else payload)


def text(words: str, *, fin: bool = True) -> bytes:
    """A text frame."""
    return client_frame(TEXT, words.encode(), fin=fin)


def exact(data: bytes) -> memoryview:
    """`data` in memory of just its size, so that a sanitizer sees a read beyond it: `bytes` has one byte more."""
    return memoryview((ctypes.c_ubyte * len(data)).from_buffer_copy(data))
