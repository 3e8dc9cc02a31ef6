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

A table of few routes is scanned, since comparing their literal beginnings takes less than a lookup.

A `RouteList` counts its changes, and the router makes a new index when the count has moved. What a route itself can
match is read once for an index: replace a route in the list rather than change its path under way.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

from trunkline.routing._paths import RouteError, get_route_path
from trunkline.routing._routes import FULL, PARTIAL, BaseRoute, Match, PathRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trunkline.types import Scope

# Position in the list, how a matching path begins, what matches it, the route.
Entry = tuple[int, str, "Callable[[str, Scope], tuple[Match, Scope]]", BaseRoute]
Entries = list[Entry]

_FEW = 16


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
        partial: tuple[BaseRoute | None, Scope] = (None, {})
        for _, head, match_path, route in self._tables[scope["type"]].candidates(path):
            if not path.startswith(head):
                continue
            match, child_scope = match_path(path, scope)
            if match is FULL:
                return route, child_scope
            if match is PARTIAL and partial[0] is None:
                partial = route, child_scope
        return partial


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

    __slots__ = ("_exact", "_few", "_longest", "_prefixes")

    def __init__(self, type_: str, routes: list[BaseRoute]) -> None:
        entries = list(_entries(type_, routes))
        self._few = entries if len(entries) <= _FEW else None
        exact: dict[str, Entries] = {}
        prefixes: dict[str, Entries] = {"": []}
        for position, head, match_path, route in entries:
            if head and isinstance(route, PathRoute) and not route.param_convertors:
                exact.setdefault(head, []).append((position, head, route.match_literal, route))
            else:
                prefixes.setdefault(_prefix(head), []).append((position, head, match_path, route))
        self._longest = max(map(len, prefixes))
        anything = prefixes.pop("")
        self._prefixes: dict[str, tuple[Entries, ...]] = {"": (anything,) if anything else ()}
        for prefix in sorted(prefixes, key=len):
            self._prefixes[prefix] = (prefixes[prefix], *self._chain(prefix[:-1]))
        self._exact = {path: (literal, *self._chain(path)) for path, literal in exact.items()}

    def _chain(self, path: str) -> tuple[Entries, ...]:
        """The routes of every prefix that the path has, the longest prefix first."""
        end = path.rfind("/", 0, self._longest) + 1
        while (found := self._prefixes.get(path[:end])) is None:
            end = path.rfind("/", 0, end - 1) + 1
        return found

    def candidates(self, path: str) -> Iterable[Entry]:
        """The routes that can match a path, in order, perhaps among others that cannot."""
        if self._few is not None:
            return self._few
        chained = self._exact.get(path) or self._chain(path)
        return chained[0] if len(chained) == 1 else sorted(itertools.chain.from_iterable(chained))


def _prefix(head: str) -> str:
    return head[: head.rfind("/") + 1]


def _entries(type_: str, routes: list[BaseRoute]) -> Iterator[Entry]:
    for position, route in enumerate(routes):
        if not isinstance(route, PathRoute) or route.literal_head is None:
            yield position, "", _by_scope(route), route
        elif type_ in route.types:
            yield position, route.literal_head, route.match_path, route


def _by_scope(route: BaseRoute) -> Callable[[str, Scope], tuple[Match, Scope]]:
    return lambda _, scope: route.matches(scope)
