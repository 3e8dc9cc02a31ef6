"""What is written at a parameter to say where its value comes from: `Depends`, `Path`, `Query`, `Header`, `Cookie`.

Functions that return `Any`, so that `user: User = Depends(get_user)` has the type of the user.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from trunkline.exceptions import TrunklineError

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

Lifetime = Literal["connection", "message", "function"]
Place = Literal["path", "query", "header", "cookie"]

# FastAPI's name for what lives as long as the request.
_LIFETIMES: Mapping[str | None, Lifetime] = {
    None: "connection",
    "connection": "connection",
    "request": "connection",
    "function": "function",
    "message": "message",
}


class DependencyError(TrunklineError, TypeError):
    """Raised, when a route is made, for parameters and dependencies that could not be resolved on any connection."""


@dataclass(frozen=True, slots=True, eq=False)
class Dependency:
    """What `Depends` leaves at a parameter."""

    call: Callable[..., Any] | None
    use_cache: bool
    lifetime: Lifetime


class Constraints(TypedDict, total=False):
    """The options that `Path`, `Query`, `Header` and `Cookie` share."""

    gt: float
    ge: float
    lt: float
    le: float
    multiple_of: float
    allow_inf_nan: bool
    max_digits: int
    decimal_places: int
    min_length: int
    max_length: int
    pattern: str | re.Pattern[str]
    strict: bool
    discriminator: Any
    union_mode: Literal["smart", "left_to_right"]
    fail_fast: bool
    validate_default: bool
    validation_alias: Any
    serialization_alias: str
    alias_priority: int
    title: str
    description: str
    examples: Sequence[Any]
    deprecated: bool | str
    include_in_schema: bool
    openapi_examples: Mapping[str, Any]
    json_schema_extra: Mapping[str, Any]


_NO_CONSTRAINTS = {
    "validate_default", "validation_alias", "serialization_alias", "alias_priority", "title", "description", "examples",
    "deprecated", "include_in_schema", "openapi_examples", "json_schema_extra",
}  # fmt: skip

# FastAPI's names of old, which it warns of.
_RENAMED = {"regex": "pattern=...", "example": "examples=[...]"}


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """What `Path`, `Query`, `Header` or `Cookie` leave at a parameter; `default` is `...` for one that is required."""

    place: Place
    default: Any = ...
    default_factory: Callable[[], Any] | None = None
    alias: str | None = None
    convert_underscores: bool = False
    options: Mapping[str, Any] | None = None

    @property
    def constraints(self) -> dict[str, Any]:
        """What narrows the value, without what only describes it."""
        return {name: value for name, value in (self.options or {}).items() if name not in _NO_CONSTRAINTS}

    @property
    def validation_alias(self) -> Any:
        """pydantic's word for the name or names, which goes before `alias`; None where it is not said."""
        return (self.options or {}).get("validation_alias")

    @property
    def validates_default(self) -> bool:
        """Whether a default is validated too."""
        return bool((self.options or {}).get("validate_default"))


def is_marker(value: object) -> bool:
    """Whether something is what one of the functions below returns."""
    return isinstance(value, Dependency | Parameter)


def Depends(
    dependency: Callable[..., Any] | None = None,
    *,
    use_cache: bool = True,
    scope: Literal["connection", "request", "function", "message"] | None = None,
) -> Any:
    """Give a parameter what a function returns, whose own parameters are resolved in the same way.

        async def get_user(token: Annotated[str, Header()]) -> User: ...

        @app.websocket("/feed")
        async def feed(websocket: WebSocket, user: Annotated[User, Depends(get_user)]) -> None: ...

    A function with one `yield` gives what it yields, and goes on when its scope ends: also after an error, which is
    raised at the `yield`, after a disconnect and after a cancellation.

    Args:
        dependency: A function, async or not, a class or any other callable; the parameter's own class if left out.
            What is not async runs in a worker thread.
        use_cache: Whether all who depend on it on one connection get one value.
        scope: How long it lives. `"connection"`, the default, and FastAPI's `"request"`: as long as the connection,
            or until the response has been sent. `"function"`: until the endpoint has returned. `"message"`: around one
            message of a listener.

    Raises:
        DependencyError: The dependency cannot be called, or there is no such scope.
    """
    if dependency is not None and not callable(dependency):
        raise DependencyError(f"Depends takes a function or a class, but got {_shown(dependency)}")
    if scope not in _LIFETIMES:
        raise DependencyError(
            f'the scope of a dependency is "connection", "function" or "message", but got {scope!r} for {dependency!r}'
        )
    return Dependency(dependency, use_cache, _LIFETIMES[scope])


def _shown(dependency: object) -> str:
    if not inspect.iscoroutine(dependency):
        return f"{dependency!r}; write Depends(function), without calling it"
    dependency.close()
    return f"a coroutine; write Depends({dependency.__name__}), without calling it"


def Path(
    default: Any = ...,
    *,
    alias: str | None = None,
    **options: Unpack[Constraints],
) -> Any:
    """Give a parameter a part of the path.

    Args:
        default: `...` only: a path has all of its parameters.
        alias: The name in the path, where it is not the parameter's.
        options: Constraints and descriptions, as pydantic's `Field` takes them: `ge`, `le`, `min_length`, `pattern`,
            `title`, ...; `validation_alias` with `AliasChoices` gives it several names.

    Raises:
        DependencyError: A default is given, or an option is none.
    """
    if default is not ...:
        raise DependencyError(f"a path has all of its parameters, so Path takes no default, but got {default!r}")
    return _parameter("path", ..., None, alias, False, options)


def Query(
    default: Any = ...,
    *,
    default_factory: Callable[[], Any] | None = None,
    alias: str | None = None,
    **options: Unpack[Constraints],
) -> Any:
    """Give a parameter a value of the query string, or all values of one name where its type is a list.

    Args:
        default: What it is when it does not come; left out or `...`, it must come.
        default_factory: Makes that value anew each time.
        alias: The name in the query string, where it is not the parameter's.
        options: Constraints and descriptions, as pydantic's `Field` takes them: `ge`, `le`, `min_length`, `pattern`,
            `title`, ...; `validation_alias` with `AliasChoices` gives it several names.

    Raises:
        DependencyError: Both a default and a factory are given, or an option is none.
    """
    return _parameter("query", default, default_factory, alias, False, options)


def Header(
    default: Any = ...,
    *,
    default_factory: Callable[[], Any] | None = None,
    alias: str | None = None,
    convert_underscores: bool = True,
    **options: Unpack[Constraints],
) -> Any:
    """Give a parameter the value of a header, or all values of one name where its type is a list.

    Args:
        default: What it is when it does not come; left out or `...`, it must come.
        default_factory: Makes that value anew each time.
        alias: The name of the header, where it is not the parameter's.
        convert_underscores: Whether `user_agent` means the header `user-agent`.
        options: Constraints and descriptions, as pydantic's `Field` takes them: `ge`, `le`, `min_length`, `pattern`,
            `title`, ...; `validation_alias` with `AliasChoices` gives it several names.

    Raises:
        DependencyError: Both a default and a factory are given, or an option is none.
    """
    return _parameter("header", default, default_factory, alias, convert_underscores, options)


def Cookie(
    default: Any = ...,
    *,
    default_factory: Callable[[], Any] | None = None,
    alias: str | None = None,
    **options: Unpack[Constraints],
) -> Any:
    """Give a parameter the value of a cookie.

    Args:
        default: What it is when it does not come; left out or `...`, it must come.
        default_factory: Makes that value anew each time.
        alias: The name of the cookie, where it is not the parameter's.
        options: Constraints and descriptions, as pydantic's `Field` takes them: `ge`, `le`, `min_length`, `pattern`,
            `title`, ...; `validation_alias` with `AliasChoices` gives it several names.

    Raises:
        DependencyError: Both a default and a factory are given, or an option is none.
    """
    return _parameter("cookie", default, default_factory, alias, False, options)


def _parameter(
    place: Place,
    default: Any,
    default_factory: Callable[[], Any] | None,
    alias: str | None,
    convert_underscores: bool,
    options: Constraints,
) -> Parameter:
    unknown = sorted(options.keys() - Constraints.__annotations__.keys())
    if unknown:
        instead = _RENAMED.get(unknown[0])
        raise DependencyError(
            f"{place.capitalize()} has no option {unknown[0]!r}; "
            + (f"write {instead}" if instead else f"it takes {', '.join(Constraints.__annotations__)}")
        )
    if default is not ... and default_factory is not None:
        raise DependencyError(
            f"{place.capitalize()} takes a default or a default_factory, but got both: {default!r} and "
            f"{default_factory!r}"
        )
    given = {name: value for name, value in options.items() if value is not None}
    return Parameter(place, default, default_factory, alias, convert_underscores, given)
