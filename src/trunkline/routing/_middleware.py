"""Middleware around one route, one mount or one router."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.middleware import Middleware
    from trunkline.types import ASGIApp, Receive, Scope, Send


def wrap_middleware(app: ASGIApp, middleware: Sequence[Middleware] | None) -> ASGIApp:
    """The application inside its middleware; the first is the outermost."""
    for cls, args, kwargs in reversed(middleware or ()):
        app = cls(app, *args, **kwargs)
    return app


_INNER = "trunkline.included"


class SharedMiddleware:
    """A router's middleware around each of its routes that were included elsewhere.

    One instance of each middleware for all of them, as in the router itself, so that one that counts or limits does
    so for the whole; the application inside is handed through the scope.
    """

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._stack = wrap_middleware(self._inner, middleware) if middleware else None

    async def _inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope[_INNER](scope, receive, send)

    def around(self, app: ASGIApp) -> ASGIApp:
        if self._stack is None:
            return app
        stack = self._stack

        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            await stack({**scope, _INNER: app}, receive, send)

        return wrapped
