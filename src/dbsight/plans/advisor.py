"""The indexes that one statement lacks: candidates are tried, and the best of each table is kept."""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dbsight.model import IndexAdvice
from dbsight.plans import wording
from dbsight.plans.activity import write_cost
from dbsight.plans.candidates import Candidate, Use, uses
from dbsight.plans.catalogue import columns_of, indexes_of, partitions_of
from dbsight.plans.errors import ExplainError
from dbsight.plans.explain import explain
from dbsight.plans.issues import LARGE_TABLE, SELECTIVE, ExplainAnalyzer
from dbsight.plans.options import quoted
from dbsight.plans.permission import check_execution, check_text
from dbsight.plans.proof import hypothetical, in_clone, in_scratch, in_transaction
from dbsight.plans.quoting import readable
from dbsight.plans.sessions import SQLAlchemySession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbsight.model import Plan
    from dbsight.plans.options import Options
    from dbsight.plans.proof import Proof

WORTH: Final = 0.8
"""The cost with an index must be below this share of the cost without."""

_SAMPLE: Final = 20_000
"""Rows of a SQLite table that are read to learn how selective a condition is."""

_FEW_TEXTS: Final = 10
_FEW_NUMBERS: Final = 3
"""Different values up to which one that is written into a statement is a constant of it, and not a value like any."""

_WHOLE: Final = 0.5
"""What an index of the whole table may cost at most, compared with a partial one, to be preferred."""

_MOST: Final = 24
"""Indexes that are tried per table: on PostgreSQL each reads the whole table."""

_IMPROVABLE: Final = frozenset(("seq_scan", "sort", "temp_table"))

_LONG: Final = re.compile(r"TEXT|BLOB|JSON", re.IGNORECASE)

SCRATCH: Final = frozenset(("mariadb", "mysql"))

_LACKING: Final = frozenset(("selective_filter", "missing_join_index", "automatic_index", "filter_after_index"))


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """What one table lacks.

    Attributes:
        candidates: One index; several where they help together only, as for the sides of an OR.
        before: Cost without, None if unknown.
        after: Cost with them.
        proved: The planner used them.
        real_costs: The costs are the planner's own.
    """

    candidates: tuple[Candidate, ...]
    before: float | None
    after: float | None
    proved: bool = False
    real_costs: bool = False


class Advisor:
    """Advice for one statement on one connection.

    Args:
        connection: SQLAlchemy's.
        text: The statement with its values.
        plan: Its plan.
        options: Limits of time.
        template: The statement with placeholders for what varies; without it, its values may all be constants.
    """

    def __init__(self, connection: Any, text: str, plan: Plan, options: Options, template: str = "") -> None:
        self._connection = connection
        self._session = SQLAlchemySession(connection)
        self._system = plan.system
        self._text = text = readable(text, self._session)
        self._plan = plan
        self._options = options
        self._sizes = {node.relation: node.table_rows or 0.0 for node in plan.nodes() if node.relation}
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
        self._find_constants(
            _parsed(readable(template, self._session), plan.system, schema) if template else self._uses
        )

    def _find_constants(self, always: dict[str, Use]) -> None:
        """A value that is written into the statement is a constant where the column has few values, as a status."""
        for table, use in self._uses.items():
            for name, text in use.equal.items():
                same = table in always and always[table].equal.get(name) == text
                few = _FEW_TEXTS if "'" in text else _FEW_NUMBERS
                if text and same and self._can_be(Candidate(table, (name,), text)):
                    number = self._number_of_values(table, name)
                    if number is not None and number <= few:
                        use.constant[name] = text

    def _number_of_values(self, table: str, column: str) -> float | None:
        """Different values of a column, in a sample or as the statistics have it; None if unknown."""
        if self._system == "postgresql":
            rows = self._session.rows(
                "SELECT max(n_distinct) FROM pg_catalog.pg_stats"  # noqa: S608 - quoted
                f" WHERE tablename = {quoted(table)} AND attname = {quoted(column)}"
            )
            # Below zero it is a share of the rows.
            return float(rows[0][0]) if rows[0][0] is not None and rows[0][0] > 0 else None
        if column not in self._keys[table]:
            return None
        name, source = wording.quoted(column, self._system), wording.quoted(table, self._system)
        sample = f"SELECT {name} AS value FROM {source} LIMIT {_SAMPLE}"  # noqa: S608 - names from the catalogue
        return float(self._session.rows(f"SELECT count(DISTINCT value) FROM ({sample}) AS sample")[0][0])  # noqa: S608 - as above

    def _complete_sizes(self, names: list[str]) -> None:
        """MariaDB and MySQL tell how large a table is only where they read all of it, PostgreSQL of each partition."""
        self._partitioned: set[str] = set()
        self._has_trigrams = False
        if self._system == "postgresql":
            self._has_trigrams = bool(self._session.rows("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'"))
            for table in {node.partition_of for node in self._plan.nodes() if node.partition_of}:
                self._sizes[table] = sum(size for _, size in partitions_of(self._session, table))
                self._partitioned.add(table)
        if self._system not in SCRATCH or not names:
            return
        rows = self._session.rows(
            "SELECT table_name, table_rows FROM information_schema.tables"  # noqa: S608 - quoted
            f" WHERE table_schema = DATABASE() AND table_name IN ({', '.join(map(quoted, names))})"
        )
        for name, size in rows:
            if str(name) in self._sizes:
                self._sizes[str(name)] = max(self._sizes[str(name)], float(size or 0))

    def advise(self, proof: str) -> list[IndexAdvice]:
        """Advice for this statement alone."""
        return [advice for each in self.find(proof) for advice in self.advice(each)]

    def find(self, proof: str) -> list[Found]:
        """Try all candidates, table by table, the larger tables first."""
        tables = sorted((name for name in self._uses if self._sizes[name] >= LARGE_TABLE), key=self._sizes.__getitem__)
        tables.reverse()
        found = self.tried(proof, lambda trial: list(self._proved(trial, tables))) if tables else []
        return list(self._likely(tables)) if found is None else found

    def tried(self, proof: str, do: Callable[[Proof], T]) -> T | None:
        """Do something where indexes can be tried; None where they cannot.

        Args:
            proof: As for ``advise_index``.
            do: Called with what creates and drops them.
        """
        try:
            with self._trial(proof) as trial:
                return None if trial is None else do(trial)
        except sqlite3.Error:
            # A virtual table's module, a function or a collation of the application's is not in the clone.
            return None
        except Exception:
            if self._system not in SCRATCH:
                raise
            return None  # not allowed, or a table that cannot be copied

    @contextmanager
    def _trial(self, proof: str) -> Iterator[Proof | None]:
        if self._system == "sqlite":
            with in_clone(self._session, self._text, self._sizes) as clone:
                yield clone
        elif self._system == "postgresql" and proof == "transaction" and self._is_read_only():
            yield None
        elif self._system == "postgresql":
            begun = in_transaction if proof == "transaction" else hypothetical
            with begun(self._session, self._text, self._options) as tried:
                yield tried
        elif proof == "scratch" and any(node.kind in _IMPROVABLE for node in self._plan.nodes()):
            with in_scratch(self._session, self._text, {each: self._sizes[each] for each in self._existing}) as scratch:
                yield scratch
        else:
            yield None

    def _is_read_only(self) -> bool:
        """Whether no index can be created: on a replica, or where transactions are read only."""
        ((read_only,),) = self._session.rows("SHOW transaction_read_only")
        return bool(read_only == "on")

    def _proved(self, trial: Proof, tables: list[str]) -> Iterator[Found]:
        for table in tables:
            before, _ = trial.cost()
            best: Found | None = None
            for candidate in self._candidates(table):
                after = self.cost_with(trial, (candidate,), before)
                # A longer index has to be better than a shorter one, and a whole one much better than a partial one:
                # every column and every row costs writes.
                smaller = best is not None and best.candidates[0].where and not candidate.where
                gain = _WHOLE if smaller else trial.gain
                if after is not None and (best is None or after < (best.after or 0.0) * gain):
                    best = Found((candidate,), before, after, proved=True, real_costs=trial.real_costs)
            best = best or self._alternatives(trial, table, before)
            if best is not None:
                for candidate in best.candidates:  # what other tables lack is judged with them
                    trial.create(candidate)
                yield best

    def _alternatives(self, trial: Proof, table: str, before: float) -> Found | None:
        """One index for each side of an OR, which help together only."""
        for group in self._uses[table].alternatives:
            candidates = tuple(self._named(Candidate(table, (name,), searched=1)) for name in group)
            missing = tuple(each for each in candidates if not self._exists(each) and self._can_be(each))
            selective = all(self._is_selective(each, self._uses[table]) for each in candidates)
            if len(missing) < 2 or len(missing) > 4 or not selective:
                continue
            after = self.cost_with(trial, missing, before)
            if after is not None:
                return Found(missing, before, after, proved=True, real_costs=trial.real_costs)
        return None

    def cost_with(self, trial: Proof, candidates: Sequence[Candidate], before: float) -> float | None:
        """The cost with indexes that do not exist; None if it is not worth it, or one of them is not used."""
        if not all(trial.accepts(each) for each in candidates):
            return None
        names = {trial.create(each) for each in candidates}
        after, used = trial.cost()
        for each in candidates:
            trial.drop(each)
        return after if after <= before * WORTH and names <= used else None

    def _likely(self, tables: list[str]) -> Iterator[Found]:
        """What the plan complains of, where no index can be tried."""
        lacking = {issue.node.relation for issue in ExplainAnalyzer(self._plan).issues if issue.name in _LACKING}
        for table in tables:
            use = self._uses[table]
            columns = (*use.equal, *(use.joined if not use.equal else ()), *list(use.ranged)[:1])
            names = tuple(dict.fromkeys(columns))[:4]
            candidate = self._named(Candidate(table, names, searched=len(names)))
            if not self._can_be(candidate):
                continue
            useful = candidate.columns and not self._exists(candidate) and self._is_selective(candidate, use)
            if table in lacking and useful:
                yield Found((candidate,), self._plan.cost, None)

    def _candidates(self, table: str) -> Iterator[Candidate]:
        use = self._uses[table]
        tried = sorted(filter(self._can_be, use.candidates(table)), key=lambda each: len(each.columns))
        new = (self._named(each) for each in tried if not self._exists(each) and self._is_selective(each, use))
        return islice(new, _MOST)

    def _can_be(self, candidate: Candidate) -> bool:
        """Whether the database has indexes of this kind: those of MariaDB and MySQL are of whole columns."""
        if any(each.endswith(" gin_trgm_ops") for each in candidate.columns):
            return self._has_trigrams
        if self._system not in SCRATCH:
            return True
        names = {each.removesuffix(" DESC") for each in candidate.columns}
        return not (candidate.where or candidate.using) and names <= self._keys[candidate.table]

    def lacks(self, candidate: Candidate) -> bool:
        """Whether an index does not exist, and can."""
        return candidate.table in self._existing and self._can_be(candidate) and not self._exists(candidate)

    def _named(self, candidate: Candidate) -> Candidate:
        """The candidate with a name that no index of the table has."""
        candidate = replace(candidate, partitioned=candidate.table in self._partitioned)
        return candidate if wording.name_of(candidate) not in self._taken else replace(candidate, suffix="_new")

    def _exists(self, candidate: Candidate) -> bool:
        if candidate.using:
            return False  # what other kinds of index serve is not told by their columns: the planner decides
        use = self._uses.get(candidate.table)
        conditions = {**use.tested, **use.equal} if use is not None else {}
        return any(
            index.begins_with(candidate.columns) or index.begins_with_the_rest(candidate.columns, conditions)
            for index in self._existing[candidate.table]
        )

    def _is_selective(self, candidate: Candidate, use: Use) -> bool:
        """Whether the conditions that the index would be searched by keep few rows.

        SQLite is asked for a sample, because its planner guesses; PostgreSQL's planner is asked for its estimate.
        """
        searched = candidate.columns[: candidate.searched]
        sides = {name: text for group in use.alternatives for name, text in group.items()}
        compared = {**sides, **use.prefixes, **use.patterns, **use.searched, **use.contained, **use.ranged, **use.equal}
        parts = [
            compared.get(each.removesuffix(" text_pattern_ops").removesuffix(" gin_trgm_ops")) for each in searched
        ]
        parts += [text for name, text in use.tested.items() if name in searched]
        conditions = list(filter(None, (*parts, candidate.where)))
        if not conditions or any(each in use.joined for each in searched):
            return True
        table = wording.quoted(candidate.table, self._system)
        condition = " AND ".join(f"({each})" for each in conditions)
        if self._system != "postgresql":
            kept = self._kept(table, condition)
            return kept is None or kept <= SELECTIVE
        part = explain(f"SELECT 1 FROM {table} WHERE {condition}", self._connection)  # noqa: S608 - as above
        return (part.root.estimated_rows or 0.0) <= SELECTIVE * self._sizes[candidate.table]

    def _kept(self, table: str, condition: str) -> float | None:
        """Share of a sample of the rows that a condition of the statement keeps; None if that cannot be tried."""
        text = f"SELECT avg({condition}) FROM (SELECT * FROM {table} LIMIT {_SAMPLE}) AS sample"  # noqa: S608 - of the statement
        try:
            check_execution(text, check_text(text, self._system), rollback=False)
            return float(self._session.rows(self._limited(text))[0][0] or 0.0)
        except Exception:
            # It has side effects, takes too long, or meets a document that it cannot read: the planner decides.
            return None

    def _limited(self, text: str) -> str:
        """The text with a limit of time, where that is a part of it; SQLite's planner needs the sample only."""
        if self._system == "mariadb":
            return f"SET STATEMENT max_statement_time = {self._options.timeout} FOR {text}"
        if self._system == "mysql":
            return text.replace("SELECT", f"SELECT /*+ MAX_EXECUTION_TIME({self._options.timeout_ms}) */", 1)
        return text

    def advice(self, found: Found, *, serves: Sequence[int] = (0,)) -> list[IndexAdvice]:
        """What was found, as it is told: an index each."""
        return [self._described(each, found, tuple(serves)) for each in found.candidates]

    def _described(self, candidate: Candidate, found: Found, serves: tuple[int, ...]) -> IndexAdvice:
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
        real = found.real_costs or not found.proved
        return IndexAdvice(
            table=candidate.table,
            columns=candidate.columns,
            where=candidate.where,
            proof="proved" if found.proved else "likely",
            cost_before=found.before if real else None,
            cost_after=found.after if real else None,
            replaces=superfluous,
            ddl=wording.ddl(candidate, self._system),
            sqlalchemy=wording.sqlalchemy(candidate, self._system),
            alembic=wording.alembic(candidate, self._system),
            django=wording.django(candidate),
            serves=serves,
            write_cost=write_cost(self._session, candidate.table),
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
