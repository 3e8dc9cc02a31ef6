"""JSON and MessagePack by msgspec: Structs, tagged unions of them, and whatever else a msgspec decoder takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

try:
    import msgspec
    import msgspec.inspect
    import msgspec.json
    import msgspec.msgpack
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

from trunkline.messages._errors import CodecError, ErrorDetail, InvalidMessage, undecodable
from trunkline.messages._shape import unaliased
from trunkline.status import WS_1003_UNSUPPORTED_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import TypeForm

__all__ = ["MsgspecJson", "MsgspecMsgpack", "is_struct"]

T = TypeVar("T")


def is_struct(class_: type) -> bool:
    """Whether a class is a `msgspec.Struct`."""
    return INSTALLED and issubclass(class_, msgspec.Struct)


class MsgspecJson(Generic[T]):
    """JSON texts of one type, parsed and validated by msgspec in one pass.

    Args:
        type_: The type.

    Raises:
        CodecError: msgspec cannot decode it, or is not installed.
    """

    __slots__ = ("_decode", "_encode")

    def __init__(self, type_: TypeForm[T]) -> None:
        checked = _checked(type_, "json-msgspec")
        self._decode: Callable[[str | bytes], T] = msgspec.json.Decoder(checked).decode
        self._encode = msgspec.json.Encoder().encode

    def decode(self, data: str | bytes) -> T:
        """The message; a binary one must be UTF-8."""
        try:
            return self._decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _invalid(error, "json_invalid") from error

    def encode(self, value: T) -> str:
        """The message as text."""
        try:
            return self._encode(value).decode()
        except _UNENCODABLE as error:
            raise _unencodable(value, error) from error


class MsgspecMsgpack(Generic[T]):
    """MessagePack in binary messages, of one type, parsed and validated by msgspec in one pass.

    Args:
        type_: The type.

    Raises:
        CodecError: msgspec cannot decode it, or is not installed.
    """

    __slots__ = ("_decode", "_encode")

    def __init__(self, type_: TypeForm[T]) -> None:
        checked = _checked(type_, "msgpack")
        self._decode: Callable[[bytes], T] = msgspec.msgpack.Decoder(checked).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def decode(self, data: str | bytes) -> T:
        """The message; a text message is none."""
        if isinstance(data, str):
            raise _a_text()
        try:
            return self._decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _invalid(error, "msgpack_invalid") from error

    def encode(self, value: T) -> bytes:
        """The message as bytes."""
        try:
            return self._encode(value)
        except _UNENCODABLE as error:
            raise _unencodable(value, error) from error


# --- types that it can do -------------------------------------------------------------------------------------------


def _checked(type_: Any, codec: str) -> Any:
    """The type as msgspec takes it; what could never be decoded is refused when the codec is made."""
    if not INSTALLED:
        raise CodecError(f"the codec {codec!r} needs msgspec, which is not installed: pip install 'trunkline[msgspec]'")
    bare = unaliased(type_)
    try:
        described = msgspec.inspect.type_info(bare)
        msgspec.json.Decoder(bare)
    except TypeError as error:
        raise CodecError(_refusal(type_, codec, str(error))) from error
    for class_ in _unknown(described, set()):
        raise CodecError(_refusal(type_, codec, f"it does not know {class_.__qualname__}"))
    return bare


def _refusal(type_: Any, codec: str, reason: str) -> str:
    remedy = "use Structs, dataclasses and the types of the standard library"
    if "must be tagged" in reason:
        remedy = "give each a tag: class Join(msgspec.Struct, tag='join')"
    elif "may not contain more than one" in reason:
        remedy = "write all of them as Structs, each with a tag: class Join(msgspec.Struct, tag='join')"
    return f"expected a type that the codec {codec!r} can decode, but got {type_!r}: {reason}; {remedy}"


def _unknown(described: Any, seen: set[int]) -> Iterator[type]:
    """The classes within a described type of which msgspec knows nothing: it would decode none of their instances."""
    if id(described) in seen:
        return
    seen.add(id(described))
    if isinstance(described, msgspec.inspect.CustomType):
        yield described.cls
    elif isinstance(described, tuple):
        for part in described:
            yield from _unknown(part, seen)
    elif isinstance(described, (msgspec.inspect.Type, msgspec.inspect.Field)):
        for name in described.__struct_fields__:
            yield from _unknown(getattr(described, name), seen)


# --- errors ---------------------------------------------------------------------------------------------------------

# What values can make an encoder raise.
_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)

# msgspec's errors are sentences: what they begin with, and the type that pydantic gives such an error.
_KINDS = (
    (re.compile(r"Object missing required field `(.*)`", re.DOTALL), "missing"),
    (re.compile(r"Object contains unknown field `(.*)`", re.DOTALL), "extra_forbidden"),
    (re.compile(r"Expected `[^`]*`(?:, got `[^`]*`)?", re.DOTALL), "type_error"),
)
_PLACE = re.compile(r"(.*) - at `(.*)`", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[(\.\.\.)\]")


def _invalid(error: Exception, undecodable_kind: str) -> InvalidMessage:
    if not isinstance(error, msgspec.ValidationError):
        return undecodable(undecodable_kind, str(error))
    sentence, path = str(error), ""
    if found := _PLACE.fullmatch(sentence):
        sentence, path = found.groups()
    loc = [int(index) if index else name or "..." for name, index, _ in _STEP.findall(path)]
    for pattern, kind in _KINDS:
        if found := pattern.fullmatch(sentence):
            return InvalidMessage([{"type": kind, "loc": [*loc, *found.groups()], "msg": sentence}])
    return InvalidMessage([{"type": "value_error", "loc": loc, "msg": sentence}])


def _a_text() -> InvalidMessage:
    detail: ErrorDetail = {"type": "frame_type", "loc": [], "msg": "Expected a binary message, but got a text message"}
    return InvalidMessage([detail], WS_1003_UNSUPPORTED_DATA)


def _unencodable(value: object, error: Exception) -> CodecError:
    return CodecError(f"{type(value).__qualname__} cannot be encoded by msgspec: {error}")
