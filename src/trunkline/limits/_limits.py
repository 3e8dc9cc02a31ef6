"""What a limit may be, and how those of a route and of its application become one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from trunkline.limits._bucket import Rate
from trunkline.limits._counts import per_ip, per_user
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
        connections_per_ip: How many connections an address has at most, or a network of IPv6 (/64); one more is refused
            with 429. Behind a proxy give `App(trusted_proxies=...)`. Counted together for all that these limits
            were given to, in this process.
        connections_per_user: How many connections a user has at most; one more is refused with 429.
        user: Who it is: a function as `Depends` takes it, that returns a `str` or an `int`, or None for nobody, who is
            not counted.
        idle_timeout: Seconds without a message in either direction before the connection is closed with 3008; pings
            are no messages. asyncio only.
        max_life: Seconds from the handshake to the end, at most; then the connection is closed with 1001. asyncio
            only.
        handshake_timeout: Seconds to `accept`, from when the route is found. On our engine the handshake is answered
            with 503 then; on other servers it is refused, by asyncio only.

    Raises:
        LimitError: A limit is not what it must be, or does not go together with another.
    """

    max_message: float | None = None
    messages_per_second: float | Rate | None = None
    bytes_per_second: float | Rate | None = None
    policy: Literal["wait", "close"] | None = None
    connections_per_ip: float | None = None
    connections_per_user: float | None = None
    user: Callable[..., Any] | None = None
    idle_timeout: float | None = None
    max_life: float | None = None
    handshake_timeout: float | None = None
    _counts: dict[str, Any] = field(init=False, repr=False, compare=False)

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
        if (self.connections_per_user is None) is not (self.user is None) or not callable(self.user or per_user):
            raise LimitError(
                "connections_per_user and user= go together: a number, and a function that gives what tells users "
                f"apart, as Depends takes it; but got {self.connections_per_user!r} and {self.user!r}"
            )
        counts = {}
        if (most := self.said("connections_per_ip")) is not None:
            counts["connections_per_ip"] = per_ip(most)
        if (most := self.said("connections_per_user")) is not None and self.user is not None:
            counts["connections_per_user"] = per_user(most, self.user)
        object.__setattr__(self, "_counts", counts)

    def said(self, name: str) -> Any:
        """The value of a limit; None where there is none, because nothing is said or it is lifted."""
        value = getattr(self, name)
        return None if value == math.inf else value

    @property
    def rates(self) -> dict[str, Rate]:
        """The rates to keep to, by what is counted: `"messages"`, `"bytes"`."""
        said = {"messages": self.said("messages_per_second"), "bytes": self.said("bytes_per_second")}
        return {
            name: value if isinstance(value, Rate) else Rate(value) for name, value in said.items() if value is not None
        }

    def within(self, around: Limits) -> Limits:
        """These limits, and those around them where these say nothing.

        Args:
            around: The limits of the router or application.
        """
        if around == NO_LIMITS:
            return self
        said = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        both = Limits(**{name: getattr(around, name) if value is None else value for name, value in said.items()})
        # What is said around is counted there, together with all else that it is said of.
        both._counts.update({name: counted for name, counted in around._counts.items() if said[name] is None})
        both._counts.update(self._counts)
        return both


def _is_number(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value, int) and bool(value >= 1)


def _is_rate(value: Any) -> bool:
    return isinstance(value, Rate) or _is_above_0(value)


def _is_above_0(value: Any) -> bool:
    return _is_number(value, (int, float)) and bool(value > 0)


_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_message": (_is_count, "bytes, 1 or more"),
    "messages_per_second": (_is_rate, "a number above 0 or a Rate"),
    "bytes_per_second": (_is_rate, "a number above 0 or a Rate"),
    "connections_per_ip": (_is_count, "1 or more"),
    "connections_per_user": (_is_count, "1 or more"),
    "idle_timeout": (_is_above_0, "seconds above 0"),
    "max_life": (_is_above_0, "seconds above 0"),
    "handshake_timeout": (_is_above_0, "seconds above 0"),
}

NO_LIMITS = Limits()
