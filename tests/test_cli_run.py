"""`trunkline run` and `trunkline demo`: real server processes on free ports."""

from __future__ import annotations

import gc
import shutil
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.cli_process import serving, trunkline
from tests.support import installed
from trunkline.cli import demo, main
from trunkline.cli.loading import CommandError
from trunkline.cli.loop import new_event_loop

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = """
import asyncio
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{os.getpid()} {scope['root_path']}".encode()})
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/deaf":
        await asyncio.sleep(3600)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"].upper()})

def make():
    return app
"""
COLLECTOR = """
import gc, json

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(gc.get_threshold()[0]).encode()})
"""
RUNNING = r"running on http://127\.0\.0\.1:(\d+)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def get(port: str, path: str = "/") -> str:
    """Ask until the server listens: a worker says that it has started just before it does."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
                return str(response.read().decode())
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def test_an_application_in_the_current_directory_is_served_over_both_protocols(project: Path) -> None:
    with serving("run", "program:app", "--port", "0", cwd=project) as server:
        port = server.wait_for(RUNNING)[1]
        assert get(port).split()[0] == str(server.process.pid)
        with connect(f"ws://127.0.0.1:{port}/chat") as client:
            client.send("hello")
            assert client.recv(timeout=10) == "HELLO"
        assert server.end() == 0


def test_options_of_uvicorn_are_passed_on(project: Path) -> None:
    options = ["--root-path", "/api", "--log-level", "debug", "--no-access-log", "--factory", "--ws", "wsproto"]
    with serving("run", *options, "--port", "0", "program:make", cwd=project) as server:
        port = server.wait_for(RUNNING)[1]
        assert get(port, "/api/").split()[1] == "/api"
        with connect(f"ws://127.0.0.1:{port}/api/chat") as client:
            client.send("hello")
            assert client.recv(timeout=10) == "HELLO"
        server.end()
        assert not any("GET /api/" in line for line in server.lines)


def test_a_handler_that_ignores_its_connection_does_not_hold_the_end_for_ever(project: Path) -> None:
    options = ["--timeout-graceful-shutdown", "1"]
    with serving("run", "program:app", "--port", "0", *options, cwd=project) as server:
        port = server.wait_for(RUNNING)[1]
        with connect(f"ws://127.0.0.1:{port}/deaf"):
            assert server.end() == 0


def test_the_time_to_end_is_bounded_by_default(project: Path) -> None:
    (project / "bound.py").write_text(
        "import gc, uvicorn\n"
        "async def app(scope, receive, send):\n"
        "    configs = [o for o in gc.get_objects() if isinstance(o, uvicorn.Config)]\n"
        "    print('CONFIG', configs[0].timeout_graceful_shutdown, configs[0].ws, flush=True)\n"
    )
    with serving("run", "bound:app", "--port", "0", cwd=project) as server:
        assert server.wait_for("CONFIG (.*)")[1] == "10 trunkline.engine:WebSocketProtocol"


def test_the_engine_is_set_by_options_and_variables(project: Path) -> None:
    (project / "settings.py").write_text(
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'websocket':\n"
        "        settings = scope['extensions']['trunkline.line']['line'].settings\n"
        "        print('LIMITS', settings.max_message, settings.drain_window, settings.ping_interval, flush=True)\n"
        "        await send({'type': 'websocket.close'})\n"
    )
    options = ["--engine", "max_message=65536", "--drain", "2.5", "--ws-ping-interval", "7"]
    with serving("run", "settings:app", "--port", "0", *options, cwd=project) as server:
        port = server.wait_for(RUNNING)[1]
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}/")
        assert server.wait_for("LIMITS (.*)")[1] == "65536 2.5 7.0"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--engine", "max_mesage=1"], "there is no setting 'max_mesage'; there are: max_message, "),
        (["--engine", "max_message=much"], "expected a whole number as TRUNKLINE_WS_MAX_MESSAGE, but got 'much'"),
        (["--engine", "compression=some"], "expected on, off or takeover as TRUNKLINE_WS_COMPRESSION"),
        (["--drain", "soon"], "'soon' is not a valid float"),
    ],
)
def test_a_wrong_setting_of_the_engine_is_refused_in_words(project: Path, options: list[str], text: str) -> None:
    done = trunkline("run", "program:app", *options, cwd=project)
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ws-max-queue", "0"], "--ws-max-queue 0 of uvicorn cannot be kept: expected 1 or more as inbound_messages"),
        (["--ws-max-size", "0"], "--ws-max-size 0 of uvicorn cannot be kept: expected 1 or more as max_message"),
        (["--ws-ping-interval", "-1"], "--ws-ping-interval -1.0 of uvicorn cannot be kept: expected seconds above 0"),
    ],
)
def test_an_option_of_uvicorn_that_the_engine_cannot_keep_is_refused(
    options: list[str], words: str, project: Path
) -> None:
    done = trunkline("run", "program:app", *options, cwd=project)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_what_another_protocol_makes_of_its_options_is_its_own(project: Path) -> None:
    options = ["--ws", "websockets-sansio", "--ws-max-queue", "0"]
    with serving("run", "program:app", "--port", "0", *options, cwd=project) as server:
        assert get(server.wait_for(RUNNING)[1])


def test_a_wrong_variable_of_the_engine_is_refused_when_the_server_starts(project: Path) -> None:
    done = trunkline("run", "program:app", cwd=project, env={"TRUNKLINE_WS_PING_TIMEOUT": "soon"})
    assert done.returncode == 2
    assert "expected seconds or none as TRUNKLINE_WS_PING_TIMEOUT, but got 'soon'" in done.stderr


def test_several_workers_serve_the_same_port(project: Path) -> None:
    with serving("run", "program:app", "--port", "0", "--workers", "2", cwd=project) as server:
        port = server.wait_for(RUNNING)[1]
        for _ in range(2):
            server.wait_for("Application startup complete")
        assert get(port).split()[0] != str(server.process.pid)
        assert server.end() == 0


def test_reload_serves_the_changed_program(project: Path) -> None:
    with serving("run", "program:app", "--port", "0", "--reload", "--reload-delay", "0.1", cwd=project) as server:
        port = server.wait_for(RUNNING)[1]
        server.wait_for("Application startup complete")
        before = get(port)
        (project / "program.py").write_text(PROGRAM + "\n# changed\n")
        server.wait_for("Reloading")
        server.wait_for("Application startup complete")
        assert get(port) != before
        assert server.end() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere:app"], "there is no module 'nowhere'"),
        (["nowhere:app", "--reload"], "there is no module 'nowhere'"),
        (["program:nothing", "--workers", "2"], "has no attribute 'nothing'"),
        (["program:make"], "add --factory"),
        (["program:app", "--no-such-option"], "No such option"),
        ([], "Missing argument 'APP'"),
    ],
)
def test_what_cannot_be_served_ends_at_once_with_exit_code_2(arguments: list[str], words: str, project: Path) -> None:
    done = trunkline("run", *arguments, cwd=project)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_another_interface_is_left_to_uvicorn(project: Path) -> None:
    (project / "classic.py").write_text(
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'classic']\n"
    )
    with serving("run", "classic:app", "--interface", "wsgi", "--port", "0", cwd=project) as server:
        assert get(server.wait_for(RUNNING)[1]) == "classic"
        assert server.end() == 0


def fake_installation(place: Path, *, examples: Mapping[str, str]) -> Path:
    """A package directory as it lies in a checkout or in site-packages, with examples beside it."""
    package = place / "src" / "trunkline"
    package.mkdir(parents=True)
    for name, text in examples.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return package


def test_the_demo_of_a_wheel_comes_before_that_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = fake_installation(tmp_path, examples={"examples/chat/app.py": "", "src/trunkline/_demo/app.py": ""})
    monkeypatch.setattr(demo, "_PACKAGE", package)
    assert demo.directory() == package / "_demo"
    shutil.rmtree(package / "_demo")
    assert demo.directory() == tmp_path / "examples" / "chat"


def test_a_missing_demo_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_PACKAGE", fake_installation(tmp_path, examples={}))
    with pytest.raises(CommandError, match=r"the chat example is missing: expected app.py in .*_demo or in .*chat"):
        demo.directory()


def test_the_demo_serves_its_page_and_ends_at_ctrl_c() -> None:
    with serving("demo", "--port", "0") as server:
        port = server.wait_for(RUNNING)[1]
        assert "<html" in get(port)
        assert server.end() == 0


@pytest.mark.timeout(180)
def test_an_installed_wheel_carries_the_demo(tmp_path: Path) -> None:
    site = installed(tmp_path)
    with serving("demo", "--port", "0", cwd=tmp_path, env={"PYTHONPATH": str(site)}) as server:
        port = server.wait_for(RUNNING)[1]
        assert "<html" in get(port)
    assert (site / "trunkline" / "_demo" / "app.py").is_file()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::", "http://[::1]:8123"),
        ("chat.local", "http://chat.local:8123"),
    ],
)
def test_the_demo_names_the_address_to_open(
    host: str, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: list[str]) -> int:
        print(*arguments)
        return 0

    monkeypatch.setattr("trunkline.cli.run.main", run)
    monkeypatch.setattr(demo, "directory", lambda: Path("/somewhere"))
    assert main(["demo", "--host", host, "--port", "8123"]) == 0
    assert capsys.readouterr().out == (
        f"Open {address} in two windows and chat. Ctrl-C ends it.\n"
        f"app:app --app-dir /somewhere --host {host} --port 8123\n"
    )


def test_a_taken_port_is_reported_without_a_traceback(project: Path) -> None:
    with serving("run", "program:app", "--port", "0", cwd=project) as server:
        port = server.wait_for(RUNNING)[1]
        done = trunkline("run", "program:app", "--port", port, cwd=project)
        assert done.returncode != 0
        assert "address already in use" in done.stderr
        assert "Traceback" not in done.stderr


def test_sigterm_ends_the_server_as_sigint_does(project: Path) -> None:
    with serving("run", "program:app", "--port", "0", cwd=project) as server:
        server.wait_for(RUNNING)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("Finished server process")
        assert server.process.wait(30) in {0, -signal.SIGTERM}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_where_connections_are_served_the_collector_is_patient(tmp_path: Path, workers: str) -> None:
    (tmp_path / "collector.py").write_text(COLLECTOR)
    options = ("--workers", workers, "--lifespan", "off")
    with serving("run", "collector:app", "--port", "0", *options, cwd=tmp_path) as server:
        assert get(server.wait_for(RUNNING)[1]) == "10000"
        assert server.end() == 0


@pytest.mark.parametrize(("before", "after"), [(700, 10_000), (50_000, 50_000), (0, 0)])
def test_a_collector_that_was_set_otherwise_stays_as_it_is(before: int, after: int) -> None:
    thresholds = gc.get_threshold()
    try:
        gc.set_threshold(before, *thresholds[1:])
        new_event_loop().close()
        assert gc.get_threshold() == (after, *thresholds[1:])
    finally:
        gc.set_threshold(*thresholds)


def test_a_hub_in_memory_on_several_workers_warns_in_each(tmp_path: Path) -> None:
    (tmp_path / "rooms.py").write_text("from trunkline import App, Hub\napp = App()\nhub = Hub()\n")
    env = {"TRUNKLINE_BROKER": ""}
    with serving("run", "rooms:app", "--port", "0", "--workers", "2", cwd=tmp_path, env=env) as server:
        for _ in range(2):
            server.wait_for(
                "there are 2 worker processes, but the topics of this hub reach only the members of its own"
            )
        assert server.end() == 0
