"""The referee of streams of frames: the Sans-I/O `ServerProtocol` of `websockets`, and where the codec may differ.

It reads frames; joining fragments and decoding text, which it leaves to its caller, is done here. Where it and the
codec may differ is said in `DIFFERENCES`, each time with the rule that decides.
"""

from __future__ import annotations

import codecs
import itertools
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.engine.client_frames import CLOSE, PING, TEXT, client_frame, exact
from trunkline.engine.events import LONG_CONTROL, NOT_MINIMAL, Close, Ping, Pong, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trunkline.engine.events import Event

__all__ = ["DIFFERENCES", "LIMIT", "Outcome", "Referee", "difference", "ours"]

LIMIT = 1000
quiet = logging.getLogger("tests.codec.referee")
quiet.disabled = True


class Outcome(NamedTuple):
    """What came out of a stream."""

    messages: list[str | bytes]
    controls: list[Ping | Pong]
    end: Close | Violation | None

    @property
    def code(self) -> int | None:
        return self.end.code if self.end else None


def ours(codec: Any, pieces: Iterable[bytes], inflate: Callable[[bytes, int], bytes] | None = None) -> Outcome:
    decoder = codec.Decoder(LIMIT, inflate)
    messages: list[str | bytes] = []
    found: list[Event] = []
    for piece in pieces:
        found += decoder.feed(exact(piece), len(piece), messages) or []
    controls = [event for event in found if isinstance(event, (Ping, Pong))]
    ends = [event for event in found if isinstance(event, (Close, Violation))]
    assert found == controls + ends
    assert len(ends) <= 1
    size = sum(len(message.encode() if isinstance(message, str) else message) for message in messages)
    assert inflate is not None or decoder.received == size
    assert decoder.in_message or not decoder.buffered
    return Outcome(messages, controls, ends[0] if ends else None)


def check_that_more_can_follow(begun: bytes) -> None:
    """Refuse the beginning of a character that no byte can complete: Python's decoder waits with the surrogates."""
    ends = (bytes(end) for size in range(4) for end in itertools.product(b"\x80\xbf", repeat=size))
    if not any(is_utf8(begun + end) for end in ends):
        raise UnicodeDecodeError("utf-8", begun, 0, 1, "no character begins so")


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Referee:
    """Joins the frames that `websockets` reads, and checks their text."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(state=State.OPEN, max_size=LIMIT, logger=quiet)
        self.messages: list[str | bytes] = []
        self.controls: list[Ping | Pong] = []
        self.parts: list[bytes | str] = []
        self.utf8: codecs.IncrementalDecoder | None = None

    def judge(self, stream: bytes) -> Outcome:
        self.protocol.receive_data(stream)
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.CLOSE:
                break
            try:
                self.take(event)
            except UnicodeDecodeError:
                return self.outcome(Violation(1007, ""))
        failed = self.protocol.parser_exc is not None
        sent = self.protocol.close_sent
        if failed:
            assert sent is not None
            return self.outcome(Violation(int(sent.code), ""))
        received = self.protocol.close_rcvd
        return self.outcome(Close(int(received.code), received.reason) if received else None)

    def take(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.opcode is Opcode.PING:
            self.controls.append(Ping(data))
        elif frame.opcode is Opcode.PONG:
            self.controls.append(Pong(data))
        else:
            self.join(frame, data)

    def join(self, frame: Frame, data: bytes) -> None:
        if frame.opcode is not Opcode.CONT:
            self.utf8 = codecs.getincrementaldecoder("utf-8")() if frame.opcode is Opcode.TEXT else None
        self.parts.append(self.utf8.decode(data, frame.fin) if self.utf8 else data)
        if self.utf8:
            check_that_more_can_follow(self.utf8.getstate()[0])
        if frame.fin:
            joined: Any = ("" if self.utf8 else b"").join(self.parts)  # type: ignore[arg-type]
            self.messages.append(joined)
            self.parts.clear()

    def outcome(self, end: Close | Violation | None) -> Outcome:
        return Outcome(self.messages, self.controls, end)


def same_start(one: Sequence[object], other: Sequence[object]) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


# Where `websockets` answers otherwise: an example, and the rule by which the codec is right.
DIFFERENCES = {
    "a length in more bytes than it needs is taken": (
        client_frame(TEXT, b"hi", length_size=2),
        "RFC 6455 5.2: the minimal number of bytes MUST be used",
    ),
    "1009 for a frame whose header breaks the protocol": (
        client_frame(TEXT, bytes(LIMIT + 1), rsv=2),
        "no order is ruled: whether a frame may be there comes before its length",
    ),
    "1009 for a control frame in a long message": (
        client_frame(TEXT, bytes(LIMIT - 1), fin=False) + client_frame(PING, b"12"),
        "RFC 6455 5.4: a control frame is no part of the message that it stands in",
    ),
    "1002 for a close in a fragmented message": (
        client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE, b"\x03\xe8"),
        "RFC 6455 5.4: control frames may be injected in the middle of a fragmented message",
    ),
}


def difference(mine: Outcome, stream: bytes) -> str | None:
    """Where `websockets` says otherwise than the codec; None if it agrees."""
    referee = Referee()
    theirs = referee.judge(stream)
    if mine.end and not theirs.end:  # it looks at a frame when it is whole: make it so
        referee = Referee()
        theirs = referee.judge(stream + bytes(LIMIT + 200))
    error = referee.protocol.parser_exc
    assert same_start(mine.messages, theirs.messages)
    assert same_start(mine.controls, theirs.controls)
    if (mine.messages, mine.controls, mine.code) == (theirs.messages, theirs.controls, theirs.code):
        return None
    if isinstance(error, PayloadTooBig) and mine.code == 1002:
        return "1009 for a frame whose header breaks the protocol"
    if mine.end in (NOT_MINIMAL, LONG_CONTROL):
        return "a length in more bytes than it needs is taken"
    if isinstance(error, PayloadTooBig) and error.size is not None and error.size <= 125:
        return "1009 for a control frame in a long message"
    if isinstance(mine.end, Close) and str(error) == "incomplete fragmented message":
        return "1002 for a close in a fragmented message"
    return f"unknown: {mine.end} and {theirs.end} with {error!r}"
