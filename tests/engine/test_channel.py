"""The channel of a connection, compiled and as it is: who waits, who is woken where, and in which order."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.engine.channels import MODULES, Make, module_of, open_channel
from tests.engine.client_frames import TEXT, client_frame
from tests.engine.memory import run, settle
from trunkline.engine._channel import LARGE
from trunkline.engine.codec import NATIVE, binary_frame

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=MODULES)
def make(request: pytest.FixtureRequest) -> Make:
    return open_channel(module_of(request.param))


def test_a_waiting_task_runs_inside_the_read_and_its_answers_leave_when_the_tick_ends(make: Make) -> None:
    async def test() -> None:
        channel = make()
        log: list[str] = []

        async def echo() -> None:
            while True:
                message = await channel.next()
                log.append(f"handled {message}")
                channel.write_text(message)

        task = asyncio.create_task(echo())
        await settle()

        def read() -> None:
            data = client_frame(TEXT, b"a") + client_frame(TEXT, b"b")
            channel.feed(data, len(data))
            log.append("read")

        channel._transport.write = lambda data: log.append(f"wrote {len(data)} bytes")
        asyncio.get_running_loop().call_soon(read)
        await settle()
        assert log == ["handled a", "handled b", "read", "wrote 6 bytes"]
        task.cancel()

    run(test())


def test_a_read_that_comes_from_inside_a_task_wakes_through_the_loop(make: Make) -> None:
    async def test() -> None:
        channel = make()
        got: list[str] = []

        async def reader() -> None:
            got.append(await channel.next())

        task = asyncio.create_task(reader())
        await settle()
        data = client_frame(TEXT, b"a")
        channel.feed(data, len(data))
        assert got == []
        await task
        assert got == ["a"]

    run(test())


def test_a_woken_task_keeps_its_context_and_is_the_current_one(make: Make) -> None:
    user = contextvars.ContextVar("user", default="nobody")

    async def test() -> None:
        channel = make()

        async def reader() -> tuple[str, bool]:
            user.set("ann")
            await channel.next()
            return user.get(), asyncio.current_task() is task

        task = asyncio.create_task(reader())
        await settle()
        channel.says("a")
        assert await task == ("ann", True)
        assert user.get() == "nobody"

    run(test())


def _python_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
    return asyncio.tasks._PyTask(coroutine, loop=loop, **options)  # type: ignore[attr-defined]  # asyncio's other one


@pytest.mark.parametrize("factory", [None, _python_task], ids=["C", "Python"])
def test_a_cancelled_reader_loses_nothing_and_frees_the_way(make: Make, factory: Callable[..., Any] | None) -> None:
    async def test() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        channel = make()
        first = asyncio.create_task(channel.next())
        second = asyncio.create_task(channel.next())
        third = asyncio.create_task(channel.next())
        await settle()
        assert channel.waiting
        first.cancel("enough")
        second.cancel()
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await first
        with pytest.raises(asyncio.CancelledError):
            await second
        channel.says("a", "b")
        assert await third == "a"
        assert channel.take() == "b"
        assert not channel.waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await channel.next()
        channel.says("c")
        assert await channel.next() == "c"

    run(test())


def test_a_reader_cancelled_in_the_moment_it_is_woken_leaves_the_message(make: Make) -> None:
    async def test() -> None:
        channel = make()
        task = asyncio.create_task(channel.next())
        await settle()
        data = client_frame(TEXT, b"a")
        channel.feed(data, len(data))  # from inside this task, so the other has been called and has not run
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert channel.take() == "a"

    run(test())


def test_a_queued_reader_cancelled_when_its_turn_has_come_passes_it_on(make: Make) -> None:
    async def test() -> None:
        channel = make()
        tasks = [asyncio.create_task(channel.next()) for _ in range(3)]
        await settle()

        def read() -> None:
            data = client_frame(TEXT, b"a")
            channel.feed(data, len(data))
            tasks[1].cancel()  # its turn came when the first took the message

        asyncio.get_running_loop().call_soon(read)
        assert await tasks[0] == "a"
        await settle()
        assert tasks[1].cancelled()
        channel.says("b")
        assert await tasks[2] == "b"
        last = asyncio.create_task(channel.next())
        await settle()
        channel.says("c")
        assert await last == "c"

    run(test())


def test_the_last_queued_reader_cancelled_when_its_turn_has_come_leaves_the_way_free(make: Make) -> None:
    async def test() -> None:
        channel = make()
        tasks = [asyncio.create_task(channel.next()) for _ in range(2)]
        await settle()

        def read() -> None:
            data = client_frame(TEXT, b"a") + client_frame(TEXT, b"b")
            channel.feed(data, len(data))
            tasks[1].cancel()

        asyncio.get_running_loop().call_soon(read)
        await settle()
        assert [tasks[0].result(), tasks[1].cancelled()] == ["a", True]
        assert channel.take() == "b"

    run(test())


def test_nobody_overtakes_those_who_wait(make: Make) -> None:
    async def test() -> None:
        channel = make()
        got: list[tuple[int, str]] = []

        async def reader(number: int) -> None:
            for _ in range(2):
                got.append((number, await channel.next()))

        tasks = [asyncio.create_task(reader(number)) for number in range(3)]
        await settle()
        channel.says(*"abcdef")
        await asyncio.gather(*tasks)
        assert got == [(0, "a"), (1, "b"), (2, "c"), (0, "d"), (1, "e"), (2, "f")]

    run(test())


def test_all_who_wait_see_the_end(make: Make) -> None:
    async def test() -> None:
        channel = make()
        tasks = [asyncio.create_task(channel.next()) for _ in range(3)]
        await settle()
        channel.end()
        assert await asyncio.gather(*tasks) == [None, None, None]
        assert await channel.next() is None

    run(test())


def test_a_wake_without_a_message_is_waited_out(make: Make) -> None:
    async def test() -> None:
        channel = make()
        task = asyncio.create_task(channel.next())
        await settle()
        channel._wake()
        channel._wake()
        await settle()
        assert not task.done()
        channel.says("a")
        assert await task == "a"

    run(test())


def test_a_coroutine_that_is_thrown_away_frees_the_way(make: Make) -> None:
    async def test() -> None:
        channel = make()
        coroutine = channel.next()
        coroutine.send(None)
        assert channel.waiting
        coroutine.close()
        assert not channel.waiting
        channel._wake()
        channel.says("a")
        assert await channel.next() == "a"

    run(test())


def test_what_a_task_asks_of_a_future_is_there(make: Make) -> None:
    async def test() -> None:
        channel = make()
        receiver: Any = channel.arrival()
        assert receiver.get_loop() is asyncio.get_running_loop()
        assert receiver.result() is None
        assert not receiver.cancel(), "nobody waits"
        assert receiver.done()
        assert iter(receiver) is receiver
        assert next(receiver) is receiver
        assert not receiver.done()
        assert hasattr(receiver, "_asyncio_future_blocking"), "this is what asyncio.isfuture looks at"
        with pytest.raises(KeyError, match="lost"):
            receiver.throw(KeyError, KeyError("lost"), None)

    run(test())


def test_a_write_that_is_not_welcome_writes_nothing(make: Make) -> None:
    async def test() -> None:
        channel = make()
        channel._limit(SimpleNamespace(inbound_messages=1, inbound_bytes=1, high_water=3))
        assert channel.write_text("ab")
        assert not channel.writable
        assert not channel.write_text("c")
        assert not channel.write_bytes(b"d")
        assert not channel.write_frame(b"\x81\x01e")
        channel.flush()
        assert channel._transport.written == b"\x81\x02ab"
        assert channel.write_frame(b"\x81\x01e")

    run(test())


def test_a_frame_for_many_is_gathered_by_all_to_whom_it_is_welcome(make: Make) -> None:
    async def test() -> None:
        first, full, busy, _ = channels = [make() for _ in range(4)]
        full.writable = False
        busy.write_frame(b"\x81\x01x")
        assert first.write_frame_to(iter(channels), b"\x81\x01a").refused == [full]
        await settle()
        assert [bytes(channel._transport.written) for channel in channels] == [
            b"\x81\x01a",
            b"",
            b"\x81\x01x\x81\x01a",
            b"\x81\x01a",
        ]
        assert first.write_frame_to([full], b"\x81\x01b").refused == [full]

    run(test())


def test_a_frame_for_many_fills_each_up_to_its_own_mark(make: Make) -> None:
    async def test() -> None:
        small, large = make(), make()
        small._limit(SimpleNamespace(inbound_messages=1, inbound_bytes=1, high_water=5))
        frames = [b"\x81\x01a", b"\x81\x01b", b"\x81\x01c"]
        assert [small.write_frame_to([small, large], frame).refused for frame in frames] == [[], [], [small]]
        await settle()
        assert small._transport.written == b"".join(frames[:2])
        assert large._transport.written == b"".join(frames)

    run(test())


def test_what_each_has_gathered_leaves_in_one_write(make: Make) -> None:
    async def test() -> None:
        pieces: list[list[bytes]] = []

        def recorded() -> Any:
            channel = make()
            own: list[bytes] = []
            channel._transport.write = own.append
            pieces.append(own)
            return channel

        channels = [recorded() for _ in range(4)]
        for frame in (b"\x81\x01a", b"\x81\x01b"):
            channels[0].write_frame_to(channels, frame)
        channels[2].write_frame(b"\x81\x01c")
        await settle()
        assert pieces[2] == [b"\x81\x01a\x81\x01b\x81\x01c"]
        assert pieces[0] == pieces[1] == pieces[3] == [b"\x81\x01a\x81\x01b"]

    run(test())


def test_what_is_added_for_many_leaves_behind_the_first_and_as_one_object(make: Make) -> None:
    async def test() -> None:
        channels = [make() for _ in range(3)]
        pieces: list[list[bytes]] = [[] for _ in channels]
        for channel, own in zip(channels, pieces, strict=True):
            channel._transport.write = own.append
        volley = channels[0].write_frame_to(channels, b"\x81\x01a")
        assert volley.add(b"\x81\x01b")
        await settle()
        assert pieces == [[b"\x81\x01a\x81\x01b"]] * 3
        assert pieces[0][0] is pieces[1][0]
        assert not volley.add(b"\x81\x01c"), "it has left"

    run(test())


def test_nothing_is_added_for_many_once_one_of_them_has_something_of_its_own(make: Make) -> None:
    async def own_frame(channel: Any) -> None:
        channel.write_frame(b"\x81\x01x")

    async def own_large(channel: Any) -> None:
        channel.write_bytes(bytes(LARGE))

    async def own_flush(channel: Any) -> None:
        channel.flush()

    async def own_read(channel: Any) -> None:
        channel._reading = False
        channel.take_all()

    async def test() -> None:
        for own in (own_frame, own_large, own_flush, own_read):
            one, other = channels = [make(), make()]
            volley = one.write_frame_to(channels, b"\x81\x01a")
            await own(one)
            assert not volley.add(b"\x81\x01b"), own
            await settle()
            assert bytes(one._transport.written).startswith(b"\x81\x01a")
            assert other._transport.written == b"\x81\x01a"

    run(test())


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["all", "all", "all", "one", "large", "flush", "take", "tick"]),
        st.integers(0, 2),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(steps=STEPS, marks=st.tuples(*[st.integers(0, 60)] * 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_many_get_what_each_would_have_got_by_itself(make: Make, steps: list[Step], marks: tuple[int, ...]) -> None:
    """Against channels that are written to one by one."""

    def limited(mark: int) -> Any:
        channel = make()
        channel._limit(SimpleNamespace(inbound_messages=1, inbound_bytes=1, high_water=mark))
        return channel

    async def test() -> None:
        many, single = [limited(mark) for mark in marks], [limited(mark) for mark in marks]
        volley: Any = None
        for number, (step, which, size) in enumerate(steps):
            frame = binary_frame(bytes([number]) * size)
            if step == "tick":
                await settle()
            elif step == "all":
                if volley is None or not volley.add(frame):
                    volley = many[0].write_frame_to(many, frame)
                refused = [channel for channel in single if not channel.write_frame(frame)]
                assert [many.index(each) for each in volley.refused] == [single.index(each) for each in refused]
            else:
                for channel in (many[which], single[which]):
                    if step == "one":
                        channel.write_frame(frame)
                    elif step == "large":
                        channel.write_bytes(bytes([number]) * LARGE)
                    elif step == "flush":
                        channel.flush()
                    else:
                        channel.take_all()
            if step != "all" and volley is not None and volley.refused:
                # Who was refused may be welcome again: the room asks each of them.
                volley = None
        await settle()
        assert [bytes(each._transport.written) for each in many] == [bytes(each._transport.written) for each in single]
        assert [each.writable for each in many] == [each.writable for each in single]

    run(test())


OTHER_TESTS = ("tests/engine/test_connection.py", "tests/engine/test_protocol.py", "tests/test_websockets.py")


@pytest.mark.skipif(not NATIVE, reason="without a compiler all tests run so")
@pytest.mark.timeout(180)
def test_without_anything_compiled_all_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *OTHER_TESTS],
        cwd=ROOT,
        env={**os.environ, "TRUNKLINE_CODEC": "pure"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


# Answering


def shout(text: str) -> Any:
    return {"nothing": None, "bytes": b"bytes", "other": 7}.get(text, f"{text}!")


def test_answers_are_written_until_one_is_the_callers(make: Make) -> None:
    async def test() -> None:
        channel = make()
        for kind, otherwise in ((str, None), (bytes, shout)):
            channel.says("a", "nothing", "bytes", "other", "b")
            await settle()
            assert channel.answer(kind, shout, otherwise) == 7
            assert channel.unread
            assert channel.answer(kind, shout, otherwise) is None
            assert (channel.unread, channel.messages) == (False, [])
        await settle()
        assert bytes(channel._transport.written) == b"\x81\x02a!\x82\x05bytes\x81\x02b!" * 2

    run(test())


@pytest.mark.parametrize("text", ["a", "bytes"])
def test_an_answer_that_is_not_welcome_is_the_callers(make: Make, text: str) -> None:
    async def test() -> None:
        channel = make()
        channel.says(text, "b")
        await settle()
        channel.writable = False
        assert channel.answer(str, shout, shout) == shout(text)
        assert channel.head == 1

    run(test())


def test_nothing_is_answered_that_somebody_waits_for(make: Make) -> None:
    async def test() -> None:
        channel = make()
        got: list[Any] = []

        async def receive() -> None:
            for _ in range(2):
                got.append(await channel.next())

        first, second = asyncio.create_task(receive()), asyncio.create_task(receive())
        await settle()
        channel.says("a", "b", "c", "d")
        assert channel.answer(str, shout, shout) is None
        await asyncio.gather(first, second)
        assert sorted(got) == ["a", "b", "c", "d"]
        assert bytes(channel._transport.written) == b""

    run(test())


def test_an_error_of_whoever_answers_leaves_the_rest_unread(make: Make) -> None:
    async def test() -> None:
        channel = make()
        channel.says("a", "b")
        await settle()
        with pytest.raises(ZeroDivisionError):
            channel.answer(str, lambda text: 1 / 0, shout)
        assert channel.take() == "b"

    run(test())


def test_an_error_of_a_callback_is_not_the_transports(make: Make) -> None:
    failed: list[Any] = []

    class Noting(make):  # type: ignore[misc]  # see `make`
        def _failed(self, callback: object, error: Exception) -> None:
            failed.append((callback, error))

    async def test() -> None:
        channel = Noting()
        error = KeyError("of the callback")

        def fail() -> None:
            raise error

        channel._callback = fail
        channel.says("a")
        await settle()
        assert failed == [(fail, error)]

    run(test())
