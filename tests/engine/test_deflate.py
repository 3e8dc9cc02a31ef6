"""permessage-deflate: negotiation as a table, messages beside zlib and the `websockets` library, hostile payloads."""

from __future__ import annotations

import gc
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, strategies as st
from websockets.exceptions import NegotiationError, ProtocolError
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame, Opcode

from trunkline.engine.deflate import Agreement, Deflate, DeflateSettings, compress, negotiate
from trunkline.engine.events import BadData, TooBig
from trunkline.engine.handshake import HandshakeReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.engine.handshake import Extension

DEFAULT = DeflateSettings()
TAKEOVER = DeflateSettings(context_takeover=True)
MAX = 1 << 20


def offers(header: str) -> list[Extension]:
    """The header as the handshake reads it."""
    request = HandshakeReader().feed(
        b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: " + header.encode() + b"\r\n\r\n"
    )
    assert request is not None
    return request.extensions


def agreed(header: str = "permessage-deflate; client_max_window_bits", settings: DeflateSettings = DEFAULT) -> Deflate:
    agreement = negotiate(offers(header), settings)
    assert agreement is not None
    return Deflate(agreement, settings)


def client(agreement: Agreement, bits: int | None = None) -> PerMessageDeflate:
    """The other end, as the `websockets` library makes it from our answer."""
    factory = ClientPerMessageDeflateFactory(client_max_window_bits=bits or True)
    (answer,) = offers(agreement.header.decode())
    return factory.process_response_params(answer.parameters, [])


def read_by(peer: PerMessageDeflate, payload: bytes) -> bytes:
    return bytes(peer.decode(Frame(Opcode.BINARY, payload, rsv1=True)).data)


def write_by(peer: PerMessageDeflate, message: bytes) -> bytes:
    frame = peer.encode(Frame(Opcode.BINARY, message))
    assert frame.rsv1
    return bytes(frame.data)


# Negotiation: the offer, the answer to it by default, and with context takeover

NONE = "server_no_context_takeover; client_no_context_takeover"
NEGOTIATIONS: list[tuple[str, str | None, str | None]] = [
    ("", None, None),
    ("x-webkit-deflate-frame", None, None),
    ("permessage-deflate", f"{NONE}; server_max_window_bits=12", "server_max_window_bits=12"),
    (
        "permessage-deflate; client_max_window_bits",
        f"{NONE}; server_max_window_bits=12; client_max_window_bits=12",
        "server_max_window_bits=12; client_max_window_bits=12",
    ),
    # What Autobahn's groups 13.2 to 13.6 offer, with what its client always adds.
    (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        f"{NONE}; server_max_window_bits=12; client_max_window_bits=12",
        f"{NONE}; server_max_window_bits=12; client_max_window_bits=12",
    ),
    (
        "permessage-deflate; server_max_window_bits=9; client_no_context_takeover; client_max_window_bits",
        f"{NONE}; server_max_window_bits=9; client_max_window_bits=12",
        "client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=12",
    ),
    (
        "permessage-deflate; server_max_window_bits=15; client_no_context_takeover; client_max_window_bits",
        f"{NONE}; server_max_window_bits=12; client_max_window_bits=12",
        "client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
    ),
    (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
        f"{NONE}; server_max_window_bits=9",
        "server_no_context_takeover; server_max_window_bits=9",
    ),
    (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
        f"{NONE}; server_max_window_bits=12",
        "server_no_context_takeover; server_max_window_bits=12",
    ),
    # Group 13.7: several offers; the first that can be accepted is.
    (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=9, "
        "permessage-deflate; server_no_context_takeover, permessage-deflate",
        f"{NONE}; server_max_window_bits=9",
        "server_no_context_takeover; server_max_window_bits=9",
    ),
    (
        "permessage-deflate; server_max_window_bits=8, permessage-deflate; client_max_window_bits=10",
        f"{NONE}; server_max_window_bits=12; client_max_window_bits=10",
        "server_max_window_bits=12; client_max_window_bits=10",
    ),
    (
        "foo, permessage-deflate; unknown, permessage-deflate",
        f"{NONE}; server_max_window_bits=12",
        "server_max_window_bits=12",
    ),
    (
        'permessage-deflate; server_max_window_bits="10"; client_max_window_bits="8"',
        f"{NONE}; server_max_window_bits=10; client_max_window_bits=8",
        "server_max_window_bits=10; client_max_window_bits=8",
    ),
    (
        "permessage-deflate; client_max_window_bits=15",
        f"{NONE}; server_max_window_bits=12; client_max_window_bits=12",
        "server_max_window_bits=12; client_max_window_bits=12",
    ),
    *(
        (f"permessage-deflate; {parameters}", None, None)
        for parameters in [
            "server_max_window_bits",
            "server_max_window_bits=8",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=ten",
            'server_max_window_bits="9"; server_max_window_bits=9',
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=09",
            "client_max_window_bits; client_max_window_bits=9",
            "client_max_window_bits; client_max_window_bits",
            "server_no_context_takeover=1",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover=true",
            "client_no_context_takeover; client_no_context_takeover",
            "unknown",
            "unknown=1",
            "Client_Max_Window_Bits",
        ]
    ),
    ("Permessage-Deflate", None, None),
]


@pytest.mark.parametrize("settings", [DEFAULT, TAKEOVER], ids=["default", "takeover"])
@pytest.mark.parametrize(("offer", "default", "takeover"), NEGOTIATIONS, ids=[row[0] for row in NEGOTIATIONS])
def test_offers_are_answered(offer: str, default: str | None, takeover: str | None, settings: DeflateSettings) -> None:
    agreement = negotiate(offers(offer), settings)
    expected = takeover if settings.context_takeover else default
    answer = None if agreement is None else agreement.header.decode()
    assert answer == (None if expected is None else f"permessage-deflate; {expected}")


def test_the_agreement_says_what_its_header_says() -> None:
    offer = "permessage-deflate; client_no_context_takeover; server_max_window_bits=11; client_max_window_bits=10"
    agreement = negotiate(offers(offer), TAKEOVER)
    assert agreement is not None
    assert agreement[:4] == (True, False, 11, 10)
    agreement = negotiate(offers("permessage-deflate"), DEFAULT)
    assert agreement is not None
    assert agreement[:4] == (False, False, 12, 15)


def test_a_full_window_is_not_spoken_of_unless_the_client_did() -> None:
    settings = DeflateSettings(context_takeover=True, window_bits=15)
    for offer, answer in {
        "permessage-deflate": "permessage-deflate",
        "permessage-deflate; server_max_window_bits=15": "permessage-deflate; server_max_window_bits=15",
    }.items():
        agreement = negotiate(offers(offer), settings)
        assert agreement is not None
        assert agreement.header.decode() == answer


PARAMETERS = st.sampled_from(
    [
        ("server_no_context_takeover", None),
        ("client_no_context_takeover", None),
        ("client_no_context_takeover", "1"),
        ("client_max_window_bits", None),
        ("server_max_window_bits", None),
        ("x", None),
        *((name, str(bits)) for name in ("server_max_window_bits", "client_max_window_bits") for bits in range(7, 17)),
    ]
)


@given(st.lists(PARAMETERS, max_size=4), st.integers(9, 15), st.booleans())
def test_negotiation_agrees_with_the_websockets_library(
    parameters: list[tuple[str, str | None]], bits: int, takeover: bool
) -> None:
    header = "; ".join(
        ["permessage-deflate", *(name if value is None else f"{name}={value}" for name, value in parameters)]
    )
    ours = negotiate(offers(header), DeflateSettings(context_takeover=takeover, window_bits=bits))
    factory = ServerPerMessageDeflateFactory(
        server_no_context_takeover=not takeover,
        client_no_context_takeover=not takeover,
        server_max_window_bits=bits,
        client_max_window_bits=bits,
    )
    try:
        answer, _ = factory.process_request_params(parameters, [])
    except NegotiationError:
        assert ours is None
        return
    assert ours is not None
    # A window of 15 bits is the same whether it is said or not; we say it only if the client did.
    unsaid = {("server_max_window_bits", "15")}
    assert set(offers(ours.header.decode())[0].parameters) - unsaid == set(answer) - unsaid


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"window_bits": 8}, "9 to 15 as window_bits"),
        ({"window_bits": 16}, "9 to 15 as window_bits"),
        ({"memory_level": 0}, "1 to 9 as memory_level"),
        ({"memory_level": 10}, "1 to 9 as memory_level"),
        ({"level": 0}, "1 to 9 as level"),
        ({"level": 10}, "1 to 9 as level"),
        ({"threshold": -1}, "0 or more bytes as threshold"),
    ],
)
def test_settings_that_zlib_cannot_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"{words}.*, but got {next(iter(wrong.values()))}"):
        DeflateSettings(**wrong)


# The examples of RFC 7692 section 7.2.3

EXAMPLES = {
    "one block (7.2.3.1)": ("f2 48 cd c9 c9 07 00", b"Hello"),
    "without compression (7.2.3.3)": ("00 05 00 fa ff 48 65 6c 6c 6f 00", b"Hello"),
    "a last block (7.2.3.4)": ("f3 48 cd c9 c9 07 00 00", b"Hello"),
    "two blocks (7.2.3.5)": ("f2 48 05 00 00 00 ff ff ca c9 c9 07 00", b"Hello"),
    "empty (7.2.3.6)": ("00", b""),
    "empty, as it needs not be": ("02 00", b""),
    "empty, by a zlib that had just been flushed": ("", b""),
    "a last block with nothing behind it": ("f3 48 cd c9 c9 07 00", b"Hello"),
    "two last blocks": ("f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00", b"HelloHello"),
}


@pytest.mark.parametrize("settings", [DEFAULT, TAKEOVER], ids=["default", "takeover"])
@pytest.mark.parametrize(("payload", "message"), EXAMPLES.values(), ids=EXAMPLES)
def test_the_rfcs_examples_are_inflated(payload: str, message: bytes, settings: DeflateSettings) -> None:
    deflate = agreed(settings=settings)
    assert [deflate.inflate(bytes.fromhex(payload), MAX) for _ in range(3)] == [message] * 3


def test_a_message_may_refer_back_to_the_one_before_only_with_takeover() -> None:
    # RFC 7692 section 7.2.3.2.
    first, second = bytes.fromhex("f2 48 cd c9 c9 07 00"), bytes.fromhex("f2 00 11 00 00")
    deflate = agreed(settings=TAKEOVER)
    assert [deflate.inflate(first, MAX), deflate.inflate(second, MAX), deflate.inflate(second, MAX)] == [b"Hello"] * 3
    deflate = agreed()
    assert deflate.inflate(first, MAX) == b"Hello"
    with pytest.raises(BadData, match="distance"):
        deflate.inflate(second, MAX)


def test_we_compress_as_the_rfc_does() -> None:
    deflate = agreed(settings=TAKEOVER)
    assert deflate.compress(b"Hello").hex(" ") == "f2 48 cd c9 c9 07 00"
    assert deflate.compress(b"Hello").hex(" ") == "f2 00 11 00 00"
    assert deflate.compress(b"") == deflate.compress(b"") == agreed().compress(b"") == b"\x00"


# Round trips

WORDS = st.lists(st.sampled_from([b"alpha", b"beta", b'{"id":', b"\x00", bytes(range(256)), b"x" * 5000]), max_size=12)
MESSAGES = st.lists(st.one_of(st.binary(max_size=300), WORDS.map(b"".join)), min_size=1, max_size=8)
OFFERS = st.sampled_from(
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits",
        "permessage-deflate; client_no_context_takeover; client_max_window_bits",
    ]
)


@given(OFFERS, st.integers(9, 15), st.booleans(), MESSAGES)
def test_messages_go_both_ways_with_the_websockets_library(
    offer: str, bits: int, takeover: bool, messages: list[bytes]
) -> None:
    settings = DeflateSettings(context_takeover=takeover, window_bits=bits)
    agreement = negotiate(offers(offer), settings)
    assert agreement is not None
    ours, theirs = Deflate(agreement, settings), client(agreement)
    for message in messages:
        assert read_by(theirs, ours.compress(message)) == message
        assert ours.inflate(write_by(theirs, message), len(message)) == message


@given(MESSAGES, st.integers(9, 15), st.integers(1, 9), st.integers(1, 9))
def test_what_is_compressed_once_is_read_by_all_with_as_large_a_window(
    messages: list[bytes], bits: int, level: int, memory_level: int
) -> None:
    settings = DeflateSettings(level=level, memory_level=memory_level, threshold=0)
    for message in messages:
        payload = compress(message, bits, settings)
        for window in range(bits, 16):
            assert zlib.decompressobj(-window).decompress(payload + b"\x00\x00\xff\xff") == message


@given(st.binary(max_size=200), st.integers(0, 200))
@example(b"", 0)
@example(b"a" * 100, 99)
def test_a_message_is_inflated_up_to_its_limit_and_not_beyond(message: bytes, limit: int) -> None:
    deflate = agreed()
    payload = deflate.compress(message)
    if len(message) <= limit:
        assert deflate.inflate(payload, limit) == message
    else:
        with pytest.raises(TooBig, match=f"more than {limit} bytes"):
            deflate.inflate(payload, limit)


def test_takeover_holds_over_many_messages_of_all_sizes() -> None:
    agreement = negotiate(offers("permessage-deflate; client_max_window_bits=9"), TAKEOVER)
    assert agreement is not None
    ours, theirs = Deflate(agreement, TAKEOVER), client(agreement, 9)
    for size in [0, 1, 511, 512, 513, 4095, 4096, 4097, 0, 0, 70_000, 3, *range(200)]:
        message = bytes(i * i % 251 for i in range(size))
        assert read_by(theirs, ours.compress(message)) == message
        assert ours.inflate(write_by(theirs, message), MAX) == message
    assert len(ours.compress(b"the same words again")) > len(ours.compress(b"the same words again"))


def test_a_last_block_keeps_the_context_of_the_messages_before() -> None:
    deflate = agreed(settings=TAKEOVER)
    assert deflate.inflate(bytes.fromhex("f3 48 cd c9 c9 07 00 00"), MAX) == b"Hello"
    assert deflate.inflate(bytes.fromhex("f2 00 11 00 00"), MAX) == b"Hello"


def test_a_client_that_takes_9_bits_for_8_is_understood() -> None:
    deflate = agreed("permessage-deflate; client_max_window_bits=8")
    message = bytes(range(250)) + bytes(100) + bytes(range(250))
    assert deflate.inflate(compress(message, 9, DEFAULT), MAX) == message


# Hostile payloads


@given(
    st.one_of(st.binary(max_size=100), MESSAGES.map(lambda parts: compress(b"".join(parts), 12, DEFAULT))), st.data()
)
def test_garbage_raises_nothing_but_bad_data_and_too_big(payload: bytes, data: st.DataObject) -> None:
    mutated = bytearray(payload)
    for _ in range(data.draw(st.integers(0, 3))):
        position = data.draw(st.integers(0, len(mutated)))
        mutated[position : position + 1] = data.draw(st.binary(max_size=2))
    limit = data.draw(st.integers(0, 1000))
    for deflate in (agreed(), agreed(settings=TAKEOVER)):
        try:
            assert len(deflate.inflate(bytes(mutated), limit)) <= limit
        except (BadData, TooBig):
            pass


@pytest.mark.parametrize("settings", [DEFAULT, TAKEOVER], ids=["default", "takeover"])
def test_a_message_cut_short_is_not_taken_for_a_whole_one(settings: DeflateSettings) -> None:
    payload = compress(bytes(i * i % 251 for i in range(3000)) + b"some words " * 30, 12, DEFAULT)
    for size in range(1, len(payload)):
        with pytest.raises(BadData):
            agreed(settings=settings).inflate(payload[:size], MAX)


@given(st.binary(min_size=1, max_size=60))
def test_what_we_take_the_websockets_library_reads_alike(payload: bytes) -> None:
    agreement = negotiate(offers("permessage-deflate"), DEFAULT)
    assert agreement is not None
    peer = PerMessageDeflate(True, True, 15, 12)
    try:
        message = Deflate(agreement, DEFAULT).inflate(payload, MAX)
    except BadData:
        return
    try:
        theirs = read_by(peer, payload)
    except ProtocolError:
        pytest.fail("the library refuses what we take")
    # It stops at the first last block; we go on.
    assert message.startswith(theirs)


@pytest.mark.parametrize("settings", [DEFAULT, TAKEOVER], ids=["default", "takeover"])
def test_a_bomb_takes_no_more_memory_than_the_limit(settings: DeflateSettings) -> None:
    bomb = compress(bytes(64 << 20), 12, DeflateSettings(level=9))
    assert len(bomb) < 100_000
    deflate = agreed(settings=settings)
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(TooBig):
            deflate.inflate(bomb, 1 << 16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (1 << 19)


def test_a_bomb_of_many_streams_is_bounded_by_the_same_limit() -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -12)
    part = stream.compress(bytes(1000)) + stream.flush()
    with pytest.raises(TooBig):
        agreed().inflate(part * 20 + b"\x00", 15_000)
    assert agreed().inflate(part * 20 + b"\x00", 20_000) == bytes(20_000)


def test_a_message_of_countless_empty_streams_is_refused_early() -> None:
    with pytest.raises(BadData, match="more than 32 streams"):
        agreed().inflate(b"\x03\x00" * 500_000, MAX)


def test_bad_data_leaves_the_context_as_it_was() -> None:
    deflate = agreed(settings=TAKEOVER)
    assert deflate.inflate(bytes.fromhex("f2 48 cd c9 c9 07 00"), MAX) == b"Hello"
    with pytest.raises(BadData):
        deflate.inflate(b"\xff\xff", MAX)
    assert deflate.inflate(bytes.fromhex("f2 00 11 00 00"), MAX) == b"Hello"


# What a connection holds


def test_without_takeover_nothing_is_held_between_messages() -> None:
    def held(settings: DeflateSettings) -> int:
        deflates = [agreed("permessage-deflate; client_max_window_bits", settings) for _ in range(20)]
        gc.collect()
        tracemalloc.start()
        try:
            for deflate in deflates:
                deflate.inflate(deflate.compress(bytes(5000)), MAX)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] // len(deflates)
        finally:
            tracemalloc.stop()

    assert held(DEFAULT) < 100
    # The last bytes of output; what zlib itself holds for the compressor is not traced.
    assert held(TAKEOVER) > 4096


@pytest.mark.parametrize(
    ("header", "settings", "shared", "threshold"),
    [
        ("permessage-deflate", DEFAULT, 12, 256),
        ("permessage-deflate; server_max_window_bits=10", DEFAULT, 10, 256),
        ("permessage-deflate", DeflateSettings(threshold=1), 12, 1),
        ("permessage-deflate", TAKEOVER, None, 16),
        ("permessage-deflate; server_no_context_takeover", TAKEOVER, 12, 256),
    ],
)
def test_a_connection_says_what_it_can_share_and_what_is_worth_compressing(
    header: str, settings: DeflateSettings, shared: int | None, threshold: int
) -> None:
    deflate = agreed(header, settings)
    assert (deflate.shared_bits, deflate.threshold) == (shared, threshold)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_compressed(kind: Any) -> None:
    message = b"some words" * 40
    for settings in (DEFAULT, TAKEOVER):
        deflate = agreed(settings=settings)
        assert deflate.inflate(deflate.compress(kind(message)), MAX) == message


def test_a_kilobyte_of_json_shrinks_as_with_zlibs_own_defaults() -> None:
    rows: Sequence[str] = [
        f'{{"id":{i * 7919 % 99991},"name":"user{i % 7}","price":{i * 31 % 997}.5}}' for i in range(25)
    ]
    message = ("[" + ",".join(rows) + "]").encode()[:1024]
    full = zlib.compressobj(wbits=-15)
    peer = full.compress(message) + full.flush(zlib.Z_SYNC_FLUSH)
    assert len(agreed().compress(message)) <= len(peer) * 1.05
