"""Connections per address and per user: who is refused, how, and that nobody is counted who is gone."""

import asyncio
import logging
import math
from typing import Annotated, Any

import pytest

from tests.limits.endpoints import ECHOES, Echo, aside, echo, plain_echo
from tests.listeners.peers import AsgiClient, Client
from trunkline import App, Depends, HTTPConnection, HTTPException, Query, Router, WebSocket
from trunkline.limits import LimitError, Limits
from trunkline.testclient import TestClient
from trunkline.testing import WebSocketDenied, connect

pytestmark = pytest.mark.anyio

TWO = Limits(connections_per_ip=2)


async def is_refused(app: Any, path: str = "/echo/", **options: Any) -> WebSocketDenied:
    with pytest.raises(WebSocketDenied) as caught:
        async with connect(app, path, **options):
            pass
    return caught.value


async def is_served(app: Any, path: str = "/echo/", **options: Any) -> None:
    async with connect(app, path, **options) as ws:
        await ws.send_text("a")
        assert await ws.receive_text() == "a"


@pytest.mark.parametrize("whose", ["own", "of the application"])
@pytest.mark.parametrize("kind", ECHOES)
async def test_one_connection_too_many_of_an_address_is_refused_with_429(kind: str, whose: str) -> None:
    app = aside(kind, TWO) if whose == "own" else aside(kind, around=TWO)
    async with connect(app, "/echo/", client=("10.0.0.1", 1)), connect(app, "/echo/", client=("10.0.0.1", 2)):
        refusal = await is_refused(app, client=("10.0.0.1", 3))
        assert refusal.status == 429
        assert refusal.body == b"more than 2 connections of one address"
        await is_served(app, client=("10.0.0.2", 1))
    await is_served(app, client=("10.0.0.1", 4))


async def test_a_server_without_denial_responses_refuses_it_all_the_same(asgi_client: AsgiClient) -> None:
    app = aside("websocket", Limits(connections_per_ip=1))
    scope: Any = {"type": "websocket", "path": "/echo/", "headers": [], "query_string": b"", "client": ("10.0.0.1", 1)}
    async with connect(app, "/echo/", client=("10.0.0.1", 1)):
        asgi_client.peer.says({"type": "websocket.connect"})
        await app(scope, asgi_client.peer.receive, asgi_client.peer.send)
        refusal = {"type": "websocket.close", "code": 1008, "reason": "more than 1 connections of one address"}
        assert asgi_client.peer.sent == [refusal]


async def fails(websocket: WebSocket) -> None:
    await websocket.accept()
    raise ValueError("failed")


async def fails_before(websocket: WebSocket) -> None:
    raise ValueError("failed")


async def returns(websocket: WebSocket) -> None:
    await websocket.accept()


async def closes(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


async def refuses(websocket: WebSocket) -> None:
    await websocket.close()


async def refuses_with_a_response(websocket: WebSocket) -> None:
    raise HTTPException(403)


async def waits(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.wait_closed()


async def is_too_young(age: Annotated[int, Query()], websocket: WebSocket) -> None:
    await websocket.accept()


ENDS = [fails, fails_before, returns, closes, refuses, refuses_with_a_response, waits, is_too_young]


@pytest.mark.parametrize("endpoint", ENDS)
async def test_after_every_kind_of_end_nothing_is_counted(client: Client, endpoint: Any) -> None:
    ends = Router()
    ends.websocket("/")(endpoint)
    ends.websocket("/echo/")(echo)
    app = App(limits=Limits(connections_per_ip=1, connections_per_user=1, user=lambda: "one"))
    app.include_router(ends)
    await client.open(app)
    client.closes()
    await client.end()
    await is_served(app, client=("127.0.0.1", 1))
    async with connect(app, "/echo/", client=("127.0.0.1", 1)):
        assert (await is_refused(app, client=("127.0.0.1", 1))).status == 429


@pytest.mark.parametrize("how", ["cancelled", "vanished", "while it is solved"])
async def test_nothing_is_counted_of_what_was_cancelled(client: Client, how: str) -> None:
    waiting = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def solved() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        if how == "while it is solved":
            waiting.set()
            await asyncio.Event().wait()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        waiting.set()
        await websocket.receive()

    app = App(limits=Limits(connections_per_ip=1, connections_per_user=1, user=lambda: "one"))
    app.websocket("/", dependencies=[Depends(solved)])(endpoint)
    app.websocket("/echo/")(echo)
    opening = asyncio.ensure_future(client.open(app))
    await waiting.wait()
    if how == "while it is solved":
        opening.cancel()
    await asyncio.wait({opening})
    if how == "vanished":
        client.vanishes()
    else:
        tasks[0].cancel()
    await asyncio.wait(tasks)
    await is_served(app, client=("127.0.0.1", 1))


async def test_a_dependency_that_refuses_behind_the_count_gives_it_back() -> None:
    async def refuses() -> None:
        raise HTTPException(401)

    app = App(limits=Limits(connections_per_ip=1))
    app.websocket("/refused", dependencies=[Depends(refuses)])(echo)
    app.websocket("/echo/")(echo)
    for _ in range(2):
        assert (await is_refused(app, "/refused")).status == 401
    await is_served(app)


async def test_what_is_said_around_is_counted_for_all_routes_together_and_what_a_route_says_for_itself() -> None:
    app = App(limits=TWO)
    app.websocket("/a")(echo)
    app.listener("/b")(plain_echo)
    app.websocket("/c", limits=Limits(connections_per_ip=1))(Echo)
    app.websocket("/d", limits=Limits(max_message=5))(echo)
    async with connect(app, "/a"), connect(app, "/b"):
        for path in "abd":
            assert (await is_refused(app, f"/{path}")).status == 429
        async with connect(app, "/c"):
            assert (await is_refused(app, "/c")).status == 429
    async with connect(app, "/c"), connect(app, "/d"), connect(app, "/d"):
        assert (await is_refused(app, "/d")).status == 429


async def test_limits_that_two_routes_were_given_are_counted_for_both_together() -> None:
    app = App()
    for path in ("/a", "/b"):
        app.websocket(path, limits=TWO)(echo)
    async with connect(app, "/a"), connect(app, "/b"):
        assert (await is_refused(app, "/a")).status == 429


async def test_a_route_may_lift_the_number_of_its_application() -> None:
    app = aside("websocket", Limits(connections_per_ip=math.inf), Limits(connections_per_ip=1))
    async with connect(app, "/echo/"), connect(app, "/echo/"):
        await is_served(app)


def test_requests_to_a_mounted_application_are_not_counted_and_have_no_user() -> None:
    def user() -> str:
        raise HTTPException(401)

    inner = Router()
    inner.get("/")(lambda request: {"hello": "world"})
    app = App(limits=Limits(connections_per_ip=1, connections_per_user=1, user=user))
    app.mount("/in", inner)
    with TestClient(app) as http:
        for _ in range(3):
            assert http.get("/in/").json() == {"hello": "world"}


# Users


def user_of(name: Annotated[str | None, Query()] = None) -> str | None:
    return name


async def test_one_connection_too_many_of_a_user_is_refused_with_429() -> None:
    app = aside("websocket", Limits(connections_per_user=2, user=user_of))
    async with connect(app, "/echo/?name=ann"), connect(app, "/echo/?name=ann"):
        refusal = await is_refused(app, "/echo/?name=ann")
        assert (refusal.status, refusal.body) == (429, b"more than 2 connections of one user")
        await is_served(app, "/echo/?name=bob")
    await is_served(app, "/echo/?name=ann")


async def test_nobody_is_not_counted() -> None:
    app = aside("websocket", Limits(connections_per_user=1, user=user_of))
    async with connect(app, "/echo/"), connect(app, "/echo/"):
        await is_served(app)


async def test_the_user_is_asked_for_once_together_with_the_endpoint() -> None:
    asked: list[str] = []

    async def authenticated(connection: HTTPConnection[Any]) -> str:
        asked.append(connection.query_params["name"])
        return asked[-1]

    def user_id(user: Annotated[str, Depends(authenticated)]) -> str:
        return user

    app = App()

    @app.listener("/", limits=Limits(connections_per_user=1, user=user_id))
    async def listener(message: str, user: Annotated[str, Depends(authenticated)]) -> str:
        return user + message

    async with connect(app, "/?name=ann") as ws:
        await ws.send_text("!")
        assert await ws.receive_text() == "ann!"
    assert asked == ["ann"]


async def test_an_authentication_that_refuses_does_so_before_anybody_is_counted() -> None:
    def user() -> str:
        raise HTTPException(401)

    assert (await is_refused(aside("websocket", Limits(connections_per_user=1, user=user)))).status == 401


async def test_a_user_that_cannot_be_told_from_others_is_an_error_that_says_what_to_write() -> None:
    class User:
        pass

    with pytest.raises(LimitError, match=r"a str or an int .* but got a .*User from .*; .* user\.id"):
        async with connect(aside("websocket", Limits(connections_per_user=1, user=User)), "/echo/"):
            pass


@pytest.mark.parametrize(
    "said", [{"connections_per_user": 3}, {"user": user_of}, {"connections_per_user": 1, "user": 7}]
)
def test_a_number_and_a_user_go_together(said: Any) -> None:
    with pytest.raises(LimitError, match="connections_per_user and user= go together"):
        Limits(**said)


# Addresses


def header(*values: str) -> list[tuple[str, str]]:
    return [("X-Forwarded-For", value) for value in values]


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::1", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("somewhere", "somewhere", True),
        ("somewhere", "elsewhere", False),
    ],
)
async def test_an_address_is_counted_by_its_network(first: str, second: str, is_one: bool) -> None:
    app = aside("websocket", Limits(connections_per_ip=1))
    async with connect(app, "/echo/", client=(first, 1)):
        if is_one:
            assert (await is_refused(app, client=(second, 1))).status == 429
        else:
            await is_served(app, client=(second, 1))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param(("192.0.2.1", 5), ["10.9.9.9"], "192.0.2.1", id="not from a proxy"),
        pytest.param(("10.0.0.7", 5), ["192.0.2.9"], "192.0.2.9", id="from a proxy"),
        pytest.param(("10.0.0.7", 5), ["1.1.1.1, 192.0.2.9, 10.0.0.8"], "192.0.2.9", id="two proxies, made up before"),
        pytest.param(("10.0.0.7", 5), ["1.1.1.1", "192.0.2.9"], "192.0.2.9", id="in two lines"),
        pytest.param(("10.0.0.7", 5), ["192.0.2.9:4711"], "192.0.2.9", id="with a port"),
        pytest.param(("10.0.0.7", 5), ["[2001:db8::1]:80"], "2001:db8::", id="IPv6 with a port"),
        pytest.param(("10.0.0.7", 5), ["1.1.1.1, unknown, 10.0.0.8"], "10.0.0.8", id="as far as it can be read"),
        pytest.param(("10.0.0.7", 5), ["unknown"], "10.0.0.7", id="not to be read"),
        pytest.param(("10.0.0.7", 5), ["10.0.0.9, 10.0.0.8"], "10.0.0.9", id="nobody but proxies"),
        pytest.param(("10.0.0.7", 5), [], "10.0.0.7", id="the proxy itself"),
        pytest.param(("::ffff:10.0.0.7", 5), ["192.0.2.9"], "192.0.2.9", id="a proxy by IPv4 on a socket of IPv6"),
        pytest.param(("192.0.2.9", 0), ["1.1.1.1"], "192.0.2.9", id="the server has put the client there"),
    ],
)
async def test_behind_a_proxy_the_client_is_whom_trusted_proxies_tell_of(
    peer: tuple[str, int], forwarded: list[str], client: str
) -> None:
    app = aside("websocket", Limits(connections_per_ip=1), trusted_proxies=["10.0.0.0/8"])
    async with connect(app, "/echo/", client=(client, 0)):
        assert (await is_refused(app, client=peer, headers=header(*forwarded))).status == 429
        await is_served(app, client=("203.0.113.5", 9))


async def test_where_any_peer_is_trusted_the_last_hop_is_believed_and_no_other() -> None:
    app = aside("websocket", Limits(connections_per_ip=1), trusted_proxies="*")
    async with connect(app, "/echo/", client=None, headers=header("1.1.1.1, 192.0.2.9")):
        assert (await is_refused(app, client=("10.0.0.1", 5), headers=header("2.2.2.2, 192.0.2.9"))).status == 429


async def test_without_trusted_proxies_no_header_is_believed() -> None:
    app = aside("websocket", Limits(connections_per_ip=1))
    async with connect(app, "/echo/", client=("10.0.0.1", 5), headers=header("1.1.1.1")):
        assert (await is_refused(app, client=("10.0.0.1", 5), headers=header("2.2.2.2"))).status == 429


async def test_an_application_trusts_whom_the_one_around_it_trusts() -> None:
    app = App(trusted_proxies=["10.0.0.0/8"])
    app.mount("/in", aside("websocket", Limits(connections_per_ip=1)))
    async with connect(app, "/in/echo/", client=("10.0.0.7", 5), headers=header("1.1.1.1")):
        await is_served(app, "/in/echo/", client=("10.0.0.7", 5), headers=header("2.2.2.2"))


async def test_where_no_address_is_known_nobody_is_refused_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = aside("websocket", Limits(connections_per_ip=1))
    with caplog.at_level(logging.WARNING, "trunkline.limits"):
        async with connect(app, "/echo/", client=None), connect(app, "/echo/", client=None):
            await is_served(app, client=("", 0))
    (record,) = caplog.records
    assert 'write App(trusted_proxies="*")' in record.getMessage()


async def test_several_workers_are_warned_about_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = aside("websocket", Limits(connections_per_ip=5))
    with caplog.at_level(logging.WARNING, "trunkline.limits"):
        await is_served(app)
        assert caplog.records == []
        monkeypatch.setenv("WEB_CONCURRENCY", "4")
        await is_served(app)
        await is_served(app)
    (record,) = caplog.records
    assert "there may be 4 times as many as the 5 that are allowed" in record.getMessage()
