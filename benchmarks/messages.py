"""Typed messages side by side: the echo of a tagged union, over real sockets.

    scripts/bench messages            five rounds, some two minutes
    scripts/bench messages --quick    one short round

FastAPI as its users write it (`receive_json`, validation by a discriminated union of pydantic models, `send_json`) on
uvicorn's `websockets-sansio`, against `iter_messages` and `send_message` on our engine. All answer the same 128 bytes
of JSON, or the same message as MessagePack. A ratio is that of two figures of one round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.paired import verdict
from benchmarks.servers.cases import Case
from benchmarks.servers.measure import measure
from benchmarks.servers.peers import TRUNKLINE, UVICORN, Missing, Peer, install, trunkline, uvicorn
from benchmarks.servers.processes import NotMeasured

ROUNDS, SECONDS, QUICK_SECONDS = 5, 1.0, 0.5
WINDOWS = (1, 16)
MESSAGE = {"type": "say", "room": "general", "text": "", "number": 12345, "tags": ["red", "blue"]}
SIZE = 128

FASTAPI = Peer(
    "fastapi",
    "FastAPI on uvicorn, websockets-sansio",
    uvicorn("typed_fastapi_app:app", "websockets-sansio"),
    (*UVICORN, "fastapi==0.165.*"),
)
OURS = Peer("trunkline", "trunkline", trunkline("typed_trunkline_app:app"), (*TRUNKLINE, "msgspec"), ours=True)


class Row(NamedTuple):
    """Who answers which kind of message, and how many times as fast as the first row it should be."""

    title: str
    peer: Peer
    path: str
    goal: float | None = None
    payload: str = "json"


ROWS = (
    Row("FastAPI, receive_json and pydantic", FASTAPI, "/pydantic"),
    Row("trunkline, pydantic", OURS, "/pydantic", 3.0),
    Row("trunkline, msgspec", OURS, "/msgspec", 6.0),
    Row("trunkline, listener, pydantic", OURS, "/listener/pydantic", 3.0),
    Row("trunkline, listener, msgspec", OURS, "/listener/msgspec", 6.0),
    Row("trunkline, msgspec, MessagePack", OURS, "/msgpack", payload="msgpack"),
    Row("trunkline, the text as it is", OURS, "/text"),
)

Figures = dict[tuple[str, int], dict[str, float]]  # by the title of the row, and the window


def _payloads(folder: Path) -> dict[str, tuple[str, ...]]:
    """The load generator's arguments for each kind of message."""
    missing = SIZE - len(json.dumps(MESSAGE, separators=(",", ":")))
    message = {**MESSAGE, "text": ("all the same, every time " * 5)[:missing]}
    (folder / "json").write_text(json.dumps(message, separators=(",", ":")))
    (folder / "msgpack").write_bytes(msgspec.msgpack.encode(message))
    return {
        "json": ("--payload", str(folder / "json")),
        "msgpack": ("--payload", str(folder / "msgpack"), "--binary"),
    }


def _round(number: int, payloads: dict[str, tuple[str, ...]], seconds: float) -> Figures:
    figures: Figures = {}
    turn = number % len(ROWS)
    for window in WINDOWS:
        for row in ROWS[turn:] + ROWS[:turn]:
            print(f"\r\x1b[Kround {number + 1}, {window} in flight, {row.title}", end="", file=sys.stderr)
            case = Case("echo", ("echo", "--window", str(window), *payloads[row.payload]), row.path)
            figures[row.title, window] = measure(row.peer, case, seconds)
    print("\r\x1b[K", end="", file=sys.stderr)
    return figures


def _print(rounds: list[Figures]) -> None:
    for window in WINDOWS:
        heading = f"{window} in flight, 100 connections"
        print(f"\n{heading:38}{'messages/s':>15}{'server us':>12}   ratio of messages/s, lowest to highest")
        for row in ROWS:
            rates = [one[row.title, window]["per_second"] for one in rounds]
            ratios = [rate / one[ROWS[0].title, window]["per_second"] for rate, one in zip(rates, rounds, strict=True)]
            cpu = statistics.median(one[row.title, window]["cpu_us"] for one in rounds)
            ratio = statistics.median(ratios)
            print(
                f"  {row.title:36}{statistics.median(rates):>15.0f}{cpu:>12.1f}"
                f"   {ratio:.2f}x ({min(ratios):.2f} to {max(ratios):.2f}){verdict(ratio, row.goal)}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench messages", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    rounds, seconds = (1, QUICK_SECONDS) if parser.parse_args().quick else (ROUNDS, SECONDS)
    try:
        missing = install([FASTAPI, OURS])
        if missing:
            raise Missing("; ".join(missing.values()))
        with tempfile.TemporaryDirectory() as folder:
            payloads = _payloads(Path(folder))
            _print([_round(number, payloads, seconds) for number in range(rounds)])
    except (Missing, NotMeasured) as reason:
        raise SystemExit(f"cannot be measured: {reason}") from None


if __name__ == "__main__":
    main()
