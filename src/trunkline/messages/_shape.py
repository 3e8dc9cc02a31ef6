"""What a message type is made of, so far as the choice of a codec depends on it."""

from __future__ import annotations

import dataclasses
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["classes", "is_typed_dict", "members", "tag_field", "unaliased"]


def unaliased(type_: Any) -> Any:
    """What an alias of a type stands for; any other type itself."""
    while type(type_).__name__ == "TypeAliasType":  # of `typing` or of `typing_extensions`
        type_ = type_.__value__
    return type_


def _bare(type_: Any) -> Any:
    """A type behind its aliases and annotations."""
    type_ = unaliased(type_)
    return _bare(get_args(type_)[0]) if get_origin(type_) is Annotated else type_


def is_typed_dict(kind: Any) -> bool:
    """Whether a class is a `TypedDict`, of `typing` or of `typing_extensions`: its values are dictionaries."""
    return isinstance(kind, type) and hasattr(kind, "__total__")


def members(type_: Any) -> list[Any]:
    """The members of a union, flat; the type itself where it is none."""
    type_ = _bare(type_)
    if get_origin(type_) in (Union, UnionType):
        return [one for part in get_args(type_) for one in members(part)]
    return [type_]


def classes(type_: Any) -> set[type]:
    """The classes that are named in a type: three in `list[Join | Say]`."""
    found: set[type] = set()
    seen: list[Any] = []  # by equality: not every argument has a hash
    rest = members(type_)
    while rest:
        one = rest.pop()
        if one in seen:  # an alias may speak of itself
            continue
        seen.append(one)
        origin = get_origin(one) or one
        if isinstance(origin, type):
            found.add(origin)
        if origin is not Literal:
            rest += [member for part in get_args(one) for member in members(part)]
    return found


def tag_field(type_: Any) -> str | None:
    """The field that tells the members of a union apart: a `Literal` in all of them, of other values in each."""
    kinds = members(type_)
    if len(kinds) < 2 or NoneType in kinds or get_origin(unaliased(type_)) is Annotated:  # which may say it already
        return None
    tags = [_literals(kind) for kind in kinds]
    shared = (name for name in tags[0] if all(name in one for one in tags))
    return next((name for name in shared if _disjoint([one[name] for one in tags])), None)


def _disjoint(values: list[tuple[Any, ...]]) -> bool:
    everything = [value for some in values for value in some]
    return len(set(everything)) == len(everything)


def _literals(kind: Any) -> dict[str, tuple[Any, ...]]:
    """The fields of a class whose type is a `Literal`, and its values."""
    fields = {name: _bare(annotation) for name, annotation in _fields(get_origin(kind) or kind).items()}
    return {name: get_args(type_) for name, type_ in fields.items() if get_origin(type_) is Literal}


def _fields(kind: Any) -> dict[str, Any]:
    model_fields = getattr(kind, "model_fields", None)
    if model_fields is not None:  # pydantic's, which knows what the names in annotations meant where they were written
        return {name: field.annotation for name, field in model_fields.items()}
    if not dataclasses.is_dataclass(kind) and not is_typed_dict(kind):
        return {}
    try:
        return get_type_hints(kind)
    except NameError:  # of a class made in a function
        return {}
