"""The rule row_by_row_write: what is a loop of writes, and what it says."""

import pytest

from builders import TRACE_ID, make_statement
from dbsight.config import Settings
from dbsight.detect.rules.row_by_row_write import RowByRowWrite
from dbsight.model import Finding
from unit.detect.loops import HERE, SHOP, loop, make_window, one

INSERT = "INSERT INTO tags (name) VALUES (?)"
UPDATE = "UPDATE tags SET name = ? WHERE tags.id = ?"
DELETE = "DELETE FROM tags WHERE tags.id = ?"


def writes(count, text=INSERT, **fields):
    """Single-row writes from one place."""
    return loop(count, text, **{"affected": 1, **fields})


def flushed(flushes, rows):
    """Rows that a session sent in so many flushes."""
    operations = writes(flushes * rows, every=0.0035)
    for number, operation in enumerate(operations):
        operation.flush = number // rows + 1
    return operations


def judge(operations, duration=1.0, *, request=True, **settings):
    """What the rule finds."""
    return list(RowByRowWrite(Settings(**settings)).complete(make_window(operations, duration, request=request)))


def test_a_loop_of_writes_becomes_one_finding():
    """Everything that a person needs stands in it."""
    found = judge(writes(200))
    assert found == [
        Finding(
            rule="row_by_row_write",
            id=found[0].id,
            severity="error",
            category="query",
            title="INSERT tags writes one row at a time",
            description="200 rows were written by INSERT tags, one row per statement, at shop.py:88 in list_orders.",
            suggestion="session.execute(insert(tags), rows)  # a list of dictionaries, 500 at a time",
            impact=pytest.approx(0.9 * 0.6 * 199 / 200),
            count=200,
            metric="count",
            current_value=200.0,
            threshold=5.0,
            statement=make_statement(INSERT),
            database=SHOP,
            call_site=HERE,
            trace=f"{TRACE_ID:032x}",
            route="GET /orders",
            details={"duration": pytest.approx(0.6), "flushes": 0},
        )
    ]
    assert found[0].id.startswith("rw-")


@pytest.mark.parametrize(
    ("text", "fields", "suggestion"),
    [
        (INSERT, {"entity": "Tag"}, "session.execute(insert(Tag), rows)  # a list of dictionaries, 500 at a time"),
        (
            UPDATE,
            {"entity": "Tag"},
            "session.bulk_update_mappings(Tag, rows)  # dictionaries with the primary key, 500 at a time",
        ),
        (
            UPDATE,
            {},
            (
                'session.execute(update(tags).where(tags.c.id == bindparam("key")), rows)  '
                "# dictionaries with key and the new values, 500 at a time"
            ),
        ),
        (DELETE, {"entity": "Tag"}, "session.execute(delete(Tag).where(Tag.id.in_(keys)))"),
        (DELETE, {}, "session.execute(delete(tags).where(tags.c.id.in_(keys)))"),
        ('DELETE FROM "tags" WHERE "number" = ?', {}, "session.execute(delete(tags).where(tags.c.number.in_(keys)))"),
        (INSERT, {"foreign": True}, "cursor.executemany(statement, rows)  # 500 rows at a time"),
    ],
)
def test_the_suggestion_fits_the_statement(text, fields, suggestion):
    """In the names of the application where they are known."""
    assert [found.suggestion for found in judge(writes(8, text, **fields))] == [suggestion]


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        (
            INSERT,
            "session.execute(insert(tags), rows)  # a list of dictionaries, 50 at a time, from a generator; batches",
        ),
        (DELETE, "session.execute(delete(tags).where(tags.c.id.in_(keys)))"),
    ],
)
def test_very_many_rows_are_streamed_in_batches(text, suggestion):
    """From how many on, and how many at a time, are settings; below, it is one batch."""
    rule = RowByRowWrite(Settings(write_batch_size=50, write_stream_threshold=20))
    (many,) = rule.complete(make_window(writes(20, text)))
    assert many.suggestion.startswith(suggestion)
    (fewer,) = rule.complete(make_window(writes(19, text)))
    assert "generator" not in fewer.suggestion


@pytest.mark.parametrize(
    ("count", "duration", "window", "severities"),
    [
        (4, 0.003, 1.0, []),
        (5, 0.003, 1.0, ["warning"]),
        (10, 0.010, 9.0, ["error"]),
        (10, 0.003, 0.1, ["error"]),
        (10, 0.003, 1.0, ["warning"]),
        (5, 0.001, 9.0, ["info"]),
    ],
)
def test_severity_follows_number_and_time(count, duration, window, severities):
    """The table of the docstring."""
    assert [found.severity for found in judge(writes(count, duration=duration), window)] == severities


def test_the_threshold_is_a_setting():
    """From two on."""
    assert judge(writes(5), row_by_row_write_threshold=6) == []
    assert [found.threshold for found in judge(writes(6), row_by_row_write_threshold=6)] == [6.0]


@pytest.mark.parametrize(
    ("flushes", "rows", "count"), [(1, 200, 0), (4, 20, 0), (5, 1, 5), (8, 3, 24), (5, 50, 0)], ids=str
)
def test_many_flushes_are_a_loop_and_one_is_none(flushes, rows, count):
    """One flush that cannot be batched, flushes of 50 rows and more: nobody asked row by row."""
    assert [found.count for found in judge(flushed(flushes, rows))] == ([count] if count else [])


def test_a_read_that_triggers_the_flushes_is_named():
    """The line that reads is innocent."""
    operations = flushed(8, 1)
    for operation in operations:
        operation.autoflush = True
    (found,) = judge(operations)
    assert "session.no_autoflush" in found.description


@pytest.mark.parametrize(
    "operations",
    [
        writes(20, batch_size=20),
        writes(20, affected=20),
        writes(20, affected=0, error_type="IntegrityError"),
        writes(20, allowed=frozenset({"row_by_row_write"})),
        writes(20, UPDATE, every=0.5),
        loop(20),
    ],
    ids=["executemany", "many rows", "errors", "allowed", "heartbeat", "reads"],
)
def test_leaves_alone_what_has_a_reason(operations):
    """Each of these repeats rightly, or is another fault."""
    assert judge(operations, 60.0) == []


def test_writes_with_long_pauses_are_told_as_info():
    """A loop between calls of another service, and one that waits more than a second each time."""
    assert [found.severity for found in judge(writes(20, every=1.5), 60.0)] == ["info"]
    calls = writes(10, UPDATE, every=0.2, duration=0.0005)
    for number, operation in enumerate(calls):
        operation.values = {0: 7, 1: number}
    assert [found.severity for found in judge(calls, 2.0)] == ["info"]


def test_one_row_that_is_updated_again_and_again_is_a_heartbeat():
    """By the values behind WHERE; another row each time is a loop, however evenly it runs."""
    beats, rows = writes(30, UPDATE, every=0.5), writes(30, UPDATE, every=0.5)
    for number, (beat, row) in enumerate(zip(beats, rows, strict=True)):
        beat.values = {0: number, 1: 7}
        row.values = {0: 7, 1: number}
    assert judge(beats, 60.0) == []
    assert [found.count for found in judge(rows, 60.0)] == [30]


def test_leaves_alone_rows_with_a_savepoint_each():
    """Each of them may fail."""
    operations = []
    for number in range(10):
        at = number / 10
        operations += [one("SAVEPOINT a", at=at), one(INSERT, at=at + 0.01, parameters=number)]
    assert judge(operations) == []
    assert [found.count for found in judge(operations[1:])] == [10]
