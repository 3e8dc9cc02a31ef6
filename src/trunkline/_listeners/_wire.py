"""What comes from a client as values, and values as what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.messages import ErrorDetail, InvalidMessage, codec_for
from trunkline.messages._codecs import frames_in
from trunkline.messages._shape import members
from trunkline.status import WS_1003_UNSUPPORTED_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.messages import MessageSettings

__all__ = ["check_type", "decoder_of", "frame_of", "raw_kind"]


def _wrong_frame(wanted: str, got: str) -> InvalidMessage:
    detail: ErrorDetail = {
        "type": "frame_type",
        "loc": [],
        "msg": f"Expected a {wanted} message, but got a {got} message",
    }
    return InvalidMessage([detail], WS_1003_UNSUPPORTED_DATA)


def _text(data: str | bytes) -> str:
    if isinstance(data, str):
        return data
    raise _wrong_frame("text", "binary")


def _binary(data: str | bytes) -> bytes:
    if isinstance(data, str):
        raise _wrong_frame("binary", "text")
    return data


def _either(data: str | bytes) -> str | bytes:
    return data


def _is_raw(kinds: Iterable[Any]) -> bool:
    return all(kind in (str, bytes) for kind in kinds)


def raw_kind(type_: Any) -> type | None:
    """`str` or `bytes` where messages of the type are just that; else None.

    Args:
        type_: The type.
    """
    return type_ if type_ in (str, bytes) else None


def decoder_of(type_: Any, codec: str) -> Callable[[str | bytes], Any]:
    """What makes a value of the type from a message.

    `str`, `bytes` and their union are the message itself: text, binary, or either. All else is the codec's.

    Args:
        type_: The type.
        codec: The name of the codec.

    Raises:
        CodecError: The codec cannot handle the type.
    """
    kinds = members(type_)
    if not _is_raw(kinds):
        return codec_for(type_, codec).decode
    if str not in kinds:
        return _binary
    return _either if bytes in kinds else _text


def check_type(type_: Any, settings: MessageSettings) -> None:
    """Refuse a type that one of the codecs of the settings cannot handle.

    Args:
        type_: The type.
        settings: The settings.

    Raises:
        CodecError: It cannot.
    """
    for codec in {settings.codec, *settings.subprotocols.values()}:
        decoder_of(type_, codec)


def frame_of(value: object, codec: str) -> str | bytes:
    """A value as what is sent: a `str` as text, `bytes` as binary, all else as the codec makes it.

    Args:
        value: The value.
        codec: The name of the codec.

    Raises:
        CodecError: The codec cannot encode it.
    """
    return frames_in(codec)[type(value)](value)
