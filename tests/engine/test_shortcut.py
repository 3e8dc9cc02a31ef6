"""Going on with a call past its task: whatever the call does and whatever happens to it, it cannot tell."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.engine.channels import MODULES, module_of, open_channel
from tests.engine.memory import run, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

Log = list[Any]
user = contextvars.ContextVar("user", default=0)


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> Any:
    return module_of(request.param)


def python_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
    return asyncio.tasks._PyTask(coroutine, loop=loop, **options)  # type: ignore[attr-defined]  # asyncio's other one


class Counting:
    """Awaits something, and counts how often it is resumed."""

    def __init__(self, awaited: Any) -> None:
        self._awaited = awaited
        self.steps = 0

    def __await__(self) -> Iterator[Any]:
        steps = iter(self._awaited.__await__())
        while True:
            self.steps += 1
            try:
                waits_for = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # what is awaited returns anything
            yield waits_for


async def awaiting(awaited: Any) -> Any:
    return await awaited


@pytest.mark.parametrize("factory", [None, python_task], ids=["C", "Python"])
def test_messages_go_past_the_task_and_all_that_awaits_the_call(
    module: Any, factory: Callable[..., Any] | None
) -> None:
    async def test() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        channel = open_channel(module)()

        async def call() -> str:
            got = [await channel.next() for _ in range(3)]
            await asyncio.sleep(0)
            return "".join([*got, await channel.next()])

        counting = Counting(module.Shortcut(call()))
        task = asyncio.create_task(awaiting(counting))
        await settle()
        for text in "ab":
            channel.says(text)
            await settle()
        assert counting.steps == 1
        channel.says("c")
        await settle()
        assert counting.steps == 3, "it was woken for what the call waits for then, and by that"
        channel.says("d")
        assert await task == "abcd"
        assert counting.steps == 4

    run(test())


def test_the_shortest_of_several_is_taken(module: Any) -> None:
    async def test() -> None:
        channel = open_channel(module)()

        async def call() -> None:
            while await channel.next():
                pass

        between = Counting(module.Shortcut(call()))
        around = Counting(module.Shortcut(awaiting(between)))
        task = asyncio.create_task(awaiting(around))
        await settle()
        channel.says("a")
        await settle()
        assert (between.steps, around.steps) == (1, 1)
        channel.end()
        await task
        assert (between.steps, around.steps) == (2, 2)

    run(test())


def test_what_stands_around_a_call_may_wait_too(module: Any) -> None:
    async def test() -> None:
        channel = open_channel(module)()

        async def around() -> list[str]:
            first = await module.Shortcut(channel.next())
            return [first, await channel.next(), await module.Shortcut(channel.next())]

        task = asyncio.create_task(awaiting(module.Shortcut(around())))
        for text in "abc":
            await settle()
            channel.says(text)
        assert await task == ["a", "b", "c"]

    run(test())


def test_an_error_is_raised_in_the_task_with_the_line_that_raised_it(module: Any) -> None:
    async def test() -> None:
        channel = open_channel(module)()

        async def call() -> None:
            await channel.next()
            raise LookupError("lost")

        task = asyncio.create_task(awaiting(module.Shortcut(call())))
        await settle()
        channel.says("a")
        with pytest.raises(LookupError, match="lost") as caught:
            await task
        assert 'raise LookupError("lost")' in "".join(traceback.format_exception(caught.value))

    run(test())


def test_what_ends_the_loop_ends_it(module: Any) -> None:
    async def test() -> None:
        channel = open_channel(module)()

        async def call() -> None:
            await channel.next()
            raise SystemExit(3)

        task = asyncio.create_task(awaiting(module.Shortcut(call())))
        await settle()
        channel.says("a")
        await task

    with pytest.raises(SystemExit):
        run(test())


def test_a_call_that_is_thrown_away_is_closed(module: Any) -> None:
    async def test() -> None:
        channel = open_channel(module)()
        ends: list[str] = []

        async def call() -> None:
            try:
                await channel.next()
            finally:
                ends.append("closed")

        shortcut = module.Shortcut(call())
        assert iter(shortcut) is shortcut
        coroutine = awaiting(shortcut)
        coroutine.send(None)
        coroutine.close()
        assert ends == ["closed"]
        assert not channel.waiting

    run(test())


class Bare:
    """Awaitable, but no generator."""

    def __await__(self) -> Bare:
        return self

    def __next__(self) -> None:
        return None


def test_a_call_need_not_be_a_coroutine(module: Any) -> None:
    async def test() -> None:
        task = asyncio.create_task(awaiting(module.Shortcut(Bare())))
        await settle()
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        coroutine = awaiting(module.Shortcut(Bare()))
        coroutine.send(None)
        coroutine.close()

    run(test())


class Stage:
    """What a call plays on, and what happens to it."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.log: Log = []
        self.futures: list[asyncio.Future[int]] = []
        self.task: Any = None

    def future(self) -> asyncio.Future[int]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    # What the call does

    async def take(self) -> None:
        self.log.append(await self.channel.next())

    async def pause(self) -> None:
        await asyncio.sleep(0)

    async def wait(self) -> None:
        self.log.append(await self.future())

    async def have_waited(self) -> None:
        async def child() -> None:
            try:
                await self.future()
            except asyncio.CancelledError as error:
                self.log.append(("child", error.args))
                raise

        await asyncio.create_task(child())

    async def take_in_time(self) -> None:
        try:
            async with asyncio.timeout(1):
                await self.take()
        except TimeoutError:
            self.log.append("late")

    async def take_in_a_scope(self) -> None:
        with anyio.move_on_after(1) as scope:
            await self.take()
        self.log.append(scope.cancelled_caught)

    async def take_in_a_task(self) -> None:
        await asyncio.create_task(self.take())

    async def stay(self) -> None:
        try:
            await self.take()
        except asyncio.CancelledError as error:
            self.log.append(("stays", error.args))

    async def cancel_itself(self) -> None:
        self.task.cancel("itself")

    async def look(self) -> None:
        self.log.append((asyncio.current_task() is self.task, user.get()))
        user.set(user.get() + 1)

    async def fail(self) -> None:
        raise LookupError("lost")

    async def play(self, acts: list[Callable[[Stage], Coroutine[Any, Any, None]]]) -> str:
        for act in acts:
            await act(self)
            self.log.append(act.__name__)
        return "end"

    # What happens meanwhile

    def a_message(self) -> None:
        self.channel.read("m")

    def two_messages(self) -> None:
        self.channel.read("m", "n")

    def a_message_for_a_task(self) -> None:
        """From inside another task, and not from the loop."""

        async def read() -> None:
            self.channel.read("t")

        self.others = asyncio.create_task(read())

    def a_cancellation(self) -> None:
        self.task.cancel("from outside")

    def a_result(self) -> None:
        if self.futures and not self.futures[0].done():
            self.futures.pop(0).set_result(7)

    def the_end(self) -> None:
        self.channel.end()


ACTS = st.lists(
    st.sampled_from(
        [
            Stage.take,
            Stage.take,
            Stage.pause,
            Stage.wait,
            Stage.have_waited,
            Stage.take_in_time,
            Stage.take_in_a_scope,
            Stage.take_in_a_task,
            Stage.stay,
            Stage.cancel_itself,
            Stage.look,
            Stage.fail,
        ]
    ),
    max_size=8,
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                Stage.a_message,
                Stage.a_message,
                Stage.two_messages,
                Stage.a_message_for_a_task,
                Stage.a_cancellation,
                Stage.a_result,
                Stage.the_end,
            ]
        ),
        st.booleans(),
    ),
    max_size=12,
)


async def outcome(
    make: Any, acts: Any, events: Any, around: Callable[[Coroutine[Any, Any, str]], Coroutine[Any, Any, str]]
) -> Log:
    """All that a call and its task come to."""
    stage = Stage(make())
    stage.task = asyncio.create_task(around(stage.play(acts)))
    await settle()
    loop = asyncio.get_running_loop()
    for event, settles in events:
        loop.call_soon(stage.log.append, event.__name__)
        loop.call_soon(event, stage)
        if settles:
            await settle()
    await asyncio.sleep(2)
    stage.log.append(stage.task.done())
    for _ in range(len(acts) + 1):
        stage.task.cancel("at last")
        await settle()
    await asyncio.wait([stage.task], timeout=1)
    ended = stage.task.cancelled() or repr(stage.task.exception() or stage.task.result())
    return [*stage.log, ended, stage.channel.waiting]


@pytest.mark.parametrize("factory", [None, python_task], ids=["C", "Python"])
@given(acts=ACTS, events=EVENTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=300)
def test_a_call_cannot_tell_that_there_is_a_shortcut(module: Any, factory: Any, acts: Any, events: Any) -> None:
    async def plain(call: Coroutine[Any, Any, str]) -> str:
        return await call

    async def once(call: Coroutine[Any, Any, str]) -> str:
        result: str = await module.Shortcut(call)
        return result

    async def twice(call: Coroutine[Any, Any, str]) -> str:
        return await once(once(call))

    async def test() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        make = open_channel(module)
        expected = await outcome(make, acts, events, plain)
        assert await outcome(make, acts, events, once) == expected
        assert await outcome(make, acts, events, twice) == expected

    run(test())
