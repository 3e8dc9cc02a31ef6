"""What a hub counts, and how Prometheus gets it."""

from __future__ import annotations

import asyncio
import os
import re

import pytest

from tests.engine.memory import run
from tests.hub.peers import settle
from tests.line_peer import LinePeer
from trunkline import App
from trunkline.hub import Hub, OutboxLimits, Retention, TopicConfig, policies
from trunkline.hub.metrics import metrics_app
from trunkline.testclient import TestClient


def figures(hub: Hub) -> dict[str, float]:
    """The figures of a hub, as Prometheus reads them, by their names and groups of topics."""
    app = App()
    app.mount("/metrics", metrics_app(hub, worker="w1"))
    answer = TestClient(app).get("/metrics/")
    assert answer.status_code == 200
    found = re.findall(r'^trunkline_hub_(\w+)\{(?:topics="([^"]*)",)?worker="w1"\} (\S+)$', answer.text, re.MULTILINE)
    return {f"{name} {group}".strip(): float(value) for name, group, value in found}


def test_what_has_been_done_is_counted_and_stays_counted_when_topics_are_forgotten() -> None:
    hub = Hub(
        "memory://",
        topics={
            "slow": TopicConfig(outbox=OutboxLimits(bytes=10), policy=policies.drop_oldest),
            "kept": TopicConfig(history=Retention(10, 60)),
        },
    )
    during: dict[str, float] = {}

    async def test() -> None:
        slow = LinePeer()
        async with hub.topic("slow").join(await slow.accepted()) as member:
            slow.stalls()
            for _ in range(3):
                await hub.topic("slow").publish("x" * 8)
            await asyncio.sleep(0.25)
            during.update(hub.stats._asdict())
            assert during["members"] == 1
            assert during["lag"] == pytest.approx(0.25, abs=0.01)
            assert member.stats.lag == pytest.approx(0.25, abs=0.01)
            assert hub.stats_by_pattern["slow"].lag == during["lag"]
            assert hub.stats_by_pattern["kept"].members == 0
            assert member.stats.dropped == 2
            slow.resumes()
            await settle()
            assert hub.stats.lag == member.stats.lag == 0
        position = await hub.topic("kept").publish("1")
        for since in (position, "nonsense"):
            async with hub.topic("kept").join(await LinePeer().accepted(), since=since):
                pass

    run(test())
    assert during["waiting_bytes"] == 8
    found = figures(hub)
    assert {name: value for name, value in found.items() if value} == {
        "publications_total slow": 3,
        "deliveries_total slow": 3,
        "drops_total slow": 2,
        "recovered_total kept": 1,
        "reloads_total kept": 1,
    }
    # Bounded by the hub's configuration, not by the names of topics.
    names = "members waiting_bytes lag_seconds publications_total deliveries_total drops_total expelled_total"
    names += " losses_total recoveries_total recovered_total reloads_total"
    expected = {f"{name} {group}".strip() for name in names.split() for group in ("", "slow", "kept")}
    assert found.keys() == expected | {"topics", "broker_reconnects_total"}


def test_a_gap_that_is_filled_is_counted() -> None:
    async def test() -> None:
        hub = Hub("memory://", topics={"*": TopicConfig(history=Retention(10, 60))})
        async with hub, hub.topic("t").join(await LinePeer().accepted()):
            hub.interrupted(["t"])
            await settle()
            assert (hub.stats.recoveries, hub.stats.losses) == (1, 0)

    run(test())


def test_the_worker_is_the_process_unless_it_is_named() -> None:
    app = App()
    app.mount("/metrics", metrics_app(Hub("memory://")))
    assert f'worker="{os.getpid()}"' in TestClient(app).get("/metrics/").text
