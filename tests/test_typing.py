"""What a type checker infers, where that is part of the interface: the cases are in typing_cases.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_messages_have_the_types_that_are_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "tests/typing_cases.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
