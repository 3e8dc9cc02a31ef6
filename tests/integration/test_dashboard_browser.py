"""The dashboard as people use it: log in, watch, log out, and be logged out, in a real Chromium."""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.contracts.servers import RunningServer, Server, serve
from tests.integration.test_chat_browser import COMMAND, browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["browser"]

APP = "examples.dashboard.main:app"


def row(**env: str) -> Server:
    return Server(name="dashboard", package="trunkline", command=COMMAND, app=APP, env=env)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(row(), tmp_path_factory.mktemp("dashboard")) as running:
        yield running
        assert "Traceback" not in str(running)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of somebody who has never been here."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def log_in(page: Page, server: RunningServer, password: str = "lovelace") -> None:
    page.goto(f"http://{server.host}/")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def expect_dashboard(page: Page) -> None:
    expect(page.get_by_role("status")).to_have_text("Connected")
    expect(page.get_by_label("Logged in as")).to_have_text("ada")


def expect_login(page: Page) -> None:
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def cookie_of(page: Page) -> str:
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    return f"{cookie['name']}={cookie['value']}"


def status_of(server: RunningServer, **headers: str) -> int:
    """How the server answers a WebSocket."""
    try:
        with connect(f"ws://{server.host}/live", additional_headers=headers, proxy=None) as client:
            client.recv(timeout=10)
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def test_who_has_logged_in_sees_live_numbers(page: Page, server: RunningServer) -> None:
    log_in(page, server, "wrong")
    expect(page.get_by_role("alert")).to_have_text("This is not a name and its password.")
    log_in(page, server)
    expect_dashboard(page)
    expect(page.get_by_label("Seconds left")).to_have_text(re.compile(r"^3[56]\d\d$"))
    assert page.evaluate("document.cookie") == ""
    second = page.context.new_page()
    second.goto(f"http://{server.host}/")
    expect_dashboard(second)
    expect(page.get_by_label("Open pages")).to_have_text("2")
    second.close()
    expect(page.get_by_label("Open pages")).to_have_text("1")


def test_logging_out_closes_every_page(page: Page, server: RunningServer) -> None:
    log_in(page, server)
    expect_dashboard(page)
    cookie = cookie_of(page)
    assert status_of(server, Cookie=cookie) == 101
    second = page.context.new_page()
    second.goto(f"http://{server.host}/")
    expect_dashboard(second)
    page.get_by_role("button", name="Log out").click()
    expect_login(page)
    expect_login(second)
    expect(second.get_by_role("alert")).to_have_text("Your session has ended.")
    assert page.context.cookies() == []
    assert status_of(server, Cookie=cookie) == 401


def test_the_cookie_alone_does_not_let_in_a_page_of_somebody_else(page: Page, server: RunningServer) -> None:
    log_in(page, server)
    expect_dashboard(page)
    cookie = cookie_of(page)
    assert status_of(server, Cookie=cookie, Origin=f"http://{server.host}") == 101
    assert status_of(server, Cookie=cookie, Origin="http://evil.example") == 403
    assert status_of(server) == 401
    request = urllib.request.Request(
        f"http://{server.host}/logout", method="POST", headers={"Cookie": cookie, "Origin": "http://evil.example"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)
    expect_dashboard(page)
    assert cookie.partition("=")[2] not in str(server)
    assert "lovelace" not in str(server)


def test_a_session_that_ends_shows_the_login_again(page: Page, tmp_path: Path) -> None:
    with serve(row(SESSION_SECONDS="3"), tmp_path) as server:
        log_in(page, server)
        expect_dashboard(page)
        expect(page.get_by_role("alert")).to_have_text("Your session has ended.")
        expect_login(page)
        assert "Traceback" not in str(server)


def test_a_session_that_is_made_longer_goes_on(page: Page, server: RunningServer) -> None:
    log_in(page, server)
    expect_dashboard(page)
    seconds = page.get_by_label("Seconds left")
    expect(seconds).to_have_text(re.compile(r"^359[0-6]$"))
    with page.expect_response("**/stay") as answered:
        page.get_by_role("button", name="Stay logged in").click()
    assert answered.value.status == 204
    expect(seconds).to_have_text(re.compile(r"^(3600|359[89])$"))


def test_a_page_whose_handshake_is_refused_asks_why(page: Page, tmp_path: Path) -> None:
    """The server has been started again and knows no session; the page hears 1006 and nothing else."""
    folder = tmp_path
    with serve(row(), folder) as server:
        log_in(page, server)
        expect_dashboard(page)
    again = RunningServer(row(), folder / "again.log", server.port)
    try:
        assert again.answers()
        expect_login(page)
    finally:
        again.stop()
