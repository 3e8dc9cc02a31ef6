"""What was measured, for the terminal, as the tables of docs/benchmarks.md, and as a plot."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.servers.cases import COLUMNS, GOALS, TABLES
from benchmarks.servers.peers import BASELINE, PEERS

if TYPE_CHECKING:
    from benchmarks.servers.cases import Column, Goal
    from benchmarks.servers.results import Results, Spread

__all__ = ["PAGE", "PLOT", "how_often", "markdown", "number", "plot", "quiet", "ratio_text", "terminal", "write"]

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PLOT = PAGE.with_suffix(".svg")
BUSY = 0.7
BEGIN, END = "<!-- written by scripts/bench servers -->\n", "<!-- end of what is written -->\n"


def number(value: float) -> str:
    """Three figures that count."""
    if value >= 10_000:
        return f"{value / 1000:.0f} k"
    if value >= 1000:
        return f"{value / 1000:.1f} k"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def ratio_text(spread: Spread) -> str:
    """A median with the lowest and the highest."""
    digits = 1 if spread.median >= 10 else 2
    return f"{spread.median:.{digits}f}x ({spread.low:.{digits}f}-{spread.high:.{digits}f})"


def _measured(results: Results) -> list[Column]:
    cases = {case for figures in results.rounds for _, case in figures}
    return [column for column in COLUMNS if column.case in cases]


def terminal(results: Results) -> str:
    """Every figure with its ratio, case by case."""
    lines = []
    for column in _measured(results):
        lines.append(f"\n{column.case}: {column.metric}")
        for peer in PEERS:
            figure = results.figure(peer.name, column.case, column.metric)
            if figure is None:
                continue
            ratio = results.ratio(peer.name, (column.case, column.metric), BASELINE)
            lines.append(f"  {peer.name:22}{figure.median:>12.1f}   {ratio_text(ratio) if ratio else ''}")
    lines += [f"\nmissing: {peer}: {reason}" for peer, reason in results.missing.items()]
    lines += [f"not measured: {peer}, {case}: {reason}" for (peer, case), reason in results.reasons.items()]
    return "\n".join(lines)


def _table(results: Results, columns: tuple[Column, ...], *, ratios: bool) -> list[str]:
    lines = ["| | " + " | ".join(column.title for column in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for peer in PEERS:
        if peer.name in results.missing:
            continue
        cells = []
        for column in columns:
            key = (column.case, column.metric)
            spread = results.ratio(peer.name, key, BASELINE) if ratios else results.figure(peer.name, *key)
            cells.append("" if spread is None else ratio_text(spread) if ratios else number(spread.median))
        lines.append(f"| {peer.title} | {' | '.join(cells)} |")
    return lines


def _verdict(results: Results, goal: Goal) -> str:
    more = next(column.more for column in COLUMNS if (column.case, column.metric) == goal.column)
    if goal.against is None:
        spread = results.figure(goal.peer, *goal.column)
    else:
        spread = results.ratio(goal.peer, goal.column, goal.against, goal.other)
    bound = f"{'at least' if more else 'at most'} {goal.bound:g}{'x' if goal.against else ''}"
    if spread is None:
        return f"| {goal.text} | {bound} | not measured | |"
    met = spread.median >= goal.bound if more else spread.median <= goal.bound
    shown = ratio_text(spread) if goal.against else f"{spread.median:.1f} ({spread.low:.1f}-{spread.high:.1f})"
    return f"| {goal.text} | {bound} | {shown} | {'yes' if met else '**no**'} |"


def how_often(rounds: int) -> str:
    """How many rounds, in words."""
    return "1 round" if rounds == 1 else f"{rounds} rounds"


def quiet(average: float) -> str:
    """What is to be said of a machine with that load average."""
    if average < BUSY:
        return f"Nothing else ran (load average before: {average:.1f})."
    return (
        f"**It was not quiet**: other programs used the same cores (load average before: {average:.1f}). Rates are too "
        "low and spreads wide; what can be read from it are ratios, and the server's CPU time per message."
    )


def markdown(results: Results) -> str:
    """The part of the page that is written by the program."""
    about = results.about
    lines = [
        f"Measured on {about['date']} with `{about['command']}`: {how_often(about['rounds'])}, every server in each, "
        f"{about['seconds']:g} s each after a warm-up.",
        f"Machine: {about['machine']}; one core for the server, one for the load. {quiet(about['load_before'])}",
        "",
        f"Versions: {', '.join(about['versions'])}.",
        "",
        "### Goals",
        "",
        "Against Starlette's `WebSocket` on uvicorn's `websockets-sansio` protocol, if nothing else is said.",
        "",
        "| | goal | measured | met |",
        "|---|---|---|---|",
        *(_verdict(results, goal) for goal in GOALS),
    ]
    for title, columns in TABLES.items():
        lines += ["", f"### {title}", "", *_table(results, columns, ratios=False)]
        lines += ["", "Ratios to uvicorn's `websockets-sansio`:", "", *_table(results, columns, ratios=True)]
    lines += ["", "### What is missing", ""]
    gone = [f"- {peer}: could not be installed: {reason}" for peer, reason in results.missing.items()]
    gone += [f"- {peer}, `{case}`: {reason}" for (peer, case), reason in results.reasons.items()]
    return "\n".join([*lines, *(gone or ["Nothing."]), ""])


# --- the plot ---------------------------------------------------------------------------------------------------------

_PANELS = {
    ("echo-1", "per_second"): "Echo of 128 bytes, 1 message in flight",
    ("echo-16", "per_second"): "Echo of 128 bytes, 16 messages in flight",
    ("4k", "per_second"): "Echo of 4 KiB, binary",
    ("deflate-alone", "per_second"): "Echo of 1 KiB of JSON, compressed",
    ("hold", "handshakes_per_second"): "Opening handshakes",
}
_WIDTH, _ROW, _LABELS, _BARS, _TOP, _BEYOND = 800, 20, 270, 420, 34, 40
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 13px }
  .back { fill: #ffffff } .peer { fill: #b6bec8 } .base { fill: #6e7781 } .ours { fill: #0969da }
  .spread { stroke: #24292f; stroke-width: 1 } .one { stroke: #6e7781; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .back { fill: #0d1117 } .peer { fill: #484f58 } .base { fill: #8b949e }
    .ours { fill: #4493f8 } .spread { stroke: #e6edf3 }
  }
"""


def _panel(results: Results, key: tuple[str, str], top: int) -> tuple[list[str], int]:
    """Bars of the ratios of one figure, the best above; and where the next panel begins."""
    found = [(spread, peer) for peer in PEERS if (spread := results.ratio(peer.name, key, BASELINE)) is not None]
    found.sort(key=lambda one: one[0].median, reverse=True)
    scale = _BARS / max(spread.median for spread, _ in found)
    out = [f'<text class="title" x="8" y="{top + 18}">{_PANELS[key]}</text>']
    y = top + _TOP
    for spread, peer in found:
        kind = "ours" if peer.ours else "base" if peer.name == BASELINE else "peer"
        width, low, high = (min(max(1.0, part * scale), _BARS + _BEYOND) for part in spread)
        out += [
            f'<text x="{_LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(peer.title.replace("*", ""))}</text>',
            f'<rect class="{kind}" x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_ROW - 4}" rx="2"/>',
            f'<path class="spread" d="M{_LABELS + low:.1f} {y + 8}H{_LABELS + high:.1f}"/>',
            f'<text x="{_LABELS + high + 8:.1f}" y="{y + 13}">{spread.median:.1f}x</text>',
        ]
        y += _ROW
    out.append(f'<path class="one" d="M{_LABELS + scale:.1f} {top + _TOP - 4}V{y}"/>')
    return out, y + 14


def plot(results: Results) -> str:
    """Bars of the ratios, as SVG; a thin line shows the lowest and the highest round."""
    parts: list[str] = []
    y = 0
    for key in _PANELS:
        panel, y = _panel(results, key, y)
        parts += panel
    title = "Throughput as a multiple of Starlette on uvicorn, websockets-sansio"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img">\n'
        f'<title>{title}</title>\n<style>{_STYLE}</style>\n<rect class="back" width="100%" height="100%"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def write(results: Results) -> None:
    """Put tables and plot into docs/; what is written by hand in the page stays."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}")
    PLOT.write_text(plot(results))
