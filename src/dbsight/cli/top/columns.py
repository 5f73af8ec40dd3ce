"""Columns of the four tables of ``dbsight top``: what they show, how they are sorted, which are left out first."""

from __future__ import annotations

from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Any, Final

from dbsight.cli.top.view import FindingRow, PoolRow, QueryRow, RequestRow, View
from dbsight.formatting import count, seconds
from dbsight.report.layout import Column
from dbsight.report.terminal_findings import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Row = RequestRow | QueryRow | PoolRow | FindingRow


@dataclass(frozen=True)
class Shown:
    """One column.

    Attributes:
        name: For ``--sort``.
        head: Its heading.
        text: The cell.
        value: What it is sorted by.
        rank: The column with the highest rank is left out first where there is little room; 0 stays.
        ascending: It is sorted from the smallest at first.
        left: It holds words, which stand at the left.
    """

    name: str
    head: str
    text: Callable[[Any], str]
    value: Callable[[Any], Any]
    rank: int = 0
    ascending: bool = False
    left: bool = False

    @property
    def column(self) -> Column:
        """For the layout of printed tables."""
        return Column(self.head, right=not self.left, rank=self.rank)


@dataclass(frozen=True)
class Panel:
    """One table.

    Attributes:
        name: Its name, and its heading in lower case.
        columns: The first one names the row, and shortens.
        sort: Name of the column that it is sorted by at first.
        rows: Its rows.
        identity: What tells rows apart from one reading to the next.
        words: What a filter looks at.
        least: Room for the first column that is worth leaving out others.
    """

    name: str
    columns: Sequence[Shown]
    sort: str
    rows: Callable[[View], Sequence[Any]]
    identity: Callable[[Any], str]
    words: Callable[[Any], str]
    least: int = 24

    def column(self, name: str) -> Shown:
        """The column with a name.

        Raises:
            KeyError: There is none.
        """
        return {each.name: each for each in self.columns}[name]

    def sorted(self, view: View, name: str, filtered: str = "", *, reverse: bool = False) -> list[Any]:
        """Its rows by a column, those that hold all words of a filter."""
        column = self.column(name)
        words = filtered.lower().split()
        rows = [row for row in self.rows(view) if all(word in self.words(row).lower() for word in words)]
        return sorted(rows, key=column.value, reverse=column.ascending == reverse)


def ago(moment: float | None, now: float | None = None) -> str:
    """How long a moment is past: ``3 s``, ``5 min``; ``–`` if unknown."""
    if moment is None:
        return "–"
    passed = max(0.0, (time() if now is None else now) - moment)
    for unit, name in ((3600, "h"), (60, "min")):
        if passed >= 2 * unit:
            return f"{count(passed // unit)} {name}"
    return f"{passed:.0f} s"


def _time(value: float | None) -> str:
    return "–" if value is None else seconds(value, gap="")


def _rate(value: float) -> str:
    return count(value) if value >= 100 else f"{value:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _where(place: str) -> str:
    """``shop.py:88`` of ``/srv/app/shop.py:88 in list_orders``."""
    return place.partition(" in ")[0].replace("\\", "/").rpartition("/")[2]


def _titled(row: FindingRow) -> str:
    """``✖ N+1  Order.customer is loaded one row at a time``."""
    return f"{SEVERITIES[row.severity][0]} {row.label}  {row.title}"


def _urgency(row: FindingRow) -> tuple[int, str, str]:
    return list(SEVERITIES).index(row.severity), row.label, row.title


def styled(column: Shown, row: Row) -> str:
    """The style of a cell: what asks for attention stands out."""
    if isinstance(row, FindingRow):
        return {"title": SEVERITIES[row.severity][1], "saves": "green", "place": "cyan"}.get(column.name, "")
    if isinstance(row, PoolRow):
        wrong = {"waiting": row.waiting, "timeouts": row.timeouts, "leaks": row.leaks}.get(column.name, 0)
        full = column.name == "used" and row.max is not None and row.used >= row.max > 0
        return "bold red" if wrong else "bold yellow" if full else ""
    if isinstance(row, RequestRow):
        return "yellow" if column.name == "findings" and row.findings else ""
    return "cyan" if column.name == "place" else ""


REQUESTS: Final = Panel(
    "requests",
    (
        Shown("route", "request", lambda row: row.route, lambda row: row.route, ascending=True, left=True),
        Shown("rate", "per s", lambda row: _rate(row.per_second), lambda row: (row.per_second, row.count)),
        Shown("count", "count", lambda row: count(row.count), lambda row: row.count, 4),
        Shown("p50", "p50", lambda row: _time(row.p50), lambda row: row.p50 or 0.0, 3),
        Shown("p95", "p95", lambda row: _time(row.p95), lambda row: row.p95 or 0.0),
        Shown("queries", "queries", lambda row: f"{row.queries:.4g}", lambda row: row.queries),
        Shown("db", "in DB", lambda row: _percent(row.db_share), lambda row: row.db_share, 1),
        Shown("findings", "findings", lambda row: count(row.findings), lambda row: row.findings, 2),
    ),
    "rate",
    lambda view: view.requests,
    lambda row: row.route,
    lambda row: row.route,
)

QUERIES: Final = Panel(
    "queries",
    (
        Shown("query", "query", lambda row: row.summary, lambda row: row.summary, ascending=True, left=True),
        Shown("rate", "per s", lambda row: _rate(row.per_second), lambda row: (row.per_second, row.count), 3),
        Shown("count", "count", lambda row: count(row.count), lambda row: row.count),
        Shown("p50", "p50", lambda row: _time(row.p50), lambda row: row.p50, 5),
        Shown("p95", "p95", lambda row: _time(row.p95), lambda row: row.p95),
        Shown("max", "max", lambda row: _time(row.max), lambda row: row.max, 6),
        Shown("total", "total", lambda row: _time(row.total), lambda row: row.total, 4),
        Shown("share", "of DB", lambda row: _percent(row.share), lambda row: row.share, 1),
        Shown("place", "where", lambda row: _where(row.place), lambda row: row.place, 2, ascending=True, left=True),
    ),
    "total",
    lambda view: view.queries,
    lambda row: f"{row.fingerprint} {row.database}",
    lambda row: f"{row.summary} {row.text} {row.place} {row.database}",
)

POOLS: Final = Panel(
    "pools",
    (
        Shown("pool", "pool", lambda row: row.name, lambda row: row.name, ascending=True, left=True),
        Shown("used", "used", lambda row: count(row.used), lambda row: row.used),
        Shown("idle", "idle", lambda row: count(row.idle), lambda row: row.idle),
        Shown("max", "max", lambda row: "–" if row.max is None else count(row.max), lambda row: row.max or 0),
        Shown("waiting", "waiting", lambda row: count(row.waiting), lambda row: (row.waiting, row.waits)),
        Shown("waits", "waits", lambda row: count(row.waits), lambda row: row.waits, 2),
        Shown("wait", "wait p95", lambda row: _time(row.wait_p95) if row.waits else "–", lambda row: row.wait_p95, 3),
        Shown("timeouts", "timeouts", lambda row: count(row.timeouts), lambda row: row.timeouts, 1),
        Shown("leaks", "leaks", lambda row: count(row.leaks), lambda row: row.leaks, 4),
    ),
    "waiting",
    lambda view: view.pools,
    lambda row: row.name,
    lambda row: f"{row.name} {row.library}",
)

FINDINGS: Final = Panel(
    "findings",
    (
        Shown("title", "finding", _titled, _urgency, ascending=True, left=True),
        Shown("route", "request", lambda row: row.route, lambda row: row.route, 3, ascending=True, left=True),
        Shown("place", "where", lambda row: _where(row.place), lambda row: row.place, 2, ascending=True, left=True),
        Shown("count", "count", lambda row: count(row.count), lambda row: row.count, 4),
        Shown("saves", "saves", lambda row: _time(row.impact) if row.impact else "–", lambda row: row.impact, 1),
        Shown(
            "seen",
            "seen",
            lambda row: ago(row.last_seen),
            # Newest first; of those that were there before, the latest that was seen.
            lambda row: (row.first_seen or 0.0, row.last_seen or 0.0, row.impact),
        ),
    ),
    "seen",
    lambda view: view.findings,
    lambda row: row.id,
    lambda row: f"{row.label} {row.rule} {row.title} {row.route} {row.place}",
    least=44,
)

PANELS: Final = (REQUESTS, QUERIES, FINDINGS, POOLS)


def sort_names() -> Iterator[str]:
    """``requests.p95`` and all others, for ``--sort``."""
    return (f"{panel.name}.{column.name}" for panel in PANELS for column in panel.columns)
