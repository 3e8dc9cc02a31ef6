"""`trunkline doctor`: what this environment has and lacks, one fact per line."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

from trunkline.engine import codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main"]


class Fact(NamedTuple):
    """One line of the answer; `mark` is "ok", "note" (works without it) or "BAD" (does not work)."""

    mark: str
    name: str
    text: str


REQUIRED = {"anyio": "anyio", "pydantic": "pydantic", "uvicorn": "uvicorn", "websockets": "websockets"}
OPTIONAL = {
    "msgspec": "for typed messages as msgspec's Structs, and for MessagePack: pip install 'trunkline[msgspec]'",
    "uvloop": "a faster event loop; asyncio's own is used without it",
    "httptools": "a faster HTTP parser; h11 is used without it",
    "redis": "for a hub over several processes: pip install 'trunkline[redis]'",
    "prometheus_client": "for trunkline.hub.metrics: pip install 'trunkline[metrics]'",
    "httpx2": "trunkline.testclient needs it for HTTP: pip install 'trunkline[testing]'",
}


def _python() -> Fact:
    enough = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()}) {sys.executable}"
    return Fact("ok", "python", text) if enough else Fact("BAD", "python", f"{text}; expected 3.11 or newer")


def _package(name: str, without: str | None = None) -> Fact:
    """Whether a package can be imported; `without` says what happens when an optional one cannot."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        if without is None:
            return Fact("BAD", name, f"cannot be imported: {error}; pip install --force-reinstall trunkline")
        return Fact("note", name, f"not there: {without}")
    try:
        return Fact("ok", name, version(name))
    except PackageNotFoundError:
        return Fact("note", name, "importable, but not installed as a package: its version is unknown")


def _workers() -> Fact:
    value = os.environ.get("WEB_CONCURRENCY")
    if value is None:
        return Fact("ok", "WEB_CONCURRENCY", "not set: one worker process unless --workers says otherwise")
    if not value.isdecimal() or int(value) < 1:
        return Fact("BAD", "WEB_CONCURRENCY", f"expected a number of workers, 1 or more, but it is {value!r}")
    return Fact("ok", "WEB_CONCURRENCY", f"{value} worker process{'es' if int(value) > 1 else ''}")


def _codec() -> Fact:
    if codec.NATIVE:
        return Fact("ok", "codec", "native")
    if os.environ.get("TRUNKLINE_CODEC"):
        return Fact("note", "codec", "pure Python, slower, because TRUNKLINE_CODEC says so")
    return Fact("note", "codec", "pure Python, slower: the native one was not built (install a C compiler, reinstall)")


def facts() -> Iterator[Fact]:
    """Everything that is looked at, in order."""
    yield _python()
    yield _package("trunkline")
    for name in REQUIRED:
        yield _package(name)
    for name, without in OPTIONAL.items():
        yield _package(name, without)
    yield _codec()
    yield _workers()


def main(arguments: Sequence[str]) -> int:
    """Print the facts; 1 if one of them keeps trunkline from working."""
    argparse.ArgumentParser(
        prog="trunkline doctor", description="Check what this environment has and lacks; exit code 1 if it cannot work."
    ).parse_args(arguments)
    found = list(facts())
    width = max(len(fact.name) for fact in found)
    for fact in found:
        print(f"{fact.mark:5}{fact.name:{width}}  {fact.text}")
    return int(any(fact.mark == "BAD" for fact in found))
