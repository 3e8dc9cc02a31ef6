"""The public surface: import places, `__all__`, and docstrings that name the parameters that exist."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import trunkline

if TYPE_CHECKING:
    from collections.abc import Iterator

# The import places of the interface: module and names.
PLACES = {
    "trunkline": "App Router WebSocket WebSocketDisconnect WebSocketException WebSocketState HTTPConnection "
    "HTTPException Request BackgroundTasks Depends Path Query Header Cookie status Hub Publisher TopicConfig",
    "trunkline.hub": "Hub TopicConfig Retention Position Publication Membership policies",
    "trunkline.websockets": "WebSocket WebSocketClose WebSocketDisconnect WebSocketDisconnected WebSocketState",
    "trunkline.messages": "Codec CodecError InvalidMessage MessageSettings codec_for encode register_codec",
    "trunkline.requests": "HTTPConnection Request",
    "trunkline.applications": "App",
    "trunkline.routing": "BaseRoute Router Route WebSocketRoute ListenerRoute StreamRoute Mount Host Match "
    "NoMatchFound",
    "trunkline.endpoints": "WebSocketEndpoint HTTPEndpoint",
    "trunkline.middleware": "Middleware",
    "trunkline.background": "BackgroundTask BackgroundTasks",
    "trunkline.types": "ASGIApp Lifespan Message Receive Scope Send",
    "trunkline.datastructures": "URL Address Headers MutableHeaders QueryParams State URLPath",
    "trunkline.responses": "FileResponse HTMLResponse JSONResponse PlainTextResponse RedirectResponse Response",
    "trunkline.dependencies": "Cookie Depends DependencyError Header Path Query",
    "trunkline.exceptions": "HTTPException RequestValidationError WebSocketException WebSocketRequestValidationError",
    "trunkline.security": "Authenticated Authentication BearerToken CookieToken FirstMessageToken FirstOf Forbidden "
    "MemoryTicketStore OriginMiddleware QueryToken SubprotocolToken TicketStore Tickets TokenSource Unauthorized "
    "get_authentication origin_allowed",
    "trunkline.limits": "LimitError Limits Rate",
    "trunkline.testclient": "TestClient WebSocketDenialResponse WebSocketTestSession",
    "trunkline.testing": "connect",
    "trunkline.status": "WS_1000_NORMAL_CLOSURE HTTP_200_OK",
}


def is_public(module: str) -> bool:
    return not any(part.startswith("_") for part in module.split("."))


WALKED = [info.name for info in pkgutil.walk_packages(trunkline.__path__, "trunkline.")]
MODULES = sorted(["trunkline", *filter(is_public, WALKED)])
IMPORTS = [(module, name) for module, names in PLACES.items() for name in names.split()]


@pytest.mark.parametrize(("module", "name"), IMPORTS)
def test_each_documented_import_works(module: str, name: str) -> None:
    imported = importlib.import_module(module)
    assert hasattr(imported, name), f"from {module} import {name}"
    assert name in imported.__all__, f"{name} is public in {module} but not in its __all__"


def sort_key(name: str) -> tuple[int, str]:
    """ruff's order of `__all__`: constants, then classes, then the rest."""
    if name.isupper():
        return 0, name
    return (1 if name.lstrip("_")[:1].isupper() else 2), name


@pytest.mark.parametrize("module", MODULES)
def test_all_is_sorted_and_complete(module: str) -> None:
    imported = importlib.import_module(module)
    names = imported.__all__
    assert list(names) == sorted(names, key=sort_key)
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(imported, name)] == []


def public_callables() -> Iterator[tuple[str, Any]]:
    """Every public function, class and method that trunkline defines, once, by its full name."""
    seen: set[int] = set()
    for module in MODULES:
        imported = importlib.import_module(module)
        for name in getattr(imported, "__all__", ()):
            found = getattr(imported, name, None)
            if not (getattr(found, "__module__", "") or "").startswith("trunkline") or id(found) in seen:
                continue
            seen.add(id(found))
            yield f"{module}.{name}", found
            if inspect.isclass(found):
                for attribute in vars(found):
                    member = getattr(found, attribute)
                    if not attribute.startswith("_") and inspect.isroutine(member):
                        yield f"{module}.{name}.{attribute}", member


def has_signature(found: object) -> bool:
    """Compiled classes have none; the codec's twin in pure Python, with the same names, stands for it."""
    try:
        inspect.signature(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


CALLABLES = {name: found for name, found in public_callables() if has_signature(found)}

SECTION = re.compile(r"^Args:\n((?:[ ]+.*\n|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.MULTILINE)


def documented(found: Any) -> set[str]:
    """The names under `Args:` of a docstring."""
    section = SECTION.search((inspect.cleandoc(found.__doc__ or "")) + "\n")
    if section is None:
        return set()
    return {name.strip(" *") for entry in ENTRY.findall(section[1]) for name in entry.split(",")}


def actual(found: Any) -> set[str]:
    """The names of the parameters, without `self`."""
    return set(inspect.signature(found).parameters) - {"self"}


@pytest.mark.parametrize("name", [name for name, found in CALLABLES.items() if documented(found)])
def test_documented_parameters_are_the_real_ones(name: str) -> None:
    found = CALLABLES[name]
    assert documented(found) == actual(found)


@pytest.mark.parametrize("name", CALLABLES)
def test_everything_public_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(CALLABLES[name]), f"{name} has no docstring"


def test_documented_parameters_are_found() -> None:
    def example(first: int, *rest: int, **more: int) -> None:
        """One line.

        Args:
            first: The first,
                on two lines: yes.
            *rest: The rest.
            more: More.

        Returns:
            Nothing: none.
        """

    assert documented(example) == actual(example) == {"first", "rest", "more"}


def test_no_module_imports_the_reference() -> None:
    imports = "".join(f"import {module}\n" for module in MODULES if module != "trunkline.__main__")
    program = imports + "import sys; print([m for m in sys.modules if m.split('.')[0] in ('starlette', 'fastapi')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"
