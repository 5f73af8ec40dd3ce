"""The rules write_heavy, hot_table, fan_out and unprepared_repeat."""

import pytest

from builders import make_statement
from dbsight.config import Settings
from dbsight.detect.rules.fan_out import FanOut
from dbsight.detect.rules.hot_table import HotTable
from dbsight.detect.rules.unprepared_repeat import UnpreparedRepeat
from dbsight.detect.rules.write_heavy import WriteHeavy
from dbsight.model import Database, KindTotals, Snapshot, StatementTotals
from dbsight.statement.parameters import hash_parameters
from unit.detect.loops import make_window, one

SHOP = Database("postgresql", "shop")
NONE = hash_parameters(())


def snapshot(kinds, calls=1000, seconds=None):
    """Totals with so many queries by kind, and s by table."""
    statements = [
        StatementTotals(make_statement(f"SELECT id FROM {table}", "postgresql"), SHOP, 9, 0, time, 0.0, 0.0, 0.0, 0)
        for table, time in (seconds or {}).items()
    ]
    return Snapshot(
        calls=calls, kinds={kind: KindTotals(count=number) for kind, number in kinds.items()}, statements=statements
    )


@pytest.mark.parametrize(
    ("kinds", "calls", "found"),
    [
        ({"insert": 501, "select": 499}, 1000, 1),
        ({"insert": 300, "update": 300, "delete": 10, "select": 390}, 1000, 1),
        ({"update": 5000}, 5000, 1),
        ({"insert": 500, "select": 500}, 1000, 0),
        ({"insert": 999}, 999, 0),
        ({"select": 5000}, 5000, 0),
        ({"insert": 40, "transaction": 4000, "select": 960}, 1000, 0),
    ],
)
def test_a_workload_of_which_more_than_half_writes_is_named(kinds, calls, found):
    """From a thousand queries on."""
    findings = list(WriteHeavy(Settings()).examine(snapshot(kinds, calls)))
    assert [each.severity for each in findings] == ["info"] * found


@pytest.mark.parametrize(
    ("seconds", "calls", "tables"),
    [
        ({"orders": 6.0, "customers": 2.0, "stock": 1.0}, 1000, ["orders"]),
        ({"orders": 0.8, "customers": 0.2, "stock": 0.1}, 5000, ["orders"]),
        ({"log": 51.0, "orders": 13.0, "customers": 12.0, "stock": 12.0, "lines": 12.0}, 5000, ["log"]),
        ({"orders": 5.0, "customers": 4.0, "stock": 1.0}, 1000, []),
        ({"orders": 9.0, "customers": 1.0}, 1000, []),
        ({"orders": 6.0, "customers": 2.0, "stock": 1.0}, 999, []),
        ({"orders": 0.6, "customers": 0.2, "stock": 0.1}, 1000, []),
    ],
)
def test_a_table_that_takes_more_than_half_of_the_time_is_named(seconds, calls, tables):
    """Of three or more, and of a second or more."""
    findings = list(HotTable(Settings()).examine(snapshot({}, calls, seconds)))
    assert [each.title.rpartition(" ")[2] for each in findings] == tables


def different(number, **fields):
    """Queries for so many tables."""
    return [one(f"SELECT id FROM table_{place} WHERE id = ?", at=place * 0.001, **fields) for place in range(number)]


@pytest.mark.parametrize(
    ("operations", "severities"),
    [
        (different(100), ["info"]),
        (different(200), ["warning"]),
        ([*different(90), *different(90)[:10]], ["info"]),
        (different(99), []),
        ([one("SELECT id FROM a WHERE id = ?", at=place * 0.001) for place in range(500)], []),
        ([*different(60), *different(1) * 300], []),
        (different(300, allowed=frozenset({"fan_out"})), []),
        (different(300, database=Database("redis")), []),
    ],
    ids=["many", "very many", "some again", "few", "a loop", "a loop among few", "allowed", "key-value store"],
)
def test_a_request_with_very_many_queries_is_named_unless_they_are_a_loop(operations, severities):
    """Each query counts five times at most; scripts are left alone."""
    rule = FanOut(Settings())
    assert [each.severity for each in rule.complete(make_window(operations))] == severities
    assert list(rule.complete(make_window(operations, request=False))) == []


def written(number, text="SELECT name FROM customers WHERE id = {}", **fields):
    """A query with so many values in its text."""
    options = {"parameters": NONE, **fields}
    return [one(text.format(place), at=place * 0.001, **options) for place in range(number)]


@pytest.mark.parametrize(
    ("operations", "found"),
    [
        (written(10), 1),
        (written(40, "SELECT name FROM customers WHERE name = 'customer {}'"), 1),
        (written(12, "UPDATE stock SET pieces = {} WHERE id = 1"), 1),
        (written(12, "DELETE FROM stock WHERE id = {}"), 1),
        (written(15, "SELECT name FROM customers WHERE id = {} AND status = 'new'"), 1),
        (written(9), 0),
        (written(56, "UPDATE alembic_version SET version_num='{0}a' WHERE alembic_version.version_num = '{0}'"), 0),
        (written(40, "SELECT name FROM customers WHERE status = 'new'"), 0),
        (written(40, parameters=7), 0),
        (written(40, foreign=True), 0),
        (written(40, "INSERT INTO stock VALUES ({})"), 0),
        (written(40, allowed=frozenset({"unprepared_repeat"})), 0),
        ([one("SELECT name FROM customers WHERE id = ?", parameters=place) for place in range(40)], 0),
    ],
)
def test_a_query_with_values_in_its_text_is_named(operations, found):
    """From ten texts on."""
    findings = list(UnpreparedRepeat(Settings()).complete(make_window(operations)))
    assert [each.severity for each in findings] == ["warning"] * found
    assert all("'customer" not in each.suggestion and ":value" in each.suggestion for each in findings)
