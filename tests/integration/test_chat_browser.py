"""The chat as people use it: pages in a real Chromium, served by `trunkline run`, alone or with two workers on Redis.

Elements are found by their role and label, as assistive technology finds them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect, sync_playwright

from tests.contracts.servers import RunningServer, Server, free_port
from tests.hub.redis_server import RedisServer
from tests.support import unavailable
from trunkline.status import CLOSE_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = (390, 844)
DESKTOP = (1280, 800)
MILLISECONDS = 15_000  # a bound for every wait in a page; the longest is that of a reconnect
COMMAND = "trunkline run {app} --host 127.0.0.1 --port {port}"
SOCKET = re.compile(r"/rooms/")


class ChatServer:
    """The chat on one port, which can be killed and started again.

    Args:
        folder: For its logs.
        redis: What its two workers share; without, it is one process.
    """

    def __init__(self, folder: Path, redis: RedisServer | None = None) -> None:
        self._folder = folder
        self._redis = redis
        self._row = Server(
            name="chat",
            package="trunkline",
            command=COMMAND if redis is None else f"{COMMAND} --workers 2",
            app="examples.chat.app:app",
            env={} if redis is None else {"TRUNKLINE_BROKER": redis.url},
        )
        self._starts = 0
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/"
        self.start()

    def start(self) -> None:
        self._starts += 1
        self._running = RunningServer(self._row, self._folder / f"chat-{self._starts}.log", self._port)
        assert self._running.answers(), f"the chat does not start:\n{self._running}"

    def kill(self) -> None:
        self._running.process.kill()
        self._running.process.wait(10)

    def stop(self) -> None:
        self._running.stop()
        if self._redis is not None:
            self._redis.stop()
        assert "Traceback" not in str(self._running)


class Visitor:
    """Somebody with a page of their own."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.field = page.get_by_label("Message", exact=True)
        self.log = page.get_by_role("log", name="Messages")
        self.state = page.get_by_role("status")
        self.people = page.get_by_role("complementary").get_by_role("listitem")
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self._look_for_violation(message.text))

    def _look_for_violation(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.problems.append(text)

    def enter(self, name: str, room: str) -> None:
        self.page.goto(self.url)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Room").fill(room)
        self.page.get_by_role("button", name="Enter").click()
        expect(self.state).to_have_text("Connected")

    def worker(self) -> int:
        """The process that serves the page."""
        return int(re.findall(r"\d+", self.page.locator("#state").get_attribute("title") or "")[0])

    def say(self, text: str) -> None:
        self.field.fill(text)
        self.field.press("Enter")

    def message(self, text: str) -> Locator:
        return self.log.locator(".message").filter(has=self.page.get_by_text(text, exact=True))

    def expect_message(self, text: str, *, by: str) -> None:
        expect(self.message(text).locator(".name")).to_have_text(by)

    def expect_people(self, *names: str) -> None:
        expect(self.people.locator("bdi")).to_have_text(list(names))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        unavailable("Chromium is not installed: on Debian and Ubuntu, apt-get install chromium")
    expect.set_options(timeout=MILLISECONDS)
    with sync_playwright() as playwright:
        # Each launch makes a profile of its own and removes it.
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ChatServer]]:
    """Each kind of server, started when it is first needed."""
    started: dict[str, ChatServer] = {}

    def get(kind: str) -> ChatServer:
        if kind not in started:
            folder = tmp_path_factory.mktemp(kind)
            started[kind] = ChatServer(folder, RedisServer(folder) if kind == "redis" else None)
        return started[kind]

    yield get
    for server in started.values():
        server.stop()


@pytest.fixture
def server(servers: Callable[[str], ChatServer], request: pytest.FixtureRequest) -> ChatServer:
    """The chat in one process with its memory, or as a test says."""
    return servers(getattr(request, "param", "memory"))


@pytest.fixture
def visit(browser: Browser, server: ChatServer) -> Iterator[Callable[..., Visitor]]:
    """Make visitors, each with a profile of their own. No script may have failed in their pages at the end."""
    visitors: list[Visitor] = []

    def make(size: tuple[int, int] = DESKTOP) -> Visitor:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        context.set_default_timeout(MILLISECONDS)
        visitors.append(Visitor(context.new_page(), server.url))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.page.context.close()
    assert [problem for visitor in visitors for problem in visitor.problems] == []


@pytest.fixture
def two(visit: Callable[..., Visitor], request: pytest.FixtureRequest) -> tuple[Visitor, Visitor]:
    """Ada and Bob, in a room of their own."""
    room = request.function.__name__.removeprefix("test_")[:40]
    ada, bob = visit(), visit(PHONE)
    ada.enter("Ada", room)
    bob.enter("Bob", room)
    ada.expect_people("Ada", "Bob")
    return ada, bob


def test_messages_cross_both_ways(two: tuple[Visitor, Visitor]) -> None:
    ada, bob = two
    ada.say("Hello Bob")
    bob.expect_message("Hello Bob", by="Ada")
    bob.say("Hello Ada,\nhow are you? 🙂")
    ada.expect_message("Hello Ada,\nhow are you? 🙂", by="Bob")
    for visitor in two:
        expect(visitor.log.locator(".message .text")).to_have_text(["Hello Bob", "Hello Ada,\nhow are you? 🙂"])
        expect(visitor.log.locator(".message.own")).to_have_count(1)
        expect(visitor.log.locator(".pending")).to_have_count(0)
        expect(visitor.log.locator("time").first).to_have_text(re.compile(r"\d\d:\d\d"))
    ada.expect_message("Hello Bob", by="You")


def test_typing_is_shown_until_the_message_comes_or_the_field_is_emptied(two: tuple[Visitor, Visitor]) -> None:
    ada, bob = two
    typing = bob.page.get_by_text("Ada is typing…")
    ada.field.press_sequentially("Hel")
    expect(typing).to_be_visible()
    ada.field.fill("")
    expect(typing).to_be_hidden()
    ada.field.press_sequentially("Hello")
    expect(typing).to_be_visible()
    ada.field.press("Enter")
    bob.expect_message("Hello", by="Ada")
    expect(typing).to_be_hidden()
    expect(ada.page.get_by_text("typing…")).to_be_hidden()


def test_everybody_sees_who_is_here_and_who_leaves(two: tuple[Visitor, Visitor], visit: Callable[..., Visitor]) -> None:
    ada, bob = two
    room = ada.page.url.partition("#")[2]
    chloe = visit()
    chloe.enter("Chloé", room)
    for visitor, names in ((ada, "Ada Bob Chloé"), (bob, "Bob Ada Chloé"), (chloe, "Chloé Ada Bob")):
        visitor.expect_people(*names.split())
    expect(ada.log).to_contain_text("Chloé joined")

    bob.page.get_by_role("button", name="Leave").click()
    expect(bob.page.get_by_role("button", name="Enter")).to_be_visible()
    expect(ada.log).to_contain_text("Bob left")
    chloe.page.close()
    expect(ada.log).to_contain_text("Chloé left")
    ada.expect_people("Ada")


def test_what_looks_like_html_is_shown_as_text(visit: Callable[..., Visitor]) -> None:
    ada, bob = visit(), visit()
    name = "<img src=x onerror=alert(1)>"
    text = "<b>bold</b> <script>alert(1)</script> &amp; javascript:alert(1)"
    ada.page.on("dialog", lambda dialog: ada.problems.append(dialog.message))
    bob.page.on("dialog", lambda dialog: bob.problems.append(dialog.message))
    ada.enter(name, "html")
    bob.enter("Bob", "html")
    ada.say(text)
    bob.expect_message(text, by=name)
    ada.expect_message(text, by="You")
    bob.expect_people("Bob", name)
    for visitor in (ada, bob):
        expect(visitor.page.locator("#chat").locator("b, img, script")).to_have_count(0)


@pytest.mark.parametrize("server", ["memory", "redis"], indirect=True)
def test_who_opens_the_room_later_or_again_sees_what_was_said_and_who_is_here(
    two: tuple[Visitor, Visitor], visit: Callable[..., Visitor]
) -> None:
    ada, bob = two
    said = ["One", "Two", "Three"]
    for visitor, text in zip((ada, bob, ada), said, strict=True):
        visitor.say(text)
        expect(bob.log.locator(".text").filter(has_text=text)).to_be_visible()
    chloe = visit()
    chloe.enter("Chloé", ada.page.url.partition("#")[2])
    ada.page.reload()
    for visitor in (ada, bob, chloe):
        expect(visitor.log.locator(".text")).to_have_text(said)
    expect(ada.log.locator(".own .text")).to_have_text(["One", "Three"])
    # Who is back within the grace period was never away.
    ada.expect_people("Ada", "Bob", "Chloé")
    expect(bob.log.locator(".note")).to_have_text(["Chloé joined"])
    ada.field.press_sequentially("Hel")
    expect(bob.page.get_by_text("Ada is typing…")).to_be_visible()
    expect(chloe.page.get_by_text("Ada is typing…")).to_be_visible()
    chloe.page.get_by_role("button", name="Leave").click()
    expect(bob.log.locator(".note")).to_have_text(["Chloé joined", "Chloé left"])
    bob.expect_people("Bob", "Ada")


def test_the_pages_reconnect_by_themselves_when_the_server_comes_back(
    two: tuple[Visitor, Visitor], server: ChatServer
) -> None:
    ada, bob = two
    ada.say("Before")
    bob.expect_message("Before", by="Ada")
    server.kill()
    for visitor in two:
        expect(visitor.state).to_have_text("Reconnecting…")
    ada.say("Written meanwhile")
    expect(ada.field).to_have_value("Written meanwhile")
    expect(ada.page.get_by_role("button", name="Send")).to_be_disabled()
    server.start()
    for visitor in two:
        expect(visitor.state).to_have_text("Connected")
        expect(visitor.log).to_contain_text("Some of what was said in between is missing here.")
    ada.expect_people("Ada", "Bob")
    ada.field.press("Enter")
    bob.expect_message("Written meanwhile", by="Ada")
    bob.say("After")
    ada.expect_message("After", by="Bob")
    ada.expect_message("Before", by="You")


@pytest.mark.parametrize("server", ["redis"], indirect=True)
def test_a_worker_is_killed_and_nobody_misses_anything(two: tuple[Visitor, Visitor]) -> None:
    ada, bob = two
    for _ in range(50):
        if ada.worker() != bob.worker():
            break
        bob.page.reload()
        bob.expect_people("Bob", "Ada")
    texts = ["Before", *(f"Meanwhile {n}" for n in range(5)), "After"]
    ada.say(texts[0])
    bob.expect_message("Before", by="Ada")
    killed = bob.worker()
    os.kill(killed, signal.SIGKILL)
    for text in texts[1:-1]:
        ada.say(text)
    expect(bob.log.locator(".text")).to_have_text(texts[:-1])
    expect(bob.state).to_have_text("Connected")
    assert bob.worker() != killed
    bob.say("After")
    for visitor in two:
        expect(visitor.log.locator(".message:not(.pending) .text")).to_have_text(texts)
        expect(visitor.people).to_have_count(2)
    expect(ada.log.locator(".note")).to_have_text(["Bob joined"])
    expect(bob.log.locator(".note")).to_have_count(0)


def swallow_the_first(visitor: Visitor) -> list[WebSocketRoute]:
    """Let nothing that the page says on its first connection reach the server."""
    sockets: list[WebSocketRoute] = []

    def connect(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        server_side = socket.connect_to_server()
        if len(sockets) == 1:
            socket.on_message(lambda _: None)
            server_side.on_message(socket.send)

    visitor.page.clock.install()
    visitor.page.route_web_socket(SOCKET, connect)
    return sockets


def test_a_message_that_did_not_arrive_is_sent_again_by_itself(visit: Callable[..., Visitor]) -> None:
    ada = visit()
    sockets = swallow_the_first(ada)
    ada.enter("Ada", "swallowed")
    ada.say("Is anybody there?")
    expect(ada.log.locator(".pending")).to_have_count(1)
    sockets[0].close(code=1012)
    expect(ada.log.locator(".message:not(.pending) .text")).to_have_text(["Is anybody there?"])
    assert len(sockets) == 2


def test_a_message_whose_fate_the_server_has_forgotten_is_marked_and_can_be_sent_again(
    visit: Callable[..., Visitor],
) -> None:
    ada = visit()
    sockets = swallow_the_first(ada)
    ada.enter("Ada", "forgotten")
    ada.page.set_viewport_size({"width": 390, "height": 300})
    ada.say("Is anybody there?")
    expect(ada.log.locator(".pending")).to_have_count(1)
    ada.page.clock.fast_forward(300_000)
    sockets[0].close(code=1012)
    expect(ada.page.get_by_text("Perhaps not delivered.")).to_be_in_viewport(ratio=1)
    ada.page.get_by_role("button", name="Send again").click()
    expect(ada.log.locator(".message:not(.pending, .lost) .text")).to_have_text(["Is anybody there?"])
    expect(ada.log.locator(".lost")).to_have_count(0)


@pytest.mark.parametrize("size", [(320, 568), PHONE, (768, 1024), DESKTOP])
def test_nothing_is_wider_than_the_screen(visit: Callable[..., Visitor], size: tuple[int, int]) -> None:
    ada = visit(size)
    width_of_page = "[document.documentElement, document.body, document.querySelector('#log')].map(e => e.scrollWidth)"

    def fits() -> bool:
        widths: list[int] = ada.page.evaluate(width_of_page)
        return max(widths) <= size[0]

    ada.page.goto(ada.url)
    assert fits()
    ada.enter("W" * 32, f"{'w' * 33}-{size[0]}")
    ada.say("w" * 500)
    ada.say("Some words.\n" * 20)
    expect(ada.log.locator(".message:not(.pending)")).to_have_count(2)
    assert fits()
    for control in (
        ada.field,
        ada.page.get_by_role("button", name="Leave"),
        ada.page.get_by_role("button", name="Send"),
    ):
        expect(control).to_be_in_viewport(ratio=1)


def test_whoever_reads_older_messages_is_not_pulled_away(two: tuple[Visitor, Visitor]) -> None:
    ada, bob = two
    for n in range(30):
        ada.say(f"Message {n}")
    last = bob.message("Message 29")
    expect(last).to_be_in_viewport()
    bob.log.hover()
    bob.page.mouse.wheel(0, -10_000)
    first = bob.message("Message 0")
    expect(first).to_be_in_viewport()
    ada.say("The newest")
    bob.page.get_by_role("button", name="New messages").click()
    expect(bob.message("The newest")).to_be_in_viewport()
    expect(first).not_to_be_in_viewport()
    expect(bob.page.get_by_role("button", name="New messages")).to_be_hidden()


def test_the_address_leads_to_the_room_and_a_reload_stays_in_it(visit: Callable[..., Visitor]) -> None:
    ada, bob = visit(), visit()
    ada.enter("Ada", "  Café   Müller! ")
    expect(ada.page).to_have_title("#café-müller · trunkline")
    bob.page.goto(ada.page.url)
    expect(bob.page.get_by_label("Room")).to_have_value("café-müller")
    bob.page.get_by_label("Your name").fill("Bob")
    bob.page.get_by_label("Your name").press("Enter")
    bob.expect_people("Bob", "Ada")
    bob.page.reload()
    bob.expect_people("Bob", "Ada")


def test_the_keyboard_is_enough(visit: Callable[..., Visitor]) -> None:
    page = (ada := visit()).page
    page.goto(ada.url)
    expect(page.get_by_label("Your name")).to_be_focused()
    page.keyboard.type("Ada")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("keyboard")
    page.keyboard.press("Enter")
    expect(ada.field).to_be_focused()
    expect(ada.state).to_have_text("Connected")
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Two")
    page.keyboard.press("Enter")
    ada.expect_message("One\nTwo", by="You")
    expect(ada.field).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(ada.log).to_be_focused()


def enter_and_be_closed(visitor: Visitor, code: int) -> list[str]:
    """Enter, and close each connection with a code; the page's clock can be moved on. Returns the attempts to come."""
    attempts: list[str] = []

    def close(socket: WebSocketRoute) -> None:
        attempts.append(socket.url)
        socket.close(code=code, reason="That is all.")

    visitor.page.clock.install()
    visitor.page.route_web_socket(SOCKET, close)
    visitor.page.goto(visitor.url)
    visitor.page.get_by_label("Your name").fill("Ada")
    visitor.page.get_by_role("button", name="Enter").click()
    return attempts


@pytest.mark.parametrize("code", [1000, 1008, 4001])
def test_a_refusal_is_shown_and_ends_the_attempts(visit: Callable[..., Visitor], code: int) -> None:
    ada = visit()
    attempts = enter_and_be_closed(ada, code)
    expect(ada.page.get_by_role("alert").filter(visible=True)).to_have_text("That is all.")
    ada.page.clock.run_for(120_000)
    expect(ada.page.get_by_role("button", name="Enter")).to_be_visible()
    assert len(attempts) == 1


@pytest.mark.parametrize("code", [1001, 1011, 1013])
def test_a_close_that_means_later_is_tried_again(visit: Callable[..., Visitor], code: int) -> None:
    ada = visit()
    attempts = enter_and_be_closed(ada, code)
    waiting = ada.page.get_by_role("button", name="Try now")
    for _ in range(3):
        expect(waiting).to_be_visible()
        before = len(attempts)
        ada.page.clock.run_for(20_000)
        expect(waiting).to_be_visible()
        assert len(attempts) > before


def test_the_page_knows_the_same_codes_as_the_package_and_waits_at_random(visit: Callable[..., Visitor]) -> None:
    page = (ada := visit()).page
    page.goto(ada.url)
    codes: list[int] = page.evaluate("import('./static/chat.js').then(chat => chat.RECONNECT)")
    assert codes == [code for code, meaning in CLOSE_CODES.items() if meaning.reconnect]

    def backoff(n: int, random: float) -> float:
        delay: float = page.evaluate(f"import('./static/chat.js').then(chat => chat.backoff({n}, () => {random}))")
        return delay

    assert [backoff(n, 0) for n in (0, 5, 100)] == [500, 500, 500]
    assert [backoff(n, 1) for n in (0, 1, 2, 5, 6, 100)] == [1000, 1500, 2500, 16500, 20000, 20000]
