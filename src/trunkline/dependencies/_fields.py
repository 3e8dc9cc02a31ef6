"""Values that a connection brings along: read from its path, query string, headers and cookies, and validated.

A field is made once, when its route is made. Reading one never raises for what a client sent: it gives `FAILED` and
adds to the list of errors, so that a client is told of everything at once.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from trunkline.dependencies._pydantic import (
    Invalid,
    errors_of,
    is_json,
    is_sequence,
    missing,
    names_of,
    options_of,
    validator,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline.dependencies._markers import Parameter, Place
    from trunkline.dependencies._pydantic import Errors, Model

FAILED: Final[Any] = object()
ABSENT: Final[Any] = object()

# Where a connection keeps what comes in each place; in the order in which errors are told.
ATTRIBUTES: Mapping[Place, str] = {
    "path": "path_params",
    "query": "query_params",
    "header": "headers",
    "cookie": "cookies",
}
_WITH_SEVERAL_VALUES = ("query", "header")
_UNCHANGEABLE = (type(None), str, int, float, bool, bytes)


def _maker(parameter: Parameter) -> Callable[[], Any] | None:
    """What makes the value of a parameter that has not come; None if it must."""
    if parameter.default_factory is not None:
        return parameter.default_factory
    default = parameter.default
    if default is ...:
        return None
    if type(default) in _UNCHANGEABLE:
        return lambda: default
    return lambda: copy.deepcopy(default)  # a list that an endpoint changes is not the next connection's


class Field:
    """One parameter of a call.

    Args:
        name: The parameter's name.
        annotation: Its type.
        parameter: Where it comes from.

    Raises:
        UnknownType: pydantic cannot make such a value.
    """

    __slots__ = (
        "attribute",
        "has_several",
        "is_sequence",
        "key",
        "loc",
        "make_default",
        "name",
        "other_keys",
        "place",
        "validate",
    )
    validate: Callable[[Any], Any] | None

    def __init__(self, name: str, annotation: Any, parameter: Parameter) -> None:
        self.name = name
        self.place = parameter.place
        self.attribute = ATTRIBUTES[parameter.place]
        own = parameter.alias or (name.replace("_", "-") if parameter.convert_underscores else name)
        self.key, *self.other_keys = names_of(parameter.validation_alias) or (own,)
        self.loc: tuple[str, ...] = (parameter.place, self.key)
        self.is_sequence = is_sequence(annotation)
        self.has_several = parameter.place in _WITH_SEVERAL_VALUES and not is_json(annotation)
        self.validate = validator(annotation, parameter.constraints)
        self.make_default = _maker(parameter)
        if parameter.validates_default and self.make_default is not None:
            make, validate = self.make_default, self.validate
            self.make_default = lambda: validate(make())
        if annotation is str and not parameter.constraints and parameter.place != "path":
            self.validate = None  # text, which it is already

    def read(self, connection: Any, errors: Errors) -> Any:
        """The value on this connection, or `FAILED`."""
        values = getattr(connection, self.attribute)
        key, loc = self.key, self.loc
        if self.other_keys and key not in values:
            key = next((other for other in self.other_keys if other in values), key)
            loc = (self.place, key)
        raw = values.getlist(key) if self.is_sequence and self.has_several else values.get(key)
        return self.convert(raw, loc, errors)

    def convert(self, raw: Any, loc: tuple[str, ...], errors: Errors) -> Any:
        """The value for what came, which may be nothing."""
        try:
            if raw is None or (self.is_sequence and not raw):
                if self.make_default is None:
                    errors += missing(loc)
                    return FAILED
                return self.make_default()
            return raw if self.validate is None else self.validate(raw)
        except Invalid as invalid:
            errors += errors_of(invalid, loc)
            return FAILED


class GroupField(Field):
    """A parameter whose type is a model: its fields are parameters of their own.

    Args:
        name: The parameter's name.
        annotation: Its type.
        parameter: Where its fields come from.
        model: The model.
    """

    __slots__ = ("fields", "is_optional", "model")

    def __init__(self, name: str, annotation: Any, parameter: Parameter, model: Model) -> None:
        super().__init__(name, annotation, parameter)
        self.loc = (parameter.place,)
        self.is_sequence = False
        self.model = model
        self.is_optional = type(None) in options_of(annotation)
        # Of each field what the model and what the connection call it, whether it is a list, and one of several values.
        self.fields = [
            (
                [
                    (alias, alias.replace("_", "-") if is_name and parameter.convert_underscores else alias)
                    for alias, is_name in field.aliases
                ],
                field.is_sequence,
                field.is_sequence and self.has_several and not field.is_json,
            )
            for field in model.fields
        ]

    def read(self, connection: Any, errors: Errors) -> Any:
        values = getattr(connection, self.attribute)
        raw: dict[str, Any] = {}
        own: dict[str, str] = {}  # the field's name in the model for each key that counts
        for names, is_list, has_several in self.fields:
            alias, key = next((pair for pair in names if pair[1] in values), names[0])
            own[key] = alias
            if key in values:
                value = values.getlist(key) if has_several else values[key]
                if value or not is_list:
                    raw[alias] = value
        has_own = any(key in values for names, *_ in self.fields for _, key in names)
        raw |= self._others(values, own)
        if self.is_optional and not has_own and not (self.model.takes_others and raw):
            return self.convert(None, self.loc, errors)
        found: Errors = []
        value = self.convert(raw, self.loc, found)
        errors += [self._renamed(error, own) for error in found] if self.place == "header" else found
        return value

    def _others(self, values: Any, own: Mapping[str, str]) -> dict[str, Any]:
        """What came beside the model's fields, which the model ignores, takes or refuses."""
        taken = set(own)
        if self.place == "header":
            # A header whose name is the field's own, unconverted, is none of the others.
            taken = {key.lower() for key in own}
            taken |= {alias.lower() for names, *_ in self.fields for alias, key in names if alias != key}
        others: dict[str, list[Any]] = {}
        for key, value in values.multi_items() if hasattr(values, "multi_items") else values.items():
            if key not in taken:
                others.setdefault(key, []).append(value)
        return {key: found[0] if len(found) == 1 else found for key, found in others.items()}

    def _renamed(self, error: dict[str, Any], own: Mapping[str, str]) -> dict[str, Any]:
        """An error that names the header, as the client knows it, and not the field."""
        loc = error["loc"]
        names = {alias: key for key, alias in own.items()}
        if len(loc) < 2 or not self.model.loc_by_alias or loc[1] not in names:
            return error
        return {**error, "loc": (loc[0], names[loc[1]], *loc[2:])}
