"""What several tests share."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def unavailable(what: str) -> NoReturn:
    """End a test that needs a program which this machine lacks: a skip at home, a failure where CI=true.

    Args:
        what: What is missing and how to get it.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} (a failure, not a skip, because CI=true)", pytrace=False)
    pytest.skip(what)
