"""Plans of PostgreSQL: ``EXPLAIN (FORMAT JSON)``."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dbsight.model import PlanNode
from dbsight.plans.errors import ExplainError, ExplainRefusedError
from dbsight.plans.options import quoted
from dbsight.plans.permission import LASTING, called, mentioned

if TYPE_CHECKING:
    from dbsight.model import Plan, PlanKind
    from dbsight.plans.options import Options, Session

_KINDS: Final[dict[str, PlanKind]] = {
    "Seq Scan": "seq_scan",
    "Sample Scan": "seq_scan",
    "Index Scan": "index_scan",
    "Index Only Scan": "index_scan",
    "Bitmap Heap Scan": "index_scan",
    "Bitmap Index Scan": "index_scan",
    "Nested Loop": "nested_loop",
    "Hash Join": "hash_join",
    "Merge Join": "merge_join",
    "Sort": "sort",
    "Incremental Sort": "sort",
    "Materialize": "temp_table",
    "CTE Scan": "temp_table",
}
_CONDITIONS: Final = ("Index Cond", "Hash Cond", "Merge Cond", "Recheck Cond", "TID Cond")
_FILTERS: Final = ("Filter", "Join Filter")
_KEYS: Final = ("Sort Key", "Group Key")
_PAGE: Final = 8192
_PREPARED: Final = "dbsight_explain"

_HARMLESS: Final = frozenset(
    (
        *("random", "random_normal", "setseed", "clock_timestamp", "timeofday", "statement_timestamp"),
        *("gen_random_uuid", "uuidv4", "uuidv7", "uuid_generate_v1", "uuid_generate_v4", "currval", "count"),
        *("pg_relation_size", "pg_total_relation_size", "pg_table_size", "pg_indexes_size", "pg_database_size"),
    )
)
"""Volatile functions without visible side effects."""


def explain(session: Session, text: str, parameters: Any, options: Options, plan: Plan) -> None:
    """Ask for the plan, in a transaction that is read only unless its changes are wanted and rolled back."""
    writes = options.analyze and options.rollback
    with session.transaction():
        session.rows(
            f"SELECT set_config('statement_timeout', '{options.timeout_ms}', true),"
            f" set_config('lock_timeout', '{options.lock_timeout_ms}', true),"
            " set_config('standard_conforming_strings', 'on', true)"
            + ("" if writes else ", set_config('transaction_read_only', 'on', true)")
        )
        if not writes:
            ((read_only,),) = session.rows("SHOW transaction_read_only")
            if read_only != "on":
                raise ExplainRefusedError("the transaction could not be made read only")
        found = _generic(session, text, options) if options.unknown else answer(session, text, parameters)
        if options.analyze:
            _check_functions(session, text, found, rollback=options.rollback)
            found = answer(session, text, parameters, "ANALYZE, BUFFERS")
        read(found, plan)
        _add_table_rows(session, plan)


def answer(session: Session, text: str, parameters: Any = None, more: str = "") -> dict[str, Any]:
    """The one element of what ``EXPLAIN (FORMAT JSON)`` returns, for a text that was checked."""
    rows = session.rows(f"EXPLAIN (FORMAT JSON, VERBOSE{', ' * bool(more)}{more}) {text}", parameters)
    if not rows:
        raise ExplainError("the database returned no plan")
    found = rows[0][0]
    if isinstance(found, (str, bytes)):
        found = json.loads(found)
    first: dict[str, Any] = found[0]
    return first


def _generic(session: Session, text: str, options: Options) -> dict[str, Any]:
    """The plan that serves any values, as servers choose it for prepared statements."""
    session.rows("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
    session.rows(f"PREPARE {_PREPARED} AS {text}")
    try:
        return answer(session, f"EXECUTE {_PREPARED}({', '.join(['NULL'] * options.unknown)})")
    finally:
        with suppress(Exception):  # in a failed transaction; the connection is closed afterwards
            session.rows(f"DEALLOCATE {_PREPARED}")


_SUSPECTS: Final = """
SELECT DISTINCT '()', proname FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
WHERE provolatile = 'v' AND proname IN ({names}) AND NOT (proname IN ({harmless}) AND lanname IN ('internal', 'c'))
UNION SELECT DISTINCT '()', a.proname FROM pg_catalog.pg_aggregate AS g
JOIN pg_catalog.pg_proc AS a ON a.oid = g.aggfnoid
JOIN pg_catalog.pg_proc AS p ON p.oid IN (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggmtransfn, g.aggmfinalfn)
WHERE p.provolatile = 'v' AND a.proname IN ({names})
UNION SELECT 'operator', o.oprname FROM pg_catalog.pg_operator AS o JOIN pg_catalog.pg_proc AS p ON p.oid = o.oprcode
WHERE p.provolatile = 'v'
UNION SELECT CASE c.castcontext WHEN 'i' THEN 'implicit' ELSE 'type' END, t.typname FROM pg_catalog.pg_cast AS c
JOIN pg_catalog.pg_proc AS p ON p.oid = c.castfunc JOIN pg_catalog.pg_type AS t ON t.oid = c.casttarget
WHERE p.provolatile = 'v'
UNION SELECT 'type', t.typname FROM pg_catalog.pg_constraint AS c JOIN pg_catalog.pg_type AS t ON t.oid = c.contypid
JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = c.oid
JOIN pg_catalog.pg_proc AS p ON d.refclassid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.refobjid
WHERE p.provolatile = 'v'
"""
"""Volatile functions of these names, and what calls one without a name: aggregates, operators, casts and domains."""


def _check_functions(session: Session, text: str, answer: dict[str, Any], *, rollback: bool) -> None:
    """Refuse functions that may have side effects: those of the text, and those that views and rules brought in."""
    texts = [text, *_texts(answer)]
    names = {name for value in texts for name in called(value)}
    lasting = next((name for name in names if LASTING.fullmatch(name)), None)
    if lasting:
        raise ExplainRefusedError(f"{lasting}() has effects that a rollback does not undo: explain without analyze")
    if rollback:
        return
    listed = ", ".join(quoted(name) for name in sorted({*names, *map(str.lower, names), ""}))
    found = session.rows(_SUSPECTS.format(names=listed, harmless=", ".join(map(quoted, sorted(_HARMLESS)))))
    words = {word.lower() for value in texts for word in mentioned(value)}
    for kind, name in found:
        if kind in ("()", "implicit") or (any(name in each for each in texts) if kind == "operator" else name in words):
            what = f"{name}()" if kind == "()" else f"the {kind.replace('implicit', 'type')} {name}"
            raise ExplainRefusedError(
                f"analyze executes the statement, and {what} is volatile: it may have side effects."
                " Explain without analyze, or pass rollback=True"
            )


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def read(answer: dict[str, Any], plan: Plan) -> None:
    """Fill a plan from one element of what ``EXPLAIN (FORMAT JSON)`` returns."""
    plan.root = _node(answer["Plan"])
    plan.analyzed = "Actual Rows" in answer["Plan"]
    plan.planning_time = _seconds(answer.get("Planning Time"))
    plan.execution_time = _seconds(answer.get("Execution Time"))


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _first(step: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((step[name] for name in names if step.get(name)), None)


def _node(step: dict[str, Any]) -> PlanNode:
    name = step["Node Type"]
    keys: list[str] = next((step[each] for each in _KEYS if step.get(each)), [])
    return PlanNode(
        operation=f"Parallel {name}" if step.get("Parallel Aware") else name,
        kind=_KINDS.get(name, "other"),
        table=step.get("Relation Name") or step.get("CTE Name"),
        alias=step.get("Alias"),
        index=step.get("Index Name"),
        condition=_first(step, _CONDITIONS),
        filter=_first(step, _FILTERS),
        keys=tuple(keys),
        estimated_rows=step.get("Plan Rows"),
        actual_rows=step.get("Actual Rows"),
        removed_rows=step.get("Rows Removed by Filter", step.get("Rows Removed by Join Filter")),
        loops=step.get("Actual Loops"),
        cost=step.get("Total Cost"),
        time=_seconds(step.get("Actual Total Time")),
        buffers_hit=step.get("Shared Hit Blocks"),
        buffers_read=step.get("Shared Read Blocks"),
        spill=_spill(step),
        children=[_node(each) for each in step.get("Plans", ())],
    )


def _spill(step: dict[str, Any]) -> int | None:
    if step.get("Sort Space Type") == "Disk":
        return int(step["Sort Space Used"]) * 1024
    if step.get("Disk Usage"):
        return int(step["Disk Usage"]) * 1024
    groups = step.get("Full-sort Groups") or {}
    disk = groups.get("Sort Space Disk") or {}
    if disk.get("Peak Sort Space Used"):
        return int(disk["Peak Sort Space Used"]) * 1024
    if step["Node Type"] == "Hash" and step.get("Hash Batches", 1) > 1:
        return int(step.get("Temp Written Blocks", 0)) * _PAGE
    return None


_SIZES: Final = """
WITH RECURSIVE up(leaf, top) AS (
    SELECT oid, oid FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'm') AND relname IN ({names})
    UNION ALL SELECT up.leaf, i.inhparent FROM up JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = up.top
)
SELECT c.relname, max(c.reltuples),
    array_agg(t.relname::text ORDER BY t.relispartition) FILTER (WHERE t.relkind = 'p' AND t.oid <> c.oid)
FROM up JOIN pg_catalog.pg_class AS c ON c.oid = up.leaf JOIN pg_catalog.pg_class AS t ON t.oid = up.top
GROUP BY c.relname
"""


def _add_table_rows(session: Session, plan: Plan) -> None:
    """Sizes of the tables, as the database's statistics have them; -1 there means that it was never analysed.

    And the tables that partitions belong to.
    """
    tables = {node.table for node in plan.nodes() if node.table}
    if not tables:
        return
    rows = session.rows(_SIZES.format(names=", ".join(map(quoted, sorted(tables)))))
    known = {str(table): (float(size), wholes or []) for table, size, wholes in rows}
    named = {target.rpartition(".")[2].strip('"').lower() for target in plan.statement.targets}
    for node in plan.nodes():
        size, wholes = known.get(node.table or "", (-1.0, []))
        node.table_rows = size if size >= 0 else None
        if wholes and (node.table or "").lower() not in named:
            node.partition_of = next((each for each in wholes if each.lower() in named), wholes[0])
