"""Routes to what is called for each message, and to what sends what it yields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline._listeners._session import ListenerOptions, listener_app
from trunkline._listeners._stream import stream_app
from trunkline.messages import MessageSettings
from trunkline.routing._routes import WebSocketRoute, check_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.limits import Limits
    from trunkline.middleware import Middleware
    from trunkline.types import ASGIApp, ExceptionHandlers


class ListenerRoute(WebSocketRoute):
    """Leads WebSockets of one path to a function that is called for each message, or to a class with methods for them.

    Args:
        path: Begins with a slash, or is empty for what the router's prefix says; `{name}` and `{name:convertor}` are
            parameters.
        endpoint: The listener, as `Router.listener` says.
        name: For `url_for`; the name of the function or class if left out.
        messages: How messages are encoded, and what becomes of invalid ones; what the router or application says if
            left out.
        concurrency: How many messages of one connection are handled at once.
        threaded: Whether what is not async runs in a worker thread, not on the loop.
        middleware: Around this endpoint only; the first is the outermost.
        dependencies: A list of `Depends(function)`: solved before the listener's own, their values are not used.
        limits: Of its connections; what they do not say is said by the router and the application.
        exception_handlers: Functions or close codes, by exception class or HTTP status, as for any `WebSocketRoute`.

    Raises:
        RouteError: The path is not one.
        EndpointError: The endpoint cannot be a listener.
        DependencyError: A parameter of it, or of a dependency, could not be filled on any connection.
        CodecError: A codec cannot handle its messages.
        TypeError: An exception handler cannot be one.
        ValueError: The concurrency is less than 1, or a close code of a handler may not be sent.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        name: str | None = None,
        messages: MessageSettings | None = None,
        concurrency: int = 1,
        threaded: bool = False,
        middleware: Sequence[Middleware] | None = None,
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        check_path(path)
        self.endpoint = endpoint
        self.messages = messages
        self.options = ListenerOptions(concurrency, threaded)
        self._set_name(name)
        self._set_path(path)
        self._set_app(middleware, dependencies, limits, exception_handlers)

    def _endpoint_app(self, dependencies: Sequence[Any]) -> ASGIApp:
        messages = self.messages or MessageSettings()
        return listener_app(self.endpoint, self.param_convertors, dependencies, messages, self.options)


class StreamRoute(WebSocketRoute):
    """Leads WebSockets of one path to an async generator, whose values are sent.

    Args:
        path: Begins with a slash, or is empty for what the router's prefix says; `{name}` and `{name:convertor}` are
            parameters.
        endpoint: The async generator function, as `Router.stream` says.
        name: For `url_for`; the name of the function if left out.
        messages: How messages are encoded, and what becomes of invalid ones; what the router or application says if
            left out.
        middleware: Around this endpoint only; the first is the outermost.
        dependencies: A list of `Depends(function)`: solved before the stream's own, their values are not used.
        limits: Of its connections; what they do not say is said by the router and the application.
        exception_handlers: Functions or close codes, by exception class or HTTP status, as for any `WebSocketRoute`.

    Raises:
        RouteError: The path is not one.
        EndpointError: The endpoint cannot be a stream.
        DependencyError: A parameter of it, or of a dependency, could not be filled on any connection.
        CodecError: A codec cannot handle the messages that it takes.
        TypeError: An exception handler cannot be one.
        ValueError: A close code of theirs may not be sent.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        name: str | None = None,
        messages: MessageSettings | None = None,
        middleware: Sequence[Middleware] | None = None,
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        check_path(path)
        self.endpoint = endpoint
        self.messages = messages
        self._set_name(name)
        self._set_path(path)
        self._set_app(middleware, dependencies, limits, exception_handlers)

    def _endpoint_app(self, dependencies: Sequence[Any]) -> ASGIApp:
        messages = self.messages or MessageSettings()
        return stream_app(self.endpoint, self.param_convertors, dependencies, messages)
