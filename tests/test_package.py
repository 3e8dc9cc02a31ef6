"""The package as a whole."""

from __future__ import annotations

from importlib.metadata import version

import trunkline


def test_the_version_is_that_of_the_distribution() -> None:
    assert trunkline.__version__ == version("trunkline")
