"""What a hub does, for Prometheus.

Needs the package `prometheus-client`: `pip install 'trunkline[metrics]'`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_asgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from trunkline.hub.hub import Hub
    from trunkline.types import ASGIApp

__all__ = ["HubCollector", "metrics_app"]

PREFIX = "trunkline_hub_"
_GAUGES = {
    "members": "Connections and subscriptions in topics.",
    "waiting_bytes": "Bytes in outboxes.",
}
_COUNTERS = {
    "publications": "What was delivered to topics with members in this process.",
    "deliveries": "What was handed to members or their outboxes.",
    "drops": "What policies let go of.",
    "expelled": "Members closed for their slowness.",
    "losses": "Times that publications may have been missed.",
    "recovered": "Members that were given what they had missed.",
    "reloads": "Members that came with a position from which nothing could be told.",
}


class HubCollector(Collector):
    """The figures of a hub, for a registry of `prometheus-client`.

    Args:
        hub: The hub.
        worker: The value of the label `worker`; the process id when left out.
    """

    def __init__(self, hub: Hub, *, worker: str | None = None) -> None:
        self._hub = hub
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """The figures of now."""
        labels = [self._worker or str(os.getpid())]
        stats = self._hub.stats._asdict()
        gauges = {name: (text, stats[name]) for name, text in _GAUGES.items()}
        gauges["topics"] = "Topics with members in this process.", len(self._hub.rooms)
        counters = {name: (text, stats[name]) for name, text in _COUNTERS.items()}
        counters["broker_reconnects"] = "Connections to the broker that were lost.", self._hub.broker.reconnects
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(PREFIX + name, text, labels=["worker"])
            gauge.add_metric(labels, value)
            yield gauge
        for name, (text, value) in counters.items():
            counter = CounterMetricFamily(PREFIX + name, text, labels=["worker"])
            counter.add_metric(labels, value)
            yield counter


def metrics_app(hub: Hub, *, worker: str | None = None) -> ASGIApp:
    """An ASGI application that answers what Prometheus asks, to be mounted: `app.mount("/metrics", metrics_app(hub))`.

    Args:
        hub: The hub.
        worker: The value of the label `worker`; the process id when left out.
    """
    registry = CollectorRegistry()
    registry.register(HubCollector(hub, worker=worker))
    app: ASGIApp = make_asgi_app(registry)
    return app
