"""The channel in use: the compiled one beside the native codec, or the same source as it is."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from trunkline.engine.codec import NATIVE

__all__ = ["Channel", "Receiver", "Shortcut"]

if TYPE_CHECKING:
    from trunkline.engine._channel import Channel, Receiver, Shortcut
else:
    _channel = importlib.import_module(f"trunkline.engine._channel{'_native' if NATIVE else ''}")
    Channel, Receiver, Shortcut = _channel.Channel, _channel.Receiver, _channel.Shortcut
