"""How topics are called in Redis, and by which commands they are published and listened to.

A topic's keys and its channel have its name in braces, so that a cluster keeps them in one slot, on one node. A brace
that closes would end the slot's part of the name early, so it is written `%7D`.
"""

from __future__ import annotations

from typing import NamedTuple

from trunkline.hub.brokers.redis.scripts import PUBLISH, PUBLISH_SHARDED, Script

__all__ = ["CHANNELS", "PLAIN", "PREFIX", "SHARDED", "PubSub", "channel_of", "key_of", "slot_name", "topic_of"]

PREFIX = "trunkline:"
CHANNELS = f"{PREFIX}c:{{"


class PubSub(NamedTuple):
    """The words of one kind of pub/sub: commands, and what the server calls its messages.

    Attributes:
        together: How many channels go into one command; of several slots none may be together.
    """

    publish: str
    publish_script: Script
    subscribe: str
    unsubscribe: str
    message: bytes
    subscribed: bytes
    unsubscribed: bytes
    channels: str
    listeners: str
    together: int


PLAIN = PubSub(
    publish="PUBLISH",
    publish_script=PUBLISH,
    subscribe="SUBSCRIBE",
    unsubscribe="UNSUBSCRIBE",
    message=b"message",
    subscribed=b"subscribe",
    unsubscribed=b"unsubscribe",
    channels="CHANNELS",
    listeners="NUMSUB",
    together=512,
)
SHARDED = PubSub(
    publish="SPUBLISH",
    publish_script=PUBLISH_SHARDED,
    subscribe="SSUBSCRIBE",
    unsubscribe="SUNSUBSCRIBE",
    message=b"smessage",
    subscribed=b"ssubscribe",
    unsubscribed=b"sunsubscribe",
    channels="SHARDCHANNELS",
    listeners="SHARDNUMSUB",
    together=1,
)


def slot_name(topic: str) -> str:
    """What stands in the braces: only this decides about the slot."""
    return topic.replace("%", "%25").replace("}", "%7D")


def key_of(kind: str, topic: str) -> str:
    """A key of a topic."""
    return f"{PREFIX}{kind}:{{{slot_name(topic)}}}"


def channel_of(topic: str) -> bytes:
    """The channel of a topic."""
    return key_of("c", topic).encode()


def topic_of(channel: bytes) -> str:
    """The topic of a channel."""
    return channel.decode()[len(CHANNELS) : -1].replace("%7D", "}").replace("%25", "%")
