"""What is published: the value on its way through a broker, and as it reaches members and subscribers.

A value is turned into a message once, where it is published: a `str` is a text message, `bytes` a binary one, anything
else a text message of compact JSON. That message is what a broker carries and a history keeps.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

__all__ = ["Envelope", "Position", "Publication", "encode_value"]

Kind = Literal["text", "binary", "json"]

# As `WebSocket.send_json` writes it: compact, not ASCII-escaped.
_encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Position(NamedTuple):
    """A place in a topic's history. Text of it, `str(position)`, is what to give to a client, and `join(since=)` takes.

    Attributes:
        epoch: Names an unbroken sequence of offsets; another one means that nothing is known of the time before.
        offset: The number of the publication, from 1; 0 before the first.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.offset}-{self.epoch}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `str` made the text of.

        Args:
            text: For example what a client sends when it connects again.

        Raises:
            ValueError: It is no such text.
        """
        offset, hyphen, epoch = text.partition("-")
        if not (hyphen and epoch and offset.isascii() and offset.isdigit() and len(offset) < 20):
            raise ValueError(f"expected a position as str(position) writes it, but got {text!r}")
        return cls(epoch, int(offset))


def encode_value(value: Any) -> tuple[Kind, str | bytes]:
    """The message of a value.

    Raises:
        TypeError: The value cannot be written as JSON.
        ValueError: Its text has a lone surrogate, which UTF-8 cannot carry.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "binary", bytes(value)
    kind: Kind = "text" if isinstance(value, str) else "json"
    text = value if isinstance(value, str) else _encode_json(value)
    if not text.isascii():
        text.encode()  # refused here, where whoever publishes hears of it
    return kind, text


class Envelope(NamedTuple):
    """A message as a broker carries it.

    Attributes:
        kind: Whether the data is a text, a binary message, or the JSON of a value.
        data: The message.
        sender: The hub of the member that is not to get it; empty if all are.
        excluded: That member's number in its hub; 0 if all are to get it.
    """

    kind: Kind
    data: str | bytes
    sender: str = ""
    excluded: int = 0

    def to_bytes(self) -> bytes:
        """The form of version 1: one line of ASCII, and the data."""
        data = self.data if isinstance(self.data, bytes) else self.data.encode()
        return b"1 %s %s %d\n%s" % (self.kind.encode(), self.sender.encode(), self.excluded, data)

    @classmethod
    def from_bytes(cls, form: bytes) -> Envelope:
        """What `to_bytes` made the form of.

        Raises:
            ValueError: It is of another version, or nothing that a hub has sent.
        """
        head, _, data = form.partition(b"\n")
        version, *fields = head.split(b" ")
        if version != b"1" or len(fields) != 3:
            raise ValueError(f"expected an envelope of version 1, but got {form[:40]!r}")
        kind, sender, excluded = (field.decode("ascii") for field in fields)
        if kind == "binary":
            return cls("binary", data, sender, int(excluded))
        if kind in ("text", "json"):
            return cls("text" if kind == "text" else "json", data.decode(), sender, int(excluded))
        raise ValueError(f"expected text, binary or json as the kind of an envelope, but got {kind!r}")


_UNREAD = object()


class Publication:
    """What was published to a topic, as `subscribe` gives it and an `encode` hook gets it.

    Attributes:
        topic: The topic's name.
        data: The message as it was published: `str` for text and JSON, `bytes` for binary.
        position: Where it stands in the history; None for a topic without one.
    """

    __slots__ = ("_kind", "_value", "data", "position", "topic")

    def __init__(self, topic: str, envelope: Envelope, position: Position | None) -> None:
        self.topic = topic
        self.data = envelope.data
        self.position = position
        self._kind = envelope.kind
        self._value: Any = _UNREAD

    @property
    def value(self) -> Any:
        """The value: the text, the bytes, or what the JSON says, read at first use."""
        if self._value is _UNREAD:
            self._value = json.loads(self.data) if self._kind == "json" else self.data
        return self._value

    def __repr__(self) -> str:
        return f"Publication(topic={self.topic!r}, value={self.value!r}, position={self.position!r})"
