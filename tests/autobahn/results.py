"""What the Autobahn test suite reports, read and told: verdicts, what failing cases expected, the table by group.

The suite judges each case twice: by what was echoed (`behavior`) and by how the connection ended (`behaviorClose`).
A case counts as the worse of the two.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["GOOD", "GROUPS", "Case", "explain", "read", "summary", "table"]

GOOD = frozenset({"OK", "INFORMATIONAL"})
VERDICTS = ("OK", "INFORMATIONAL", "NON-STRICT", "FAILED")

GROUPS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Closing",
    9: "Limits and performance",
    10: "Auto-fragmentation",
    12: "Compression: payloads",
    13: "Compression: parameters",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case's outcome.

    Attributes:
        id: As in the suite: "7.1.5".
        behavior: The suite's verdict on what was echoed.
        closing: Its verdict on how the connection ended.
        details: The file with all that it recorded.
    """

    id: str
    behavior: str
    closing: str
    details: Path

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.id.split("."))

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`. What the suite calls UNIMPLEMENTED, UNCLEAN or WRONG CODE is a failure here."""
        words = [word if word in VERDICTS else "FAILED" for word in (self.behavior, self.closing)]
        return max(words, key=VERDICTS.index)


def read(folder: Path) -> list[Case]:
    """The cases of the report in a folder, in order.

    Args:
        folder: Where the suite wrote `index.json`, for one server.

    Raises:
        ValueError: The report is of no server, or of several.
    """
    agents = json.loads((folder / "index.json").read_text())
    if len(agents) != 1:
        raise ValueError(f"expected the report of one server in {folder}, but it has {sorted(agents)}")
    (outcomes,) = agents.values()
    cases = [
        Case(name, outcome["behavior"], outcome["behaviorClose"], folder / outcome["reportfile"])
        for name, outcome in outcomes.items()
    ]
    return sorted(cases, key=lambda case: case.order)


def summary(cases: Iterable[Case]) -> str:
    """The counts in one line: "517 cases: 514 OK, 3 informational, 0 non-strict, 0 failed"."""
    counts = Counter(case.verdict for case in cases)
    return f"{counts.total()} cases: " + ", ".join(f"{counts[word]} {_plain(word)}" for word in VERDICTS)


def explain(case: Case) -> str:
    """What a case did, what was expected, and what came."""
    details = json.loads(case.details.read_text())
    lines = [
        f"{case.id}: {case.behavior}, close: {case.closing}",
        f"  does: {_text(details['description'])}",
        f"  expects: {_text(details['expectation'])}",
        f"  result: {_text(details['result'])} {_text(details['resultClose'])}",
        f"  close code: {details['remoteCloseCode']} {details['remoteCloseReason'] or ''}".rstrip(),
        f"  recorded in: {case.details}",
    ]
    return "\n".join(lines)


def table(runs: Mapping[str, list[Case]]) -> str:
    """The outcomes of several runs by group, as a Markdown table.

    Args:
        runs: The cases by the name of what was tested.
    """
    head = ["group", *runs]
    rows = [
        [f"{group} {name}", *(_cell(case for case in cases if case.order[0] == group) for cases in runs.values())]
        for group, name in GROUPS.items()
    ]
    rows.append(["**all**", *(f"**{_cell(cases)}**" for cases in runs.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _cell(cases: Iterable[Case]) -> str:
    counts = Counter(case.verdict for case in cases)
    return ", ".join(f"{counts[word]} {_plain(word)}" for word in VERDICTS if counts[word]) or "not run"


def _plain(verdict: str) -> str:
    return verdict if verdict == "OK" else verdict.lower()


def _text(markup: str) -> str:
    """The suite's HTML as words on one line, the longest cut."""
    words = html.unescape(re.sub(r"<[^>]*>", " ", markup)).split()
    line = " ".join(words)
    return line if len(line) <= 400 else line[:400] + "..."
