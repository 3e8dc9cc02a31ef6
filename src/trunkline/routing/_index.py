"""The index over the routes of a router: which of them can match a path at all.

A linear scan asks every route. The index asks only those whose literal beginning fits, in their order, so that the
first match wins exactly as in a scan:

- a route without parameters can match one path only, and stands in a dictionary by that path;
- a route with parameters, or a mount, begins with literal text; cut at its last slash, that is its *prefix*, and the
  route can match only paths that begin with it;
- a route that matches in a way of its own (a host, a `BaseRoute` of the user's, one whose `path_regex` was replaced)
  can match anything: its prefix is empty.

All prefixes of a path that some route has lie on one chain, from the longest to the empty one, and each prefix keeps
the chain below it. A lookup finds the longest and thereby all of them; their routes are put in order by position.
The work is bounded by the table, never by the length of the path or the number of its slashes.

A `RouteList` counts its changes, and the router makes a new index when the count has moved.
"""

from __future__ import annotations

import functools
from itertools import chain
from typing import TYPE_CHECKING, Any

from trunkline.routing._paths import RouteError, get_route_path
from trunkline.routing._routes import FULL, PARTIAL, BaseRoute, Match, PathRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.types import Scope

# Position in the list, what matches a path, the route.
Entry = tuple[int, "Callable[[str, Scope], tuple[Match, Scope]]", BaseRoute]
Entries = list[Entry]


class RouteList(list[BaseRoute]):
    """A list of routes that counts its changes."""

    version = 0


def _counting(name: str) -> Any:
    change = getattr(list, name)

    @functools.wraps(change)
    def method(self: RouteList, *args: Any, **options: Any) -> Any:
        try:
            return change(self, *args, **options)
        finally:  # an `extend` or a `sort` that raises may have changed something
            self.version += 1

    return method


for _name in ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"):
    setattr(RouteList, _name, _counting(_name))
for _name in ("__delitem__", "__iadd__", "__imul__", "__setitem__"):
    setattr(RouteList, _name, _counting(_name))


class RouteIndex:
    """The routes of a list, as they were when it was made."""

    def __init__(self, routes: RouteList) -> None:
        # Read before the routes: a change in another thread meanwhile makes this index outdated, not wrong for ever.
        self.version = routes.version
        check_routes(routes)
        self._tables = {type_: _Table(type_, routes) for type_ in ("http", "websocket")}

    def find(self, scope: Scope) -> tuple[BaseRoute | None, Scope]:
        """The first route that matches wholly, else the first that matches in part, and what is to be set for it."""
        path = get_route_path(scope) if scope.get("root_path") else scope["path"]
        partial: tuple[BaseRoute | None, Scope] | None = None
        chained = self._tables[scope["type"]].candidates(path)
        for _, match_path, route in chained[0] if len(chained) == 1 else sorted(chain.from_iterable(chained)):
            match, child_scope = match_path(path, scope)
            if match is FULL:
                return route, child_scope
            if match is PARTIAL and partial is None:
                partial = route, child_scope
        return partial or (None, {})


def check_routes(routes: Iterable[object]) -> None:
    """Refuse what is not a route of this framework."""
    for route in routes:
        if not isinstance(route, BaseRoute):
            kind = f"{type(route).__module__}.{type(route).__qualname__}"
            raise RouteError(
                f"a route of trunkline.routing is expected, but got a {kind}; make it with Route, WebSocketRoute or "
                "Mount of trunkline.routing, or a subclass of its BaseRoute"
            )


class _Table:
    """The routes for one type of scope."""

    __slots__ = ("_exact", "_longest", "_prefixes")

    def __init__(self, type_: str, routes: list[BaseRoute]) -> None:
        exact: dict[str, Entries] = {}
        prefixes: dict[str, Entries] = {"": []}
        for position, route in enumerate(routes):
            head = _literal_head(route)
            if head is None or not isinstance(route, PathRoute):
                prefixes[""].append((position, _by_scope(route), route))
            elif type_ in route.types:
                if route.param_convertors:
                    prefixes.setdefault(_prefix(head), []).append((position, route.match_path, route))
                else:
                    exact.setdefault(head, []).append((position, route.match_literal, route))
        self._exact: dict[str, tuple[Entries, ...]] = {}
        self._longest = max(map(len, prefixes))
        anything = prefixes.pop("")
        self._prefixes: dict[str, tuple[Entries, ...]] = {"": (anything,) if anything else ()}
        for prefix in sorted(prefixes, key=len):
            self._prefixes[prefix] = (prefixes[prefix], *self.candidates(prefix[:-1]))
        self._exact = {path: (entries, *self.candidates(path)) for path, entries in exact.items()}

    def candidates(self, path: str) -> tuple[Entries, ...]:
        """The routes that can match a path: those of it, and of every prefix that it has, the longest first."""
        found = self._exact.get(path)
        end = self._longest + 1
        while found is None:
            end = path.rfind("/", 0, end - 1) + 1
            found = self._prefixes.get(path[:end])
        return found


def _prefix(head: str) -> str:
    return head[: head.rfind("/") + 1]


def _literal_head(route: BaseRoute) -> str | None:
    if isinstance(route, PathRoute) and type(route).matches is PathRoute.matches:
        return route.literal_head
    return None


def _by_scope(route: BaseRoute) -> Callable[[str, Scope], tuple[Match, Scope]]:
    return lambda _, scope: route.matches(scope)
