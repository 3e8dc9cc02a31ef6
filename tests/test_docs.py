"""The documentation says what the code says: no stale page, no program that no file holds, no broken link."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from trunkline.cli import COMMANDS

ROOT = Path(__file__).parents[1]
WRITTEN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*WRITTEN, *sorted((ROOT / "docs" / "reference").glob("*.md"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_reference_and_programs_are_those_of_the_source() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), "run: python scripts/docs.py"


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_every_program_in_a_page_is_a_file_that_is_run(page: Path) -> None:
    text = page.read_text()
    programs = text.count("```python\n")
    assert programs == len(re.findall(r"<!-- example: examples/\S+\.py(?: \S+)? -->\n```python\n", text))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{name(page)}: {target}"
        assert not anchor or anchor in anchors(place), f"{name(page)}: {target} has no such heading"


@pytest.mark.parametrize("program", sorted((ROOT / "examples").rglob("*.py")), ids=name)
def test_every_example_is_run_by_a_test(program: Path) -> None:
    if program.is_relative_to(ROOT / "examples" / "chat"):
        return  # served and driven by its own tests
    tests = ("test_examples.py", "integration/test_deployment.py")
    runs = "".join((ROOT / "tests" / test).read_text() for test in tests)
    where = str(program.relative_to(ROOT / "examples"))
    assert any(text in runs for text in (f'"{where}"', f'"{program.stem}:app"', f'"{program.stem}.EngineWorker"'))


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?:^    |`|\| )trunkline ([a-z]+)", page.read_text(), re.MULTILINE))
    assert named <= set(COMMANDS)
