"""The package as a whole."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

import trunkline
from tests.cli_process import trunkline as command
from tests.support import installed
from trunkline.engine.codec import NATIVE

if TYPE_CHECKING:
    from pathlib import Path


def test_the_version_is_that_of_the_distribution() -> None:
    assert trunkline.__version__ == version("trunkline")


@pytest.mark.timeout(300)
def test_what_is_compiled_can_be_built_from_the_source_distribution(tmp_path: Path) -> None:
    site = installed(tmp_path)
    built = {path.name.partition(".")[0] for path in (site / "trunkline" / "engine").glob("*.so")}
    assert built == ({"_channel_native", "_codec", "_send"} if NATIVE else set())


@pytest.mark.timeout(300)
def test_an_installation_without_a_compiler_succeeds_and_says_what_is_missing(tmp_path: Path) -> None:
    site = installed(tmp_path, CC="false")
    assert not list((site / "trunkline" / "engine").glob("_codec*.so"))
    program = "import trunkline.engine.codec as codec, trunkline.engine.protocol; print(codec.__file__, codec.NATIVE)"
    env = {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == [str(site / "trunkline" / "engine" / "codec.py"), "False"]
    assert done.stderr.count("the native codec is not there") == 1, "once in a process"
    assert "pure Python" in command("doctor", env=env).stdout
