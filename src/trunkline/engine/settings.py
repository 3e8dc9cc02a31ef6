"""The limits of a connection, and where they come from."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from trunkline.engine.deflate import DeflateSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PREFIX", "EngineSettings", "from_environment", "from_uvicorn"]

PREFIX = "TRUNKLINE_WS_"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The limits of a connection. Seconds and bytes; None for no limit where it is allowed.

    Attributes:
        max_message: Bytes of one message at most, after inflating; more closes with 1009.
        inbound_messages: Messages that wait for the application before reading is paused.
        inbound_bytes: Their bytes before reading is paused.
        high_water: Bytes buffered for the peer above which a send waits.
        send_timeout: Seconds that a send may wait before the peer is aborted.
        ping_interval: Seconds between keepalive pings; None for none.
        ping_timeout: Seconds for a pong before the peer is closed with 1011; None for ever.
        handshake_timeout: Seconds from upgrade to accept.
        close_timeout: Seconds for the peer to answer a close frame, or to take the response that refuses it.
        drain_window: Seconds over which a server that stops spreads the closes of its connections (1012).
        compression: Whether a client's offer of permessage-deflate (RFC 7692) is taken, or how: True is for
            `DeflateSettings()`, which keeps no context.

    Raises:
        ValueError: A number is below what makes sense, or `compression` is something else.
    """

    max_message: int = 16 * 1024 * 1024
    inbound_messages: int = 64
    inbound_bytes: int = 1024 * 1024
    high_water: int = 64 * 1024
    send_timeout: float | None = 30.0
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0
    handshake_timeout: float | None = 10.0
    close_timeout: float = 10.0
    drain_window: float = 0.0
    compression: bool | DeflateSettings = True

    def __post_init__(self) -> None:
        if not isinstance(self.compression, bool | DeflateSettings):
            raise ValueError(
                "expected True, False or for example DeflateSettings(context_takeover=True) as compression of "
                f"EngineSettings, but got {self.compression!r}"
            )
        for names, allowed, words in _BOUNDS:
            for name in names:
                value = getattr(self, name)
                if value is not None and not allowed(value):
                    raise ValueError(f"expected {words} as {name} of EngineSettings, but got {value!r}")

    @property
    def deflate(self) -> DeflateSettings | None:
        """How messages are compressed; None for not at all."""
        return _DEFLATE if self.compression is True else self.compression or None


_DEFLATE = DeflateSettings()
_BOUNDS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("max_message", "inbound_messages", "inbound_bytes", "high_water"), lambda number: number >= 1, "1 or more"),
    (
        ("send_timeout", "ping_interval", "ping_timeout", "handshake_timeout"),
        lambda seconds: seconds > 0,
        "seconds above 0, or None for none,",
    ),
    (("close_timeout", "drain_window"), lambda seconds: seconds >= 0, "0 or more seconds"),
)


# uvicorn's option, its default, our setting: an option that was left at its default leaves ours as it is.
_OPTIONS = (
    ("ws_max_size", 16 * 1024 * 1024, "max_message"),
    ("ws_max_queue", 32, "inbound_messages"),
    ("ws_ping_interval", 20.0, "ping_interval"),
    ("ws_ping_timeout", 20.0, "ping_timeout"),
    ("ws_per_message_deflate", True, "compression"),
)


def from_uvicorn(settings: EngineSettings, option: Callable[[str], Any]) -> EngineSettings:
    """The settings with those of uvicorn's options for WebSockets that were given.

    Args:
        settings: What holds where no option says otherwise.
        option: Gives the value of an option by its name in uvicorn's configuration.

    Raises:
        ValueError: A value is below what makes sense.
    """
    for name, default, ours in _OPTIONS:
        value = option(name)
        if value == default:
            continue
        if value == 0 and ours.startswith("ping_"):
            value = None  # as uvicorn takes the interval; a timeout of 0 can mean nothing else
        try:
            settings = replace(settings, **{ours: value})
        except ValueError as error:
            raise ValueError(f"--{name.replace('_', '-')} {value} of uvicorn cannot be kept: {error}") from None
    return settings


def _seconds(text: str) -> float | None:
    return None if text.lower() in ("none", "0", "") else float(text)


_COMPRESSION: Mapping[str, bool | DeflateSettings] = {
    **dict.fromkeys(("1", "true", "on"), True),
    **dict.fromkeys(("0", "false", "off"), False),
    "takeover": DeflateSettings(context_takeover=True),
}

# How the text of a variable is read, by the type of its setting, and what it may say.
_READERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "int": (int, "a whole number"),
    "float": (float, "seconds"),
    "float | None": (_seconds, "seconds or none"),
    "bool | DeflateSettings": (lambda text: _COMPRESSION[text.lower()], "on, off or takeover"),
}


def from_environment(settings: EngineSettings, environ: Mapping[str, str] = os.environ) -> EngineSettings:
    """The settings with those of `TRUNKLINE_WS_*` variables, for example `TRUNKLINE_WS_MAX_MESSAGE=65536`.

    Args:
        settings: What holds where no variable says otherwise.
        environ: The variables.

    Raises:
        ValueError: A value is not what its setting takes, or below what makes sense.
    """
    changes: dict[str, Any] = {}
    for field in fields(settings):
        text = environ.get(PREFIX + field.name.upper())
        if text is None:
            continue
        read, words = _READERS[str(field.type)]
        try:
            changes[field.name] = read(text)
        except (ValueError, KeyError):
            raise ValueError(f"expected {words} as {PREFIX}{field.name.upper()}, but got {text!r}") from None
    return replace(settings, **changes) if changes else settings
