"""How many processes serve the application, as far as that is known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from uvicorn.config import Config

import trunkline.workers
from tests.cli_process import started
from tests.support import ROOT
from trunkline.engine.protocol import _settings
from trunkline.engine.settings import EngineSettings
from trunkline.workers import note_workers, worker_count

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(trunkline.workers, "_told", 1)


@pytest.mark.parametrize(("said", "count"), [("", 1), ("1", 1), ("4", 4), ("nonsense", 1), ("-4", 1)])
def test_the_environment_says_it(said: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_count() == 1
    monkeypatch.setenv("WEB_CONCURRENCY", said)
    assert worker_count() == count


def test_a_server_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    note_workers(3)
    note_workers(1)
    assert worker_count() == 3
    monkeypatch.setenv("WEB_CONCURRENCY", "5")
    assert worker_count() == 5


def test_our_engine_tells_what_uvicorn_was_told() -> None:
    _settings(Config("module:app", workers=7, log_config=None), EngineSettings())
    assert worker_count() == 7


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ("/usr/bin/gunicorn app:app -w 4", 4),
        ("/usr/bin/gunicorn -w4 app:app", 4),
        ("/usr/bin/gunicorn --workers=4 app:app", 4),
        ("/site-packages/gunicorn/__main__.py --workers 4 app:app", 4),
        ("hypercorn app:app --workers 4", 4),
        ("granian app:app --workers", 1),
        ("gunicorn app:app --worker-class x", 1),
        ("gunicorn app:app", 1),
        ("pytest -w 4", 1),
        ("", 1),
    ],
)
def test_the_command_line_of_a_server_says_it(command: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", command.split() or [""])
    assert worker_count() == count


SCRIPT = """
import uvicorn
from trunkline import App, Hub

hub = Hub()
app = App()

if __name__ == "__main__":
    uvicorn.run("served:app", workers=2, port=0)
"""


@pytest.mark.parametrize("command", ["-m uvicorn served:app --workers 2 --port 0", "served.py"])
def test_uvicorns_workers_warn_of_a_hub_in_memory(command: str, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(SCRIPT)
    environment = {"PYTHONPATH": str(ROOT / "src")}
    with started([sys.executable, *command.split()], cwd=tmp_path, env=environment) as server:
        warned = server.wait_for("there are 2 worker processes").string
        server.process.terminate()
        server.process.wait(30)
    assert 'Hub("redis://localhost:6379")' in warned
