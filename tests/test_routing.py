"""Routing: what no comparison with the reference shows, because it is ours or because it is refused."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import starlette.routing
from starlette._utils import get_route_path as reference_route_path

from tests.asgi_call import http, run, websocket
from trunkline.applications import App
from trunkline.middleware import Middleware
from trunkline.middleware.exceptions import ExceptionMiddleware
from trunkline.responses import PlainTextResponse, Response
from trunkline.routing import (
    BaseRoute,
    Host,
    Match,
    Mount,
    NoMatchFound,
    Route,
    RouteError,
    Router,
    WebSocketRoute,
    _index,
    compile_path,
    get_name,
    get_route_path,
    replace_params,
    request_response,
    websocket_session,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from trunkline.requests import Request
    from trunkline.types import ASGIApp, Message, Receive, Scope, Send
    from trunkline.websockets import WebSocket

REFUSED = {"type": "websocket.close", "code": 1000, "reason": ""}


async def page(request: Request) -> Response:
    return PlainTextResponse(f"{request.scope['route'].path} {request.path_params}")


async def other(request: Request) -> Response:
    return PlainTextResponse("other")


async def talk(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send_text(f"{ws.scope['route'].path} {ws.path_params}")


async def talk_more(ws: WebSocket) -> None:
    await ws.accept()


def said(sent: list[Message]) -> str:
    return str(next(message["text"] for message in sent if message["type"] == "websocket.send"))


# Paths


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("rooms", r"Routed paths must start with '/', but got 'rooms'; write '/rooms'"),
        ("/{id:number}", r"Unknown path convertor 'number' at path /{id:number}: there are str, path, int"),
        ("/{id}/{id}", r"Duplicated param name id at path /{id}/{id}"),
        ("/{b}/{a}/{a}/{b}", r"Duplicated param names a, b at path"),
        ("/{room-id}", r"a parameter is {name} or {name:convertor}.*has other braces"),
        ("/{id:[0-9]+}", r"has other braces"),
        ("/{id", r"has other braces"),
        ("/{id}}", r"has other braces"),
    ],
)
@pytest.mark.parametrize("make", [lambda path: Route(path, page), lambda path: WebSocketRoute(path, talk)])
def test_a_path_that_cannot_work_is_refused_in_words(make: Callable[[str], BaseRoute], path: str, words: str) -> None:
    with pytest.raises(RouteError, match=words) as caught:
        make(path)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AssertionError)


def test_a_mount_may_be_at_the_root_but_not_at_a_path_without_slash() -> None:
    assert Mount("", Router()).path == Mount("/", Router()).path == ""
    with pytest.raises(RouteError, match="write '/live'"):
        Mount("live", Router())
    with pytest.raises(RouteError, match=r"Either 'app=\.\.\.', or 'routes=' must be specified"):
        Mount("/live")


def test_a_host_is_no_path() -> None:
    with pytest.raises(RouteError, match="use Mount for a path"):
        Host("/api", Router())


def test_methods_in_one_string_are_refused() -> None:
    with pytest.raises(RouteError, match=r"write \['POST'\]"):
        Route("/", page, methods="POST")


def test_a_compiled_path_has_an_expression_a_format_and_convertors() -> None:
    regex, format_, convertors = compile_path("/rooms/{room}/{id:int}.json")
    assert format_ == "/rooms/{room}/{id}.json"
    assert list(convertors) == ["room", "id"]
    found = regex.fullmatch("/rooms/blue/7.json")
    assert found is not None
    assert found.groupdict() == {"room": "blue", "id": "7"}
    assert replace_params(format_, convertors, {"id": 7, "more": 1}) == ("/rooms/{room}/7.json", {"more": 1})


@pytest.mark.parametrize(
    ("path", "root_path", "rest"),
    [
        ("/a/b", "", "/a/b"),
        ("/a/b", "/a", "/b"),
        ("/a", "/a", ""),
        ("/ab", "/a", "/ab"),
        ("/b", "/a", "/b"),
        ("/a/b", "/a/", "/a/b"),
    ],
)
def test_the_route_path_is_what_follows_the_root_path(path: str, root_path: str, rest: str) -> None:
    assert get_route_path({"path": path, "root_path": root_path}) == rest
    assert reference_route_path({"path": path, "root_path": root_path}) == rest


# Names


def test_a_name_is_that_of_the_function_or_class() -> None:
    assert get_name(page) == "page"
    assert get_name(Router) == get_name(Router()) == "Router"


def test_two_routes_explicitly_given_one_name_are_refused_and_both_named() -> None:
    with pytest.raises(RouteError) as caught:
        Router([Route("/a", page, name="x"), Route("/b", other, name="x")])
    assert isinstance(caught.value, ValueError)
    assert "Route(path='/a', name='x', methods=['GET', 'HEAD'])" in str(caught.value)
    assert "Route(path='/b', name='x', methods=['GET', 'HEAD'])" in str(caught.value)


def test_a_name_given_twice_is_refused_when_the_second_is_added() -> None:
    router = Router()
    router.websocket("/a", "x")(talk)
    with pytest.raises(RouteError, match="two routes have the name 'x'"):
        router.add_websocket_route("/b", talk_more, "x")
    assert len(router.routes) == 1


def test_a_name_given_and_that_of_a_function_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trunkline"):
        Router([Route("/a", page), Route("/b", other, name="page")])
    [record] = caplog.records
    assert record.name == "trunkline"
    assert "path='/a'" in record.getMessage()
    assert "path='/b'" in record.getMessage()


@pytest.mark.parametrize(
    "routes",
    [
        [Route("/a", page), Route("/b", page)],
        [Route("/a", page, name="x"), Route("/a", other, methods=["POST"], name="x")],
        [Route("/a", page, name="x"), Route("/a/{id}", other, name="x")],
        [Route("/a", lambda request: None), Route("/b", lambda request: None)],
        [Mount("/a", Router(), name="x"), Route("/b", page, name="x")],
    ],
    ids=["one endpoint", "one path", "other parameters", "lambdas", "a mount"],
)
def test_a_name_that_leaves_every_url_reachable_is_no_trouble(
    routes: list[BaseRoute], caplog: pytest.LogCaptureFixture
) -> None:
    Router(routes)
    assert not caplog.records


def test_an_unknown_name_is_answered_with_those_close_to_it() -> None:
    router = Router(
        [
            Route("/users", page, name="users"),
            Mount("/live", routes=[WebSocketRoute("/{room}", talk, name="room")], name="live"),
            Mount("/more", routes=[Route("/x", page, name="inside")]),
        ]
    )
    with pytest.raises(
        NoMatchFound, match=re.escape('No route exists for name "user" and params "". Close to it: users')
    ):
        router.url_path_for("user")
    with pytest.raises(NoMatchFound, match=re.escape('takes params "room"')):
        router.url_path_for("live:room", rom="blue")
    with pytest.raises(NoMatchFound, match="There are: users, live, live:room, inside"):
        router.url_path_for("zzz", a=1, b=2)
    with pytest.raises(NoMatchFound, match=r'and params "a, b"\.$'):
        Router().url_path_for("zzz", a=1, b=2)


def test_a_url_of_a_websocket_route_is_one() -> None:
    router = Router([WebSocketRoute("/rooms/{room}", talk, name="room")])
    url = router.url_path_for("room", room="blue").make_absolute_url("https://example.org/base/")
    assert url == "wss://example.org/base/rooms/blue"


# Matching


@pytest.mark.parametrize("path", ["/missing", "//rooms/a", "/rooms", "", "rooms/a", "/rooms/a/b", "/rooms/"])
def test_an_unknown_path_is_404_for_http_and_a_refused_handshake_for_a_websocket(path: str) -> None:
    router = Router([Route("/rooms/{room}", page), WebSocketRoute("/rooms/{room}", talk)], redirect_slashes=False)
    answer = http(router, path)
    assert (answer.status, answer.text) == (404, "Not Found")
    assert run(router, {"type": "websocket", "path": path, "headers": []}) == [REFUSED]


@pytest.mark.parametrize("path", ["/page\n", "/rooms/a/7\n", "/rooms/a/\n7"])
def test_a_line_feed_at_the_end_does_not_match(path: str) -> None:
    router = Router([Route("/page", page), Route("/rooms/{room}/{id:int}", page)])
    assert http(router, path).status == 404


@pytest.mark.parametrize(
    "value", ["\r\nSet-Cookie: a=b", "%2f..%2f", "\\\\evil", "\udcff", "..", "a b", "\x00", "{room}"]
)
def test_a_parameter_takes_anything_of_one_segment_as_it_is(value: str) -> None:
    router = Router([Route("/rooms/{room}", page), WebSocketRoute("/rooms/{room}", talk)])
    assert said(websocket(router, f"/rooms/{value}")) == f"/rooms/{{room}} {{'room': {value!r}}}"


def test_an_unknown_method_is_405_with_those_that_are_allowed() -> None:
    router = Router([Route("/a", page, methods=["post", "GET"]), Route("/a", other, methods=["PUT"])])
    answer = http(router, "/a", "DELETE")
    assert (answer.status, answer.text, answer.headers["allow"]) == (405, "Method Not Allowed", "GET, HEAD, POST")
    assert http(router, "/a", "PUT").text == "other"


@pytest.mark.parametrize(("path", "method", "status"), [("/none", "GET", 404), ("/a", "PUT", 405)])
def test_inside_an_application_its_handlers_answer(path: str, method: str, status: int) -> None:
    async def handler(request: Request, error: Any) -> Response:
        return PlainTextResponse(f"ours: {error.status_code}", error.status_code)

    app = ExceptionMiddleware(Router([Route("/a", page)]), {404: handler, 405: handler})
    assert http(app, path, method, app=app).text == f"ours: {status}"


def test_a_default_application_takes_what_matches_nothing() -> None:
    router = Router([Route("/a", page)], default=PlainTextResponse("default"))
    assert http(router, "/none").text == "default"


def test_another_scope_type_is_refused_in_words() -> None:
    with pytest.raises(RuntimeError, match="'http', 'websocket' or 'lifespan' is expected, but got 'mqtt'"):
        run(Router(), {"type": "mqtt"})


def test_the_scope_tells_the_route_the_router_and_the_endpoint() -> None:
    seen: dict[str, Any] = {}

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.update(scope)

    endpoint = Endpoint()
    inner = Router([WebSocketRoute("/{room}", endpoint)])
    outer = Router([Mount("/live/{tenant}", inner)])
    run(outer, {"type": "websocket", "path": "/root/live/acme/blue", "root_path": "/root", "headers": []})
    assert seen["route"] is inner.routes[0]
    assert seen["router"] is outer
    assert seen["endpoint"] is endpoint
    assert seen["path_params"] == {"tenant": "acme", "room": "blue"}
    assert (seen["root_path"], seen["app_root_path"]) == ("/root/live/acme", "/root")
    assert seen["path"] == "/root/live/acme/blue"


@pytest.mark.parametrize(
    "route", [Route("/a", page), Mount("/a", PlainTextResponse("mounted")), WebSocketRoute("/a", talk)]
)
def test_a_route_alone_is_an_application(route: BaseRoute) -> None:
    type_ = "websocket" if isinstance(route, WebSocketRoute) else "http"
    scope: dict[str, Any] = {"type": type_, "method": "GET", "headers": [], "route": route}
    incoming: list[Message] = [{"type": "websocket.connect"}] if type_ == "websocket" else []
    [first, *_] = run(route, {**scope, "path": "/a/"[: None if isinstance(route, Mount) else 2]}, *incoming)
    assert first.get("status", 200) == 200
    [first, *_] = run(route, {**scope, "path": "/b"})
    assert first == REFUSED or first["status"] == 404
    assert run(route, {"type": "lifespan"}) == []


# Redirects


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/a/", "http://example.org/a"),
        ("/b", "http://example.org/b/"),
        ("/a//", "http://example.org/a"),
        ("//b", None),
        ("/", None),
        ("/c", None),
    ],
)
def test_a_slash_too_many_or_too_few_is_redirected(path: str, location: str | None) -> None:
    router = Router([Route("/a", page), Route("/b/", page), WebSocketRoute("/c/", talk)])
    answer = http(router, path, headers=[(b"host", b"example.org")])
    assert (answer.status, answer.headers.get("location")) == ((404, None) if location is None else (307, location))


@pytest.mark.parametrize("headers", [[], [(b"host", b"evil/\\x")]])
@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "/\ufffd", "/\r\nlocation: x", "/%2f/evil.example"]
)
def test_a_redirect_never_leads_to_another_host(path: str, headers: list[Any]) -> None:
    answer = http(Router([Route("/{rest:path}/", page)]), path, headers=headers, server=None)
    if answer.status == 404:
        assert "\n" in path
        return
    location = answer.headers["location"]
    assert answer.status == 307
    assert not location.startswith(("//", "/\\"))
    assert ":" not in location
    assert "\r" not in location


def test_redirects_can_be_turned_off() -> None:
    assert http(Router([Route("/a", page)], redirect_slashes=False), "/a/").status == 404


def test_a_websocket_is_never_redirected() -> None:
    assert run(Router([WebSocketRoute("/a", talk)]), {"type": "websocket", "path": "/a/", "headers": []}) == [REFUSED]


# The list of routes


def paths(router: Router) -> list[str]:
    return [path for path in ("/a", "/b") if http(router, path).status == 200]


def replaced(routes: Any) -> None:
    routes[0] = Route("/b", page)


def grown(routes: Any) -> None:
    routes *= 2
    routes += [Route("/b", page)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda routes: routes.append(Route("/b", page)), ["/a", "/b"]),
        (lambda routes: routes.extend([Route("/b", page)]), ["/a", "/b"]),
        (lambda routes: routes.insert(0, Route("/b", page)), ["/a", "/b"]),
        (lambda routes: routes.clear(), []),
        (lambda routes: routes.pop(), []),
        (lambda routes: routes.remove(routes[0]), []),
        (lambda routes: routes.__delitem__(slice(None)), []),
        (replaced, ["/b"]),
        (grown, ["/a", "/b"]),
    ],
)
def test_a_change_of_the_list_is_seen_at_once(change: Callable[[Any], None], expected: list[str]) -> None:
    router = Router([Route("/a", page)])
    assert paths(router) == ["/a"]
    change(router.routes)
    assert paths(router) == expected


def test_a_change_of_the_order_is_seen_at_once() -> None:
    router = Router([Route("/a", page, name="first"), Route("/{x}", other, name="second")])
    assert http(router, "/a").text.startswith("/a")
    router.routes.reverse()
    assert http(router, "/a").text == "other"
    router.routes.sort(key=lambda route: str(getattr(route, "name", "")))
    assert http(router, "/a").text.startswith("/a")


def test_an_extend_that_fails_half_way_is_seen() -> None:
    def some() -> Iterator[BaseRoute]:
        yield Route("/b", page)
        raise ZeroDivisionError

    router = Router([Route("/a", page)])
    assert paths(router) == ["/a"]
    with pytest.raises(ZeroDivisionError):
        router.routes.extend(some())
    assert paths(router) == ["/a", "/b"]


def test_the_whole_list_can_be_replaced_or_added_to() -> None:
    router = Router([Route("/a", page)])
    router.routes += [Route("/b", page)]
    assert paths(router) == ["/a", "/b"]
    router.routes = [Route("/b", page)]
    assert paths(router) == ["/b"]


def test_a_copied_list_is_a_list() -> None:
    router = Router([Route("/a", page)])
    routes = copy.copy(router.routes)
    routes.append(Route("/b", page))
    assert len(router.routes) == 1
    assert routes == [Route("/a", page), Route("/b", page)]


def test_a_route_whose_expression_was_replaced_matches_by_the_new_one() -> None:
    router = Router([Route("/About/{x}", page), Route("/Page", page)])
    for route in router.routes:
        assert isinstance(route, Route)
        route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
    assert http(router, "/about/7").status == 200
    assert http(router, "/pagE").status == 200


def test_a_route_subclass_that_sets_everything_itself_works() -> None:
    class Own(Route):
        def __init__(self, path: str) -> None:
            self.path, self.endpoint, self.name, self.methods = path, page, "own", None
            self.app = request_response(page)
            self.path_regex, self.path_format, self.param_convertors = compile_path(path)

    router = Router([Route("/a", page), Own("/own/{id:int}")])
    assert http(router, "/own/7").text == "/own/{id:int} {'id': 7}"
    assert router.url_path_for("own", id=7) == "/own/7"


class Anything(BaseRoute):
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Match.FULL, {"path_params": {}}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("anything")(scope, receive, send)


def test_a_route_of_the_users_own_takes_its_turn() -> None:
    router = Router([Route("/a", page), Anything(), Route("/b", page)])
    assert http(router, "/a").text.startswith("/a")
    assert http(router, "/b").text == "anything"


def test_a_route_subclass_with_a_match_of_its_own_is_asked_for_every_path() -> None:
    class Everywhere(Route):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            return Match.FULL, {"path_params": {"everywhere": True}}

    answer = http(Router([Everywhere("/a", page)]), "/somewhere")
    assert answer.text == "/a {'everywhere': True}"


@pytest.mark.parametrize("routes", [[starlette.routing.Route("/", lambda request: None)], ["/"], [Route]])
def test_what_is_no_route_of_ours_is_refused_in_words(routes: list[Any]) -> None:
    with pytest.raises(RouteError, match=r"a route of trunkline\.routing is expected, but got a "):
        Router(routes)
    router = Router()
    router.routes.extend(routes)
    with pytest.raises(RouteError, match=r"make it with Route, WebSocketRoute or Mount of trunkline\.routing"):
        http(router, "/")


def test_a_path_of_many_slashes_costs_no_more_than_the_table_is_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_index, "_FEW", 0)
    looked_up = 0

    class Counting(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            nonlocal looked_up
            looked_up += 1
            return super().get(key, default)

    router = Router([Route("/api/v1/{x}", page)])
    http(router, "/")
    assert router._index is not None
    table = router._index._tables["http"]
    table._prefixes = Counting(table._prefixes)
    assert http(router, "/" * 100_000, root_path="").status == 404
    assert looked_up <= 2 * len("/api/v1/")


# Hosts


@pytest.mark.parametrize("host", [b"API.example.org", b"api.example.org:80", b"api.EXAMPLE.org:99999"])
def test_a_host_is_found_whatever_its_case_and_port(host: bytes) -> None:
    router = Router([Host("Api.example.org", PlainTextResponse("host"))])
    assert http(router, "/", headers=[(b"host", host)]).text == "host"


@pytest.mark.parametrize("headers", [[], [(b"host", b"api.example.org\r\n")], [(b"host", b"")], [(b"host", b"\xff")]])
def test_a_host_that_is_none_does_not_match(headers: list[Any]) -> None:
    router = Router([Host("{any:path}", PlainTextResponse("host"))])
    assert http(router, "/", headers=headers).status == 404


def test_a_host_takes_parameters_and_an_address() -> None:
    router = Router([Host("[::1]", PlainTextResponse("six")), Host("{n:int}.example", Router([Route("/", page)]))])
    assert http(router, "/", headers=[(b"host", b"[::1]:8000")]).text == "six"
    assert http(router, "/", headers=[(b"host", b"7.example")]).text == "/ {'n': 7}"
    assert http(router, "/", headers=[(b"host", b"9" * 5000 + b".example")]).status == 404


def test_a_host_with_a_name_leads_anywhere_below_it() -> None:
    router = Router([Host("{tenant}.example", Router(), name="tenant")])
    url = router.url_path_for("tenant", tenant="acme", path="/any/where")
    assert url.make_absolute_url("https://other.example/") == "https://acme.example/any/where"
    with pytest.raises(NoMatchFound):
        router.url_path_for("tenant", tenant="acme", path="/any", more="x")


# Middleware


class Noting:
    """Notes in the scope that it was there, and counts its instances and calls."""

    made = 0

    def __init__(self, app: ASGIApp, name: str, calls: list[str]) -> None:
        self.app = app
        self.name = name
        self.calls = calls
        Noting.made += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append(self.name)
        await self.app(scope, receive, send)


def test_middleware_of_router_mount_and_route_runs_from_the_outside_in() -> None:
    calls: list[str] = []

    def noting(*names: str) -> list[Middleware]:
        return [Middleware(Noting, name, calls) for name in names]

    route = WebSocketRoute("/{room}", talk, middleware=noting("route 1", "route 2"))
    router = Router([Mount("/live", routes=[route], middleware=noting("mount"))], middleware=noting("router"))
    assert said(websocket(router, "/live/blue")) == "/{room} {'room': 'blue'}"
    assert calls == ["router", "mount", "route 1", "route 2"]


# Adding routes


def test_each_decorator_adds_its_route_and_gives_the_function_back() -> None:
    router = Router()
    for method in ("get", "post", "put", "patch", "delete", "head", "options"):
        decorate = getattr(router, method)(f"/{method}", name=method)
        assert decorate(page) is page
        assert http(router, f"/{method}", method.upper()).status == 200
        assert http(router, f"/{method}", "TRACE").status == 405
        assert router.url_path_for(method) == f"/{method}"
    assert router.route("/several", methods=["GET", "POST"], name="several")(other) is other
    assert http(router, "/several", "POST").text == "other"
    assert router.websocket("/ws/{id:int}", name="ws")(talk) is talk
    assert router.websocket_route("/ws/{id}")(talk) is talk
    assert said(websocket(router, "/ws/7")) == "/ws/{id:int} {'id': 7}"
    router.mount("/mounted", PlainTextResponse("mounted"), name="mounted")
    router.host("here.example", PlainTextResponse("here"), name="here")
    assert http(router, "/mounted/x").text == "mounted"
    assert http(router, "/zzz", headers=[(b"host", b"here.example")]).text == "here"


# Including routers


def test_an_included_router_gives_its_routes_a_prefix_and_keeps_their_names() -> None:
    inner = Router()
    inner.get("/list", name="list")(page)
    inner.websocket("/{room}", name="room")(talk)
    inner.mount("/files", Router([Route("/{name}", page, name="file")]), name="files")
    outer = Router([Route("/", page)])
    outer.include_router(inner, prefix="/rooms/{tenant}")
    assert http(outer, "/rooms/acme/list").text == "/rooms/{tenant}/list {'tenant': 'acme'}"
    assert said(websocket(outer, "/rooms/acme/blue")) == "/rooms/{tenant}/{room} {'tenant': 'acme', 'room': 'blue'}"
    assert http(outer, "/rooms/acme/files/a").text == "/{name} {'tenant': 'acme', 'name': 'a'}"
    assert outer.url_path_for("room", tenant="acme", room="blue") == "/rooms/acme/blue"
    assert outer.url_path_for("files:file", tenant="acme", name="a") == "/rooms/acme/files/a"


def test_the_included_routers_own_routes_stay_as_they_are() -> None:
    inner = Router([WebSocketRoute("/{room}", talk, name="room")])
    outer = Router()
    outer.include_router(inner, prefix="/a")
    outer.include_router(Router([Route("/x", page)]))
    assert said(websocket(inner, "/blue")) == "/{room} {'room': 'blue'}"
    assert [route.path for route in outer.routes if isinstance(route, Route | WebSocketRoute)] == ["/a/{room}", "/x"]
    inner.get("/late")(page)
    assert http(outer, "/a/late").status == 404


def test_an_included_host_stays_a_host_with_the_prefix_inside() -> None:
    inner = Router([Host("api.example", Router([Route("/x", page, name="x")]), name="api")])
    outer, bare = Router(), Router()
    outer.include_router(inner, prefix="/v1")
    bare.include_router(inner)
    headers = [(b"host", b"api.example")]
    assert http(outer, "/v1/x", headers=headers).status == 200
    assert http(outer, "/x", headers=headers).status == 404
    assert http(bare, "/x", headers=headers).status == 200
    for router, path in ((outer, "/v1/x"), (bare, "/x")):
        url = router.url_path_for("api:x")
        assert (url, url.host) == (path, "api.example")


def test_an_included_host_shows_its_routes_inside_the_middleware() -> None:
    calls: list[str] = []
    host = Host("api.example", Router([Route("/x", page, name="x")]))
    outer = Router()
    outer.include_router(Router([host], middleware=[Middleware(Noting, "inner", calls)]))
    assert http(outer, "/x", headers=[(b"host", b"api.example")]).status == 200
    assert calls == ["inner"]
    assert outer.url_path_for("x").host == "api.example"


def test_an_included_routers_middleware_is_made_once_and_runs_around_its_routes_only() -> None:
    calls: list[str] = []
    Noting.made = 0
    innermost = Router(
        [WebSocketRoute("/ws", talk), Route("/a", page)], middleware=[Middleware(Noting, "innermost", calls)]
    )
    inner = Router([Route("/b", page)], middleware=[Middleware(Noting, "inner", calls)])
    inner.include_router(innermost, prefix="/in")
    outer = Router([Route("/own", page)])
    outer.include_router(inner, prefix="/out")
    before = Noting.made
    assert said(websocket(outer, "/out/in/ws")) == "/out/in/ws {}"
    assert calls == ["inner", "innermost"]
    assert http(outer, "/out/in/a").status == 200
    assert calls == ["inner", "innermost"] * 2
    assert http(outer, "/out/b").status == 200
    assert http(outer, "/own").status == 200
    assert calls == [*["inner", "innermost"] * 2, "inner"]
    assert Noting.made == before == 4  # each router's own, and one for each inclusion


def test_a_routers_prefix_stands_before_all_of_its_routes() -> None:
    router = Router([Route("/given", page)], prefix="/{tenant}")
    router.get("/", name="root")(page)
    router.websocket("/{room}", name="room")(talk)
    router.mount("/files", Router([Route("/{name}", page)]))
    router.host("api.example", Router([Route("/x", page)]))
    router.include_router(Router([Route("/z", page)]), prefix="/y")
    router.websocket("", name="bare")(talk)
    outer = Router()
    outer.include_router(router, prefix="/v1")
    for root, app in (("", router), ("/v1", outer)):
        assert http(app, f"{root}/acme/given").text == f"{root}/{{tenant}}/given {{'tenant': 'acme'}}"
        assert http(app, f"{root}/acme/").status == 200
        assert said(websocket(app, f"{root}/acme/blue")).endswith("{'tenant': 'acme', 'room': 'blue'}")
        assert http(app, f"{root}/acme/files/a").text == "/{name} {'tenant': 'acme', 'name': 'a'}"
        assert http(app, f"{root}/acme/x", headers=[(b"host", b"api.example")]).status == 200
        assert http(app, f"{root}/acme/y/z").status == 200
        assert http(app, f"{root}/y/z").status == 404
        assert said(websocket(app, f"{root}/acme")).endswith("{'tenant': 'acme'}")
        assert app.url_path_for("bare", tenant="acme") == f"{root}/acme"
        assert app.url_path_for("room", tenant="acme", room="blue") == f"{root}/acme/blue"


@pytest.mark.parametrize(
    "add",
    [
        lambda: Router([Route("", page)]),
        lambda: App(routes=[WebSocketRoute("", talk)]),
        lambda: App().websocket("")(talk),
        lambda: Router().get("")(page),
    ],
)
def test_an_empty_path_needs_a_prefix(add: Callable[[], object]) -> None:
    with pytest.raises(RouteError, match=r"write '/', or Router\(prefix=\.\.\.\)"):
        add()


@pytest.mark.parametrize(
    ("prefix", "words"), [("rooms", "write '/rooms'"), ("/rooms/", "write '/rooms'"), ("/", "write ''")]
)
def test_a_wrong_prefix_is_refused_in_words(prefix: str, words: str) -> None:
    with pytest.raises(RouteError, match=re.escape(words)):
        Router().include_router(Router(), prefix=prefix)
    with pytest.raises(RouteError, match=re.escape(words)):
        Router(prefix=prefix)


def test_what_cannot_be_included_is_refused_and_nothing_is_added() -> None:
    router = Router()
    with pytest.raises(RouteError, match="a router cannot include itself"):
        router.include_router(router)
    with pytest.raises(RouteError, match="mount its router"):
        router.include_router(Router([Route("/a", page), Anything()]), prefix="/x")
    assert router.routes == []


# Lifespan


def lifespan(router: Router, *, state: bool = True) -> tuple[list[Message], Scope]:
    scope: Scope = {"type": "lifespan", "app": "the app", **({"state": {}} if state else {})}
    return run(router, scope, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}), scope


COMPLETE = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def context(name: str, log: list[str], state: dict[str, Any] | None = None) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any] | None]:
        log.append(f"{name} up for {app}")
        yield state
        log.append(f"{name} down")

    return lifespan


def test_without_a_lifespan_start_and_stop_are_answered() -> None:
    sent, scope = lifespan(Router())
    assert [message["type"] for message in sent] == COMPLETE
    assert scope["state"] == {}


def test_the_state_of_a_lifespan_is_put_into_the_scope() -> None:
    log: list[str] = []
    sent, scope = lifespan(Router(lifespan=context("a", log, {"n": 1})))
    assert [message["type"] for message in sent] == COMPLETE
    assert scope["state"] == {"n": 1}
    assert log == ["a up for the app", "a down"]


def test_state_for_a_server_that_keeps_none_fails_the_start() -> None:
    with pytest.raises(RuntimeError, match='The server does not support "state" in the lifespan scope'):
        lifespan(Router(lifespan=context("a", [], {"n": 1})), state=False)


@pytest.mark.parametrize("when", ["startup", "shutdown"])
def test_a_failure_is_reported_with_its_traceback_and_raised(when: str) -> None:
    @contextlib.asynccontextmanager
    async def failing(app: Any) -> AsyncIterator[None]:
        if when == "startup":
            raise ZeroDivisionError("at the start")
        yield
        raise ZeroDivisionError("at the end")

    sent: list[Message] = []

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(ZeroDivisionError):
        anyio.run(Router(lifespan=failing), {"type": "lifespan"}, receive, send)
    assert sent[-1]["type"] == f"lifespan.{when}.failed"
    assert "ZeroDivisionError: at the" in sent[-1]["message"]


def test_lifespans_of_included_routers_run_inside_with_their_states_together() -> None:
    log: list[str] = []
    outer = Router(lifespan=context("outer", log, {"a": 1, "b": 1}))
    outer.include_router(Router(lifespan=context("inner", log, {"b": 2})))
    outer.include_router(Router(lifespan=context("silent", log)))
    outer.include_router(Router())
    _, scope = lifespan(outer)
    assert scope["state"] == {"a": 1, "b": 2}
    assert log == [
        "outer up for the app",
        "inner up for the app",
        "silent up for the app",
        "silent down",
        "inner down",
        "outer down",
    ]


def test_an_included_lifespan_without_state_needs_no_place_for_it() -> None:
    outer = Router(lifespan=context("outer", []))
    outer.include_router(Router(lifespan=context("inner", [])))
    sent, _ = lifespan(outer, state=False)
    assert [message["type"] for message in sent] == COMPLETE
    bare = Router()
    bare.include_router(Router(lifespan=context("inner", [], {"n": 1})))
    assert lifespan(bare)[1]["state"] == {"n": 1}


def test_generator_functions_work_as_lifespans_with_a_word() -> None:
    async def asynchronous(app: Any) -> AsyncIterator[dict[str, int]]:
        yield {"n": 1}

    def synchronous(app: Any) -> Iterator[dict[str, int]]:
        yield {"n": 2}

    for number, function in enumerate((asynchronous, synchronous), 1):
        with pytest.warns(DeprecationWarning, match="put @contextlib.asynccontextmanager above it") as caught:
            router = Router(lifespan=function)  # type: ignore[arg-type]
        assert caught[0].filename == __file__
        assert lifespan(router)[1]["state"] == {"n": number}


@pytest.mark.parametrize("wrong", [talk, "lifespan", 7])
def test_what_is_no_lifespan_is_refused_in_words(wrong: Any) -> None:
    with pytest.raises(RouteError, match="a lifespan is a function that yields once, under @contextlib"):
        Router(lifespan=wrong)


# Values


def test_routes_are_equal_by_path_endpoint_and_methods_and_can_be_hashed() -> None:
    assert Route("/a", page) == Route("/a", page, name="x")
    assert Route("/a", page) != Route("/a", page, methods=["POST"])
    assert Route("/a", page) != Route("/b", page)
    assert WebSocketRoute("/a", talk) == WebSocketRoute("/a", talk)
    assert WebSocketRoute("/a", talk) != WebSocketRoute("/a", talk_more)
    app = Router()
    assert Mount("/a", app) == Mount("/a/", app)
    assert Mount("/a", app) != Mount("/b", app)
    assert Host("a", app) == Host("a", app)
    assert Host("a", app) != Host("b", app)
    assert Router([Route("/a", page)]) == Router([Route("/a", page)])
    assert Router([Route("/a", page)]) != Router()
    assert len({Route("/a", page), WebSocketRoute("/a", talk), Mount("/a", app), Host("a", app), app}) == 5


def test_routes_show_what_they_are() -> None:
    assert repr(Route("/a", page)) == "Route(path='/a', name='page', methods=['GET', 'HEAD'])"
    assert repr(Route("/a", Router())) == "Route(path='/a', name='Router', methods=[])"
    assert repr(WebSocketRoute("/a", talk)) == "WebSocketRoute(path='/a', name='talk')"
    assert repr(Mount("/a", print)) == "Mount(path='/a', name='', app=<built-in function print>)"  # type: ignore[arg-type]
    assert repr(Host("a", print, name="x")) == "Host(host='a', name='x', app=<built-in function print>)"  # type: ignore[arg-type]


def test_a_mounted_application_without_routes_has_none() -> None:
    assert Mount("/a", PlainTextResponse("")).routes == []
    assert Host("a", PlainTextResponse("")).routes == []
    assert Mount("/a", routes=[Route("/b", page)], middleware=[Middleware(Noting, "x", [])]).routes == [
        Route("/b", page)
    ]


def test_functions_become_applications() -> None:
    assert http(request_response(other), "/").text == "other"
    sent = websocket(websocket_session(talk_more), "/")
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
