"""The rules that the chat's server keeps, whatever its clients do."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from trunkline.hub import BrokerError, OutboxLimits, Retention
from trunkline.hub.brokers import MemoryBroker, MemoryServer
from trunkline.hub.publication import Envelope
from trunkline.testclient import TestClient
from trunkline.testing import Peer, connect
from trunkline.websockets import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
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


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryServer]:
    """What the chat's hub remembers, of one test."""
    server = MemoryServer()
    broker = MemoryBroker(server)
    broker.receiver = chat.hub
    monkeypatch.setattr(chat.hub, "broker", broker)
    yield server
    assert chat.hub.rooms == {}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Ends the connections of a test."""
    async with AsyncExitStack() as stack:
        yield stack


def entering(name: str, room: str = "lobby", since: str = "", secret: str = "") -> Peer:
    path = f"/rooms/{quote(room, safe='')}?name={quote(name)}&secret={secret or quote(name)}&since={since}"
    # Who has left is told after some seconds of grace.
    return connect(chat.app, path, timeout=20)


async def receive_until(ws: Peer, kind: str) -> dict[str, Any]:
    """The next event of a type; others before it are passed over."""
    while True:
        event: dict[str, Any] = await ws.receive_json()
        if event["type"] == kind:
            return event


async def receive_texts(ws: Peer, count: int) -> list[str]:
    """What is said next."""
    return [(await receive_until(ws, "message"))["text"] for _ in range(count)]


async def receive_people(ws: Peer, *names: str) -> None:
    """Follow who is here, as a page does, until it is these."""
    here: dict[str, str] = {}
    gone: set[str] = set()
    while sorted(here.values()) != sorted(names):
        event = await ws.receive_json()
        gone |= refs(event.get("leaves", {})).keys()
        here |= refs(event.get("joins", {})) | refs(event.get("people", {}))
        here = {ref: name for ref, name in here.items() if ref not in gone}


def refs(people: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """The name of each connection."""
    return {meta["ref"]: meta["name"] for metas in people.values() for meta in metas}


async def expect_close(ws: Peer, code: int, reason: str) -> None:
    """Read to the end, which must come with this code and reason."""
    with pytest.raises(WebSocketDisconnect) as disconnect:
        while True:
            await ws.receive()
    assert (disconnect.value.code, disconnect.value.reason) == (code, reason)


async def say(ws: Peer, text: str, nonce: str = "") -> None:
    await ws.send_json({"type": "message", "text": text, "nonce": nonce or os.urandom(8).hex()})


async def test_a_member_is_welcomed_and_told_who_is_here(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    welcome = await ada.receive_json()
    assert welcome == {"type": "welcome", "you": welcome["you"], "worker": os.getpid()}
    assert re.fullmatch("[0-9a-f]{16}", welcome["you"])
    bob = await stack.enter_async_context(entering("Bob"))
    await receive_people(bob, "Ada", "Bob")


async def test_who_comes_and_who_leaves_is_told(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    async with entering("Bob"):
        await receive_people(ada, "Ada", "Bob")
    assert list(refs((await receive_until(ada, "people"))["leaves"]).values()) == ["Bob"]


async def test_messages_reach_everybody_with_who_when_and_where(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    me = (await bob.receive_json())["you"]
    await receive_until(ada, "present")
    await say(bob, "  Hello,\nAda  ", "abc")
    for ws in (ada, bob):
        message = await receive_until(ws, "message")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", message.pop("time"))
        assert re.fullmatch(r"1-\w+", message.pop("position"))
        assert message == {"type": "message", "id": me, "name": "Bob", "text": "Hello,\nAda", "nonce": "abc"}


async def test_typing_is_told_to_the_others_and_not_remembered(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    me = (await bob.receive_json())["you"]
    await receive_until(ada, "present")
    await bob.send_json({"type": "typing", "active": True})
    await say(bob, "Hello")
    assert await receive_until(ada, "typing") == {"type": "typing", "id": me, "name": "Bob", "active": True}
    new = await stack.enter_async_context(entering("New"))
    for ws in (bob, new):
        kinds = []
        while "message" not in kinds:
            kinds.append((await ws.receive_json())["type"])
        assert "typing" not in kinds


async def test_who_comes_later_is_told_the_end_of_the_past_and_goes_on_from_there(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "PAST", 3)
    async with entering("Ada") as ada:
        for n in range(5):
            await say(ada, str(n))
        assert await receive_texts(ada, 5) == ["0", "1", "2", "3", "4"]
    bob = await stack.enter_async_context(entering("Bob"))
    assert await receive_texts(bob, 3) == ["2", "3", "4"]
    await receive_until(bob, "present")
    await say(bob, "5")
    assert await receive_texts(bob, 1) == ["5"]


async def test_who_comes_back_is_told_what_it_missed_and_nothing_twice(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    async with entering("Bob") as bob:
        await receive_until(bob, "present")
        await say(bob, "0")
        last = (await receive_until(bob, "message"))["position"]
    for n in (1, 2):
        await say(ada, str(n))
    assert await receive_texts(ada, 3) == ["0", "1", "2"]
    bob = await stack.enter_async_context(entering("Bob", since=last))
    assert await receive_texts(bob, 2) == ["1", "2"]
    await receive_until(bob, "present")
    await say(ada, "3")
    assert await receive_texts(bob, 1) == ["3"]


@pytest.mark.parametrize("lost", ["restart", "trimmed", "nonsense"])
async def test_who_cannot_be_told_all_that_it_missed_is_told_so(memory: MemoryServer, lost: str) -> None:
    async with entering("Ada") as ada:
        await receive_until(ada, "present")
        await say(ada, "0")
        last = (await receive_until(ada, "message"))["position"]
    if lost == "restart":
        memory.restart()
    elif lost == "trimmed":
        for _ in range(3):
            await chat.hub.broker.publish("room:lobby", Envelope("json", "{}"), Retention(count=1, seconds=60), None, 1)
    else:
        last = "nonsense"
    async with entering("Ada", since=last) as ada:
        assert (await ada.receive_json())["type"] == "welcome"
        assert (await receive_until(ada, "reload")) == {"type": "reload"}
        await expect_close(ada, 1000, "")


async def test_a_message_that_is_repeated_is_said_once_and_only_for_the_same_person(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await receive_until(bob, "present")
    for text, nonce in (("one", "n"), ("one", "n"), ("two", "m")):
        await say(ada, text, nonce)
    assert await receive_texts(ada, 2) == ["one", "two"]
    await say(bob, "three", "n")
    assert await receive_texts(bob, 3) == ["one", "two", "three"]


async def test_the_same_secret_is_the_same_person_and_nobody_can_be_somebody_else(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada", secret="s1"))
    again = await stack.enter_async_context(entering("Ada", secret="s1"))
    other = await stack.enter_async_context(entering("Ada", secret="s2"))
    anonymous = await stack.enter_async_context(connect(chat.app, "/rooms/lobby?name=Ada"))
    ids = [(await ws.receive_json())["you"] for ws in (ada, again, other, anonymous)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    await receive_until(ada, "present")
    await ada.send_json(
        {"type": "message", "text": "Hello", "nonce": "n", "id": ids[2], "name": "Bob", "time": "never"}
    )
    message = await receive_until(ada, "message")
    assert (message["id"], message["name"], message["time"][:2]) == (ids[0], "Ada", "20")


@pytest.mark.parametrize(
    "data",
    [
        "",
        "not JSON",
        '{"type": "message", "text": "cut',
        "[" * 10_000,
        "9" * 10_000,
        "null",
        '"message"',
        "{}",
        '{"type": "message"}',
        '{"type": "message", "text": "x"}',
        '{"type": "message", "text": "x", "nonce": ""}',
        json.dumps({"type": "message", "text": "x", "nonce": "n" * 33}),
        '{"type": "message", "text": 7, "nonce": "n"}',
        '{"type": "message", "text": " \\n ", "nonce": "n"}',
        '{"type": "message", "text": "\\ud83d", "nonce": "n"}',
        json.dumps({"type": "message", "text": "x" * (chat.MAX_TEXT + 1), "nonce": "n"}),
        '{"type": "typing", "active": "yes"}',
        '{"type": "welcome", "you": 1}',
        '{"type": ["message"], "text": "Hello"}',
    ],
    ids=lambda data: data[:40],
)
async def test_what_cannot_be_taken_is_answered_with_an_error(stack: AsyncExitStack, data: str) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await bob.send_text(data)
    await say(bob, "Still here")
    error = await receive_until(bob, "error")
    assert error["errors"][0]["msg"]
    for ws in (ada, bob):
        assert await receive_texts(ws, 1) == ["Still here"]


async def test_the_longest_text_fits_however_it_is_written(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    text = "🙂" * chat.MAX_TEXT
    await ada.send_text(json.dumps({"type": "message", "text": text, "nonce": "n"}, ensure_ascii=True))
    assert await receive_texts(ada, 1) == [text]


@pytest.mark.parametrize("name", ["", "  \t ", "\x00\u200b", "x" * (chat.MAX_NAME + 1)])
async def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    async with entering(name, secret="s") as ws:
        await expect_close(ws, 1008, "A name has between 1 and 32 characters.")


async def test_a_room_name_that_is_too_long_is_refused() -> None:
    async with entering("Ada", "r" * (chat.MAX_ROOM_NAME + 1)) as ws:
        await expect_close(ws, 1008, "The name of a room has at most 40 characters.")


async def test_a_name_is_one_line_of_printable_characters() -> None:
    async with entering(" Ada\n  \x1b[1m Lovelace\u202e ") as ws:
        await receive_people(ws, "Ada [1m Lovelace")


async def test_a_full_room_lets_nobody_in(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_MEMBERS", 1)
    ada = await stack.enter_async_context(entering("Ada"))
    await receive_until(ada, "present")
    async with entering("Bob") as bob:
        await expect_close(bob, 1013, "This room is full.")


async def test_rooms_hear_nothing_of_each_other(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada", "red"))
    bob = await stack.enter_async_context(entering("Bob", "blue*[a]"))
    await say(ada, "Red")
    assert await receive_texts(ada, 1) == ["Red"]
    await receive_people(bob, "Bob")
    await say(bob, "Blue")
    assert await receive_texts(bob, 1) == ["Blue"]


async def test_a_member_who_does_not_read_is_closed_and_the_others_hear_everything(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(chat.hub.topic("room:x").config, outbox=OutboxLimits(bytes=20_000))
    monkeypatch.setattr(chat.hub, "_topics", (("room:*", small), *chat.hub._topics))
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await receive_until(bob, "present")
    bob.stall()
    texts = [f"{n}{'x' * 1000}" for n in range(30)]
    for text in texts:
        await say(ada, text)
        assert await receive_texts(ada, 1) == [text]
    bob.resume()
    await expect_close(bob, 1013, "too slow")


async def test_a_message_that_is_too_long_ends_the_stay(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await bob.send_text(json.dumps({"type": "message", "text": "x", "nonce": "n", "more": "x" * chat.MAX_MESSAGE}))
    with pytest.raises(WebSocketDisconnect) as ended:
        while True:
            await bob.receive()
    assert ended.value.code == 1009
    await say(ada, "Alone")
    assert await receive_texts(ada, 1) == ["Alone"]


async def test_a_member_who_talks_fast_costs_nobody_the_connection(stack: AsyncExitStack) -> None:
    ada = await stack.enter_async_context(entering("Ada"))
    bob = await stack.enter_async_context(entering("Bob"))
    await receive_until(bob, "present")
    texts = [str(n) for n in range(60)]
    for text in texts:
        await say(ada, text)
    for ws in (ada, bob):
        assert await receive_texts(ws, 60) == texts


async def test_without_its_broker_the_chat_says_try_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise BrokerError("Redis could not be reached")

    async with entering("Ada") as ada:
        await receive_until(ada, "present")
        monkeypatch.setattr(MemoryBroker, "publish", away)
        await say(ada, "Hello")
        await expect_close(ada, 1013, "The chat cannot reach its broker.")


def test_the_page_and_what_it_needs_are_served_and_nothing_else() -> None:
    with TestClient(chat.app) as client:
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
