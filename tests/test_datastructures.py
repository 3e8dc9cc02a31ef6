"""URLs, headers, query parameters and state, side by side with Starlette's where the behaviour is claimed equal."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import starlette._utils as reference_utils
import starlette.datastructures as reference
from hypothesis import example, given, strategies as st

from trunkline import datastructures as ours
from trunkline.datastructures import (
    URL,
    Address,
    Headers,
    ImmutableMultiDict,
    MultiDict,
    MutableHeaders,
    QueryParams,
    State,
    URLPath,
    check_headers,
    parse_host,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def outcome(action: Callable[[], object]) -> object:
    """What an action gives, in a form that two libraries can be compared by; an exception by its type."""
    try:
        value = action()
    except Exception as error:
        return type(error)
    return str(value) if isinstance(value, URL | reference.URL) else value


def call(target: object, method: str, arguments: list[Any]) -> object:
    return outcome(lambda: getattr(target, method)(*arguments))


SCHEMES = st.sampled_from(["http", "https", "ws", "wss"])
HOSTS = st.sampled_from(
    ["example.org", "EXAMPLE.org", "127.0.0.1", "[::1]", "[fe80::2]", "a-b_c.de", "xn--bcher-kva.de"]
)
PORTS = st.none() | st.integers(0, 70000)
PATHS = st.text(st.sampled_from("/ab.;:@?#\\%20é ♥~"), max_size=12)
QUERIES = st.text(st.sampled_from("ab=&;+%20é♥"), max_size=12)
USERS = st.none() | st.text(st.sampled_from("abc%"), min_size=1, max_size=3)


@st.composite
def urls(draw: st.DrawFn) -> str:
    user, password, port = draw(USERS), draw(USERS), draw(PORTS)
    userinfo = "" if user is None else f"{user}@" if password is None else f"{user}:{password}@"
    authority = f"{userinfo}{draw(HOSTS)}{'' if port is None else f':{port}'}"
    start = draw(st.sampled_from([f"{draw(SCHEMES)}://{authority}", f"//{authority}", ""]))
    path, query = draw(PATHS), draw(QUERIES)
    slash = "/" if start and path else ""
    return f"{start}{slash}{path}{'?' if query else ''}{query}{draw(st.sampled_from(['', '#part']))}"


COMPONENTS = st.fixed_dictionaries(
    {},
    optional={
        "scheme": SCHEMES,
        "hostname": st.none() | st.sampled_from(["other.org", "::2", "[::2]", "other.org:1", "::", "a:b"]),
        "port": PORTS,
        "username": USERS,
        "password": USERS,
        "path": PATHS,
        "query": QUERIES,
        "fragment": st.sampled_from(["", "there"]),
    },
)
PROPERTIES = [
    "components", "scheme", "netloc", "path", "query", "fragment", "username", "password", "hostname", "port",
    "is_secure",
]  # fmt: skip


@given(urls(), COMPONENTS, st.dictionaries(QUERIES, QUERIES | st.integers(), max_size=3))
def test_a_url_is_read_and_changed_as_starlettes_is(
    text: str, components: dict[str, Any], params: dict[str, Any]
) -> None:
    def all_of(module: Any) -> list[object]:
        url = module.URL(text)
        actions: list[Callable[[], object]] = [
            *(lambda name=name: getattr(url, name) for name in PROPERTIES),
            lambda: repr(url),
            lambda: url.replace(**dict(components)),
            lambda: repr(url.replace(**dict(components))),
            lambda: module.URL(**dict(components)),
            lambda: url.include_query_params(**params),
            lambda: url.replace_query_params(**params),
            lambda: url.remove_query_params(list(params)),
            lambda: url.remove_query_params("a"),
        ]
        return [outcome(action) for action in actions]

    assert all_of(ours) == all_of(reference)


def test_an_ipv6_address_gets_its_brackets_and_loses_them() -> None:
    url = URL("https://user@example.org:8443/a").replace(hostname="::2")

    assert url == "https://user@[::2]:8443/a"
    assert url.hostname == "::2"
    assert url.replace(port=None) == "https://user@[::2]/a"


HOST_HEADERS = st.text(st.sampled_from("aZ0.-_~%!$&'()*+,;=:[]@/\\?# évf\n"), max_size=12) | st.sampled_from(
    ["example.org", "example.org:8000", "[::1]", "[::1]:80", "[:::]", "[v1.foo]", "[V1.foo]", "a:65535", "a:65536",
     "a:000080", "[::ffff:1.2.3.4]:9", "[::ffff:999.2.3.4]", "a:" + "9" * 5000, "user@host"]
)  # fmt: skip


@given(HOST_HEADERS)
def test_a_host_header_is_split_as_starlette_does(header: str) -> None:
    mine, theirs = parse_host(header), reference_utils.parse_host_header(header)

    if mine is None or theirs is None:
        assert (mine, theirs) == (None, None)
        return
    assert mine == (theirs.host, theirs.port)
    assert mine.authority == theirs.authority
    assert mine.has_valid_port == theirs.is_valid_port


def test_no_host_header_is_no_host() -> None:
    assert parse_host(None) is None
    assert parse_host("") is None


@st.composite
def scopes(draw: st.DrawFn) -> dict[str, Any]:
    scope: dict[str, Any] = {
        "path": draw(st.sampled_from(["/", "", "//example.org/a", "/\\example.org", "/a?b#c", "@evil.org"]) | PATHS),
        "headers": [(b"accept", b"*/*")],
    }
    if draw(st.booleans()):
        scope["headers"].append((b"host", draw(HOST_HEADERS).encode("latin-1")))
    if draw(st.booleans()):
        scope["query_string"] = draw(QUERIES).encode()
    if draw(st.booleans()):
        scope["scheme"] = draw(SCHEMES)
    if draw(st.booleans()):
        host = draw(st.sampled_from(["example.com", "::1", "[::1]", "127.0.0.1"]))
        scope["server"] = draw(st.sampled_from([None, (host, 80), [host, 443], (host, 8000)]))
    return scope


@given(scopes())
@example({"path": "//evil.org", "headers": [], "query_string": b"a=b"})
def test_a_url_is_taken_from_a_scope_as_starlette_does(scope: dict[str, Any]) -> None:
    assert str(URL(scope=scope)) == str(reference.URL(scope=scope))


@pytest.mark.parametrize(
    "host",
    [
        b"foo/?x=",
        b"foo/#",
        b"foo/bar",
        b"user@foo",
        b"foo\\bar",
        b"foo bar",
        b"foo\r\nx: y",
        b"foo:65536",
        b"[:::]",
        b"\xff",
    ],
)
def test_an_invalid_host_header_cannot_change_the_url(host: bytes) -> None:
    scope = {"path": "/admin", "server": ("example.com", 80), "headers": [(b"host", host)]}

    assert URL(scope=scope) == "http://example.com/admin"


def test_a_server_on_a_unix_socket_has_no_authority() -> None:
    assert URL(scope={"path": "/a", "server": ("/run/app.sock", None), "headers": []}) == "/a"


def test_a_scope_without_headers_has_a_url() -> None:
    assert URL(scope={"path": "/a"}) == "/a"


def test_a_server_with_a_scheme_of_its_own_keeps_its_port() -> None:
    assert URL(scope={"path": "/a", "scheme": "h3", "server": ("example.org", 443)}) == "h3://example.org:443/a"


def test_a_query_string_that_is_not_utf_8_is_escaped() -> None:
    assert URL(scope={"path": "/a", "query_string": b"q=\xff&r=1%20"}) == "/a?q=%FF&r=1%20"


def test_a_url_takes_one_source_only() -> None:
    for mixed in (
        {"url": "/a", "scope": {"path": "/"}},
        {"url": "/a", "path": "/b"},
        {"scope": {"path": "/"}, "port": 1},
    ):
        with pytest.raises(TypeError, match="takes one of a text, a scope and components"):
            URL(**mixed)


def test_the_password_of_a_url_is_not_shown() -> None:
    url = URL("wss://user:secret@example.org/live")

    assert repr(url) == "URL('wss://user:********@example.org/live')"
    assert "secret" in str(url)


def test_a_url_equals_its_text_and_cannot_be_hashed() -> None:
    assert URL("/a") == "/a"
    assert URL("/a") != URL("/b")
    with pytest.raises(TypeError, match="unhashable"):
        hash(URL("/a"))


@given(PATHS, st.sampled_from(["", "http", "websocket"]), HOSTS | st.just(""), urls())
def test_a_path_becomes_a_url_as_starlettes_does(path: str, protocol: Any, host: str, base: str) -> None:
    mine, theirs = URLPath(path, protocol, host), reference.URLPath(path, protocol, host)

    assert (mine, mine.protocol, mine.host) == (str(theirs), theirs.protocol, theirs.host)
    assert outcome(lambda: mine.make_absolute_url(base)) == outcome(lambda: theirs.make_absolute_url(base))
    assert outcome(lambda: mine.make_absolute_url(URL(base))) == outcome(lambda: mine.make_absolute_url(base))


def test_a_path_with_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match=r'must be "http", "websocket" or "", but got \'ftp\''):
        URLPath("/a", "ftp")  # type: ignore[arg-type]


KEYS = st.sampled_from("abc")
VALUES = st.text(st.sampled_from("xyz é&=+%"), max_size=3)
PAIRS = st.lists(st.tuples(KEYS, VALUES), max_size=6)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("__setitem__"), KEYS, VALUES),
        st.tuples(st.just("__delitem__"), KEYS),
        st.tuples(st.just("pop"), KEYS),
        st.tuples(st.just("pop"), KEYS, VALUES),
        st.tuples(st.just("popitem")),
        st.tuples(st.just("poplist"), KEYS),
        st.tuples(st.just("clear")),
        st.tuples(st.just("setdefault"), KEYS, VALUES),
        st.tuples(st.just("setlist"), KEYS, st.lists(VALUES, max_size=3)),
        st.tuples(st.just("append"), KEYS, VALUES),
        st.tuples(st.just("update"), PAIRS | st.dictionaries(KEYS, VALUES)),
        st.tuples(st.just("getlist"), KEYS),
        st.tuples(st.just("__getitem__"), KEYS),
        st.tuples(st.just("__contains__"), KEYS),
    ),
    max_size=8,
)


@given(PAIRS, st.dictionaries(KEYS, VALUES), CHANGES)
def test_a_multi_dict_changes_as_starlettes_does(
    pairs: list[tuple[str, str]], more: dict[str, str], changes: list[tuple[Any, ...]]
) -> None:
    mine, theirs = MultiDict(pairs, **more), reference.MultiDict(pairs, **more)

    for method, *arguments in changes:
        assert call(mine, method, arguments) == call(theirs, method, arguments)
        assert repr(mine) == repr(theirs)
        assert list(mine.items()) == list(theirs.items())
        assert (list(mine), list(mine.values()), len(mine)) == (list(theirs), list(theirs.values()), len(theirs))


@given(PAIRS, PAIRS)
def test_multi_dicts_are_equal_when_starlettes_are(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    equal = ImmutableMultiDict(one) == ImmutableMultiDict(other)

    assert equal == (reference.ImmutableMultiDict(one) == reference.ImmutableMultiDict(other))
    assert ImmutableMultiDict(one) == ImmutableMultiDict(ImmutableMultiDict(one))
    assert QueryParams(one) != ImmutableMultiDict(one)
    assert ImmutableMultiDict(one) != one


def test_a_default_is_set_only_where_there_is_no_value() -> None:
    values = MultiDict([("a", "1"), ("a", "2")])

    assert values.setdefault("a", "3") == "2"
    assert values.setdefault("b") is None
    assert values.multi_items() == [("a", "1"), ("a", "2"), ("b", None)]


def test_a_multi_dict_can_be_made_of_nothing_or_updated_with_itself() -> None:
    values = MultiDict([("a", "1"), ("a", "2")])
    values.update(values)

    assert values.multi_items() == [("a", "1"), ("a", "2")]
    assert MultiDict(None) == MultiDict()  # type: ignore[arg-type]


@given(
    QUERIES | QUERIES.map(str.encode) | PAIRS | st.dictionaries(KEYS, st.integers()),
    st.dictionaries(KEYS, st.integers()),
)
def test_query_parameters_are_read_as_starlettes_are(source: Any, more: dict[str, Any]) -> None:
    mine, theirs = QueryParams(source, **more), reference.QueryParams(source, **more)

    assert mine.multi_items() == theirs.multi_items()
    assert dict(mine) == dict(theirs)
    assert (str(mine), repr(mine)) == (str(theirs), repr(theirs))


def test_query_parameters_that_are_not_utf_8_are_marked() -> None:
    assert QueryParams(b"q=%ff&r=\xff") == QueryParams({"q": "\ufffd", "r": "\xff"})


HEADER_NAMES = st.sampled_from(["a", "A", "B", "x-Name", "vary"])
HEADER_VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=4)
HEADER_CHANGES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["__setitem__", "setdefault", "append"]), HEADER_NAMES, HEADER_VALUES),
        st.tuples(st.sampled_from(["__delitem__", "__getitem__", "__contains__", "getlist", "get"]), HEADER_NAMES),
        st.tuples(st.just("update"), st.dictionaries(HEADER_NAMES, HEADER_VALUES)),
        st.tuples(st.just("add_vary_header"), HEADER_NAMES),
    ),
    max_size=8,
)
RAW = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"x-name"]), st.binary(max_size=3)), max_size=5)


@given(RAW, HEADER_CHANGES)
def test_headers_change_as_starlettes_do(raw: list[tuple[bytes, bytes]], changes: list[tuple[Any, ...]]) -> None:
    mine, theirs = MutableHeaders(raw=list(raw)), reference.MutableHeaders(raw=list(raw))

    for method, *arguments in changes:
        assert call(mine, method, arguments) == call(theirs, method, arguments)
        assert mine.raw == theirs.raw
    assert (mine.keys(), mine.values(), mine.items()) == (theirs.keys(), theirs.values(), theirs.items())
    assert (list(mine), len(mine), repr(mine)) == (list(theirs), len(theirs), repr(theirs))
    assert Headers(raw=mine.raw) == mine


@given(RAW, RAW)
def test_headers_are_equal_when_starlettes_are(
    one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]]
) -> None:
    assert (Headers(raw=one) == Headers(raw=other)) == (reference.Headers(raw=one) == reference.Headers(raw=other))
    assert Headers(raw=one) != one


def test_a_header_that_is_not_there_is_a_key_error_with_its_name_as_asked_for() -> None:
    with pytest.raises(KeyError, match="X-Missing"):
        Headers({"a": "1"})["X-Missing"]


def test_headers_are_merged_with_any_mapping() -> None:
    headers = MutableHeaders({"A": "1"})
    merged = headers | {"b": "2"}
    headers |= Headers({"a": "3"})

    assert merged.raw == [(b"a", b"1"), (b"b", b"2")]
    assert headers.raw == [(b"a", b"3")]
    with pytest.raises(TypeError):
        headers | [("a", "b")]  # type: ignore[operator]
    with pytest.raises(TypeError):
        headers |= [("a", "b")]  # type: ignore[arg-type]


def test_headers_of_a_scope_become_a_list_of_that_scope_only() -> None:
    outer = {"headers": ((b"a", b"1"),)}
    scope: dict[str, Any] = dict(outer)
    headers = MutableHeaders(scope=scope)
    headers["b"] = "2"

    assert scope["headers"] == [(b"a", b"1"), (b"b", b"2")]
    assert outer == {"headers": ((b"a", b"1"),)}


def test_headers_of_a_scope_without_any_are_empty() -> None:
    assert Headers(scope={}).raw == []
    assert Headers().raw == []


def test_headers_cannot_be_changed_through_raw_but_a_copy_can() -> None:
    headers = Headers({"a": "1"})
    headers.raw.append((b"b", b"2"))
    copied = headers.mutablecopy()
    copied["a"] = "3"

    assert headers.items() == [("a", "1")]
    assert copied.items() == [("a", "3")]


def test_headers_take_one_source_only() -> None:
    mixtures: list[dict[str, Any]] = [
        {"headers": {}, "raw": []},
        {"raw": [], "scope": {}},
        {"headers": {}, "scope": {}},
    ]
    for mixed in mixtures:
        with pytest.raises(TypeError, match="takes one of headers, raw and scope"):
            Headers(**mixed)


def test_what_cannot_be_a_header_name_is_in_no_headers() -> None:
    headers = Headers({"a": "1"})

    assert "♥" not in headers
    assert 1 not in headers  # type: ignore[comparison-overlap]


def test_ten_thousand_headers_are_kept_in_order() -> None:
    raw = [(b"x-%d" % number, b"%d" % number) for number in range(10_000)]
    headers = Headers(raw=raw)

    assert headers["X-9999"] == "9999"
    assert headers.getlist("x-5000") == ["5000"]
    assert headers.raw == raw


@pytest.mark.parametrize(("name", "value"), [("x", "a\r\nset-cookie: b=c"), ("x\n", "a"), ("x", "a\0")])
def test_a_header_that_would_begin_another_is_refused(name: str, value: str) -> None:
    headers = MutableHeaders()

    for method in ("__setitem__", "append", "setdefault"):
        with pytest.raises(ValueError, match="must not contain CR, LF or NUL, but got"):
            getattr(headers, method)(name, value)
    with pytest.raises(ValueError, match="must not contain CR, LF or NUL"):
        check_headers([(b"ok", b"ok"), (name.encode(), value.encode())])
    assert headers.raw == []


STATE_CHANGES = st.lists(
    st.tuples(st.sampled_from(["get", "set", "del"]), st.sampled_from(["attr", "item"]), KEYS), max_size=8
)


@given(st.dictionaries(KEYS, st.integers()), STATE_CHANGES)
def test_state_changes_as_starlettes_does(start: dict[str, int], changes: list[tuple[str, str, str]]) -> None:
    def apply(state: Any, what: str, how: str, key: str) -> object:
        action = {
            ("get", "attr"): lambda: getattr(state, key),
            ("set", "attr"): lambda: setattr(state, key, 1),
            ("del", "attr"): lambda: delattr(state, key),
            ("get", "item"): lambda: state[key],
            ("set", "item"): lambda: state.__setitem__(key, 2),
            ("del", "item"): lambda: state.__delitem__(key),
        }[what, how]
        return outcome(action)

    mine, theirs = State(dict(start)), reference.State(dict(start))
    for change in changes:
        assert apply(mine, *change) == apply(theirs, *change)
        assert (list(mine), len(mine), "a" in mine) == (list(theirs), len(theirs), "a" in theirs)


def test_state_says_what_it_has_not() -> None:
    with pytest.raises(AttributeError, match="'State' object has no attribute 'user'"):
        _ = State().user


def test_state_writes_through_to_the_dictionary_it_was_given() -> None:
    kept: dict[str, Any] = {}
    State(kept).name = "x"

    assert kept == {"name": "x"}


def test_state_can_be_copied_and_pickled() -> None:
    state = State({"a": 1})

    assert copy.copy(state).a == pickle.loads(pickle.dumps(state)).a == 1


def test_an_address_is_a_pair() -> None:
    assert Address("127.0.0.1", 8000) == ("127.0.0.1", 8000)
