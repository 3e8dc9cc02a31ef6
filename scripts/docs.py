#!/usr/bin/env python3
"""Bring the documentation up to date: docs/reference/ from docstrings, and each shown program from its file.

    python scripts/docs.py            write what has changed
    python scripts/docs.py --check    write nothing; exit code 1 if something would change

A page shows a program, or a region of one, below a marker; what is between the fences is replaced:

    <!-- example: examples/disconnects.py tasks -->
    ```python
    ```

A region begins at the line `# region: tasks` and ends at the next `# endregion`.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"

# In the order of the index. Everything in the `__all__` of these modules is described.
MODULES = (
    "trunkline.applications",
    "trunkline.websockets",
    "trunkline.messages",
    "trunkline.states",
    "trunkline.hub",
    "trunkline.hub.policies",
    "trunkline.hub.metrics",
    "trunkline.routing",
    "trunkline.endpoints",
    "trunkline.requests",
    "trunkline.responses",
    "trunkline.datastructures",
    "trunkline.dependencies",
    "trunkline.exceptions",
    "trunkline.status",
    "trunkline.middleware",
    "trunkline.middleware.exceptions",
    "trunkline.middleware.errors",
    "trunkline.security",
    "trunkline.limits",
    "trunkline.background",
    "trunkline.concurrency",
    "trunkline.convertors",
    "trunkline.types",
    "trunkline.engine",
    "trunkline.line",
    "trunkline.testclient",
    "trunkline.testing",
)

MAX_SIGNATURE = 90
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")


# --- docstrings -----------------------------------------------------------------------------------------------------


def _section(title: str, lines: list[str]) -> list[str]:
    """A section of a docstring as Markdown: `name: text` entries become a list, prose stays prose."""
    out = ["", f"**{title}**", ""]
    entry = re.compile(r"(\*{0,2}\w[\w.]*): (.*)")
    for line in inspect.cleandoc("\n".join(lines)).splitlines():
        found = entry.fullmatch(line)
        if found and title != "Returns":
            out.append(f"- `{found[1]}`: {found[2]}")
        else:
            out.append(line.replace("    ", "  ", 1))
    return out


def markdown(docstring: str) -> str:
    """A docstring of ours as Markdown; everything but its sections is Markdown already."""
    out: list[str] = []
    lines = inspect.cleandoc(docstring).splitlines()
    while lines:
        line = lines.pop(0)
        title = line.removesuffix(":")
        if not (line.endswith(":") and title in SECTIONS):
            out.append(line)
            continue
        body: list[str] = []
        while lines and (not lines[0].strip() or lines[0].startswith(" ")):
            body.append(lines.pop(0))
        out += _section(title, body)
        out.append("")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out).strip())


# --- signatures -----------------------------------------------------------------------------------------------------


class _AsWritten:
    """An annotation that is shown as it is written in the source."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _as_written(annotation: Any) -> Any:
    annotation = getattr(annotation, "__forward_arg__", annotation)  # as a NamedTuple keeps them
    if not isinstance(annotation, str):
        return annotation
    return _AsWritten(annotation.strip("\"'"))


def signature(function: Any) -> str:
    """The parameters of a function as they are written, without `self`."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [
        parameter.replace(annotation=_as_written(parameter.annotation))
        for name, parameter in found.parameters.items()
        if name not in {"self", "cls"}
    ]
    returned = _as_written(found.return_annotation)
    text = str(found.replace(parameters=parameters, return_annotation=returned))
    if len(text) > MAX_SIGNATURE and parameters:
        lines = [str(line) for line in _stars(parameters)]
        end = "" if returned is found.empty else f" -> {returned!r}"
        text = "(\n" + "".join(f"    {line},\n" for line in lines) + f"){end}"
    return re.sub(r"<(?:object|function|class|[\w.]+) [^>]*>", "...", text)


def _stars(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """The parameters with the `/` and the `*` between them."""
    kinds = [parameter.kind for parameter in parameters]
    for number, parameter in enumerate(parameters):
        before = kinds[number - 1] if number else None
        if before is parameter.POSITIONAL_ONLY and parameter.kind is not before:
            yield "/"
        if parameter.kind is parameter.KEYWORD_ONLY and before not in (
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        ):
            yield "*"
        yield str(parameter)


# --- what a page shows ----------------------------------------------------------------------------------------------


class Member(NamedTuple):
    """A public method or property, and how it is introduced."""

    heading: str
    docstring: str


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith("trunkline")


def _described(cls: type, name: str, value: Any) -> Member | None:
    prefix = ""
    if isinstance(value, property):
        docstring = inspect.getdoc(value.fget)
        return Member(f"property {name}", docstring) if docstring else None
    if isinstance(value, classmethod | staticmethod):
        prefix, value = f"{type(value).__name__} ", value.__func__
    if not inspect.isfunction(value) or not _is_ours(value):
        return None
    docstring = inspect.getdoc(value) or inspect.getdoc(getattr(cls, name))
    if inspect.iscoroutinefunction(value):
        prefix += "async "
    return Member(f"{prefix}{name}{signature(value)}", docstring) if docstring else None


def members(cls: type, described: set[str]) -> Iterator[Member]:
    """The public members of a class, in the order of the source, with those of bases that have no page."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if not _is_ours(base) or (base is not cls and base.__qualname__ in described):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            member = _described(base, name, value)
            if member is not None:
                yield member


def _bases(cls: type, described: set[str]) -> str:
    public = [base for base in cls.__bases__ if base.__qualname__ in described or base.__module__ == "builtins"]
    names = [f"`{base.__qualname__}`" for base in public if base not in (object, tuple)]
    if issubclass(cls, tuple):
        return "A named tuple.\n\n"
    return f"Extends {' and '.join(names)}.\n\n" if names else ""


def _class(cls: type, described: set[str]) -> str:
    own_init = any("__init__" in vars(base) and _is_ours(base) for base in cls.__mro__) or issubclass(cls, tuple)
    parameters = signature(cls).split(" -> ")[0] if own_init else ""
    parts = [f"## class {cls.__name__}\n"]
    if parameters not in {"", "()"}:
        parts.append(f"```python\n{cls.__name__}{parameters}\n```\n")
    parts.append(_bases(cls, described) + markdown(inspect.getdoc(cls) or "") + "\n")
    if issubclass(cls, enum.Enum):
        parts.append("\n".join(f"- `{member.name} = {member.value!r}`" for member in cls) + "\n")
    for member in members(cls, described):
        parts.append(f"### {cls.__name__}.{re.split(r'[( ]', member.heading.split('(')[0])[-1]}\n")
        parts.append(f"```python\n{member.heading}\n```\n\n{markdown(member.docstring)}\n")
    return "\n".join(parts)


def _function(name: str, function: Any) -> str:
    prefix = "async " if inspect.iscoroutinefunction(function) else ""
    text = markdown(inspect.getdoc(function) or "")
    return f"## {name}\n\n```python\n{prefix}{name}{signature(function)}\n```\n\n{text}\n"


def _home(value: Any) -> str:
    """The public module of a class or function: private ones beside or below it are its own."""
    parts = value.__module__.split(".")
    return ".".join(part for part in parts if not part.startswith("_"))


def _constant(name: str, value: Any) -> str:
    if isinstance(value, int):
        return f"- `{name} = {value}`"
    if not (isinstance(value, Mapping) and all(isinstance(entry, tuple) for entry in value.values())):
        return f"- `{name}`"
    fields = type(next(iter(value.values())))._fields
    rows = [f"| {key} | {' | '.join(_cell(cell) for cell in entry)} |" for key, entry in value.items()]
    return "\n".join([f"\n### {name}\n", f"| | {' | '.join(fields)} |", "|---" * (len(fields) + 1) + "|", *rows, ""])


def _cell(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _introduction(module: Any) -> str:
    """The docstring of a module: its first paragraph, and the rest unless that speaks of the inside."""
    text = markdown(module.__doc__ or "")
    return text.split("\n\n")[0] if "`_" in text else text


def page(module_name: str, described: set[str]) -> str:
    """The page of a module."""
    module = importlib.import_module(module_name)
    parts = [f"# {module_name}\n", "<!-- Made by scripts/docs.py from the docstrings: change those. -->\n"]
    parts.append(_introduction(module) + "\n")
    elsewhere, constants = [], []
    for name in module.__all__:
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            constants.append(name)
        elif not _home(value).startswith(module_name) and _home(value) in MODULES:
            elsewhere.append(f"[`{name}`]({_home(value).removeprefix('trunkline.')}.md)")
        elif inspect.isclass(value):
            parts.append(_class(value, described))
        else:
            parts.append(_function(name, value))
    if constants:
        parts.append(
            "## Constants\n\n" + "\n".join(_constant(name, getattr(module, name)) for name in constants) + "\n"
        )
    if elsewhere:
        parts.append("## Also importable from here\n\n" + ", ".join(elsewhere) + "\n")
    return "\n".join(parts).rstrip() + "\n"


def index() -> str:
    """The page that lists the others."""
    lines = ["# Reference\n", "<!-- Made by scripts/docs.py from the docstrings: change those. -->\n"]
    for name in MODULES:
        summary = (importlib.import_module(name).__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        lines.append(f"- [`{name}`]({name.removeprefix('trunkline.')}.md): {summary}")
    return "\n".join(lines) + "\n"


def reference() -> Iterator[tuple[Path, str]]:
    """Every file of the reference, and what it should hold."""
    described = {
        name
        for module_name in MODULES
        for name in importlib.import_module(module_name).__all__
        if inspect.isclass(getattr(importlib.import_module(module_name), name))
    }
    yield REFERENCE / "index.md", index()
    for name in MODULES:
        yield REFERENCE / f"{name.removeprefix('trunkline.')}.md", page(name, described)


# --- programs in pages ----------------------------------------------------------------------------------------------

MARKED = re.compile(r"(<!-- example: (\S+)(?: (\S+))? -->\n```(\w*)\n).*?(```)", re.DOTALL)


def program(path: str, region: str | None) -> str:
    """The text of an example, or of one of its regions."""
    text = (ROOT / path).read_text()
    if region is None:
        return text
    found = re.search(rf"^# region: {re.escape(region)}\n(.*?)^# endregion", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise SystemExit(f"{path} has no region {region!r}")
    return found[1].strip() + "\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Every page written by hand, and what it should hold."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text()
        yield path, MARKED.sub(lambda match: f"{match[1]}{program(match[2], match[3])}{match[5]}", text)


def main() -> int:
    """Write, or with --check name, each file that is not as it should be."""
    check = sys.argv[1:] == ["--check"]
    wanted = dict([*reference(), *pages()])
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    gone = [path for path in REFERENCE.glob("*.md") if path not in wanted]
    for path in [*stale, *gone]:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
        if path in gone and not check:
            path.unlink()
        elif not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
    return int(check and bool(stale or gone))


if __name__ == "__main__":
    sys.exit(main())
