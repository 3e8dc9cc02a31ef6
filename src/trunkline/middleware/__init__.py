"""Middleware: an ASGI application around another one, and the way it is listed before there is one to wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["Middleware"]

P = ParamSpec("P")


class MiddlewareFactory(Protocol[P]):
    """A class or function that takes the application to wrap and gives the application around it.

    Typed loosely, so that middleware written against any framework's ASGI types fits.
    """

    def __call__(
        self, app: Callable[[Any, Any, Any], Awaitable[None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Callable[[Any, Any, Any], Awaitable[None]]: ...


class Middleware:
    """A middleware with its arguments, to be built when the application is known.

    Unpacks as `(cls, args, kwargs)`.

    Args:
        cls: The middleware class, or a function with the same parameters: the application first.
        args: Further positional arguments.
        kwargs: Keyword arguments.
    """

    __slots__ = ("args", "cls", "kwargs")

    def __init__(self, cls: MiddlewareFactory[P], *args: P.args, **kwargs: P.kwargs) -> None:
        self.cls: MiddlewareFactory[Any] = cls
        self.args = args
        self.kwargs = kwargs

    def __iter__(self) -> Iterator[Any]:
        return iter((self.cls, self.args, self.kwargs))

    def __repr__(self) -> str:
        parts = [
            getattr(self.cls, "__name__", ""),
            *(repr(value) for value in self.args),
            *(f"{name}={value!r}" for name, value in self.kwargs.items()),
        ]
        return f"{type(self).__name__}({', '.join(parts)})"
