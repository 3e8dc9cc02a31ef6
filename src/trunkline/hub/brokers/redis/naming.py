"""How topics are called in Redis, and by which commands they are published and listened to.

A topic's keys and its channel have its name in braces, so that a cluster keeps them in one slot, on one node. A brace
that closes would end the slot's part of the name early, so it is written `%7D`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from trunkline.hub.brokers.redis.scripts import PUBLISH, PUBLISH_SHARDED, Script
from trunkline.hub.globs import Glob

if TYPE_CHECKING:
    from trunkline.hub.globs import Key

__all__ = [
    "CHANNELS",
    "PLAIN",
    "PREFIX",
    "SHARDED",
    "PubSub",
    "channel_of",
    "glob_of",
    "key_of",
    "slot_name",
    "topic_of",
]

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


def channel_of(key: Key) -> bytes:
    """The channel of a topic, or Redis' pattern of the channels of those that match."""
    if isinstance(key, Glob):
        # To Redis more characters than the asterisk are special.
        return key_of("c", re.sub(r"([\\?\[])", r"\\\1", key.pattern)).encode()
    return key_of("c", key).encode()


def topic_of(channel: bytes) -> str:
    """The topic of a channel."""
    return channel.decode()[len(CHANNELS) : -1].replace("%7D", "}").replace("%25", "%")


def glob_of(pattern: bytes) -> Glob:
    """What Redis' pattern was made of."""
    return Glob(re.sub(r"\\(.)", r"\1", topic_of(pattern)))
