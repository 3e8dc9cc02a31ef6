"""How a connection speaks typed messages, and what becomes of invalid ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from trunkline.messages._codecs import codec_for
from trunkline.messages._errors import ErrorMessage, InvalidMessage
from trunkline.states import CloseInfo
from trunkline.status import WS_1008_POLICY_VIOLATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

__all__ = ["InvalidPolicy", "MessageSettings"]

InvalidPolicy = Literal["reply", "close", "raise"]

_TOO_MANY = CloseInfo(WS_1008_POLICY_VIOLATION, "too many invalid messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSettings:
    """How the typed messages of a connection are encoded, and what becomes of invalid ones.

        websocket.message_settings = MessageSettings(codec="msgpack", invalid="close")

    Attributes:
        codec: The name of the codec, as `codec_for` takes it.
        subprotocols: The codec of each subprotocol that `accept` may agree on (RFC 6455 section 1.9). A client that
            offers none of them gets no subprotocol, and `codec`.
        invalid: What an invalid message leads to: `"reply"` answers it with an `ErrorMessage` and goes on, `"close"`
            closes with its close code, `"raise"` raises it as `InvalidMessage`.
        max_invalid: How many in a row are answered; one more closes with 1008.

    Raises:
        CodecError: There is no such codec, or its library is not installed.
        ValueError: The policy is unknown, or the number negative.
    """

    codec: str = "json"
    subprotocols: Mapping[str, str] = field(default_factory=dict)
    invalid: InvalidPolicy = "reply"
    max_invalid: int = 10

    def __post_init__(self) -> None:
        if self.invalid not in get_args(InvalidPolicy):
            raise ValueError(f"expected 'reply', 'close' or 'raise' as invalid, but got {self.invalid!r}")
        if self.max_invalid < 0:
            raise ValueError(f"expected 0 or more as max_invalid, but got {self.max_invalid!r}")
        for codec in (self.codec, *self.subprotocols.values()):
            codec_for(ErrorMessage, codec)
        object.__setattr__(self, "subprotocols", MappingProxyType(dict(self.subprotocols)))

    def agree(self, offered: Iterable[str]) -> str | None:
        """The first of the offered subprotocols that has a codec here; None if none has.

        Args:
            offered: What the client offers, in the order of its preference.
        """
        return next((name for name in offered if name in self.subprotocols), None)

    def speaking(self, subprotocol: str | None) -> Self:
        """These settings with the codec of a subprotocol; as they are for one without."""
        codec = self.subprotocols.get(subprotocol or "", self.codec)
        return self if codec == self.codec else replace(self, codec=codec)

    def verdict(self, error: InvalidMessage, in_a_row: int) -> str | bytes | CloseInfo:
        """What an invalid message leads to.

        Args:
            error: What is wrong with it.
            in_a_row: How many invalid messages have come in a row, this one included.

        Returns:
            The answer to send, or how to close the connection.

        Raises:
            InvalidMessage: The error itself, where the policy is to raise.
        """
        if self.invalid == "raise":
            raise error
        if self.invalid == "close":
            return CloseInfo(error.close_code, error.reason)
        if in_a_row > self.max_invalid:
            return _TOO_MANY
        return codec_for(ErrorMessage, self.codec).encode(error.answer)
