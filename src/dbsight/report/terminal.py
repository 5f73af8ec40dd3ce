"""The report at exit, on a terminal or in a log.

Findings come first, ordered by the time that a fix saves, each with its line of code and a fix to paste; then the
slowest statements. Lines are wrapped to the width of the terminal, except for call sites and fixes, which the terminal
wraps so that they can be copied. Statements are sanitised when they are read; bound values are not available here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dbsight.formatting import TIMES, count, counted, mean, seconds
from dbsight.report.layout import (
    WIDTH_WITHOUT_TERMINAL,
    Column,
    aligned,
    clip,
    code_lines,
    draw,
    encodable,
    flow,
    manner,
    one_line,
    summary_line,
    table,
    text,
    wrapped,
)
from dbsight.report.query_plans import plan_lines, with_their_plans
from dbsight.report.time_bar import time_bar
from dbsight.safety import guard
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TextIO

    from rich.text import Text

    from dbsight.model import (
        CallSite,
        Finding,
        MergedFinding,
        PoolSnapshot,
        PoolState,
        Severity,
        Snapshot,
        StatementTotals,
    )

MAX_FINDINGS = 40
"""Findings shown in full, plus as many further errors; of the rest only the number is shown."""

MAX_STATEMENTS = 10
"""Rows of the table of slowest statements."""

_NARROWEST, _WIDEST = 32, 120  # columns
_INDENT = " " * 5
_FIRST = 3

_SEVERITIES: dict[Severity, tuple[str, str, str]] = {
    "error": ("✖", "bold red", "error"),
    "warning": ("▲", "bold yellow", "warning"),
    "info": ("·", "bold cyan", "note"),
}
"""Mark, style and word."""

_LABELS = {
    "n_plus_one": "N+1",
    "slow_query": "SLOW",
    "redundant_query": "REDUNDANT",
    "row_by_row_write": "ROW BY ROW",
    "redis_chatter": "REDIS N+1",
    "connection_leak": "LEAK",
    "session_leak": "LEAK",
    "blocking_call": "BLOCKED LOOP",
}
"""Labels that differ from the name of the rule."""

MAX_POOLS = 5
"""Rows of the table of connection pools, those with the longest waits first."""

_POOLS = (
    Column("pools"),
    Column("size", right=True),
    Column("used", right=True, rank=2),
    Column("idle", right=True, rank=3),
    Column("waits", right=True, rank=1),
    Column("wait p95", right=True),
    Column("use p95", right=True, rank=4),
    Column("timeouts", right=True),
)

_SLOWEST = (
    Column("slowest"),
    Column("n", right=True),
    Column("p50", right=True, rank=3),
    Column("p95", right=True),
    Column("max", right=True, rank=2),
    Column("rows", right=True, rank=4),
    Column("where", rank=1),
)


def render(snapshot: Snapshot, *, width: int = WIDTH_WITHOUT_TERMINAL, color: bool = False, details: str = "") -> str:
    """Write the report.

    Args:
        snapshot: The data of the report.
        width: Columns, limited to 32 to 120.
        color: Whether to use ANSI escape sequences.
        details: Where the full report is, such as a file name; empty if there is none.

    Returns:
        The report with a trailing line feed: one line without findings, and an empty string if no query ran, except
        with the development preset.
    """
    if not snapshot.findings:
        return _clean(snapshot)
    page = _Page(snapshot, max(_NARROWEST, min(width, _WIDEST)), details)
    blocks = [block for section in SECTIONS if (block := list(section(page)))]
    return draw(blocks, color=color)


@guard
def print_report(snapshot: Snapshot, stream: TextIO | None = None, *, details: str = "") -> None:
    """Write the report to a stream at once, with the stream's width and colours. Never raises.

    ``NO_COLOR`` and ``FORCE_COLOR`` are honoured; characters that the stream's encoding lacks are replaced.

    Args:
        snapshot: The data of the report.
        stream: Standard error by default; without one, nothing is written.
        details: As for ``render``.
    """
    stream = sys.stderr if stream is None else stream
    if stream is None:  # daemons, pythonw
        return
    width, color = manner(stream)
    report = render(snapshot, width=width, color=color, details=details)
    if report:
        stream.write(encodable(report, getattr(stream, "encoding", None)))
        stream.flush()


class _Page:
    """The input of every section."""

    def __init__(self, snapshot: Snapshot, width: int, details: str) -> None:
        self.snapshot = snapshot
        self.width = width
        self.details = one_line(details)


def _clean(snapshot: Snapshot) -> str:
    if not snapshot.calls:
        return "dbsight: no database queries captured\n" if snapshot.preset == "development" else ""
    said = f"dbsight: no findings in {counted(snapshot.calls, 'query', 'queries')}"
    forgotten = _forgotten(snapshot)
    return f"{said} ({forgotten})\n" if forgotten else f"{said}\n"


# -- Header -------------------------------------------------------------------------------------------------------


def _header(page: _Page) -> Iterator[Text]:
    snapshot = page.snapshot
    preset = f"({snapshot.preset})" if snapshot.preset else ""
    facts = [
        f"{one_line(snapshot.service)} {preset}".strip(),
        counted(snapshot.requests, "request") if snapshot.requests else "",
        counted(snapshot.calls, "query", "queries"),
        f"{seconds(snapshot.db_time)} in the database",
        _share(snapshot),
    ]
    yield from flow(
        [text((f"dbsight {__version__}", "bold")), *(text(fact) for fact in facts if fact)], page.width, gap=" · "
    )


def _share(snapshot: Snapshot) -> str:
    if snapshot.request_time:
        share, whole = snapshot.request_db_time / snapshot.request_time, "request time"
    elif snapshot.window_time:
        share, whole = snapshot.db_time / snapshot.window_time, "the recorded time"
    else:
        return ""
    if share > 1:  # concurrent queries
        return f"{share:.1f} {TIMES} {whole}"
    return f"{share * 100:.0f} % of {whole}"


# -- What to change first --------------------------------------------------------------------------------------------


def _first(page: _Page) -> Iterator[Text]:
    """The three changes that matter most, where there are more findings than one takes in at a glance."""
    chosen = [each for each in page.snapshot.recommendations if each.priority != "low"][:_FIRST]
    if len(page.snapshot.findings) <= _FIRST or not chosen:
        return
    yield text((" What to change first", "bold"))
    for number, each in enumerate(chosen, 1):
        facts = [text(f"{number}.", " ", (summary_line(each.title), "bold"))]
        if each.impact > 0:
            facts.append(text((f"saves ~{seconds(each.impact)}", "green")))
        if "call_site" in each.details:
            facts.append(text((one_line(str(each.details["call_site"])), "cyan")))
        yield from flow(facts, page.width, indent=_INDENT)


# -- Findings -----------------------------------------------------------------------------------------------------


def _findings(page: _Page) -> Iterator[Text]:
    findings = with_their_plans(page.snapshot.findings)
    # Errors with unknown saving, such as leaked connections, come last: show these, too.
    beyond = [merged for merged in findings[MAX_FINDINGS:] if merged.finding.severity == "error"]
    shown = [*findings[:MAX_FINDINGS], *beyond[:MAX_FINDINGS]]
    yield from _severities(page)
    yield text(("─" * page.width, "dim"))
    limits = (16, page.width // 4, page.width // 2)
    heads = aligned([_head(merged) for merged in shown], limits, page.width, indent=_INDENT)
    for merged, head in zip(shown, heads, strict=True):
        yield from head
        yield from _body(merged, page)
    if len(findings) > len(shown):
        see = f" (see {page.details})" if page.details else ""
        yield text(f" … and {count(len(findings) - len(shown))} more{see}")


def _severities(page: _Page) -> Iterator[Text]:
    facts = []
    for severity, (_, style, word) in _SEVERITIES.items():
        number = sum(merged.finding.severity == severity for merged in page.snapshot.findings)
        if number:
            facts.append(text((counted(number, word), style)))
    if page.details:
        facts.append(text((f"details: {page.details}", "dim")))
    yield from flow(facts, page.width, indent=" ")


def _head(merged: MergedFinding) -> list[Text]:
    """Return label, route (may be empty) and subject; then the duration and the saving, if any."""
    finding = merged.finding
    mark, style, _ = _SEVERITIES[finding.severity]
    head = [
        text((f" {mark} {_label(finding)}", style)),
        text(clip(one_line(finding.route), 60)),
        text((_subject(finding), "bold")),
    ]
    if finding.rule == "slow_query" and finding.current_value is not None:
        limit = "" if finding.threshold is None else f" (limit {seconds(finding.threshold, exact=True)})"
        head.append(text((f"{seconds(finding.current_value)}{limit}", "bold")))
    if merged.impact > 0:
        head.append(text((_saving(merged), "green")))
    return head


def _label(finding: Finding) -> str:
    label = _LABELS.get(finding.rule) or one_line(finding.rule).replace("_", " ").upper()
    return f"VERY {label}" if finding.rule == "slow_query" and finding.severity == "error" else label


def _subject(finding: Finding) -> str:
    if finding.statement is None:
        return one_line(finding.title)
    subject = clip(summary_line(finding.statement.summary), 60)
    return f"{count(finding.count)} {TIMES} {subject}" if finding.count > 1 else subject


def _saving(merged: MergedFinding) -> str:
    saving = f"saves ~{seconds(merged.impact / merged.windows)}"
    if merged.requests == merged.windows:
        return f"{saving} per request"
    return f"{saving} each time" if merged.windows > 1 else saving


def _body(merged: MergedFinding, page: _Page) -> Iterator[Text]:
    finding = merged.finding
    description = _description(finding)
    bar = list(time_bar(finding.details, page.width, _INDENT)) if finding.rule == "slow_query" else []
    yield from bar
    yield from wrapped(str(finding.details.get("facts", "")) if bar else description, page.width, indent=_INDENT)
    facts = []
    if finding.relationship and finding.relationship not in description:
        facts.append(text(one_line(finding.relationship)))
    if finding.call_site is not None:
        facts.append(text((_place(finding.call_site), "cyan")))
        if finding.call_site.caller is not None:
            facts.append(text("called from ", (_place(finding.call_site.caller), "cyan")))
    if merged.windows > 1:
        facts.append(
            text(f"in {counted(merged.windows, 'request' if merged.requests == merged.windows else 'window')}")
        )
    if finding.trace:
        facts.append(text((f"trace {one_line(finding.trace)}", "dim")))
    yield from flow(facts, page.width, indent=_INDENT)
    if finding.plan is not None and finding.rule == "slow_query":
        yield from plan_lines(finding.plan, _INDENT)
    if finding.suggestion.strip():
        yield from _fix(code_lines(finding.suggestion))


def _description(finding: Finding) -> str:
    """Return the description without the call site, which is printed below, where it can be copied."""
    if not finding.description:
        return one_line(finding.title) if finding.statement else ""
    description = summary_line(finding.description)
    for words, site in (("at", finding.call_site), ("called from", finding.call_site and finding.call_site.caller)):
        if site is not None:
            description = description.replace(f", {words} {_place(site)}", "")
    return description


def _place(site: CallSite) -> str:
    return f"{one_line(site.file)}:{site.line} in {one_line(site.function)}"


def _fix(lines: list[str]) -> Iterator[Text]:
    if len(lines) == 1:
        yield text(_INDENT, ("fix", "dim"), "  ", (lines[0], "green"))
        return
    # Below the word and with one indentation, so that selected lines can be pasted.
    yield text(_INDENT, ("fix", "dim"))
    for line in lines:
        yield text(_INDENT, "    ", (line, "green"))


# -- Tables -------------------------------------------------------------------------------------------------------


def _slowest(page: _Page) -> Iterator[Text]:
    statements = page.snapshot.statements[:MAX_STATEMENTS]
    if not statements:
        return
    looped = set()
    for merged in page.snapshot.findings:
        finding = merged.finding
        if finding.rule == "n_plus_one" and finding.statement is not None and finding.database is not None:
            looped.add((finding.statement.fingerprint, finding.database.key))
    rows = []
    for totals in statements:
        mark = f"← {_LABELS['n_plus_one']}" if (totals.statement.fingerprint, totals.database.key) in looped else ""
        rows.append(_row(totals, mark))
    yield from table(_SLOWEST, rows, page.width)


def _row(totals: StatementTotals, mark: str) -> tuple[str, ...]:
    site = totals.call_site
    where = "" if site is None else f"{one_line(site.file).replace(chr(92), '/').rpartition('/')[2]}:{site.line}"
    return (
        summary_line(totals.statement.summary),
        count(totals.count),
        *(seconds(value, gap="") for value in (totals.p50, totals.p95, totals.max)),
        mean(totals.rows, totals.count),
        f"{where}   {mark}".strip(),
    )


def _pools(page: _Page) -> Iterator[Text]:
    pools = [pool for pool in page.snapshot.pools if pool.state.pools or pool.totals.checkouts]
    pools.sort(key=lambda pool: (-pool.totals.timeouts, -pool.totals.wait_total, pool.state.name))
    if not pools:
        return
    yield from table(_POOLS, [_pool_row(pool) for pool in pools[:MAX_POOLS]], page.width)
    if len(pools) > MAX_POOLS:
        yield text((f" … and {counted(len(pools) - MAX_POOLS, 'pool')} more", "dim"))


def _pool_row(pool: PoolSnapshot) -> tuple[str, ...]:
    state, totals = pool.state, pool.totals
    return (
        one_line(state.name),
        _size(state),
        count(state.used),
        count(state.idle),
        count(totals.waits),
        seconds(totals.wait_p95, gap="") if totals.waits else "–",
        seconds(totals.use_p95, gap="") if totals.checkouts else "–",
        count(totals.timeouts),
    )


def _size(state: PoolState) -> str:
    """Format the size as ``5+10``: connections kept, plus overflow; ``–`` without a limit."""
    if state.max is None:
        return "–"
    kept = state.idle_max if state.idle_max is not None else state.max
    return f"{kept}+{state.max - kept}" if state.max > kept else count(state.max)


# -- Foot ---------------------------------------------------------------------------------------------------------


_MAX_UNUSED = 5


def _foot(page: _Page) -> Iterator[Text]:
    forgotten = _forgotten(page.snapshot)
    if forgotten:
        yield from wrapped(forgotten, page.width, indent=" ", style="dim")
    for complaint in page.snapshot.unused[:_MAX_UNUSED]:
        yield from wrapped(one_line(complaint), page.width, indent=" ", style="dim")
    if not page.snapshot.exporting:
        setting = text(("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317", "bold"))
        yield from flow([text("export to an APM:"), setting], page.width, gap="  ", indent=" ")


def _forgotten(snapshot: Snapshot) -> str:
    """Return which records were dropped because of limits; empty if none."""
    parts = [
        f"{count(number)} {one_line(reason).replace('_', ' ')}" for reason, number in snapshot.dropped.items() if number
    ]
    return f"limits reached; not recorded: {', '.join(parts)}" if parts else ""


SECTIONS: tuple[Callable[[_Page], Iterable[Text]], ...] = (_header, _first, _findings, _slowest, _pools, _foot)
"""In the order of the page; empty sections are omitted. To add a table, write a function and list it here."""
