"""The two forms of a listener, and what each is on one connection.

Of a function one parameter is the message, and the plan fills the others: those of the connection once, before accept,
those of a message around each call. Of a class the plan makes the instance, once for each connection; its methods take
the message alone.
"""

from __future__ import annotations

import inspect
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from trunkline.concurrency import is_async_callable, run_in_threadpool
from trunkline.dependencies._arguments import is_left_to_caller
from trunkline.dependencies._plan import Plan, Recipe
from trunkline.dependencies._signatures import EMPTY, described, parameters_of
from trunkline.endpoints import EndpointError, is_function
from trunkline.messages._shape import is_typed_dict, members
from trunkline.status import WS_1011_INTERNAL_ERROR

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from trunkline.dependencies._signatures import Given
    from trunkline.dependencies._solution import Solution
    from trunkline.websockets import WebSocket

__all__ = ["MESSAGE", "Bound", "Form", "call_maybe_async", "form_of", "say_goodbye"]

# The key under which a solution is given the message.
MESSAGE = "message"

_ENDS = ("on_connect", "on_disconnect")


class Bound(NamedTuple):
    """A listener on one connection.

    Attributes:
        call: What a message is handed to: what it returns is the answer, to be awaited unless the form is plain.
        solution: What the arguments for each message come from; None where `call` needs nothing but the message.
        on_connect: Called after accept; what it returns is sent.
        on_disconnect: Called with the close code at the end.
    """

    call: Callable[..., Any]
    solution: Solution | None = None
    on_connect: Callable[[], Any] | None = None
    on_disconnect: Callable[[int], Any] | None = None


class Form(Protocol):
    """What a listener is written as.

    Attributes:
        type: The type of its messages.
        plan: How its parameters are filled.
        is_plain: Whether it runs on the loop and awaits nothing.
    """

    type: Any
    plan: Plan
    is_plain: bool

    async def bind(self, solution: Solution) -> Bound:
        """Solve what belongs to a connection."""


def form_of(
    listener: Callable[..., Any], path_names: frozenset[str], dependencies: Sequence[Any], *, threaded: bool
) -> Form:
    """The form of a listener.

    Args:
        listener: The function or class.
        path_names: The names of the path's parameters.
        dependencies: What is solved before.
        threaded: Whether what is not async runs in a worker thread.

    Raises:
        EndpointError: It cannot be a listener.
        DependencyError: A parameter could not be filled on any connection.
    """
    if isinstance(listener, type):
        return ClassForm(listener, path_names, dependencies, threaded=threaded)
    if not is_function(listener):
        raise EndpointError(
            f"a listener is a function that takes a message, or a class, but got {listener!r}; "
            "write `def listener(message: str) -> str`"
        )
    return FunctionForm(listener, path_names, dependencies, threaded=threaded)


def _runner(function: Callable[..., Any], threaded: bool) -> tuple[Callable[..., Any], bool]:
    """How a function is called, and whether that is a plain call."""
    if is_async_callable(function):
        return function, False
    return (partial(run_in_threadpool, function), False) if threaded else (function, True)


def _check_no_generator(function: Callable[..., Any]) -> None:
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise EndpointError(
            f"a listener returns its answer, but {described(function)} is a generator; send several messages with "
            "websocket.send_message(), or write a stream"
        )


def _check_message(given: Given, function: Callable[..., Any]) -> None:
    if given.annotation is EMPTY:
        raise EndpointError(
            f"the parameter {given.name!r} of {described(function)} is the message, but has no annotation; write "
            f"`{given.name}: str` for text, `{given.name}: bytes` for binary messages, or a class of messages"
        )


class FunctionForm:
    """A function that is called for each message."""

    def __init__(
        self,
        function: Callable[..., Any],
        path_names: frozenset[str],
        dependencies: Sequence[Any],
        *,
        threaded: bool,
    ) -> None:
        _check_no_generator(function)
        given = _message_parameter(function, path_names)
        self.type = given.annotation
        self._is_first = parameters_of(function)[0] == given
        self._call, self.is_plain = _runner(function, threaded)
        claims = partial(_claim, given)
        self.plan = Plan(
            Recipe(function, tuple(dependencies), "websocket", path_names, is_listener=True, claims=claims)
        )

    async def bind(self, solution: Solution) -> Bound:
        """Solve what belongs to a connection."""
        arguments = await solution.solve()
        if not solution.plan.is_immediate:
            return Bound(self._call, solution)
        if not self._is_first:
            return Bound(partial(_call_by_name, self._call, solution))
        return Bound(partial(self._call, **arguments) if arguments else self._call)


def _call_by_name(call: Callable[..., Any], solution: Solution, message: Any) -> Any:
    return call(**solution.with_message({MESSAGE: message}))


def _message_parameter(function: Callable[..., Any], path_names: frozenset[str]) -> Given:
    """The one parameter of a function that only its messages can fill."""
    found = [given for given in parameters_of(function) if is_left_to_caller(given, function, path_names)]
    if not found:
        raise EndpointError(
            f"a listener takes a message, but no parameter of {described(function)} is one: write for example "
            "`message: str`, with an annotation, and with neither a default nor a marker"
        )
    if len(found) > 1:
        names = ", ".join(repr(given.name) for given in found)
        raise EndpointError(
            f"one parameter of a listener is the message, but {described(function)} has several that could be it: "
            f"{names}; mark the others with Query, Header, Cookie or Depends, or give them defaults"
        )
    (given,) = found
    _check_message(given, function)
    if given.kind is given.kind.POSITIONAL_ONLY:
        raise EndpointError(
            f"the message {given.name!r} of {described(function)} can only be given by position; remove the `/`"
        )
    return given


def _claim(message: Given, given: Given) -> str | None:
    """The message is claimed wherever it stands: also in a dependency of scope "message"."""
    is_it = (given.name, given.annotation, given.default) == (message.name, message.annotation, message.default)
    return MESSAGE if is_it else None


class ClassForm:
    """A class: an instance for each connection, and a method for each kind of message."""

    def __init__(
        self,
        cls: type[Any],
        path_names: frozenset[str],
        dependencies: Sequence[Any],
        *,
        threaded: bool,
    ) -> None:
        self._cls = cls
        self._threaded = threaded
        self._handlers = {name: _message_of(cls, name) for name in _handler_names(cls)}
        if not self._handlers:
            raise EndpointError(
                f"a listener class has a method for its messages, but {described(cls)} has none; write for example "
                "`def on_message(self, message: str) -> str`; the names of such methods begin with on_"
            )
        self._names = _dispatch(cls, self._handlers)
        for name, number in zip(_ENDS, (1, 2), strict=True):
            _check_end(cls, name, number)
        self.type = reduce(or_, self._handlers.values())
        runners = [_runner(getattr(cls, name), threaded) for name in self._handlers]
        self.is_plain = all(is_plain for _, is_plain in runners)
        self.plan = Plan(Recipe(cls, tuple(dependencies), "websocket", path_names))

    async def bind(self, solution: Solution) -> Bound:
        """Make the instance."""
        instance = self._cls(**await solution.solve())
        on_connect, on_disconnect = (getattr(instance, name, None) for name in _ENDS)
        calls = {name: self._caller(getattr(instance, name)) for name in self._handlers}
        if len(calls) == 1:
            (call,) = calls.values()
        else:
            call = partial(_call_by_class, {cls: calls[name] for cls, name in self._names.items()})
        return Bound(call, None, on_connect, on_disconnect)

    def _caller(self, method: Callable[..., Any]) -> Callable[..., Any]:
        call, is_plain = _runner(method, self._threaded)
        return partial(_awaitable, call) if is_plain and not self.is_plain else call


async def _awaitable(call: Callable[..., Any], message: Any) -> Any:
    """A plain method of a class that has others."""
    return call(message)


def _call_by_class(calls: Mapping[type, Callable[[Any], Any]], message: Any) -> Any:
    return next(calls[cls] for cls in type(message).__mro__ if cls in calls)(message)


def _handler_names(cls: type[Any]) -> list[str]:
    return [name for name in dir(cls) if name.startswith("on_") and name not in _ENDS and callable(getattr(cls, name))]


def _message_of(cls: type[Any], name: str) -> Any:
    """The type of the messages that a method takes."""
    method = getattr(cls, name)
    _check_no_generator(method)
    parameters = parameters_of(method)
    if len(parameters) != 2 or any(given.is_starred for given in parameters):
        raise EndpointError(
            f"a method of a listener class takes the message alone, but {described(method)} does not; write "
            f"`def {name}(self, message: ...)`, and take what belongs to the connection in __init__"
        )
    given = parameters[1]
    is_left_to_caller(given, method, ())  # for what it says of annotations that cannot be resolved
    _check_message(given, method)
    return given.annotation


def _check_end(cls: type[Any], name: str, number: int) -> None:
    method = getattr(cls, name, None)
    if method is not None and len(parameters_of(method)) != number:
        wanted = "self" if number == 1 else "self, close_code"
        raise EndpointError(f"write `def {name}({wanted})`, which {described(method)} is not")


def _dispatch(cls: type[Any], handlers: Mapping[str, Any]) -> dict[type, str]:
    """Which method takes the messages of which class."""
    if len(handlers) == 1:
        return {}
    names: dict[type, str] = {}
    for name, type_ in handlers.items():
        for kind in members(type_):
            if not isinstance(kind, type) or is_typed_dict(kind):
                raise EndpointError(
                    f"the methods of a listener class are told apart by the classes of their messages, but {name} of "
                    f"{described(cls)} takes {kind!r}, of which there are no instances; use a class, or one method"
                )
            if kind in names:
                raise EndpointError(
                    f"{names[kind]} and {name} of {described(cls)} both take {kind.__qualname__}; leave one of them out"
                )
            names[kind] = name
    return names


async def call_maybe_async(call: Callable[..., Any], *args: Any) -> Any:
    """Call a function that may be async or not."""
    result: Any | Awaitable[Any] = call(*args)
    return await result if inspect.isawaitable(result) else result


async def say_goodbye(websocket: WebSocket[Any], bound: Bound) -> None:
    """Tell a listener of the end: with the close code, or 1011 if the connection stands and the listener has failed."""
    if bound.on_disconnect is not None:
        end = websocket._close_info
        await call_maybe_async(bound.on_disconnect, WS_1011_INTERNAL_ERROR if end is None else end.code)
