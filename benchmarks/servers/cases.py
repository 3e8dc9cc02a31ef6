"""What is measured, which figures of it the tables show, and the goals."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.servers.peers import BASELINE

__all__ = ["CASES", "COLUMNS", "GOALS", "IDLE", "TABLES", "Case", "Column", "Goal"]

IDLE = 3000  # connections, in the case "hold"


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the load generator against a fresh server.

    Attributes:
        name: What --cases takes.
        arguments: The load generator's.
        path: The endpoint, where a server has several.
        deflate: Whether it means something only to a server that takes the offer to compress.
        peers: Those whose programs have it; None for all.
    """

    name: str
    arguments: tuple[str, ...]
    path: str = "/text"
    deflate: bool = False
    peers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a case. `more` says whether more of it is better."""

    case: str
    metric: str
    title: str
    more: bool = True


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure of ours should be: `bound` times that of another, or `bound` itself.

    Attributes:
        text: The goal in words.
        peer: Whose figure.
        column: Which.
        bound: At least this where more is better, at most this where less is.
        against: Whose figure is 1; None for a bound in the column's own unit.
        other: Which of its figures, if not the same.
    """

    text: str
    peer: str
    column: tuple[str, str]
    bound: float
    against: str | None = BASELINE
    other: tuple[str, str] | None = None


def _binary(name: str, size: int) -> Case:
    return Case(name, ("echo", "--binary", "--size", str(size), "--connections", "20"), "/binary")


def _json(name: str, offer: str) -> Case:
    return Case(name, ("echo", "--size", "1100", "--deflate", offer), deflate=True)


# Whose programs have a room: by the hub, by a list of connections, or by what the server offers for it.
_WITH_ROOM = frozenset(
    {
        "trunkline",
        "trunkline-starlette",
        "trunkline-pure",
        "uvicorn-sansio",
        "uvicorn-websockets",
        "uvicorn-wsproto",
        "hypercorn",
        "granian",
        "websockets",
        "socketify",
        "bun",
    }
)


def _fanout(window: int) -> Case:
    arguments = ("fanout", "--connections", "1000", "--window", str(window))
    return Case(f"fanout-{window}", arguments, "/room", peers=_WITH_ROOM)


CASES = (
    Case("echo-1", ("echo",)),
    Case("echo-16", ("echo", "--window", "16")),
    _binary("4k", 4096),
    _binary("64k", 65536),
    _binary("1m", 1 << 20),
    _json("deflate", "permessage-deflate; client_max_window_bits"),  # what browsers offer
    _json("deflate-alone", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    Case("latency", ("echo", "--rate", "10000")),
    Case("latency-busy", ("echo", "--rate", "16000")),
    _fanout(1),
    _fanout(8),
    _fanout(32),
    Case("hold", ("hold", "--connections", str(IDLE), "--window", "16")),
)

TABLES = {
    "Text of 128 bytes, 100 connections": (
        Column("echo-1", "per_second", "1 in flight, messages/s"),
        Column("echo-1", "cpu_us", "server's CPU, us/message", more=False),
        Column("echo-16", "per_second", "16 in flight, messages/s"),
        Column("echo-16", "cpu_us", "server's CPU, us/message", more=False),
    ),
    "Binary messages, 20 connections, 1 in flight": (
        Column("4k", "per_second", "4 KiB, messages/s"),
        Column("4k", "cpu_us", "server's CPU, us/message", more=False),
        Column("64k", "per_second", "64 KiB, messages/s"),
        Column("64k", "cpu_us", "server's CPU, us/message", more=False),
        Column("1m", "per_second", "1 MiB, messages/s"),
        Column("1m", "cpu_us", "server's CPU, us/message", more=False),
    ),
    "JSON of 1 KiB under permessage-deflate, 100 connections, 1 in flight": (
        Column("deflate", "per_second", "as browsers offer it, messages/s"),
        Column("deflate", "wire_bytes", "bytes on the wire", more=False),
        Column("deflate-alone", "per_second", "no context kept, messages/s"),
        Column("deflate-alone", "wire_bytes", "bytes on the wire", more=False),
    ),
    "Latency of text of 128 bytes, 100 connections": (
        Column("latency", "p50_us", "10 000/s offered, p50, us", more=False),
        Column("latency", "p99_us", "p99, us", more=False),
        Column("latency-busy", "p50_us", "16 000/s offered, p50, us", more=False),
        Column("latency-busy", "p99_us", "p99, us", more=False),
    ),
    "Text of 128 bytes from one connection to all 1000": (
        Column("fanout-1", "per_second", "1 in flight, deliveries/s"),
        Column("fanout-8", "per_second", "8 in flight, deliveries/s"),
        Column("fanout-32", "per_second", "32 in flight, deliveries/s"),
    ),
    "Opening and holding 3000 connections": (
        Column("hold", "handshakes_per_second", "handshakes/s"),
        Column("hold", "kib_per_connection", "KiB per idle connection", more=False),
    ),
}
COLUMNS = tuple(column for table in TABLES.values() for column in table)

_ECHO_1, _ECHO_16 = ("echo-1", "per_second"), ("echo-16", "per_second")

GOALS = (
    Goal("echo, 1 in flight", "trunkline", _ECHO_1, 3.0),
    Goal("echo, 16 in flight", "trunkline", _ECHO_16, 12.0),
    Goal("echo, 1 in flight, against Bun", "trunkline", _ECHO_1, 0.8, "bun"),
    Goal("echo, 16 in flight, against Bun", "trunkline", _ECHO_16, 0.8, "bun"),
    Goal("listener, 1 in flight, against Bun", "trunkline-listener", _ECHO_1, 0.7, "bun"),
    Goal("listener, 16 in flight, against Bun", "trunkline-listener", _ECHO_16, 1.0, "bun"),
    Goal("KiB per idle connection of a listener", "trunkline-listener", ("hold", "kib_per_connection"), 4.0, None),
    Goal("Starlette unchanged, 1 in flight", "trunkline-starlette", _ECHO_1, 2.0),
    Goal("Starlette unchanged, 16 in flight", "trunkline-starlette", _ECHO_16, 4.0),
    Goal("binary, 4 KiB", "trunkline", ("4k", "per_second"), 2.5),
    Goal("binary, 64 KiB", "trunkline", ("64k", "per_second"), 1.2),
    Goal("binary, 1 MiB", "trunkline", ("1m", "per_second"), 1.2),
    Goal("compressed JSON", "trunkline", ("deflate", "per_second"), 1.5),
    Goal(
        "bytes on the wire, where neither keeps a context",
        "trunkline",
        ("deflate-alone", "wire_bytes"),
        1.1,
    ),
    Goal("to 1000 connections, 1 in flight", "trunkline", ("fanout-1", "per_second"), 2.0),
    Goal("to 1000 connections, 8 in flight", "trunkline", ("fanout-8", "per_second"), 14.0),
    Goal("to 1000 connections, 32 in flight", "trunkline", ("fanout-32", "per_second"), 30.0),
    Goal("p99 against the other's p50, 10 000/s", "trunkline", ("latency", "p99_us"), 1.0, other=("latency", "p50_us")),
    Goal(
        "p99 against the other's p50, 16 000/s",
        "trunkline",
        ("latency-busy", "p99_us"),
        1.0,
        other=("latency-busy", "p50_us"),
    ),
    Goal("KiB per idle connection", "trunkline", ("hold", "kib_per_connection"), 8.0, None),
    Goal("handshakes per second", "trunkline", ("hold", "handshakes_per_second"), 4.0),
    Goal("codec in pure Python, 1 in flight", "trunkline-pure", _ECHO_1, 2.0),
    Goal("codec in pure Python, 16 in flight", "trunkline-pure", _ECHO_16, 2.0),
)
