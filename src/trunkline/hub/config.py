"""What a topic keeps and how its members are bounded: configured once for a hub, by patterns of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trunkline.hub import policies
from trunkline.hub.globs import Glob
from trunkline.hub.policies import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline.hub.publication import Publication
    from trunkline.hub.topic import Topic

__all__ = ["OutboxLimits", "PresenceConfig", "Retention", "TopicConfig", "config_for", "read_topics"]


def _check_above(name: str, owner: object, low: float) -> None:
    value = getattr(owner, name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > low:
        raise ValueError(f"expected a number above {low} as {name} of {type(owner).__name__}, but got {value!r}")


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a topic's past is kept.

    Attributes:
        count: Publications at most.
        seconds: How old they may become.

    Raises:
        ValueError: A number is not above 0.
    """

    count: int
    seconds: float

    def __post_init__(self) -> None:
        _check_above("count", self, 0)
        _check_above("seconds", self, 0)


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """What may wait for one member before the topic's policy acts. Frames are shared, so bytes are counted, not copied.

    Attributes:
        bytes: Bytes that wait.
        seconds: How long the oldest of it may have waited.

    Raises:
        ValueError: A number is not above 0.
    """

    bytes: int = 32 * 1024 * 1024
    seconds: float = 10.0

    def __post_init__(self) -> None:
        _check_above("bytes", self, 0)
        _check_above("seconds", self, 0)


@dataclass(frozen=True, slots=True)
class PresenceConfig:
    """How it is known who is in a topic, in all processes.

    Attributes:
        lease: Seconds after which the members of a process that was killed are gone.
        grace: Seconds before a member that left is told of, so that who reconnects was never away.
        every: Seconds for which changes are gathered before they are told of in one message.

    Raises:
        ValueError: `lease` or `every` is not above 0, or `grace` is below 0.
    """

    lease: float = 30.0
    grace: float = 5.0
    every: float = 0.1

    def __post_init__(self) -> None:
        _check_above("lease", self, 0)
        _check_above("every", self, 0)
        if self.grace != 0:
            _check_above("grace", self, 0)


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """What the topics of a pattern keep, and how their members are bounded.

    Attributes:
        history: How much of the past is kept, so that a client can go on where it was; None for nothing.
        policy: What happens to a member that does not keep up (`trunkline.hub.policies`).
        outbox: From when on it counts as one.
        encode: Called once per publication and process with the `Publication`; what it returns is sent instead of the
            published value: a `str`, `bytes`, or anything else as JSON. For example to give clients the position.
        presence: Whether it is known who is in the topic, in all processes, and how; None for not.
        on_loss: Called with the `Topic` when publications to this process may have been lost, because the broker was
            away and there is no history to read them from. With a history it is never needed: members are given what
            they missed, or closed with 1012.

    Raises:
        TypeError: A value is of another type.
    """

    history: Retention | None = None
    policy: Policy = policies.close
    outbox: OutboxLimits = OutboxLimits()
    encode: Callable[[Publication], Any] | None = None
    presence: PresenceConfig | None = None
    on_loss: Callable[[Topic], Any] | None = None

    def __post_init__(self) -> None:
        if self.history is not None and not isinstance(self.history, Retention):
            raise TypeError(f"expected Retention(count=, seconds=) or None as history, but got {self.history!r}")
        check_policy(self.policy)
        if not isinstance(self.outbox, OutboxLimits):
            raise TypeError(f"expected OutboxLimits(bytes=, seconds=) as outbox, but got {self.outbox!r}")
        if self.presence is not None and not isinstance(self.presence, PresenceConfig):
            raise TypeError(f"expected PresenceConfig() or None as presence, but got {self.presence!r}")
        if self.encode is not None and not callable(self.encode):
            raise TypeError(f"expected a function of a Publication as encode, but got {self.encode!r}")
        if self.on_loss is not None and not callable(self.on_loss):
            raise TypeError(f"expected a function of a Topic as on_loss, but got {self.on_loss!r}")


def check_policy(policy: object) -> None:
    """Refuse what is no policy.

    Raises:
        TypeError: It is not one.
    """
    if not isinstance(policy, Policy):
        raise TypeError(
            f"expected a policy of trunkline.hub.policies (close, drop_oldest, drop_newest, coalesce(key), "
            f"wait(deadline)), but got {policy!r}"
        )


DEFAULT = TopicConfig()


def read_topics(topics: Mapping[str, Any] | None) -> tuple[tuple[str, TopicConfig], ...]:
    """The patterns of a hub, checked.

    Raises:
        TypeError: It is not a mapping of patterns to `TopicConfig`.
    """
    pairs: tuple[tuple[Any, Any], ...] = tuple((topics or {}).items())
    for pattern, config in pairs:
        if not isinstance(pattern, str) or not isinstance(config, TopicConfig):
            raise TypeError(f'expected topics={{"room:*": TopicConfig(...)}}, but got {pattern!r}: {config!r}')
    return pairs


def config_for(name: str, topics: tuple[tuple[str, TopicConfig], ...]) -> tuple[str, TopicConfig]:
    """What holds for a topic: the first pattern that its name matches, with its configuration; "" where none does."""
    return next(((pattern, config) for pattern, config in topics if Glob(pattern).matches(name)), ("", DEFAULT))
