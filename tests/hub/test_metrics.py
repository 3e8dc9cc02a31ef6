"""What a hub counts, and how Prometheus gets it."""

from __future__ import annotations

import os
import re

from tests.engine.memory import run
from tests.hub.peers import settle
from tests.line_peer import LinePeer
from trunkline import App
from trunkline.hub import Hub, OutboxLimits, Retention, TopicConfig, policies
from trunkline.hub.metrics import metrics_app
from trunkline.testclient import TestClient


def figures(hub: Hub) -> dict[str, float]:
    """The figures of a hub, as Prometheus reads them."""
    app = App()
    app.mount("/metrics", metrics_app(hub, worker="w1"))
    answer = TestClient(app).get("/metrics/")
    assert answer.status_code == 200
    found = re.findall(r'^trunkline_hub_(\w+)\{worker="w1"\} (\S+)$', answer.text, re.MULTILINE)
    return {name: float(value) for name, value in found}


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
            during.update(hub.stats._asdict())
            assert during["members"] == 1
            assert member.stats.dropped == 2
            slow.resumes()
            await settle()
        position = await hub.topic("kept").publish("1")
        for since in (position, "nonsense"):
            async with hub.topic("kept").join(await LinePeer().accepted(), since=since):
                pass

    run(test())
    assert during["waiting_bytes"] == 8
    assert figures(hub) == {
        "members": 0,
        "waiting_bytes": 0,
        "topics": 0,
        "publications_total": 3,
        "deliveries_total": 3,
        "drops_total": 2,
        "expelled_total": 0,
        "losses_total": 0,
        "recovered_total": 1,
        "reloads_total": 1,
        "broker_reconnects_total": 0,
    }


def test_the_worker_is_the_process_unless_it_is_named() -> None:
    app = App()
    app.mount("/metrics", metrics_app(Hub("memory://")))
    assert f'worker="{os.getpid()}"' in TestClient(app).get("/metrics/").text
