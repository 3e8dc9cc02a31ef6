"""Keepalive: who is silent is given up, who cannot be heard is not."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.client_frames import PONG, client_frame, text
from tests.engine.memory import Pair, open_connection, run

PING = 9


def pings(opened: Pair) -> list[bytes]:
    return [frame.payload for frame in opened.frames() if frame.opcode == PING]


def pong(opened: Pair) -> None:
    opened.send(client_frame(PONG, pings(opened)[-1]))


def test_a_peer_that_answers_is_pinged_every_interval_and_its_latency_is_known() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5)
        assert peer.connection.latency is None
        for number in range(1, 4):
            await asyncio.sleep(20.001)
            assert len(pings(peer)) == number
            await asyncio.sleep(0.25)
            pong(peer)
            assert peer.connection.latency == pytest.approx(0.25, abs=0.01)
        assert len(set(pings(peer))) == 3, "each ping has a payload of its own"
        assert peer.connection.closed is None

    run(test())


def test_a_silent_peer_is_closed_with_1011_and_dropped_a_second_later() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5)
        await asyncio.sleep(24.9)
        assert len(peer.frames()) == 1
        await asyncio.sleep(0.2)
        assert peer.close_frame() == (1011, "keepalive ping timeout")
        assert peer.connection.closed == (1011, "keepalive ping timeout")
        assert peer.transport.closed

    run(test())


def test_a_silent_peer_that_does_not_read_either_is_dropped_at_once() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5)
        peer.transport.stall()
        peer.connection.write_text("unread")
        await asyncio.sleep(25.1)
        assert peer.transport.aborted
        assert peer.connection.closed == (1011, "keepalive ping timeout")
        assert peer.connection.buffered == 0
        assert peer.ends == 1

    run(test())


def test_an_1011_that_is_not_taken_is_dropped_after_a_second() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5)
        await asyncio.sleep(25 - 0.001)
        peer.transport.stall()
        await asyncio.sleep(0.9)
        assert peer.transport.closed
        assert not peer.transport.aborted
        await asyncio.sleep(0.2)
        assert peer.transport.aborted

    run(test())


def test_a_peer_that_sends_anything_is_alive() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5)
        frame = text("a frame that its pong cannot overtake")
        for _ in range(4):
            await asyncio.sleep(20.001)
            peer.send(frame[:5])
            await asyncio.sleep(5)
            peer.send(frame[5:])
        assert peer.connection.closed is None
        assert len(pings(peer)) > 2

    run(test())


def test_a_pong_that_answers_no_ping_of_ours_changes_nothing() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5)
        peer.send(client_frame(PONG, b"unasked"), client_frame(PONG, b""))
        assert peer.connection.latency is None
        await asyncio.sleep(20.1)
        assert len(pings(peer)) == 1
        pong(peer)
        first = peer.connection.latency
        await asyncio.sleep(1)
        pong(peer)
        assert peer.connection.latency == first, "the second answer to one ping"

    run(test())


def test_the_clock_stands_still_while_reading_is_paused() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5, inbound_messages=2)
        await asyncio.sleep(22)
        peer.send(text("1"), text("2"))
        peer.connection.heard = False  # as if those had come before the ping
        assert not peer.transport.reading
        await asyncio.sleep(100)
        assert peer.connection.closed is None
        assert len(pings(peer)) > 2, "a ping is how a lost peer would be found out"
        peer.connection.take_all()
        assert peer.transport.reading
        await asyncio.sleep(4.9)
        assert peer.connection.closed is None
        await asyncio.sleep(41)
        assert peer.connection.closed == (1011, "keepalive ping timeout")

    run(test())


def test_a_pause_is_taken_off_the_age_of_the_ping() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5, inbound_messages=1)
        await asyncio.sleep(20.001 + 1)
        peer.send(text("1"))
        peer.connection.heard = False  # as if it had come before the ping
        await asyncio.sleep(3)
        peer.connection.take_all()
        await asyncio.sleep(3.9)
        assert peer.connection.closed is None
        pong(peer)
        assert peer.connection.latency == pytest.approx(4.9, abs=0.01)

        await asyncio.sleep(20.001 + 1)
        peer.send(text("1"))
        peer.connection.heard = False
        await asyncio.sleep(3)
        peer.connection.take_all()
        await asyncio.sleep(4.1)
        assert peer.connection.closed == (1011, "keepalive ping timeout")

    run(test())


def test_a_pause_before_the_first_ping_changes_nothing() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5, inbound_messages=1)
        peer.send(text("1"))
        await asyncio.sleep(3)
        peer.connection.take_all()
        keepalive = peer.connection.keepalive
        assert keepalive is not None
        assert keepalive.sent_at == 0.0
        await asyncio.sleep(17.1)
        assert len(pings(peer)) == 1

    run(test())


def test_without_a_timeout_pings_go_on_unanswered() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=None)
        await asyncio.sleep(100.1)
        assert len(pings(peer)) == 5
        assert peer.connection.closed is None

    run(test())


def test_without_an_interval_nothing_is_pinged() -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=None)
        await asyncio.sleep(1000)
        peer.send(client_frame(PONG, b"unasked"))
        assert peer.frames() == []
        assert peer.connection.latency is None

    run(test())


@pytest.mark.parametrize("end", ["close", "peer", "leave", "abort", "eof"])
def test_after_the_end_nothing_is_pinged_or_timed(end: str) -> None:
    async def test() -> None:
        peer = open_connection(ping_interval=20, ping_timeout=5)
        keepalive = peer.connection.keepalive
        assert keepalive is not None
        {
            "close": lambda: peer.connection.close(1000, ""),
            "peer": peer.close,
            "leave": peer.connection.leave,
            "abort": peer.connection.abort,
            "eof": peer.transport.feed_eof,
        }[end]()
        assert keepalive.timer is None
        await asyncio.sleep(40)
        assert pings(peer) == []
        assert peer.connection.timer is None
        assert peer.ends == 1

    run(test())
