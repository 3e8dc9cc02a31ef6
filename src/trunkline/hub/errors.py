"""What goes wrong around a hub, under one root."""

from __future__ import annotations

from trunkline.exceptions import TrunklineError

__all__ = ["BrokerError", "HubError", "OutcomeUnknown", "SubscriptionLost"]


class BrokerError(TrunklineError, ConnectionError):
    """Raised when the broker could not be reached in time: what was asked for has not been done."""


class OutcomeUnknown(BrokerError):
    """Raised when the broker was told and has not answered in time: it may have been done, or may still be.

    Publish again under the `idempotency_key` of the first try to have it done once.
    """


class HubError(TrunklineError, RuntimeError):
    """Raised for using a hub in a way that cannot work: the message says what to write instead."""


class SubscriptionLost(TrunklineError):
    """Raised by an iteration over publications that can give no more of them without a gap.

    Args:
        topic: The topic's name.
        reason: What happened.
    """

    def __init__(self, topic: str, reason: str) -> None:
        self.topic = topic
        self.reason = reason

    def __str__(self) -> str:
        return f"the subscription to {self.topic!r} has ended: {self.reason}"
