"""Plans of MySQL: ``EXPLAIN FORMAT=JSON``, and the tree of ``EXPLAIN ANALYZE`` (MySQL 8.0.18 and newer)."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from dbsight.model import PlanNode
from dbsight.plans.errors import ExplainError, ExplainRefusedError
from dbsight.plans.mysql_functions import check_functions
from dbsight.plans.mysql_json import read_block
from dbsight.plans.options import quoted
from dbsight.plans.predicates import aliases, resolve
from dbsight.plans.quoting import has_ansi_quotes, read_json, with_readable_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import Plan, PlanKind
    from dbsight.plans.options import Options, Session

_NUMBER: Final = r"[\d.]+(?:e[+-]?\d+)?"
_LINE: Final = re.compile(
    rf"(?P<indent> *)-> (?P<what>.*?)"
    rf"(?:  \(cost=(?:{_NUMBER}\.\.)?(?P<cost>{_NUMBER}) rows=(?P<rows>{_NUMBER})\))?"
    rf"(?: +\(actual time={_NUMBER}\.\.(?P<time>{_NUMBER}) rows=(?P<actual>{_NUMBER}) loops=(?P<loops>\d+)\)"
    r"|  \(never executed\))?\s*"
)
_ACCESS: Final = re.compile(
    r"(?P<how>.*?(?:scan|lookup|search)) on (?P<table>\S+)(?: using (?P<index>\S+))?(?P<rest>.*)", re.IGNORECASE
)
_KINDS: Final[tuple[tuple[str, PlanKind], ...]] = (
    ("nested loop", "nested_loop"),
    ("hash join", "hash_join"),
    ("sort", "sort"),
    ("temporary table", "temp_table"),
    ("materialize", "temp_table"),
)


@contextmanager
def read_only_transaction(session: Session, text: str, plan: Plan, options: Options) -> Iterator[None]:
    """A transaction that is rolled back, and read only where something is executed that should only read.

    MySQL and MariaDB explain no writes in a read-only transaction. And they begin none inside another: what should run
    in the caller's is not executed.
    """
    writes = (options.analyze and options.rollback) or (not options.analyze and plan.statement.kind != "select")
    if options.analyze and not writes and session.in_transaction:
        raise ExplainRefusedError(
            "analyze needs a read-only transaction, and this connection is in another: pass the engine instead"
        )
    if options.analyze and writes:
        _check_engines(session, plan)
    with session.transaction():
        check_functions(session, text, options)
        if not writes and not session.in_transaction:
            session.rows("START TRANSACTION READ ONLY")
        yield


def _check_engines(session: Session, plan: Plan) -> None:
    """Refuse tables of engines without transactions (MyISAM, Aria), in which nothing is rolled back."""
    names = {target.rpartition(".")[2] for target in plan.statement.targets}
    if any("\\" in name for name in names):
        raise ExplainRefusedError("a table's name with a backslash in it cannot be looked up safely")
    if not names:
        return
    listed = ", ".join(quoted(name) for name in sorted(names))
    rows = session.rows(
        "SELECT t.table_name FROM information_schema.tables AS t"  # noqa: S608 - quoted above
        " LEFT JOIN information_schema.engines AS k ON k.engine = t.engine"
        f" WHERE t.table_type <> 'VIEW' AND t.table_name IN ({listed}) AND coalesce(k.transactions, '') <> 'YES'"
    )
    if rows:
        raise ExplainRefusedError(f"{rows[0][0]} is in a storage engine without transactions: nothing is rolled back")


_ANALYZES: Final = (8, 0, 18)
_LIMITS: Final = ("max_execution_time", "lock_wait_timeout", "innodb_lock_wait_timeout")


def explain(session: Session, text: str, parameters: Any, options: Options, plan: Plan) -> None:
    """Ask for the plan; the session's limits are put back afterwards."""
    if options.analyze:
        _check_version(session)
    before = session.rows(f"SELECT {', '.join(f'@@SESSION.{name}' for name in _LIMITS)}")[0]
    wait = math.ceil(options.lock_timeout)
    try:
        _set(session, (options.timeout_ms, wait, wait))
        with read_only_transaction(session, text, plan, options):
            if options.analyze:
                rows = session.rows(f"EXPLAIN ANALYZE {text}", parameters)
            else:
                rows = session.rows(f"EXPLAIN FORMAT=JSON {text}", parameters)
    finally:
        _set(session, before)
    if not rows:
        raise ExplainError("the database returned no plan")
    if options.analyze:
        read_tree(str(rows[0][0]), plan)
    else:
        read(read_json(rows[0][0]), plan)
    if has_ansi_quotes(session):
        with_readable_names(plan)
    resolve(plan, aliases(text, plan.statement))


def _check_version(session: Session) -> None:
    """Say so where the server is too old to execute what it explains."""
    ((version,),) = session.rows("SELECT VERSION()")
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", str(version))
    if numbers and tuple(map(int, numbers.groups())) < _ANALYZES:
        raise ExplainError(f"MySQL has EXPLAIN ANALYZE since 8.0.18, and this is {numbers[0]}: explain without analyze")


def _set(session: Session, values: Any) -> None:
    session.rows(
        "SET " + ", ".join(f"SESSION {name} = {int(value)}" for name, value in zip(_LIMITS, values, strict=True))
    )


def read(answer: dict[str, Any], plan: Plan) -> None:
    """Fill a plan from what ``EXPLAIN FORMAT=JSON`` returns."""
    plan.root = read_block(answer["query_block"])


def read_tree(text: str, plan: Plan) -> None:
    """Fill a plan from the lines of ``EXPLAIN ANALYZE``, or of ``EXPLAIN FORMAT=TREE``."""
    path: list[tuple[int, PlanNode]] = []
    top: list[PlanNode] = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if not found:
            continue
        node = _node(found)
        depth = len(found["indent"])
        while path and path[-1][0] >= depth:
            path.pop()
        (path[-1][1].children if path else top).append(node)
        path.append((depth, node))
    if not top:
        raise ExplainError("the database returned no plan")
    plan.root = _fold(top[0]) if len(top) == 1 else PlanNode("QUERY", children=[_fold(node) for node in top])
    plan.analyzed = any(node.loops is not None for node in plan.nodes())
    plan.execution_time = plan.root.time


def _float(value: str | None) -> float | None:
    return float(value) if value else None


def _node(found: re.Match[str]) -> PlanNode:
    what = found["what"]
    time = _float(found["time"])
    node = PlanNode(
        what.partition(":")[0],
        estimated_rows=_float(found["rows"]),
        actual_rows=_float(found["actual"]),
        loops=_float(found["loops"]),
        cost=_float(found["cost"]),
        time=None if time is None else time / 1e3,
    )
    access = _ACCESS.fullmatch(what)
    if access and access["table"] != "<temporary>":
        node.operation = access["how"]
        node.table, node.index = access["table"].strip("`"), access["index"]
        node.condition = access["rest"].strip(" ,()") or None
        node.kind = "seq_scan" if access["how"].lower() == "table scan" else "index_scan"
        return node
    if what.startswith("Filter: "):
        node.filter = what.removeprefix("Filter: ")
        return node
    lowered = what.lower()
    node.kind = next((kind for word, kind in _KINDS if word in lowered.partition(":")[0]), "other")
    operation, bracket, rest = what.partition(" (")
    if node.kind in ("hash_join", "nested_loop") and bracket:
        node.operation, node.condition = operation, rest.rstrip(")")
    elif node.kind == "sort":
        node.keys = tuple(what.partition(": ")[2].split(", "))
    return node


def _fold(node: PlanNode) -> PlanNode:
    """Put a filter into the scan that it filters, as the other databases show it."""
    node.children = [_fold(child) for child in node.children]
    if node.operation != "Filter" or len(node.children) != 1 or not node.children[0].table:
        return node
    (scan,) = node.children
    if scan.filter:
        return node
    scan.filter = node.filter
    if scan.kind == "seq_scan":
        scan.table_rows = scan.estimated_rows
    if node.actual_rows is not None and scan.actual_rows is not None:
        scan.removed_rows = scan.actual_rows - node.actual_rows
    scan.estimated_rows, scan.actual_rows, scan.time = node.estimated_rows, node.actual_rows, node.time
    return scan
