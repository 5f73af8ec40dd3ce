"""The bar that shows where a slow query's time went."""

import io

import pytest

from builders import make_statement
from dbsight.model import Database, Finding, MergedFinding, Snapshot
from dbsight.report.terminal import print_report, render
from dbsight.report.time_bar import COLUMNS, parts_of, time_bar

SPLIT = {"wait": 0.3, "connect": 0.1, "execute": 1.0, "lock": 0.6, "fetch": 0.2, "rows": 7, "facts": "7 rows returned"}


def drawn(details, width=100):
    """The lines of a bar as text."""
    return [line.plain for line in time_bar(details, width, "  ")]


def page(details, **options):
    """The report of one slow query."""
    finding = Finding(
        rule="slow_query",
        id="sq-1",
        severity="warning",
        category="query",
        title="SELECT orders is slow",
        description="Waited 300 ms, executed 1 s, fetched 200 ms (limit 1 s); 7 rows returned.",
        current_value=1.2,
        threshold=1.0,
        statement=make_statement("SELECT * FROM orders"),
        database=Database("sqlite", "shop.db"),
        details=details,
    )
    return render(Snapshot(calls=1, findings=[MergedFinding(finding, 1, 1, 0.2)], exporting=True), **options)


def test_every_part_has_columns_in_proportion_and_its_number():
    """What was waited for a lock is taken out of the execution; together the parts are the whole time."""
    (line,) = drawn(SPLIT, 120)
    bar, *legend = line.strip().split("  ")
    assert len(bar) == COLUMNS
    assert {mark: bar.count(mark) for mark in "░▒█▓▄"} == {"░": 6, "▒": 2, "█": 8, "▓": 12, "▄": 4}
    assert legend == ["░ wait 300 ms", "▒ connect 100 ms", "█ execute 400 ms", "▓ lock 600 ms", "▄ fetch 200 ms"]
    assert sum(value for _, value in parts_of(SPLIT)) == pytest.approx(1.6)


def test_a_part_too_small_to_be_drawn_is_left_out():
    """Below half a percent; above, it has a column whatever its share."""
    (line,) = drawn({"execute": 10.0, "fetch": 0.06, "wait": 0.001})
    assert line.count("█") == COLUMNS  # one of them is in the legend
    assert line.count("▄") == 2
    assert "wait" not in line


@pytest.mark.parametrize("details", [{}, {"execute": 0.0}, {"execute": "much"}, {"execute": -1.0}, {"wait": None}])
def test_without_times_there_is_no_bar(details):
    """As in a report of an earlier version, or one that was edited; the sentence is printed instead."""
    assert drawn(details) == []
    assert "executed 1 s" in page(details)


@pytest.mark.parametrize("width", [32, 40, 60, 80, 120])
def test_the_bar_fits_into_any_page(width):
    """The legend wraps between its parts."""
    assert all(len(line) <= width for line in drawn(SPLIT, width))


def test_the_report_draws_the_bar_with_colours_or_without():
    """In the place of the sentence; the rows remain."""
    plain = page(SPLIT)
    assert "▓ lock 600 ms" in plain
    assert "7 rows returned" in plain
    assert "Waited" not in plain
    assert "\x1b[31m▓" in page(SPLIT, color=True)


def test_a_stream_without_these_marks_gets_plain_ones():
    """ASCII can draw it, too."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    finding = Finding("slow_query", "sq-1", "warning", "query", "slow", "", details=SPLIT)
    print_report(Snapshot(calls=1, findings=[MergedFinding(finding, 1, 1, 0.2)], exporting=True), stream)
    stream.flush()
    assert b"......++########%%%%%%%%%%%%====" in raw.getvalue()
