"""Alarms that connections of one loop share a timer for."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from tests.engine.memory import run
from trunkline.engine.shared import LoopShare


def test_alarms_of_one_span_ring_in_order_at_their_times_by_one_timer_of_the_loop() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        share = LoopShare()
        began = loop.time()
        rung: list[tuple[str, float]] = []

        def alarm(name: str, seconds: float = 10) -> Any:
            return share.call_later(seconds, lambda: rung.append((name, round(loop.time() - began))), loop)

        first, last = alarm("first"), alarm("other span", 3)
        assert last.when < first.when
        await asyncio.sleep(4)
        alarm("second").cancel()
        alarm("third")
        assert len(share._alarms) == 1
        await asyncio.sleep(5)
        assert [name for name, _ in rung] == ["other span"]
        await asyncio.sleep(6)
        assert rung == [("other span", 3), ("first", 10), ("third", 14)]
        assert not share._alarms, "nothing is kept of a span that nobody waits for"
        alarm("again")
        await asyncio.sleep(11)
        assert rung[-1] == ("again", 25)

    run(test())


def test_an_alarm_that_fails_is_reported_and_the_next_one_rings() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        share = LoopShare()
        reported: list[dict[str, Any]] = []
        rung: list[str] = []
        loop.set_exception_handler(lambda _, context: reported.append(context))

        def fail() -> None:
            raise ValueError("broken")

        share.call_later(1, fail, loop)
        share.call_later(1, lambda: rung.append("next"), loop)
        await asyncio.sleep(2)
        assert [str(context["exception"]) for context in reported] == ["broken"]
        assert rung == ["next"]

    run(test())


def test_an_alarm_may_set_the_next_one() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        share = LoopShare()
        rung: list[float] = []

        def again() -> None:
            rung.append(loop.time())
            if len(rung) < 3:
                share.call_later(5, again, loop)

        share.call_later(5, again, loop)
        await asyncio.sleep(16)
        assert [round(later - earlier) for earlier, later in itertools.pairwise(rung)] == [5, 5]
        assert not share._alarms

    run(test())
