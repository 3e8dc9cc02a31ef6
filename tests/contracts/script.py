"""The vocabulary of the contract suite.

A `Case` is one behaviour: an endpoint of `application.py`, what a client does with it, and the `Outcome` that every
server and every client must show. It is plain data, so that a client in another language can run it too.

While a case runs, the client reads all the time; its steps are what it does besides. After the last step it waits
for the end of the connection, unless it dropped it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Case", "Outcome", "Step", "brief", "close", "drop", "end", "gate", "receive", "send"]

SECONDS = 10
"""How long a client waits for anything; far beyond what a server needs, so that reaching it means failure."""


class Step(NamedTuple):
    """One thing that a client does; made by the functions below."""

    do: str
    data: str | bytes | None = None
    number: int = 0
    code: int | None = None
    reason: str = ""


def send(data: str | bytes) -> Step:
    """Send a text or a binary message."""
    return Step("send", data)


def receive(count: int = 1) -> Step:
    """Wait until so many more messages have come."""
    return Step("receive", number=count)


def close(code: int | None = 1000, reason: str = "") -> Step:
    """Start the closing handshake, and go on; None: with an empty close frame."""
    return Step("close", code=code, reason=reason)


def drop() -> Step:
    """Vanish: end the TCP connection without a close frame."""
    return Step("drop")


def end() -> Step:
    """Wait until the connection has ended."""
    return Step("end")


def gate() -> Step:
    """Let an endpoint go on that waits in `Run.gate`."""
    return Step("gate")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a client and an endpoint saw.

    Attributes:
        refused: The HTTP status of a refused handshake.
        body: The body of that answer, if it is an answer of the application.
        subprotocol: The one that the server selected.
        headers: The headers of the handshake's answer whose names begin with `x-`.
        received: The messages, in order; long ones by length and hash.
        closed: Code and reason of the close that the server began.
        seen: What the endpoint noted, at last how it ended; empty when no endpoint was reached.
    """

    refused: int | None = None
    body: str = ""
    subprotocol: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    received: tuple[str | bytes, ...] = ()
    closed: tuple[int, str] | None = None
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One behaviour.

    Attributes:
        name: What is true, in words: the id of the test.
        path: Where the client connects to, with the query.
        steps: What it does.
        expected: What both sides see then.
        headers: Headers of the handshake; `{host}` in a value becomes the host and port connected to.
        subprotocols: Those that the client offers.
        not_with: A client that cannot do this, and why.
    """

    name: str
    path: str
    steps: tuple[Step, ...] = ()
    expected: Outcome = field(default_factory=Outcome)
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    not_with: dict[str, str] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether the handshake reaches the endpoint, so that there are notes to ask for."""
        return bool(self.expected.seen)

    def body_of(self, body: str) -> str:
        """The body of a refusal, where it is the application's; how a server words its own is its own affair."""
        return body if self.expected.body else ""

    def request_headers(self, host: str, key: str) -> list[tuple[str, str]]:
        """The headers of the handshake; `key` tells the endpoint which run this is."""
        return [("x-run", key), *((name, value.replace("{host}", host)) for name, value in self.headers)]


def brief(data: Any) -> Any:
    """A message as an outcome carries it: a long one by its type, length and hash."""
    if len(data) <= 200:
        return data
    raw = data.encode() if isinstance(data, str) else data
    return f"{type(data).__name__} of {len(data)}, sha256 {hashlib.sha256(raw).hexdigest()[:16]}"
