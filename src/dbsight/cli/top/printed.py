"""``dbsight top --once``: one reading as text, for scripts and pipes."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from dbsight.cli.top.columns import FINDINGS, PANELS, POOLS, QUERIES, REQUESTS
from dbsight.cli.top.view import is_helper
from dbsight.formatting import counted
from dbsight.report.layout import draw, one_line, table, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.text import Text

    from dbsight.cli.top.columns import Panel
    from dbsight.cli.top.view import View

MOST_ROWS: Final = 10
"""Rows of each table."""


def print_view(view: View, sorts: Mapping[str, str], filtered: str, *, width: int, color: bool) -> str:
    """One reading as text with a trailing line feed.

    Args:
        view: The reading.
        sorts: By name of a table, the column that it is sorted by; others are sorted as they are at first.
        filtered: Words that rows must hold.
        width: Columns.
        color: Whether to use ANSI escape sequences.
    """
    blocks: list[Sequence[Text]] = [list(_head(view))]
    for panel in PANELS:
        name = sorts.get(panel.name, panel.sort)
        blocks.append(list(_table(view, panel, name, filtered, width)))
        if panel is QUERIES and panel.name not in sorts:
            blocks.append(list(_table(view, panel, "count", filtered, width)))
    return draw(filter(None, blocks), color=color)


TITLES: Final = {
    REQUESTS.name: "requests",
    (QUERIES.name, "total"): "queries with the most time",
    (QUERIES.name, "count"): "most frequent queries",
    POOLS.name: "pools",
    FINDINGS.name: "findings, newest first",
}


def _table(view: View, panel: Panel, sort: str, filtered: str, width: int) -> Iterator[Text]:
    rows = panel.sorted(view, sort, filtered)
    if not rows:
        return
    default = f"{panel.name} by {panel.column(sort).head}" if sort != panel.sort else panel.name
    yield text((TITLES.get((panel.name, sort)) or (TITLES[panel.name] if sort == panel.sort else default), "bold"))
    cells = [[column.text(row) for column in panel.columns] for row in rows[:MOST_ROWS]]
    yield from table([column.column for column in panel.columns], cells, width, least=panel.least)
    if len(rows) > MOST_ROWS:
        yield text((f" … and {len(rows) - MOST_ROWS} more", "dim"))


def _head(view: View) -> Iterator[Text]:
    yield text(" · ".join((*summary(view), counted(len(view.findings), "finding"))))
    for worker in view.workers:
        if worker.said and worker.state != "ended":
            yield text((one_line(worker.said), "yellow"))


def summary(view: View) -> list[str]:
    """What is watched, and how much it does."""
    services = ", ".join(dict.fromkeys(one_line(worker.service) for worker in view.chosen if worker.service))
    living = [worker for worker in view.chosen if worker.state != "ended"]
    working = [worker for worker in living if not is_helper(worker, living)]
    return list(
        filter(
            None,
            (
                services,
                f"process {working[0].pid}" if len(working) == 1 else counted(len(working), "process", "processes"),
                f"{view.per_second:.1f} requests/s",
                counted(view.snapshot.calls, "query", "queries"),
                f"{100 * view.db_share:.0f} % in DB",
                f"{counted(view.missed, 'request')} missed" if view.missed else "",
            ),
        )
    )


def plain(view: View, sorts: Mapping[str, str], filtered: str) -> dict[str, Any]:
    """One reading for JSON; times in seconds, moments in seconds since the epoch. Arguments as for ``print_view``."""
    snapshot = view.snapshot
    told: dict[str, Any] = {
        "processes": [
            {
                "pid": worker.pid or worker.process.pid,
                "parent": worker.parent,
                "port": worker.process.port,
                "service": worker.service,
                "started": worker.started,
                "state": worker.state,
                "message": worker.said,
                "requests": worker.snapshot.windows if worker.snapshot is not None else 0,
                "queries": worker.snapshot.calls if worker.snapshot is not None else 0,
            }
            for worker in view.workers
        ],
        "totals": {
            "requests": snapshot.windows,
            "requests_per_second": view.per_second,
            "queries": snapshot.calls,
            "db_time": snapshot.db_time,
            "db_share": view.db_share,
            "slow": snapshot.slow + snapshot.very_slow,
            "failed": snapshot.failed,
            "missed": view.missed,
        },
    }
    for panel in PANELS:
        rows = panel.sorted(view, sorts.get(panel.name, panel.sort), filtered)
        told[panel.name] = [
            {each.name: getattr(row, each.name) for each in fields(row) if each.name != "cause"} for row in rows
        ]
    return told
