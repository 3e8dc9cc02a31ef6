"""The ways to add a route by decorating its endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from trunkline.routing._listeners import ListenerRoute, StreamRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from trunkline.limits import Limits
    from trunkline.messages import MessageSettings
    from trunkline.middleware import Middleware
    from trunkline.routing._routes import BaseRoute
    from trunkline.types import ExceptionHandlers

Endpoint = TypeVar("Endpoint", bound="Callable[..., Any]")


class RouteDecorators:
    """Decorators that add a route to what they decorate."""

    add_route: Callable[..., None]
    add_websocket_route: Callable[..., None]
    _add: Callable[[BaseRoute], None]

    def route(
        self,
        path: str,
        methods: Collection[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
        *,
        dependencies: Sequence[Any] | None = None,
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint of a `Route`."""

        def decorate(endpoint: Endpoint) -> Endpoint:
            self.add_route(path, endpoint, methods, name, include_in_schema, dependencies=dependencies)
            return endpoint

        return decorate

    def websocket(
        self,
        path: str,
        name: str | None = None,
        *,
        messages: MessageSettings | None = None,
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint of a `WebSocketRoute`."""

        def decorate(endpoint: Endpoint) -> Endpoint:
            self.add_websocket_route(
                path,
                endpoint,
                name,
                messages=messages,
                dependencies=dependencies,
                limits=limits,
                exception_handlers=exception_handlers,
            )
            return endpoint

        return decorate

    websocket_route = websocket

    def listener(
        self,
        path: str,
        name: str | None = None,
        *,
        messages: MessageSettings | None = None,
        concurrency: int = 1,
        threaded: bool = False,
        middleware: Sequence[Middleware] | None = None,
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate a function that is called for each message; what it returns is the answer. asyncio only.

            @app.listener("/rooms/{room}")
            async def chat(message: Join | Say, room: str, user: Annotated[User, Depends(get_user)]) -> Said | None: ...

        The message is the parameter that must come and of which nothing says from where: it has neither a default nor
        a marker, and is neither the connection nor a part of the path. Its type is `str` for text, `bytes` for binary
        messages, or any type that the codec can decode. All other parameters are filled as those of any endpoint,
        before the connection is accepted; dependencies of the scope `"message"` around each message. The answer is
        sent: a `str` as text, `bytes` as binary, None not at all, all else as the codec encodes it. Messages of a
        connection are handled in order.

        A `def` function runs on the event loop: it must not block, and one that takes over 100 ms is warned about
        once. On our engine it is called straight from the read that brought the message.

        A class has a method for each kind of message, told apart by the annotation of the one parameter that it takes;
        their names begin with `on_`. There is an instance for each connection, and the parameters of `__init__` are
        filled as those of a function. `on_connect(self)` is called after accept, and what it returns is sent;
        `on_disconnect(self, close_code)` at the end.

        Args:
            path: Begins with a slash, or is empty for what the router's prefix says; `{name}` and `{name:convertor}`
                are parameters.
            name: For `url_for`; the name of the function or class if left out.
            messages: How messages are encoded, and what becomes of invalid ones; what the router or application says
                if left out.
            concurrency: How many messages of one connection are handled at once; their answers leave in the order of
                the messages all the same.
            threaded: Whether what is not async runs in a worker thread, not on the loop.
            middleware: Around this endpoint only; the first is the outermost.
            dependencies: A list of `Depends(function)`: solved before the listener's own, their values are not used.
            limits: Of its connections; what they do not say is said by the router and the application.
            exception_handlers: Functions or close codes, by exception class or HTTP status, as for any
                `WebSocketRoute`.

        Raises:
            CodecError: A codec cannot handle the messages.
            ValueError: The concurrency is less than 1.
        """

        def decorate(endpoint: Endpoint) -> Endpoint:
            route = ListenerRoute(
                path,
                endpoint,
                name=name,
                messages=messages,
                concurrency=concurrency,
                threaded=threaded,
                middleware=middleware,
                dependencies=dependencies,
                limits=limits,
                exception_handlers=exception_handlers,
            )
            self._add(route)
            return endpoint

        return decorate

    def stream(
        self,
        path: str,
        name: str | None = None,
        *,
        messages: MessageSettings | None = None,
        middleware: Sequence[Middleware] | None = None,
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate an async generator function: each value that it yields is sent. asyncio only.

            @app.stream("/prices/{symbol}")
            async def prices(symbol: str) -> AsyncIterator[Price]:
                while True:
                    yield await next_price(symbol)

        A `str` is sent as text, `bytes` as binary, None not at all, all else as the codec encodes it. The connection is
        closed with 1000 when the generator ends. When the client leaves, the generator is cancelled at once: its
        `finally` runs. What the client sends is dropped, unless a parameter is annotated `AsyncIterator[T]`: that
        gives the client's messages, of a type as for a listener. All other parameters are filled as those of any
        endpoint.

        Args:
            path: Begins with a slash, or is empty for what the router's prefix says; `{name}` and `{name:convertor}`
                are parameters.
            name: For `url_for`; the name of the function if left out.
            messages: How messages are encoded, and what becomes of invalid ones; what the router or application says
                if left out.
            middleware: Around this endpoint only; the first is the outermost.
            dependencies: A list of `Depends(function)`: solved before the stream's own, their values are not used.
            limits: Of its connections; what they do not say is said by the router and the application.
            exception_handlers: Functions or close codes, by exception class or HTTP status, as for any
                `WebSocketRoute`.

        Raises:
            CodecError: A codec cannot handle the messages that it takes.
        """

        def decorate(endpoint: Endpoint) -> Endpoint:
            route = StreamRoute(
                path,
                endpoint,
                name=name,
                messages=messages,
                middleware=middleware,
                dependencies=dependencies,
                limits=limits,
                exception_handlers=exception_handlers,
            )
            self._add(route)
            return endpoint

        return decorate

    def get(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint for GET and HEAD."""
        return self.route(path, ["GET"], name, dependencies=dependencies)

    def head(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint for HEAD."""
        return self.route(path, ["HEAD"], name, dependencies=dependencies)

    def post(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint for POST."""
        return self.route(path, ["POST"], name, dependencies=dependencies)

    def put(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint for PUT."""
        return self.route(path, ["PUT"], name, dependencies=dependencies)

    def patch(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint for PATCH."""
        return self.route(path, ["PATCH"], name, dependencies=dependencies)

    def delete(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint for DELETE."""
        return self.route(path, ["DELETE"], name, dependencies=dependencies)

    def options(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint for OPTIONS."""
        return self.route(path, ["OPTIONS"], name, dependencies=dependencies)
