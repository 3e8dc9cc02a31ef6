"""Paths with parameters: read, compiled to a regular expression, filled in; and the path that a router looks at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline import convertors as _convertors
from trunkline.exceptions import TrunklineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.convertors import Convertor
    from trunkline.types import Scope

_PARAMETER = re.compile(r"{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?}")
_PLACEHOLDER = re.compile(r"{([a-zA-Z_][a-zA-Z0-9_]*)}")


class RouteError(TrunklineError, ValueError, AssertionError):
    """Raised for a route that cannot work, when it is made or added.

    An `AssertionError` too, because the reference implementation raises that for some of these.
    """


class PathPattern(NamedTuple):
    """A compiled path.

    Attributes:
        regex: What the whole path must match; a group for each parameter.
        format: The path with bare `{name}` placeholders.
        convertors: The convertor of each parameter.
        head: The literal text before the first parameter: all of the path if it has none.
    """

    regex: re.Pattern[str]
    format: str
    convertors: dict[str, Convertor[Any]]
    head: str


def parse_path(path: str) -> PathPattern:
    """Compile a path such as `/rooms/{room}/{id:int}`, or a host such as `{tenant}.example.org`.

    A host's port is left out of the expression (a route matches its host on any port), and its case does not matter
    (RFC 9110 section 4.2.3).

    Raises:
        RouteError: An unknown convertor, a parameter named twice, or braces that are no parameter.
    """
    parts = _PARAMETER.split(path)
    literals, names, kinds = parts[::3], parts[1::3], [kind or "str" for kind in parts[2::3]]
    _check_parameters(path, literals, names, kinds)
    found = {name: _convertors.CONVERTOR_TYPES[kind] for name, kind in zip(names, kinds, strict=True)}
    groups = [f"(?P<{name}>{convertor.regex})" for name, convertor in found.items()]
    format_ = _interleave(literals, [f"{{{name}}}" for name in names])
    is_host = not path.startswith("/")
    if is_host:
        literals[-1] = _without_port(literals[-1])
    pattern = _interleave([re.escape(literal) for literal in literals], groups)
    regex = re.compile(f"^{pattern}$", re.IGNORECASE if is_host else 0)
    return PathPattern(regex, format_, found, literals[0])


def _interleave(literals: list[str], between: list[str]) -> str:
    return literals[0] + "".join(piece + literal for piece, literal in zip(between, literals[1:], strict=True))


def _without_port(host: str) -> str:
    return host if host.endswith("]") else host.rsplit(":", 1)[0]


def _check_parameters(path: str, literals: list[str], names: list[str], kinds: list[str]) -> None:
    unknown = [kind for kind in kinds if kind not in _convertors.CONVERTOR_TYPES]
    if unknown:
        known = ", ".join(_convertors.CONVERTOR_TYPES)
        raise RouteError(
            f"Unknown path convertor '{unknown[0]}' at path {path}: there are {known}; "
            "add your own with register_url_convertor"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        ending = "s" if len(twice) > 1 else ""
        raise RouteError(f"Duplicated param name{ending} {', '.join(twice)} at path {path}; name each parameter once")
    if any(brace in literal for literal in literals for brace in "{}"):
        raise RouteError(
            f"a parameter is {{name}} or {{name:convertor}}, with letters, digits and '_' in both, but path {path} "
            "has other braces"
        )


def compile_path(path: str) -> tuple[re.Pattern[str], str, dict[str, Convertor[Any]]]:
    """The regular expression, the format with bare placeholders, and the convertors of a path or host."""
    pattern = parse_path(path)
    return pattern.regex, pattern.format, pattern.convertors


def replace_params(
    path: str, param_convertors: Mapping[str, Convertor[Any]], path_params: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Fill the placeholders of a path format.

    Returns:
        The path, where a placeholder without a value stays, and the values that had no placeholder.

    Raises:
        ParameterError: A value cannot stand in a URL as that parameter.
    """
    remaining = dict(path_params)

    def text(match: re.Match[str]) -> str:
        name = match[1]
        return param_convertors[name].to_string(remaining.pop(name)) if name in remaining else match[0]

    return _PLACEHOLDER.sub(text, path), remaining


def get_route_path(scope: Scope) -> str:
    """The part of the path behind the root path: what the routes of a router are compared with.

    `root_path` is part of `path` (ASGI spec, HTTP connection scope); a server that leaves it out is understood too.
    """
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    if not root_path or not path.startswith(root_path):
        return path
    rest = path[len(root_path) :]
    return rest if not rest or rest[0] == "/" else path
