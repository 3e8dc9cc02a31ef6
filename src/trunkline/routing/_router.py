"""The router, and the routes that lead to another application: mounts and hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline._injection import guarded
from trunkline._straight import passes
from trunkline.datastructures import URL, URLPath, parse_host
from trunkline.exceptions import HTTPException
from trunkline.limits._limits import NO_LIMITS
from trunkline.middleware.exceptions import handled
from trunkline.middleware.handlers import is_answered
from trunkline.responses import PlainTextResponse, RedirectResponse
from trunkline.routing._decorators import RouteDecorators
from trunkline.routing._index import RouteIndex, RouteList, check_routes
from trunkline.routing._lifespan import as_lifespan, both_lifespans, run_lifespan
from trunkline.routing._middleware import SharedMiddleware, wrap_middleware
from trunkline.routing._names import check_name, check_names
from trunkline.routing._paths import RouteError, get_route_path, parse_path, replace_params
from trunkline.routing._routes import (
    FULL,
    NONE,
    BaseRoute,
    EndpointRoute,
    Match,
    NoMatchFound,
    PathRoute,
    Route,
    WebSocketRoute,
    check_path,
    misses,
    within,
)
from trunkline.websockets import WebSocketClose

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from trunkline.limits import Limits
    from trunkline.messages import MessageSettings
    from trunkline.middleware import Middleware
    from trunkline.routing._routes import Wrap
    from trunkline.types import ASGIApp, ExceptionHandlers, Lifespan, Receive, Scope, Send


class _Nested:
    """What a mount and a host share: the routes of their application, and the URLs of those."""

    app: ASGIApp
    name: str | None

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of the application; empty if it does not tell."""
        routes: list[BaseRoute] = getattr(self.app, "routes", [])
        return routes

    def _inner_name(self, name: str) -> str | None:
        """What a name means inside: all of it if this has none, else what follows `name:`."""
        if self.name is None:
            return name
        return name[len(self.name) + 1 :] if name.startswith(f"{self.name}:") else None

    def _inner_url(self, name: str, path_params: dict[str, Any]) -> URLPath | None:
        for route in self.routes:
            try:
                return route.url_path_for(name, **path_params)
            except misses():
                continue
        return None


class Mount(_Nested, PathRoute):
    """Leads everything below a path to another ASGI application, for which the path becomes part of `root_path`.

    Args:
        path: Begins with a slash, or is empty for everything; may have parameters.
        app: The application; or
        routes: the routes of a new router.
        name: For `url_for`: `name:inner` names a route inside, `name` with a `path` parameter anything below.
        middleware: Around the application; the first is the outermost.
        exception_handlers: Functions or close codes, by exception class or HTTP status: asked when the application has
            none, and before those of the application around. Inside the middleware.

    Raises:
        RouteError: The path is not one, or neither `app` nor `routes` is given.
        TypeError: An exception handler cannot be one.
        ValueError: A close code of theirs may not be sent.
    """

    types = ("http", "websocket")

    def __init__(
        self,
        path: str,
        app: ASGIApp | None = None,
        routes: Sequence[BaseRoute] | None = None,
        name: str | None = None,
        *,
        middleware: Sequence[Middleware] | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        check_path(path)
        if app is None and routes is None:
            raise RouteError("Either 'app=...', or 'routes=' must be specified: a mount leads to an application")
        self._base_app: ASGIApp = Router(routes) if app is None else app
        self.app = wrap_middleware(handled(self._base_app, exception_handlers), middleware)
        self.name = name
        self._set_path(path)

    def _set_path(self, path: str) -> None:
        super()._set_path(path.rstrip("/"))

    def _pattern(self) -> str:
        return f"{self.path}/{{path:path}}"

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of the application inside its middleware; empty if it does not tell."""
        routes: list[BaseRoute] = getattr(self._base_app, "routes", [])
        return routes

    def match_params(self, path: str, scope: Scope, params: dict[str, Any]) -> tuple[Match, Scope]:
        below = "/" + params.pop("path")
        root_path = scope.get("root_path", "")
        return FULL, {
            "path_params": params,
            "app_root_path": scope.get("app_root_path", root_path),
            "root_path": root_path + path[: -len(below)],
            "endpoint": self.app,
        }

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        if name == self.name and "path" in path_params:
            filled = {**path_params, "path": path_params["path"].lstrip("/")}
            path, remaining = replace_params(self.path_format, self.param_convertors, filled)
            if not remaining:
                return URLPath(path)
        inner = self._inner_name(name)
        if inner is None:
            raise NoMatchFound(name, path_params)
        prefix, remaining = replace_params(self.path_format, self.param_convertors, {**path_params, "path": ""})
        if "path" in path_params:
            remaining["path"] = path_params["path"]
        url = self._inner_url(inner, remaining)
        if url is None:
            raise NoMatchFound(name, path_params)
        return URLPath(prefix.rstrip("/") + url, url.protocol)

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self.app(scope, receive, send)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mount) and self.path == other.path and self.app == other.app

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}(path={self.path!r}, name={self.name or ''!r}, app={self.app!r})"


class Host(_Nested, BaseRoute):
    """Leads everything that was asked of a host to another ASGI application.

    Args:
        host: For example `api.example.org` or `{tenant}.example.org`; case does not matter (RFC 9110 section 4.2.3),
            nor does the port that is asked for. An IPv6 address stands in brackets.
        app: The application.
        name: For `url_for`, as for a mount.

    Raises:
        RouteError: The host begins with a slash.
    """

    def __init__(self, host: str, app: ASGIApp, name: str | None = None) -> None:
        if host.startswith("/"):
            raise RouteError(f"Host must not start with '/', but got {host!r}; use Mount for a path")
        self.host = host
        self.app = app
        self.name = name
        self.host_regex, self.host_format, self.param_convertors, _ = parse_path(host)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        header = next((value for name, value in scope.get("headers", ()) if name == b"host"), b"")
        host = parse_host(header.decode("latin-1"))
        found = None if host is None else self.host_regex.fullmatch(host.name.lower())
        if found is None:
            return NONE, {}
        try:
            params = {name: convertor.convert(found[name]) for name, convertor in self.param_convertors.items()}
        except ValueError:
            return NONE, {}
        return FULL, {"path_params": {**scope.get("path_params", {}), **params}, "endpoint": self.app}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        inner = self._inner_name(name)
        is_own = name == self.name and "path" in path_params
        if inner is None and not is_own:
            raise NoMatchFound(name, path_params)
        host, remaining = replace_params(self.host_format, self.param_convertors, path_params)
        if is_own and remaining.keys() == {"path"}:
            return URLPath(remaining["path"], host=host)
        url = None if inner is None else self._inner_url(inner, remaining)
        if url is None:
            raise NoMatchFound(name, path_params)
        return URLPath(url, url.protocol, host)

    def with_prefix(
        self, prefix: str, wrap: Wrap, dependencies: Sequence[Any] = (), limits: Limits = NO_LIMITS
    ) -> Host:
        # A mount, because it shows the routes inside its middleware.
        mount = Mount(prefix, self.app)
        names = self.param_convertors
        mount.app = wrap(guarded(within(mount.app, limits, names), mount.types, dependencies, names))
        return Host(self.host, Router([mount]), self.name)

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self.app(scope, receive, send)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Host) and self.host == other.host and self.app == other.app

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}(host={self.host!r}, name={self.name or ''!r}, app={self.app!r})"


class RouteMethods(RouteDecorators):
    """The ways to add a route, for whatever has `routes`: the router and the application.

    Raises, all of them:
        RouteError: The path is not one, or the name is taken by another route with the same parameters and both
            names were given; where a function gave one of them, a warning is logged.
        EndpointError: The endpoint cannot be called.
        DependencyError: A parameter of it, or of a dependency, could not be filled on any connection.
    """

    prefix: str = ""
    dependencies: tuple[Any, ...] = ()
    limits: Limits = NO_LIMITS
    messages: MessageSettings | None = None

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes, in the order in which they are tried. A list: append, insert, delete, replace."""
        raise NotImplementedError

    def _inheriting(self, route: BaseRoute) -> BaseRoute:
        """A route with what all routes here have; the route itself where that is nothing."""
        if self.messages is not None:
            route = route.with_messages(self.messages)
        if not self.prefix and isinstance(route, EndpointRoute) and not route.path:
            raise RouteError("an empty path is for a router that has a prefix: write '/', or Router(prefix=...)")
        if not self.prefix and not self.dependencies and self.limits == NO_LIMITS:
            return route
        return route.with_prefix(self.prefix, lambda app: app, self.dependencies, self.limits)

    def _add(self, route: BaseRoute) -> None:
        route = self._inheriting(route)
        check_name(route, self.routes)
        self.routes.append(route)

    def add_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        methods: Collection[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
        *,
        dependencies: Sequence[Any] | None = None,
    ) -> None:
        """Add a `Route`."""
        self._add(
            Route(
                path,
                endpoint,
                methods=methods,
                name=name,
                include_in_schema=include_in_schema,
                dependencies=dependencies,
            )
        )

    def add_websocket_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        name: str | None = None,
        *,
        messages: MessageSettings | None = None,
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        """Add a `WebSocketRoute`."""
        self._add(
            WebSocketRoute(
                path,
                endpoint,
                name=name,
                messages=messages,
                dependencies=dependencies,
                limits=limits,
                exception_handlers=exception_handlers,
            )
        )

    def mount(self, path: str, app: ASGIApp, name: str | None = None) -> None:
        """Add a `Mount`."""
        self._add(Mount(path, app, name=name))

    def host(self, host: str, app: ASGIApp, name: str | None = None) -> None:
        """Add a `Host`."""
        self._add(Host(host, app, name))


class Router(RouteMethods):
    """Leads each connection to the first of its routes that matches; an ASGI application.

        router = Router()

        @router.websocket("/rooms/{room}")
        async def room(websocket):
            await websocket.accept()

    Args:
        routes: The routes at first; the list is copied.
        redirect_slashes: Whether an HTTP request that would match with or without a slash at its end is redirected.
        default: The ASGI application for what matches nothing; 404, or a refused handshake (a close before accept,
            ASGI spec) if left out.
        lifespan: Given the application, an asynchronous context manager that may give a mapping as state.
        prefix: What the paths of all routes begin with that are given here, added, mounted or included: empty, or
            begins with a slash and does not end with one. Not of those that are put into the list of `routes`
            afterwards.
        middleware: Around all of this; the first is the outermost.
        dependencies: A list of `Depends(function)`: solved before those of each route that is given here, added,
            mounted or included; not before those that are put into the list of `routes` afterwards.
        limits: Of the connections of all its routes, where those say nothing (`trunkline.limits`).
        messages: How typed messages are encoded, and what becomes of invalid ones, on each route that is given here,
            added or included and says nothing of it; what is mounted has its own.
        exception_handlers: Functions or close codes, by exception class or HTTP status, as `App` says: asked when the
            route has none, and before those of the application. Inside the middleware.

    Raises:
        RouteError: The prefix is not one, a route is not one of this framework, or two routes were given one name.
        DependencyError: A dependency could not be solved on one of the routes.
        CodecError: A codec of `messages` cannot handle the messages of a route.
        TypeError: An exception handler cannot be one.
        ValueError: A close code of theirs may not be sent.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute] | None = None,
        redirect_slashes: bool = True,
        default: ASGIApp | None = None,
        lifespan: Lifespan[Any] | None = None,
        *,
        prefix: str = "",
        middleware: Sequence[Middleware] | None = None,
        dependencies: Sequence[Any] | None = None,
        messages: MessageSettings | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        check_prefix(prefix)
        self.prefix = prefix
        self.dependencies = tuple(dependencies or ())
        self.messages = messages
        self.limits = limits or NO_LIMITS
        check_routes(routes or ())
        self.routes = [self._inheriting(route) for route in routes or ()]
        self.redirect_slashes = redirect_slashes
        self.default = self.not_found if default is None else default
        self.lifespan_context = as_lifespan(lifespan)
        self.middleware = list(middleware or ())
        self.exception_handlers = dict(exception_handlers or {})
        self.middleware_stack = wrap_middleware(handled(self.app, exception_handlers), self.middleware)

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes, in the order in which they are tried. A list: append, insert, delete, replace.

        A list that is assigned is copied, as the constructor's is.
        """
        return self._routes

    @routes.setter
    def routes(self, routes: Sequence[BaseRoute]) -> None:
        if routes is getattr(self, "_routes", None):  # `routes += [...]` ends with this assignment
            return
        check_routes(routes)
        check_names(routes)
        self._routes = RouteList(routes)
        self._index: RouteIndex | None = None

    def _find(self, scope: Scope) -> tuple[BaseRoute | None, Scope]:
        index = self._index
        if index is None or index.version != self._routes.version:
            index = self._index = RouteIndex(self._routes)
        return index.find(scope)

    @passes
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.middleware_stack(scope, receive, send)

    def call(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """As `__call__`, without a coroutine of its own for what only passes through."""
        return self.middleware_stack(scope, receive, send)

    def app(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The router inside its middleware. Without a coroutine of its own, because it only passes through."""
        if "router" not in scope:
            scope["router"] = self
        type_ = scope["type"]
        if type_ != "websocket" and type_ != "http":
            return self._handle_other(scope, receive, send)
        route, child_scope = self._find(scope)
        if route is not None:
            scope["route"] = route
            scope.update(child_scope)
            return route.handle(scope, receive, send)
        location = self._redirect(scope)
        app = self.default if location is None else RedirectResponse(location)
        return app(scope, receive, send)

    async def _handle_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            raise RuntimeError(
                f"a scope of type 'http', 'websocket' or 'lifespan' is expected, but got {scope['type']!r}"
            )
        await self.lifespan(scope, receive, send)

    def _redirect(self, scope: Scope) -> str | None:
        """Where a request belongs that matches with another slash at its end, or without the one it has."""
        path = get_route_path(scope)
        if scope["type"] != "http" or not self.redirect_slashes or path == "/":
            return None
        full: str = scope["path"]
        scope = {**scope, "path": full.rstrip("/") if path.endswith("/") else f"{full}/"}
        return None if self._find(scope)[0] is None else str(URL(scope=scope))

    async def not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what no route matches; where there are handlers for it, 404 is raised, so that they see it."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        refusal = HTTPException(404)
        if is_answered(scope, refusal):
            raise refusal
        await PlainTextResponse("Not Found", status_code=404)(scope, receive, send)

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the messages of a lifespan scope with `lifespan_context`."""
        await run_lifespan(self.lifespan_context, scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """The path of the first route that has this name and these parameters.

        Args:
            name: The name of the route; `mount:name` for one inside a mount that has a name.
            path_params: The parameters of its path.

        Raises:
            NoMatchFound: There is none; the message tells what comes close.
            ParameterError: A value cannot stand in a URL as that parameter.
        """
        for route in self.routes:
            try:
                return route.url_path_for(name, **path_params)
            except misses():
                continue
        raise NoMatchFound(name, path_params, self.routes)

    def include_router(
        self,
        router: Router,
        prefix: str = "",
        *,
        dependencies: Sequence[Any] | None = None,
        limits: Limits | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        """Add copies of another router's routes, with their names, inside its middleware and exception handlers.

        Its lifespan runs inside this one's. Routes that are added to it later are not seen.

        Args:
            router: The other one.
            prefix: What the copies' paths begin with: empty, or begins with a slash and does not end with one.
            dependencies: A list of `Depends(function)`: solved before those of the other router.
            limits: What holds where the other router and its routes say nothing.
            exception_handlers: Asked when those of the other router have none.

        Raises:
            RouteError: The prefix is not one, the router is this one, or a route has no path to put it before.
            DependencyError: A dependency could not be solved on one of the routes.
            TypeError: An exception handler cannot be one.
        """
        check_prefix(prefix)
        if router is self:
            raise RouteError("a router cannot include itself; use Mount to serve it below another path too")
        shared = SharedMiddleware(router.middleware)

        def wrap(app: ASGIApp) -> ASGIApp:
            return handled(shared.around(handled(app, router.exception_handlers)), exception_handlers)

        inner = (prefix, wrap, dependencies or (), limits or NO_LIMITS)
        for route in [route.with_prefix(*inner) for route in router.routes]:
            self._add(route)
        self.lifespan_context = both_lifespans(self.lifespan_context, router.lifespan_context)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Router) and self.routes == other.routes

    __hash__ = object.__hash__


def check_prefix(prefix: str) -> None:
    """Refuse what cannot stand before the paths of routes."""
    if prefix and not prefix.startswith("/"):
        raise RouteError(f"a prefix must start with '/', but got {prefix!r}; write {'/' + prefix!r}")
    if prefix.endswith("/"):
        raise RouteError(
            f"a prefix must not end with '/', since the paths behind it begin with one, but got {prefix!r}; "
            f"write {prefix.rstrip('/')!r}"
        )
