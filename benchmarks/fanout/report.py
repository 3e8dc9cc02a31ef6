"""What was measured, for the terminal and as docs/fanout.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fanout.cases import GOALS, MEMBERS, STALLED, WINDOWS
from benchmarks.fanout.rows import BASELINE, OURS, OVER_REDIS, ROWS
from benchmarks.servers.report import how_often, number, quiet, ratio_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.fanout.cases import Goal
    from benchmarks.fanout.rows import Row
    from benchmarks.servers.results import Results, Spread

__all__ = ["PAGE", "markdown", "write"]

PAGE = Path(__file__).parents[2] / "docs" / "fanout.md"

Cell = tuple[str, "Callable[[str], str]"]  # a column: its title, and what it says of a row


def _figure(results: Results, case: str, metric: str) -> Callable[[str], str]:
    def cell(row: str) -> str:
        spread = results.figure(row, case, metric)
        if spread is None:
            return ""
        return f"{spread.median:.3f}" if spread.median < 10 else number(spread.median)

    return cell


def _ratio(results: Results, case: str, metric: str, against: str) -> Callable[[str], str]:
    return lambda row: _text(results.ratio(row, (case, metric), against))


def _text(spread: Spread | None) -> str:
    return "" if spread is None else ratio_text(spread)


def _table(results: Results, rows: Iterable[Row], columns: Sequence[Cell]) -> list[str]:
    lines = ["| | " + " | ".join(title for title, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [cell(row.name) for _, cell in columns]
        if any(cells):
            lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return lines


def _in_flight(results: Results, members: int) -> list[str]:
    rates: list[Cell] = [
        (f"{window} in flight, deliveries/s", _figure(results, f"{members}-{window}", "per_second"))
        for window in WINDOWS
    ]
    costs: list[Cell] = [
        (f"{window} in flight, us/delivery", _figure(results, f"{members}-{window}", "cpu_us")) for window in WINDOWS
    ]
    ratios: list[Cell] = [
        (f"{window} in flight", _ratio(results, f"{members}-{window}", "per_second", BASELINE)) for window in WINDOWS
    ]
    return [
        f"### 128 bytes to {members} members",
        "",
        *_table(results, ROWS, rates),
        "",
        "The server's processor time:",
        "",
        *_table(results, ROWS, costs),
        "",
        "Deliveries per second, as multiples of FastAPI's `ConnectionManager`:",
        "",
        *_table(results, ROWS, ratios),
    ]


def _latency(results: Results, case: str) -> Callable[[str], str]:
    def cell(row: str) -> str:
        spread = results.figure(row, case, "p99_us")
        if spread is None:
            return ""
        return "over 1000" if spread.median >= 999_000 else f"{spread.median / 1000:.1f}"

    return cell


def _slowed(results: Results) -> Callable[[str], str]:
    def cell(row: str) -> str:
        return _text(results.ratio(row, ("stalled", "p99_us"), row, ("steady", "p99_us")))

    return cell


def _with_stalled(results: Results) -> list[str]:
    columns: list[Cell] = [
        ("all read, p99, ms", _latency(results, "steady")),
        (f"{STALLED} do not, p99 of the others, ms", _latency(results, "stalled")),
        ("ratio", _slowed(results)),
    ]
    return [
        f"### {STALLED} of 1000 members that read nothing",
        "",
        "4 KiB, ten times a second; of every delivery to every member that reads, from when the message was due.",
        "",
        *_table(results, ROWS, columns),
    ]


def _over_redis(results: Results) -> list[str]:
    columns: list[Cell] = [
        ("publications/s", _figure(results, "redis", "per_second")),
        ("us/publication, both workers", _figure(results, "redis", "cpu_us")),
        ("against Litestar's pub/sub", _ratio(results, "redis", "per_second", "litestar-pubsub")),
    ]
    return [
        "### Through two workers and Redis",
        "",
        "16 connections, each of which publishes (4 in flight) and receives everything; both workers on one core, "
        "Redis and the load on the other.",
        "",
        *_table(results, OVER_REDIS, columns),
    ]


def _verdict(results: Results, goal: Goal) -> str:
    bound = f"{'at least' if goal.more else 'at most'} {goal.bound:g}{'x' if goal.against else ''}"
    if goal.against is None:
        spread = results.figure(goal.row, *goal.column)
    else:
        spread = results.ratio(goal.row, goal.column, goal.against)
    if spread is None:
        return f"| {goal.text} | {bound} | not measured | |"
    met = spread.median >= goal.bound if goal.more else spread.median <= goal.bound
    shown = ratio_text(spread) if goal.against else f"{spread.median:.0f}"
    return f"| {goal.text} | {bound} | {shown} | {'yes' if met else '**no**'} |"


def _ahead(results: Results, members: int, window: int) -> str:
    """Ours against whichever other is closest."""
    column = f"{members}-{window}", "per_second"
    others = (row for row in ROWS if row.name != OURS)
    ratios = [(row, ratio) for row in others if (ratio := results.ratio(OURS, column, row.name))]
    text = f"| {members} members, {window} in flight, ahead of all | above 1x |"
    if not ratios:
        return f"{text} not measured | |"
    row, closest = min(ratios, key=lambda pair: pair[1].median)
    return f"{text} {ratio_text(closest)} of {row.title} | {'yes' if closest.median > 1 else '**no**'} |"


def markdown(results: Results) -> str:
    """The page."""
    about = results.about
    goals = [_verdict(results, goal) for goal in GOALS]
    goals += [_ahead(results, members, window) for members in MEMBERS for window in WINDOWS]
    gone = [f"- {row}: could not be installed: {reason}" for row, reason in results.missing.items()]
    gone += [f"- {row}, `{case}`: {reason}" for (row, case), reason in results.reasons.items()]
    lines = [
        "# One message to many",
        "",
        "A room, as the users of each write it, and how much it carries: what one connection sends goes to all. "
        "This page is written by a program; what is measured and how stands in "
        "[benchmarks/README.md](../benchmarks/README.md).",
        "",
        f"Measured on {about['date']} with `{about['command']}`: {how_often(about['rounds'])}, everything in each, "
        f"{about['seconds']:g} s each after a warm-up. A figure is the median of the rounds; a ratio that of the "
        "ratios within a round, with the lowest and the highest.",
        f"Machine: {about['machine']}; one core for the server, one for the load. {quiet(about['load_before'])}",
        "",
        f"Versions: {', '.join(about['versions'])}.",
        "",
        "## Goals",
        "",
        "Deliveries or publications per second against FastAPI's `ConnectionManager`, if nothing else is said.",
        "",
        "| | goal | measured | met |",
        "|---|---|---|---|",
        *goals,
        "",
        "## Figures",
    ]
    for part in (*(_in_flight(results, members) for members in MEMBERS), _with_stalled(results), _over_redis(results)):
        lines += ["", *part]
    return "\n".join([*lines, "", "## What is missing", "", *(gone or ["Nothing."]), ""])


def write(results: Results) -> None:
    """Put the page into docs/."""
    PAGE.write_text(markdown(results))
