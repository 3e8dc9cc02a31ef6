"""The groups of the Autobahn test suite that take seconds; `scripts/autobahn` runs all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.autobahn.results import GOOD, explain
from tests.autobahn.suite import QUICK, SUBJECTS, Subject, installed, run
from tests.support import unavailable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_case_of_the_quick_groups_is_ok(subject: Subject, tmp_path: Path) -> None:
    if not installed():
        unavailable(
            "the Autobahn test suite is not installed: run scripts/autobahn --install, which looks for a Python 2.7"
            " and where there is none fetches that of Debian 11"
        )
    groups: list[str] = []
    outcomes = run(subject, QUICK, tmp_path, groups.append)
    bad = [case for case in outcomes if case.verdict not in GOOD]
    assert not bad, "\n".join(map(explain, bad))
    assert groups == [pattern.removesuffix(".*") for pattern in QUICK]
