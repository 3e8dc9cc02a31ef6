"""Random and mutated streams of frames on real sockets: what each gets is known to the byte from the codec's referee.

A run has its own seed, which a failure names. More by hand, or the same again:

    TRUNKLINE_FUZZ_STREAMS=100000 TRUNKLINE_FUZZ_SEED=7 pytest --timeout 0 tests/engine/test_socket_fuzz.py
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.engine.client_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame
from tests.engine.heads import raw_request, usual
from tests.engine.memory import frames
from tests.engine.referee import DIFFERENCES, LIMIT, Outcome, difference, ours
from tests.engine.served import SECONDS, Raw, engine
from trunkline.engine import DeflateSettings, _codec_pure
from trunkline.engine.deflate import Agreement, Deflate
from trunkline.engine.events import Close

if TYPE_CHECKING:
    from tests.engine.memory import ServerFrame
    from tests.engine.served import Engine

STREAMS = int(os.environ.get("TRUNKLINE_FUZZ_STREAMS") or 300)
OPCODES = [CONTINUATION, CONTINUATION, TEXT, TEXT, BINARY, BINARY, PING, PONG, CLOSE]
TEXTS = ["", "a", "é€\U0001f600", "words " * 20, "é" * 499]
CODES = [1000, 1001, 1005, 1006, 1016, 2999, 3000, 4999, 5000]


def payload(opcode: int, chance: random.Random) -> bytes:
    if chance.random() < 0.1:
        return chance.randbytes(chance.choice((1, 2, 125, 126, LIMIT, LIMIT + 1)))
    if opcode == CLOSE:
        return chance.choice(CODES).to_bytes(2) + b"bye" if chance.random() < 0.8 else b""
    if opcode in (PING, PONG):
        return chance.randbytes(chance.choice((0, 4, 125)))
    words = chance.choice(TEXTS).encode()
    return words[: chance.randrange(len(words) + 1)] if chance.random() < 0.3 else words


class Compression:
    """What a client does, and expects of the server: each message alone, or all in one context (takeover)."""

    def __init__(self, *, takeover: bool) -> None:
        self._takeover = takeover
        self._settings = DeflateSettings(context_takeover=takeover)
        self._begin()

    def _begin(self) -> None:
        self._compressor, self._decompressor = zlib.compressobj(wbits=-12), zlib.decompressobj(-15)

    def compress(self, data: bytes) -> bytes:
        if not self._takeover:
            self._begin()
        return (self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def decompress(self, data: bytes) -> bytes:
        if not self._takeover:
            self._begin()
        return self._decompressor.decompress(data + b"\x00\x00\xff\xff")

    def expected(self, stream: bytes) -> Outcome:
        agreement = Agreement(self._takeover, self._takeover, 12, 15, b"")
        return ours(_codec_pure, [stream], Deflate(agreement, self._settings).inflate)


def mutated(chance: random.Random, compression: Compression | None) -> bytes:
    """Frames as they may be, and often some bytes as they may not."""
    stream = bytearray()
    for _ in range(chance.randrange(1, 8)):
        opcode = chance.choice(OPCODES) if chance.random() < 0.95 else chance.randrange(16)
        data, rsv = payload(opcode, chance), 0
        if compression and opcode in (TEXT, BINARY) and chance.random() < 0.7:
            data, rsv = compression.compress(data * chance.choice((1, 1, 20))), 4
        stream += client_frame(opcode, data, fin=chance.random() < 0.8, rsv=rsv, mask=chance.randbytes(4))
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = chance.randrange(len(stream) + 1)
        stream[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    # An unmasked frame ends what has not ended; it is long enough for a frame whose end was lost.
    return bytes(stream) + bytes(LIMIT + 200)


def expected(stream: bytes, compression: Compression | None) -> Outcome:
    """What the server has to make of a stream; without compression the referee agrees."""
    if compression:
        return compression.expected(stream)
    outcome = ours(_codec_pure, [stream])
    assert difference(outcome, stream) in {None, *DIFFERENCES}
    return outcome


def send_in_pieces(client: Raw, stream: bytes, chance: random.Random) -> None:
    step = chance.choice((1, 3, 100, 5000))
    if step == 1:
        stream, rest = stream[:300], stream[300:]
    else:
        rest = b""
    with contextlib.suppress(OSError):  # the server may have heard enough
        for start in range(0, len(stream), step):
            client.sock.sendall(stream[start : start + step])
        client.sock.sendall(rest)
        client.sock.shutdown(socket.SHUT_WR)


def messages_of(received: list[ServerFrame], compression: Compression | None) -> list[str | bytes]:
    found: list[str | bytes] = []
    for frame in received:
        data = frame.payload
        if frame.rsv1:
            assert compression is not None
            data = compression.decompress(data)
        if frame.opcode in (TEXT, BINARY):
            found.append(data.decode() if frame.opcode == TEXT else data)
    return found


def check_one(server: Engine, stream: bytes, chance: random.Random, compression: Compression | None) -> None:
    outcome = expected(stream, compression)
    offer = ((b"Sec-WebSocket-Extensions", b"permessage-deflate"),) if compression else ()
    request = raw_request(usual(*offer), b"GET /echo HTTP/1.1")
    sock = socket.create_connection(("127.0.0.1", server.port), SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with Raw(sock, request=request).accepted() as client:
        send_in_pieces(client, stream, chance)
        assert client.ended()
        received = frames(client.buffer)
    assert messages_of(received, compression) == outcome.messages
    assert received[-1].opcode == CLOSE
    code = int.from_bytes(received[-1].payload[:2]) or 1005
    assert code == outcome.code
    assert isinstance(outcome.end, Close) or code in (1002, 1007, 1009)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(("codec", "takeover"), [("native", False), ("native", True), ("pure", False), ("pure", True)])
def test_every_stream_gets_its_echoes_and_its_close_code(
    codec: str, takeover: bool, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("TRUNKLINE_FUZZ_SEED") or random.randrange(1 << 32))
    chance = random.Random(seed)
    monkeypatch.setenv("TRUNKLINE_CODEC", "pure" if codec == "pure" else "")
    monkeypatch.setenv("TRUNKLINE_WS_COMPRESSION", "takeover" if takeover else "on")
    with engine("--loop", loop, "--ws-max-size", str(LIMIT), "--no-access-log") as server:
        before = server.facts()
        for number in range(STREAMS):
            compression = Compression(takeover=takeover) if chance.random() < 0.4 else None
            stream = mutated(chance, compression)
            try:
                check_one(server, stream, chance, compression)
            except BaseException as error:
                error.add_note(f"seed {seed}, stream {number}, compressed: {bool(compression)}: {stream.hex()}")
                raise
        server.until(lambda facts: facts["connections"] == 1 and facts["tasks"] <= before["tasks"])
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) in (0, -signal.SIGTERM)
        assert "Traceback" not in "".join(server.log.all_lines()), f"seed {seed}"
