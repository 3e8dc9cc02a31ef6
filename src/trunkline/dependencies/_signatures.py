"""What a callable takes: its parameters with resolved annotations, and how it is to be called."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.concurrency import is_async_callable
from trunkline.dependencies._markers import DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

EMPTY: Any = inspect.Parameter.empty
STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Unresolved(NamedTuple):
    """An annotation that is a string and names what cannot be found."""

    text: str
    error: Exception


class Given(NamedTuple):
    """A parameter as it is written; `annotation` and `default` may be `EMPTY`."""

    name: str
    annotation: Any
    default: Any
    kind: Any

    @property
    def is_starred(self) -> bool:
        return self.kind in STARRED


class Kind(Enum):
    """How the value of a dependency is had."""

    ASYNC = "a coroutine"
    SYNC = "a plain call"
    ASYNC_GENERATOR = "an asynchronous generator"
    GENERATOR = "a generator"


def without_partial(call: Any) -> Any:
    """The function inside `functools.partial`."""
    while isinstance(call, functools.partial):
        call = call.func
    return call


def described(call: Any) -> str:
    """A callable as messages name it: its name, and where it stands."""
    function = inspect.unwrap(without_partial(call))
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    code = getattr(_python_function(function), "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name


def _python_function(call: Any) -> Any:
    """The function whose parameters a call fills: of a class its `__init__`, of an object its `__call__`."""
    function = inspect.unwrap(without_partial(call))
    if isinstance(function, type):
        function = getattr(function, "__init__")  # noqa: B009 - mypy takes the attribute for an instance's
    elif not inspect.isroutine(function):
        function = type(function).__call__
    return inspect.unwrap(getattr(function, "__func__", function))


def makes_context_manager(call: Callable[..., Any]) -> bool:
    """Whether a function is a generator that `contextlib` has decorated."""
    code = getattr(without_partial(call), "__code__", None)
    return code is not None and code.co_filename == contextlib.__file__


def kind_of(call: Callable[..., Any]) -> Kind:
    """How a dependency is called. Of a decorated function the decorator's own kind counts, unless it has none."""
    for function in (without_partial(call), inspect.unwrap(without_partial(call))):
        if isinstance(function, type):
            return Kind.SYNC
        caller = function if inspect.isroutine(function) else type(function).__call__
        if inspect.isasyncgenfunction(caller):
            return Kind.ASYNC_GENERATOR
        if inspect.isgeneratorfunction(caller):
            return Kind.GENERATOR
        if is_async_callable(function):
            return Kind.ASYNC
    return Kind.SYNC


def parameters_of(call: Callable[..., Any]) -> list[Given]:
    """The parameters to be filled, without those that a `functools.partial` has bound by name.

    A decorator that takes anything (`*args, **kwargs`) has the parameters of what it wraps; any other its own.

    Raises:
        DependencyError: The callable has no signature.
    """
    bound: set[str] = set()
    function: Any = call
    while isinstance(function, functools.partial):
        bound |= function.keywords.keys()
        function = function.func
    try:
        signature = inspect.signature(call, follow_wrapped=False)
        while hasattr(function, "__wrapped__") and any(p.kind in STARRED for p in signature.parameters.values()):
            function = function.__wrapped__
            signature = inspect.signature(function, follow_wrapped=False)
    except ValueError as error:
        raise DependencyError(f"{call!r} does not tell its parameters; wrap it in a function that has some") from error
    names = _namespace(call)
    return [
        Given(p.name, _resolved(p.annotation, names), p.default, p.kind)
        for p in signature.parameters.values()
        if p.name not in bound
    ]


def _namespace(call: Any) -> dict[str, Any]:
    function = _python_function(call)
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    names = dict(getattr(function, "__globals__", None) or getattr(module, "__dict__", {}))
    cells = getattr(function, "__closure__", None)
    if cells:
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # a variable that has no value yet
                continue
    return names


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, names)
        except Exception as error:
            return Unresolved(annotation, error)
    while type(annotation).__name__ == "TypeAliasType":  # `type UserDep = Annotated[...]`, Python 3.12
        annotation = annotation.__value__
    return annotation
