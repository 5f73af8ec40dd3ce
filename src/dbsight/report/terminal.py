"""The report at exit, on a terminal or in a log.

Findings come first, ordered by the time that a fix saves, each with its line of code and a fix to paste; then the
slowest statements. Lines are wrapped to the width of the terminal, except for call sites and fixes, which the terminal
wraps so that they can be copied. Statements are sanitised when they are read; bound values are not available here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dbsight.formatting import TIMES, count, counted, mean, seconds
from dbsight.report.causes import LABELS, causes, headline
from dbsight.report.finding_text import general_callers, title
from dbsight.report.layout import (
    WIDTH_WITHOUT_TERMINAL,
    Column,
    clip,
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
from dbsight.report.terminal_findings import INDENT, SEVERITIES, cause_lines
from dbsight.safety import guard
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TextIO

    from rich.text import Text

    from dbsight.model import (
        PoolSnapshot,
        PoolState,
        Snapshot,
        StatementTotals,
    )

MAX_STATEMENTS = 10
"""Rows of the table of slowest statements."""

_NARROWEST, _WIDEST = 32, 120  # columns
_FIRST = 3

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
        self.causes = causes(snapshot.findings)


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
    head = [text((f"dbsight {__version__}", "bold")), *(text(fact) for fact in facts[:1] if fact)]
    rest = [text(fact) for fact in facts[1:] if fact]
    if len(lines := list(flow([*head, *rest], page.width, gap=" · "))) == 1:
        yield from lines
    else:  # the service on a line by itself, and what is counted below it
        yield from flow(head, page.width, gap=" · ")
        yield from flow(rest, page.width, gap=" · ")
    yield from wrapped(headline(snapshot, page.causes), page.width, style="bold")


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
    chosen = [cause for cause in page.causes if cause.impact > 0 or cause.severity == "error"][:_FIRST]
    if len(page.causes) <= _FIRST or not chosen:
        return
    yield text((" What to change first", "bold"))
    for number, cause in enumerate(chosen, 1):
        finding = cause.main.finding
        facts = [text(f"{number}.", " ", (clip(title(finding), page.width - 2 * len(INDENT)), "bold"))]
        if cause.impact > 0:
            facts.append(text((f"saves ~{seconds(cause.impact)}", "green")))
        if finding.call_site is not None:
            facts.append(text((one_line(str(finding.call_site)), "cyan")))
        yield from flow(facts, page.width, indent=INDENT)


# -- Findings -------------------------------------------------------------------------------------------------------


def _findings(page: _Page) -> Iterator[Text]:
    yield from _severities(page)
    yield text(("─" * page.width, "dim"))
    yield from cause_lines(page.causes, general_callers(page.snapshot.findings), page.width, page.details)


def _severities(page: _Page) -> Iterator[Text]:
    facts = []
    for severity, (_, style, word) in SEVERITIES.items():
        number = sum(merged.finding.severity == severity for merged in page.snapshot.findings)
        if number:
            facts.append(text((counted(number, word), style)))
    if page.details:
        facts.append(text((f"details: {page.details}", "dim")))
    yield from flow(facts, page.width, indent=" ")


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
        mark = f"← {LABELS['n_plus_one']}" if (totals.statement.fingerprint, totals.database.key) in looped else ""
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
