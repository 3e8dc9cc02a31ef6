"""The rules that the chat's server keeps, whatever its clients do."""

from __future__ import annotations

import importlib.util
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from trunkline.testclient import TestClient
from trunkline.testing import Peer, connect
from trunkline.websockets import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType


def load_chat() -> ModuleType:
    """The chat as a module of its own, from its file: examples are programs, not parts of a package."""
    path = Path(__file__).parents[2] / "examples" / "chat" / "app.py"
    spec = importlib.util.spec_from_file_location("chat", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chat = load_chat()
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Ends the connections of a test; no room may be left over."""
    async with AsyncExitStack() as stack:
        yield stack
    assert chat.Room.rooms == {}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small outboxes and short pauses, so that a few messages show what many would."""
    monkeypatch.setattr(chat, "MAX_OUTBOX", 8)
    monkeypatch.setattr(chat, "PAUSE", 0.001)


def entering(name: str, room: str = "lobby") -> Peer:
    return connect(chat.app, f"/rooms/{quote(room)}?name={quote(name)}")


async def receive_until(ws: Peer, kind: str) -> dict[str, Any]:
    """The next event of a type; others before it are passed over."""
    while True:
        event: dict[str, Any] = await ws.receive_json()
        if event["type"] == kind:
            return event


async def expect_close(ws: Peer, code: int, reason: str) -> None:
    """Read to the end, which must come with this code and reason."""
    with pytest.raises(WebSocketDisconnect) as disconnect:
        while True:
            await ws.receive()
    assert (disconnect.value.code, disconnect.value.reason) == (code, reason)


async def say(ws: Peer, text: str) -> None:
    await ws.send_json({"type": "message", "text": text})


async def test_a_member_is_welcomed_and_the_others_are_told(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    welcome = await ada.receive_json()
    assert welcome == {"type": "welcome", "you": welcome["you"], "members": [{"id": welcome["you"], "name": "Ada"}]}
    async with entering("Bob") as bob:
        joined = await ada.receive_json()
        assert joined == {"type": "joined", "id": joined["id"], "name": "Bob"}
        seen_by_bob = await bob.receive_json()
        assert seen_by_bob["you"] == joined["id"]
        assert [member["name"] for member in seen_by_bob["members"]] == ["Ada", "Bob"]
    assert await ada.receive_json() == {"type": "left", "id": joined["id"], "name": "Bob"}


async def test_messages_and_typing_reach_everybody_with_who_and_when(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    me = (await bob.receive_json())["you"]
    await bob.send_json({"type": "typing", "active": True})
    await say(bob, "  Hello,\nAda  ")
    for ws in (ada, bob):
        assert await receive_until(ws, "typing") == {"type": "typing", "id": me, "name": "Bob", "active": True}
        message = await receive_until(ws, "message")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", message.pop("time"))
        assert message == {"type": "message", "id": me, "name": "Bob", "text": "Hello,\nAda"}


async def test_nobody_can_speak_as_somebody_else(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    me = (await ada.receive_json())["you"]
    await ada.send_json({"type": "message", "text": "Hello", "id": me + 1, "name": "Bob", "time": "never"})
    message = await ada.receive_json()
    assert (message["id"], message["name"], message["time"][:2]) == (me, "Ada", "20")


@pytest.mark.parametrize(
    "data",
    [
        "",
        "not JSON",
        '{"type": "message", "text": "cut',
        "[" * chat.MAX_FRAME,
        "9" * 10_000,
        "null",
        '"message"',
        "{}",
        '{"type": "message"}',
        '{"type": "message", "text": 7}',
        '{"type": "message", "text": " \\n "}',
        json.dumps({"type": "message", "text": "x" * (chat.MAX_TEXT + 1)}),
        json.dumps({"type": "message", "text": "x", "padding": "x" * chat.MAX_FRAME}),
        '{"type": "typing", "active": "yes"}',
        '{"type": "welcome", "you": 1, "members": []}',
        '{"type": ["message"], "text": "Hello"}',
        b'{"type": "message", "text": "Hello"}',
    ],
    ids=lambda data: str(data)[:40],
)
async def test_what_cannot_be_taken_is_answered_with_an_error(stack: AsyncExitStack, data: str | bytes) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await receive_until(bob, "welcome")
    await (bob.send_bytes(data) if isinstance(data, bytes) else bob.send_text(data))
    await say(bob, "Still here")
    error = await bob.receive_json()
    assert (error.keys(), error["type"]) == ({"type", "text"}, "error")
    assert (await bob.receive_json())["text"] == "Still here"
    await receive_until(ada, "joined")
    assert (await ada.receive_json())["text"] == "Still here"


async def test_the_longest_text_fits_however_it_is_written(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    text = "🙂" * chat.MAX_TEXT
    await ada.send_text(json.dumps({"type": "message", "text": text}, ensure_ascii=True))
    assert (await receive_until(ada, "message"))["text"] == text


async def test_half_a_character_harms_nobody(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await ada.send_text('{"type": "message", "text": "\\ud83d"}')
    await say(ada, "Hello")
    for ws in (ada, bob):
        assert (await receive_until(ws, "message"))["text"] == "\ud83d"
        assert (await receive_until(ws, "message"))["text"] == "Hello"


@pytest.mark.parametrize("name", ["", "  \t ", "\x00\u200b", "x" * (chat.MAX_NAME + 1)])
async def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    async with entering(name) as ws:
        await expect_close(ws, 1008, "A name has between 1 and 32 characters.")


async def test_a_room_name_that_is_too_long_is_refused() -> None:
    async with entering("Ada", "r" * (chat.MAX_ROOM_NAME + 1)) as ws:
        await expect_close(ws, 1008, "The name of a room has at most 40 characters.")


async def test_a_name_is_one_line_of_printable_characters() -> None:
    async with entering(" Ada\n  \x1b[1m Lovelace\u202e ") as ws:
        assert (await ws.receive_json())["members"][0]["name"] == "Ada [1m Lovelace"


async def test_a_full_room_lets_nobody_in(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_MEMBERS", 1)
    ada = await stack.enter_async_context(entering("Ada"))
    async with entering("Bob") as bob:
        await expect_close(bob, 1013, "This room is full.")
    await say(ada, "Alone")
    assert [(await ada.receive_json())["type"] for _ in range(2)] == ["welcome", "message"]


async def test_rooms_hear_nothing_of_each_other(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada", "red"))
    bob = await stack.enter_async_context(entering("Bob", "blue"))
    assert chat.Room.rooms.keys() == {"red", "blue"}
    await say(ada, "Red")
    await receive_until(ada, "message")
    await say(bob, "Blue")
    assert [(await bob.receive_json())["type"] for _ in range(2)] == ["welcome", "message"]


async def test_a_lost_connection_is_announced(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await receive_until(ada, "joined")
    bob.drop()
    assert (await ada.receive_json())["name"] == "Bob"
    await say(ada, "Alone")
    assert (await ada.receive_json())["type"] == "message"


@pytest.mark.usefixtures("hurried")
async def test_a_member_who_does_not_read_is_dropped_and_the_others_hear_everything(
    stack: AsyncExitStack,
) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await receive_until(ada, "joined")
    bob.stall()
    for n in range(20):
        await say(ada, str(n))
    events = [await ada.receive_json() for _ in range(21)]
    assert [event["text"] for event in events if event["type"] == "message"] == [str(n) for n in range(20)]
    assert [event["name"] for event in events if event["type"] == "left"] == ["Bob"]
    bob.resume()
    await expect_close(bob, 1013, "You fell too far behind.")


@pytest.mark.usefixtures("hurried")
async def test_a_member_who_talks_fast_is_slowed_and_costs_nobody_the_connection(
    stack: AsyncExitStack,
) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    texts = [str(n) for n in range(60)]
    for text in texts:
        await say(ada, text)
    for ws in (ada, bob):
        assert [(await receive_until(ws, "message"))["text"] for _ in texts] == texts


def test_the_page_and_what_it_needs_are_served_and_nothing_else() -> None:
    client = TestClient(chat.app)
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    needed = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)
    assert needed == ["static/chat.css", "static/chat.js"]
    assert [client.get(f"/{path}").status_code for path in needed] == [200, 200]
    for path in ("index.html", "app.py", "..%2Fapp.py", "%2Fetc%2Fpasswd", ""):
        assert client.get(f"/static/{path}").status_code == 404


def test_the_page_allows_what_the_server_takes() -> None:
    page = (chat.STATIC / "index.html").read_text()
    limits = dict(re.findall(r'id="(name|room|text)"[^>]*maxlength="(\d+)"', page))
    assert limits == {"name": str(chat.MAX_NAME), "room": str(chat.MAX_ROOM_NAME), "text": str(chat.MAX_TEXT)}
