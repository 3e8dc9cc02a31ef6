"""`trunkline routes`: the routes of an application as a table.

Applications are looked at by the attributes of their routes and not by their classes, so that those of Starlette and
FastAPI, or a part of one of them mounted in ours, are shown as well.
"""

from __future__ import annotations

import argparse
import functools
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.cli.loading import CommandError, load_application

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["main"]


class Row(NamedTuple):
    """A line of the table."""

    kind: str
    path: str
    methods: str
    name: str
    endpoint: str


HEADING = Row("KIND", "PATH", "METHODS", "NAME", "ENDPOINT")


def routes_of(application: Any) -> list[Any] | None:
    """The routes of an application, or of the one that its middleware wraps (by convention as `app`)."""
    while application is not None:
        routes = getattr(application, "routes", None)
        if routes is not None:
            return list(routes)
        application = getattr(application, "app", None)
    return None


def _expanded(routes: Iterable[Any]) -> Iterator[Any]:
    """The routes, with those of FastAPI's included routers in their place (a single object since FastAPI 0.160)."""
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)
        if included is None:
            yield route
            continue
        for context in included():
            yield getattr(context, "starlette_route", None) or context


def _kind(route: Any) -> str:
    if hasattr(route, "methods"):
        return "http"
    if hasattr(route, "host"):
        return "host"
    return "websocket" if hasattr(route, "endpoint") else "mount"


def _described(endpoint: Any) -> str:
    while isinstance(endpoint, functools.partial):
        endpoint = endpoint.func
    if not hasattr(endpoint, "__qualname__"):
        endpoint = type(endpoint)
    return f"{endpoint.__module__}:{endpoint.__qualname__}"


def _row(route: Any, depth: int) -> Row:
    path = getattr(route, "host", None) or getattr(route, "path", None) or "/"
    methods = sorted(getattr(route, "methods", None) or ())
    endpoint = getattr(route, "endpoint", None) or getattr(route, "app", route)
    return Row(
        _kind(route), "  " * depth + path, " ".join(methods), getattr(route, "name", "") or "", _described(endpoint)
    )


def rows(routes: Iterable[Any], depth: int = 0) -> Iterator[Row]:
    """A line for each route, followed by those mounted under it, indented."""
    for route in _expanded(routes):
        yield _row(route, depth)
        if _kind(route) in {"mount", "host"}:
            yield from rows(routes_of(route) or (), depth + 1)


def _table(lines: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="trunkline routes",
        description="Show the routes of an application: first match wins, mounted applications are indented.",
    )
    parser.add_argument("app", metavar="module:app", help="the application; the current directory is importable")
    parser.add_argument("--factory", action="store_true", help="module:app is a function that makes the application")
    options = parser.parse_args(arguments)
    application = load_application(options.app, directory=os.getcwd(), factory=options.factory)
    if options.factory:
        application = application()
    routes = routes_of(application)
    if routes is None:
        raise CommandError(f"{options.app!r} is an ASGI application without a table of routes: nothing to show")
    print(_table([HEADING, *rows(routes)]))
    return 0
