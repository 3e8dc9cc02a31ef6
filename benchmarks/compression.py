"""What compression saves and costs, by the settings: bytes of a message on the wire, time, memory.

    scripts/bench compression

Streams of JSON messages as programs send them: of the same form, with other values. Each goes through `Deflate` as the
engine does it, or is sent as it is when it is below the threshold. The time is the process's own, for compressing one
message; the memory is what one connection keeps between messages, when it has sent and received a stream. zlib's share
is measured from outside, because Python does not count it: the growth of the process over many connections.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.engine import DeflateSettings
from trunkline.engine.deflate import Agreement, Deflate

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = {
    "on": DeflateSettings(),
    "on, largest window": DeflateSettings(window_bits=15, memory_level=8),
    "takeover": DeflateSettings(context_takeover=True),
    "takeover, largest window": DeflateSettings(context_takeover=True, window_bits=15, memory_level=8),
}
MESSAGES = 500
ROUNDS = 5
CONNECTIONS = 200
WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "you",
    "that",
    "it",
    "he",
    "was",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "have",
    "from",
    "or",
    "one",
    "had",
    "by",
]


def tick(chance: random.Random) -> object:
    """A price, as a dashboard gets them."""
    price = round(chance.uniform(90, 110), 2)
    symbol = chance.choice(["AAPL", "MSFT", "NVDA", "AMZN", "GOOG", "META", "TSLA"])
    return {"type": "tick", "symbol": symbol, "price": price, "volume": chance.randrange(10**5), "at": chance.random()}


def line(chance: random.Random) -> object:
    """A line of a chat."""
    text = " ".join(chance.choices(WORDS, k=chance.randrange(5, 30)))
    return {"type": "message", "room": "general", "user": f"user{chance.randrange(50)}", "text": text}


def table(chance: random.Random) -> object:
    """A page of a table, 2 to 3 KiB."""
    return {"type": "rows", "rows": [tick(chance) for _ in range(25)]}


STREAMS: dict[str, Callable[[random.Random], object]] = {"tick": tick, "chat line": line, "table": table}


def connection(settings: DeflateSettings) -> Deflate:
    takeover, bits = settings.context_takeover, settings.window_bits
    return Deflate(Agreement(takeover, takeover, bits, bits, b""), settings)


def sent(payload: bytes, deflate: Deflate) -> bytes:
    return payload if len(payload) < deflate.threshold else deflate.compress(payload)


def measure(payloads: list[bytes], settings: DeflateSettings) -> tuple[float, float]:
    """Bytes of one message, and microseconds for it."""
    times = []
    for _ in range(ROUNDS):
        deflate = connection(settings)
        began = time.process_time()
        size = sum(len(sent(payload, deflate)) for payload in payloads)
        times.append((time.process_time() - began) / len(payloads) * 1e6)
    return size / len(payloads), statistics.median(times)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def held(payloads: list[bytes], settings: DeflateSettings) -> float:
    """Bytes that a connection keeps between messages."""
    sender = connection(settings)
    compressed = [sender.compress(payload) for payload in payloads]
    before = resident()
    connections = []
    for _ in range(CONNECTIONS):
        receiver = connection(settings)
        for payload, data in zip(payloads, compressed, strict=True):
            receiver.compress(payload)
            receiver.inflate(data, 1 << 20)
        connections.append(receiver)
    return (resident() - before) / len(connections)


def main() -> None:
    streams = {}
    for name, make in STREAMS.items():
        chance = random.Random(name)
        streams[name] = [json.dumps(make(chance), separators=(",", ":")).encode() for _ in range(MESSAGES)]
    print(f"{'':26}{''.join(f'{name:>22}' for name in streams)}{'a connection keeps':>22}")
    plain = "".join(f"{statistics.mean(map(len, payloads)):>13,.0f} B{'':>7}" for payloads in streams.values())
    print(f"{'off':26}{plain}{0:>18.1f} KiB")
    for name, settings in SETTINGS.items():
        cells = ""
        for payloads in streams.values():
            size, microseconds = measure(payloads, settings)
            cells += f"{size:>10,.0f} B{microseconds:>7.1f} us"
        print(f"{name:26}{cells}{held(streams['table'][:20], settings) / 1024:>18.1f} KiB", flush=True)


if __name__ == "__main__":
    main()
