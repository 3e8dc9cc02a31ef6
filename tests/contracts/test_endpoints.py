"""The same endpoints, the same behaviour: in memory and on every server, for every client."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.contracts.cases import CASES
from tests.contracts.clients import MemoryClient
from tests.contracts.deviations import DEVIATIONS, Deviation, deviation_of
from tests.contracts.script import Outcome
from tests.contracts.servers import SERVERS

if TYPE_CHECKING:
    from tests.contracts.clients import Client
    from tests.contracts.script import Case
    from tests.contracts.servers import RunningServer

ROWS = {row.name: row for row in SERVERS}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_memory(case: Case) -> None:
    assert MemoryClient().run(case, "testserver") == case.expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_a_server(server: RunningServer, client: Client, case: Case) -> None:
    if client.name in case.not_with:
        pytest.skip(case.not_with[client.name])
    deviation = deviation_of(server.row.name, case)
    if deviation is None:
        assert client.run(case, server.host) == case.expected
        return
    try:
        outcome: Outcome | str = client.run(case, server.host)
    except TimeoutError as exc:
        outcome = str(exc)
    differs_as_its_row_says(deviation, outcome, case.expected)


def differs_as_its_row_says(row: Deviation, outcome: Outcome | str, norm: Outcome) -> None:
    if outcome == norm:
        now = version(ROWS[row.server].package)
        pytest.fail(f"{row.server} {now} now behaves: remove this row, measured with {row.version}: {row.reason}")
    if row.stuck:
        assert str(outcome).endswith(row.stuck)
    else:
        assert outcome == row.outcome(norm)


def test_the_names_of_the_cases_are_unique() -> None:
    assert [name for name, times in Counter(case.name for case in CASES).items() if times > 1] == []


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: f"{row.server}: {row.reason}")
def test_each_deviation_shows_in_the_cases_it_names(row: Deviation) -> None:
    assert row.server in ROWS
    named = [case for case in CASES if case.name in row.cases] or [
        case for case in CASES if row.shows_in(row.server, case)
    ]
    assert len(named) >= max(1, len(row.cases)), "a case that it names does not exist"
    for case in named:
        assert deviation_of(row.server, case) is row, f"another row is taken for {case.name!r}"
        assert row.stuck or row.outcome(case.expected) != case.expected


def test_a_server_that_no_longer_deviates_fails_its_row() -> None:
    row = DEVIATIONS[0]
    case = next(case for case in CASES if row.shows_in(row.server, case))
    differs_as_its_row_says(row, row.outcome(case.expected), case.expected)
    with pytest.raises(pytest.fail.Exception, match="now behaves: remove this row"):
        differs_as_its_row_says(row, case.expected, case.expected)
    with pytest.raises(AssertionError):
        differs_as_its_row_says(row, Outcome(), case.expected)
