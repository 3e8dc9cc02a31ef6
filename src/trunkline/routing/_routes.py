"""What a route is, and the two that lead to an endpoint."""

from __future__ import annotations

import copy
import difflib
import enum
import functools
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from trunkline._injection import endpoint_app, guarded
from trunkline.datastructures import URLPath
from trunkline.endpoints import (
    check_http_endpoint,
    check_speaks,
    check_websocket_endpoint,
    get_name,
    is_function,
    method_not_allowed,
)
from trunkline.exceptions import TrunklineError
from trunkline.limits._app import limited
from trunkline.limits._guards import guards_of
from trunkline.limits._limits import NO_LIMITS
from trunkline.middleware.exceptions import handled
from trunkline.responses import PlainTextResponse
from trunkline.routing._middleware import wrap_middleware
from trunkline.routing._paths import PathPattern, RouteError, get_route_path, parse_path, replace_params
from trunkline.websockets import WebSocketClose

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence

    from trunkline.convertors import Convertor
    from trunkline.limits import Limits
    from trunkline.messages import MessageSettings
    from trunkline.middleware import Middleware
    from trunkline.types import ASGIApp, ExceptionHandlers, Receive, Scope, Send

    Wrap = Callable[[ASGIApp], ASGIApp]


class Match(enum.Enum):
    """How well a route fits a scope: not, all but the HTTP method, or wholly."""

    NONE = 0
    PARTIAL = 1
    FULL = 2


# Local names, because looking a member up in its class costs as much as the rest of a short match.
NONE, PARTIAL, FULL = Match


class NoMatchFound(TrunklineError):
    """Raised by `url_for` and `url_path_for` where there is no route of that name with those parameters.

    Args:
        name: The name that was asked for.
        path_params: The parameters that were given.
        routes: Where it was looked for; the message tells what comes close.

    Where Starlette is loaded too, an instance is also its `NoMatchFound`: a Starlette or FastAPI application that
    mounts ours asks our routes in turn, and goes on to the next only at its own exception.
    """

    def __new__(cls, name: str, path_params: dict[str, Any], routes: Sequence[BaseRoute] = ()) -> NoMatchFound:
        theirs = _starlettes()
        return super().__new__(_both(theirs) if theirs is not None and cls is NoMatchFound else cls)

    def __init__(self, name: str, path_params: dict[str, Any], routes: Sequence[BaseRoute] = ()) -> None:
        Exception.__init__(self, name, path_params)
        self.name = name
        self.path_params = path_params
        self.routes = routes

    def __str__(self) -> str:
        return f'No route exists for name "{self.name}" and params "{", ".join(self.path_params)}".{self._hint()}'

    def _hint(self) -> str:
        known = dict(named_routes(self.routes))
        if self.name in known:
            return f' The route of that name takes params "{", ".join(known[self.name])}".'
        close = difflib.get_close_matches(self.name, known, n=3, cutoff=0.5)
        if close:
            return f" Close to it: {', '.join(close)}."
        return f" There are: {', '.join(list(known)[:10])}." if known else ""


def _starlettes() -> Any:
    return getattr(sys.modules.get("starlette.routing"), "NoMatchFound", None)


@functools.cache
def _both(theirs: Any) -> type[NoMatchFound]:
    return type("NoMatchFound", (NoMatchFound, theirs), {"__module__": NoMatchFound.__module__})


def misses() -> tuple[type[Exception], ...]:
    """What a route raises that does not have a name: ours, and Starlette's where it is loaded."""
    theirs = _starlettes()
    return (NoMatchFound,) if theirs is None else (NoMatchFound, theirs)


def named_routes(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """The names that `url_path_for` understands, with the parameters of each, also those inside mounts and hosts."""
    for route in routes:
        name = getattr(route, "name", None)
        if name:
            yield prefix + name, list(getattr(route, "param_convertors", ()))
        yield from named_routes(getattr(route, "routes", ()), f"{prefix}{name}:" if name else prefix)


class BaseRoute:
    """A place that a connection can be led to. Subclass it for a way of matching of your own."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """How well this route fits, and what is to be set in the scope for it."""
        raise NotImplementedError

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """The path that leads here.

        Raises:
            NoMatchFound: This route has another name or other parameters.
        """
        raise NotImplementedError

    def with_prefix(
        self, prefix: str, wrap: Wrap, dependencies: Sequence[Any] = (), limits: Limits = NO_LIMITS
    ) -> BaseRoute:
        """A copy below `prefix`, its application wrapped, with dependencies before its own, within limits.

        Raises:
            RouteError: This kind of route cannot be copied so.
        """
        raise RouteError(
            f"only Route, WebSocketRoute, Mount and Host can be included or have a prefix, dependencies and limits, "
            f"but got {self!r}; mount its router, or give it all these itself"
        )

    def with_messages(self, messages: MessageSettings) -> BaseRoute:
        """A copy that speaks typed messages so, if it does not say how; the route itself where that means nothing."""
        return self

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a connection that this route fits. An `async def` in a subclass, as usual."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI application of one route."""
        match, child_scope = self.matches(scope)
        if match is not NONE:
            scope.update(child_scope)
            await self.handle(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse("Not Found", status_code=404)(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)


def within(app: ASGIApp, limits: Limits, path_names: Iterable[str]) -> ASGIApp:
    """An application whose WebSockets are within limits, and nothing else of it."""
    guards = guards_of(limits)
    websockets = limited(guarded(app, ("websocket",), guards, path_names), limits)
    if not guards:
        return websockets

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (websockets if scope["type"] == "websocket" else app)(scope, receive, send)

    return call


class PathRoute(BaseRoute):
    """What the routes that match by path have in common.

    `_compiled` keeps the pattern that was compiled here, so that the index can tell whether `path_regex` is still it.
    """

    types: ClassVar[tuple[str, ...]]

    path: str
    path_regex: Any
    path_format: str
    param_convertors: dict[str, Convertor[Any]]
    app: ASGIApp
    _compiled: PathPattern | None = None

    def _set_path(self, path: str) -> None:
        self.path = path
        self._compiled = parse_path(self._pattern())
        self.path_regex, self.path_format, self.param_convertors, _ = self._compiled

    def _pattern(self) -> str:
        return self.path

    def with_prefix(
        self, prefix: str, wrap: Wrap, dependencies: Sequence[Any] = (), limits: Limits = NO_LIMITS
    ) -> Self:
        route = copy.copy(self)
        route._set_path(prefix + self.path)
        names = self.param_convertors
        route.app = wrap(guarded(within(self.app, limits, names), self.types, dependencies, names))
        return route

    @property
    def literal_head(self) -> str | None:
        """The literal text that every path matched here begins with; None if that cannot be told."""
        compiled = self._compiled
        if compiled is None or compiled.regex is not self.path_regex or type(self).matches is not PathRoute.matches:
            return None
        return compiled.head

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] not in self.types:
            return NONE, {}
        return self.match_path(get_route_path(scope), scope)

    def match_path(self, path: str, scope: Scope) -> tuple[Match, Scope]:
        """As `matches`, for a scope of the right type whose route path is known."""
        # `fullmatch`: a `$` alone would let a line feed at the end of the path through.
        found = self.path_regex.fullmatch(path)
        if found is None:
            return NONE, {}
        outer = scope.get("path_params")
        params = dict(outer) if outer else {}
        try:
            for name, convertor in self.param_convertors.items():
                params[name] = convertor.convert(found[name])
        except ValueError:
            return NONE, {}
        return self.match_params(path, scope, params)

    def match_literal(self, path: str, scope: Scope) -> tuple[Match, Scope]:
        """As `match_path`, for a route without parameters and the path that it has."""
        outer = scope.get("path_params")
        return self.match_params(path, scope, dict(outer) if outer else {})

    def match_params(self, path: str, scope: Scope, params: dict[str, Any]) -> tuple[Match, Scope]:
        """How well this route fits a path that matches, and what is to be set in the scope for it."""
        raise NotImplementedError


def check_path(path: str) -> None:
    """Refuse a path that no request can have, whatever stands before it."""
    if path and not path.startswith("/"):
        raise RouteError(f"Routed paths must start with '/', but got {path!r}; write {'/' + path!r}")


class EndpointRoute(PathRoute):
    """A route that leads to an endpoint, and has a name."""

    protocol: ClassVar[Literal["http", "websocket"]]

    name: str
    endpoint: Callable[..., Any]
    dependencies: tuple[Any, ...]
    limits: Limits = NO_LIMITS
    has_explicit_name: bool = False
    _wraps: tuple[Wrap, ...]

    def _set_app(
        self,
        middleware: Sequence[Middleware] | None,
        dependencies: Sequence[Any] | None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        self.dependencies = tuple(dependencies or ())
        self.limits = limits or NO_LIMITS
        self._wraps = (
            functools.partial(handled, handlers=exception_handlers),
            functools.partial(wrap_middleware, middleware=middleware),
        )
        self.app = self._make_app()

    def _make_app(self) -> ASGIApp:
        app = limited(self._endpoint_app((*guards_of(self.limits), *self.dependencies)), self.limits)
        for wrap in self._wraps:
            app = wrap(app)
        return app

    def _endpoint_app(self, dependencies: Sequence[Any]) -> ASGIApp:
        return endpoint_app(self.endpoint, self.protocol, self.param_convertors, dependencies)

    def with_prefix(
        self, prefix: str, wrap: Wrap, dependencies: Sequence[Any] = (), limits: Limits = NO_LIMITS
    ) -> Self:
        """A copy below `prefix`, its application wrapped, with dependencies before its own, within limits.

        Its plan is made anew where there is more to solve, or where names of the prefix may mean parameters now.
        """
        route = copy.copy(self)
        route._set_path(prefix + self.path)
        route.dependencies = (*dependencies, *self.dependencies)
        if self.protocol == "websocket":
            route.limits = self.limits.within(limits)
        route._wraps = (*self._wraps, wrap)
        is_same = not dependencies and "{" not in prefix and route.limits == self.limits
        route.app = wrap(self.app) if is_same else route._make_app()
        return route

    def _set_name(self, name: str | None) -> None:
        self.has_explicit_name = name is not None
        self.name = get_name(self.endpoint) if name is None else name

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        if name != self.name or path_params.keys() != self.param_convertors.keys():
            raise NoMatchFound(name, path_params)
        path, _ = replace_params(self.path_format, self.param_convertors, path_params)
        return URLPath(path, self.protocol)

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self.app(scope, receive, send)


class Route(EndpointRoute):
    """Leads HTTP requests of one path to an endpoint.

    Args:
        path: Begins with a slash, or is empty for what the router's prefix says; `{name}` and `{name:convertor}` are
            parameters.
        endpoint: A function of the `Request`, or of parameters as `trunkline.dependencies` says, that returns a
            `Response` or what becomes JSON (in a worker thread unless async); an `HTTPEndpoint`; or any other ASGI
            application that is not a function.
        methods: The HTTP methods; `GET` if left out for a function, else all. `GET` includes `HEAD`.
        name: For `url_for`; the name of the function or class if left out.
        include_in_schema: Kept for tools that list routes.
        middleware: Around this endpoint only; the first is the outermost.
        dependencies: A list of `Depends(function)`: solved before the endpoint's own, their values are not used.

    Raises:
        RouteError: The path is not one.
        EndpointError: The endpoint cannot be called.
        DependencyError: A parameter of it, or of a dependency, could not be filled on any connection.
    """

    types = ("http",)
    protocol = "http"

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        methods: Collection[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
        middleware: Sequence[Middleware] | None = None,
        dependencies: Sequence[Any] | None = None,
    ) -> None:
        check_path(path)
        check_http_endpoint(endpoint)
        self.endpoint = endpoint
        self.include_in_schema = include_in_schema
        self._set_name(name)
        self._set_path(path)
        self._set_app(middleware, dependencies)
        if is_function(endpoint) and methods is None:
            methods = ["GET"]
        self.methods = None if methods is None else _with_head(methods)

    def match_params(self, path: str, scope: Scope, params: dict[str, Any]) -> tuple[Match, Scope]:
        match = PARTIAL if self.methods and scope["method"] not in self.methods else FULL
        return match, {"endpoint": self.endpoint, "path_params": params}

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self.methods and scope["method"] not in self.methods:
            return method_not_allowed(scope, sorted(self.methods))(scope, receive, send)
        return self.app(scope, receive, send)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Route) and _identity(self) == _identity(other) and self.methods == other.methods

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        methods = sorted(self.methods or ())
        return f"{type(self).__name__}(path={self.path!r}, name={self.name!r}, methods={methods!r})"


def _with_head(methods: Collection[str]) -> set[str]:
    if isinstance(methods, str):
        raise RouteError(f"methods is a list of HTTP methods, but got {methods!r}; write [{methods!r}]")
    upper = {method.upper() for method in methods}
    return upper | {"HEAD"} if "GET" in upper else upper


def _identity(route: EndpointRoute) -> tuple[Any, ...]:
    return route.path, route.endpoint


class WebSocketRoute(EndpointRoute):
    """Leads WebSockets of one path to an endpoint.

    Args:
        path: Begins with a slash, or is empty for what the router's prefix says; `{name}` and `{name:convertor}` are
            parameters.
        endpoint: An async function of the `WebSocket`, or of parameters as `trunkline.dependencies` says; a
            `WebSocketEndpoint`; or any other ASGI application that is not a function. How a connection ends with its
            function: `trunkline.endpoints.run_websocket`.
        name: For `url_for`; the name of the function or class if left out.
        messages: How typed messages are encoded, and what becomes of invalid ones; what the router or application
            says if left out. For functions only: a class or an ASGI application makes its own `WebSocket`.
        middleware: Around this endpoint only; the first is the outermost.
        dependencies: A list of `Depends(function)`: solved before the endpoint's own, their values are not used.
        limits: Of its connections; what they do not say is said by the router and the application.
        exception_handlers: Functions or close codes, by exception class or HTTP status, as `App` says: asked before
            those of the router and the application. Inside the middleware.

    Raises:
        RouteError: The path is not one.
        EndpointError: The endpoint cannot be called.
        DependencyError: A parameter of it, or of a dependency, could not be filled on any connection.
        TypeError: An exception handler cannot be one.
        ValueError: A close code of theirs may not be sent.
    """

    types = ("websocket",)
    protocol = "websocket"
    messages: MessageSettings | None

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
        check_websocket_endpoint(endpoint)
        if messages is not None:
            check_speaks(endpoint)
        self.endpoint = endpoint
        self.messages = messages
        self._set_name(name)
        self._set_path(path)
        self._set_app(middleware, dependencies, limits, exception_handlers)

    def _endpoint_app(self, dependencies: Sequence[Any]) -> ASGIApp:
        return endpoint_app(self.endpoint, self.protocol, self.param_convertors, dependencies, self.messages)

    def with_messages(self, messages: MessageSettings) -> Self:
        if self.messages is not None:
            return self
        route = copy.copy(self)
        route.messages = messages
        route.app = route._make_app()
        return route

    def match_params(self, path: str, scope: Scope, params: dict[str, Any]) -> tuple[Match, Scope]:
        return FULL, {"endpoint": self.endpoint, "path_params": params}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WebSocketRoute) and _identity(self) == _identity(other)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}(path={self.path!r}, name={self.name!r})"
