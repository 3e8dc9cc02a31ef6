"""The typed chat and the ticker as a user runs them: `trunkline run`, and clients of the `websockets` library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.cli_process import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT = 10


def served(app: str, *arguments: str) -> Iterator[str]:
    with serving("run", app, "--port", "0", *arguments, cwd=EXAMPLES) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        yield f"ws://127.0.0.1:{port}"


@pytest.fixture(scope="module", params=[(), ("--ws", "websockets-sansio")], ids=["our engine", "websockets-sansio"])
def chat(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from served("typed_chat:app", *request.param)


@pytest.fixture(scope="module", params=[(), ("--ws", "websockets-sansio")], ids=["our engine", "websockets-sansio"])
def ticker(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from served("ticker:app", *request.param)


def hears(client: ClientConnection) -> Any:
    return json.loads(client.recv(timeout=TIMEOUT))


def says(client: ClientConnection, **message: Any) -> None:
    client.send(json.dumps(message))


def test_two_people_talk(chat: str) -> None:
    with connect(f"{chat}/rooms/blue") as anna:
        says(anna, type="hello", name=" Anna ")
        assert hears(anna) == {"type": "welcome", "members": ["Anna"]}
        with connect(f"{chat}/rooms/blue") as bert:
            says(bert, type="hello", name="Bert")
            assert hears(bert) == {"type": "welcome", "members": ["Anna", "Bert"]}
            assert hears(anna) == {"type": "joined", "name": "Bert"}
            says(bert, type="rename", name="Berta")
            says(bert, type="say", text="hü")
            for client in (anna, bert):
                assert hears(client) == {"type": "renamed", "before": "Bert", "name": "Berta"}
                assert hears(client) == {"type": "said", "name": "Berta", "text": "hü"}
        assert hears(anna) == {"type": "left", "name": "Berta"}


def test_whoever_says_something_else_is_told_and_stays(chat: str) -> None:
    with connect(f"{chat}/rooms/red") as anna:
        says(anna, type="say", text="too early")
        assert [error["loc"] for error in hears(anna)["errors"]] == [["type"], ["name"]]
        says(anna, type="hello", name="Anna")
        assert hears(anna)["type"] == "welcome"
        says(anna, type="shout")
        assert hears(anna)["errors"][0]["type"] == "union_tag_invalid"
        says(anna, type="say", text="still here")
        assert hears(anna)["text"] == "still here"


def test_prices_come_until_the_client_leaves(ticker: str) -> None:
    with connect(f"{ticker}/ticker/TRK?every=0.01") as client:
        prices = [hears(client) for _ in range(3)]
        client.send("what a stream does not ask for is dropped")
        assert hears(client)["symbol"] == "TRK"
    assert {price["symbol"] for price in prices} == {"TRK"}
    assert all(isinstance(price["price"], float) for price in prices)
    with pytest.raises(InvalidStatus), connect(f"{ticker}/ticker/TRK?every=often"):
        pass


def test_the_client_says_what_to_watch(ticker: str) -> None:
    with connect(f"{ticker}/watchlist") as client:
        for symbol in ("TRK", "LINE"):
            says(client, type="watch", symbol=symbol)
            assert hears(client) == {"symbol": symbol, "price": 100.0}
        says(client, type="unwatch")
        assert hears(client)["code"] == "invalid_message"
        says(client, type="done")
        with pytest.raises(ConnectionClosedOK):
            client.recv(timeout=TIMEOUT)
        assert client.close_code == 1000


def test_over_ten_mistakes_in_a_row_end_a_stream(ticker: str) -> None:
    with connect(f"{ticker}/watchlist") as client:
        for _ in range(11):
            client.send("{")
        errors = [hears(client) for _ in range(10)]
        assert {error["code"] for error in errors} == {"invalid_message"}
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=TIMEOUT)
        assert (client.close_code, client.close_reason) == (1008, "too many invalid messages")
