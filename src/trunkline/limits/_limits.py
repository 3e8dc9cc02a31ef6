"""What a limit may be, and how those of a route and of its application become one."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from trunkline.limits._bucket import Rate
from trunkline.limits._errors import LimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NO_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of WebSockets, for an `App`, a `Router` or a route.

        Limits(max_message=64 * 1024, messages_per_second=20, policy="close")

    None leaves a limit to the router or application around, and at last to the server. `math.inf` lifts what is said
    there.

    Attributes:
        max_message: Bytes of one message at most, of text in UTF-8; more closes with 1009. On our engine a message is
            refused when its header says how long it is; on other servers when it has come.
        messages_per_second: How many messages a client may send: a number, or a `Rate` that says how many at once.
        bytes_per_second: How many bytes of messages, of text in UTF-8: a number, or a `Rate`.
        policy: What becomes of more per second: `"wait"`, which is the default, takes them later, and TCP slows the
            client down; `"close"` closes with 1008.

    Raises:
        LimitError: A limit is not what it must be, or a message of `max_message` could never come.
    """

    max_message: float | None = None
    messages_per_second: float | Rate | None = None
    bytes_per_second: float | Rate | None = None
    policy: Literal["wait", "close"] | None = None

    def __post_init__(self) -> None:
        for name, (allowed, words) in _ALLOWED.items():
            value = getattr(self, name)
            if value is not None and value != math.inf and not allowed(value):
                raise LimitError(f"expected {words}, or math.inf for no limit, as {name} of Limits, but got {value!r}")
        if self.policy not in (None, "wait", "close"):
            raise LimitError(f'expected "wait" or "close" as policy of Limits, but got {self.policy!r}')
        rate = self.rates.get("bytes")
        if self.policy == "close" and rate and self.max_message and rate.size < self.max_message < math.inf:
            raise LimitError(
                f"a message may have {self.max_message} bytes, but one of more than {rate.size:g} would always close "
                f"the connection; write bytes_per_second=Rate({rate.per_second:g}, burst={self.max_message})"
            )

    @property
    def rates(self) -> dict[str, Rate]:
        """The rates to keep to, by what is counted: `"messages"`, `"bytes"`."""
        said = {"messages": self.messages_per_second, "bytes": self.bytes_per_second}
        return {
            name: value if isinstance(value, Rate) else Rate(value)
            for name, value in said.items()
            if value is not None and value != math.inf
        }

    def within(self, around: Limits) -> Limits:
        """These limits, and those around them where these say nothing.

        Args:
            around: The limits of the router or application.
        """
        if around == NO_LIMITS:
            return self
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return Limits(**{name: getattr(around, name) if value is None else value for name, value in said.items()})


def _is_number(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value, int) and bool(value >= 1)


def _is_rate(value: Any) -> bool:
    return isinstance(value, Rate) or (_is_number(value, (int, float)) and bool(value > 0))


_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_message": (_is_count, "bytes, 1 or more"),
    "messages_per_second": (_is_rate, "a number above 0 or a Rate"),
    "bytes_per_second": (_is_rate, "a number above 0 or a Rate"),
}

NO_LIMITS = Limits()
