"""Which web pages may open a WebSocket: the rules at the top of `trunkline.security`, as tables."""

from __future__ import annotations

import inspect
import ipaddress
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from tests.asgi_call import CONNECT, Outcome, call, http_scope, websocket_scope
from trunkline.applications import App
from trunkline.responses import PlainTextResponse
from trunkline.routing import Mount, Route, WebSocketRoute
from trunkline.security._origins import (
    OriginMiddleware,
    OriginSettingError,
    TrustedProxies,
    origin_allowed,
    parse_authority,
    parse_origin,
)

if TYPE_CHECKING:
    from trunkline.types import Receive, Scope, Send
    from trunkline.websockets import WebSocket

SAME = [
    # Origin, Host, allowed
    (None, "example.com", True),
    ("https://example.com", "example.com", True),
    ("http://example.com", "example.com", True),
    ("https://example.com", "example.com:443", True),
    ("http://example.com", "example.com:80", True),
    ("https://example.com:443", "example.com", True),
    ("https://example.com:8443", "example.com:8443", True),
    ("HTTPS://EXAMPLE.com", "Example.COM", True),
    ("https://[2001:db8::1]", "[2001:DB8:0::1]", True),
    ("https://[2001:db8::1]:8000", "[2001:db8::1]:8000", True),
    ("http://localhost:3000", "127.0.0.1:8000", True),
    ("http://127.0.0.1:3000", "localhost:8000", True),
    ("http://127.8.8.8", "[::1]:8000", True),
    ("http://[::1]:3000", "localhost", True),
    ("http://example.com", "example.com:443", False),
    ("https://example.com", "example.com:80", False),
    ("https://example.com:8443", "example.com", False),
    ("https://evil.com", "example.com", False),
    ("https://example.com.evil.com", "example.com", False),
    ("https://evil.com/example.com", "example.com", False),
    ("https://evil-example.com", "example.com", False),
    ("https://www.example.com", "example.com", False),
    ("https://example.com@evil.com", "evil.com", False),
    ("https://example.com", "", False),
    ("https://example.com", "example.com/", False),
    ("https://example.com", "example.com:http", False),
    ("https://example.com:99999", "example.com:99999", False),
    ("http://localhost.evil.com", "localhost", False),
    ("http://evil.com", "127.0.0.1", False),
    ("http://localhost", "example.com", False),
    ("http://0.0.0.0", "localhost", False),
    ("null", "example.com", False),
    ("", "example.com", False),
    ("example.com", "example.com", False),
    ("//example.com", "example.com", False),
    ("https://", "example.com", False),
    ("https://example.com ", "example.com", False),
    ("https://example.com https://evil.com", "example.com", False),
    ("https://example.com\n", "example.com", False),
    ("https://[2001:db8::zz]", "[2001:db8::zz]", False),
    ("https://[1:2]", "[1:2]", False),
    ("https://exämple.com", "exämple.com", False),
    ("capacitor://localhost", "localhost", False),
    ("chrome-extension://abcdef", "abcdef", False),
    ("file://", "example.com", False),
]

LISTED = [
    # Pattern, Origin, allowed
    ("https://example.com", "https://example.com", True),
    ("https://example.com", "https://example.com:443", True),
    ("https://example.com:443", "https://example.com", True),
    ("HTTPS://Example.com", "https://example.com", True),
    ("http://localhost:3000", "http://localhost:3000", True),
    ("https://[2001:db8::1]", "https://[2001:db8:0::1]", True),
    ("capacitor://localhost", "capacitor://localhost", True),
    ("chrome-extension://abcdef", "chrome-extension://abcdef", True),
    ("https://*.example.com", "https://a.example.com", True),
    ("https://*.example.com", "https://a.b.example.com", True),
    ("https://*.example.com:8443", "https://a.example.com:8443", True),
    ("*", "https://example.com", True),
    ("*", "null", True),
    ("same", "https://testserver", True),
    ("https://example.com", "http://example.com", False),
    ("https://example.com", "https://example.com:8443", False),
    ("https://example.com", "https://www.example.com", False),
    ("https://example.com", "https://testserver", False),
    ("https://example.com", "null", False),
    ("https://*.example.com", "https://example.com", False),
    ("https://*.example.com", "https://evil-example.com", False),
    ("https://*.example.com", "https://a.example.com.evil.com", False),
    ("https://*.example.com", "http://a.example.com", False),
    ("https://*.example.com", "https://a.example.com:8443", False),
    ("http://localhost:3000", "http://localhost:3001", False),
]

BAD_PATTERNS = [
    ("example.com", "it has no scheme"),
    ("localhost:3000", "it has no scheme"),
    ("", "it has no scheme"),
    ("https://", "what follows the scheme"),
    ("https://example.com/", "what follows the scheme"),
    ("https://example.com/path", "what follows the scheme"),
    ("https://user@example.com", "what follows the scheme"),
    ("https://example.com:*", "what follows the scheme"),
    ("https://example.com:99999", "what follows the scheme"),
    ("https://exa mple.com", "what follows the scheme"),
    ("https://[::zz]", "what follows the scheme"),
    ("https://*", 'a "*" stands for subdomains only'),
    ("https://*.", "what follows the scheme"),
    ("https://ex*mple.com", 'a "*" stands for subdomains only'),
    ("https://*.*.example.com", 'a "*" stands for subdomains only'),
    ("https://*.[::1]", 'a "*" stands for subdomains only'),
    ("https://example..com", "is no host name"),
    ("https://example.com,https://b.com", "what follows the scheme"),
    ("https://a.com,b.com", "is no host name"),
    ("https://bücher.example", "'https://xn--bcher-kva.example'"),
    ("https://" + "ü" * 70, "in punycode"),
    ("null", "it names nobody"),
    (None, "it is not a str"),
    (b"https://example.com", "it is not a str"),
]


@pytest.mark.parametrize(("origin", "host", "allowed"), SAME)
def test_the_servers_own_pages_are_allowed(origin: str | None, host: str, *, allowed: bool) -> None:
    assert origin_allowed(origin, [host]) is allowed


@pytest.mark.parametrize(("pattern", "origin", "allowed"), LISTED)
def test_listed_pages_are_allowed(pattern: str, origin: str, *, allowed: bool) -> None:
    assert origin_allowed(origin, ["testserver"], [pattern]) is allowed


def test_any_name_under_which_the_server_is_called_counts() -> None:
    assert origin_allowed("https://example.com", ["10.0.0.5:8000", "example.com"])


def test_an_empty_list_lets_in_who_sends_no_origin() -> None:
    assert origin_allowed(None, ["testserver"], [])
    assert not origin_allowed("http://testserver", ["testserver"], [])


@pytest.mark.parametrize(("pattern", "why"), BAD_PATTERNS)
def test_a_bad_pattern_is_an_error_when_the_application_is_made(pattern: Any, why: str) -> None:
    with pytest.raises(OriginSettingError) as caught:
        App(origins=["same", pattern])
    assert repr(pattern) in str(caught.value)
    assert why in str(caught.value)


def test_a_single_origin_is_to_be_written_as_a_list() -> None:
    with pytest.raises(OriginSettingError, match=r'write origins=\["https://example.com"\]'):
        App(origins="https://example.com")


@pytest.mark.parametrize("proxies", [["proxy.example.com"], "10.0.0.0/33", ["10.0.0.1/8"], [None]])
def test_a_bad_proxy_is_an_error_when_the_application_is_made(proxies: Any) -> None:
    with pytest.raises(OriginSettingError, match="trusted_proxies are addresses or networks"):
        App(trusted_proxies=proxies)


PROXIES = [
    # trusted_proxies, scope["client"], trusted
    (["10.0.0.0/8"], ("10.1.1.1", 5000), True),
    (["10.0.0.0/8"], ("::ffff:10.1.1.1", 5000), True),
    (["10.1.1.1", "::1"], ("::1", 5000), True),
    ("10.1.1.1", ("10.1.1.1", 5000), True),
    (["10.0.0.0/8"], ("203.0.113.9", 0), True),
    ("*", ("203.0.113.9", 5000), True),
    (["*"], None, True),
    ([], ("10.1.1.1", 5000), False),
    ([], ("203.0.113.9", 0), False),
    (["10.0.0.0/8"], ("11.1.1.1", 5000), False),
    (["10.0.0.0/8"], ("2001:db8::1", 5000), False),
    (["10.0.0.0/8"], ("testclient", 5000), False),
    (["10.0.0.0/8"], None, False),
]


@pytest.mark.parametrize(("proxies", "client", "trusted"), PROXIES)
def test_a_proxy_is_trusted_by_its_address(proxies: Any, client: Any, *, trusted: bool) -> None:
    assert TrustedProxies.of(proxies).trusts({"type": "websocket", "client": client}) is trusted


# Parsing

HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]"),
)


@given(st.sampled_from(["http", "https"]), HOSTS, st.none() | st.integers(0, 65535))
def test_every_origin_is_the_same_as_itself_and_listed_as_itself(scheme: str, host: str, port: int | None) -> None:
    authority = host if port is None else f"{host}:{port}"
    origin = f"{scheme}://{authority}"
    assert origin_allowed(origin, [authority])
    assert origin_allowed(origin.upper(), [authority.upper()])
    assert origin_allowed(origin, [], [origin])


def loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@given(HOSTS, HOSTS, st.integers(1, 65535), st.integers(1, 65535))
def test_another_host_or_port_is_not_the_same(one: str, other: str, port: int, other_port: int) -> None:
    expected = (one, port) == (other, other_port) or (loopback(one) and loopback(other))
    assert origin_allowed(f"http://{one}:{port}", [f"{other}:{other_port}"]) is expected


@given(st.text(max_size=40))
def test_whatever_is_sent_as_an_origin_is_read_or_refused(text: str) -> None:
    origin = parse_origin(text)
    if origin is not None:
        assert origin.authority == parse_authority(origin.authority.host, origin.authority.port)
        assert not set(origin.authority.host) & set("/?#@\\ \r\n")


@given(st.text(alphabet="htps:/[]*.a1@#?\\ \n", max_size=30), st.text(alphabet="a1:.[]*@ \n", max_size=20))
def test_nothing_that_is_sent_raises(origin: str, host: str) -> None:
    assert origin_allowed(origin, [host]) in (True, False)


# In an application


async def accepting(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def live(**options: Any) -> App:
    return App(routes=[WebSocketRoute("/", accepting), WebSocketRoute("/ws", accepting)], **options)


async def opened(app: App, path: str = "/", client: Any = ("10.1.1.1", 50000), **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(app, websocket_scope(path, headers=named, client=client), [CONNECT])


REFUSED = [{"type": "websocket.close", "code": 1008, "reason": "origin not allowed"}]


@pytest.mark.anyio
async def test_a_page_of_another_origin_is_refused_before_accept() -> None:
    outcome = await opened(live(), origin="https://evil.com")
    assert outcome.error is None
    assert outcome.sent == REFUSED


@pytest.mark.anyio
@pytest.mark.parametrize("headers", [{}, {"origin": "http://testserver"}, {"origin": "https://testserver"}])
async def test_its_own_pages_and_other_clients_are_let_in(headers: dict[str, str]) -> None:
    assert (await opened(live(), **headers)).types == ["accept", "close"]


@pytest.mark.anyio
@pytest.mark.parametrize("origins", ["*", ["*"], ["https://evil.com"], ["same", "https://*.com"]])
async def test_origins_lets_others_in(origins: Any) -> None:
    assert (await opened(live(origins=origins), origin="https://evil.com")).types == ["accept", "close"]


@pytest.mark.anyio
async def test_what_was_allowed_once_says_nothing_of_others() -> None:
    app = live()
    visits = [
        ("http://testserver", "testserver", True),
        ("http://testserver", "testserver", True),
        ("http://testserver", "other", False),
        ("http://other", "testserver", False),
        ("http://other", "other", True),
        ("http://testserver", "testserver", True),
    ]
    for origin, host, allowed in visits:
        outcome = await opened(app, origin=origin, host=host)
        assert (outcome.types == ["accept", "close"]) is allowed, (origin, host)


@pytest.mark.anyio
async def test_several_origins_are_none() -> None:
    scope = websocket_scope()
    scope["headers"] += [(b"origin", b"http://testserver"), (b"origin", b"http://testserver")]
    assert (await call(live(), scope, [CONNECT])).sent == REFUSED


@pytest.mark.anyio
async def test_a_host_that_is_sent_twice_is_none() -> None:
    scope = websocket_scope(headers={"origin": "http://testserver"})
    scope["headers"].append((b"host", b"testserver"))
    assert (await call(live(), scope, [CONNECT])).sent == REFUSED


@pytest.mark.anyio
async def test_a_scope_without_headers_has_no_origin() -> None:
    assert (await call(live(), {"type": "websocket", "path": "/"}, [CONNECT])).types == ["accept", "close"]


@pytest.mark.anyio
async def test_http_is_not_checked() -> None:
    app = App(routes=[Route("/", PlainTextResponse("ok"))])
    assert (await call(app, http_scope(headers={"origin": "https://evil.com"}))).body == b"ok"


FORWARDED = {"origin": "https://example.com", "x_forwarded_host": "example.com, inner.example.com"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("proxies", "client", "allowed"),
    [
        (["10.0.0.0/8"], ("10.1.1.1", 5000), True),
        (["10.0.0.0/8"], ("203.0.113.9", 5000), False),
        ([], ("10.1.1.1", 5000), False),
    ],
)
async def test_a_trusted_proxy_tells_the_host(proxies: list[str], client: Any, *, allowed: bool) -> None:
    outcome = await opened(live(trusted_proxies=proxies), client=client, **FORWARDED)
    assert (outcome.types == ["accept", "close"]) is allowed


@pytest.mark.anyio
async def test_the_host_header_counts_behind_a_proxy_too() -> None:
    app = live(trusted_proxies=["10.0.0.0/8"])
    assert (await opened(app, origin="http://testserver")).types == ["accept", "close"]


INHERITED = [
    # outer, inner, origin, allowed
    (None, None, "https://evil.com", False),
    ("*", None, "https://evil.com", True),
    (["https://partner.com"], None, "https://partner.com", True),
    (["https://partner.com"], "same", "https://partner.com", False),
    ("*", ["https://partner.com"], "https://evil.com", False),
    ("*", ["https://partner.com"], "https://partner.com", True),
    (None, "*", "https://evil.com", False),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("outer", "inner", "origin", "allowed"), INHERITED)
async def test_an_inner_application_may_be_stricter_but_not_laxer(
    outer: Any, inner: Any, origin: str, *, allowed: bool
) -> None:
    app = App(routes=[Mount("/in", live(origins=inner))], origins=outer)
    assert ((await opened(app, "/in/ws", origin=origin)).types == ["accept", "close"]) is allowed


# The log


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("origins", "line"),
    [
        (None, 'App(origins=["same", "https://evil.com"])'),
        ("same", 'App(origins=["same", "https://evil.com"])'),
        (["https://a.com"], 'App(origins=["https://a.com", "https://evil.com"])'),
    ],
)
async def test_the_log_shows_what_to_write(origins: Any, line: str, caplog: pytest.LogCaptureFixture) -> None:
    await opened(live(origins=origins), "/ws", origin="https://evil.com")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("trunkline.security", logging.WARNING)
    message = record.getMessage()
    assert "'/ws' from a page of 'https://evil.com', called as 'testserver'" in message
    assert message.endswith(f"to allow it: {line}")


@pytest.mark.anyio
async def test_what_the_log_says_to_write_works(caplog: pytest.LogCaptureFixture) -> None:
    await opened(live(), origin="https://evil.com:8443")
    line = caplog.records[0].getMessage().rsplit("allow it: ", 1)[1]
    origins = eval(line, {"App": dict})["origins"]
    assert (await opened(live(origins=origins), origin="https://evil.com:8443")).types == ["accept", "close"]


@pytest.mark.anyio
@pytest.mark.parametrize("origin", ["null", "", "https://evil.com\r\nX: 1", "https://\u001b[31m", "nonsense"])
async def test_the_log_cannot_be_forged(origin: str, caplog: pytest.LogCaptureFixture) -> None:
    outcome = await opened(live(), "/a\nb", origin=origin)
    assert outcome.sent == REFUSED
    message = caplog.records[0].getMessage()
    assert message.isprintable()
    assert 'that is no origin to be listed; App(origins="*") lets everybody in' in message


@pytest.mark.anyio
async def test_it_stands_alone_in_front_of_any_application() -> None:
    served: list[str] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope["type"])

    guarded = OriginMiddleware(inner, origins=["https://example.com"])
    assert inspect.iscoroutinefunction(guarded.__call__)  # by which servers tell ASGI 3 from ASGI 2
    for origin in (b"https://example.com", b"https://evil.example"):
        headers = [(b"host", b"api.example.com"), (b"origin", origin)]
        await call(guarded, {"type": "websocket", "path": "/", "headers": headers})
    assert served == ["websocket"]
