"""The servers that are compared: what each needs, and how it is started."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = [
    "BASELINE",
    "INSTALLED",
    "LOAD",
    "PEERS",
    "TRUNKLINE",
    "UVICORN",
    "Missing",
    "Peer",
    "install",
    "trunkline",
    "uvicorn",
    "versions",
]

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
SOURCE = HERE.parents[1] / "src"
INSTALLED = HERE / ".peers"
VENV = INSTALLED / "venv"
PYTHON = VENV / "bin" / "python"
NODE = INSTALLED / "node"
LOAD = INSTALLED / "load"
LIMIT = INSTALLED / "limit"
BASELINE = "uvicorn-sansio"


class Missing(Exception):
    """A peer cannot be measured here; the text says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server.

    Attributes:
        name: What --peers takes.
        title: What the tables call it.
        command: The words that start it; `{port}` stands for the port.
        pip: What it needs from the Python package index.
        npm: What it needs from npm.
        environment: Variables of its process.
        ours: Whether it is trunkline.
    """

    name: str
    title: str
    command: tuple[str | Path, ...]
    pip: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False


UVICORN = ("uvicorn==0.54.*", "uvloop", "httptools", "anyio", "typing_extensions", "websockets>=15,<18")
TRUNKLINE = (*UVICORN, "pydantic>=2.11,<3")
_STARLETTE = "starlette==1.10.*"
_ENGINE = "trunkline.engine:WebSocketProtocol"
_OPTIONS = ("--port", "{port}", "--log-level", "warning", "--no-access-log")


def trunkline(app: str) -> tuple[str | Path, ...]:
    """The command that serves a program as `trunkline run` does."""
    return (PYTHON, "-m", "trunkline", "run", app, *_OPTIONS)


def uvicorn(app: str, ws: str) -> tuple[str | Path, ...]:
    """The command that serves a program on uvicorn with that WebSocket protocol."""
    return (
        PYTHON,
        "-m",
        "uvicorn",
        app,
        "--ws",
        ws,
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        *_OPTIONS,
    )


def _on_uvicorn(ws: str, *pip: str) -> Peer:
    command = uvicorn("starlette_app:app", ws)
    return Peer(
        f"uvicorn-{ws.removeprefix('websockets-')}",
        f"Starlette on uvicorn, {ws}",
        command,
        (*UVICORN, _STARLETTE, *pip),
    )


def _program(name: str) -> tuple[str | Path, ...]:
    return (PYTHON, PROGRAMS / name, "{port}")


PEERS = (
    Peer("trunkline", "**trunkline**", trunkline("trunkline_app:app"), TRUNKLINE, ours=True),
    Peer(
        "trunkline-listener",
        "**trunkline**, listener",
        trunkline("listener_app:app"),
        TRUNKLINE,
        ours=True,
    ),
    Peer(
        "trunkline-starlette",
        "Starlette on trunkline's engine",
        uvicorn("starlette_app:app", _ENGINE),
        (*TRUNKLINE, _STARLETTE),
        ours=True,
    ),
    Peer(
        "trunkline-pure",
        "trunkline, codec in pure Python",
        trunkline("trunkline_app:app"),
        TRUNKLINE,
        environment={"TRUNKLINE_CODEC": "pure"},
        ours=True,
    ),
    _on_uvicorn("websockets-sansio"),
    _on_uvicorn("websockets"),
    _on_uvicorn("wsproto", "wsproto"),
    Peer(
        "hypercorn",
        "Starlette on Hypercorn",
        (PYTHON, "-m", "hypercorn", "starlette_app:app", "--worker-class", "uvloop", "--bind", "127.0.0.1:{port}"),
        ("hypercorn==0.18.*", "uvloop", _STARLETTE),
    ),
    Peer(
        "granian",
        "Starlette on Granian",
        (
            VENV / "bin" / "granian",
            "--interface",
            "asgi",
            "--loop",
            "uvloop",
            "--no-log",
            "--port",
            "{port}",
            "starlette_app:app",
        ),
        ("granian[uvloop]==2.8.*", _STARLETTE),
    ),
    Peer("aiohttp", "aiohttp", _program("aiohttp_server.py"), ("aiohttp==3.14.*", "uvloop")),
    Peer("websockets", "websockets", _program("websockets_server.py"), ("websockets>=15,<18", "uvloop")),
    Peer("picows", "picows, raw callbacks", _program("picows_server.py"), ("picows==2.3.*", "uvloop")),
    Peer("socketify", "socketify (uWebSockets)", _program("socketify_server.py"), ("socketify==0.0.31",)),
    Peer("ws", "Node ws", ("node", PROGRAMS / "ws_server.mjs", "{port}"), npm=("ws@8", "bufferutil@4")),
    Peer(
        "bun",
        "Bun (uWebSockets)",
        (NODE / "node_modules" / "bun" / "bin" / "bun.exe", PROGRAMS / "bun_server.js", "{port}"),
        npm=("bun@1",),
    ),
    Peer("limit", "the limit: epoll in C", (LIMIT, "{port}")),
)


def _call(*command: str | Path) -> str:
    """Run a command to its end: its output, or `Missing` with its last words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=INSTALLED, timeout=600, check=False)
    except OSError as error:
        raise Missing(str(error)) from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"`{Path(command[0]).name} {command[1]}` failed: {words[-1] if words else done.returncode}")
    return done.stdout


def _compile(program: Path, *libraries: str) -> None:
    source = HERE / f"{program.name}.c"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        _call("cc", "-O2", "-o", program, source, *libraries)


def install(peers: Iterable[Peer]) -> dict[str, str]:
    """Compile the load generator, and install what the peers need, into `.peers` beside this file.

    Returns:
        The reason why a peer is missing, by its name.

    Raises:
        Missing: The load generator itself, without which nothing can be measured.
    """
    INSTALLED.mkdir(exist_ok=True)
    _compile(LOAD, "-lz", "-lm")
    missing = {}
    for peer in peers:
        try:
            _install(peer)
        except Missing as reason:
            missing[peer.name] = str(reason)
    return missing


_IS_NATIVE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from trunkline.engine.codec import NATIVE; sys.exit(not NATIVE)"
)


def _check_codec() -> None:
    """What is measured as the native codec must be that, and not the one that takes over without it."""
    try:
        _call(PYTHON, "-c", _IS_NATIVE, SOURCE)
    except Missing:
        raise Missing("the native codec is not built in src/ for this Python: pip install --editable .") from None


def _install(peer: Peer) -> None:
    _get(peer)
    if peer.name == "limit":
        _compile(LIMIT)
    if peer.ours and not peer.environment:
        _check_codec()


def _get(peer: Peer) -> None:
    stamp = INSTALLED / f"{peer.name}.installed"
    wanted = " ".join((*peer.pip, *peer.npm))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing what {peer.name} needs: {wanted or 'nothing'}", file=sys.stderr)
    if peer.pip:
        if not PYTHON.exists():
            _call(sys.executable, "-m", "venv", VENV)
        _call(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.pip)
    if peer.npm:
        NODE.mkdir(exist_ok=True)
        npm = shutil.which("npm")
        if npm is None:
            raise Missing("there is no npm on this machine")
        _call(npm, "install", "--prefix", NODE, "--no-audit", "--no-fund", "--loglevel", "error", *peer.npm)
    stamp.write_text(wanted)


def versions(peers: Collection[Peer]) -> list[str]:
    """What of theirs is installed, as `name version`; ours by its commit."""
    pip = {re.split("[=<>[]", word)[0].lower().replace("_", "-") for peer in peers for word in peer.pip}
    npm = {word.split("@")[0] for peer in peers for word in peer.npm}
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE, check=False
    )
    found = [f"trunkline {commit.stdout.strip() or '(no repository)'}", f"Python {sys.version.split()[0]}"]
    if PYTHON.exists():
        packages = json.loads(_call(PYTHON, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
        # The index takes hyphens and underscores for the same.
        names = {package["name"].lower().replace("_", "-"): package for package in packages}
        found += [f"{package['name']} {package['version']}" for name, package in names.items() if name in pip]
    if npm and shutil.which("node"):
        found.append(f"Node {_call('node', '--version').strip().removeprefix('v')}")
    for package in sorted(NODE.glob("node_modules/*/package.json")):
        about = json.loads(package.read_text())
        if about["name"] in npm:
            found.append(f"{about['name']} {about['version']}")
    return found
