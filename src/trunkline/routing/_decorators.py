"""The ways to add a route by decorating its endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

Endpoint = TypeVar("Endpoint", bound="Callable[..., Any]")


class RouteDecorators:
    """Decorators over `add_route` and `add_websocket_route`."""

    add_route: Callable[..., None]
    add_websocket_route: Callable[..., None]

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
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint of a `WebSocketRoute`."""

        def decorate(endpoint: Endpoint) -> Endpoint:
            self.add_websocket_route(path, endpoint, name, dependencies=dependencies)
            return endpoint

        return decorate

    websocket_route = websocket

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
