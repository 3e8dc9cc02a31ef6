"""The application itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from trunkline._straight import passes
from trunkline.applications._lifespan import AppRouter, LifespanOwner
from trunkline.datastructures import State
from trunkline.middleware import Middleware
from trunkline.middleware.errors import ServerErrorMiddleware
from trunkline.middleware.exceptions import ExceptionMiddleware
from trunkline.middleware.handlers import handler_of, table_of
from trunkline.routing import RouteMethods
from trunkline.security import OriginMiddleware, OriginPolicy, TrustedProxies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.datastructures import URLPath
    from trunkline.limits import Limits
    from trunkline.messages import MessageSettings
    from trunkline.middleware import MiddlewareFactory
    from trunkline.routing import BaseRoute, Router
    from trunkline.types import ASGIApp, ExceptionHandler, ExceptionHandlers, Lifespan, Receive, Scope, Send

P = ParamSpec("P")
Handler = TypeVar("Handler", bound="Callable[..., Any]")

_UNHANDLED = (500, Exception)


class App(LifespanOwner, RouteMethods):
    """An application: an ASGI application made of routes.

        app = App()

        @app.websocket("/rooms/{room}")
        async def room(websocket: WebSocket) -> None:
            await websocket.accept()

    Args:
        debug: Answer a failed HTTP request with the traceback.
        routes: The routes at first.
        middleware: Around everything, for every connection; the first is the outermost. A middleware is a pure ASGI
            application, so that it serves WebSockets too.
        exception_handlers: By exception class or HTTP status; a handler gets the `Request` or `WebSocket` and the
            exception. A number is short for one that closes a WebSocket with this code. A function for `Exception` or
            500 answers HTTP requests that failed otherwise.
        lifespan: A function under `@contextlib.asynccontextmanager` that gets the application: what is before its
            `yield` runs at start-up, what is behind at shutdown. What it yields, a mapping, is the connections' state.
        origins: The web pages that may open a WebSocket (`trunkline.security`): `"same"` for the server's own, `"*"`
            for all, or a list such as `["same", "https://example.com", "https://*.example.com"]`. Left out, an App that
            is mounted in another one leaves it to that, and any other means `"same"`.
        trusted_proxies: Addresses and networks of proxies whose `X-Forwarded-Host` is believed in that check, and whose
            `X-Forwarded-For` is where connections are counted by address.
        dependencies: A list of `Depends(function)`: solved before those of each route, as `Router` says.
        limits: Of the connections of all routes, where those say nothing (`trunkline.limits`).
        messages: Those of the routes that say nothing of them, as `Router` says.

    Attributes:
        dependency_overrides: For tests: what is called instead of a dependency, by that dependency.

    Raises:
        DependencyError: A dependency could not be solved on one of the routes.
        RouteError: A route is not one of this framework, or two routes were given one name.
        TypeError: An exception handler cannot be one.
        ValueError: A close code of theirs may not be sent.
        CodecError: A codec of `messages` cannot handle the messages of a route.
        OriginSettingError: `origins` or `trusted_proxies` say nothing sensible.
    """

    def __init__(
        self,
        debug: bool = False,
        routes: Sequence[BaseRoute] | None = None,
        middleware: Sequence[Middleware] | None = None,
        exception_handlers: ExceptionHandlers | None = None,
        lifespan: Lifespan[Any] | None = None,
        *,
        origins: str | Sequence[str] | None = None,
        trusted_proxies: Sequence[str] = (),
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        messages: MessageSettings | None = None,
    ) -> None:
        super().__init__()
        self.debug = debug
        self.state = State()
        self.router: Router = AppRouter(
            self, routes, lifespan=lifespan, dependencies=dependencies, messages=messages, limits=limits
        )
        self.limits = self.router.limits
        self.dependencies = self.router.dependencies
        self.messages = messages
        self.dependency_overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.exception_handlers = dict(exception_handlers or {})
        table_of(exception_handlers)  # for its errors
        self.user_middleware = list(middleware or ())
        self.middleware_stack: ASGIApp | None = None
        # Read here for their errors: the stack is built when the first connection comes.
        OriginPolicy.of("same" if origins is None else origins)
        TrustedProxies.of(trusted_proxies)
        self._origins = origins
        self._trusted_proxies = trusted_proxies

    @passes
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stack = self.middleware_stack
        if stack is None:
            stack = self.middleware_stack = self.build_middleware_stack()
        if "app" in scope:
            await self.call_mounted(stack, scope, receive, send)
            return
        scope["app"] = self
        await stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """The router inside all middleware: errors, origins, the user's, exceptions."""
        handlers = dict(self.exception_handlers)
        unhandled = [handlers.pop(key) for key in _UNHANDLED if callable(handlers.get(key))]
        # What only passes through is entered by `call`: a coroutine less for every connection.
        router: ASGIApp = self.router.call if type(self.router) is AppRouter else self.router
        app: ASGIApp = ExceptionMiddleware(router, handlers=handlers, debug=self.debug)
        for cls, args, kwargs in reversed(self.user_middleware):
            app = cls(app, *args, **kwargs)
        app = OriginMiddleware(app, origins=self._origins, trusted_proxies=self._trusted_proxies).call
        return ServerErrorMiddleware(app, handler=unhandled[-1] if unhandled else None, debug=self.debug).call

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes, in the order in which they are tried. A list: append, insert, delete, replace."""
        return self.router.routes

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """The path of the first route that has this name and these parameters.

        Args:
            name: The name of the route; `mount:name` for one inside a mount that has a name.
            path_params: The parameters of its path.

        Raises:
            NoMatchFound: There is none.
        """
        return self.router.url_path_for(name, **path_params)

    def include_router(
        self,
        router: Router,
        prefix: str = "",
        *,
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        """Add copies of a router's routes, with their names, inside that router's middleware and exception handlers.

        Its lifespan runs inside this application's. Routes that are added to it later are not seen.

        Args:
            router: The router.
            prefix: What the copies' paths begin with: empty, or begins with a slash and does not end with one.
            dependencies: A list of `Depends(function)`: solved before those of the router.
            limits: What holds where the router and its routes say nothing.
            exception_handlers: Asked when those of the router have none.

        Raises:
            RouteError: The prefix is not one, or a route has no path to put it before.
            DependencyError: A dependency could not be solved on one of the routes.
            TypeError: An exception handler cannot be one.
        """
        self.router.include_router(
            router, prefix, dependencies=dependencies, limits=limits, exception_handlers=exception_handlers
        )

    def add_middleware(self, middleware_class: MiddlewareFactory[P], *args: P.args, **kwargs: P.kwargs) -> None:
        """Put a middleware around all others so far.

        Args:
            middleware_class: The class, or a function with the same parameters: the application first.
            args: Further positional arguments.
            kwargs: Keyword arguments.

        Raises:
            RuntimeError: The application has started.
        """
        self._check_not_started("add middleware")
        self.user_middleware.insert(0, Middleware(middleware_class, *args, **kwargs))

    def add_exception_handler(
        self, exc_class_or_status_code: int | type[Exception], handler: ExceptionHandler | int
    ) -> None:
        """Register a handler for an exception class and those below it, or for an HTTP status.

        Args:
            exc_class_or_status_code: For example `ValueError`, or 404.
            handler: `async def` or `def` (run in a worker thread) with two parameters, the `Request` or `WebSocket`
                and the exception; or a close code.

        Raises:
            TypeError: The key is neither, or the handler cannot be called.
            ValueError: The close code may not be sent.
            RuntimeError: The application has started.
        """
        self._check_not_started("add an exception handler")
        handler_of(exc_class_or_status_code, handler)
        self.exception_handlers[exc_class_or_status_code] = handler

    def exception_handler(self, exc_class_or_status_code: int | type[Exception]) -> Callable[[Handler], Handler]:
        """Decorate a handler for an exception class and those below it, or for an HTTP status.

        Args:
            exc_class_or_status_code: For example `ValueError`, or 404.
        """

        def decorate(handler: Handler) -> Handler:
            self.add_exception_handler(exc_class_or_status_code, handler)
            return handler

        return decorate

    def _check_not_started(self, what: str) -> None:
        if self.middleware_stack is not None:
            raise RuntimeError(f"Cannot {what} after an application has started")
