"""A coverage-guided fuzz target: streams that make the native codec crash, or differ from the one in pure Python.

    scripts/fuzz              a minute
    scripts/fuzz 14400        four hours; `fuzz/corpus/` keeps what reached new code, for the next time

The script builds the codec with clang under AddressSanitizer, with the coverage that libFuzzer steers by. What it
finds is written to a file `crash-...`; `scripts/fuzz 0 FILE` runs it alone.

The first byte of an input chooses the decoder's limit and whether compression was negotiated, the second how the
rest, which is the stream, is cut into pieces.
"""

from __future__ import annotations

import ctypes
import importlib
import random
import sys
from typing import TYPE_CHECKING, Any

from trunkline.engine import _codec, _codec_pure
from trunkline.engine.events import BadData, TooBig

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = [0, 10, 126, 1000, 70_000, 1 << 20, 1 << 62, (1 << 63) - 1]


def inflate(payload: bytes, max_size: int) -> bytes:
    """In place of zlib: all three ends that it can take."""
    if payload[:1] == b"\xff":
        raise BadData
    if len(payload) > max_size:
        raise TooBig
    return payload[::-1]


def pieces(stream: bytes, how: int) -> Iterator[bytes]:
    """Whole, in steps of one size, or in steps of chance that `how` repeats."""
    chance = random.Random(how)
    at = 0
    while at < len(stream):
        step = len(stream) if how == 0 else how if how < 16 else chance.randint(1, how)
        yield stream[at : at + step]
        at += step


def state_after(decoder: Any, piece: bytes) -> tuple[object, ...]:
    """Feed a piece from memory of just its size, so that a read beyond it is seen; what came of it."""
    memory = memoryview((ctypes.c_ubyte * len(piece)).from_buffer_copy(piece))
    messages: list[str | bytes] = []
    events = decoder.feed(memory, len(piece), messages)
    for message in messages:
        message.encode() if isinstance(message, str) else bytes(message)
    return events, messages, decoder.buffered, decoder.in_message, decoder.received


def one_input(data: bytes) -> None:
    """Decode one stream with both codecs, in step."""
    if len(data) < 3:
        return
    limit = LIMITS[data[0] & 7]
    chosen = inflate if data[0] & 8 else None
    native, pure = _codec.Decoder(limit, chosen), _codec_pure.Decoder(limit, chosen)
    for piece in pieces(data[2:], data[1]):
        ours, twins = state_after(native, piece), state_after(pure, piece)
        if ours != twins:
            raise AssertionError(f"after {piece!r}: the native codec has {ours}, the one in pure Python {twins}")


if __name__ == "__main__":
    atheris: Any = importlib.import_module("atheris")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
