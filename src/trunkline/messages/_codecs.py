"""Codecs: what turns the messages of one type into text or bytes and back."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trunkline.messages._errors import CodecError
from trunkline.messages._msgspec import MsgspecJson, MsgspecMsgpack, is_struct
from trunkline.messages._pydantic import PydanticJson, is_model
from trunkline.messages._shape import classes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import TypeForm

__all__ = ["Codec", "codec_for", "encode", "register_codec"]

T = TypeVar("T")

# More types than a program has; it bounds one that makes new ones all the time.
_KEPT = 1024


class Codec(Protocol[T]):
    """The messages of one type on the wire. It belongs to no connection and keeps no state."""

    def decode(self, data: str | bytes, /) -> T:
        """The message in a text (`str`) or binary (`bytes`) message; anything wrong with it is `InvalidMessage`."""

    def encode(self, value: T, /) -> str | bytes:
        """The message as what is to be sent, `str` as text and `bytes` as binary; impossible ones are `CodecError`."""


def _json(type_: Any) -> Codec[Any]:
    """JSON by the library that the type belongs to."""
    found = classes(type_)
    structs, models = {c for c in found if is_struct(c)}, {c for c in found if is_model(c)}
    if structs and models:
        raise CodecError(
            f"expected Structs of msgspec or models of pydantic, but {type_!r} names both: "
            f"{', '.join(sorted(c.__qualname__ for c in structs | models))}; write all of them as one or the other"
        )
    return MsgspecJson(type_) if structs else PydanticJson(type_)


_MAKERS: dict[str, Callable[[Any], Codec[Any]]] = {
    "json": _json,
    "json-pydantic": PydanticJson,
    "json-msgspec": MsgspecJson,
    "msgpack": MsgspecMsgpack,
}
_OURS = frozenset(_MAKERS)


def register_codec(name: str, make: Callable[[Any], Codec[Any]]) -> None:
    """Add a codec of one's own, for use by its name.

    Args:
        name: How it is called in `MessageSettings` and `codec_for`.
        make: Takes a type of messages, and returns the `Codec` for it or raises `CodecError`. It is asked once for each
            type: for those that are received, the classes of values that are sent, and `ErrorMessage`. It replaces
            what was registered under this name before; connections that are open keep that.

    Raises:
        ValueError: The name is that of a codec of ours.
    """
    if name in _OURS:
        raise ValueError(f"expected a name that no codec of trunkline has, but got {name!r}")
    _MAKERS[name] = make
    _made.cache_clear()
    frames_in.cache_clear()


def codec_for(type_: TypeForm[T], name: str = "json") -> Codec[T]:
    """The codec for messages of a type, made at the first call and kept.

    Call it where a program starts to learn there of a type that no codec can handle.

    Args:
        type_: A class, a union of some, or any other type that the codec can handle. `Annotated[...]` is made once
            only where it has a name outside of functions.
        name: Which codec: `"json"` is msgspec's for Structs and pydantic's for all else, `"json-pydantic"` and
            `"json-msgspec"` say which, `"msgpack"` is msgspec's MessagePack in binary messages; or one of your own.

    Raises:
        CodecError: There is no such codec, its library is not installed, or it cannot handle the type.
    """
    try:
        codec: Codec[T] = _made(name, type_)
    except CodecError:
        raise
    except TypeError:  # metadata of `Annotated` may be unhashable
        codec = _make(name, type_)
    return codec


def encode(value: object, codec: str = "json") -> str | bytes:
    """A message as what is to be sent: `str` as a text message, `bytes` as a binary one.

    It depends on no connection: what goes to many is encoded once.

    Args:
        value: The message; its class decides, as `codec_for` says.
        codec: Which codec.

    Raises:
        CodecError: There is no such codec, or it cannot handle the value.
    """
    data: str | bytes = _made(codec, type(value)).encode(value)
    return data


def _as_it_is(value: str | bytes) -> str | bytes:
    return value


class _Frames(dict[type, "Callable[[Any], str | bytes]"]):
    """What makes a frame of a value, by the class of the value; found out at the first of each class.

    By the class and not by `isinstance`, because no value has many classes, and each that it has not costs most.
    """

    def __init__(self, codec: str) -> None:
        self._codec = codec

    def __missing__(self, class_: type) -> Callable[[Any], str | bytes]:
        make: Callable[[Any], str | bytes]
        if issubclass(class_, (str, bytes)):
            make = _as_it_is
        elif issubclass(class_, (bytearray, memoryview)):
            make = bytes
        else:
            make = _made(self._codec, class_).encode
        if len(self) < _KEPT:
            self[class_] = make
        return make


@lru_cache(_KEPT)
def frames_in(codec: str) -> Mapping[type, Callable[[Any], str | bytes]]:
    """What makes of a value what is sent, by the value's class: `str` is text, `bytes` binary, all else the codec's.

    Args:
        codec: Which codec. A class that it cannot handle is a `CodecError` when it is looked up.
    """
    return _Frames(codec)


def _make(name: str, type_: Any) -> Codec[Any]:
    make = _MAKERS.get(name)
    if make is None:
        raise CodecError(f"expected one of the codecs {', '.join(map(repr, _MAKERS))}, but got {name!r}")
    return make(type_)


_made: Any = lru_cache(_KEPT)(_make)
