"""Runs the Autobahn test suite, which is a program for Python 2.7 in an environment of its own, against the engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from tests.autobahn.results import Case, read
from tests.contracts.servers import Server, serve

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ALL", "QUICK", "REPORTS", "SUBJECTS", "Subject", "installed", "run"]

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv-autobahn"
REPORTS = ROOT / "build" / "autobahn"

ALL = ("*",)
QUICK = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
SECONDS_AT_MOST = 2 * 60 * 60

# Twice the largest message of group 9, so that the limit is no part of what is tested.
SERVER = Server(
    name="engine",
    package="uvicorn",
    command="uvicorn {app} --host 127.0.0.1 --port {port} --ws trunkline.engine:WebSocketProtocol"
    " --ws-max-size 33554432 --timeout-graceful-shutdown 1 --log-level warning",
    app="tests.autobahn.application:app",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested: a codec, with one of the two echo applications on top.

    Attributes:
        name: On the command line, and of the folder of its report.
        title: In the table.
        codec: "native" or "pure".
        path: Of the echo application.
    """

    name: str
    title: str
    codec: str
    path: str


SUBJECTS = (
    Subject("native", "native codec, plain ASGI", "native", "/asgi"),
    Subject("app", "native codec, our App", "native", "/app"),
    Subject("pure", "pure-Python codec, plain ASGI", "pure", "/asgi"),
)


def installed() -> bool:
    """Whether `scripts/autobahn --install` has made the suite's environment."""
    return (HOME / ".installed").exists()


def run(subject: Subject, cases: tuple[str, ...], reports: Path, on_group: Callable[[str], None]) -> list[Case]:
    """Run cases against one subject.

    Args:
        subject: What to test.
        cases: Ids or patterns of ids, as the suite takes them: "1.*", "7.1.5".
        reports: A folder; the report goes into one below it, named for the subject.
        on_group: Called with the number of each group of cases as it begins.

    Returns:
        Every case's outcome, in order.

    Raises:
        RuntimeError: The run says nothing: the codec is not there, the server logged something, or cases are missing.
    """
    if subject.codec == "native" and find_spec("trunkline.engine._codec") is None:
        raise RuntimeError("the native codec was not built here, so it cannot be tested; see `trunkline doctor`")
    folder = reports / subject.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.json").unlink(missing_ok=True)
    choice = {"TRUNKLINE_CODEC": "pure" if subject.codec == "pure" else ""}
    with patch.dict(os.environ, choice), serve(SERVER, folder) as server:
        output = _fuzz(f"ws://{server.host}{subject.path}", subject.name, cases, folder, on_group)
        log = str(server)
    if log:
        raise RuntimeError(f"the server should log nothing, but it says:\n{log}")
    wanted = re.search(r"will run (\d+) test cases", output)
    if wanted is None or not (folder / "index.json").exists():
        raise RuntimeError(f"the suite did not run:\n{output}")
    outcomes = read(folder)
    if len(outcomes) != int(wanted[1]):
        raise RuntimeError(f"of {wanted[1]} cases only {len(outcomes)} ran:\n{output[-2000:]}")
    return outcomes


def _fuzz(url: str, agent: str, cases: tuple[str, ...], folder: Path, on_group: Callable[[str], None]) -> str:
    """Run the suite's client to its end; what it printed."""
    spec = {"outdir": str(folder), "servers": [{"agent": agent, "url": url}], "cases": cases, "exclude-cases": []}
    (folder / "spec.json").write_text(json.dumps(spec))
    command: list[str | Path] = [HOME / "env/bin/wstest", "-m", "fuzzingclient", "-s", folder / "spec.json"]
    said, group = [], ""
    with subprocess.Popen(
        command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        limit = threading.Timer(SECONDS_AT_MOST, process.kill)
        limit.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                found = re.match(r"Running test case ID (\d+)", line)
                if found and found[1] != group:
                    group = found[1]
                    on_group(group)
        except BaseException:
            process.kill()
            raise
        finally:
            limit.cancel()
    return "".join(said)


def _environment() -> dict[str, str]:
    """With the libraries of the Python 2.7 that `scripts/autobahn` unpacked, if it did."""
    libraries = [str(folder) for folder in HOME.glob("python2.7/usr/lib/*-linux-gnu")]
    return os.environ | ({"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {})
