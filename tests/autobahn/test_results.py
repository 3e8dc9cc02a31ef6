"""The reader of the Autobahn test suite's reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.autobahn.results import GOOD, explain, read, summary, table

if TYPE_CHECKING:
    from pathlib import Path


def write_report(folder: Path, verdicts: dict[str, tuple[str, str]], agent: str = "native") -> Path:
    outcomes = {
        name: {"behavior": behavior, "behaviorClose": closing, "reportfile": f"{name}.json"}
        for name, (behavior, closing) in verdicts.items()
    }
    (folder / "index.json").write_text(json.dumps({agent: outcomes}))
    return folder


def test_cases_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    report = write_report(tmp_path, {"10.1.1": ("OK", "OK"), "2.10": ("OK", "OK"), "2.9": ("OK", "OK")})
    assert [case.id for case in read(report)] == ["2.9", "2.10", "10.1.1"]


@pytest.mark.parametrize(
    ("behavior", "closing", "verdict"),
    [
        ("OK", "OK", "OK"),
        ("INFORMATIONAL", "INFORMATIONAL", "INFORMATIONAL"),
        ("NON-STRICT", "OK", "NON-STRICT"),
        ("OK", "UNCLEAN", "FAILED"),
        ("INFORMATIONAL", "WRONG CODE", "FAILED"),
        ("UNIMPLEMENTED", "OK", "FAILED"),
        ("FAILED", "OK", "FAILED"),
    ],
)
def test_a_case_counts_as_the_worse_of_its_two_verdicts(
    tmp_path: Path, behavior: str, closing: str, verdict: str
) -> None:
    (case,) = read(write_report(tmp_path, {"3.2": (behavior, closing)}))
    assert case.verdict == verdict
    assert (case.verdict in GOOD) == (verdict in ("OK", "INFORMATIONAL"))


def test_the_report_of_two_servers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"one": {}, "two": {}}))
    with pytest.raises(ValueError, match=r"expected the report of one server .* but it has \['one', 'two'\]"):
        read(tmp_path)


def test_summary_and_table_count_by_verdict(tmp_path: Path) -> None:
    report = write_report(
        tmp_path, {"1.1.1": ("OK", "OK"), "1.1.2": ("OK", "FAILED BY CLIENT"), "6.4.1": ("NON-STRICT", "OK")}
    )
    assert summary(read(report)) == "3 cases: 1 OK, 0 informational, 1 non-strict, 1 failed"
    lines = table({"ours": read(report)}).splitlines()
    assert lines[:3] == ["| group | ours |", "| --- | --- |", "| 1 Framing | 1 OK, 1 failed |"]
    assert "| 6 UTF-8 | 1 non-strict |" in lines
    assert "| 7 Closing | not run |" in lines
    assert lines[-1] == "| **all** | **1 OK, 1 non-strict, 1 failed** |"


def test_a_failing_case_is_explained_without_markup(tmp_path: Path) -> None:
    report = write_report(tmp_path, {"7.1.5": ("FAILED", "WRONG CODE")})
    details = {
        "description": "Send fragment1<br><br>then close",
        "expectation": "Clean close &amp; normal code.",
        "result": "r" * 500,
        "resultClose": "The close code should have been 1000",
        "remoteCloseCode": 1002,
        "remoteCloseReason": None,
    }
    (tmp_path / "7.1.5.json").write_text(json.dumps(details))
    lines = explain(read(report)[0]).splitlines()
    assert lines == [
        "7.1.5: FAILED, close: WRONG CODE",
        "  does: Send fragment1 then close",
        "  expects: Clean close & normal code.",
        f"  result: {'r' * 400}... The close code should have been 1000",
        "  close code: 1002",
        f"  recorded in: {tmp_path}/7.1.5.json",
    ]
