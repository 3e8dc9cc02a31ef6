"""Routing side by side with Starlette: microseconds from the router's call to its endpoint's, over the same table.

    scripts/bench routing

Both routers get the same routes and the same connections, in interleaved rounds of one run; the endpoints are plain
ASGI applications that return at once, so that nothing but routing is measured. A ratio is Starlette's time through
ours, of the same round: its median over the rounds, and the lowest and highest. A scan is at its best at the first
route, where the index has nothing to win.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import starlette.routing

import trunkline.routing
from benchmarks.paired import compare, header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS = 400
SHAPES = [
    "/status/{n}",
    "/api/v1/kind{n}",
    "/api/v1/kind{n}/{{id:int}}",
    "/api/v1/kind{n}/{{id:int}}/parts/{{part}}",
    "/files{n}/{{rest:path}}",
]
WEBSOCKET_SHAPES = ["/live/{n}", "/rooms{n}/{{room}}", "/rooms{n}/{{room}}/members/{{id:uuid}}"]
VALUES = {"id:int": "7", "part": "wheel", "rest:path": "a/b/c", "room": "blue", "id:uuid": "0" * 32}


class Endpoint:
    """An ASGI application that does nothing."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        pass


def table(size: int) -> list[tuple[str, str]]:
    """Routes as pairs of their type and path: of every shape as many, in an order of chance that is always the same."""
    shapes = [("http", shape) for shape in SHAPES] + [("websocket", shape) for shape in WEBSOCKET_SHAPES]
    paths = [(shapes[n % len(shapes)][0], shapes[n % len(shapes)][1].format(n=n)) for n in range(size)]
    random.Random(6455).shuffle(paths)
    return paths


def router(module: Any, routes: list[tuple[str, str]]) -> Any:
    kinds: dict[str, Any] = {"http": module.Route, "websocket": module.WebSocketRoute}
    return module.Router([kinds[type_](path, Endpoint(), name=path) for type_, path in routes])


def scopes(routes: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """One connection for each route."""
    found = []
    for type_, path in routes:
        for parameter, value in VALUES.items():
            path = path.replace(f"{{{parameter}}}", value)
        found.append({"type": type_, "method": "GET", "path": path, "root_path": "", "headers": []})
    return found


def microseconds(app: Callable[..., Any], connections: list[dict[str, Any]]) -> float:
    """For one call; the coroutine is stepped by hand, without an event loop."""
    copies = [dict(scope) for scope in connections]
    began = time.perf_counter()
    for scope in copies:
        try:
            app(scope, None, None).send(None)
        except StopIteration:
            continue
        raise RuntimeError("the endpoint waits for something")
    return (time.perf_counter() - began) / len(copies) * 1e6


def cases() -> Iterator[tuple[str, list[tuple[str, str]], list[dict[str, Any]]]]:
    for size in (10, 1000):
        routes = table(size)
        connections = scopes(routes)
        sample = random.Random(size).choices(connections, k=CALLS)
        yield f"{size} routes, all alike", routes, sample
        yield f"{size} routes, the last", routes, [connections[-1]] * CALLS
        for what, first in (("literal", "/status/{n}"), ("with parameter", "/files{n}/{{rest:path}}")):
            before = [("http", first.format(n=size))]
            yield f"{size} routes, first {what}", [*before, *routes], scopes(before) * CALLS
    routes = [("http", f"/{{tenant}}/kind{n}") for n in range(1000)]
    sample = [{"type": "http", "method": "GET", "path": f"/acme/kind{n}", "headers": []} for n in range(0, 1000, 10)]
    yield "1000 routes /{tenant}/...", routes, sample


def main() -> None:
    header()
    for name, routes, connections in cases():
        ours, theirs = (
            partial(microseconds, router(m, routes), connections) for m in (trunkline.routing, starlette.routing)
        )
        compare(name, ours, theirs)


if __name__ == "__main__":
    main()
