"""Where a server differs from the table of behaviours: measured facts, asserted strictly.

A row says what the server does instead. When a newer server behaves, its test fails and the row goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.contracts.cases import LOST

if TYPE_CHECKING:
    from tests.contracts.script import Case, Outcome

__all__ = ["DEVIATIONS", "Deviation", "deviation_of"]


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One way in which a server differs.

    Attributes:
        server: The name of its row in `servers.py`.
        version: The version of the server that this was measured with.
        reason: What the server does, as far as we know.
        cases: The names of the cases in which it shows; empty: every case whose notes change by `notes`.
        notes: What stands in the endpoint's notes, and what stands there instead.
        instead: Other fields of the outcome, as they are.
        stuck: Instead of an outcome: what the client waits for in vain.
    """

    server: str
    version: str
    reason: str
    cases: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    instead: dict[str, Any] = field(default_factory=dict)
    stuck: str = ""

    def outcome(self, norm: Outcome) -> Outcome:
        """What comes out where `norm` is expected."""
        return replace(norm, seen=tuple(map(self._renoted, norm.seen)), **self.instead)

    def shows_in(self, server: str, case: Case) -> bool:
        """Whether it changes this case on this server."""
        if server != self.server:
            return False
        return case.name in self.cases if self.cases else self.outcome(case.expected) != case.expected

    def _renoted(self, note: str) -> str:
        for usual, actual in self.notes.items():
            note = note.replace(usual, actual)
        return note


VANISHED = (
    "a client that vanishes",
    "an endpoint that only sends waits for a client that vanishes",
    "tasks are cancelled when the client vanishes",
)


def vanished_is_1005(server: str, version: str) -> Deviation:
    """A lost connection is reported as a close without a code."""
    reason = "reports a lost connection as 1005 instead of 1006"
    return Deviation(server=server, version=version, reason=reason, cases=VANISHED, notes={"1006": "1005"})


DEVIATIONS = (
    Deviation(
        server="uvicorn-websockets",
        version="0.54.0",
        reason="a send after its disconnect message is a RuntimeError, not an OSError",
        cases=("sending after the end was read",),
        notes={
            LOST: "raised RuntimeError(\"Unexpected ASGI message 'websocket.send', "
            "after sending 'websocket.close' or response already completed.\")"
        },
    ),
    vanished_is_1005("uvicorn-websockets-sansio", "0.54.0"),
    vanished_is_1005("uvicorn-wsproto", "0.54.0"),
    Deviation(
        server="hypercorn",
        version="0.18.0",
        reason="a send on a closed connection is silently dropped (spec_version 2.3)",
        cases=("sending after the end was read",),
        notes={LOST: "returned"},
    ),
    Deviation(
        server="hypercorn",
        version="0.18.0",
        reason="a send on a closed connection is silently dropped (spec_version 2.3)",
        cases=("sending while the end is unread",),
        notes={"try_send_text: False": "try_send_text: True", "send_text: gone": "send_text: sent"},
    ),
    Deviation(
        server="hypercorn",
        version="0.18.0",
        reason="its disconnect message always has the code 1006 and no reason",
        notes={"3005 bye": "1006", "3005": "1006", "1005": "1006"},
    ),
    vanished_is_1005("granian", "2.8.7"),
    Deviation(
        server="granian",
        version="2.8.7",
        reason="its disconnect message has no reason",
        notes={"3005 bye": "3005"},
    ),
    Deviation(
        server="granian",
        version="2.8.7",
        reason="the headers of accept are dropped",
        cases=("headers of accept",),
        instead={"headers": ()},
    ),
    Deviation(
        server="granian",
        version="2.8.7",
        reason="an application that fails before accept is a refusal",
        cases=("any other exception before accept is a failed request",),
        instead={"refused": 403},
    ),
    Deviation(
        server="granian",
        version="2.8.7",
        reason="a send on a closed connection is silently dropped (spec_version 2.3)",
        cases=("sending after the end was read",),
        notes={LOST: "returned"},
    ),
    Deviation(
        server="granian",
        version="2.8.7",
        reason="a close frame is answered only when the application receives",
        cases=("sending while the end is unread",),
        stuck="the end of the connection",
    ),
)


def deviation_of(server: str, case: Case) -> Deviation | None:
    """The first row that changes this case on this server."""
    return next((row for row in DEVIATIONS if row.shows_in(server, case)), None)
