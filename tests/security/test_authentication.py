"""Who is there, and until when: a principal that expires closes its connection, or is renewed."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest

import trunkline.security._authentication
from tests.asgi_call import CONNECT, call, http_scope, websocket_scope
from tests.listeners.peers import AsgiClient, Client, until
from tests.security.test_tokens import OnlyOverWebSockets
from trunkline import App, Depends, HTTPConnection, WebSocket, WebSocketDisconnect
from trunkline.dependencies import DependencyError
from trunkline.endpoints import WebSocketEndpoint
from trunkline.security import (
    Authenticated,
    Authentication,
    BearerToken,
    FirstOf,
    Forbidden,
    QueryToken,
    get_authentication,
)
from trunkline.security._authentication import expiry_of

pytestmark = pytest.mark.anyio

EXPIRED = (3000, "The authentication has expired")


class Clock:
    """The time of day, which stands still until it is set, and is looked at often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(trunkline.security._authentication, "LONG", 0.001)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@dataclass
class User:
    name: str
    expires_at: Any = None


def user_of(token: str) -> User | None:
    """`anna` never expires, `anna:5` does in 5 seconds."""
    name, _, seconds = token.partition(":")
    if name == "eve":
        raise Forbidden("not you")
    if not name.isalpha():
        return None
    return User(name, time.time() + float(seconds) if seconds else None)


async def verify(token: str) -> User | None:
    return user_of(token)


authentication = Authentication(FirstOf(BearerToken(), QueryToken()), verify)
Known = Annotated[User, Depends(authentication)]


def timers() -> list[asyncio.TimerHandle]:
    """The timers of authentications that are set on this loop."""
    scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [timer for timer in scheduled if not timer.cancelled() and "Authenticated._watch" in repr(timer)]


def application() -> App:
    """Endpoints of each kind, behind the authentication."""
    app = App()
    app.seen = []  # type: ignore[attr-defined]
    seen = app.seen  # type: ignore[attr-defined]

    @app.get("/me")
    async def me(user: Known, connection: HTTPConnection) -> str:
        assert connection.user is user is get_authentication(connection).principal
        name: str = user.name
        return name

    @app.websocket("/raw")
    async def raw(websocket: WebSocket, user: Known) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(f"{user.name}: {await websocket.receive_text()}")
        except WebSocketDisconnect as error:
            seen.append((error.code, error.reason))
            raise

    @app.websocket("/renewing")
    async def renewing(websocket: WebSocket, user: Known) -> None:
        authenticated = get_authentication(websocket)
        await websocket.accept()
        async for message in websocket.iter_text():
            renewed = user_of(message)
            assert renewed is not None
            authenticated.renew(renewed)
            assert authenticated.principal is websocket.user is renewed
            assert authenticated.expires_at == renewed.expires_at
            await websocket.send_text(renewed.name)

    @app.listener("/listener", dependencies=[Depends(authentication)])
    def listener(message: str) -> str:
        return message

    @app.listener("/waiting")
    async def waiting(message: str, websocket: WebSocket, user: Known) -> str:
        get_authentication(websocket).renew(user_of(message))
        principal: User = get_authentication(websocket).principal
        return principal.name

    @app.stream("/stream")
    async def stream(user: Known) -> AsyncIterator[str]:
        yield user.name
        await asyncio.sleep(60)

    class Class(WebSocketEndpoint):
        async def on_receive(self, websocket: WebSocket, data: str) -> None:
            await websocket.send_text(f"{websocket.user.name}: {data}")

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            seen.append(close_code)

    app.router.add_websocket_route("/class", Class, dependencies=[Depends(authentication)])
    return app


# Letting in


@pytest.mark.parametrize("kind", ["async", "threaded", "object"])
async def test_verify_makes_the_principal(kind: str) -> None:
    threads = []

    def in_thread(token: str) -> User | None:
        threads.append(threading.current_thread())
        return user_of(token)

    class Verifier:
        async def __call__(self, token: str) -> User | None:
            return user_of(token)

    ways: Any = {"async": verify, "threaded": in_thread, "object": Verifier()}
    made: Authentication[User] = Authentication(BearerToken(), ways[kind])
    app = App()

    @app.get("/")
    async def me(user: Annotated[User, Depends(made)]) -> str:
        return user.name

    assert (await call(app, http_scope("/", {"authorization": "Bearer anna"}))).text == '"anna"'
    assert threading.main_thread() not in threads


async def test_the_principal_is_the_user_of_the_connection() -> None:
    outcome = await call(application(), http_scope("/me", {"authorization": "Bearer anna"}))
    assert (outcome.status, outcome.text, outcome.error) == (200, '"anna"', None)


@pytest.mark.parametrize(
    ("token", "status", "words", "challenge", "code"),
    [
        ("", 401, "Not authenticated", "Bearer", 3000),
        ("123", 401, "The token is not valid", 'Bearer error="invalid_token"', 3000),
        ("anna:-1", 401, "The authentication has expired", 'Bearer error="invalid_token"', 3000),
        ("eve", 403, "not you", None, 3003),
    ],
)
async def test_who_is_not_let_in(token: str, status: int, words: str, challenge: str | None, code: int) -> None:
    headers = {"authorization": f"Bearer {token}"}
    for scope in (http_scope("/me", headers), websocket_scope("/raw", headers)):
        outcome = await call(application(), scope, [CONNECT])
        assert (outcome.status, outcome.text) == (status, words)
        assert outcome.headers.get("www-authenticate") == challenge
    outcome = await call(application(), websocket_scope("/raw", headers, extensions={}), [CONNECT])
    assert (outcome.types, outcome.close) == (["close"], (code, words))


def test_verify_is_a_function() -> None:
    with pytest.raises(TypeError, match="verify is a function that makes a principal of a token, but got 'anna'"):
        Authentication(BearerToken(), "anna")  # type: ignore[call-overload]


def test_nobody_is_authenticated_where_nobody_asked() -> None:
    with pytest.raises(RuntimeError, match=r"give the route dependencies=\[Depends\(authentication\)\]"):
        get_authentication(HTTPConnection(http_scope()))


# When it expires

ZONE = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("principal", "expires_at"),
    [
        (User("anna"), None),
        ("anna", None),
        ({"name": "anna"}, None),
        ({"expires_at": None}, None),
        ({"expires_at": 17}, 17.0),
        (User("anna", 1.5), 1.5),
        (User("anna", datetime(1970, 1, 1, 0, 1, tzinfo=UTC)), 60.0),
        (User("anna", datetime(1970, 1, 1, 2, 1, tzinfo=ZONE)), 60.0),
    ],
)
def test_when_a_principal_expires(principal: Any, expires_at: float | None) -> None:
    assert expiry_of(principal) == expires_at


@pytest.mark.parametrize("expires_at", [datetime(2030, 1, 1), "2030-01-01", True, float("nan"), float("inf")])
def test_what_is_no_point_of_time(expires_at: Any) -> None:
    with pytest.raises(TypeError, match=r"an aware datetime, for example datetime\.now\(UTC\) .* but got"):
        expiry_of(User("anna", expires_at))


@pytest.mark.parametrize("path", ["/raw", "/renewing", "/listener", "/waiting", "/stream", "/class"])
async def test_a_principal_that_expires_closes_its_connection(path: str, client: Client, clock: Clock) -> None:
    """While the endpoint waits for a message, and nobody does anything."""
    app = application()
    await client.open(app, f"{path}?token=anna:1000")
    clock.now += 1001
    await until(lambda: client.close is not None)
    assert client.close == EXPIRED
    await client.end()
    assert timers() == []
    assert app.seen == {"/raw": [EXPIRED], "/class": [3000]}.get(path, [])  # type: ignore[attr-defined]


async def test_a_principal_that_expires_before_accept_is_refused(client: Client, clock: Clock) -> None:
    app = App()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket, user: Known) -> None:
        clock.now += 1001
        await until(lambda: websocket.closed)
        await websocket.accept()

    await client.open(app, "/?token=anna:1000")
    assert isinstance(await client.end(), WebSocketDisconnect | None)
    if isinstance(client, AsgiClient):
        assert client.peer.sent == [{"type": "websocket.close", "code": 3000, "reason": EXPIRED[1]}]
    else:
        assert b" 403 " in client.peer.transport.written  # type: ignore[union-attr]


async def test_a_connection_that_ends_before_leaves_no_timer(client: Client) -> None:
    for path in ("/raw", "/listener", "/stream"):
        await client.open(application(), f"{path}?token=anna:1000")
        assert len(timers()) == 1
        client.closes() if path != "/raw" else client.vanishes()
        await client.end()
        assert timers() == []
        client = type(client)()


async def test_an_endpoint_that_fails_leaves_no_timer(client: Client) -> None:
    app = App()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket, user: Known) -> None:
        await websocket.accept()
        raise ValueError

    await client.open(app, "/?token=anna:1000")
    assert isinstance(await client.end(), ValueError)
    assert timers() == []


async def test_a_request_needs_no_timer() -> None:
    outcome = await call(application(), http_scope("/me", {"authorization": "Bearer anna:1000"}))
    assert outcome.status == 200
    assert timers() == []


async def test_a_long_time_is_looked_at_on_the_way(client: Client, clock: Clock) -> None:
    """The time of day may be set meanwhile, in either direction."""
    await client.open(application(), "/raw?token=anna:100000")
    before = timers()
    await until(lambda: timers() != before)
    client.says("still open")
    await client.hears("anna: still open")
    clock.now += 100001
    await until(lambda: client.close is not None)
    assert client.close == EXPIRED
    await client.end()


# Renewed


@pytest.mark.parametrize("path", ["/renewing", "/waiting"])
async def test_a_principal_is_renewed_in_place(path: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.open(application(), f"{path}?token=anna:1000")
    (first,) = timers()
    client.says("bob:2000")
    await client.hears("bob")
    (second,) = timers()
    assert first.cancelled()
    assert second.when() > first.when()
    client.says("carol")
    await client.hears("bob", "carol")
    assert timers() == []
    clock = Clock(monkeypatch)
    client.says("dave:1000")
    await client.hears("bob", "carol", "dave")
    clock.now += 1001
    await until(lambda: client.close is not None)
    assert client.close == EXPIRED
    await client.end()
    assert timers() == []


async def test_one_who_is_revoked_is_closed(client: Client) -> None:
    app = App()
    connections: list[Authenticated[User]] = []

    @app.websocket("/")
    async def endpoint(websocket: WebSocket, user: Known) -> None:
        connections.append(get_authentication(websocket))
        await websocket.accept()
        await websocket.receive_text()

    await client.open(app, "/?token=anna:1000")
    connections[0].revoke("You have logged out")
    await client.end()
    assert client.close == (3000, "You have logged out")
    assert timers() == []
    connections[0].revoke()  # nothing is left to be closed


async def test_revoking_a_request_does_nothing() -> None:
    Authenticated(HTTPConnection(http_scope()), User("anna"), None).revoke()


async def test_one_who_is_renewed_by_what_has_expired_is_closed(client: Client) -> None:
    await client.open(application(), "/renewing?token=anna")
    client.says("bob:-1")
    await until(lambda: client.close is not None)
    assert client.close == EXPIRED
    await client.end()
    assert timers() == []


async def test_a_principal_that_cannot_be_changes_nothing() -> None:
    connection = HTTPConnection(http_scope())
    anna = User("anna")
    authenticated = Authenticated(connection, anna, None)
    with pytest.raises(TypeError):
        authenticated.renew(User("bob", "tomorrow"))
    assert authenticated.principal is connection.user is anna


async def test_a_renewal_behind_the_end_starts_no_timer() -> None:
    websocket = WebSocket(websocket_scope(), None, None)  # type: ignore[arg-type]
    authenticated = Authenticated(websocket, User("anna"), None)
    authenticated.end()
    authenticated.renew(User("bob", time.time() + 1000))
    assert authenticated.principal.name == "anna"
    assert timers() == []


async def test_nothing_is_kept_of_a_connection_that_has_ended(client: Client) -> None:
    await client.open(application(), "/raw?token=anna:1000")
    client.closes()
    await client.end()
    gc.collect()
    assert [one for one in gc.get_objects() if type(one) is Authenticated and one._connection is not None] == []


# Where it cannot be


async def test_on_one_connection_several_ask_once() -> None:
    asked = []

    async def counting(token: str) -> str:
        asked.append(token)
        return token

    once: Authentication[str] = Authentication(BearerToken(), counting)
    app = App()

    async def name(user: Annotated[str, Depends(once)]) -> str:
        return user

    @app.get("/", dependencies=[Depends(once)])
    async def me(user: Annotated[str, Depends(once)], name: Annotated[str, Depends(name)]) -> str:
        return user + name

    assert (await call(app, http_scope("/", {"authorization": "Bearer a"}))).text == '"aa"'
    assert asked == ["a"]


def test_one_that_only_a_websocket_can_have_is_refused_elsewhere() -> None:
    made: Authentication[User] = Authentication(OnlyOverWebSockets(), verify)
    app = App()
    with pytest.raises(DependencyError, match=r"'connection' of Authentication .* is a WebSocket, which an HTTP route"):
        app.router.add_route("/", lambda request: None, dependencies=[Depends(made)])
