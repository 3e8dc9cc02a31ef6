"""Typed messages: codecs between types and what goes over the wire, and what becomes of messages that do not fit.

A `Codec` belongs to one type and one encoding. It is made once, by `codec_for`, and knows no connection: the same one
decodes for a `WebSocket`, and encodes once what goes to many. The library that does the work is chosen by the type, or
by name; each library is known to one module here.
"""

from __future__ import annotations

from trunkline.messages._codecs import Codec, codec_for, encode, register_codec
from trunkline.messages._errors import CodecError, ErrorDetail, ErrorMessage, InvalidMessage
from trunkline.messages._settings import InvalidPolicy, MessageSettings

__all__ = [
    "Codec",
    "CodecError",
    "ErrorDetail",
    "ErrorMessage",
    "InvalidMessage",
    "InvalidPolicy",
    "MessageSettings",
    "codec_for",
    "encode",
    "register_codec",
]
