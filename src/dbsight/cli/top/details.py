"""What Enter opens: a finding with its place and fix, a statement, the findings of a request, who holds connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.console import Group
from rich.text import Text
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from dbsight.cli.top.columns import ago
from dbsight.cli.top.view import FindingRow, PoolRow, QueryRow, RequestRow
from dbsight.formatting import count, counted, seconds
from dbsight.report import finding_text
from dbsight.report.finding_text import general_callers
from dbsight.report.layout import code_lines, one_line, wrapped
from dbsight.report.terminal_findings import cause_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from textual.app import ComposeResult

    from dbsight.cli.top.view import View
    from dbsight.report.causes import Cause

_MARGIN: Final = 8
"""Columns of the screen that the text does not have."""


class Details(ModalScreen[None]):
    """One row, in full.

    Args:
        title: Its heading.
        lines: Returns its text for a width.
        copied: What the key c copies, empty for nothing.
    """

    DEFAULT_CSS = """
    Details { align: center middle; }
    Details > VerticalScroll {
        width: 100%; height: auto; max-height: 100%; margin: 1 2; padding: 0 1;
        border: round $primary; background: $surface;
    }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("escape,enter,q", "dismiss", "Back", key_display="esc"),
        Binding("c", "copy", "Copy"),
    ]

    def __init__(self, title: str, lines: Callable[[int], Sequence[Text]], copied: str = "") -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._copied = copied

    def compose(self) -> ComposeResult:
        """The text, which scrolls, and the keys."""
        with VerticalScroll() as box:
            box.border_title = Text(self._title)
            yield Static(Group(*self._lines(max(32, self.app.size.width - _MARGIN))))
        yield Footer()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there is no fix there is nothing to copy."""
        return bool(self._copied) if action == "copy" else True

    def action_copy(self) -> None:
        """Copy the fix or the statement to the clipboard of the terminal."""
        self.app.copy_to_clipboard(self._copied)
        self.notify("copied, if the terminal allows it", timeout=3)


def details_of(row: Any, view: View) -> tuple[str, Callable[[int], Sequence[Text]], str]:
    """Heading, text and what can be copied of a row of any table."""
    if isinstance(row, FindingRow):
        return row.label, lambda width: list(_finding(row, view, width)), row.fix
    if isinstance(row, QueryRow):
        return row.summary, lambda width: list(_query(row, view, width)), row.text
    if isinstance(row, RequestRow):
        return row.route, lambda width: list(_request(row, view, width)), ""
    return row.name, lambda width: list(_pool(row, view, width)), ""


def _finding(row: FindingRow, view: View, width: int) -> Iterator[Text]:
    yield from _cause(row.cause, view, width)
    yield Text()
    first = f"first seen {ago(row.first_seen)} ago, " if row.first_seen else ""
    last = f"last seen {ago(row.last_seen)} ago, " if row.last_seen else ""
    yield from _facts(width, f"{first}{last}{counted(row.count, 'time')} in all, rule {row.rule}")
    statement = row.cause.main.finding.statement
    if statement is not None:
        yield from _code(statement.text, width)


def _cause(cause: Cause, view: View, width: int) -> Iterator[Text]:
    return cause_lines([cause], general_callers(view.snapshot.findings), width, "")


def _query(row: QueryRow, view: View, width: int) -> Iterator[Text]:
    yield from _facts(width, f"{count(row.count)} executions, {counted(row.errors, 'error')}, {row.database}")
    yield from _facts(
        width,
        f"{seconds(row.total)} in all ({100 * row.share:.0f} % of the database time), "
        f"p50 {seconds(row.p50)}, p95 {seconds(row.p95)}, max {seconds(row.max)}",
    )
    if row.place:
        yield Text(f" {row.place}", style="cyan")
    yield from _code(row.text, width)
    found = [
        each.cause
        for each in view.findings
        if any(
            merged.finding.statement is not None and merged.finding.statement.fingerprint == row.fingerprint
            for merged in each.cause.all
        )
    ]
    for cause in found:
        yield Text()
        yield from _cause(cause, view, width)


def _request(row: RequestRow, view: View, width: int) -> Iterator[Text]:
    times = "" if row.p50 is None else f", p50 {seconds(row.p50)}, p95 {seconds(row.p95 or 0.0)}"
    yield from _facts(width, f"{counted(row.count, 'request')}{times}")
    yield from _facts(
        width, f"{row.queries:.4g} queries per request, {100 * row.db_share:.0f} % of the time in the database"
    )
    found = [each.cause for each in view.findings if each.route == row.route]
    if not found:
        yield Text()
        yield from _facts(width, "no findings")
    for cause in found:
        yield Text()
        yield from _cause(cause, view, width)


def _pool(row: PoolRow, view: View, width: int) -> Iterator[Text]:
    limit = "no limit" if row.max is None else f"at most {row.max}"
    yield from _facts(width, f"{row.used} used, {row.idle} idle, {limit}; {counted(row.waiting, 'request')} waiting")
    yield from _facts(
        width,
        f"{counted(row.waits, 'wait')}, p95 {seconds(row.wait_p95)}; {counted(row.timeouts, 'timeout')},"
        f" {counted(row.leaks, 'leak')}",
    )
    holders = [
        holder for pool in view.snapshot.pools if one_line(pool.state.name) == row.name for holder in pool.state.holders
    ]
    if holders:
        yield Text()
        yield from _facts(width, "connections are held by:")
    for holder in sorted(holders, key=lambda each: -each.age):
        where = finding_text.place(holder.call_site) if holder.call_site is not None else "unknown"
        yield Text.assemble(
            "   ", (where, "cyan"), f"  for {seconds(holder.age)}, {counted(holder.queries, 'query', 'queries')}"
        )


def _code(written: str, width: int) -> Iterator[Text]:
    yield Text()
    for line in code_lines(written):
        yield from wrapped(line, width, indent="   ", style="dim")


def _facts(width: int, *written: str) -> Iterator[Text]:
    for line in written:
        yield from wrapped(line, width, indent=" ")
