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
# Each with the class of its family.
_FIGURES = {
    "members": (GaugeMetricFamily, "Connections and subscriptions in topics."),
    "waiting_bytes": (GaugeMetricFamily, "Bytes in outboxes."),
    "lag": (GaugeMetricFamily, "Seconds that the oldest message in an outbox has waited."),
    "publications": (CounterMetricFamily, "What was delivered to topics with members in this process."),
    "deliveries": (CounterMetricFamily, "What was handed to members or their outboxes."),
    "drops": (CounterMetricFamily, "What policies let go of."),
    "expelled": (CounterMetricFamily, "Members closed for their slowness."),
    "losses": (CounterMetricFamily, "Times that publications may have been missed."),
    "recoveries": (CounterMetricFamily, "Times that the history was read for what members may have missed."),
    "recovered": (CounterMetricFamily, "Members that were given what they had missed."),
    "reloads": (CounterMetricFamily, "Members that came with a position from which nothing could be told."),
}
_UNITS = {"lag": "lag_seconds"}


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
        worker = self._worker or str(os.getpid())
        groups = {group: stats._asdict() for group, stats in self._hub.stats_by_pattern.items()}
        for name, (family, text) in _FIGURES.items():
            metric = family(PREFIX + _UNITS.get(name, name), text, labels=["worker", "topics"])
            for group, stats in groups.items():
                metric.add_metric([worker, group], stats[name])
            yield metric
        topics = GaugeMetricFamily(PREFIX + "topics", "Topics with members in this process.", labels=["worker"])
        topics.add_metric([worker], len(self._hub.rooms))
        yield topics
        text = "Connections to the broker that were lost or could not be made."
        reconnects = CounterMetricFamily(PREFIX + "broker_reconnects", text, labels=["worker"])
        reconnects.add_metric([worker], self._hub.broker.reconnects)
        yield reconnects


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
