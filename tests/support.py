"""What several tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[1]


def unavailable(what: str) -> NoReturn:
    """End a test that needs a program which this machine lacks: a skip at home, a failure where CI=true.

    Args:
        what: What is missing and how to get it.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} (a failure, not a skip, because CI=true)", pytrace=False)
    pytest.skip(what)


def installed(tmp_path: Path, **env: str) -> Path:
    """Where a wheel of the package is installed, without its dependencies.

    It is built from the source distribution, and that from a copy of the source.

    Args:
        tmp_path: Where both are put.
        env: Environment variables of the build.
    """
    source, wheels, site = (tmp_path / name for name in ("source", "wheels", "site"))
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("src/trunkline", "examples"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.c")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    build = [sys.executable, "-m", "build", "--outdir", str(wheels), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=150, check=False, env={**os.environ, **env})
    if "No matching distribution found for setuptools" in done.stdout + done.stderr:
        unavailable("building a wheel needs setuptools from a package index: connect this machine to one")
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = wheels.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(pip, check=True, timeout=60)
    return site
