"""Whether the planner would use an index, and what it would gain: asked before the index is advised.

SQLite is asked in an in-memory clone of the schema, with the statistics of the original. PostgreSQL is asked with
hypothetical indexes where the extension hypopg is installed, else with a real index in a transaction that is rolled
back, which is done only when the caller allows it: it reads the whole table, and blocks writes to it meanwhile.
MariaDB and MySQL are asked in a schema of our own with a sample of the rows, where the caller allows that.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dbsight import statement as statements
from dbsight.model import Plan, PlanNode
from dbsight.plans import postgresql, sqlite
from dbsight.plans.catalogue import partitions_of
from dbsight.plans.mysql_json import read_block
from dbsight.plans.options import quoted as literal
from dbsight.plans.predicates import aliases
from dbsight.plans.quoting import read_json
from dbsight.plans.wording import ddl, name_of, quoted

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

    def accepts(self, candidate: Candidate) -> bool:
        """Whether an index of this kind can be tried."""
        return True

    def __init__(self, clone: sqlite3.Connection, text: str, sizes: dict[str, float]) -> None:
        self._clone = clone
        self._text = text
        self._sizes = sizes
        self._names = aliases(text, statements.read(text, "sqlite"))

    def cost(self) -> tuple[float, set[str]]:
        """Rows that the statement reads, and the indexes that it uses."""
        root = sqlite.read(self._clone.execute(f"EXPLAIN QUERY PLAN {self._text}").fetchall(), self._names)
        return self._rows(root), {node.index for node in root.walk() if node.index}

    def create(self, candidate: Candidate) -> str:
        """Create an index; its name."""
        self._clone.execute(ddl(candidate, "sqlite"))
        return name_of(candidate)

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
def clone(session: Session) -> Iterator[sqlite3.Connection]:
    """The schema of a SQLite database in memory, without its rows.

    Raises:
        sqlite3.Error: The schema uses modules, functions or collations that are not there.
    """
    with closing(sqlite3.connect(":memory:")) as clone:
        rows = session.rows(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            " AND type IN ('table', 'index', 'view')"
            " ORDER BY type = 'view', type = 'index', sql NOT LIKE 'CREATE VIRTUAL TABLE %'"
        )
        virtual = tuple(f"{name}_" for name, definition in rows if definition.upper().startswith("CREATE VIRTUAL"))
        for name, definition in rows:
            # A virtual table makes the tables that it keeps its rows in.
            if not (str(name).startswith(virtual) and _exists(clone, str(name))):
                clone.execute(definition)
        if session.rows("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"):
            clone.execute("ANALYZE")
            clone.execute("DELETE FROM sqlite_stat1")
            clone.executemany(
                "INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", session.rows("SELECT tbl, idx, stat FROM sqlite_stat1")
            )
            clone.execute("ANALYZE sqlite_master")  # reads the statistics again
        yield clone


def _exists(clone: sqlite3.Connection, name: str) -> bool:
    return clone.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


@contextmanager
def in_clone(session: Session, text: str, sizes: dict[str, float]) -> Iterator[CloneProof]:
    """Plans of one statement in a clone of the schema.

    Raises:
        sqlite3.Error: As ``clone`` does.
    """
    with clone(session) as made:
        yield CloneProof(made, text, sizes)


class TransactionProof:
    """Plans of one statement on PostgreSQL, with real indexes that are rolled back."""

    real_costs = True
    gain = 0.95
    """A longer index has to cost less than this share of a shorter one's."""

    def accepts(self, candidate: Candidate) -> bool:
        """Whether an index of this kind can be tried."""
        return True

    def __init__(self, session: Session, text: str) -> None:
        self._session = session
        self._text = text
        self._in_partitions = False

    def cost(self) -> tuple[float, set[str]]:
        """The planner's cost, and the indexes that it uses."""
        plan = Plan(statements.read(self._text, "postgresql"), PlanNode("unknown"))
        postgresql.read(postgresql.answer(self._session, self._text), plan)
        used = {node.index for node in plan.nodes() if node.index}
        return plan.cost or 0.0, used | self._wholes(used)

    def _wholes(self, used: set[str]) -> set[str]:
        """The indexes of partitioned tables that those of partitions belong to."""
        if not (used and self._in_partitions):
            return set()
        rows = self._session.rows(
            "WITH RECURSIVE up(oid) AS (SELECT oid FROM pg_catalog.pg_class"  # noqa: S608 - quoted
            f" WHERE relkind IN ('i', 'I') AND relname IN ({', '.join(map(literal, sorted(used)))})"
            " UNION SELECT i.inhparent FROM up JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = up.oid)"
            " SELECT relname FROM up JOIN pg_catalog.pg_class USING (oid)"
        )
        return {str(name) for (name,) in rows}

    def create(self, candidate: Candidate) -> str:
        """Create an index; its name."""
        self._in_partitions |= candidate.partitioned
        self._session.rows(ddl(candidate, "postgresql", concurrently=False))
        return name_of(candidate)

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


class HypotheticalProof(TransactionProof):
    """The same with the extension hypopg: its indexes are this session's alone, and have no rows."""

    def __init__(self, session: Session, text: str, schema: str) -> None:
        super().__init__(session, text)
        self._schema = quoted(schema)
        self._made: dict[Candidate, list[int]] = {}
        self._names: dict[str, str] = {}

    def _wholes(self, used: set[str]) -> set[str]:
        return {self._names[name] for name in used & set(self._names)}

    def create(self, candidate: Candidate) -> str:
        """Pretend an index, of each partition where there are some; the name that plans have for it."""
        parts = [candidate]
        if candidate.partitioned:
            leaves = partitions_of(self._session, candidate.table)
            parts = [replace(candidate, table=leaf, partitioned=False) for leaf, _ in leaves]
        made = self._made[candidate] = []
        name = name_of(candidate)
        for part in parts:
            definition = literal(ddl(part, "postgresql", concurrently=False))
            ((oid, shown),) = self._session.rows(
                f"SELECT indexrelid, indexname FROM {self._schema}.hypopg_create_index({definition})"  # noqa: S608 - quoted
            )
            made.append(int(oid))
            self._names[str(shown)] = name
        return name

    def drop(self, candidate: Candidate) -> None:
        """Forget it."""
        for oid in self._made.pop(candidate):
            self._session.rows(f"SELECT {self._schema}.hypopg_drop_index({oid})")

    def accepts(self, candidate: Candidate) -> bool:
        """Whether there are hypothetical indexes of this kind.

        Not partial ones: up to 1.4.3 at least, planning a query that reaches the table by a view ends the server.
        """
        return not (candidate.using or candidate.where)


@contextmanager
def hypothetical(session: Session, text: str, options: Options) -> Iterator[HypotheticalProof | None]:
    """A transaction with hypothetical indexes; None where hypopg is not installed in the database."""
    with in_transaction(session, text, options):
        found = session.rows(
            "SELECT n.nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace"
            " WHERE e.extname = 'hypopg'"
        )
        if not found:
            yield None
            return
        schema = str(found[0][0])
        try:
            yield HypotheticalProof(session, text, schema)
        finally:
            session.rows(f"SELECT {quoted(schema)}.hypopg_reset()")


class ScratchProof(CloneProof):
    """Plans of one statement on MariaDB or MySQL, in a schema with a sample of the rows.

    The costs are rows read, as for SQLite: MariaDB before 11 reports none.
    """

    def __init__(self, session: Session, text: str, sizes: dict[str, float]) -> None:
        self._session = session
        self._text = text
        self._sizes = sizes

    def cost(self) -> tuple[float, set[str]]:
        """Rows that the statement reads, and the indexes that it uses."""
        ((answer,),) = self._session.rows(f"EXPLAIN FORMAT=JSON {self._text}")
        root = read_block(read_json(answer)["query_block"])
        return self._rows(root), {node.index for node in root.walk() if node.index}

    def create(self, candidate: Candidate) -> str:
        """Create an index; its name."""
        self._session.rows(ddl(candidate, self._session.system))
        return name_of(candidate)

    def drop(self, candidate: Candidate) -> None:
        """Drop it again."""
        table = quoted(candidate.table, self._session.system)
        self._session.rows(f"DROP INDEX {name_of(candidate)} ON {table}")

    def accepts(self, candidate: Candidate) -> bool:
        """B-trees of columns."""
        return not candidate.using

    def _rows(self, node: PlanNode) -> float:
        if node.kind == "nested_loop":
            total, loops = 0.0, 1.0
            for child in node.children:
                read = self._read(child)
                # What is inside a materialised subquery is read once.
                total += loops * read + sum(map(self._rows, child.children))
                loops *= max(1.0, child.estimated_rows if child.estimated_rows is not None else read)
            return total
        inner = sum(map(self._rows, node.children))
        return (self._read(node) + inner) * (1 + _SORTING * (node.kind in ("sort", "temp_table")))

    def _read(self, node: PlanNode) -> float:
        if node.kind in ("sort", "temp_table"):
            return 0.0
        if node.table_rows is not None:
            return node.table_rows
        return node.estimated_rows or 0.0


SAMPLE: Final = 10_000
"""Rows of each table that are copied to a scratch schema."""


@contextmanager
def in_scratch(session: Session, text: str, sizes: dict[str, float]) -> Iterator[ScratchProof]:
    """A schema of our own with the tables of the statement, and some of their rows; dropped afterwards.

    Where a table cannot be copied, or the user may not create a schema, the driver raises.
    """
    ((original,),) = session.rows("SELECT DATABASE()")
    scratch = f"dbsight_scratch_{secrets.token_hex(4)}"
    source = quoted(str(original), session.system)
    session.rows(f"CREATE DATABASE {scratch}")
    try:
        for table in sizes:
            name = quoted(table, session.system)
            session.rows(f"CREATE TABLE {scratch}.{name} LIKE {source}.{name}")
            session.rows(f"INSERT INTO {scratch}.{name} SELECT * FROM {source}.{name} LIMIT {SAMPLE}")  # noqa: S608 - quoted
            session.rows(f"ANALYZE TABLE {scratch}.{name}")
        session.rows(f"USE {scratch}")
        try:
            yield ScratchProof(session, text, sizes)
        finally:
            session.rows(f"USE {source}")
    finally:
        session.rows(f"DROP DATABASE {scratch}")


Proof = Any
"""One of the classes above."""
