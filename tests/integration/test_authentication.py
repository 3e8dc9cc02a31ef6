"""Authentication over real sockets: what the client sees, and what the log does not say."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.cli_process import Server as CommandServer, serving
from tests.contracts.servers import SERVERS, RunningServer, Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

    from tests.hub.redis_server import RedisServer

APP = "tests.integration.authentication_app:app"
COMMAND = "trunkline run {app} --host 127.0.0.1 --port {port} --log-level debug"
NAMES = ("engine", "engine-without-the-line", "uvicorn-websockets-sansio", "hypercorn", "granian")
ROWS = [Server(name="trunkline run", package="trunkline", command=COMMAND, app=APP)]
ROWS += [dataclasses.replace(row, app=APP) for row in SERVERS if row.name in NAMES]

# Those whose log is ours, also of HTTP requests.
OURS = [row for row in ROWS if row.name in ("trunkline run", "engine")]


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(request.param, tmp_path_factory.mktemp("log")) as running:
        yield running


def get(server: RunningServer, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, Any]:
    try:
        with urlopen(Request(f"http://{server.host}{path}", headers=headers, method=method), timeout=10) as answer:
            return answer.status, json.load(answer), answer.headers
    except HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def feed(server: RunningServer, query: str = "", *, path: str = "/feed", **options: Any) -> ClientConnection:
    client: ClientConnection = connect(f"ws://{server.host}{path}{query}", proxy=None, **options)
    return client


def closed_with(client: ClientConnection) -> tuple[int, str]:
    """The code and reason of the server's close, behind all messages."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            client.recv(timeout=10)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


PLACES = [
    ("", {"Authorization": "Bearer secret-anna"}),
    ("", {"Cookie": "session=secret-anna"}),
    ("?token=secret-anna", {}),
]


@pytest.mark.parametrize(("query", "headers"), PLACES)
def test_one_dependency_finds_a_token_over_http_and_websocket(
    query: str, headers: dict[str, str], server: RunningServer
) -> None:
    assert get(server, f"/me{query}", **headers)[:2] == (200, "anna")
    with feed(server, query, additional_headers=headers) as client:
        assert client.recv(timeout=10) == "anna"
        assert client.subprotocol is None


def test_a_token_among_the_subprotocols_is_not_answered(server: RunningServer) -> None:
    with feed(server, subprotocols=["bearer.secret-anna", "feed.v1"]) as client:
        assert client.recv(timeout=10) == "anna"
        assert client.subprotocol == "feed.v1"


@pytest.mark.parametrize(
    ("query", "status", "words", "challenge"),
    [
        ("", 401, "Not authenticated", "Bearer, Cookie"),
        ("?token=wrong", 401, "The token is not valid", "Bearer"),
        ("?token=secret-eve", 403, "Forbidden", None),
    ],
)
def test_one_who_is_refused(query: str, status: int, words: str, challenge: str | None, server: RunningServer) -> None:
    answered, body, headers = get(server, f"/me{query}")
    assert (answered, body) == (status, words)
    assert headers["WWW-Authenticate"] == challenge
    with pytest.raises(InvalidStatus) as caught, feed(server, query):
        pass
    response = caught.value.response
    assert (response.status_code, (response.body or b"").decode()) == (status, words)
    assert response.headers.get("WWW-Authenticate") == challenge


@pytest.mark.parametrize("row", [ROWS[0], ROWS[-1]], ids=lambda row: row.name)
def test_one_who_is_refused_where_the_server_has_no_denial_responses(row: Server, tmp_path: Path) -> None:
    with serve(dataclasses.replace(row, app=f"{APP.partition(':')[0]}:without_denial"), tmp_path) as server:
        for query in ("", "?token=wrong", "?token=secret-eve"):
            with pytest.raises(InvalidStatus) as caught, feed(server, query):
                pass
            assert caught.value.response.status_code == 403
        with feed(server, "?token=secret-anna") as client:
            assert client.recv(timeout=10) == "anna"


def test_one_who_is_refused_after_accept(server: RunningServer) -> None:
    with feed(server, "?token=secret-anna") as client:
        client.send("leave")
        assert closed_with(client) == (3003, "not any more")


@pytest.mark.parametrize("kind", ["raw", "listener", "plain", "stream", "class"])
def test_one_whose_authentication_expires(kind: str, server: RunningServer) -> None:
    with feed(server, "?token=secret-0.5", path=f"/expiring/{kind}") as client:
        assert closed_with(client) == (3000, "The authentication has expired")


@pytest.mark.parametrize("kind", ["raw", "listener"])
def test_one_whose_authentication_is_renewed(kind: str, server: RunningServer) -> None:
    """By one that holds for long, and by one that has expired."""
    with feed(server, "?token=secret-1000", path=f"/expiring/{kind}") as client:
        client.send("secret-1000")
        assert client.recv(timeout=10) == "renewed"
        client.send("secret--1")
        assert closed_with(client) == (3000, "The authentication has expired")


def test_a_ticket_is_good_once(server: RunningServer) -> None:
    status, body, _ = get(server, "/ticket", "POST", Authorization="Bearer secret-anna")
    assert status == 200
    for path in ("/ticket", "/message"):
        _, body, _ = get(server, "/ticket", "POST", Authorization="Bearer secret-anna")
        with feed(server, f"?ticket={body['ticket']}", path=path) as client:
            assert json.loads(client.recv(timeout=10))["user"] == "anna"
        for ticket in (body["ticket"], "nonsense"):
            with pytest.raises(InvalidStatus, match="401"), feed(server, f"?ticket={ticket}", path=path):
                pass


def test_a_token_in_the_first_message(server: RunningServer) -> None:
    with feed(server, path="/message") as client:
        client.send('{"token": "secret-bob"}')
        assert json.loads(client.recv(timeout=10))["user"] == "secret-bob"
    for message, words in (
        ('{"token": "wrong"}', "The token is not valid"),
        ("{}", "The first message is not a token"),
    ):
        with feed(server, path="/message") as client:
            client.send(message)
            assert closed_with(client) == (3000, words)
    with feed(server, path="/message") as client:
        assert closed_with(client) == (3000, "No token came in time")


@contextlib.contextmanager
def two_workers(tickets: str) -> Iterator[tuple[CommandServer, str]]:
    arguments = ("run", APP, "--port", "0", "--workers", "2")
    with serving(*arguments, env={"TICKETS": tickets}) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        yield server, f"127.0.0.1:{port}"


def test_a_ticket_in_redis_is_good_in_every_worker(redis_server: RedisServer) -> None:
    with two_workers(redis_server.url) as (server, host):
        for _ in range(2):
            server.wait_for("Application startup complete")
        seen: set[bool] = set()
        for _ in range(200):
            request = Request(f"http://{host}/ticket", headers={"Authorization": "Bearer secret-anna"}, method="POST")
            with urlopen(request, timeout=10) as answer:
                issued = json.load(answer)
            with connect(f"ws://{host}/ticket?ticket={issued['ticket']}", proxy=None) as client:
                got = json.loads(client.recv(timeout=10))
            assert got["user"] == "anna"
            seen.add(got["process"] == issued["process"])
            if seen == {True, False}:
                return
        raise AssertionError(f"the kernel gave all connections to one worker, or never one twice: {seen}")


def test_tickets_in_memory_say_that_several_workers_do_not_share_them() -> None:
    with two_workers("memory://") as (server, _):
        server.wait_for(r"there are 2 worker processes, but these tickets are kept in the memory of the one")


@pytest.mark.parametrize("server", OURS, ids=lambda row: row.name, indirect=True)
def test_tokens_are_not_in_the_log(server: RunningServer) -> None:
    server.mark()
    for query, headers in PLACES:
        assert get(server, f"/me{query}", **headers)[0] == 200
        with feed(server, query, additional_headers=headers) as client:
            client.send("fail")
            assert closed_with(client) == (1011, "")
    with feed(server, subprotocols=["bearer.secret-anna"]) as client:
        client.recv(timeout=10)
    for query in ("?token=secret-eve", "?token=secret-anna&token=secret-bob"):
        with contextlib.suppress(InvalidStatus), feed(server, query):
            pass
    with feed(server, "?token=secret-0.5", path="/expiring/raw") as client:
        closed_with(client)
    _, body, _ = get(server, "/ticket", "POST", Authorization="Bearer secret-anna")
    with feed(server, f"?ticket={body['ticket']}", path="/ticket") as client:
        client.recv(timeout=10)
    with pytest.raises(InvalidStatus, match="401"), feed(server, f"?ticket={body['ticket']}", path="/ticket"):
        pass
    with feed(server, path="/message") as client:
        client.send('{"token": "wrong-secret"}')
        closed_with(client)
    log = server.since_mark()
    assert '"GET /me HTTP/1.1" 200' in log
    assert '"WebSocket /feed" [accepted]' in log
    assert '"WebSocket /feed" 403' in log
    assert "the endpoint fails" in log
    assert '"WebSocket /ticket" 401' in log
    assert "secret" not in log
    assert body["ticket"] not in log
