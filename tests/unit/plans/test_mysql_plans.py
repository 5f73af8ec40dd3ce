"""Plans of MySQL without a server.

Those of ``mysql_plans.json`` were recorded from MySQL 8.0.15 (``tests/integration/plans/record_mysql.py``). Those in
this file have the shapes of the manual and of published plans of newer versions: ``EXPLAIN ANALYZE``, hash joins.
"""

import json
from pathlib import Path

import pytest

from dbsight import statement
from dbsight.model import Plan, PlanNode
from dbsight.plans import mysql
from dbsight.plans.issues import ExplainAnalyzer
from dbsight.plans.rendering import as_tree

RECORDED = json.loads((Path(__file__).parent / "mysql_plans.json").read_text())["plans"]

SORTED = """
{"query_block": {"select_id": 1, "cost_info": {"query_cost": "424.70"},
 "ordering_operation": {"using_filesort": true, "cost_info": {"sort_cost": "222.20"},
  "table": {"table_name": "orders", "access_type": "ALL", "rows_examined_per_scan": 2000,
   "rows_produced_per_join": 22, "filtered": "1.11",
   "cost_info": {"read_cost": "180.28", "eval_cost": "2.22", "prefix_cost": "202.50", "data_read_per_join": "6K"},
   "used_columns": ["id", "status"], "attached_condition": "(`shop`.`orders`.`status` = 'secret')"}}}}
"""
JOINED = """
{"query_block": {"select_id": 1, "cost_info": {"query_cost": "74.32"},
 "nested_loop": [
  {"table": {"table_name": "orders", "access_type": "ALL", "rows_examined_per_scan": 31,
    "rows_produced_per_join": 2, "filtered": "8.10", "cost_info": {"prefix_cost": "3.35"}}},
  {"table": {"table_name": "customers", "access_type": "eq_ref", "possible_keys": ["PRIMARY"], "key": "PRIMARY",
    "used_key_parts": ["id"], "key_length": "4", "ref": ["shop.orders.customer_id"], "rows_examined_per_scan": 1,
    "rows_produced_per_join": 2, "filtered": "100.00", "cost_info": {"prefix_cost": "4.10"}}}]}}
"""
HASHED = """
{"query_block": {"union_result": {"using_temporary_table": true, "select_id": 3, "table_name": "<union1,2>",
 "access_type": "ALL", "query_specifications": [
  {"dependent": false, "cacheable": true, "query_block": {"select_id": 1, "cost_info": {"query_cost": "1.60"},
   "grouping_operation": {"using_temporary_table": true, "using_filesort": false, "nested_loop": [
    {"table": {"table_name": "customers", "access_type": "ALL", "rows_examined_per_scan": 1, "filtered": "100.00",
      "cost_info": {"prefix_cost": "0.35"}}},
    {"table": {"table_name": "orders", "access_type": "ALL", "rows_examined_per_scan": 10, "filtered": "10.00",
      "using_join_buffer": "hash join", "cost_info": {"prefix_cost": "1.60"},
      "attached_condition": "(`shop`.`orders`.`customer_id` = `shop`.`customers`.`id`)"}}]}}}]}}}
"""
FILTERED = """
-> Sort: orders.created_at  (cost=202.50 rows=2000) (actual time=1.507..1.698 rows=19 loops=1)
    -> Filter: (orders.`status` = 'secret')  (cost=202.50 rows=22) (actual time=0.028..0.947 rows=19 loops=1)
        -> Table scan on orders  (cost=202.50 rows=2000) (actual time=0.027..0.602 rows=2000 loops=1)
"""
AGGREGATED = """
-> Table scan on <temporary>  (actual time=0.258..0.259 rows=4 loops=1)
    -> Aggregate using temporary table  (actual time=0.258..0.258 rows=4 loops=1)
        -> Inner hash join (o.customer_id = c.id)  (cost=19.2e+6 rows=40) (actual time=0.131..0.165 rows=100 loops=1)
            -> Table scan on o  (cost=0.313 rows=100) (actual time=0.092..0.112 rows=100 loops=1)
            -> Hash
                -> Table scan on c  (cost=0.65 rows=4) (never executed)
"""
LOOKED_UP = """
-> Nested loop inner join  (cost=4.95 rows=9) (actual time=0.153..25.2 rows=35000 loops=1)
    -> Index range scan on o using ix_total over (10 < total), with index condition: (o.total > 10)  (cost=2.42 rows=9) (actual time=0.03..0.9 rows=35000 loops=1)
    -> Single-row index lookup on c using PRIMARY (id=o.customer_id)  (cost=0.72 rows=1) (actual time=895e-6..0.002 rows=1 loops=35000)
"""  # noqa: E501 - one line per node


def plan_of(text, sql="SELECT 1"):
    """The plan that a text is."""
    plan = Plan(statement.read(sql, "mysql"), PlanNode("unknown"))
    if text.lstrip().startswith("{"):
        mysql.read(json.loads(text), plan)
    else:
        mysql.read_tree(text, plan)
    return plan


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (SORTED, ["selective_filter", "seq_scan", "sort"]),
        (JOINED, ["index_scan", "nested_loop", "seq_scan"]),
        (HASHED, ["hash_join", "seq_scan", "temp_table"]),
        (FILTERED, ["misestimated_rows", "selective_filter", "seq_scan", "sort"]),
        (AGGREGATED, ["hash_join", "seq_scan", "temp_table"]),
        (LOOKED_UP, ["index_scan", "large_nested_loop", "misestimated_rows", "nested_loop"]),
    ],
    ids=["sorted", "joined", "hashed", "filtered", "aggregated", "looked up"],
)
def test_a_plan_has_its_labels(text, labels):
    """Both formats of MySQL, what the plan does and what is wrong."""
    assert ExplainAnalyzer(plan_of(text)).labels == labels


def test_the_filter_of_a_tree_belongs_to_its_scan():
    """Rows after the filter, rows that it removed, and the time of both."""
    plan = plan_of(FILTERED)
    (scan,) = plan.root.children
    assert (scan.operation, scan.table, scan.kind) == ("Table scan", "orders", "seq_scan")
    assert (scan.actual_rows, scan.removed_rows, scan.table_rows, scan.loops) == (19, 1981, 2000, 1)
    assert scan.time == pytest.approx(0.947e-3)
    assert (plan.analyzed, plan.execution_time) == (True, pytest.approx(1.698e-3))


def test_costs_and_rows_are_numbers():
    """MySQL writes them as text; what it does not say is None."""
    plan = plan_of(JOINED)
    outer, inner = plan.root.children
    assert (plan.cost, outer.cost, inner.cost) == (74.32, 3.35, 4.1)
    assert outer.estimated_rows == pytest.approx(2.511)
    assert (inner.index, inner.condition, inner.actual_rows) == ("PRIMARY", "id = shop.orders.customer_id", None)
    assert (plan.analyzed, plan.execution_time) == (False, None)


@pytest.mark.parametrize("text", [SORTED, FILTERED])
def test_literals_are_hidden_and_the_index_is_named(text):
    """In the tree, and in the recommendation, which is a statement that can be pasted."""
    plan = plan_of(text, "SELECT * FROM orders WHERE status = ? ORDER BY created_at")
    assert "secret" not in as_tree(plan)
    assert any(
        each.startswith("CREATE INDEX ix_orders_status ON orders") for each in ExplainAnalyzer(plan).recommendations
    )


def in_the_table(rows):
    """What the server's own table says: how each table is read, by which indexes, and how many rows it expects."""
    for table, access, key, examined, filtered in rows:
        if table is not None and not table.startswith("<union"):
            whole = "other" if table.startswith("<") else "seq_scan"
            kind = whole if access == "ALL" else "index_scan"
            yield table, sorted(key.split(",")) if key else [], kind, float(examined or 0) * float(filtered) / 100


def in_the_plan(plan):
    """The same of the nodes of a plan; the indexes of a merge are nodes below."""
    for node in plan.nodes():
        if node.table:
            merged = [each.index for each in node.children if each.kind == "index_scan" and not each.table]
            yield node.table, sorted([node.index] if node.index else merged), node.kind, node.estimated_rows or 0.0


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: each["name"])
def test_a_recorded_plan_says_what_the_server_says_in_its_table(recorded):
    """The same server described the same plan as a table: that is the judge of how its JSON is read."""
    plan = Plan(statement.read(recorded["sql"], "mysql"), PlanNode("unknown"))
    mysql.read(recorded["plan"], plan)
    found, expected = sorted(in_the_plan(plan)), sorted(in_the_table(recorded["table"]))
    assert [each[:3] for each in found] == [each[:3] for each in expected]
    # The table rounds the share of rows to hundredths of a percent.
    assert [each[3] for each in found] == [pytest.approx(each[3], rel=0.02, abs=1.0) for each in expected]
    assert "user77@" not in as_tree(plan)


def test_most_recorded_plans_that_lack_an_index_say_so():
    """Of those that were recorded with an index, too: the analyzer names the lack before, and nothing after.

    MySQL expects a third of the rows of any range, and so do we where it has no histogram: those stay unnamed.
    """
    lacking = {"selective_filter", "missing_join_index", "automatic_index"}
    before, after = [], []
    for each in RECORDED:
        plan = Plan(statement.read(each["sql"], "mysql"), PlanNode("unknown"))
        mysql.read(each["plan"], plan)
        warned = lacking & set(ExplainAnalyzer(plan).labels)
        if each["name"].endswith(", indexed"):
            after.append((each["name"], warned))
        elif any(other["name"] == f"{each['name']}, indexed" for other in RECORDED):
            before.append((each["name"], warned))
    assert len(before) == len(after) == 55
    assert sum(bool(warned) for _, warned in before) >= 36
    assert [each for each in after if each[1]] == []
