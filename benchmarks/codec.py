"""The codec alone, without sockets: the native one, the one in pure Python, and the Sans-I/O one of `websockets`.

    python benchmarks/codec.py

Reading: one call gets the bytes of one read (as many frames as go in 64 KiB, 16 at most; masked, each a whole text
or binary message) in one buffer and gives their messages. Writing: the frame of one message. All candidates get the
same bytes in interleaved rounds of one run; the figures are medians, the ratio is `websockets`' time through that of
the native codec, of the same round. Time is the process's own, so that other load on the machine counts little.
"""

from __future__ import annotations

import gc
import importlib
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
SECONDS = 0.02  # of one measurement
SIZES = {"16 B": 16, "128 B": 128, "1 KiB": 1 << 10, "4 KiB": 1 << 12, "64 KiB": 1 << 16, "1 MiB": 1 << 20}
READ = 1 << 16
MASK = b"\x37\xfa\x21\x3d"
LIMIT = 1 << 30


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame, made by `websockets`' client side but for its random mask."""
    head = bytearray(Frame(Opcode(opcode), payload).serialize(mask=False)[: -len(payload)])
    head[1] |= 0x80
    key = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")
    return bytes(head) + MASK + masked.to_bytes(len(payload), "little")


def codec_reader(codec: Any, data: bytes) -> Callable[[], object]:
    """Reads as the engine does: from one large buffer that is written anew for each read."""
    buffer = memoryview(bytearray(data))
    messages: list[str | bytes] = []
    feed, forget, size = codec.Decoder(LIMIT).feed, messages.clear, len(data)

    def read() -> None:
        feed(buffer, size, messages)
        forget()

    return read


def websockets_reader(data: bytes) -> Callable[[], object]:
    protocol = ServerProtocol(state=State.OPEN, max_size=LIMIT)

    def read() -> None:
        protocol.receive_data(data)
        for frame in protocol.events_received():
            if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT:
                bytes(frame.data).decode()

    return read


def readers(data: bytes) -> dict[str, Callable[[], object]]:
    return {
        "native": codec_reader(CODECS["native"], data),
        "pure": codec_reader(CODECS["pure"], data),
        "websockets": websockets_reader(data),
    }


def writers(text: str | None, payload: bytes) -> dict[str, Callable[[], object]]:
    if text is None:
        made = {name: lambda codec=codec: codec.binary_frame(payload) for name, codec in CODECS.items()}
        return {**made, "websockets": lambda: Frame(Opcode.BINARY, payload).serialize(mask=False)}
    made = {name: lambda codec=codec: codec.text_frame(text) for name, codec in CODECS.items()}
    return {**made, "websockets": lambda: Frame(Opcode.TEXT, text.encode()).serialize(mask=False)}


def nanoseconds(call: Callable[[], object]) -> float:
    """For one call; repeated for about `SECONDS`."""
    count = 1
    while True:
        began = time.process_time()
        for _ in range(count):
            call()
        taken = time.process_time() - began
        if taken > SECONDS / 2:
            return taken / count * 1e9
        count = max(2 * count, int(count * SECONDS / max(taken, 1e-7)) // 2)


def compare(name: str, candidates: dict[str, Callable[[], object]], messages: int, size: int) -> None:
    """Print the time for one message of each candidate, and its rate in messages and bytes."""
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS + 1):
        order = list(candidates) if number % 2 else list(candidates)[::-1]
        gc.collect()
        rounds.append({candidate: nanoseconds(candidates[candidate]) / messages for candidate in order})
    measured = rounds[1:]  # the first round fills caches
    cells = []
    for candidate in candidates:
        time_of_one = statistics.median(one[candidate] for one in measured)
        cells.append(f"{time_of_one:>11,.0f} ns{1e6 / time_of_one:>9,.0f} k/s{size / time_of_one * 1e3:>9,.0f} MB/s")
    ratios = [one["websockets"] / one["native"] for one in measured]
    print(f"{name:24}{''.join(cells)}{statistics.median(ratios):>8.1f}x  {min(ratios):.1f} to {max(ratios):.1f}")


def main() -> None:
    print(f"{'':24}{''.join(f'{name:>35}' for name in (*CODECS, 'websockets'))}   ratio  lowest to highest")
    for label, size in SIZES.items():
        random = os.urandom(size)
        texts = {"text": "x" * size, "text, not ASCII": "é" * (size // 2), "binary": None}
        for kind, text in texts.items():
            payload = random if text is None else text.encode()
            frame = client_frame(Opcode.BINARY if text is None else Opcode.TEXT, payload)
            count = max(1, min(16, READ // len(frame)))
            compare(f"read {label} {kind}", readers(frame * count), count, size)
        for kind, text in texts.items():
            compare(f"write {label} {kind}", writers(text, random if text is None else b""), 1, size)


CODECS = {
    name: importlib.import_module(f"trunkline.engine._codec{end}") for name, end in (("native", ""), ("pure", "_pure"))
}

if __name__ == "__main__":
    main()
