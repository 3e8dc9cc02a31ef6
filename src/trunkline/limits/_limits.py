"""What a limit may be, and how those of a route and of its application become one."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from trunkline.exceptions import TrunklineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NO_LIMITS", "LimitError", "Limits"]


class LimitError(TrunklineError, ValueError):
    """Raised when `Limits` are made that could not be kept; the text says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of WebSockets, for an `App`, a `Router` or a route.

        Limits(max_message=64 * 1024)

    None leaves a limit to the router or application around, and at last to the server. `math.inf` lifts what is said
    there.

    Attributes:
        max_message: Bytes of one message at most, of text in UTF-8; more closes with 1009. On our engine a message is
            refused when its header says how long it is; on other servers when it has come.

    Raises:
        LimitError: A limit is not what it must be.
    """

    max_message: float | None = None

    def __post_init__(self) -> None:
        for name, (allowed, words) in _ALLOWED.items():
            value = getattr(self, name)
            if value is not None and value != math.inf and not allowed(value):
                raise LimitError(f"expected {words}, or math.inf for no limit, as {name} of Limits, but got {value!r}")

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


_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_message": (_is_count, "bytes, 1 or more"),
}

NO_LIMITS = Limits()
