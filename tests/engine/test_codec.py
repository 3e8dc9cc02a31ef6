"""The contract of a codec, held by both: RFC 6455 section 5, and what the engine relies on beyond it."""

from __future__ import annotations

import enum
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.client_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    TEXT,
    client_frame,
    exact,
    header,
    text,
)
from trunkline.engine import _codec_pure, codec as in_use, events
from trunkline.engine.events import BadData, Close, Ping, Pong, TooBig, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.engine.events import Event

    Inflate = Callable[[bytes, int], bytes]
    Outcome = tuple[list[str | bytes], list[Event]]

LIMIT = 1 << 20


class Fed:
    """A decoder, and all that came out of it."""

    def __init__(self, codec: Any, max_message: int = LIMIT, inflate: Inflate | None = None) -> None:
        self.decoder = codec.Decoder(max_message, inflate)
        self.messages: list[str | bytes] = []
        self.events: list[Event] = []

    def feed(self, *pieces: bytes) -> Fed:
        for piece in pieces:
            self.events += self.decoder.feed(exact(piece), len(piece), self.messages) or []
        return self

    @property
    def outcome(self) -> Outcome:
        return self.messages, self.events


def one_by_one(stream: bytes) -> Iterable[bytes]:
    return (stream[i : i + 1] for i in range(len(stream)))


def at_every_cut(codec: Any, stream: bytes, max_message: int = LIMIT, inflate: Inflate | None = None) -> Outcome:
    """What comes out of `stream`: the same whole, cut in two anywhere, and byte by byte."""
    whole = Fed(codec, max_message, inflate).feed(stream).outcome
    for cut in range(len(stream) + 1):
        assert Fed(codec, max_message, inflate).feed(stream[:cut], stream[cut:]).outcome == whole, cut
    assert Fed(codec, max_message, inflate).feed(*one_by_one(stream)).outcome == whole
    return whole


def test_messages_and_control_frames_come_in_order(codec: Any) -> None:
    stream = text("Grüße") + client_frame(PING, b"a") + client_frame(BINARY, b"\0\xff") + client_frame(PONG) + text("")
    assert at_every_cut(codec, stream) == (["Grüße", b"\0\xff", ""], [Ping(b"a"), Pong(b"")])


def test_control_frames_may_stand_between_fragments(codec: Any) -> None:
    stream = (
        client_frame(TEXT, "€".encode()[:1], fin=False)
        + client_frame(PING, b"x" * 125)
        + client_frame(CONTINUATION, b"", fin=False)
        + client_frame(CONTINUATION, "€".encode()[1:], mask=b"\1\2\3\4")
        + client_frame(BINARY, b"", fin=False)
        + client_frame(CONTINUATION, b"")
    )
    assert at_every_cut(codec, stream) == (["€", b""], [Ping(b"x" * 125)])


@pytest.mark.parametrize("size", [0, 1, 3, 7, 8, 9, 125, 126, 127, 255, 65535, 65536, 70001])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_lengths_of_every_form(codec: Any, size: int, opcode: int) -> None:
    payload = bytes(i % 128 for i in range(size))
    expected = payload.decode() if opcode == TEXT else payload
    stream = client_frame(opcode, payload) + text("next")
    assert Fed(codec).feed(stream).outcome == ([expected, "next"], [])
    for cut in {1, 2, 3, 4, 5, 6, 10, 13, 14, 15, size // 2, size - 1, size, size + 1} - {-1}:
        assert Fed(codec).feed(stream[:cut], stream[cut:]).outcome == ([expected, "next"], []), cut


@pytest.mark.parametrize("size", range(18))
def test_text_that_is_not_ascii_at_any_place(codec: Any, size: int) -> None:
    for place in range(size):
        words = "a" * place + "é" + "z" * (size - place - 1)
        assert at_every_cut(codec, text(words)) == ([words], [])


@pytest.mark.parametrize(
    "kind",
    [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))],
    ids=["bytes", "array", "view", "w"],
)
def test_reads_any_buffer_up_to_size_and_leaves_it_as_it_was(codec: Any, kind: Callable[[bytes], Any]) -> None:
    frames = text("one") + client_frame(BINARY, b"two")
    data = kind(frames + text("beyond"))
    messages: list[str | bytes] = []
    assert codec.Decoder(LIMIT).feed(data, len(frames), messages) is None
    assert messages == ["one", b"two"]
    assert bytes(data) == frames + text("beyond")


def test_keeps_no_reference_to_the_buffer(codec: Any) -> None:
    buffer = bytearray(text("hello") + client_frame(BINARY, b"12345")[:-2])
    messages: list[str | bytes] = []
    decoder = codec.Decoder(LIMIT)
    decoder.feed(buffer, len(buffer), messages)
    buffer.clear()  # a BufferError while anything is exported
    rest = client_frame(BINARY, b"12345")[-2:]
    decoder.feed(rest, 2, messages)
    assert messages == ["hello", b"12345"]


@pytest.mark.parametrize("size", [-1, 4])
def test_refuses_a_size_that_the_data_does_not_have(codec: Any, size: int) -> None:
    fed = Fed(codec)
    with pytest.raises(ValueError, match=f"size is {size}, but the data has 3 bytes"):
        fed.decoder.feed(b"abc", size, [])
    assert fed.feed(text("still works")).outcome == (["still works"], [])


def test_refuses_a_negative_limit(codec: Any) -> None:
    with pytest.raises(ValueError, match="0 or more, but it is -1"):
        codec.Decoder(-1)


def test_nothing_comes_of_nothing(codec: Any) -> None:
    decoder = codec.Decoder(LIMIT)
    messages: list[str | bytes] = []
    assert decoder.feed(b"", 0, messages) is None
    assert decoder.feed(text("a"), 0, messages) is None
    assert (messages, decoder.buffered, decoder.in_message, decoder.received) == ([], 0, False, 0)


# What may not be, with what came before it in the same message.
NOT_MINIMAL = [(length, size) for size, least in ((2, 126), (8, 65536)) for length in (0, 125, least - 1)]
VIOLATIONS = {
    "unmasked": (client_frame(TEXT, b"hi", mask=None), events.UNMASKED),
    "rsv1": (client_frame(TEXT, b"hi", rsv=4), events.RESERVED_BIT),
    "rsv2": (client_frame(BINARY, b"hi", rsv=2), events.RESERVED_BIT),
    "rsv3 of a ping": (client_frame(PING, b"hi", rsv=1), events.RESERVED_BIT),
    **{f"opcode {n}": (client_frame(n, b"hi"), events.UNKNOWN_OPCODE) for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "fragmented ping": (client_frame(PING, b"hi", fin=False), events.FRAGMENTED_CONTROL),
    "fragmented close": (client_frame(CLOSE, b"", fin=False), events.FRAGMENTED_CONTROL),
    "long ping": (client_frame(PING, b"x" * 126), events.LONG_CONTROL),
    "longer pong": (client_frame(PONG, b"x" * 65536), events.LONG_CONTROL),
    "long form of a short close": (client_frame(CLOSE, b"\3\xe8", length_size=2), events.LONG_CONTROL),
    "lone continuation": (client_frame(CONTINUATION, b"hi"), events.LONE_CONTINUATION),
    "lone fragment": (client_frame(CONTINUATION, b"hi", fin=False), events.LONE_CONTINUATION),
    "continuation of a whole message": (text("") + client_frame(CONTINUATION, b""), events.LONE_CONTINUATION),
    "text in text": (text("a", fin=False) + text("b"), events.UNFINISHED_MESSAGE),
    "binary in text": (text("a", fin=False) + client_frame(BINARY), events.UNFINISHED_MESSAGE),
    "fragment in text": (text("a", fin=False) + text("b", fin=False), events.UNFINISHED_MESSAGE),
    "top bit": (header(TEXT, 1 << 63), events.TOP_BIT),
    "all bits": (header(BINARY, (1 << 64) - 1), events.TOP_BIT),
    **{
        f"length {length} in {size} bytes": (client_frame(BINARY, bytes(length), length_size=size), events.NOT_MINIMAL)
        for length, size in NOT_MINIMAL
    },
    "close with one byte": (client_frame(CLOSE, b"\3"), events.SHORT_CLOSE),
    "close with bad UTF-8": (client_frame(CLOSE, b"\3\xe8\xff"), events.BAD_CLOSE_REASON),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_stands_behind_the_messages_and_ends_all(codec: Any, name: str) -> None:
    frames, violation = VIOLATIONS[name]
    fed = Fed(codec).feed(text("before") + client_frame(PING, b"p") + frames + text("behind"), text("later"))
    assert fed.messages[:1] == ["before"]
    assert "behind" not in fed.messages
    assert "later" not in fed.messages
    assert fed.events == [Ping(b"p"), violation]
    assert not fed.decoder.in_message
    assert fed.decoder.buffered == 0


@pytest.mark.parametrize("name", [name for name in VIOLATIONS if len(VIOLATIONS[name][0]) < 200])
def test_a_violation_is_the_same_however_it_is_cut(codec: Any, name: str) -> None:
    assert at_every_cut(codec, VIOLATIONS[name][0])[1] == [VIOLATIONS[name][1]]


def test_reasons_fit_a_close_frame(codec: Any) -> None:
    known = [value for value in vars(events).values() if isinstance(value, Violation)] + [events.too_big(1 << 62)]
    assert len(known) > 10
    for violation in known:
        assert len(violation.reason.encode()) <= 123


@pytest.mark.parametrize(
    ("start", "violation"),
    [
        (b"\x83\x80", events.UNKNOWN_OPCODE),
        (b"\x81\x00", events.UNMASKED),
        (b"\xa1\x80", events.RESERVED_BIT),
        (b"\x89\xfe", events.LONG_CONTROL),
        (b"\x80\x80", events.LONE_CONTINUATION),
        (b"\x81\xfe\x00\x7d", events.NOT_MINIMAL),
        (b"\x81\xff" + (65535).to_bytes(8), events.NOT_MINIMAL),
        (b"\x81\xff" + (1 << 63).to_bytes(8), events.TOP_BIT),
        (b"\x81\xff" + ((1 << 63) - 1).to_bytes(8), events.too_big(LIMIT)),
        (b"\x81\xff" + (LIMIT + 1).to_bytes(8), events.too_big(LIMIT)),
        (b"\x81\x83" + bytes(4) + b"\xed\xa0", events.BAD_UTF8),
        (b"\x81\x83" + bytes(4) + b"\xff", events.BAD_UTF8),
    ],
)
def test_a_violation_is_told_at_the_byte_that_shows_it(codec: Any, start: bytes, violation: Violation) -> None:
    fed = Fed(codec).feed(*one_by_one(start[:-1]))
    assert fed.outcome == ([], [])
    assert fed.feed(start[-1:]).events == [violation]
    assert Fed(codec).feed(start).events == [violation]


def test_close_ends_all(codec: Any) -> None:
    close = client_frame(CLOSE, b"\x03\xe8" + "Tschüß".encode())
    stream = text("before") + close + text("behind") + client_frame(PING)
    assert at_every_cut(codec, stream) == (["before"], [Close(1000, "Tschüß")])
    fed = Fed(codec).feed(stream)
    assert fed.feed(text("later")).outcome == (["before"], [Close(1000, "Tschüß")])


def test_an_empty_close_is_1005(codec: Any) -> None:
    assert at_every_cut(codec, client_frame(CLOSE)) == ([], [Close(1005, "")])


def test_close_may_interrupt_a_fragmented_message(codec: Any) -> None:
    """RFC 6455 5.4: control frames may be injected in the middle of a fragmented message; close is one of them."""
    stream = text("half", fin=False) + client_frame(CLOSE, b"\x03\xe9")
    assert at_every_cut(codec, stream) == ([], [Close(1001, "")])


SENT = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
NEVER_SENT = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", SENT)
def test_close_codes_that_are_sent(codec: Any, code: int) -> None:
    assert Fed(codec).feed(client_frame(CLOSE, code.to_bytes(2) + b"bye")).events == [Close(code, "bye")]


@pytest.mark.parametrize("code", NEVER_SENT)
def test_close_codes_that_are_never_sent(codec: Any, code: int) -> None:
    assert Fed(codec).feed(client_frame(CLOSE, code.to_bytes(2))).events == [events.BAD_CLOSE_CODE]


# UTF-8: RFC 3629 section 4, at each bound of its table.
GOOD_UTF8 = [
    b"\x00", b"\x7f", b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xe0\xbf\xbf", b"\xe1\x80\x80", b"\xec\xbf\xbf",
    b"\xed\x80\x80", b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbf", b"\xf0\x90\x80\x80", b"\xf0\xbf\xbf\xbf",
    b"\xf1\x80\x80\x80", b"\xf3\xbf\xbf\xbf", b"\xf4\x80\x80\x80", b"\xf4\x8f\xbf\xbf",
]  # fmt: skip
BAD_UTF8 = [  # wrong at the last byte
    b"\x80", b"\xbf", b"\xc0", b"\xc1", b"\xf5", b"\xf8", b"\xfe", b"\xff", b"\xc2\x7f", b"\xc2\xc0", b"\xdf\x20",
    b"\xe0\x9f", b"\xe0\xc0", b"\xed\xa0", b"\xed\xbf", b"\xee\x7f", b"\xef\xbf\xc0", b"\xe1\x80\x00", b"\xf0\x8f",
    b"\xf4\x90", b"\xf1\x80\x7f", b"\xf4\x8f\xbf\xc0", b"\xf0\x90\x80\x2e",
]  # fmt: skip


@pytest.mark.parametrize("character", GOOD_UTF8)
@pytest.mark.parametrize("before", [0, 1, 5, 8, 15])
def test_every_kind_of_character(codec: Any, character: bytes, before: int) -> None:
    payload = b"-" * before + character * 3 + b"-"
    assert at_every_cut(codec, client_frame(TEXT, payload)) == ([payload.decode()], [])


@pytest.mark.parametrize("sequence", BAD_UTF8)
@pytest.mark.parametrize("before", [b"", b"12345678", "äöü€𝄞".encode()])
def test_a_bad_byte_is_told_when_it_comes(codec: Any, sequence: bytes, before: bytes) -> None:
    payload = before + sequence + b"more to come"
    bad = len(payload) - len(b"more to come")
    frame = client_frame(TEXT, payload)
    assert at_every_cut(codec, frame) == ([], [events.BAD_UTF8])
    fed = Fed(codec).feed(*one_by_one(frame[: 6 + bad - 1]))
    assert fed.outcome == ([], [])
    assert fed.feed(frame[6 + bad - 1 : 6 + bad]).outcome == ([], [events.BAD_UTF8])


@pytest.mark.parametrize("character", [character for character in GOOD_UTF8 if len(character) > 1])
def test_a_message_that_ends_inside_a_character(codec: Any, character: bytes) -> None:
    for cut in range(1, len(character)):
        assert at_every_cut(codec, client_frame(TEXT, character[:cut])) == ([], [events.BAD_UTF8])
    fragments = client_frame(TEXT, character[:1], fin=False) + client_frame(CONTINUATION, b"")
    assert at_every_cut(codec, fragments) == ([], [events.BAD_UTF8])


def test_bad_utf8_in_a_fragment_is_told_before_the_message_ends(codec: Any) -> None:
    stream = client_frame(TEXT, b"good", fin=False) + client_frame(CONTINUATION, b"bad\xff", fin=False)
    assert at_every_cut(codec, stream) == ([], [events.BAD_UTF8])


def test_binary_is_not_checked_after_text_was_cut(codec: Any) -> None:
    stream = (
        client_frame(TEXT, b"a\xc3\xa4", fin=False) + client_frame(CONTINUATION, b"") + client_frame(BINARY, b"\xff")
    )
    assert at_every_cut(codec, stream) == (["aä", b"\xff"], [])


# Limits


def test_a_message_of_the_limit_and_one_beyond_it(codec: Any) -> None:
    exact = client_frame(BINARY, b"12345678")
    assert at_every_cut(codec, exact + exact, 8) == ([b"12345678"] * 2, [])
    assert at_every_cut(codec, exact + client_frame(BINARY, b"123456789"), 8) == ([b"12345678"], [events.too_big(8)])


def test_the_limit_is_for_all_fragments_together(codec: Any) -> None:
    first = client_frame(BINARY, b"12345", fin=False)
    assert at_every_cut(codec, first + client_frame(CONTINUATION, b"678"), 8) == ([b"12345678"], [])
    assert at_every_cut(codec, first + client_frame(CONTINUATION, b"6789"), 8) == ([], [events.too_big(8)])
    empty_end = first + client_frame(CONTINUATION, b"678", fin=False) + client_frame(CONTINUATION)
    assert at_every_cut(codec, empty_end, 8) == ([b"12345678"], [])


def test_the_limit_is_not_for_control_frames(codec: Any) -> None:
    assert at_every_cut(codec, client_frame(PING, b"123456789"), 0) == ([], [Ping(b"123456789")])
    assert at_every_cut(codec, text(""), 0) == ([""], [])


def test_text_is_counted_in_bytes(codec: Any) -> None:
    assert Fed(codec, 3).feed(text("€")).messages == ["€"]
    assert Fed(codec, 3).feed(text("€€")).events == [events.too_big(3)]


@pytest.mark.parametrize("limit", [(1 << 63) - 1, 1 << 62])
def test_no_memory_is_taken_for_a_declared_length(codec: Any, limit: int) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        decoders = [codec.Decoder(limit) for _ in range(10)]
        for decoder in decoders:
            data = header(BINARY, limit) + b"some"
            assert decoder.feed(data, len(data), []) is None
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert [decoder.buffered for decoder in decoders] == [4] * 10
    assert taken < 20_000


def test_memory_grows_with_what_has_come(codec: Any) -> None:
    fed = Fed(codec, 1 << 40)
    tracemalloc.start()
    try:
        fed.feed(header(BINARY, 1 << 40))
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        fed.feed(*[bytes(1 << 12)] * 256)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert fed.decoder.buffered == 1 << 20
    assert peak < 3.2 * (1 << 20)


def test_what_is_held_is_given_up_at_the_end(codec: Any) -> None:
    fed = Fed(codec, 1 << 22).feed(header(BINARY, 1 << 21, fin=False), bytes(1 << 20))
    assert (fed.decoder.buffered, fed.decoder.in_message) == (1 << 20, True)
    fed.feed(bytes(1 << 20), client_frame(CLOSE))
    assert (fed.decoder.buffered, fed.decoder.in_message) == (0, False)
    assert fed.feed(text("later")).decoder.buffered == 0


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("last", [client_frame(CONTINUATION), client_frame(CONTINUATION, b"\xff"), b""])
def test_nothing_is_left_of_messages_that_came_in_pieces(codec: Any, opcode: int, last: bytes) -> None:
    pieces = (
        client_frame(opcode, bytes(10_000), fin=False),
        header(CONTINUATION, 9_000, fin=False),
        bytes(9_000),
        last,
    )
    Fed(codec).feed(*pieces)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50):
            Fed(codec).feed(*pieces)
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert left < 10_000


@pytest.mark.timeout(60)
def test_work_is_linear_in_the_bytes_however_they_are_cut(codec: Any) -> None:
    """Joining the parts again at each byte would copy 8 (native: 128) GiB here."""
    size = 1 << (18 if codec.__name__.endswith("pure") else 22)
    frame = client_frame(TEXT, b"0123456789abcdef" * (size // 16))
    view = memoryview(frame)
    fed = Fed(codec, size)
    decoder, messages = fed.decoder, fed.messages
    for i in range(len(frame)):
        decoder.feed(view[i : i + 1], 1, messages)
    assert messages == ["0123456789abcdef" * (size // 16)]


def test_many_fragments_are_one_message(codec: Any) -> None:
    parts = [client_frame(CONTINUATION, b"%d," % i, fin=False) for i in range(2000)]
    stream = text("", fin=False) + b"".join(parts) + client_frame(CONTINUATION)
    expected = "".join(f"{i}," for i in range(2000))
    assert Fed(codec).feed(stream).messages == [expected]
    assert Fed(codec).feed(*one_by_one(stream)).messages == [expected]


# What the engine asks of a decoder


def test_buffered_in_message_and_received(codec: Any) -> None:
    fed = Fed(codec)
    seen = []
    for piece in (text("ab", fin=False), client_frame(PING, b"x")[:4], client_frame(PING, b"x")[4:]):
        fed.feed(piece)
        seen.append((fed.decoder.buffered, fed.decoder.in_message, fed.decoder.received))
    last = client_frame(CONTINUATION, "€".encode())
    for piece in (last[:1], last[1:5], last[5:7], last[7:], client_frame(BINARY, b"1234")):
        fed.feed(piece)
        seen.append((fed.decoder.buffered, fed.decoder.in_message, fed.decoder.received))
    assert seen == [
        (2, True, 0),
        (6, True, 0),
        (2, True, 0),
        (3, True, 0),
        (7, True, 0),
        (3, True, 0),
        (0, False, 5),
        (0, False, 9),
    ]


def test_part_of_a_control_frame_is_held(codec: Any) -> None:
    ping = client_frame(PING, b"x" * 125)
    fed = Fed(codec)
    for i, piece in enumerate(one_by_one(ping[:-1]), 1):
        fed.feed(piece)
        assert (fed.decoder.buffered, fed.decoder.in_message) == (i, True)
    fed.feed(ping[-1:])
    assert (fed.decoder.buffered, fed.decoder.in_message, fed.events) == (0, False, [Ping(b"x" * 125)])


# Compression, with an inflate that only reverses what it gets.


def reverse(payload: bytes, max_size: int) -> bytes:
    if payload == b"bad":
        raise BadData
    if len(payload) > max_size:
        raise TooBig
    return payload[::-1]


def test_compressed_messages_go_through_inflate(codec: Any) -> None:
    stream = (
        client_frame(TEXT, b"cba", rsv=4)
        + client_frame(BINARY, b"\2\1", rsv=4)
        + text("plain")
        + client_frame(TEXT, "€".encode()[::-1][:1], rsv=4, fin=False)
        + client_frame(PING)
        + client_frame(CONTINUATION, "€".encode()[::-1][1:])
        + client_frame(BINARY, b"", rsv=4)
    )
    assert at_every_cut(codec, stream, inflate=reverse) == (["abc", b"\1\2", "plain", "€", b""], [Ping(b"")])
    assert Fed(codec, inflate=reverse).feed(stream).decoder.received == 3 + 2 + 5 + 3


@pytest.mark.parametrize(
    ("frame", "violation"),
    [
        (client_frame(BINARY, b"bad", rsv=4), events.BAD_DEFLATE),
        (client_frame(BINARY, b"123456789", rsv=4), events.too_big(8)),
        (client_frame(TEXT, b"\xff", rsv=4), events.BAD_UTF8),
        (client_frame(PING, b"", rsv=4), events.RESERVED_BIT),
        (client_frame(CONTINUATION, b"", rsv=4), events.RESERVED_BIT),
        (client_frame(TEXT, b"", rsv=6), events.RESERVED_BIT),
        (
            client_frame(TEXT, b"a", rsv=4, fin=False) + client_frame(CONTINUATION, b"b", rsv=4),
            events.RESERVED_BIT,
        ),
    ],
)
def test_compressed_frames_that_may_not_be(codec: Any, frame: bytes, violation: Violation) -> None:
    assert at_every_cut(codec, text("before") + frame + text("x"), 8, reverse) == (["before"], [violation])


def test_compressed_data_may_be_a_little_larger_than_the_message(codec: Any) -> None:
    limit = 800

    def shrink(payload: bytes, max_size: int) -> bytes:
        return payload[:max_size]

    for size, expected in ((964, ([bytes(limit)], [])), (965, ([], [events.too_big(limit)]))):
        stream = client_frame(BINARY, bytes(size), rsv=4)
        assert Fed(codec, limit, shrink).feed(stream).outcome == expected
        assert Fed(codec, limit, shrink).feed(*one_by_one(stream)).outcome == expected
    after = client_frame(BINARY, b"", rsv=4) + client_frame(BINARY, bytes(limit + 1))
    assert Fed(codec, limit, shrink).feed(*one_by_one(after)).outcome == ([b""], [events.too_big(limit)])


@pytest.mark.parametrize("cut", [3, 8])
def test_what_inflate_raises_leaves_and_ends_the_decoder(codec: Any, cut: int) -> None:
    def fail(payload: bytes, max_size: int) -> bytes:
        raise ZeroDivisionError

    fed = Fed(codec, inflate=fail)
    stream = text("before") + client_frame(TEXT, b"x", rsv=4)
    fed.feed(stream[:cut])
    with pytest.raises(ZeroDivisionError):
        fed.feed(stream[cut:])
    assert fed.feed(text("later")).outcome == (["before"], [])


@pytest.mark.parametrize("answer", [None, "text", bytearray(b"x")])
def test_inflate_returns_bytes_or_fails(native: Any, answer: Any) -> None:
    """The native codec reads what it returns as bytes."""
    with pytest.raises(TypeError):
        Fed(native, inflate=lambda payload, max_size: answer).feed(client_frame(TEXT, b"x", rsv=4))


def test_a_feed_inside_a_feed_does_nothing(codec: Any) -> None:
    def inflate(payload: bytes, max_size: int) -> bytes:
        assert fed.decoder.feed(text("inner"), 11, fed.messages) is None
        return payload

    fed = Fed(codec, inflate=inflate)
    stream = client_frame(TEXT, b"outer", rsv=4) + text("behind")
    assert fed.feed(stream[:-3], stream[-3:]).outcome == (["outer", "behind"], [])


# Frames of the server


class Colour(enum.StrEnum):
    RED = "röt"


@pytest.mark.parametrize("words", ["", "a", "x" * 125, "x" * 126, "ä€𝄞" * 40, "x" * 65535, "ä" * 32768, Colour.RED])
def test_text_frames(codec: Any, words: str) -> None:
    assert codec.text_frame(words) == client_frame(TEXT, words.encode(), mask=None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_binary_frames(codec: Any, size: int, kind: Callable[[bytes], Any]) -> None:
    payload = bytes(i % 251 for i in range(size))
    assert codec.binary_frame(kind(payload)) == client_frame(BINARY, payload, mask=None)


def test_a_view_of_wider_items_is_counted_in_bytes(codec: Any) -> None:
    view = memoryview(bytes(range(40))).cast("I")
    assert codec.binary_frame(view) == client_frame(BINARY, bytes(range(40)), mask=None)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("rsv1", [False, True])
def test_frames_and_headers(codec: Any, opcode: int, rsv1: bool) -> None:
    rsv = 4 if rsv1 else 0
    assert codec.frame(opcode, b"abc", rsv1) == client_frame(opcode, b"abc", rsv=rsv, mask=None)
    for length in (0, 125, 126, 65535, 65536, (1 << 63) - 1):
        assert codec.frame_header(opcode, length, rsv1) == header(opcode, length, rsv=rsv, mask=None)


def test_what_cannot_be_a_frame_is_refused(codec: Any) -> None:
    with pytest.raises(TypeError, match=r"a text message is a str, but it is bytes; use binary_frame\(\) for bytes"):
        codec.text_frame(b"abc")
    with pytest.raises(TypeError, match="bytes-like"):
        codec.binary_frame("abc")
    with pytest.raises(UnicodeEncodeError):
        codec.text_frame("\ud800")
    with pytest.raises(ValueError, match="an opcode is 0 to 15, but it is 16"):
        codec.frame(16, b"")
    with pytest.raises(ValueError, match="an opcode is 0 to 15, but it is -1"):
        codec.frame_header(-1, 0)
    with pytest.raises(ValueError, match="length is a number of bytes, 0 or more, but it is -1"):
        codec.frame_header(TEXT, -1)


def test_text_frames_add_nothing_to_the_text(codec: Any) -> None:
    words = "ä" * 100_000
    codec.text_frame("ä")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        codec.text_frame(words)
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert left < 5_000


def test_masks_of_every_turn(codec: Any) -> None:
    payload = bytes(range(256)) * 2
    frame = client_frame(BINARY, payload, mask=MASK)
    for step in range(1, 20):
        pieces = [frame[i : i + step] for i in range(0, len(frame), step)]
        assert Fed(codec).feed(*pieces).messages == [payload]


# The codec in use


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Chooses as a new process would, with `TRUNKLINE_CODEC` as given and the native codec built or not."""

    def choose(wanted: str | None, *, built: bool = True) -> Any:
        monkeypatch.delenv("TRUNKLINE_CODEC", raising=False)
        if wanted is not None:
            monkeypatch.setenv("TRUNKLINE_CODEC", wanted)
        if not built:
            monkeypatch.setitem(sys.modules, "trunkline.engine._codec", None)
        return in_use._choose()

    return choose


def test_the_native_codec_is_taken(choose: Callable[..., Any], native: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert choose(None) is native
    assert not caplog.records


def test_without_the_native_codec_a_warning_says_what_to_do(
    choose: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert choose("", built=False) is _codec_pure
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("trunkline.engine", "WARNING")
    assert "the slower one in pure Python is used; install a C compiler and run: pip install" in record.getMessage()


@pytest.mark.parametrize("missing", ["trunkline.engine._channel_native", "trunkline.engine._send"])
def test_a_native_codec_without_what_is_compiled_beside_it_is_not_taken(
    choose: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(in_use, "find_spec", lambda name: None if name == missing else name)
    assert choose("") is _codec_pure
    assert f"{missing} is not built" in caplog.text


def test_pure_python_can_be_asked_for(choose: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    assert choose("pure") is _codec_pure
    assert not caplog.records


def test_another_wish_is_refused(choose: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="TRUNKLINE_CODEC is 'pure' or not set, but it is 'native'"):
        choose("native")


def test_what_is_in_use_is_one_codec() -> None:
    twin = sys.modules["trunkline.engine._codec" if in_use.NATIVE else "trunkline.engine._codec_pure"]
    for name in ("Decoder", "text_frame", "binary_frame", "frame", "frame_header"):
        assert getattr(in_use, name) is getattr(twin, name)


def test_close_frames() -> None:
    assert in_use.close_frame(1000, "") == b"\x88\x02\x03\xe8"
    assert in_use.close_frame(1012, "Tschüß") == b"\x88\x0a\x03\xf4" + "Tschüß".encode()
    assert in_use.close_frame(1005, "not sent") == b"\x88\x00"
    assert in_use.close_frame(4000, "€" * 42) == b"\x88\x7d\x0f\xa0" + ("€" * 41).encode()
    assert in_use.close_frame(1000, "a\ud800b") == b"\x88\x05\x03\xe8a?b"


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 5000])
def test_close_frames_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(ValueError, match="a close code that may be sent is expected"):
        in_use.close_frame(code, "")
