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

from tests.contracts.servers import SERVERS, RunningServer, Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

APP = "tests.integration.authentication_app:app"
COMMAND = "trunkline run {app} --host 127.0.0.1 --port {port}"
NAMES = ("engine", "engine-without-the-line", "uvicorn-websockets-sansio", "hypercorn", "granian")
ROWS = [Server(name="trunkline run", package="trunkline", command=COMMAND, app=APP)]
ROWS += [dataclasses.replace(row, app=APP) for row in SERVERS if row.name in NAMES]

# Those whose log is ours, also of HTTP requests.
OURS = [row for row in ROWS if row.name in ("trunkline run", "engine")]


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(request.param, tmp_path_factory.mktemp("log")) as running:
        yield running


def get(server: RunningServer, path: str, **headers: str) -> tuple[int, Any, Any]:
    try:
        with urlopen(Request(f"http://{server.host}{path}", headers=headers), timeout=10) as answer:
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


def test_one_who_is_refused_after_accept(server: RunningServer) -> None:
    with feed(server, "?token=secret-anna") as client:
        client.send("leave")
        assert closed_with(client) == (3003, "not any more")


@pytest.mark.parametrize("kind", ["raw", "listener", "plain", "stream", "class"])
def test_one_whose_authentication_expires(kind: str, server: RunningServer) -> None:
    with feed(server, "?token=secret-0.2", path=f"/expiring/{kind}") as client:
        assert closed_with(client) == (3000, "The authentication has expired")


@pytest.mark.parametrize("kind", ["raw", "listener"])
def test_one_whose_authentication_is_renewed(kind: str, server: RunningServer) -> None:
    """By one that holds for long, and by one that has expired."""
    with feed(server, "?token=secret-1000", path=f"/expiring/{kind}") as client:
        client.send("secret-1000")
        assert client.recv(timeout=10) == "renewed"
        client.send("secret--1")
        assert closed_with(client) == (3000, "The authentication has expired")


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
    with feed(server, "?token=secret-0.05", path="/expiring/raw") as client:
        closed_with(client)
    log = server.since_mark()
    assert '"GET /me HTTP/1.1" 200' in log
    assert '"WebSocket /feed" [accepted]' in log
    assert '"WebSocket /feed" 403' in log
    assert "the endpoint fails" in log
    assert "secret" not in log
