"""Conversion and validation by pydantic: the one module of this package that imports it."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    Field,
    Json,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError, to_jsonable_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import ConfigDict

Invalid = ValidationError
Errors = list[dict[str, Any]]

# The last two for what is no type at all, and for names inside of a type that cannot be found.
_REFUSALS = (PydanticSchemaGenerationError, PydanticUserError, TypeError, AttributeError, NameError)
_SEQUENCES = (Sequence, list, tuple, set, frozenset, deque)


class UnknownType(Exception):
    """Raised for a type that pydantic cannot make a value of, or not with these constraints."""


def validator(annotation: Any, constraints: Mapping[str, Any]) -> Callable[[Any], Any]:
    """The function that makes a value of a type out of what a connection says, and raises `Invalid` where it cannot.

    Args:
        annotation: The type; pydantic's own metadata in `Annotated` counts.
        constraints: Arguments of pydantic's `Field`.

    Raises:
        UnknownType: pydantic does not know the type, or a constraint does not fit it.
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[annotation, Field(**constraints)])
        validate: Callable[[Any], Any] = adapter.validator.validate_python
    except (*_REFUSALS, SchemaError) as error:
        raise UnknownType(str(error).split("\n")[0]) from error
    return validate


def errors_of(invalid: ValidationError, place: tuple[str, ...]) -> Errors:
    """The errors of a value, each with the place of the value before its own."""
    return [{**error, "loc": place + error["loc"]} for error in invalid.errors(include_url=False)]


def missing(place: tuple[str, ...]) -> Errors:
    """The error for a value that must come and has not."""
    return [{"type": "missing", "loc": place, "msg": "Field required", "input": None}]


def jsonable(value: Any) -> Any:
    """A value as `json.dumps` takes it: models, dataclasses, dates, UUIDs, enums, sets and more become plain.

    Args:
        value: Any value that pydantic can serialise; models are written by their aliases.

    Raises:
        pydantic_core.PydanticSerializationError: It cannot.
    """
    return to_jsonable_python(value, by_alias=True)


def jsonable_errors(errors: Any) -> Any:
    """The errors of a connection as `json.dumps` takes them; exceptions in them become empty, as with FastAPI."""
    return to_jsonable_python(errors, fallback=lambda value: {} if isinstance(value, Exception) else str(value))


def is_field(value: object) -> bool:
    """Whether something is what pydantic's `Field` returns."""
    return isinstance(value, FieldInfo)


def options_of(annotation: Any) -> Iterator[Any]:
    """The types that a value may have: of a union each, else the one; without what `Annotated` adds."""
    if get_origin(annotation) is Annotated:
        yield from options_of(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from options_of(option)
    else:
        yield annotation


def _is_subclass(annotation: Any, classes: Any) -> bool:
    return isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, classes)


def _is_one_sequence(option: Any) -> bool:
    cls = get_origin(option) or option
    return _is_subclass(cls, _SEQUENCES) and not issubclass(cls, (str, bytes))


def is_sequence(annotation: Any) -> bool:
    """Whether a value may be a list, tuple or set, so that several values of one name belong together."""
    return any(_is_one_sequence(option) for option in options_of(annotation))


def is_json(annotation: Any) -> bool:
    """Whether a value comes as one text of JSON, also where it is a list: pydantic's `Json[...]`."""
    return get_origin(annotation) is Annotated and _is_of_json(get_args(annotation)[1:])


def _is_of_json(metadata: Iterable[Any]) -> bool:
    return any(type(one) is Json for one in metadata)


def names_of(validation_alias: Any) -> tuple[str, ...]:
    """The names that a `validation_alias` stands for, the preferred one first; none for None.

    Raises:
        UnknownType: It has a path, of which a connection's values have no parts.
    """
    if validation_alias is None:
        return ()
    choices = validation_alias.choices if isinstance(validation_alias, AliasChoices) else [validation_alias]
    names = tuple(name for name in choices if not isinstance(name, AliasPath))
    if len(names) < len(choices):
        raise UnknownType("an AliasPath leads into a value, which is one text here; write AliasChoices of names")
    return names


def is_scalar(annotation: Any) -> bool:
    """Whether no value of this type is a sequence, mapping, model or dataclass."""
    return all(
        not (
            _is_one_sequence(option)
            or _is_subclass(get_origin(option) or option, (BaseModel, Mapping))
            or dataclasses.is_dataclass(option)
        )
        for option in options_of(annotation)
    )


def is_sequence_of_scalars(annotation: Any) -> bool:
    """Whether each value is a scalar or a sequence of scalars, and one at least a sequence."""
    options = list(options_of(annotation))
    sequences = [option for option in options if _is_one_sequence(option)]
    inner = [item for option in sequences for item in get_args(option) if item is not ...]
    return bool(sequences) and all(map(is_scalar, [*inner, *(o for o in options if o not in sequences)]))


class ModelField(NamedTuple):
    """A field of a model that stands for several parameters.

    Attributes:
        aliases: The names by which the model takes it, the preferred one first, each with whether it is a name in
            Python, in which headers have dashes for underscores.
    """

    name: str
    aliases: tuple[tuple[str, bool], ...]
    is_sequence: bool
    is_json: bool


class Model(NamedTuple):
    """A model that stands for several parameters."""

    fields: tuple[ModelField, ...]
    takes_others: bool
    loc_by_alias: bool


def model_of(annotation: Any) -> Model | None:
    """The model that a parameter is, or may be beside None; None for any other type.

    Raises:
        UnknownType: The alias of a field cannot be looked up on a connection.
    """
    options = [option for option in options_of(annotation) if option is not type(None)]
    if len(options) != 1 or not _is_subclass(options[0], BaseModel):
        return None
    model = options[0]
    config = model.model_config
    fields = tuple(
        ModelField(name, _aliases(name, info, config), is_sequence(info.annotation), _is_of_json(info.metadata))
        for name, info in model.model_fields.items()
    )
    return Model(fields, config.get("extra") in ("allow", "forbid"), config.get("loc_by_alias", True))


def _aliases(name: str, info: FieldInfo, config: ConfigDict) -> tuple[tuple[str, bool], ...]:
    if config.get("validate_by_alias") is False:
        return ((name, True),)
    alias = info.validation_alias or info.alias or name
    names = names_of(alias)
    by_name = config.get("validate_by_name", config.get("populate_by_name", False)) and name not in names
    return (*((one, one == name == alias) for one in names), *(((name, True),) if by_name else ()))
