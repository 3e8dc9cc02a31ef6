"""The command line of `scripts/autobahn`, which says what it takes."""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from importlib.metadata import version

from tests.autobahn.results import GOOD, Case, explain, read, summary, table
from tests.autobahn.suite import ALL, QUICK, REPORTS, ROOT, SUBJECTS, Subject, run

PAGE = ROOT / "docs" / "autobahn.md"
NUMBER_OF_CASES = 517
RESULTS = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- end of results -->)", re.DOTALL)


def main() -> int:
    options = _options()
    if options.table:
        return write_table()
    subjects = [subject for subject in SUBJECTS if options.subject in (None, subject.name)]
    return max(test(subject, options.cases) for subject in subjects)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/autobahn", description="The Autobahn test suite against the engine")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--cases",
        type=lambda text: tuple(text.split(",")),
        default=ALL,
        help="ids or patterns, with commas: 1.*,7.1.5 (default: all)",
    )
    which.add_argument(
        "--quick", dest="cases", action="store_const", const=QUICK, help="groups 1-7 and 10: what takes seconds"
    )
    which.add_argument("--table", action="store_true", help=f"write {PAGE.name} from the last reports, run nothing")
    parser.add_argument("--subject", choices=[subject.name for subject in SUBJECTS], help="only this one")
    return parser.parse_args()


def test(subject: Subject, cases: tuple[str, ...]) -> int:
    """Run, tell, and give 0 when every case is OK or informational."""
    print(f"{subject.name}: {subject.title}: groups", end="", flush=True)
    started = time.monotonic()
    try:
        outcomes = run(subject, cases, REPORTS, lambda group: print(f" {group}", end="", flush=True))
    except RuntimeError as error:
        print(f"\n{error}")
        return 1
    print(f" ({time.monotonic() - started:.0f} s)\n{subject.name}: {summary(outcomes)}")
    bad = [case for case in outcomes if case.verdict not in GOOD]
    for case in bad:
        print(explain(case))
    return 1 if bad else 0


def write_table() -> int:
    """Put the table of the last whole runs into the page."""
    runs = {}
    for subject in SUBJECTS:
        folder = REPORTS / subject.name
        outcomes = read(folder) if (folder / "index.json").exists() else []
        if len(outcomes) != NUMBER_OF_CASES:
            print(
                f"the table is of {NUMBER_OF_CASES} cases, but the last run of {subject.name!r} was of {len(outcomes)}:"
                f" run scripts/autobahn --subject {subject.name}"
            )
            return 1
        runs[subject.title] = outcomes
    results = f"\n{_versions(outcomes[0])}\n\n{table(runs)}\n\n"
    PAGE.write_text(RESULTS.sub(lambda _: results, PAGE.read_text()))
    return 0


def _versions(case: Case) -> str:
    request = json.loads(case.details.read_text())["httpRequest"]
    suite = re.search(r"AutobahnTestSuite/([\d.]+)", request)
    assert suite is not None, request
    return (
        f"Suite {suite[1]} on Python 2.7; trunkline {version('trunkline')}, uvicorn {version('uvicorn')}"
        f" with uvloop {version('uvloop')}, CPython {platform.python_version()}."
    )


if __name__ == "__main__":
    sys.exit(main())
