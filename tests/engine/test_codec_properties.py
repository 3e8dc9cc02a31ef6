"""Both codecs against each other and against `websockets`, on streams of chance: right ones, and mutated ones.

What is right, and where the two may differ, says tests/engine/referee.py.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st
from websockets.frames import Frame, Opcode

from tests.engine.client_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, exact
from tests.engine.referee import DIFFERENCES, LIMIT, Referee, difference, ours
from trunkline.engine import _codec_pure
from trunkline.engine.events import Ping, Pong

if TYPE_CHECKING:
    from collections.abc import Sequence


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
@settings(max_examples=150)
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
@settings(max_examples=25)
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


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_differences_are_real(codec: Any, name: str) -> None:
    stream = DIFFERENCES[name][0]
    assert difference(ours(codec, [stream]), stream) == name


@given(stream=broken_streams(), cuts=st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=400)
def test_broken_streams_end_alike(codec: Any, stream: bytes, cuts: list[int]) -> None:
    mine = ours(codec, [stream])
    assert difference(mine, stream) in {None, *DIFFERENCES}
    assert ours(codec, cut(stream, cuts)) == mine
    assert ours(codec, one_by_one(stream)) == mine


@given(stream=st.one_of(broken_streams(), st.binary(max_size=60)), cuts=st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=300)
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
def test_frames_of_the_server_are_the_same(native: Any, words: str, data: bytes, opcode: int, rsv1: bool) -> None:
    assert native.text_frame(words) == _codec_pure.text_frame(words)
    assert native.text_frame(words) == Frame(Opcode.TEXT, words.encode()).serialize(mask=False)
    assert native.binary_frame(data) == _codec_pure.binary_frame(data)
    assert native.binary_frame(data) == Frame(Opcode.BINARY, data).serialize(mask=False)
    assert native.frame(opcode, data, rsv1) == _codec_pure.frame(opcode, data, rsv1)


@given(length=st.integers(0, (1 << 63) - 1))
def test_headers_of_the_server_are_the_same(native: Any, length: int) -> None:
    assert native.frame_header(BINARY, length) == _codec_pure.frame_header(BINARY, length)
