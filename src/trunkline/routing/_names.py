"""Names that two routes have: refused or reported when the second is added."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeGuard

from trunkline.routing._paths import RouteError
from trunkline.routing._routes import BaseRoute, EndpointRoute

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger("trunkline")


def check_name(route: BaseRoute, others: Iterable[BaseRoute]) -> None:
    """Refuse or report a route whose name another has, so that `url_path_for` could never give its path.

    That takes the same parameters too. Two routes of one path, for two methods, may well have one name; and one
    endpoint under several paths is no accident.
    """
    if not isinstance(route, EndpointRoute):
        return
    hiding = [other for other in others if getattr(other, "name", None) == route.name and _hides(other, route)]
    if route.has_explicit_name:
        for other in hiding:
            if other.has_explicit_name:
                raise RouteError(f"{_report(other, route)}, so give the second another name")
    if len(hiding) == 1 and route.name.isidentifier():
        logger.warning("%s, so give one of them a name of its own with name=...", _report(hiding[0], route))


def _hides(first: BaseRoute, second: EndpointRoute) -> TypeGuard[EndpointRoute]:
    return (
        isinstance(first, EndpointRoute)
        and (first.endpoint is not second.endpoint or (first.has_explicit_name and second.has_explicit_name))
        and first.param_convertors.keys() == second.param_convertors.keys()
        and (first.path, first.protocol) != (second.path, second.protocol)
    )


def _report(first: EndpointRoute, second: EndpointRoute) -> str:
    return f"two routes have the name {second.name!r}: {first!r} and {second!r}; url_for gives the first"


def check_names(routes: Iterable[BaseRoute]) -> None:
    """`check_name` for each route of a table."""
    named: dict[str | None, list[BaseRoute]] = {}
    for route in routes:
        before = named.setdefault(getattr(route, "name", None), [])
        check_name(route, before)
        before.append(route)
