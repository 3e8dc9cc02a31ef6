"""Work that is done after the response has been sent."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock, Mock

import pytest

from trunkline.background import BackgroundTask, BackgroundTasks
from trunkline.concurrency import is_async_callable, iterate_in_threadpool, run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio


async def test_an_async_task_runs_on_the_loop_with_its_arguments() -> None:
    calls: list[object] = []

    async def note(number: int, *, name: str) -> None:
        calls.append((number, name, threading.current_thread()))

    await BackgroundTask(note, 1, name="x")()

    assert calls == [(1, "x", threading.current_thread())]


async def test_a_plain_task_runs_in_a_worker_thread() -> None:
    threads: list[threading.Thread] = []

    await BackgroundTask(lambda: threads.append(threading.current_thread()))()

    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_several_tasks_run_in_order() -> None:
    calls: list[int] = []
    tasks = BackgroundTasks([BackgroundTask(calls.append, 1)])
    tasks.add_task(calls.append, 2)

    async def third() -> None:
        calls.append(3)

    tasks.add_task(third)
    await tasks()

    assert calls == [1, 2, 3]


async def test_a_task_that_fails_ends_the_others() -> None:
    calls: list[int] = []
    tasks = BackgroundTasks()
    tasks.add_task(int, "no number")
    tasks.add_task(calls.append, 1)

    with pytest.raises(ValueError, match="no number"):
        await tasks()
    assert calls == []


async def test_a_plain_function_keeps_its_result_and_its_error() -> None:
    assert await run_in_threadpool(int, "12", base=8) == 10
    with pytest.raises(ValueError, match="invalid literal"):
        await run_in_threadpool(int, "x")


async def test_a_plain_iterable_is_read_in_worker_threads_to_its_end() -> None:
    threads: set[threading.Thread] = set()

    def numbers() -> Iterator[int]:
        for number in range(3):
            threads.add(threading.current_thread())
            yield number

    assert [number async for number in iterate_in_threadpool(numbers())] == [0, 1, 2]
    assert threading.current_thread() not in threads


def test_async_callables_are_known_by_what_calling_them_gives() -> None:
    async def function() -> None: ...

    class Callable:
        async def __call__(self) -> None: ...

    class Plain:
        def __call__(self) -> None: ...

    for asynchronous in (function, functools.partial(functools.partial(function)), Callable(), AsyncMock()):
        assert is_async_callable(asynchronous)
    for plain in (len, Plain(), Callable, functools.partial(print), 1, Mock()):
        assert not is_async_callable(plain)
