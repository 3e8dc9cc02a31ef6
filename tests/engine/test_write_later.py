"""What a Line offers to those who write to many connections: shared frames, and writes that wait outside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.memory import Pair, open_connection, run, settle, unopened_connection
from trunkline.engine.deflate import Deflate, DeflateSettings, negotiate
from trunkline.engine.handshake import Extension

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.engine.connection import Connection

TAKEOVER = DeflateSettings(context_takeover=True)
SMALL_WINDOW = DeflateSettings(window_bits=9)


def compressed(settings: DeflateSettings) -> Pair:
    pair = unopened_connection()
    agreement = negotiate([Extension("permessage-deflate", ())], settings)
    assert agreement is not None
    pair.connection.open(Deflate(agreement, settings))
    return pair


def stalled(**settings: Any) -> Pair:
    """A connection whose transport holds more than its peer takes."""
    peer = open_connection(**settings)
    peer.transport.stall()
    peer.connection.write_bytes(b"x" * 65536)
    peer.connection.flush()
    assert not peer.connection.writable
    return peer


def later(connection: Connection, text: str) -> Callable[[], object]:
    return lambda: connection.write_text(text)


def test_connections_of_one_compression_share_frames_and_others_do_not() -> None:
    async def test() -> None:
        plain, other_plain = open_connection(), open_connection()
        deflated, other_deflated = compressed(DeflateSettings()), compressed(DeflateSettings())
        assert plain.connection.frame_key == other_plain.connection.frame_key
        assert deflated.connection.frame_key == other_deflated.connection.frame_key
        keys = {pair.connection.frame_key for pair in (plain, deflated, compressed(SMALL_WINDOW))}
        assert len(keys) == 3
        assert None not in keys
        assert compressed(TAKEOVER).connection.frame_key is None

    run(test())


@pytest.mark.parametrize("data", ["short", "long " * 100, b"short", b"long " * 100])
@pytest.mark.parametrize("compression", [None, DeflateSettings(), SMALL_WINDOW])
def test_a_made_frame_is_the_one_that_is_written(data: str | bytes, compression: DeflateSettings | None) -> None:
    async def test() -> None:
        first, second = (open_connection() if compression is None else compressed(compression) for _ in range(2))
        first.connection.write_frame(second.connection.make_frame(data))
        if isinstance(data, str):
            second.connection.write_text(data)
        else:
            second.connection.write_bytes(data)
        await settle()
        assert first.transport.written == second.transport.written

    run(test())


def test_what_waits_leaves_in_order_when_the_peer_reads_again_and_nothing_overtakes_it() -> None:
    async def test() -> None:
        peer = stalled()
        connection = peer.connection
        for number in range(3):
            connection.write_later(later(connection, str(number)))
        own = asyncio.create_task(connection.write_in_turn(later(connection, "own")))
        await settle()
        connection.write_later(later(connection, "behind"))
        peer.transport.flow()
        await own
        await settle()
        assert peer.messages()[1:] == ["0", "1", "2", "own", "behind"]
        assert connection.writable

    run(test())


def test_what_is_left_to_a_connection_that_is_free_leaves_with_the_tick() -> None:
    async def test() -> None:
        peer = open_connection()
        connection = peer.connection
        connection.write_later(later(connection, "first"))
        assert not connection.writable
        connection.write_later(lambda: connection.write_bytes(b"y" * 20_000))
        connection.write_later(later(connection, "third"))
        await settle()
        assert peer.messages() == ["first", b"y" * 20_000, "third"]
        assert connection.writable

    run(test())


def test_the_transport_is_handed_little_at_a_time() -> None:
    async def test() -> None:
        peer = open_connection(high_water=1000)
        peer.transport.high = 1000
        peer.transport.stall()
        for _ in range(100):
            peer.connection.write_later(lambda: peer.connection.write_text("x" * 100))
        await settle()
        assert peer.connection.buffered < 3000
        while peer.transport.stuck:
            peer.transport.flow()
            peer.transport.stall()
            await settle()
        assert len(peer.messages()) == 100

    run(test())


def test_who_drains_waits_for_what_was_left_before() -> None:
    async def test() -> None:
        peer = open_connection(high_water=1000)
        for _ in range(100):
            peer.connection.write_later(lambda: peer.connection.write_text("x" * 100))
        await peer.connection.drain()
        peer.connection.write_text("last")
        await settle()
        assert len(peer.messages()) == 101
        assert peer.messages()[-1] == "last"

    run(test())


def test_a_cancelled_send_behind_others_is_not_sent_at_all() -> None:
    async def test() -> None:
        peer = stalled()
        connection = peer.connection
        connection.write_later(later(connection, "before"))
        own = asyncio.create_task(connection.write_in_turn(later(connection, "own")))
        await settle()
        own.cancel()
        peer.transport.flow()
        await settle()
        assert own.cancelled()
        assert peer.messages()[1:] == ["before"]

    run(test())


def test_a_send_behind_others_fails_with_its_own_error() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.connection.write_later(later(peer.connection, "before"))
        with pytest.raises(UnicodeEncodeError):
            await peer.connection.write_in_turn(lambda: peer.connection.write_text("\ud800"))

    run(test())


@pytest.mark.parametrize("timeout", [5.0, None])
def test_a_send_behind_others_has_the_time_limit_of_every_send(timeout: float | None) -> None:
    async def test() -> None:
        peer = stalled(send_timeout=timeout)
        peer.connection.write_later(later(peer.connection, "before"))
        own = asyncio.create_task(peer.connection.write_in_turn(later(peer.connection, "own")))
        await asyncio.sleep(6)
        if timeout is None:
            assert not own.done()
            peer.connection.abort()
        with pytest.raises(OSError, match="ended"):
            await own
        assert peer.transport.aborted

    run(test())


def test_each_waiting_write_is_called_once_though_the_connection_ends() -> None:
    async def test() -> None:
        peer = stalled()
        called: list[int] = []
        for number in range(3):
            peer.connection.write_later(lambda number=number: called.append(number))  # type: ignore[misc]
        peer.connection.abort()
        await settle()
        peer.connection.write_later(lambda: called.append(3))
        assert called == [0, 1, 2, 3]

    run(test())


def test_our_close_waits_behind_what_was_left_before() -> None:
    async def test() -> None:
        peer = stalled()
        connection = peer.connection
        connection.write_later(later(connection, "before"))
        closing = asyncio.create_task(connection.close_in_turn(4000, "bye"))
        await settle()
        assert connection.closed is None
        connection.write_later(later(connection, "behind the close"))
        peer.transport.flow()
        await closing
        assert peer.messages()[1:] == ["before"]
        assert peer.close_frame() == (4000, "bye")

    run(test())


def test_a_peer_that_reads_is_expelled_with_a_close_frame_and_a_second() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.connection.write_text("before")
        peer.connection.write_later(later(peer.connection, "never"))
        peer.connection.expel(1013, "too slow")
        assert peer.connection.closed == (1013, "too slow")
        assert peer.messages() == ["before"]
        assert peer.close_frame() == (1013, "too slow")
        await settle()
        assert peer.ends == 1
        peer.connection.expel(1013, "again")

    run(test())


def test_a_peer_that_does_not_read_is_expelled_at_once() -> None:
    async def test() -> None:
        peer = stalled()
        peer.connection.expel(1013, "too slow")
        assert peer.transport.aborted
        assert peer.connection.closed == (1013, "too slow")

    run(test())


def test_a_callback_that_was_taken_back_hears_nothing_of_the_end() -> None:
    async def test() -> None:
        peer = open_connection()
        heard: list[object] = []
        peer.connection.off_close(heard.append)
        peer.connection.on_close(heard.append)
        peer.connection.off_close(heard.append)
        peer.connection.abort()
        assert heard == []

    run(test())
