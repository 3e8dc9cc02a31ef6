"""Every program under examples/ runs, and does what the documentation says of it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from contextlib import AsyncExitStack, ExitStack, closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import starlette.testclient
from fastapi import FastAPI
from fastapi.exceptions import FastAPIError
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect as connect_to

import trunkline
from tests.cli_process import serving
from tests.hub.redis_server import RedisServer
from trunkline.testclient import TestClient, WebSocketDenialResponse
from trunkline.testing import WebSocketDenied, connect
from trunkline.websockets import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from trunkline.types import Message

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def load(name: str) -> ModuleType:
    """A fresh copy of an example, without its directory on the path."""
    spec = importlib.util.spec_from_file_location(f"example_{Path(name).stem}", EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shortest_program_runs_as_the_readme_says() -> None:
    with serving("run", "hello:app", "--port", "0", cwd=EXAMPLES) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        with connect_to(f"ws://127.0.0.1:{port}/echo") as client:
            client.send("hello")
            assert client.recv(timeout=10) == "you said: hello"


def test_the_tests_that_the_documentation_shows_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_hello.py")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


@pytest.mark.parametrize(
    ("path", "options", "extensions", "largest"),
    [
        ("/echo", [], "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12", 1 << 24),
        ("/chat", [], "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12", 4096),
        ("/prices", [], "server_max_window_bits=12", 4096),
        ("/echo", ["--ws", "limits:Engine"], "server_no_context_takeover; client_no_context_takeover", 65536),
    ],
)
def test_limits_are_those_of_the_route_or_the_server(
    path: str, options: list[str], extensions: str, largest: int
) -> None:
    with serving("run", "limits:app", "--port", "0", *options, cwd=EXAMPLES) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        with connect_to(f"ws://127.0.0.1:{port}{path}", max_size=None) as client:
            assert client.response is not None
            agreed = client.response.headers["Sec-WebSocket-Extensions"]
            assert agreed.startswith(f"permessage-deflate; {extensions}")
            client.send("x" * largest)
            assert client.recv(timeout=10)
            client.send("x" * (largest + 1))
            with pytest.raises(ConnectionClosedError) as caught:
                client.recv(timeout=10)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1009


@pytest.mark.anyio
async def test_a_user_has_three_connections_to_the_feed() -> None:
    app = load("limits.py").app
    ann, bob = {"Authorization": "Bearer ann:1"}, {"Authorization": "Bearer bob:1"}
    async with AsyncExitStack() as stack:
        for number in range(3):
            ws = await stack.enter_async_context(
                connect(app, "/feed", headers={"Authorization": f"Bearer ann:{number}"})
            )
            assert await ws.receive_text() == "hello ann"
        with pytest.raises(WebSocketDenied) as caught:
            await stack.enter_async_context(connect(app, "/feed", headers=ann))
        assert caught.value.status == 429
        await stack.enter_async_context(connect(app, "/feed", headers=bob))


# The tutorial: a program before and after, and the ways to keep FastAPI.


@pytest.mark.parametrize(
    ("name", "client_class"),
    [("tutorial/before.py", starlette.testclient.TestClient), ("tutorial/imports.py", TestClient)],
)
def test_the_chat_does_the_same_before_and_after(name: str, client_class: Any) -> None:
    module = load(name)
    with client_class(module.app) as client:
        assert client.get("/health").json() == {"ok": True}
        with (
            client.websocket_connect("/rooms/blue") as one,
            client.websocket_connect("/rooms/blue") as two,
            client.websocket_connect("/rooms/red") as other,
        ):
            one.send_text("hello")
            assert [one.receive_text(), two.receive_text()] == ["hello", "hello"]
            other.send_text("red")
            assert other.receive_text() == "red"
    assert not any(module.members.values())


@pytest.mark.parametrize("client_class", [TestClient, starlette.testclient.TestClient])
def test_an_app_mounted_in_fastapi_has_its_lifespan(client_class: Any) -> None:
    with client_class(load("tutorial/mounted.py").app) as client:
        assert client.get("/health").json() == {"ok": True}
        with client.websocket_connect("/live/greet/world") as websocket:
            assert websocket.receive_text() == "hello world"


def test_fastapi_mounted_in_an_app_answers_below_its_path() -> None:
    with TestClient(load("tutorial/mounting.py").app) as client:
        assert client.get("/api/health").json() == {"ok": True}
        with client.websocket_connect("/echo") as websocket:
            websocket.send_text("hello")
            assert websocket.receive_text() == "hello"


@pytest.mark.anyio
async def test_an_endpoint_of_fastapi_notices_the_end_with_our_websocket() -> None:
    async with connect(load("tutorial/inside.py").app, "/ticks?seconds=0") as websocket:
        assert await websocket.receive_json() == {"tick": 1}
        assert await websocket.receive_json() == {"tick": 2}
        # The application ends although it never receives: else leaving this block would time out.


def test_fastapi_cannot_inject_our_websocket() -> None:
    """What the tutorial says first."""

    async def endpoint(websocket: trunkline.WebSocket) -> None:
        raise AssertionError

    endpoint.__annotations__["websocket"] = trunkline.WebSocket
    with pytest.raises(FastAPIError, match="Invalid args for response field!"):
        FastAPI().websocket("/ws")(endpoint)


# The topics.


def test_parameters_come_from_where_the_endpoint_says() -> None:
    client = TestClient(load("dependencies.py").app)
    headers = {"accept-language": "de", "cookie": "theme=dark"}
    with client.websocket_connect("/rooms/blue?limit=5&tags=a&tags=b", headers=headers) as websocket:
        assert websocket.receive_json() == ["blue", 5, ["a", "b"], "de", "dark"]
    with client.websocket_connect("/rooms/blue") as websocket:
        assert websocket.receive_json() == ["blue", 20, [], None, "light"]
    with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect("/rooms/blue?limit=0"):
        pass
    assert caught.value.status_code == 422
    assert caught.value.json() == {"detail": ["limit: Input should be greater than or equal to 1"]}


def test_one_dependency_serves_http_and_websockets() -> None:
    client = TestClient(load("dependencies.py").app)
    assert client.get("/me", headers={"x-token": "s3cret"}).json() == {"name": "anna", "is_admin": True}
    assert client.get("/me").status_code == 401
    with client.websocket_connect("/feed?token=other") as websocket:
        assert websocket.receive_text() == "hello ben"
    for path, status in (("/feed", 401), ("/admin/log", 401), ("/admin/log?token=other", 403)):
        with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect(path):
            pass
        assert caught.value.status_code == status
    with client.websocket_connect("/admin/log?token=s3cret") as websocket:
        assert websocket.receive_text() == "all is well"


def test_a_dependency_is_closed_however_the_connection_ends() -> None:
    module = load("dependencies.py")
    client = TestClient(module.app)
    with client.websocket_connect("/orders") as websocket:
        websocket.send_json({"id": 1})
        assert websocket.receive_json() == {"accepted": 1}
    with pytest.raises(KeyError), client.websocket_connect("/orders") as websocket:
        websocket.send_json({})
        websocket.receive_json()
    logs = [session.log for session in module.SESSIONS]
    assert logs == [["order 1", "closed"], ["rolled back: KeyError", "closed"]]


def test_background_tasks_run_after_the_connection() -> None:
    module = load("dependencies.py")
    with TestClient(module.app).websocket_connect("/visits/anna"):
        assert module.VISITS == []
    assert module.VISITS == ["anna"]


def test_the_tests_with_an_override_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_dependencies.py")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=EXAMPLES.parent,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.anyio
async def test_the_naive_endpoint_learns_of_the_end_from_its_next_send() -> None:
    async with connect(load("disconnects.py").app, "/naive") as websocket:
        assert await websocket.receive_json() == 0


@pytest.mark.anyio
async def test_wait_closed_gives_code_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    async with connect(load("disconnects.py").app, "/wait-closed") as websocket:
        assert await websocket.receive_text() == "welcome"
        await websocket.close(4000, "enough")
    assert capsys.readouterr().out == "left with 4000 enough\n"


@pytest.mark.anyio
async def test_tasks_send_and_receive_and_end_with_the_connection() -> None:
    async with connect(load("disconnects.py").app, "/tasks") as websocket:
        assert await websocket.receive_json() == 0
        await websocket.send_text("hello")
        assert await websocket.receive_text() == "you said: hello"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("/members", 401, "a token is needed"), ("/members?token=guess", 403, ""), ("/nowhere", 403, "")],
)
def test_a_refused_handshake_has_the_status_that_the_endpoint_chose(path: str, status: int, text: str) -> None:
    client = TestClient(load("refusing.py").app)
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect(path):
        pass
    if isinstance(caught.value, WebSocketDenialResponse):
        assert (caught.value.status_code, caught.value.text) == (status, text)
    else:
        assert (status, caught.value.code) in {(403, 1008), (403, 1000)}  # a server turns a close into 403


def test_a_member_comes_in() -> None:
    with TestClient(load("refusing.py").app).websocket_connect("/members?token=s3cret") as websocket:
        assert websocket.receive_text() == "welcome"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("0", 4000, "zero is not taken"),
        ("nonsense", 1007, "the message is not valid JSON"),
        (b"1", 1003, "a text message was expected"),
        ('"text"', 1011, ""),
    ],
)
async def test_an_exception_after_accept_ends_with_its_close_code(message: str | bytes, code: int, reason: str) -> None:
    websocket = connect(load("refusing.py").app, "/numbers")
    peer = await websocket.__aenter__()
    await peer.send_text("4")
    assert await peer.receive_json() == 0.25
    await (peer.send_text(message) if isinstance(message, str) else peer.send_bytes(message))
    with pytest.raises(WebSocketDisconnect) as caught:
        await peer.receive()
    assert (caught.value.code, caught.value.reason) == (code, reason)
    if code == 4000:
        await websocket.__aexit__(None, None, None)  # handled: nothing leaves the application
        return
    with pytest.raises((KeyError, ValueError, TypeError)):  # not handled: the server's log gets the traceback
        await websocket.__aexit__(None, None, None)


@pytest.mark.anyio
async def test_a_handler_answers_an_exception_of_ones_own() -> None:
    async with connect(load("refusing.py").app, "/orders") as websocket:
        await websocket.send_text("a lamp")
        assert await websocket.receive_json() == {"error": "sold out"}
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive()
    assert (websocket.close_code, websocket.close_reason) == (4001, "sold out")


@pytest.mark.anyio
@pytest.mark.parametrize(("message", "code"), [("again", 4002), ("five", 4001)])
async def test_a_table_says_the_close_code_of_an_exception(message: str, code: int) -> None:
    async with connect(load("refusing.py").app, "/auction") as websocket:
        await websocket.send_text(message)
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive()
    assert websocket.close_code == code


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://testserver", True),
        ("https://app.example.com", True),
        ("https://any.example.org", True),
        ("https://example.org", False),
        ("https://evil.example.com", False),
        ("null", False),
    ],
)
def test_only_listed_pages_open_a_websocket(origin: str | None, allowed: bool) -> None:
    client = TestClient(load("origins.py").app)
    headers = {} if origin is None else {"origin": origin}
    if not allowed:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/echo", headers=headers):
            pass
        return
    with client.websocket_connect("/echo", headers=headers) as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "hello"


@pytest.mark.parametrize(("program", "path"), [("hub/naive.py", "/room"), ("hub/rooms.py", "/rooms/red")])
@pytest.mark.anyio
async def test_what_is_said_in_a_room_reaches_all_in_it(program: str, path: str) -> None:
    app = load(program).app
    async with connect(app, path) as ada, connect(app, path) as bob:
        await ada.send_text("one")
        assert await ada.receive_text() == "one"
        # Bob may have come behind the first, never behind what is said after it.
        await bob.send_text("two")
        while await bob.receive_text() != "two":
            pass
        assert await ada.receive_text() == "two"


def test_a_task_publishes_to_those_who_are_served_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    try:
        monkeypatch.setenv("TRUNKLINE_BROKER", redis.url)
        task = load("hub/task.py")
        first, second = task.order_shipped(7), task.order_shipped(7)
        assert first == second
        assert first.offset == 1
        task.publisher.close()
    finally:
        redis.stop()


@pytest.mark.anyio
async def test_who_comes_back_to_a_room_is_told_what_it_missed() -> None:
    app = load("hub/rooms.py").app
    async with connect(app, "/kept/red") as ada:
        start = await ada.receive_json()
        assert start["recovered"] is False
        for text in ("one", "two"):
            await ada.send_text(text)
        said = [await ada.receive_json() for _ in range(2)]
    async with connect(app, f"/kept/red?since={start['position']}") as back:
        assert [await back.receive_json() for _ in range(2)] == said
        assert await back.receive_json() == {"recovered": True, "position": said[-1]["position"]}
    async with connect(app, "/opened/red") as new:
        assert await new.receive_json() == said
        await new.send_text("three")
        assert (await new.receive_json())["text"] == "three"


@pytest.mark.anyio
async def test_who_is_in_a_room_is_told_to_those_in_it() -> None:
    app = load("hub/presence.py").app
    async with connect(app, "/rooms/red?name=ada") as ada:
        first, second = [await ada.receive_json() for _ in range(2)]
        assert {**first, **second}["present"].keys() == {**first, **second}["joins"].keys() == {"ada"}
        async with connect(app, "/rooms/red?name=bob") as bob:
            first, second = [await bob.receive_json() for _ in range(2)]
            assert {**first, **second}["present"].keys() == {"ada", "bob"}
            assert list((await ada.receive_json())["joins"]) == ["bob"]


def next_event(lines: Iterable[bytes]) -> dict[str, str]:
    """The fields of the next server-sent event."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            return fields
        name, _, value = line.decode().rstrip().partition(":")
        fields[name] = value.lstrip()
    raise AssertionError("the stream has ended")


def test_events_of_a_topic_go_on_where_the_browser_was() -> None:
    arguments = ("run", "events:app", "--app-dir", str(EXAMPLES / "hub"), "--port", "0")
    with serving(*arguments) as server, ExitStack() as connections:
        port = int(server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1])

        def request(method: str, *, body: str | None = None, **headers: str) -> HTTPResponse:
            connection = connections.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=20)))
            connection.request(method, "/prices", body, {name.replace("_", "-"): headers[name] for name in headers})
            response = connection.getresponse()
            assert response.status == 200
            return connections.enter_context(response)

        events = request("GET")
        assert events.headers["content-type"].startswith("text/event-stream")
        assert next_event(events)["event"] == "reload"
        request("POST", body='{"a": 1}')
        first = next_event(events)
        assert json.loads(first["data"]) == {"a": 1}
        events.close()
        request("POST", body='{"a": 2}')
        events = request("GET", last_event_id=first["id"])
        assert json.loads(next_event(events)["data"]) == {"a": 2}
        request("POST", body='{"a": 3}')
        assert json.loads(next_event(events)["data"]) == {"a": 3}
        events.close()


@pytest.mark.anyio
async def test_a_browser_that_goes_leaves_the_topic() -> None:
    program = load("hub/events.py")
    sent: asyncio.Queue[Message] = asyncio.Queue()
    received: asyncio.Queue[Message] = asyncio.Queue()
    received.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    scope = {"type": "http", "method": "GET", "path": "/prices", "query_string": b"", "headers": [], "asgi": {}}
    serving_it = asyncio.create_task(program.app(scope, received.get, sent.put))
    while b"reload" not in (await sent.get()).get("body", b""):
        pass
    assert len(program.hub.topic("prices").members) == 1
    received.put_nowait({"type": "http.disconnect"})
    await serving_it
    assert program.hub.topic("prices").members == ()
    await program.hub.aclose()


def test_a_hub_is_measured() -> None:
    answer = TestClient(load("hub/measured.py").app).get("/metrics")
    assert answer.status_code == 200
    assert 'trunkline_hub_members{topics="",worker=' in answer.text


# Typed messages.


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/by-hand", "/chat"])
async def test_typed_messages_are_validated_and_answered(path: str) -> None:
    async with connect(load("messages.py").app, path) as websocket:
        await websocket.send_json({"type": "join", "room": "blue"})
        await websocket.send_json({"type": "say"})
        error = await websocket.receive_json()
        assert (error["type"], error["errors"][0]["type"]) == ("error", "missing")
        await websocket.send_json({"type": "say", "text": "hello"})
        assert await websocket.receive_json() == {"type": "said", "room": "blue", "text": "hello"}


@pytest.mark.anyio
async def test_structs_come_as_json_and_as_messagepack() -> None:
    app = load("messages.py").app
    async with connect(app, "/game") as websocket:
        await websocket.send_json({"type": "move", "x": 1, "y": 2})
        assert await websocket.receive_json() == {"type": "position", "x": 1, "y": 2}
        await websocket.send_json({"type": "stop"})
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive()
    async with connect(app, "/game-in-either", subprotocols=["game.v1+msgpack"]) as websocket:
        assert websocket.accepted_subprotocol == "game.v1+msgpack"
        await websocket.send_bytes(msgspec.msgpack.encode({"type": "move", "x": 1, "y": 2}))
        assert msgspec.msgpack.decode(await websocket.receive_bytes()) == {"type": "position", "x": 1, "y": 2}


@pytest.mark.anyio
async def test_a_strict_endpoint_closes_and_a_forgiving_one_goes_on() -> None:
    app = load("messages.py").app
    async with connect(app, "/strict") as websocket:
        await websocket.send_json({"type": "join", "room": "blue"})
        assert await websocket.receive_json() == {"type": "join", "room": "blue"}
        await websocket.send_text("nonsense")
        with pytest.raises(WebSocketDisconnect) as caught:
            await websocket.receive()
        assert caught.value.code == 1007
    async with connect(app, "/forgiving") as websocket:
        await websocket.send_json({"type": "say"})
        assert await websocket.receive_json() == {"type": "say", "text": "(something with 1 mistakes)"}


@pytest.mark.anyio
async def test_a_codec_of_ones_own_speaks_another_language() -> None:
    async with connect(load("messages.py").app, "/terminal") as websocket:
        await websocket.send_text("say hello")
        assert await websocket.receive_text() == "say hello"
        await websocket.send_text("hello")
        assert "Expected a word and a text" in await websocket.receive_text()


# The typed chat.


@pytest.mark.anyio
async def test_a_typed_chat_tells_everybody_in_the_room() -> None:
    chat = load("typed_chat.py")
    async with connect(chat.app, "/rooms/blue") as ada, connect(chat.app, "/rooms/red") as other:
        await ada.send_json({"type": "hello", "name": " Ada "})
        await other.send_json({"type": "hello", "name": "Other"})
        assert await ada.receive_json() == {"type": "welcome", "members": ["Ada"]}
        async with connect(chat.app, "/rooms/blue") as ben:
            await ben.send_json({"type": "hello", "name": "Ben"})
            assert await ben.receive_json() == {"type": "welcome", "members": ["Ada", "Ben"]}
            assert await ada.receive_json() == {"type": "joined", "name": "Ben"}
            await ben.send_json({"type": "rename", "name": "Benjamin"})
            await ben.send_json({"type": "say", "text": "hello"})
            for member in (ada, ben):
                assert await member.receive_json() == {"type": "renamed", "before": "Ben", "name": "Benjamin"}
                assert await member.receive_json() == {"type": "said", "name": "Benjamin", "text": "hello"}
        assert await ada.receive_json() == {"type": "left", "name": "Benjamin"}
        assert await other.receive_json() == {"type": "welcome", "members": ["Other"]}
    assert chat.rooms == {}


@pytest.mark.anyio
async def test_a_typed_chat_answers_what_does_not_fit() -> None:
    chat = load("typed_chat.py")
    async with connect(chat.app, "/rooms/blue") as ada:
        await ada.send_json({"type": "say", "text": "no hello"})
        assert (await ada.receive_json())["errors"][0]["loc"] == ["type"]
        await ada.send_json({"type": "hello", "name": "Ada"})
        assert (await ada.receive_json())["type"] == "welcome"
        await ada.send_json({"type": "say", "text": "  "})
        assert (await ada.receive_json())["errors"] == [
            {"type": "string_too_short", "loc": ["say", "text"], "msg": "String should have at least 1 character"}
        ]
        await ada.send_json({"type": "say", "text": "hello"})
        assert (await ada.receive_json())["type"] == "said"


@pytest.mark.anyio
async def test_a_typed_chat_waits_neither_for_a_hello_nor_for_a_member_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat = load("typed_chat.py")
    async with connect(chat.app, "/rooms/blue") as ada, connect(chat.app, "/rooms/blue") as slow:
        monkeypatch.setattr(chat, "MAX_OUTBOX", 5)
        for member, name in ((ada, "Ada"), (slow, "Slow")):
            await member.send_json({"type": "hello", "name": name})
            await member.receive_json()
        assert await ada.receive_json() == {"type": "joined", "name": "Slow"}
        slow.stall()
        left = False
        while not left:
            await ada.send_json({"type": "say", "text": "hello"})
            left = (await ada.receive_json())["type"] == "left"
        slow.resume()
        with pytest.raises(WebSocketDisconnect) as caught:
            while True:
                await slow.receive_json()
        assert (caught.value.code, caught.value.reason) == (1013, "You fell too far behind.")
        monkeypatch.setattr(chat, "HELLO_SECONDS", 0.0)
        async with connect(chat.app, "/rooms/blue") as silent:
            with pytest.raises(WebSocketDisconnect) as caught:
                await silent.receive()
        assert (caught.value.code, caught.value.reason) == (3008, "Say hello first.")


@pytest.mark.anyio
async def test_listeners_do_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    app = load("listeners.py").app
    async with connect(app, "/echo") as client:
        await client.send_text("hello")
        assert await client.receive_text() == "you said: hello"
    async with connect(app, "/rooms/blue?who=anna") as client:
        await client.send_json({"type": "say", "text": "hello"})
        assert await client.receive_json() == {"type": "said", "who": "anna", "text": "hello"}
        await client.send_json({"type": "say"})
        assert (await client.receive_json())["code"] == "invalid_message"
    async with connect(app, "/chat?who=anna") as client:
        assert (await client.receive_json())["text"] == "welcome, anna"
        await client.send_json({"type": "join", "room": "blue"})
        await client.send_json({"type": "say", "text": "hello"})
        assert (await client.receive_json())["text"] == "hello (in blue)"
    assert capsys.readouterr().out == "anna left blue with 1000\n"


@pytest.mark.anyio
async def test_streams_do_what_the_page_says() -> None:
    app = load("ticker.py").app
    async with connect(app, "/ticker/TRK?every=0") as client:
        prices = [await client.receive_json() for _ in range(3)]
        assert {price["symbol"] for price in prices} == {"TRK"}
    async with connect(app, "/watchlist") as client:
        await client.send_json({"type": "watch", "symbol": "TRK"})
        assert await client.receive_json() == {"symbol": "TRK", "price": 100.0}
        await client.send_json({"type": "done"})
        assert [message async for message in client] == []
        assert client.close_code == 1000


# Authentication.


def test_who_is_there_is_found_in_every_way() -> None:
    program = load("authentication.py")
    bearer = {"authorization": "Bearer ada-secret"}
    with TestClient(program.app) as client:
        assert client.get("/me").status_code == 401
        assert client.get("/me", headers=bearer).json() == "ada"
        assert client.get("/me", headers={"cookie": "session=bob-secret"}).json() == "bob"
        with client.websocket_connect("/feed", headers=bearer) as websocket:
            assert websocket.receive_text() == "hello ada"
            websocket.send_text("hi")
            assert websocket.receive_text() == "you said: hi"
        with client.websocket_connect("/admin", headers=bearer) as websocket:
            websocket.send_text("restart")
            assert websocket.receive_text() == "done: restart"
        with pytest.raises(WebSocketDenialResponse) as denied:
            client.websocket_connect("/admin", headers={"authorization": "Bearer bob-secret"}).__enter__()
        assert (denied.value.status_code, denied.value.text) == (403, "This is for administrators")
        ticket = client.post("/ticket", headers=bearer).json()["ticket"]
        with client.websocket_connect(f"/with-ticket?ticket={ticket}") as websocket:
            assert websocket.receive_text() == "hello ada"
        with pytest.raises(WebSocketDenialResponse):
            client.websocket_connect(f"/with-ticket?ticket={ticket}").__enter__()
        with client.websocket_connect("/with-subprotocol", subprotocols=["feed.v1", "bearer.ada-secret"]) as websocket:
            assert websocket.accepted_subprotocol == "feed.v1"
            assert websocket.receive_text() == "hello ada"
        with client.websocket_connect("/with-message") as websocket:
            websocket.send_json({"token": "ada-secret"})
            assert websocket.receive_text() == "hello ada"
        with client.websocket_connect("/with-message") as websocket:
            websocket.send_json({"token": "wrong"})
            with pytest.raises(WebSocketDisconnect) as closed:
                websocket.receive_text()
        assert (closed.value.code, closed.value.reason) == (3000, "The token is not valid")
        with client.websocket_connect("/renewing", headers=bearer) as websocket:
            for message, answer in [
                ({"type": "say", "text": "hi"}, "ada says: hi"),
                ({"type": "renew", "token": "ada-secret"}, "renewed"),
                ({"type": "renew", "token": "bob-secret"}, "this is not a token of yours"),
                ({"type": "renew", "token": "nonsense"}, "this is not a token of yours"),
            ]:
                websocket.send_json(message)
                assert websocket.receive_text() == answer


def test_a_dashboard_behind_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    program = load("dashboard/main.py")
    ada = "user=ada&password=lovelace"
    with TestClient(program.app, follow_redirects=False) as client:
        assert "Log in" in client.get("/").text
        assert client.get("/me").status_code == 401
        for wrong in ("user=ada&password=wrong", "user=nobody&password=lovelace", "", "%ff"):
            assert client.post("/login", content=wrong).status_code == 401
        assert client.post("/login", content="x" * 5000).status_code == 413
        assert client.post("/login", content=ada, headers={"origin": "http://evil.example"}).status_code == 403
        assert client.post("/login", content=ada).status_code == 303
        assert "Dashboard" in client.get("/").text
        assert client.get("/me").json() == {"user": "ada"}
        assert client.get("/static/dashboard.js").status_code == 200
        assert client.get("/static/main.py").status_code == 404
        with client.websocket_connect("/live") as websocket:
            numbers = websocket.receive_json()
            assert (numbers["user"], numbers["pages"], numbers["sessions"]) == ("ada", 1, 1)
            assert client.post("/stay").status_code == 204
            assert client.post("/logout").status_code == 303
            with pytest.raises(WebSocketDisconnect) as closed:
                while True:
                    websocket.receive_json()
        assert (closed.value.code, closed.value.reason) == (3000, "You have logged out")
        assert program.sessions == {}
        monkeypatch.setattr(program, "SESSION_SECONDS", -1)
        client.post("/login", content=ada)
        assert "Your session has ended." in client.get("/?ended").text
        client.post("/login", content=ada)
        assert len(program.sessions) == 1, "those that have ended are forgotten"
