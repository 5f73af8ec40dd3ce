"""Each fault that a plan can show, on each database that shows it, and the same query without the fault."""

# ruff: noqa: E501 - a table of queries

from __future__ import annotations

import dataclasses

import pytest

import dbsight
from dbsight.plans.explain import explain

JOINED = "SELECT count(*) FROM orders AS a JOIN orders AS b ON b.total = a.id"
BY_KEY = "SELECT count(*) FROM orders AS a JOIN orders AS b ON b.id = a.total WHERE a.id < 3"
SKEWED = "SELECT count(*) FROM customers AS c JOIN skewed AS s ON s.key_1 = c.id WHERE c.name = 'customer {}'"
WIDE = "SELECT * FROM orders ORDER BY status, total"
FEW = "SELECT * FROM orders WHERE id < 20 ORDER BY status, total"
HASHED = "SELECT count(*) FROM orders AS a JOIN orders AS b ON b.status = a.status AND b.total = a.total"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of plans on one database.

    Attributes:
        name: What the analyzer calls it.
        system: The database.
        sql: A query that has it.
        without: One that does not.
        settings: For both.
        analyze: It is measured.
        advice: A part of what is recommended.
    """

    name: str
    system: str
    sql: str
    without: str
    settings: tuple[str, ...] = ()
    analyze: bool = False
    advice: str = ""


LOOPS = ("SET enable_hashjoin = off", "SET enable_mergejoin = off", "SET enable_material = off")
SELECTIVE = ("SELECT * FROM orders WHERE customer_id = 7", "SELECT * FROM orders WHERE id = 7")
GROUPED = ("SELECT total, count(*) FROM orders GROUP BY total", "SELECT id, count(*) FROM orders GROUP BY id")
THRICE = "(SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3)"
FAULTS = [
    *(
        Fault("selective_filter", system, *SELECTIVE, advice="ix_orders_customer_id ON orders (customer_id)")
        for system in ("sqlite", "postgresql", "mariadb")
    ),
    Fault("selective_filter", "mysql", *SELECTIVE, advice="ix_orders_customer_id ON orders (`customer_id`)"),
    Fault(
        "misestimated_rows",
        "postgresql",
        "SELECT * FROM orders WHERE status = 'open' AND (id - 1) % 50 = 0 AND total % 50 = 0",
        "SELECT * FROM orders WHERE status = 'open'",
        analyze=True,
        advice="ANALYZE orders",
    ),
    Fault(
        "misestimated_rows", "mariadb", SKEWED.format(0), SKEWED.format(7), analyze=True, advice="ANALYZE TABLE skewed"
    ),
    Fault("sort_spill", "postgresql", WIDE, FEW, ("SET work_mem = '64kB'",), analyze=True, advice="SET work_mem"),
    Fault(
        "sort_spill",
        "mariadb",
        *(WIDE, FEW, ("SET sort_buffer_size = 1024",)),
        analyze=True,
        advice="SET sort_buffer_size",
    ),
    Fault(
        "hash_spill",
        "postgresql",
        *(HASHED, f"{HASHED} WHERE a.id < 9"),
        ("SET work_mem = '64kB'", "SET enable_mergejoin = off"),
        analyze=True,
        advice="SET work_mem",
    ),
    Fault("temp_btree", "sqlite", *GROUPED, advice="An index on the columns of GROUP BY"),
    Fault("temp_btree", "sqlite", "SELECT DISTINCT total FROM orders", "SELECT DISTINCT id FROM orders"),
    Fault("temp_table", "postgresql", *(f"WITH o AS {how} (SELECT * FROM orders) SELECT * FROM o a, o b WHERE a.id = b.total" for how in ("MATERIALIZED", "NOT MATERIALIZED"))),
    Fault("temp_table", "mariadb", f"{GROUPED[0]} ORDER BY 2", GROUPED[1]),
    Fault("temp_table", "mysql", *GROUPED),
    Fault("large_nested_loop", "postgresql", f"SELECT count(*) FROM orders, customers c, {THRICE} v WHERE c.id > total", BY_KEY, LOOPS, analyze=True),
    Fault("large_nested_loop", "mariadb", f"SELECT count(*) FROM orders o JOIN customers c ON c.id = o.customer_id CROSS JOIN {THRICE} v", BY_KEY, analyze=True),
    Fault("large_nested_loop", "mysql", f"SELECT STRAIGHT_JOIN count(*) FROM {THRICE} v JOIN orders o JOIN customers c ON c.id = o.customer_id", BY_KEY),
    Fault("automatic_index", "sqlite", JOINED.replace("a.id", "a.total"), BY_KEY, advice="ON orders (total)"),
    Fault("filter_after_index", "postgresql", "SELECT * FROM orders WHERE total < 4000 AND customer_id = 7", "SELECT * FROM orders WHERE total < 4000", ("SET enable_seqscan = off",), analyze=True, advice="ON orders (customer_id, total)"),
    Fault("filter_after_index", "mariadb", "SELECT * FROM orders FORCE INDEX (by_total) WHERE total < 4000 AND customer_id = 7", "SELECT * FROM orders FORCE INDEX (by_total) WHERE total < 4000", analyze=True, advice="ON orders (customer_id, total)"),
    Fault("missing_join_index", "sqlite", JOINED.replace("JOIN", "CROSS JOIN"), BY_KEY, ("PRAGMA automatic_index = OFF",), advice="ON orders (total)"),
    Fault("missing_join_index", "postgresql", f"{JOINED} WHERE a.id < 3", BY_KEY, LOOPS, advice="ON orders (total)"),
    *(Fault("missing_join_index", system, "SELECT count(*) FROM orders AS a JOIN orders AS b ON b.status = a.status WHERE a.id < 3", BY_KEY, advice=f"ON orders ({status})") for system, status in (("mariadb", "status"), ("mysql", "`status`"))),
]  # fmt: skip
INDEXED = ("filter_after_index",)
"""Those whose index is made for the time of the test."""


@pytest.fixture(scope="module")
def prepared(request):
    """The shop of a system with a table whose keys are skewed: one of them has 4000 of 5000 rows."""
    shops = {}

    def shop(system):
        if system not in shops:
            engine = shops[system] = request.getfixturevalue(f"{system}_shop")
            if system == "mariadb":
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    for statement in (
                        "CREATE TABLE skewed (id INT PRIMARY KEY, key_1 INT, KEY by_key (key_1))",
                        "INSERT INTO skewed SELECT id, IF(id <= 4000, 1, id) FROM orders",
                        "ANALYZE TABLE skewed",
                    ):
                        connection.exec_driver_sql(statement)
        return shops[system]

    return shop


def cure(analyzer, name):
    """The setting that is recommended, as it can be pasted."""
    text = max(each.recommendation for each in analyzer.issues if each.name == name)
    return text.partition(" for this query")[0]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: f"{each.system}-{each.name}")
def test_a_fault_is_found_where_it_is(prepared, fault):
    """With what to do about it, and not in the query beside it."""
    engine = prepared(fault.system)
    with engine.connect() as connection:
        if fault.name in INDEXED:
            connection.exec_driver_sql("CREATE INDEX by_total ON orders (total)")
        for setting in fault.settings:
            connection.exec_driver_sql(setting)
        if fault.system in ("mariadb", "mysql"):
            connection.rollback()
        analyzers = []
        try:
            for sql in (fault.sql, fault.without):
                plan = explain(sql, connection, analyze=fault.analyze, timeout=60)
                analyzers.append(dbsight.ExplainAnalyzer(plan))
                if fault.system == "mariadb":
                    connection.commit()
            if fault.name.endswith("_spill"):
                connection.exec_driver_sql(cure(analyzers[0], fault.name))
                connection.rollback() if fault.system == "mariadb" else None
                plan = explain(fault.sql, connection, analyze=True)
                assert fault.name not in dbsight.ExplainAnalyzer(plan).labels
        finally:
            if fault.name in INDEXED and fault.system == "mariadb":
                connection.exec_driver_sql("DROP INDEX by_total ON orders")
            connection.rollback()
            connection.invalidate()
    found, other = analyzers
    issues = [each for each in found.issues if each.name == fault.name]
    assert issues, (found.labels, str(found.plan))
    assert fault.name not in other.labels, str(other.plan)
    assert any(fault.advice in each.recommendation for each in issues), [each.recommendation for each in issues]
