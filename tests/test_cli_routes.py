"""`trunkline routes`, and how the application that a user names is found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli_process import trunkline
from trunkline.cli import main
from trunkline.cli.loading import CommandError, check_module, load_application
from trunkline.routing import Router

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLE = """
import functools

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

async def chat(websocket): ...
async def page(request): ...
class Page(HTTPEndpoint): ...
class Raw:
    async def __call__(self, scope, receive, send): ...
class Wrapper:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send): ...

router = APIRouter()
router.add_api_route("/items/{item}", page, methods=["GET", "DELETE"])
router.add_api_websocket_route("/chat", chat)
api = FastAPI(openapi_url=None)
api.include_router(router, prefix="/v1")

app = Starlette(routes=[
    Route("/", page, name="home"),
    Route("/class", Page),
    WebSocketRoute("/ws", functools.partial(chat)),
    Mount("/api", api, name="api"),
    Mount("/raw", Raw()),
    Host("static.example.org", Router([Route("/x", page, methods=["POST"])]), name="files"),
])
wrapped = Wrapper(Wrapper(app))
raw = Raw()
number = 7

def make(): return app
def broken(scope): ...
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "sample.py").write_text(SAMPLE)
    (tmp_path / "failing.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # also forgets, at the end, what the loader puts before it
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("sample", "failing", "plain"):
        sys.modules.pop(name, None)


EXPECTED = [
    ["KIND", "PATH", "METHODS", "NAME", "ENDPOINT"],
    ["http", "/", "GET", "HEAD", "home", "sample:page"],
    ["http", "/class", "Page", "sample:Page"],
    ["websocket", "/ws", "partial", "sample:chat"],
    ["mount", "/api", "api", "fastapi.applications:FastAPI"],
    ["http", "/v1/items/{item}", "DELETE", "GET", "page", "sample:page"],
    ["websocket", "/v1/chat", "chat", "sample:chat"],
    ["mount", "/raw", "sample:Raw"],
    ["host", "static.example.org", "files", "starlette.routing:Router"],
    ["http", "/x", "POST", "page", "sample:page"],
]


@pytest.mark.parametrize("target", [["sample:app"], ["sample:wrapped"], ["sample:make", "--factory"]])
def test_routes_of_starlette_and_fastapi_are_shown_with_what_is_mounted(
    target: list[str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", *target]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == EXPECTED
    mount = next(line for line in lines if line.startswith("mount"))
    assert {line.index("/v1/") - mount.index("/api") for line in lines if "/v1/" in line} == {2}  # indented under it


def test_routes_of_ours_are_shown_the_same(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = SAMPLE.replace("from starlette.", "from trunkline.").replace("Starlette", "App")
    (project / "sample.py").write_text(ours)
    assert main(["routes", "sample:app"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    expected = [[word.replace("starlette.", "trunkline.") for word in line] for line in EXPECTED]
    expected[8][3] = f"{Router.__module__}:Router"
    assert shown == expected


def test_columns_are_aligned(project: Path) -> None:
    done = trunkline("routes", "sample:app", cwd=project)
    assert done.returncode == 0
    heading, *lines = done.stdout.splitlines()
    column = heading.index("ENDPOINT")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)


@pytest.mark.parametrize("command", ["routes", "run"])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("sample", "expected module:attribute, for example sample:app"),
        ("sample:", "expected module:attribute"),
        (":app", "expected module:attribute, for example main:app"),
        ("./pkg/sample.py:app", "write pkg.sample:app"),
        ("nowhere:app", "there is no module 'nowhere' in "),
        ("nowhere.deep:app", "there is no module 'nowhere.deep' in "),
        ("sample:ap", "module 'sample' has no attribute 'ap'; did you mean sample:router, sample:api, sample:app, "),
        ("sample:number", "it is of type int; expected an App"),
        ("sample:Raw", "it is the class Raw; name an instance of it"),
        ("sample:make", "it is the function make(); if it makes the application, add --factory"),
        ("sample:chat", "it is the function chat(websocket); give it to an App as an endpoint"),
    ],
)
def test_a_wrong_name_is_refused_in_words(
    command: str, target: str, words: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, target]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.startswith(f"trunkline {command}: ")
    assert captured.out == ""


def test_no_traceback_and_exit_code_2_for_the_user(project: Path) -> None:
    done = trunkline("run", "nowhere:app", cwd=project)
    assert done.returncode == 2
    assert done.stderr == f"trunkline run: there is no module 'nowhere' in {project} or among the packages\n"


def test_a_module_without_applications_gives_no_proposal(project: Path) -> None:
    (project / "plain.py").write_text("x = 1\n")
    with pytest.raises(CommandError, match=r"^module 'plain' has no attribute 'app'$"):
        load_application("plain:app", directory=str(project))


def test_an_application_without_routes_is_said_to_have_none(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "sample:raw"]) == 2
    assert "without a table of routes" in capsys.readouterr().err


def test_a_factory_must_be_callable(project: Path) -> None:
    with pytest.raises(CommandError, match="to be a function that makes an application, but it is of type int"):
        load_application("sample:number", directory=str(project), factory=True)


def test_an_error_inside_the_module_of_the_user_keeps_its_traceback(project: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_application("failing:app", directory=str(project))


def test_a_module_is_checked_without_being_run(project: Path) -> None:
    check_module("failing:app", directory=str(project))
    for missing in ("nowhere:app", "nowhere.deep:app"):
        with pytest.raises(CommandError, match="there is no module"):
            check_module(missing, directory=str(project))
