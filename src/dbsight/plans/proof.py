"""Whether the planner would use an index, and what it would gain: asked before the index is advised.

SQLite is asked in an in-memory clone of the schema, with the statistics of the original. PostgreSQL is asked with a
real index in a transaction that is rolled back, which is done only when the caller allows it: it reads the whole table,
and blocks writes to it meanwhile.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from dbsight import statement as statements
from dbsight.model import Plan, PlanNode
from dbsight.plans import postgresql, sqlite
from dbsight.plans.predicates import aliases
from dbsight.plans.wording import ddl, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.plans.candidates import Candidate
    from dbsight.plans.options import Options, Session

_TERM: Final = 0.1  # what SQLite expects an equality to keep without statistics
_SORTING: Final = 0.3


class CloneProof:
    """Plans of one statement in a clone of a SQLite schema.

    The costs are ours, in rows read: SQLite has none. They rank candidates, and are not reported.
    """

    real_costs = False
    gain = 0.85
    """A longer index has to cost less than this share of a shorter one's; our costs are rough."""

    def __init__(self, clone: sqlite3.Connection, text: str, sizes: dict[str, float]) -> None:
        self._clone = clone
        self._text = text
        self._sizes = sizes
        self._names = aliases(text, statements.read(text, "sqlite"))

    def cost(self) -> tuple[float, set[str]]:
        """Rows that the statement reads, and the indexes that it uses."""
        root = sqlite.read(self._clone.execute(f"EXPLAIN QUERY PLAN {self._text}").fetchall(), self._names)
        return self._rows(root), {node.index for node in root.walk() if node.index}

    def create(self, candidate: Candidate) -> None:
        """Create an index."""
        self._clone.execute(ddl(candidate, "sqlite"))

    def drop(self, candidate: Candidate) -> None:
        """Drop it again."""
        self._clone.execute(f"DROP INDEX {name_of(candidate)}")

    def _rows(self, node: PlanNode) -> float:
        if node.kind == "nested_loop":
            total, loops = 0.0, 1.0
            for child in node.children:
                rows = self._read(child)
                total += rows if child.kind == "automatic_index" else loops * rows
                loops *= max(1.0, 1.0 if child.kind == "automatic_index" else rows)
            return total
        read = self._read(node)
        inner = sum(map(self._rows, node.children))
        sorts = any("TEMP B-TREE" in child.operation for child in node.children)
        return (read + inner) * (1 + _SORTING * sorts)

    def _read(self, node: PlanNode) -> float:
        size = self._sizes.get(node.table or "", 1000.0 if node.kind == "seq_scan" else 0.0)
        if node.kind == "automatic_index":
            return size * 2
        if node.kind != "index_scan":
            return size if node.kind == "seq_scan" else 0.0
        if not node.condition:
            return size * (0.6 if "COVERING" in node.operation else 0.95)
        if "rowid=?" in node.condition or node.index == "PRIMARY KEY":
            return 1.0
        terms = node.condition.split(" AND ")
        share = 1.0
        for term in terms:
            share *= _TERM if "=" in term and "<" not in term and ">" not in term else _SORTING
        return max(1.0, size * share) * (0.9 if "COVERING" in node.operation else 1.0)


@contextmanager
def in_clone(session: Session, text: str, sizes: dict[str, float]) -> Iterator[CloneProof]:
    """The schema of a SQLite database in memory, without its rows.

    Raises:
        sqlite3.Error: The schema uses modules, functions or collations that are not there.
    """
    with closing(sqlite3.connect(":memory:")) as clone:
        rows = session.rows(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            " AND type IN ('table', 'index', 'view') ORDER BY type = 'view', type = 'index'"
        )
        for (definition,) in rows:
            clone.execute(definition)
        if session.rows("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"):
            clone.execute("ANALYZE")
            clone.execute("DELETE FROM sqlite_stat1")
            clone.executemany(
                "INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", session.rows("SELECT tbl, idx, stat FROM sqlite_stat1")
            )
            clone.execute("ANALYZE sqlite_master")  # reads the statistics again
        yield CloneProof(clone, text, sizes)


class TransactionProof:
    """Plans of one statement on PostgreSQL, with real indexes that are rolled back."""

    real_costs = True
    gain = 0.95
    """A longer index has to cost less than this share of a shorter one's."""

    def __init__(self, session: Session, text: str) -> None:
        self._session = session
        self._text = text

    def cost(self) -> tuple[float, set[str]]:
        """The planner's cost, and the indexes that it uses."""
        plan = Plan(statements.read(self._text, "postgresql"), PlanNode("unknown"))
        postgresql.read(postgresql.answer(self._session, self._text), plan)
        return plan.cost or 0.0, {node.index for node in plan.nodes() if node.index}

    def create(self, candidate: Candidate) -> None:
        """Create an index."""
        self._session.rows(ddl(candidate, "postgresql", concurrently=False))

    def drop(self, candidate: Candidate) -> None:
        """Drop it again."""
        self._session.rows(f"DROP INDEX {name_of(candidate)}")


@contextmanager
def in_transaction(session: Session, text: str, options: Options) -> Iterator[TransactionProof]:
    """A transaction with limits that is rolled back, and every index with it."""
    with session.transaction():
        session.rows(
            f"SELECT set_config('statement_timeout', '{options.timeout_ms}', true),"
            f" set_config('lock_timeout', '{options.lock_timeout_ms}', true)"
        )
        yield TransactionProof(session, text)


Proof = Any
"""``CloneProof`` or ``TransactionProof``."""
