"""A coroutine that is started inside a callback: what it sees, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from trunkline.engine.at_once import start_at_once

if TYPE_CHECKING:
    from collections.abc import Callable

who = contextvars.ContextVar("who", default="nobody")


def in_a_callback(start: Callable[[asyncio.AbstractEventLoop], Any]) -> Any:
    """Call something as the loop calls it, with no task running, and then wait for the task that it gives."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        given: asyncio.Future[Any] = loop.create_future()
        loop.call_soon(lambda: given.set_result(start(loop)))
        result = await given
        if isinstance(result, asyncio.Task):
            await asyncio.wait([result], timeout=10)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(main())


def test_what_does_not_wait_is_over_at_once() -> None:
    log: list[str] = []

    async def call() -> None:
        log.append("called")

    def start(loop: asyncio.AbstractEventLoop) -> Any:
        task = start_at_once(call(), loop, "name")
        assert log == ["called"]
        return task

    assert in_a_callback(start) is None


def test_what_waits_goes_on_in_the_task_that_it_has_begun_in() -> None:
    tasks: list[Any] = []

    async def call() -> None:
        for _ in range(3):
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
        tasks.append(asyncio.current_task())

    def start(loop: asyncio.AbstractEventLoop) -> Any:
        task = start_at_once(call(), loop, "the name")
        assert tasks == [task]
        assert asyncio.current_task(loop) is None
        return task

    task = in_a_callback(start)
    assert tasks == [task] * 4
    assert task.get_name() == "the name"
    assert task.result() is None


def test_while_a_task_is_running_it_starts_soon() -> None:
    log: list[str] = []

    async def call() -> None:
        log.append("called")

    async def main() -> None:
        task = start_at_once(call(), asyncio.get_running_loop(), "name")
        assert log == []
        assert task is not None
        await task
        assert log == ["called"]

    asyncio.run(main())


@pytest.mark.parametrize("given", [True, False], ids=["given", "copied"])
def test_all_steps_are_in_one_context(given: bool) -> None:
    seen: list[str] = []
    context = contextvars.copy_context()
    context.run(who.set, "given")

    async def call() -> None:
        seen.append(who.get())
        who.set("first")
        await asyncio.sleep(0)
        seen.append(who.get())

    def start(loop: asyncio.AbstractEventLoop) -> Any:
        task = start_at_once(call(), loop, "name", context if given else None)
        seen.append(who.get())
        return task

    in_a_callback(start)
    assert seen == ["given" if given else "nobody", "nobody", "first"]
    assert context.run(who.get) == ("first" if given else "given")


def test_an_error_of_the_first_step_is_the_tasks(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> None:
        raise LookupError("at once")

    def start(loop: asyncio.AbstractEventLoop) -> None:
        start_at_once(call(), loop, "name")

    in_a_callback(start)
    gc.collect()
    (record,) = caplog.records
    assert "never retrieved" in record.message


def test_an_error_behind_a_wait_is_the_tasks() -> None:
    async def call() -> None:
        await asyncio.sleep(0)
        raise LookupError("later")

    task = in_a_callback(lambda loop: start_at_once(call(), loop, "name"))
    assert isinstance(task.exception(), LookupError)


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize("waits_again", [True, False])
def test_a_cancellation_is_met_where_it_waits(when: str, waits_again: bool) -> None:
    log: list[str] = []

    async def call() -> None:
        if when == "later":
            await asyncio.sleep(0)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            if waits_again:
                await asyncio.sleep(0)
            log.append("cleaned")

    def start(loop: asyncio.AbstractEventLoop) -> Any:
        task = start_at_once(call(), loop, "name")
        assert task is not None
        loop.call_later(0.01, task.cancel)
        return task

    task = in_a_callback(start)
    assert log == ["cancelled", "cleaned"]
    assert not task.cancelled()


def test_timeouts_and_scopes_of_both_libraries() -> None:
    log: list[str] = []

    async def call() -> None:
        try:
            async with asyncio.timeout(0.01), asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())
        except TimeoutError:
            log.append("timeout")
        with anyio.move_on_after(0.01):
            await anyio.sleep_forever()
        log.append("moved on")

    task = in_a_callback(lambda loop: start_at_once(call(), loop, "name"))
    assert task.exception() is None
    assert log == ["timeout", "moved on"]


def test_what_it_waits_for_may_come_before_the_loop_comes_to_the_task() -> None:
    log: list[str] = []

    def start(loop: asyncio.AbstractEventLoop) -> Any:
        future: asyncio.Future[str] = loop.create_future()

        async def call() -> None:
            log.append(await future)

        task = start_at_once(call(), loop, "name")
        future.set_result("there")
        return task

    in_a_callback(start)
    assert log == ["there"]


def test_a_task_that_is_thrown_away_closes_what_it_runs() -> None:
    log: list[str] = []

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("closed")

    def start(loop: asyncio.AbstractEventLoop) -> Any:
        task = start_at_once(call(), loop, "name")
        assert task is not None

        def throw_away() -> None:
            coroutine = task.get_coro()
            assert isinstance(coroutine, Coroutine)
            coroutine.close()
            task.cancel()

        loop.call_later(0.01, throw_away)
        return task

    in_a_callback(start)
    assert log == ["closed"]
