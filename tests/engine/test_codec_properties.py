"""Both codecs against each other and against `websockets`, on streams of chance: right ones, and mutated ones.

The referee is the Sans-I/O `ServerProtocol` of `websockets` for frames, with the little that it leaves to its caller:
joining fragments and decoding text. Where it and the codec may differ is said in `DIFFERENCES`, each time with the
rule that decides.
"""

from __future__ import annotations

import codecs
import itertools
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.engine.client_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, exact
from trunkline.engine import _codec_pure
from trunkline.engine.events import LONG_CONTROL, NOT_MINIMAL, Close, Ping, Pong, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline.engine.events import Event

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


def ours(codec: Any, pieces: Iterable[bytes]) -> Outcome:
    decoder = codec.Decoder(LIMIT)
    messages: list[str | bytes] = []
    found: list[Event] = []
    for piece in pieces:
        found += decoder.feed(exact(piece), len(piece), messages) or []
    controls = [event for event in found if isinstance(event, (Ping, Pong))]
    ends = [event for event in found if isinstance(event, (Close, Violation))]
    assert found == controls + ends
    assert len(ends) <= 1
    size = sum(len(message.encode() if isinstance(message, str) else message) for message in messages)
    assert decoder.received == size
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


# Streams that keep every rule


class Fragments(NamedTuple):
    """A message as it is sent: cut into fragments, with control frames behind some."""

    message: str | bytes
    cuts: list[int]
    controls: list[Ping | Pong]


CONTROLS = st.one_of(st.builds(Ping, st.binary(max_size=125)), st.builds(Pong, st.binary(max_size=125)))
MESSAGES = st.one_of(st.text(max_size=60), st.binary(max_size=300), st.sampled_from(["é" * 70, "x" * 126, b"y" * 800]))
SENT = st.builds(
    Fragments, MESSAGES, st.lists(st.integers(0, 400), max_size=4).map(sorted), st.lists(CONTROLS, max_size=3)
)
MASKS = st.randoms(use_true_random=False)


def frames_of(sent: Fragments, chance: Any) -> list[bytes]:
    payload = sent.message.encode() if isinstance(sent.message, str) else sent.message
    bounds = [0, *(min(cut, len(payload)) for cut in sent.cuts), len(payload)]
    controls = list(sent.controls)
    frames = []
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        opcode = CONTINUATION if number else TEXT if isinstance(sent.message, str) else BINARY
        fin = number == len(bounds) - 2
        frames.append(client_frame(opcode, payload[start:end], fin=fin, mask=chance.randbytes(4)))
        if controls and (fin or chance.random() < 0.5):
            control = controls.pop(0)
            opcode = PING if isinstance(control, Ping) else PONG
            frames.append(client_frame(opcode, control.payload, mask=chance.randbytes(4)))
    return frames


def cut(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(min(at, len(stream)) for at in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


@given(
    sent=st.lists(SENT, max_size=6),
    close=st.sampled_from([None, b"", b"\x03\xe8", b"\x0f\xa0bye"]),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
    chance=MASKS,
)
@settings(max_examples=150, deadline=None)
def test_what_was_sent_comes_out(
    codec: Any, sent: list[Fragments], close: bytes | None, cuts: list[int], chance: Any
) -> None:
    frames = [frame for message in sent for frame in frames_of(message, chance)]
    if close is not None:
        frames.append(client_frame(CLOSE, close, mask=chance.randbytes(4)))
    stream = b"".join(frames)
    expected = Referee().judge(stream)
    assert expected.messages == [message.message for message in sent]
    for pieces in ([stream], cut(stream, cuts), one_by_one(stream)):
        assert ours(codec, pieces) == expected


@given(sent=st.lists(SENT.filter(lambda sent: len(sent.message) < 150), max_size=2), chance=MASKS)
@settings(max_examples=25, deadline=None)
def test_a_stream_may_be_cut_at_every_byte(codec: Any, sent: list[Fragments], chance: Any) -> None:
    stream = b"".join(frame for message in sent for frame in frames_of(message, chance))
    expected = Referee().judge(stream)
    for at in range(len(stream)):
        assert ours(codec, [stream[:at], stream[at:]]) == expected, at


# Streams that break rules
#
# A stream is frames with any field wrong, and then bytes of it changed, lost or added anywhere.

PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=20).map(str.encode),
    st.sampled_from([b"\xff", b"ab\xed\xa0", "€".encode()[:2], b"\x03\xe8", b"\x03\xecx", b"\x07", b"\x03\xe8\xff"]),
    st.sampled_from([125, 126, 400, 999, 1000, 1001]).map(bytes),
)
USUAL = [CONTINUATION, CONTINUATION, TEXT, TEXT, BINARY, PING, CLOSE]


@st.composite
def frames_of_any_kind(draw: st.DrawFn) -> bytes:
    payload = draw(PAYLOADS)
    odd = draw(st.integers(0, 9)) == 9
    return client_frame(
        draw(st.integers(0, 15)) if odd else draw(st.sampled_from(USUAL)),
        payload,
        fin=draw(st.booleans()),
        rsv=draw(st.sampled_from([0, 0, 0, 0, 1, 2, 4])) if odd else 0,
        mask=draw(st.sampled_from([b"abcd", bytes(4), None])) if odd else b"\x81\x7f\x00\xff",
        length_size=draw(st.sampled_from([None, 2, 8])) if odd and len(payload) < 126 else None,
    )


@st.composite
def broken_streams(draw: st.DrawFn) -> bytes:
    stream = bytearray(b"".join(draw(st.lists(frames_of_any_kind(), max_size=8))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(stream)))
        stream[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(stream)


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


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_differences_are_real(codec: Any, name: str) -> None:
    stream = DIFFERENCES[name][0]
    assert difference(ours(codec, [stream]), stream) == name


@given(stream=broken_streams(), cuts=st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=400, deadline=None)
def test_broken_streams_end_alike(codec: Any, stream: bytes, cuts: list[int]) -> None:
    mine = ours(codec, [stream])
    assert difference(mine, stream) in {None, *DIFFERENCES}
    assert ours(codec, cut(stream, cuts)) == mine
    assert ours(codec, one_by_one(stream)) == mine


@given(stream=st.one_of(broken_streams(), st.binary(max_size=60)), cuts=st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=300, deadline=None)
def test_both_codecs_are_in_the_same_state_after_each_piece(native: Any, stream: bytes, cuts: list[int]) -> None:
    for pieces in (cut(stream, cuts), one_by_one(stream)):
        decoders = [native.Decoder(LIMIT), _codec_pure.Decoder(LIMIT)]
        for piece in pieces:
            states = []
            for decoder in decoders:
                messages: list[str | bytes] = []
                found = decoder.feed(exact(piece), len(piece), messages)
                states.append((found, messages, decoder.buffered, decoder.in_message, decoder.received))
            assert states[0] == states[1]


# Frames of the server


@given(words=st.text(max_size=300), data=st.binary(max_size=300), opcode=st.integers(0, 15), rsv1=st.booleans())
@settings(deadline=None)
def test_frames_of_the_server_are_the_same(native: Any, words: str, data: bytes, opcode: int, rsv1: bool) -> None:
    assert native.text_frame(words) == _codec_pure.text_frame(words)
    assert native.text_frame(words) == Frame(Opcode.TEXT, words.encode()).serialize(mask=False)
    assert native.binary_frame(data) == _codec_pure.binary_frame(data)
    assert native.binary_frame(data) == Frame(Opcode.BINARY, data).serialize(mask=False)
    assert native.frame(opcode, data, rsv1) == _codec_pure.frame(opcode, data, rsv1)


@given(length=st.integers(0, (1 << 63) - 1))
def test_headers_of_the_server_are_the_same(native: Any, length: int) -> None:
    assert native.frame_header(BINARY, length) == _codec_pure.frame_header(BINARY, length)
