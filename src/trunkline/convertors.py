"""Convertors: how a parameter of a path is written in a URL, and what the endpoint gets for it.

`{id:int}` in a path names a parameter and its convertor; without one, `str` is meant.
"""

from __future__ import annotations

import math
import re
import uuid
from typing import Any, ClassVar, Generic, TypeVar

from trunkline.exceptions import TrunklineError

__all__ = [
    "CONVERTOR_TYPES",
    "Convertor",
    "FloatConvertor",
    "IntegerConvertor",
    "ParameterError",
    "PathConvertor",
    "StringConvertor",
    "UUIDConvertor",
    "register_url_convertor",
]

T = TypeVar("T")


class ParameterError(TrunklineError, ValueError, AssertionError):
    """Raised for a value that cannot stand in a URL as the parameter it is given for.

    An `AssertionError` too, because the reference implementation raises that.
    """


class Convertor(Generic[T]):
    """Translates one path parameter between its text in the URL and a Python value.

    Attributes:
        regex: The regular expression that the text matches, without named groups.
    """

    regex: ClassVar[str] = ""

    def convert(self, value: str) -> T:
        """The value for a text that matched `regex`; a `ValueError` means that the route does not match."""
        raise NotImplementedError

    def to_string(self, value: T) -> str:
        """The text for a value, as it stands in the URL."""
        raise NotImplementedError


class StringConvertor(Convertor[str]):
    """`str`: one segment of the path, not empty."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        text = str(value)
        if not text:
            raise ParameterError("a str parameter of a path must not be empty; use a route without it")
        if "/" in text:
            raise ParameterError(f"a str parameter of a path is one segment without '/', but got {text!r}; use path")
        return text


class PathConvertor(Convertor[str]):
    """`path`: the rest of the path, with its slashes; may be empty."""

    regex = ".*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return str(value)


class IntegerConvertor(Convertor[int]):
    """`int`: decimal digits, no sign."""

    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        number = int(value)
        if number < 0:
            raise ParameterError(f"an int parameter of a path has no sign, but got {number}")
        return str(number)


class FloatConvertor(Convertor[float]):
    """`float`: decimal digits with or without a fraction; no sign, no exponent."""

    regex = r"[0-9]+(\.[0-9]+)?"

    def convert(self, value: str) -> float:
        return float(value)

    def to_string(self, value: float) -> str:
        number = float(value)
        if not math.isfinite(number) or number < 0:
            raise ParameterError(f"a float parameter of a path is a number of at least 0, but got {number}")
        return f"{number:.20f}".rstrip("0").rstrip(".")


class UUIDConvertor(Convertor[uuid.UUID]):
    """`uuid`: 32 hexadecimal digits, with or without the four hyphens."""

    regex = "-?".join(f"[0-9a-fA-F]{{{digits}}}" for digits in (8, 4, 4, 4, 12))

    def convert(self, value: str) -> uuid.UUID:
        return uuid.UUID(value)

    def to_string(self, value: uuid.UUID) -> str:
        return str(value)


CONVERTOR_TYPES: dict[str, Convertor[Any]] = {
    "str": StringConvertor(),
    "path": PathConvertor(),
    "int": IntegerConvertor(),
    "float": FloatConvertor(),
    "uuid": UUIDConvertor(),
}


def register_url_convertor(key: str, convertor: Convertor[Any]) -> None:
    """Make a convertor known to the routes made from now on.

    Args:
        key: Its name in paths: `{parameter:key}`.
        convertor: An instance, not the class.

    Raises:
        TypeError: A class came where an instance is wanted.
        ValueError: The key or the regular expression cannot be used in a path.
    """
    if isinstance(convertor, type):
        raise TypeError(f"an instance of a convertor is expected, but a class came; write {convertor.__name__}()")
    if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", key):
        raise ValueError(f"a convertor's key is letters, digits and '_', not beginning with a digit, but got {key!r}")
    try:
        re.compile(convertor.regex)
    except re.error as error:
        raise ValueError(f"the regex of convertor {key!r} is not valid: {error}") from error
    CONVERTOR_TYPES[key] = convertor
