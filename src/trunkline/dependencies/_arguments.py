"""What one parameter of an endpoint or a dependency is to be filled with: the rules, which are FastAPI's.

In this order: what is marked with `Depends`, `Path`, `Query`, `Header` or `Cookie`, in `Annotated` or as the default;
what is known by its type (the connection, its `State`, `BackgroundTasks`); what has the name of a path parameter; any
other scalar is a query parameter.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin

from trunkline.background import BackgroundTasks
from trunkline.datastructures import State
from trunkline.dependencies._fields import Field, GroupField
from trunkline.dependencies._markers import Dependency, DependencyError, Parameter, is_marker
from trunkline.dependencies._pydantic import (
    UnknownType,
    is_field,
    is_json,
    is_scalar,
    is_sequence_of_scalars,
    model_of,
    options_of,
)
from trunkline.dependencies._signatures import EMPTY, Unresolved, described
from trunkline.requests import HTTPConnection, Request
from trunkline.responses import Response
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from trunkline.dependencies._signatures import Given

BASES: Mapping[str, type[Any]] = {"http": Request, "websocket": WebSocket}
_OTHER = {"http": "WebSocket", "websocket": "Request"}
_ROUTES = {"http": "an HTTP route", "websocket": "a WebSocket route"}


class Needs(NamedTuple):
    """Filled with what another call gives."""

    name: str
    call: Callable[..., Any]
    marker: Dependency


class Special(NamedTuple):
    """Filled with something of the connection, which `get` finds in the solution.

    Attributes:
        connection: The class that the connection must have for it.
    """

    name: str
    get: Callable[[Any], Any]
    connection: type[Any] | None = None


def _the_connection(solution: Any) -> Any:
    return solution.connection


def _the_state(solution: Any) -> Any:
    return solution.connection.state


def _the_tasks(solution: Any) -> Any:
    return solution.background_tasks()


def argument(
    given: Given, call: Callable[..., Any], protocol: str, path_names: Collection[str]
) -> Needs | Special | Field | None:
    """What fills a parameter; None for one that keeps its default.

    Args:
        given: The parameter.
        call: Whose it is.
        protocol: `"http"` or `"websocket"`.
        path_names: The names of the path's parameters.

    Raises:
        DependencyError: Nothing can fill it.
    """
    if given.is_starred:
        raise _error(given, call, "takes any number of values; name each parameter that is to be filled")
    if given.kind is given.kind.POSITIONAL_ONLY:
        raise _error(given, call, "can only be given by position; remove the `/`")
    if isinstance(given.annotation, Unresolved) and not isinstance(given.default, Dependency):
        raise _unresolved(given, call)
    annotation = Any if given.annotation is EMPTY else given.annotation
    marker = _marker(given, call, annotation)
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if isinstance(marker, Dependency):
        return _needs(given, call, marker, bare)
    by_type = None if marker else _by_type(given, call, bare, protocol)
    if by_type is not None:
        return by_type[0]
    return _field(given, call, annotation, bare, marker, path_names)


def is_left_to_caller(given: Given, call: Callable[..., Any], path_names: Collection[str]) -> bool:
    """Whether a parameter of a WebSocket endpoint must come, and nothing in it says from where.

    Args:
        given: The parameter.
        call: Whose it is.
        path_names: The names of the path's parameters.

    Raises:
        DependencyError: Its annotation cannot be resolved, or is a type of Starlette's.
    """
    if given.is_starred or given.default is not EMPTY or given.name in path_names:
        return False
    if isinstance(given.annotation, Unresolved):
        raise _unresolved(given, call)
    annotation = given.annotation
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return _marker(given, call, annotation) is None and _by_type(given, call, bare, "websocket") is None


def _error(given: Given, call: Callable[..., Any], words: str) -> DependencyError:
    return DependencyError(f"the parameter {given.name!r} of {described(call)} {words}")


def _unresolved(given: Given, call: Callable[..., Any]) -> DependencyError:
    text, error = given.annotation
    return _error(
        given,
        call,
        f"has the annotation {text!r}, which cannot be resolved ({error}): under `from __future__ import annotations` "
        "its names must stand in the module at run time, not under `if TYPE_CHECKING:` and not inside a function",
    )


def _marker(given: Given, call: Callable[..., Any], annotation: Any) -> Dependency | Parameter | None:
    metadata = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    for value in (*metadata, given.default):
        if type(value).__module__.startswith("fastapi."):
            raise _error(
                given, call, f"is marked with FastAPI's {value!r}; import {type(value).__name__} from trunkline"
            )
    found = next(filter(is_marker, reversed(metadata)), None)
    if not is_marker(given.default):
        if is_field(given.default):
            raise _error(given, call, "has pydantic's Field as its default; write Query, Header, Cookie or Path")
        return _with_default(given, call, found)
    if found is not None:
        raise _error(given, call, "is marked twice, in Annotated and as the default; leave one of them out")
    default: Dependency | Parameter = given.default
    return default


def _with_default(given: Given, call: Callable[..., Any], marker: Any) -> Dependency | Parameter | None:
    """A marker in `Annotated`, with the parameter's default, which stands behind the `=` there."""
    if not isinstance(marker, Parameter):
        return marker if isinstance(marker, Dependency) else None
    if marker.default is not ...:
        raise _error(given, call, f"has a default inside Annotated; write `= {marker.default!r}` behind it")
    if given.default is EMPTY or given.default is ...:
        return marker
    if marker.place == "path":
        raise _error(given, call, f"has the default {given.default!r}, but a path has all of its parameters")
    if marker.default_factory is not None:
        raise _error(given, call, "has a default and a default_factory; leave one of them out")
    return dataclasses.replace(marker, default=given.default)


def _needs(given: Given, call: Callable[..., Any], marker: Dependency, bare: Any) -> Needs:
    dependency = bare if marker.call is None else marker.call
    if isinstance(dependency, Unresolved):
        raise _unresolved(given, call)
    if not callable(dependency) or dependency is Any:
        raise _error(given, call, "has Depends() without a function and no class as its annotation; name one of them")
    return Needs(given.name, dependency, marker)


def _by_type(given: Given, call: Callable[..., Any], bare: Any, protocol: str) -> tuple[Special | None] | None:
    """What a parameter is filled with because of its type, in a tuple; None if the type says nothing."""
    options = [option for option in options_of(bare) if option is not type(None)]
    if len(options) != 1:
        return None
    cls = get_origin(options[0]) or options[0]
    if not isinstance(cls, type):
        return None
    if cls is State:
        return (Special(given.name, _the_state),)
    if cls is BackgroundTasks:
        return (Special(given.name, _the_tasks),)
    if issubclass(cls, HTTPConnection):
        return (_connection(given, call, cls, protocol),)
    if cls.__module__.startswith(("starlette.", "fastapi.")):
        raise _error(given, call, f"is a {cls.__name__} of {cls.__module__}; import it from trunkline")
    return None


def _connection(given: Given, call: Callable[..., Any], cls: type[Any], protocol: str) -> Special | None:
    base = BASES[protocol]
    if issubclass(base, cls) or issubclass(cls, base):
        return Special(given.name, _the_connection, cls if issubclass(cls, base) else base)
    if not issubclass(cls, Request | WebSocket):  # what a program has derived from HTTPConnection alone
        return Special(given.name, lambda solution: cls(solution.connection.scope), base)
    if given.default is not EMPTY:
        return None
    raise _error(
        given,
        call,
        f"is a {_OTHER[protocol]}, which {_ROUTES[protocol]} does not have; take an HTTPConnection, which serves both, "
        "or give the parameter a default",
    )


def _field(
    given: Given,
    call: Callable[..., Any],
    annotation: Any,
    bare: Any,
    marker: Parameter | None,
    path_names: Collection[str],
) -> Field:
    in_path = given.name in path_names
    if in_path and marker is not None and marker.place != "path":
        raise _error(given, call, f"is a part of the path and cannot be a {marker.place} parameter; rename one of them")
    if marker is None:
        marker = _unmarked(given, call, bare, in_path)
    if is_json(annotation):
        bare = str  # that is what comes, whatever is in it
    try:
        _check_shape(given, call, bare, marker)
        model = None if marker.place == "path" else model_of(bare)
        if model is not None:
            return GroupField(given.name, annotation, marker, model)
        return Field(given.name, annotation, marker)
    except UnknownType as error:
        raise _error(
            given,
            call,
            f"has the type {bare!r}, of which no value can be made: {error}; mark it with Depends if a function makes "
            "it",
        ) from error


def _unmarked(given: Given, call: Callable[..., Any], bare: Any, in_path: bool) -> Parameter:
    if in_path:
        return Parameter("path")
    if isinstance(bare, type) and issubclass(bare, Response):
        raise _error(given, call, f"is a {bare!r}, but a Response is returned, not taken; return one with its headers")
    if not is_scalar(bare):
        raise _error(
            given,
            call,
            f"is a {bare!r}, which FastAPI would take from the body. Bodies are not parsed here: in an HTTP endpoint "
            "take the Request and await request.json(), on a WebSocket receive it as a message; mark it with Query, "
            "Header or Cookie if it comes from there, with Depends if a function makes it",
        )
    return Parameter("query", ... if given.default is EMPTY else given.default)


def _check_shape(given: Given, call: Callable[..., Any], bare: Any, marker: Parameter) -> None:
    if marker.place == "path" and not is_scalar(bare):
        raise _error(given, call, f"is a part of the path, which is a scalar, but its type is {bare!r}")
    if marker.place == "query" and not (is_scalar(bare) or is_sequence_of_scalars(bare) or model_of(bare)):
        raise _error(given, call, f"is a query parameter: a scalar, a list of scalars or a model, but is {bare!r}")
