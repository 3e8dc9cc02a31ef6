"""How many processes serve the application, as far as that is known."""

from __future__ import annotations

import pytest
from uvicorn.config import Config

import trunkline.workers
from trunkline.engine.protocol import _settings
from trunkline.engine.settings import EngineSettings
from trunkline.workers import note_workers, worker_count


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
