"""JSON by pydantic: models, dataclasses, TypedDicts, unions, and whatever else a `TypeAdapter` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from trunkline.messages._errors import MAX_ERRORS, CodecError, ErrorDetail, InvalidMessage, undecodable
from trunkline.messages._shape import tag_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeForm

__all__ = ["PydanticJson", "is_model"]

T = TypeVar("T")

# A message of 1 MiB can have half a million errors, and pydantic makes them all or none.
_TOO_MANY = 1000

_IMPOSSIBLE = (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, TypeError)


def is_model(class_: type) -> bool:
    """Whether a class is a model of pydantic."""
    return issubclass(class_, BaseModel)


class PydanticJson(Generic[T]):
    """JSON texts of one type, validated by pydantic as they are parsed.

    A union whose members are told apart by a `Literal` field is taken as discriminated by that field, also where it
    does not say so: an error then speaks of the member that was meant, and each message is validated once.

    Args:
        type_: The type.

    Raises:
        CodecError: pydantic cannot validate it.
    """

    __slots__ = ("_to_json", "_validate")

    def __init__(self, type_: TypeForm[T]) -> None:
        self._validate, self._to_json = _compiled(type_)

    def decode(self, data: str | bytes) -> T:
        """The message; a binary one must be UTF-8."""
        try:
            message: T = self._validate(data)
        except ValidationError as error:
            raise _invalid(error) from error
        return message

    def encode(self, value: T) -> str:
        """The message as text, under the aliases of its fields."""
        try:
            return self._to_json(value, by_alias=True).decode()
        except (ValueError, RecursionError) as error:  # the former for whatever pydantic finds
            raise CodecError(f"{type(value).__qualname__} cannot be written as JSON by pydantic: {error}") from error


def _compiled(type_: Any) -> tuple[Callable[..., Any], Callable[..., bytes]]:
    """What validates a text, and what writes one."""
    tag = tag_field(type_)
    if tag is not None:
        try:
            return _functions(Annotated[type_, Field(discriminator=tag)])
        except _IMPOSSIBLE:  # for example because the field has another alias in each member
            pass
    try:
        return _functions(type_)
    except _IMPOSSIBLE as error:
        raise CodecError(f"expected a type that pydantic can validate, but got {type_!r}: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, PydanticUserError) and error.code == "typed-dict-version":
        return (
            "before Python 3.12 a TypedDict of `typing` does not say all that is needed; write "
            "`from typing_extensions import TypedDict`"
        )
    return error.message if isinstance(error, PydanticUserError) else str(error)


def _functions(type_: Any) -> tuple[Callable[..., Any], Callable[..., bytes]]:
    adapter: TypeAdapter[Any] = TypeAdapter(type_)
    adapter.rebuild(raise_errors=True)  # where something is missing, the error says which name is not defined
    return adapter.validator.validate_json, adapter.serializer.to_json


def _invalid(error: ValidationError) -> InvalidMessage:
    count = error.error_count()
    if count > _TOO_MANY:
        msg = f"{count} parts of the message are invalid"
        return InvalidMessage([{"type": "too_many_errors", "loc": [], "msg": msg}])
    found = error.errors(include_url=False, include_context=False, include_input=False)
    first = found[0]
    if first["type"] in ("json_invalid", "string_unicode") and not first["loc"]:
        return undecodable("json_invalid", first["msg"])
    return InvalidMessage(_detail(one) for one in found[:MAX_ERRORS])


def _detail(error: Any) -> ErrorDetail:
    return {"type": error["type"], "loc": list(error["loc"]), "msg": error["msg"]}
