"""One connection in memory: what is read, what is written, and how it ends (without a handshake, without a server)."""

from __future__ import annotations

import asyncio
import errno
import threading
import zlib
from typing import Any

import pytest

from tests.engine.client_frames import BINARY, CLOSE, PING, TEXT, client_frame, header, text
from tests.engine.memory import Pair, ServerFrame, frames, open_connection, run, settle, unopened_connection
from trunkline.engine._channel import LARGE
from trunkline.engine.connection import Phase
from trunkline.engine.deflate import Deflate, DeflateSettings, negotiate
from trunkline.engine.handshake import Extension
from trunkline.engine.outbound import ClientGone
from trunkline.engine.shared import READ_BUFFER
from trunkline.line import line_of
from trunkline.states import CloseInfo

PONG = 10
LOST = CloseInfo(1006, "")
BYE = client_frame(CLOSE, (3005).to_bytes(2) + b"bye")
UNMASKED = client_frame(TEXT, b"x", mask=None)


async def taken(peer: Pair) -> list[str | bytes]:
    """All that a reader gets before the end."""
    found = []
    while (message := await peer.connection.next()) is not None:
        found.append(message)
    return found


# Reading


def test_messages_come_in_order_whatever_they_are() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("a"), client_frame(BINARY, b"\x00"), text(""), text("half", fin=False))
        peer.send(client_frame(0, b" and half"), client_frame(BINARY))
        assert [await peer.connection.next() for _ in range(5)] == ["a", b"\x00", "", "half and half", b""]

    run(test())


def test_a_waiting_reader_is_woken_by_the_read() -> None:
    async def test() -> None:
        peer = open_connection()
        reader = asyncio.create_task(peer.connection.next())
        await settle()
        peer.send(text("a"), text("b"))
        assert await reader == "a"
        assert await peer.connection.next() == "b"

    run(test())


def test_readers_are_served_in_order_and_all_of_them_see_the_end() -> None:
    async def test() -> None:
        peer = open_connection()
        readers = [asyncio.create_task(peer.connection.next()) for _ in range(4)]
        await settle()
        peer.send(text("a"), text("b"), BYE)
        assert await asyncio.gather(*readers) == ["a", "b", None, None]

    run(test())


def test_a_reader_that_gives_up_loses_no_message() -> None:
    async def test() -> None:
        peer = open_connection()
        for number in range(3):
            reader = asyncio.create_task(peer.connection.next())
            await settle()
            peer.send(text(f"{number}"))
            reader.cancel()  # woken already, and cancelled before it runs
            await settle()
            assert reader.cancelled()
            assert peer.connection.take_all() == [f"{number}"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await peer.connection.next()
        peer.send(text("3"))
        assert await peer.connection.next() == "3"

    run(test())


def test_the_loop_has_one_buffer_and_asking_for_it_has_no_effect() -> None:
    async def test() -> None:
        first, second = open_connection(), open_connection()
        buffer = first.connection.get_buffer(-1)
        assert buffer is second.connection.get_buffer(READ_BUFFER)
        first.send(text("first, cut")[:8])
        second.connection.get_buffer(-1)  # and no read: this happens
        second.send(text("second"))
        first.send(text("first, cut")[8:])
        assert first.connection.take_all() == ["first, cut"]
        assert second.connection.take_all() == ["second"]

    run(test())


def test_two_loops_in_two_threads_have_two_buffers() -> None:
    seen: list[tuple[memoryview, list[str | bytes]]] = []
    meet = threading.Barrier(2)

    async def test(word: str) -> None:
        peer = open_connection()
        frame = text(word)
        view = peer.connection.get_buffer(-1)
        view[: len(frame)] = frame
        meet.wait(10)  # both have read, neither has decoded
        peer.connection.buffer_updated(len(frame))
        seen.append((view, peer.connection.take_all()))

    threads = [threading.Thread(target=run, args=(test(word),)) for word in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (one, messages), (other, more) = seen
    assert one is not other
    assert sorted(map(str, messages + more)) == ["one", "two"]


def test_reading_pauses_at_the_bound_of_messages_and_goes_on_when_all_are_taken() -> None:
    async def test() -> None:
        peer = open_connection(inbound_messages=3)
        peer.send(text("1"), text("2"))
        assert peer.transport.reading
        peer.send(text("3"))
        assert not peer.transport.reading
        peer.send(text("4"))  # had been read before, as TLS does
        for number in "1234":
            assert not peer.transport.reading
            assert await peer.connection.next() == number
        reader = asyncio.create_task(peer.connection.next())
        await settle()
        assert peer.transport.reading
        peer.send(text("5"))
        assert await reader == "5"

    run(test())


def test_reading_pauses_at_the_bound_of_bytes_but_never_inside_a_message_while_none_is_queued() -> None:
    async def test() -> None:
        peer = open_connection(inbound_bytes=1000)
        big = client_frame(BINARY, bytes(5000))
        peer.send(big[:4000])
        assert peer.transport.reading
        peer.send(big[4000:])
        assert not peer.transport.reading
        assert peer.connection.take_all() == [bytes(5000)]
        assert peer.transport.reading
        peer.send(text("x" * 999))
        assert peer.transport.reading
        peer.send(text("x"))
        assert not peer.transport.reading

    run(test())


def test_a_callback_that_takes_all_keeps_reading_on() -> None:
    async def test() -> None:
        peer = open_connection(inbound_messages=2)
        got: list[str | bytes] = []
        peer.connection.on_message(lambda: got.extend(peer.connection.take_all()))
        peer.send(*map(text, "abcd"))
        assert peer.transport.reading
        assert got == ["a", "b", "c", "d"]
        peer.connection.on_message(None)
        peer.send(text("e"))
        assert got == ["a", "b", "c", "d"]

    run(test())


def test_a_callback_hears_of_what_came_before_it_and_of_the_end() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("early"))
        calls: list[tuple[list[str | bytes], CloseInfo | None]] = []
        peer.connection.on_message(lambda: calls.append((peer.connection.take_all(), peer.connection.closed)))
        await settle()
        peer.send(BYE)
        assert calls == [(["early"], None), ([], (3005, "bye"))]

    run(test())


def test_a_callback_that_fails_ends_neither_the_connection_nor_other_callbacks() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        contexts: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        peer = open_connection()
        infos: list[CloseInfo] = []

        def fail(*args: object) -> None:
            raise ValueError("mine")

        peer.connection.on_message(fail)
        peer.connection.on_close(fail)
        peer.connection.on_close(infos.append)
        peer.send(text("a"))
        peer.connection.on_message(None)
        peer.send(text("b"), BYE)
        assert peer.connection.take_all() == ["a", "b"]
        assert infos == [(3005, "bye")]
        assert [str(context["exception"]) for context in contexts] == ["mine", "mine"]
        peer.connection.on_close(infos.append)
        assert infos == [(3005, "bye")] * 2, "at once where the end is known"

    run(test())


def test_a_reader_that_is_never_done_does_not_keep_what_it_has_taken() -> None:
    async def test() -> None:
        peer = open_connection(inbound_bytes=1 << 30)
        peer.send(text("0"))
        for number in range(1, 2000):
            peer.send(text(f"{number}"))
            assert await peer.connection.next() == f"{number - 1}"
        assert len(peer.connection.messages) < 1000

    run(test())


# Control frames


def test_a_ping_is_answered_while_messages_are_unread() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("unread"), client_frame(PING, b"1"), text("unread"), client_frame(PING, b"2"))
        await settle()
        assert peer.frames() == [ServerFrame(PONG, b"1"), ServerFrame(PONG, b"2")]

    run(test())


def test_pongs_are_bounded_while_the_peer_does_not_read() -> None:
    async def test() -> None:
        peer = open_connection(high_water=100)
        peer.transport.high = 100
        peer.transport.stall()
        peer.connection.write_bytes(bytes(200))
        await settle()
        assert not peer.connection.writable
        stuck = peer.connection.buffered
        for number in range(10_000):
            peer.send(client_frame(PING, f"{number}".encode()))
        await settle()
        assert peer.connection.buffered == stuck
        peer.transport.flow()
        await settle()
        # RFC 6455 section 5.5.3: only the most recently processed ping needs its pong.
        assert peer.frames()[1:] == [ServerFrame(PONG, b"9999")]
        assert peer.connection.writable

    run(test())


# Writing


def test_what_is_written_in_one_tick_leaves_in_one_write_in_order() -> None:
    async def test() -> None:
        peer = open_connection()
        writes: list[bytes] = []
        peer.transport.write = writes.append
        connection = peer.connection
        connection.write_text("ä")
        connection.write_bytes(b"\xff")
        connection.write_frame(b"\x82\x01x")
        assert connection.buffered == 4 + 3 + 3
        assert writes == []
        await settle()
        assert frames(writes[0]) == [ServerFrame(TEXT, "ä".encode()), ServerFrame(BINARY, b"\xff"), (2, b"x", False)]
        assert len(writes) == 1
        assert connection.buffered == 0

    run(test())


def test_answers_leave_when_the_reader_asks_for_more() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("a"))
        await peer.connection.next()
        peer.connection.write_text("answer")
        reader = asyncio.ensure_future(peer.connection.next())
        await asyncio.sleep(0)
        assert peer.messages() == ["answer"]
        reader.cancel()

    run(test())


def test_a_sender_above_the_high_water_mark_waits_for_the_transport() -> None:
    async def test() -> None:
        peer = open_connection(high_water=1000)
        peer.transport.high = 1000
        peer.transport.stall()
        connection = peer.connection
        welcome = []
        for _ in range(2):
            connection.write_bytes(bytes(600))
            welcome.append(connection.writable)
        assert welcome == [True, False]
        drain = asyncio.create_task(connection.drain())
        await settle()
        assert not drain.done()
        await asyncio.sleep(29)
        peer.transport.flow()
        await drain
        assert connection.writable
        await asyncio.sleep(60)
        assert connection.closed is None, "the time limit of a send that went through has been taken back"

    run(test())


def test_a_sender_whose_peer_keeps_up_lets_others_run() -> None:
    async def test() -> None:
        peer = open_connection(high_water=10)
        ran = False

        async def other() -> None:
            nonlocal ran
            ran = True

        task = asyncio.create_task(other())
        peer.connection.write_bytes(bytes(20))
        welcome = [peer.connection.writable]
        await peer.connection.drain()
        assert [*welcome, peer.connection.writable] == [False, True]
        assert ran
        await task

    run(test())


def test_a_send_that_waits_too_long_drops_the_peer_and_frees_the_memory() -> None:
    async def test() -> None:
        peer = open_connection(high_water=1000, send_timeout=30)
        peer.transport.stall()
        peer.connection.write_bytes(bytes(100_000))
        started = asyncio.get_running_loop().time()
        with pytest.raises(ClientGone) as caught:
            await peer.connection.drain()
        assert isinstance(caught.value, OSError)
        assert asyncio.get_running_loop().time() - started == pytest.approx(30, abs=0.1)
        await settle()
        assert peer.transport.aborted
        assert peer.connection.buffered == 0
        assert peer.connection.closed == LOST

    run(test())


def test_the_time_limit_holds_too_when_the_transport_fills_while_others_run() -> None:
    async def test() -> None:
        peer = open_connection(high_water=1000)
        peer.connection.write_bytes(bytes(2000))
        peer.transport.stall()
        drain = asyncio.create_task(peer.connection.drain())
        await asyncio.sleep(0)
        peer.connection.write_bytes(bytes(100_000))
        await asyncio.sleep(31)
        assert peer.transport.aborted
        with pytest.raises(ClientGone):
            await drain

    run(test())


def test_without_a_time_limit_a_send_waits_for_ever() -> None:
    async def test() -> None:
        peer = open_connection(send_timeout=None)
        peer.transport.stall()
        peer.connection.write_bytes(bytes(100_000))
        drain = asyncio.create_task(peer.connection.drain())
        await asyncio.sleep(10_000)
        assert not drain.done()
        peer.transport.flow()
        await drain

    run(test())


@pytest.mark.parametrize("end", ["lost", "own close", "violation"])
def test_the_end_releases_who_waits_to_send(end: str) -> None:
    async def test() -> None:
        peer = open_connection()
        peer.transport.stall()
        peer.connection.write_bytes(bytes(100_000))
        drains = [asyncio.create_task(peer.connection.drain()) for _ in range(3)]
        await settle()
        drains[0].cancel()
        if end == "lost":
            peer.connection.connection_lost(None)
        elif end == "own close":
            peer.connection.close(1000, "")
        else:
            peer.send(UNMASKED)
            peer.connection.take_all()
        results = await asyncio.gather(*drains, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, ClientGone, ClientGone]

    run(test())


def test_after_the_end_writes_go_nowhere() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.connection.close(1000, "")
        before = bytes(peer.transport.written)
        peer.connection.write_text("late")
        peer.connection.close(1001, "again")
        await settle()
        assert bytes(peer.transport.written) == before
        assert not peer.connection.writable
        with pytest.raises(ClientGone):
            await peer.connection.drain()

    run(test())


def test_text_that_is_no_unicode_is_refused_and_nothing_of_it_is_written() -> None:
    async def test() -> None:
        peer = open_connection()
        with pytest.raises(UnicodeEncodeError):
            peer.connection.write_text("\ud800")
        peer.connection.write_text("after")
        await settle()
        assert peer.messages() == ["after"]

    run(test())


def test_messages_above_the_threshold_are_compressed() -> None:
    async def test() -> None:
        settings = DeflateSettings()
        agreement = negotiate([Extension("permessage-deflate", ())], settings)
        assert agreement is not None
        peer = unopened_connection()
        connection = peer.connection
        connection.open(Deflate(agreement, settings))
        long = "x" * settings.threshold
        connection.write_text("short")
        connection.write_text(long)
        connection.write_bytes(long.encode())
        await settle()
        short, one, two = peer.frames()
        assert short == (TEXT, b"short", False)
        assert (one.opcode, one.rsv1, two.opcode, two.rsv1) == (TEXT, True, BINARY, True)
        assert one.payload == two.payload
        inflated = zlib.decompressobj(-15).decompress(one.payload + b"\x00\x00\xff\xff")
        assert inflated == long.encode()
        peer.send(client_frame(TEXT, one.payload, rsv=4))
        assert connection.take_all() == [long]

    run(test())


# The peer's close


def test_a_close_behind_unread_messages_is_known_at_once_and_the_messages_come_first() -> None:
    async def test() -> None:
        peer = open_connection()
        waiting = asyncio.create_task(peer.connection.wait_closed())
        await settle()
        peer.send(text("a"), text("b"), BYE)
        assert peer.connection.closed == (3005, "bye")
        assert await waiting == (3005, "bye")
        assert await peer.connection.next() == "a"
        peer.connection.write_text("answer to a")
        assert await peer.connection.next() == "b"
        assert peer.close_frame() is None
        assert await peer.connection.next() is None
        assert peer.messages() == ["answer to a"]
        assert peer.close_frame() == (3005, "")
        assert peer.transport.closed
        await settle()
        assert peer.ends == 1
        assert not peer.transport.aborted

    run(test())


def test_a_close_is_answered_after_half_a_second_though_messages_are_unread() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("a"), BYE)
        await asyncio.sleep(0.49)
        assert peer.close_frame() is None
        peer.connection.write_text("still open")
        await asyncio.sleep(0.02)
        assert peer.messages() == ["still open"]
        assert peer.close_frame() == (3005, "")
        assert await taken(peer) == ["a"]

    run(test())


def test_an_idle_reader_has_a_close_answered_at_once() -> None:
    async def test() -> None:
        peer = open_connection()
        reader = asyncio.create_task(peer.connection.next())
        await settle()
        peer.close(None)
        assert await reader is None
        assert peer.connection.disconnect_message() == {"type": "websocket.disconnect", "code": 1005, "reason": ""}
        assert peer.frames() == [ServerFrame(CLOSE, b"")]
        assert peer.transport.closed

    run(test())


def test_our_close_behind_the_peers_says_what_the_peer_said() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("unread"), BYE)
        peer.connection.close(4000, "mine")
        assert peer.close_frame() == (3005, "")
        assert peer.connection.closed == (3005, "bye")
        assert peer.transport.closed

    run(test())


def test_a_peer_that_closes_and_ends_its_stream_still_gets_its_answers() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("question"), BYE)
        peer.transport.feed_eof()
        assert not peer.transport.closed
        assert await peer.connection.next() == "question"
        peer.connection.write_text("answer")
        assert await peer.connection.next() is None
        assert peer.messages() == ["answer"]
        assert peer.close_frame() == (3005, "")
        assert peer.transport.closed

    run(test())


def test_over_tls_the_end_of_the_stream_ends_the_connection() -> None:
    async def test() -> None:
        peer = open_connection(tls=True)
        peer.send(text("question"), BYE)
        peer.transport.feed_eof()
        await settle()
        assert peer.transport.closed
        assert await taken(peer) == ["question"]
        assert peer.connection.closed == (3005, "bye")
        assert peer.ends == 1

    run(test())


@pytest.mark.parametrize("way", ["eof", "lost", "error"])
def test_a_peer_that_vanishes_is_1006_behind_what_it_sent(way: str) -> None:
    async def test() -> None:
        peer = open_connection()
        waiting = [asyncio.create_task(peer.connection.wait_closed()) for _ in range(2)]
        await settle()
        waiting[0].cancel()
        peer.send(text("last words"))
        peer.connection.write_text("gathered")
        if way == "eof":
            peer.transport.feed_eof()
            assert peer.messages() == ["gathered"], "a half-closed peer may still read"
        else:
            peer.connection.connection_lost(None if way == "lost" else ConnectionResetError())
        assert await waiting[1] == LOST
        assert await peer.connection.next() == "last words"
        for _ in range(2):
            assert await peer.connection.next() is None
            assert peer.connection.disconnect_message() == {"type": "websocket.disconnect", "code": 1006}
        await settle()
        assert peer.ends == 1
        assert peer.connection.buffered == 0

    run(test())


# Violations (RFC 6455 section 7.1.7)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (UNMASKED, 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (header(BINARY, 1001), 1009),
        (client_frame(CLOSE, b"\x03"), 1002),
    ],
)
def test_a_violation_stands_in_line_behind_the_messages_before_it(data: bytes, code: int) -> None:
    async def test() -> None:
        peer = open_connection(max_message=1000)
        peer.send(text("a"), text("b"), data)
        info = peer.connection.closed
        assert info is not None
        assert info.code == code
        peer.send(text("behind"))
        assert await peer.connection.next() == "a"
        peer.connection.write_text("answer to a")
        assert await peer.connection.next() == "b"
        assert peer.close_frame() is None
        assert await peer.connection.next() is None
        message = peer.connection.disconnect_message()
        assert message == {"type": "websocket.disconnect", "code": code, "reason": info.reason}
        assert peer.messages() == ["answer to a"]
        assert peer.close_frame() == (code, info.reason)

    run(test())


def test_a_violation_is_answered_after_half_a_second_though_messages_are_unread() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("a"), UNMASKED)
        await asyncio.sleep(0.49)
        assert peer.frames() == []
        await asyncio.sleep(0.02)
        closing = peer.close_frame()
        assert closing is not None
        assert closing[0] == 1002
        assert await taken(peer) == ["a"]

    run(test())


def test_behind_a_violation_the_peer_is_read_until_it_has_heard_of_it() -> None:
    async def test() -> None:
        peer = open_connection(inbound_messages=1)
        peer.send(text("a"), UNMASKED)
        assert await taken(peer) == ["a"]
        assert peer.transport.eof, "half-closed, so that the peer sees the end"
        assert peer.transport.reading
        assert not peer.transport.closed
        peer.send(bytes(100_000))
        peer.transport.feed_eof()
        await settle()
        assert peer.transport.closed
        assert not peer.transport.aborted
        assert peer.ends == 1

    run(test())


@pytest.mark.parametrize("tls", [False, True])
def test_a_peer_that_goes_on_after_a_violation_is_dropped_after_a_second(tls: bool) -> None:
    async def test() -> None:
        peer = open_connection(tls=tls)
        peer.send(UNMASKED)
        peer.connection.take_all()
        assert peer.transport.eof is not tls
        for _ in range(9):
            await asyncio.sleep(0.1)
            peer.send(bytes(1000))
        assert not peer.transport.closed
        await asyncio.sleep(0.2)
        assert peer.transport.aborted
        assert peer.ends == 1

    run(test())


def test_our_close_behind_a_violation_leaves_its_code() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(UNMASKED)
        peer.connection.close(1000, "")
        closing = peer.close_frame()
        assert closing is not None
        assert closing[0] == 1002

    run(test())


# Our own close


def test_our_close_leaves_at_once_behind_what_is_written_and_waits_for_the_answer() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.connection.write_text("before")
        peer.connection.close(4001, "enough")
        assert peer.messages() == ["before"]
        assert peer.close_frame() == (4001, "enough")
        assert peer.connection.closed == (4001, "enough")
        assert await peer.connection.wait_closed() == (4001, "enough")
        await asyncio.sleep(5)
        assert not peer.transport.closed
        peer.send(text("crossing"), client_frame(PING, b"crossing"))
        peer.send(text("cut")[:4])
        assert not peer.transport.closed
        peer.send(text("cut")[4:], client_frame(CLOSE, (4001).to_bytes(2)))
        assert peer.transport.closed
        await settle()
        assert peer.ends == 1
        assert peer.connection.take_all() == []
        assert peer.connection.closed == (4001, "enough")

    run(test())


def test_a_peer_that_does_not_answer_our_close_is_dropped_in_time() -> None:
    async def test() -> None:
        peer = open_connection(close_timeout=3)
        peer.connection.close(1000, "")
        await asyncio.sleep(2.9)
        assert not peer.transport.aborted
        await asyncio.sleep(0.2)
        assert peer.transport.aborted
        assert peer.ends == 1

    run(test())


def test_a_violation_behind_our_close_ends_the_wait() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.connection.close(1000, "")
        peer.send(UNMASKED)
        assert peer.transport.eof
        await asyncio.sleep(1.1)
        assert peer.transport.aborted

    run(test())


def test_our_close_reads_on_so_that_the_answer_can_come() -> None:
    async def test() -> None:
        peer = open_connection(inbound_messages=1)
        peer.send(text("unread"))
        assert not peer.transport.reading
        peer.connection.close(1000, "")
        assert peer.transport.reading
        peer.send(text("1"), text("2"))
        assert peer.transport.reading
        assert await taken(peer) == ["unread"]

    run(test())


def test_a_code_that_may_not_be_sent_closes_nothing() -> None:
    async def test() -> None:
        peer = open_connection()
        with pytest.raises(ValueError, match="1006"):
            peer.connection.close(1006, "")
        assert peer.connection.closed is None
        peer.connection.write_text("open")
        await settle()
        assert peer.messages() == ["open"]

    run(test())


# An application that leaves without a close


def test_leaving_without_a_close_ends_the_stream_behind_what_is_written() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.connection.write_text("the last")
        peer.connection.leave()
        assert peer.connection.closed == LOST
        assert peer.messages() == ["the last"]
        assert peer.close_frame() is None
        assert peer.transport.eof
        peer.send(text("crossing"))
        peer.close()
        assert peer.transport.closed
        await settle()
        assert peer.ends == 1

    run(test())


def test_leaving_a_peer_that_has_just_reset_the_connection_is_no_error() -> None:
    async def test() -> None:
        peer = open_connection()

        def write_eof() -> None:
            raise OSError(errno.ENOTCONN, "as asyncio's transport does before it has read of the reset")

        peer.transport.write_eof = write_eof
        peer.connection.leave()
        assert peer.connection.closed == LOST
        await asyncio.sleep(2)
        assert peer.ends == 1

    run(test())


def test_leaving_over_tls_closes() -> None:
    async def test() -> None:
        peer = open_connection(tls=True)
        peer.connection.leave()
        assert peer.transport.closed
        await settle()
        assert peer.ends == 1

    run(test())


def test_leaving_behind_the_peers_close_answers_it() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.send(text("never read"), BYE)
        peer.connection.leave()
        assert peer.close_frame() == (3005, "")
        peer.connection.leave()

    run(test())


def test_an_abort_drops_what_is_buffered_and_may_be_repeated() -> None:
    async def test() -> None:
        peer = open_connection()
        peer.transport.stall()
        peer.connection.write_text("never sent")
        peer.send(text("unread"), BYE)
        peer.connection.abort()
        assert peer.connection.closed == (3005, "bye")
        peer.connection.abort()
        await settle()
        peer.connection.abort()
        assert peer.ends == 1
        assert peer.connection.buffered == 0
        assert peer.connection.phase is Phase.ENDED

    run(test())


# Before accept


def test_what_comes_before_accept_is_kept_within_a_bound_and_read_at_accept() -> None:
    async def test() -> None:
        peer = unopened_connection(inbound_messages=3)
        connection, transport = peer.connection, peer.transport
        data = text("x" * 30_000)
        connection.hold(data)
        connection.hold(data[:-1])
        assert transport.reading
        connection.hold(data[-1:] + data)
        assert not transport.reading
        connection.configure(inbound_messages=4)
        connection.open(None)
        assert transport.reading
        assert connection.take_all() == ["x" * 30_000] * 3
        with pytest.raises(RuntimeError, match="before it is accepted"):
            connection.configure(max_message=1)

    run(test())


def test_early_messages_above_the_bound_leave_reading_paused() -> None:
    async def test() -> None:
        peer = unopened_connection(inbound_messages=2)
        connection, transport = peer.connection, peer.transport
        connection.hold(text("x" * 70_000) + text("y"))
        connection.open(None)
        assert not transport.reading
        assert len(connection.take_all()) == 2
        assert transport.reading

    run(test())


def test_a_limit_that_is_none_of_ours_is_refused() -> None:
    async def test() -> None:
        connection = unopened_connection().connection
        with pytest.raises(ValueError, match="inbound_messages"):
            connection.configure(inbound_messages=0)
        with pytest.raises(TypeError, match="speed"):
            connection.configure(speed="high")

    run(test())


def test_a_refused_peer_that_does_not_take_its_answer_is_dropped() -> None:
    async def test() -> None:
        peer = unopened_connection(close_timeout=3)
        connection, transport = peer.connection, peer.transport
        transport.stall()
        transport.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        connection.refused()
        connection.hold(b"late")
        connection.feed(text("late"), 10)
        await asyncio.sleep(2.9)
        assert not transport.aborted
        await asyncio.sleep(0.2)
        assert transport.aborted

    run(test())


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_line_of_another_version_is_none_to_us(version: object) -> None:
    assert line_of({"extensions": {"trunkline.line": {"version": version, "line": object()}}}) is None
    assert line_of({"extensions": None}) is None
    assert line_of({}) is None


@pytest.mark.parametrize("size", [1000, LARGE, 2 * LARGE])
def test_a_sender_gives_the_others_a_turn_even_if_the_peer_takes_all(size: int) -> None:
    async def test() -> None:
        pair = open_connection()
        line = pair.connection
        turns: list[int] = []
        for number in range(3):
            sent = 0
            while line.writable:
                line.write_bytes(bytes(size))
                sent += size
                assert sent <= line.settings.high_water + 2 * size
            asyncio.get_running_loop().call_soon(turns.append, number)
            await line.drain()
        assert turns == [0, 1, 2]

    run(test())


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, 3 * LARGE])
def test_a_large_payload_leaves_whole_and_in_its_place(size: int) -> None:
    async def test() -> None:
        peer = open_connection()
        connection = peer.connection
        assert connection.write_text("before")
        assert connection.write_bytes(bytes(size))
        assert connection.write_bytes(bytearray(size))  # type: ignore[arg-type]  # may change before it is written
        while not connection.write_text("behind"):
            await connection.drain()
        connection.flush()
        assert peer.messages() == ["before", bytes(size), bytes(size), "behind"]

    run(test())


def test_all_that_write_in_one_tick_are_flushed_by_one_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        reported: list[str] = []
        loop.set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
        peers = [open_connection() for _ in range(3)]
        first, bad, last = (peer.connection for peer in peers)
        monkeypatch.setattr(bad._transport, "write", lambda _: 1 / 0)
        asked: list[Any] = []
        call_soon = loop.call_soon

        def recorded(callback: Any, *args: Any, **options: Any) -> Any:
            asked.append(callback)
            return call_soon(callback, *args, **options)

        monkeypatch.setattr(loop, "call_soon", recorded)
        for connection in (first, bad, last):
            connection.write_text("a")
        assert len(asked) == 1
        assert [peer.messages() for peer in peers] == [[], [], []]
        await settle()
        assert [peer.messages() for peer in peers] == [["a"], [], ["a"]]
        assert reported == ["division by zero"]
        first.write_text("b")
        await settle()
        assert peers[0].messages() == ["a", "b"]

    run(test())
