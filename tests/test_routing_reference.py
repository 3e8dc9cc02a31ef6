"""Routing beside the reference's, and the index beside a linear scan: random tables, random paths, one outcome."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from unittest import mock

import starlette.convertors
import starlette.exceptions
import starlette.routing
from hypothesis import HealthCheck, given, settings, strategies as st

import trunkline.routing
from tests.asgi_call import run
from trunkline.routing import BaseRoute, Match, _index
from trunkline.routing._index import RouteIndex, RouteList

SEGMENTS = ["a", "b", "ab", "{}", "{:int}", "{:path}", "a{}", "{}b", "{:float}", "a.b", "a(b)", "ü"]
VALUES = ["a", "b", "ab", "7", "7.5", "a7", "", "a.b", "a(b)", "ü", "..", "%2f", "\\", "//", "\r", "?", "Ab"]
HOSTS = ["a.example", "{}.example", "[::1]", "{}.example:80"]


class Spec(NamedTuple):
    """One route of either framework."""

    kind: str
    path: str
    methods: tuple[str, ...] | None
    children: tuple[Any, ...]
    name: str | None


class Endpoint:
    """Notes where it was reached and what the scope said; answers."""

    def __init__(self, number: int, seen: list[Any]) -> None:
        self.number = number
        self.seen = seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        keys = ("path_params", "root_path", "app_root_path", "path")
        self.seen.append((self.number, {key: scope.get(key) for key in keys}))
        assert {"route", "router", "endpoint"} <= scope.keys()


def _numbered(path: str) -> str:
    """The path with a name for each parameter, since no two may be the same."""
    pieces = path.split("{")
    return pieces[0] + "".join(f"{{p{number}{piece}" for number, piece in enumerate(pieces[1:]))


paths = st.lists(st.sampled_from(SEGMENTS), max_size=3).flatmap(
    lambda segments: st.sampled_from(["", "/"]).map(lambda slash: "/" + "/".join(segments) + slash)
)
methods = st.sampled_from([None, ("GET",), ("POST",), ("GET", "PUT")])
names = st.sampled_from([None, "m"])
any_method = st.none()
nothing: st.SearchStrategy[tuple[Any, ...]] = st.just(())


def specs(kind: str, path: st.SearchStrategy[str], children: Any = nothing, methods: Any = any_method) -> Any:
    return st.builds(Spec, kind=st.just(kind), path=path.map(_numbered), methods=methods, children=children, name=names)


leaves = st.one_of(specs("http", paths, methods=methods), specs("websocket", paths), specs("mounted", paths))
inner = st.lists(leaves, max_size=3).map(tuple)
tables = st.lists(
    st.one_of(leaves, leaves, specs("mount", paths, inner), specs("host", st.sampled_from(HOSTS), inner)), max_size=8
)
targets = st.lists(st.sampled_from(VALUES), max_size=4).map(lambda values: "/" + "/".join(values))
scopes = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["http", "websocket"]),
        "method": st.sampled_from(["GET", "HEAD", "POST", "DELETE"]),
        "path": targets,
        "root_path": st.sampled_from(["", "", "/a", "/root", "/a/"]),
        "headers": st.sampled_from(
            [
                [],
                [(b"host", b"a.example")],
                [(b"host", b"A.Example:8000")],
                [(b"host", b"[::1]:1")],
                [(b"host", b"x/y")],
            ]
        ),
        "query_string": st.just(b""),
    }
)


def build(module: Any, table: Any, seen: list[Any], first: int = 0) -> list[Any]:
    return [route(module, spec, number, seen) for number, spec in enumerate(table, first)]


def route(module: Any, spec: Spec, number: int, seen: list[Any]) -> Any:
    endpoint, name = Endpoint(number, seen), f"r{number}"
    if spec.kind == "http":
        return module.Route(spec.path, endpoint, methods=spec.methods, name=name)
    if spec.kind == "websocket":
        return module.WebSocketRoute(spec.path, endpoint, name=name)
    if spec.kind == "mounted":
        return module.Mount(spec.path, endpoint, name=spec.name)
    router = module.Router(build(module, spec.children, seen, 100 * (number + 1)))
    return {"mount": module.Mount, "host": module.Host}[spec.kind](spec.path, router, name=spec.name)


def outcome(module: Any, table: Any, scope: dict[str, Any]) -> Any:
    seen: list[Any] = []
    sent = run(module.Router(build(module, table, seen)), dict(scope))
    if sent and sent[0]["type"] == "http.response.start":
        headers = dict(sent[0]["headers"])
        allow = set(headers.get(b"allow", b"").split(b", "))
        return sent[0]["status"], allow, headers.get(b"location"), sent[1]["body"]
    return seen, sent


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables, scope=scopes, few=st.sampled_from([0, 16]))
def test_the_reference_leads_the_same_connection_to_the_same_place(
    table: list[Spec], scope: dict[str, Any], few: int
) -> None:
    with mock.patch.object(_index, "_FEW", few):
        ours = outcome(trunkline.routing, table, scope)
    assert ours == outcome(starlette.routing, table, scope)


class OddRoute(BaseRoute):
    """Matches by the length of the path."""

    def __init__(self, rest: int) -> None:
        self.rest = rest

    def matches(self, scope: Any) -> tuple[Match, Any]:
        odd = len(scope["path"]) % 3 == self.rest
        return (Match.FULL if odd else Match.NONE), {"path_params": {"odd": self.rest}}


def _filled(path: str, values: list[str]) -> str:
    """A path that the route of this path probably matches."""
    rest = iter(values)
    return re.sub("{[^}]*}", lambda _: next(rest), path)


def scan(routes: list[BaseRoute], scope: dict[str, Any]) -> tuple[BaseRoute | None, Any]:
    partial: tuple[BaseRoute | None, Any] = (None, {})
    for route in routes:
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            return route, child_scope
        if match is Match.PARTIAL and partial[0] is None:
            partial = route, child_scope
    return partial


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=st.lists(
        st.one_of(leaves, leaves, tables.filter(bool).map(lambda table: table[0]), st.integers(0, 2)), max_size=12
    ),
    scope=scopes,
    near=st.integers(0, 20),
    fill=st.lists(st.sampled_from(VALUES), min_size=3, max_size=3),
    end=st.sampled_from(["", "\n", "/", "\x00"]),
    few=st.sampled_from([0, 16]),
)
def test_the_index_finds_what_a_linear_scan_finds(
    table: list[Any], scope: dict[str, Any], near: int, fill: list[str], end: str, few: int
) -> None:
    if near < len(table) and isinstance(table[near], Spec):
        scope["path"] = _filled(table[near].path, fill)
    scope["path"] += end
    routes = [
        OddRoute(spec) if isinstance(spec, int) else route(trunkline.routing, spec, number, [])
        for number, spec in enumerate(table)
    ]
    with mock.patch.object(_index, "_FEW", few):
        found, child_scope = RouteIndex(RouteList(routes)).find(scope)
    expected, expected_scope = scan(routes, scope)
    assert found is expected
    assert child_scope == expected_scope


parameters = st.dictionaries(
    st.sampled_from(["p0", "p1", "path", "other"]), st.sampled_from(["a", "7", "", "/x", "a/b", "{p0}", "//evil", "\\"])
)


def url(module: Any, table: list[Spec], name: str, params: dict[str, str]) -> Any:
    try:
        found = module.Router(build(module, table, [])).url_path_for(name, **params)
    except module.NoMatchFound:
        return "no match"
    except AssertionError:
        return "refused"
    except ValueError:
        return "not a number"
    return str(found), found.protocol, found.host, str(found.make_absolute_url("https://base.example/root/"))


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=tables.filter(bool),
    number=st.integers(0, 7),
    child=st.sampled_from([None, None, 0, 1]),
    prefix=st.sampled_from(["", "m:"]),
    params=parameters,
)
def test_the_reference_gives_the_same_urls(
    table: list[Spec], number: int, child: int | None, prefix: str, params: dict[str, str]
) -> None:
    number %= len(table)
    own = f"r{number}" if child is None else f"r{100 * (number + 1) + child}"
    for name in (f"{prefix}{own}", "m"):
        assert url(trunkline.routing, table, name, params) == url(starlette.routing, table, name, params)
