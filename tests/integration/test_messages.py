"""Typed messages between a real client and a real server: on our engine, and on a server without the Line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.cli_process import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT = 10


@pytest.fixture(scope="module", params=["our engine", "websockets-sansio"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    arguments = [] if request.param == "our engine" else ["--ws", request.param]
    with serving("run", "messages:app", "--port", "0", *arguments, cwd=EXAMPLES) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        yield f"ws://127.0.0.1:{port}"


def said(client: ClientConnection, data: str | bytes) -> Any:
    client.send(data)
    answer = client.recv(timeout=TIMEOUT)
    return json.loads(answer) if isinstance(answer, str) else msgspec.msgpack.decode(answer)


def closed(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=TIMEOUT)
    assert client.close_code is not None
    return client.close_code, client.close_reason or ""


def test_a_conversation_goes_on_behind_invalid_messages(url: str) -> None:
    with connect(f"{url}/chat") as client:
        client.send('{"type":"join","room":"blue"}')
        for data in ("{", b"\xff", '{"type":"say","text":5}', '{"type":"shout"}', "[" * 10_000):
            error = said(client, data)
            assert (error["type"], error["code"]) == ("error", "invalid_message")
        assert said(client, '{"type":"say","text":"hü"}') == {"type": "said", "room": "blue", "text": "hü"}
        assert said(client, '{"type":"say","text":"hü"}'.encode()) == {"type": "said", "room": "blue", "text": "hü"}


def test_many_messages_of_one_read_are_answered_in_order(url: str) -> None:
    with connect(f"{url}/game") as client:
        for number in range(200):
            client.send(json.dumps({"type": "move", "x": 1, "y": number if number % 50 else "invalid"}))
        answers = [json.loads(client.recv(timeout=TIMEOUT)) for _ in range(200)]
    errors = [number for number, answer in enumerate(answers) if answer["type"] == "error"]
    assert errors == [0, 50, 100, 150]
    assert answers[-1] == {"type": "position", "x": 196, "y": sum(range(200)) - sum(errors)}


def test_too_many_invalid_messages_close_the_connection(url: str) -> None:
    with connect(f"{url}/game") as client:
        for _ in range(10):
            assert said(client, "{}")["errors"][0]["type"] == "missing"
        client.send("{}")
        assert closed(client) == (1008, "too many invalid messages")


@pytest.mark.parametrize(
    ("data", "close"),
    [
        ("{", (1007, "the message cannot be decoded")),
        ("{}", (1008, "the message is not of an expected type")),
    ],
)
def test_a_strict_endpoint_closes(url: str, data: str, close: tuple[int, str]) -> None:
    with connect(f"{url}/strict") as client:
        client.send(data)
        assert closed(client) == close


@pytest.mark.parametrize("name", ["game.v1+msgpack", "game.v1+json"])
def test_the_client_chooses_the_codec_by_its_subprotocol(url: str, name: str) -> None:
    with connect(f"{url}/game-in-either", subprotocols=[Subprotocol("game.v2"), Subprotocol(name)]) as client:
        assert client.subprotocol == name
        move = {"type": "move", "x": 1, "y": 2}
        data = msgspec.msgpack.encode(move) if name.endswith("msgpack") else json.dumps(move)
        assert said(client, data) == {"type": "position", "x": 1, "y": 2}
        assert said(client, "nonsense")["errors"][0]["type"] in ("frame_type", "json_invalid")
