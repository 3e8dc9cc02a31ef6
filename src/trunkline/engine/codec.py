"""The codec in use: the native one, or the one in pure Python where the native one was not built.

Both have the same interface, pass the same tests, and differ in speed alone. `TRUNKLINE_CODEC=pure` in the
environment takes the one in pure Python, to test or measure it.
"""

from __future__ import annotations

import importlib
import logging
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from trunkline.engine.events import BadData, TooBig
from trunkline.status import check_close_code, cut_reason

__all__ = [
    "BINARY",
    "NATIVE",
    "TEXT",
    "BadData",
    "Decoder",
    "TooBig",
    "binary_frame",
    "close_frame",
    "frame",
    "frame_header",
    "text_frame",
]

logger = logging.getLogger("trunkline.engine")

# Opcodes of RFC 6455 section 5.2.
TEXT, BINARY = 1, 2


def _choose() -> Any:
    wanted = os.environ.get("TRUNKLINE_CODEC", "")
    if wanted not in ("", "pure"):
        raise ValueError(f"TRUNKLINE_CODEC is 'pure' or not set, but it is {wanted!r}")
    if not wanted:
        try:
            # All or none: they are compiled together.
            for name in ("trunkline.engine._channel_native", "trunkline.engine._send"):
                if find_spec(name) is None:
                    raise ImportError(f"{name} is not built")
            return importlib.import_module("trunkline.engine._codec")
        except ImportError as error:
            logger.warning(
                "the native codec is not there (%s), so the slower one in pure Python is used; install a C compiler "
                "and run: pip install --force-reinstall --no-binary trunkline trunkline",
                error,
            )
    return importlib.import_module("trunkline.engine._codec_pure")


_codec = _choose()
NATIVE: bool = _codec.__name__ == "trunkline.engine._codec"

if TYPE_CHECKING:
    from trunkline.engine._codec import Decoder, binary_frame, frame, frame_header, text_frame
else:
    Decoder = _codec.Decoder
    binary_frame = _codec.binary_frame
    frame = _codec.frame
    frame_header = _codec.frame_header
    text_frame = _codec.text_frame


def close_frame(code: int, reason: str) -> bytes:
    """A close frame (RFC 6455 section 5.5.1).

    Args:
        code: The close code; 1005 makes an empty frame.
        reason: The text for the client, cut to 123 bytes of UTF-8.

    Raises:
        ValueError: The code may not be sent (RFC 6455 section 7.4).
    """
    if code == 1005:
        return frame(0x8, b"")
    check_close_code(code)
    return frame(0x8, code.to_bytes(2) + cut_reason(reason).encode("utf-8", "replace"))
