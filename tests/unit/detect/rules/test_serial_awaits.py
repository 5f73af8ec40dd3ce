"""The rules serial_awaits and unbounded_fetch on windows made by hand."""

import pytest

from dbsight.config import Settings
from dbsight.detect.rules.serial_awaits import SerialAwaits
from dbsight.detect.rules.unbounded_fetch import UnboundedFetch
from dbsight.statement.parameters import hash_parameters
from unit.detect.loops import make_window, one

NONE = hash_parameters(())
ORDERS, REVIEWS, STOCK = (f"SELECT count(*) FROM {table}" for table in ("orders", "reviews", "stock"))


def awaited(text, at, duration=0.1, parameters=NONE, **fields):
    """One awaited query."""
    operation = one(text, at=at, duration=duration, parameters=parameters, **fields)
    operation.asynchronous = fields.get("asynchronous", True)
    return operation


def serial(*texts, duration=0.1, gap=0.001, **fields):
    """Queries that are awaited one after the other."""
    return [awaited(text, number * (duration + gap), duration, **fields) for number, text in enumerate(texts)]


def judge(operations, duration=0.5, *, request=True, rule=SerialAwaits, **settings):
    """What the rule finds."""
    return list(rule(Settings(**settings)).complete(make_window(operations, duration, request=request)))


@pytest.mark.parametrize(
    "operations",
    [
        serial(ORDERS, REVIEWS),
        serial(ORDERS, REVIEWS, STOCK),
        serial(f"{ORDERS} WHERE owner = ?", f"{REVIEWS} WHERE owner = ?", parameters=41),
        [awaited(f"{ORDERS} WHERE owner = ?", 0.0, parameters=41), awaited(REVIEWS, 0.101)],
        [*serial(ORDERS, REVIEWS), awaited("INSERT INTO log VALUES (?)", 0.3, 0.001, 5)],
        [awaited("BEGIN", 0.0, 0.001), *serial(ORDERS, REVIEWS), awaited("ROLLBACK", 0.3, 0.001)],
    ],
    ids=["two", "three", "of one user", "with and without", "before a write", "in transactions"],
)
def test_detects_independent_reads_one_after_the_other(operations):
    """What they would save is the time of all but the longest."""
    (found,) = judge(operations)
    reads = [each for each in operations if each.statement.kind == "select"]
    assert (found.severity, found.count) == ("warning", len(reads))
    assert found.impact == pytest.approx(0.1 * (len(reads) - 1))


@pytest.mark.parametrize(
    "operations",
    [
        [awaited(ORDERS, 0.0), awaited(f"{REVIEWS} WHERE id = ?", 0.101, parameters=99)],
        [awaited(ORDERS, 0.0), awaited(REVIEWS, 0.05)],
        [awaited(ORDERS, 0.0), awaited(REVIEWS, 0.4)],
        serial(ORDERS, REVIEWS, duration=0.04),
        serial(ORDERS, REVIEWS, asynchronous=False),
        serial(ORDERS, ORDERS, ORDERS),
        [awaited(ORDERS, 0.0), awaited("UPDATE orders SET seen = 1", 0.101), awaited(REVIEWS, 0.202)],
        serial(ORDERS, REVIEWS, allowed=frozenset({"serial_awaits"})),
        serial(ORDERS, REVIEWS, parameters=None),
    ],
    ids=[
        *("depends on the first", "gathered", "other work between", "little to gain", "threads", "one query"),
        *("written between", "allowed", "unknown"),
    ],
)
def test_leaves_alone_what_depends_overlaps_or_is_short(operations):
    """Or cannot be told."""
    assert judge(operations) == []


def test_severity_follows_what_would_be_saved_and_where():
    """A second in a request is an error; a script has nobody who waits; a tenth of the request is the least."""
    assert judge(serial(ORDERS, REVIEWS, duration=1.1), 2.3)[0].severity == "error"
    assert judge(serial(ORDERS, REVIEWS), request=False)[0].severity == "info"
    assert judge(serial(ORDERS, REVIEWS), 2.0) == []


def large(rows, text="SELECT id, note FROM lines", **fields):
    """One query with so many rows."""
    return one(text, rows=rows, **fields)


@pytest.mark.parametrize(
    ("operation", "severity"),
    [
        (large(10_001), "warning"),
        (large(99_999), "warning"),
        (large(100_000), "error"),
        (large(20_000, "SELECT * FROM lines WHERE kept = ?"), "warning"),
        (large(20_000, "SELECT a.id FROM lines AS a JOIN orders AS o ON o.id = a.order_id"), "warning"),
    ],
)
def test_detects_a_query_that_fetches_very_many_rows(operation, severity):
    """Without LIMIT, into memory."""
    (found,) = judge([operation], rule=UnboundedFetch)
    assert (found.severity, found.current_value, found.threshold) == (severity, operation.rows, 10_000)


def streamed(operation):
    """The same with its rows fetched in parts."""
    operation.streamed = True
    return operation


@pytest.mark.parametrize(
    "operation",
    [
        large(10_000),
        large(50_000, "SELECT id FROM lines LIMIT 50000"),
        large(50_000, "SELECT id FROM lines LIMIT ?"),
        streamed(large(50_000)),
        large(50_000, "SELECT table_name FROM information_schema.columns"),
        large(50_000, allowed=frozenset({"unbounded_fetch"})),
        large(None),
    ],
    ids=["at the limit", "limited", "limited by a parameter", "streamed", "catalogue", "allowed", "unknown"],
)
def test_leaves_alone_what_is_limited_streamed_or_unknown(operation):
    """Whatever the number is."""
    assert judge([operation], rule=UnboundedFetch) == []


def test_the_number_of_rows_can_be_set_and_differs_for_a_table():
    """And outside requests it is for information."""
    assert len(judge([large(60)], rule=UnboundedFetch, max_rows_threshold=50)) == 1
    overrides = {"lines": {"max_rows_threshold": 100_000}}
    assert judge([large(60_000)], rule=UnboundedFetch, overrides=overrides) == []
    assert judge([large(60_000)], rule=UnboundedFetch, request=False)[0].severity == "info"
