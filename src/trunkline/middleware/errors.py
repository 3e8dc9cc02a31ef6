"""The answer to an exception that nobody handled."""

from __future__ import annotations

import html
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trunkline.middleware.handlers import call_handler
from trunkline.requests import Request
from trunkline.responses import HTMLResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trunkline.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

__all__ = ["ServerErrorMiddleware"]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }}
h1 {{ font-size: 1.25rem; overflow-wrap: anywhere; white-space: pre-wrap }}
pre {{ background: #f4f4f5; border-radius: .5rem; color: #18181b; overflow-x: auto; padding: 1rem }}
</style>
</head>
<body>
<h1>{title}</h1>
<pre>{traceback}</pre>
<p>This page is shown because the application runs with <code>debug=True</code>.</p>
</body>
</html>
"""


class ServerErrorMiddleware:
    """Answers an HTTP request whose handling failed with a 500, and raises on; the outermost middleware of an `App`.

    The exception is raised on so that the server logs it, once. Other scopes pass through: a WebSocket is ended by
    its route.

    Args:
        app: The application to wrap.
        handler: Makes the response, from the `Request` and the exception; not asked with `debug`.
        debug: Answer with the traceback: in HTML for a client that accepts it, else in plain text. Values of variables
            are never shown.
    """

    def __init__(self, app: ASGIApp, handler: ExceptionHandler | None = None, debug: bool = False) -> None:
        self.app = app
        self.handler = handler
        self.debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.call(scope, receive, send)

    def call(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """As `__call__`, without a coroutine of its own for what only passes through."""
        return (self._serve if scope["type"] == "http" else self.app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sender(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, sender)
        except Exception as exc:
            response = await self._response(Request(scope), exc)
            if not started:
                # A client that has gone must not hide the exception.
                with suppress(OSError):
                    await response(scope, receive, send)
            raise

    async def _response(self, request: Request[Any], exc: Exception) -> Response:
        if self.debug:
            return self.debug_response(request, exc)
        made = None if self.handler is None else await call_handler(self.handler, request, exc)
        return self.error_response(request, exc) if made is None else made

    def debug_response(self, request: Request[Any], exc: Exception) -> Response:
        """The traceback, as a page or as text.

        Args:
            request: Tells what the client accepts.
            exc: The exception.
        """
        lines = "".join(traceback.format_exception(exc))
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(_encoded(lines), status_code=500)
        title = "".join(traceback.format_exception_only(exc)).strip()
        page = _PAGE.format(title=html.escape(title), traceback=html.escape(lines))
        return HTMLResponse(_encoded(page), status_code=500)

    def error_response(self, request: Request[Any], exc: Exception) -> Response:
        """What a client may know: that it was us.

        Args:
            request: The request.
            exc: The exception, of which nothing is told.
        """
        return PlainTextResponse("Internal Server Error", status_code=500)


def _encoded(text: str) -> bytes:
    # A message may hold lone surrogates, of a file name for example; they must not hide the exception.
    return text.encode("utf-8", "backslashreplace")
