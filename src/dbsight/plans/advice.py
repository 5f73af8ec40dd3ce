"""``advise_index``: the indexes that a statement lacks, proved by the planner where that is possible."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight.model import IndexAdvice
from dbsight.plans import wording
from dbsight.plans.candidates import DIALECTS, Candidate, Use, uses
from dbsight.plans.catalogue import columns_of, indexes_of
from dbsight.plans.errors import ExplainError, described
from dbsight.plans.explain import explain
from dbsight.plans.issues import LARGE_TABLE, SELECTIVE, ExplainAnalyzer
from dbsight.plans.literals import with_literals
from dbsight.plans.options import Options, quoted
from dbsight.plans.proof import hypothetical, in_clone, in_scratch, in_transaction
from dbsight.plans.quoting import readable
from dbsight.plans.sessions import SQLAlchemySession, check_pool, opened, system_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import Plan
    from dbsight.plans.proof import Proof

WORTH: Final = 0.8
"""The cost with an index must be below this share of the cost without."""

_SAMPLE: Final = 20_000
"""Rows of a SQLite table that are read to learn how selective a condition is."""

_MOST: Final = 24
"""Indexes that are tried per table: on PostgreSQL each reads the whole table."""

_CLASS: Final = re.compile(" (?:text_pattern_ops|gin_trgm_ops)$")

_IMPROVABLE: Final = frozenset(("seq_scan", "sort", "temp_table"))

_LONG: Final = re.compile(r"TEXT|BLOB|JSON", re.IGNORECASE)

_SCRATCH: Final = frozenset(("mariadb", "mysql"))

_LACKING: Final = frozenset(("selective_filter", "missing_join_index", "automatic_index", "filter_after_index"))


def advise_index(
    statement: Any,
    engine: Any,
    *,
    params: Mapping[str, Any] | None = None,
    proof: Literal["safe", "transaction", "scratch"] = "safe",
    timeout: float = 10.0,
    lock_timeout: float = 1.0,
) -> Any:
    """Find the indexes that a SELECT lacks: SQLite, PostgreSQL, MariaDB, MySQL; needs the extra ``dbsight[advice]``.

    Nothing is advised that exists already, that the planner does not use, or for tables below 1 000 rows. The statement
    itself is not executed.

    Args:
        statement: SQL text, or a SQLAlchemy statement.
        engine: SQLAlchemy ``Engine``, ``Connection``, ``AsyncEngine`` or ``AsyncConnection``.
        params: Values by name. The planner decides by them.
        proof: ``safe`` tries indexes in an in-memory clone of a SQLite schema and, on PostgreSQL, with the extension
            hypopg where that is installed; without it, and on MariaDB and MySQL, advice is ``likely``. ``transaction``
            creates them on PostgreSQL and rolls them back: writes to the table wait meanwhile. ``scratch`` creates
            them on MariaDB and MySQL in a schema of its own, with a sample of the rows, and drops that.
        timeout: s that each statement may run.
        lock_timeout: s that it may wait for a lock.

    Returns:
        At most one index per table; empty where none would help. For an asynchronous engine or connection, an
        awaitable of it.

    Raises:
        ExplainError: The statement cannot be parsed or explained, or the database is none of these.
    """
    if proof not in ("safe", "transaction", "scratch"):
        raise ValueError(f"proof is safe, transaction or scratch, not {proof!r}")
    if hasattr(engine, "sync_engine"):
        return _advise_async(engine, statement, params, proof=proof, timeout=timeout, lock_timeout=lock_timeout)
    system = system_of(engine.dialect)
    if system not in DIALECTS:
        raise ExplainError(f"index advice for {system} is not supported; it is for {', '.join(DIALECTS)}")
    text = _with_values(statement, params, engine.dialect)
    if proof == "scratch" and system in _SCRATCH and getattr(engine, "in_transaction", bool)():
        raise ExplainError("a scratch schema ends the transaction of this connection: pass the engine instead")
    with suppress_instrumentation(), described(), opened(engine) as connection:
        system = system_of(connection.dialect)
        plan = explain(text, connection, timeout=timeout, lock_timeout=lock_timeout)
        advisor = _Advisor(connection, text, plan, Options(timeout=timeout, lock_timeout=lock_timeout))
        return advisor.advise(proof)


async def _advise_async(engine: Any, statement: Any, params: Any, **options: Any) -> list[IndexAdvice]:
    def advise(connection: Any) -> list[IndexAdvice]:
        found: list[IndexAdvice] = advise_index(statement, connection, params=params, **options)
        return found

    if hasattr(engine, "run_sync"):  # a connection
        result: list[IndexAdvice] = await engine.run_sync(advise)
        return result
    check_pool(engine.sync_engine.pool)
    with suppress_instrumentation(), described():
        async with engine.connect() as connection:
            found: list[IndexAdvice] = await connection.run_sync(advise)
    return found


def advise_slow(
    plan: Plan, connection: Any, text: str, parameters: Any, *, proof: str = "safe"
) -> list[IndexAdvice] | None:
    """Index advice for a query that was explained already, given as its driver got it.

    Args:
        plan: Its plan.
        connection: Where; one of our own.
        text: The statement.
        parameters: Its values.
        proof: As for ``advise_index``.

    Returns:
        As ``advise_index``; None if unknown, because the parser is not installed or a value has no literal.
    """
    if plan.system not in DIALECTS:
        return None
    try:
        literal = with_literals(text, parameters, connection.dialect.paramstyle, plan.system)
        with described():
            return _Advisor(connection, literal, plan, Options(timeout=5.0, lock_timeout=0.5)).advise(proof)
    except ExplainError:
        return None


def _with_values(statement: Any, params: Mapping[str, Any] | None, dialect: Any) -> str:
    """The text with its values in it, for the planner alone."""
    if isinstance(statement, str):
        if params is None:
            return statement
        if not isinstance(params, Mapping):
            raise TypeError("advise_index takes parameters by name, and :name in the text")
        from sqlalchemy import text

        statement = text(statement)
    if params:
        statement = statement.bindparams(**params) if hasattr(statement, "bindparams") else statement.params(**params)
    try:
        # Percent signs are doubled for drivers that format texts, and this text has nothing to format.
        named = type(dialect)(paramstyle="named")
        return str(statement.compile(dialect=named, compile_kwargs={"literal_binds": True}))
    except Exception as error:
        raise ExplainError(f"a parameter cannot be written as a literal: {type(error).__name__}") from error


class _Advisor:
    """Advice for one statement on one connection."""

    def __init__(self, connection: Any, text: str, plan: Plan, options: Options) -> None:
        self._connection = connection
        self._session = SQLAlchemySession(connection)
        self._system = plan.system
        self._text = text = readable(text, self._session)
        self._plan = plan
        self._options = options
        self._sizes = {node.table: node.table_rows or 0.0 for node in plan.nodes() if node.table}
        columns = {name: each for name, each in columns_of(self._session).items() if name in self._sizes}
        # A text or a document needs a length to be indexed in MySQL.
        self._keys = {
            table: {name for name, kind in each.items() if not _LONG.search(kind)} for table, each in columns.items()
        }
        self._complete_sizes(list(columns))
        self._existing = indexes_of(self._session, columns)
        self._taken = {index.name for each in self._existing.values() for index in each}
        schema = {table: list(each) for table, each in columns.items()}
        self._uses = _parsed(text, plan.system, schema)

    def _complete_sizes(self, names: list[str]) -> None:
        """MariaDB and MySQL tell in their plans how large a table is only where they read all of it."""
        self._has_trigrams = False
        if self._system == "postgresql":
            self._has_trigrams = bool(self._session.rows("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'"))
        if self._system not in _SCRATCH or not names:
            return
        rows = self._session.rows(
            "SELECT table_name, table_rows FROM information_schema.tables"  # noqa: S608 - quoted
            f" WHERE table_schema = DATABASE() AND table_name IN ({', '.join(map(quoted, names))})"
        )
        for name, size in rows:
            if str(name) in self._sizes:
                self._sizes[str(name)] = max(self._sizes[str(name)], float(size or 0))

    def advise(self, proof: str) -> list[IndexAdvice]:
        """Try all candidates, table by table, the larger tables first."""
        tables = sorted((name for name in self._uses if self._sizes[name] >= LARGE_TABLE), key=self._sizes.__getitem__)
        tables.reverse()
        if not tables:
            return []
        if self._system == "sqlite":
            return self._on_sqlite(tables)
        if self._system in _SCRATCH:
            return self._on_mysql(proof, tables)
        return self._on_postgresql(proof, tables)

    def _on_sqlite(self, tables: list[str]) -> list[IndexAdvice]:
        try:
            with in_clone(self._session, self._text, self._sizes) as clone:
                return list(self._proved(clone, tables))
        except sqlite3.Error:
            # A virtual table's module, a function or a collation of the application's is not in the clone.
            return list(self._likely(tables))

    def _on_postgresql(self, proof: str, tables: list[str]) -> list[IndexAdvice]:
        if proof == "transaction":
            with in_transaction(self._session, self._text, self._options) as tried:
                return list(self._proved(tried, tables))
        with hypothetical(self._session, self._text, self._options) as pretended:
            if pretended is not None:
                return list(self._proved(pretended, tables))
        return list(self._likely(tables))

    def _on_mysql(self, proof: str, tables: list[str]) -> list[IndexAdvice]:
        likely = list(self._likely(tables))
        if proof != "scratch" or not any(node.kind in _IMPROVABLE for node in self._plan.nodes()):
            return likely
        try:
            with in_scratch(self._session, self._text, {each: self._sizes[each] for each in self._existing}) as scratch:
                return list(self._proved(scratch, tables))
        except Exception:
            # Not allowed, or a table that cannot be copied.
            return likely

    def _proved(self, proof: Proof, tables: list[str]) -> Iterator[IndexAdvice]:
        for table in tables:
            before, _ = proof.cost()
            best: tuple[float, int, Candidate] | None = None
            for candidate in self._candidates(table):
                if not proof.accepts(candidate):
                    continue
                name = proof.create(candidate)
                after, used = proof.cost()
                proof.drop(candidate)
                better = after <= before * WORTH and name in used
                # A longer index has to be better than a shorter one: every column costs writes.
                if better and (best is None or after < best[0] * proof.gain):
                    best = (after, len(candidate.columns), candidate)
            if best is not None:
                proof.create(best[2])  # what other tables lack is judged with it
                costs = (before, best[0]) if proof.real_costs else (None, None)
                yield self._advice(best[2], "proved", *costs)

    def _likely(self, tables: list[str]) -> Iterator[IndexAdvice]:
        """What the plan complains of, where no index can be tried."""
        lacking = {issue.node.table for issue in ExplainAnalyzer(self._plan).issues if issue.name in _LACKING}
        for table in tables:
            use = self._uses[table]
            columns = (*use.equal, *(use.joined if not use.equal else ()), *list(use.ranged)[:1])
            names = tuple(dict.fromkeys(columns))[:4]
            candidate = self._named(Candidate(table, names, searched=len(names)))
            if not self._can_be(candidate):
                continue
            useful = candidate.columns and not self._exists(candidate) and self._is_selective(candidate, use)
            if table in lacking and useful:
                yield self._advice(candidate, "likely", self._plan.cost, None)

    def _candidates(self, table: str) -> Iterator[Candidate]:
        use = self._uses[table]
        tried = sorted(filter(self._can_be, use.candidates(table)), key=lambda each: len(each.columns))
        new = (self._named(each) for each in tried if not self._exists(each) and self._is_selective(each, use))
        return islice(new, _MOST)

    def _can_be(self, candidate: Candidate) -> bool:
        """Whether the database has indexes of this kind: those of MariaDB and MySQL are of whole columns."""
        if any(each.endswith(" gin_trgm_ops") for each in candidate.columns):
            return self._has_trigrams
        if self._system not in _SCRATCH:
            return True
        names = {each.removesuffix(" DESC") for each in candidate.columns}
        return not (candidate.where or candidate.using) and names <= self._keys[candidate.table]

    def _named(self, candidate: Candidate) -> Candidate:
        """The candidate with a name that no index of the table has."""
        return candidate if wording.name_of(candidate) not in self._taken else replace(candidate, suffix="_new")

    def _exists(self, candidate: Candidate) -> bool:
        if candidate.using:
            return False  # what other kinds of index serve is not told by their columns: the planner decides
        return any(index.begins_with(candidate.columns) for index in self._existing[candidate.table])

    def _is_selective(self, candidate: Candidate, use: Use) -> bool:
        """Whether the conditions that the index would be searched by keep few rows.

        SQLite is asked for a sample, because its planner guesses; PostgreSQL's planner is asked for its estimate.
        """
        searched = candidate.columns[: candidate.searched]
        compared = {**use.prefixes, **use.patterns, **use.searched, **use.contained, **use.ranged, **use.equal}
        parts = [
            compared.get(each.removesuffix(" text_pattern_ops").removesuffix(" gin_trgm_ops")) for each in searched
        ]
        parts += [f"{each} IS NULL" for each in use.null if candidate.where or each in searched]
        conditions = [part for part in parts if part]
        if not conditions or any(each in use.joined for each in searched):
            return True
        table = wording.quoted(candidate.table, self._system)
        condition = " AND ".join(f"({each})" for each in conditions)
        if self._system != "postgresql":
            sample = f"SELECT * FROM {table} LIMIT {_SAMPLE}"  # noqa: S608 - a name from the catalogue
            kept = self._session.rows(f"SELECT avg({condition}) FROM ({sample}) AS sample")  # noqa: S608 - the statement's own conditions
            return (kept[0][0] or 0.0) <= SELECTIVE
        part = explain(f"SELECT 1 FROM {table} WHERE {condition}", self._connection)  # noqa: S608 - as above
        return (part.root.estimated_rows or 0.0) <= SELECTIVE * self._sizes[candidate.table]

    def _advice(
        self, candidate: Candidate, proof: Literal["proved", "likely"], before: float | None, after: float | None
    ) -> IndexAdvice:
        whole = not (candidate.where or candidate.using)
        superfluous = next(
            (
                index.name
                for index in self._existing[candidate.table]
                if whole and index.name and not (index.unique or index.constraint or index.where or index.included)
                if index.columns == candidate.columns[: len(index.columns)]
            ),
            "",
        )
        return IndexAdvice(
            table=candidate.table,
            columns=candidate.columns,
            where=candidate.where,
            proof=proof,
            cost_before=before,
            cost_after=after,
            replaces=superfluous,
            ddl=wording.ddl(candidate, self._system),
            sqlalchemy=wording.sqlalchemy(candidate, self._system),
            alembic=wording.alembic(candidate, self._system),
            django=wording.django(candidate),
        )


def _parsed(text: str, system: str, schema: dict[str, list[str]]) -> dict[str, Use]:
    try:
        import sqlglot.errors
    except ImportError as error:
        raise ExplainError("index advice needs a SQL parser: pip install 'dbsight[advice]'") from error
    try:
        return uses(text, system, schema)
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        raise ExplainError(f"the statement cannot be parsed: {type(error).__name__}") from error
