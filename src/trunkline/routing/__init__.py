"""Routing: which endpoint serves a connection, and the URL that leads to an endpoint.

    router = Router(routes=[WebSocketRoute("/rooms/{room}", endpoint), Mount("/static", app=files)])

Routes are tried in their order, and the first that matches wins; an index (`_index.py`) makes that fast without
changing it. A path may have parameters, `{name}` or `{name:convertor}` (`trunkline.convertors`).
"""

from __future__ import annotations

from trunkline.endpoints import EndpointError, get_name, request_response, websocket_session
from trunkline.routing._listeners import ListenerRoute, StreamRoute
from trunkline.routing._paths import RouteError, compile_path, get_route_path, replace_params
from trunkline.routing._router import Host, Mount, RouteMethods, Router
from trunkline.routing._routes import BaseRoute, Match, NoMatchFound, Route, WebSocketRoute

__all__ = [
    "BaseRoute",
    "EndpointError",
    "Host",
    "ListenerRoute",
    "Match",
    "Mount",
    "NoMatchFound",
    "Route",
    "RouteError",
    "RouteMethods",
    "Router",
    "StreamRoute",
    "WebSocketRoute",
    "compile_path",
    "get_name",
    "get_route_path",
    "replace_params",
    "request_response",
    "websocket_session",
]
