"""Plans of SQLite: ``EXPLAIN QUERY PLAN``, which has steps, but neither estimates nor measurements."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from dbsight.model import PlanNode
from dbsight.plans.errors import ExplainRefusedError
from dbsight.plans.permission import called, mentioned
from dbsight.plans.predicates import aliases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbsight.model import Plan
    from dbsight.plans.options import Options, Row, Session

_STEP: Final = re.compile(
    r"(?P<verb>SCAN|SEARCH) (?:TABLE |SUBQUERY )?(?P<name>.+?)(?: AS (?P<alias>\S+))?"
    r"(?: USING (?P<automatic>AUTOMATIC )?(?:PARTIAL )?(?P<covering>COVERING )?"
    r"(?:INDEX ?(?P<index>[^()]*?)|(?P<key>(?:INTEGER )?PRIMARY KEY)))?(?: VIRTUAL TABLE INDEX .*)?"
    r"(?: \((?P<condition>.*)\))?(?: LEFT-JOIN)?"
)
_DETERMINISTIC: Final = 0x800
_OPERATORS: Final = re.compile(r"\b(?:REGEXP|MATCH|LIKE|GLOB)\b|->>?", re.IGNORECASE)
"""Operators that call a function of their name, which an application may have replaced."""

_SAVEPOINT: Final = "dbsight_explain"


def explain(session: Session, text: str, parameters: Any, options: Options, plan: Plan) -> None:
    """Ask for the plan with writing disabled; ``analyze`` also executes the statement, and measures it as a whole."""
    ((query_only,),) = session.rows("PRAGMA query_only")
    ((busy,),) = session.rows("PRAGMA busy_timeout")
    writes = options.analyze and options.rollback
    try:
        session.rows(f"PRAGMA busy_timeout = {options.lock_timeout_ms}")
        if not writes:
            session.rows("PRAGMA query_only = ON")
        steps = session.rows(f"EXPLAIN QUERY PLAN {text}", parameters)
        plan.root = read(steps, aliases(text, plan.statement))
        _add_table_rows(session, plan)
        if options.analyze:
            if not options.rollback:
                _check_functions(session, text)
            with _savepoint(session), _interrupted(session.driver_connection, options.timeout):
                _execute(session, text, parameters, plan)
    finally:
        session.rows(f"PRAGMA query_only = {int(query_only)}")
        session.rows(f"PRAGMA busy_timeout = {int(busy)}")


@contextmanager
def _savepoint(session: Session) -> Iterator[None]:
    # Begins a transaction where there is none; the sqlite3 module begins none in front of WITH … INSERT.
    session.rows(f"SAVEPOINT {_SAVEPOINT}")
    try:
        yield
    finally:
        session.rows(f"ROLLBACK TO {_SAVEPOINT}")
        session.rows(f"RELEASE {_SAVEPOINT}")


@contextmanager
def _interrupted(connection: Any, seconds: float) -> Iterator[None]:
    """Interrupt what runs on this connection once the time is over."""
    connection = getattr(connection, "_conn", connection)  # aiosqlite's own one would have to be awaited
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _execute(session: Session, text: str, parameters: Any, plan: Plan) -> None:
    began = time.perf_counter()
    plan.root.actual_rows = float(session.count(text, parameters))
    plan.root.time = plan.execution_time = time.perf_counter() - began
    plan.root.loops = 1
    plan.analyzed = True


def _check_functions(session: Session, text: str) -> None:
    """Refuse functions of the application's that are not deterministic: they may do anything."""
    texts = _with_views(session, text)
    names = {name.lower() for each in texts for name in called(each)}
    names.update(found.lower() for each in texts for found in _OPERATORS.findall(each))
    own = session.rows("SELECT name, flags FROM pragma_function_list WHERE NOT builtin")
    suspects = sorted({name for name, flags in own if name.lower() in names and not flags & _DETERMINISTIC})
    if suspects:
        raise ExplainRefusedError(
            f"analyze executes the statement, and {suspects[0]}() is a function of the application that is not"
            " deterministic: it may have side effects. Explain without analyze, or pass rollback=True"
        )


def _with_views(session: Session, text: str) -> list[str]:
    """A text, and the definitions of all views that it names, directly or by others, in whichever database they are."""
    views: dict[str, list[str]] = {}
    for (schema,) in session.rows("SELECT name FROM pragma_database_list"):
        quotes = str(schema).replace('"', '""')
        for name, sql in session.rows(f"SELECT name, sql FROM \"{quotes}\".sqlite_master WHERE type = 'view'"):  # noqa: S608 - quoted
            views.setdefault(str(name).lower(), []).append(str(sql))
    texts = [text]
    for each in texts:  # which grows
        for name in {name.lower() for name in mentioned(each)} & set(views):
            texts += views.pop(name)
    return texts


def read(rows: Sequence[Row], names: dict[str, str] | None = None) -> PlanNode:
    """Make nodes of the rows ``(id, parent, unused, detail)``.

    Tables that are read one inside the other are siblings there; here they are the children of a nested loop.
    """
    inner: dict[int, list[Row]] = {}
    for row in rows:
        inner.setdefault(row[1], []).append(row)

    def children(parent: int) -> list[PlanNode]:
        nodes: list[PlanNode] = []
        loops: list[PlanNode] = []
        for identity, _, _, detail in inner.get(parent, ()):
            node = _node(detail, names or {})
            node.children = children(identity)
            (loops if node.kind in ("seq_scan", "index_scan", "automatic_index") else nodes).append(node)
        if len(loops) > 1:
            loops = [PlanNode("NESTED LOOP", "nested_loop", children=loops)]
        return loops + nodes

    top = children(0)
    return top[0] if len(top) == 1 else PlanNode("QUERY PLAN", children=top)


def _node(detail: str, names: dict[str, str]) -> PlanNode:
    step = _STEP.fullmatch(detail)
    if not step:
        words = detail.upper()
        if "TEMP B-TREE" in words:
            sorts = "ORDER BY" in words
            return PlanNode(detail, "sort" if sorts else "temp_table")
        return PlanNode(detail, "temp_table" if words.startswith("MATERIALIZE") else "other")
    name, alias = step["name"], step["alias"]
    if detail.startswith(("SCAN CONSTANT ROW", "SCAN SUBQUERY")) or name[0] == "(":
        return PlanNode(detail)
    searched = step["verb"] == "SEARCH"
    index = (step["index"] or "").strip() or (step["key"] or None)
    table = names.get(name, name)
    automatic = bool(step["automatic"])
    covering = "COVERING " if step["covering"] else ""
    return PlanNode(
        operation=f"{step['verb']} USING AUTOMATIC INDEX" if automatic else f"{covering}{step['verb']}",
        kind="automatic_index"
        if automatic
        else "index_scan"
        if searched or index or "VIRTUAL" in detail
        else "seq_scan",
        table=table,
        alias=alias or (name if name != table else None),
        index=None if automatic else index,
        condition=step["condition"],
    )


def _add_table_rows(session: Session, plan: Plan) -> None:
    """Sizes of the tables: from ANALYZE's statistics, else the highest rowid, which is found without counting."""
    tables = {
        str(name)
        for name, text in session.rows("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        if "WITHOUT ROWID" not in str(text).upper() and not str(text).upper().startswith("CREATE VIRTUAL")
    }
    known = {}
    if session.rows("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"):
        for table, stat in session.rows("SELECT tbl, stat FROM sqlite_stat1"):
            known[table] = float(str(stat).split(" ", 1)[0])
    for node in plan.nodes():
        if node.table in tables and node.table not in known:
            name = '"' + node.table.replace('"', '""') + '"'
            known[node.table] = float(session.rows(f"SELECT coalesce(max(rowid), 0) FROM {name}")[0][0])  # noqa: S608 - a name from the catalogue
        node.table_rows = known.get(node.table) if node.table else None
