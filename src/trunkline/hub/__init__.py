"""The hub: topics that connections join, and what is published to them.

    hub = Hub()
    async with hub.topic("room:42").join(websocket):
        await hub.topic("room:42").publish({"text": "hello"})

It needs an endpoint's WebSocket and nothing else of this framework: ours, Starlette's or FastAPI's, on any server.
"""

from __future__ import annotations

from trunkline.hub import policies
from trunkline.hub.config import OutboxLimits, PresenceConfig, Retention, TopicConfig
from trunkline.hub.errors import BrokerError, HubError, OutcomeUnknown, SubscriptionLost
from trunkline.hub.hub import BROKER_VARIABLE, Hub
from trunkline.hub.membership import Membership, MemberStats
from trunkline.hub.publication import Position, Publication
from trunkline.hub.publisher import Publisher
from trunkline.hub.room import TopicStats
from trunkline.hub.topic import Past, Pattern, Subscription, Topic

__all__ = [
    "BROKER_VARIABLE",
    "BrokerError",
    "Hub",
    "HubError",
    "MemberStats",
    "Membership",
    "OutboxLimits",
    "OutcomeUnknown",
    "Past",
    "Pattern",
    "Position",
    "PresenceConfig",
    "Publication",
    "Publisher",
    "Retention",
    "Subscription",
    "SubscriptionLost",
    "Topic",
    "TopicConfig",
    "TopicStats",
    "policies",
]
