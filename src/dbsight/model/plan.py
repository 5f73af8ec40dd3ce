"""Query plans, in one shape for all databases."""

from __future__ import annotations

import hashlib
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbsight.model.finding import QueryClass
    from dbsight.model.query import Operation, Statement

PlanKind = Literal[
    "seq_scan", "index_scan", "nested_loop", "hash_join", "merge_join", "sort", "temp_table", "automatic_index", "other"
]


@record()
class PlanNode:
    """One step of a plan.

    What a database does not report is None. Expressions are as the database wrote them: they may hold literals, and
    leave the process only through ``dbsight.plans.rendering``, which hides these.

    Attributes:
        operation: The database's own name for the step: ``Seq Scan``, ``SEARCH``, ``ref``.
        kind: What the step is in the vocabulary of all databases.
        table: The table that is read, or the partition of one.
        alias: The name of the table in the statement.
        index: The index that is used.
        condition: What the index or the join is searched by.
        filter: What is tested for each row that was read.
        keys: What is sorted or grouped by.
        estimated_rows: Rows per loop, as estimated.
        actual_rows: Rows per loop, as measured.
        removed_rows: Rows per loop that were read and filtered out, as measured.
        loops: How often the step ran.
        cost: Total cost in the database's unit, children included.
        time: s per loop, children included.
        buffers_hit: Pages found in the cache.
        buffers_read: Pages read from outside the cache.
        spill: Bytes written to disk because memory was too small.
        table_rows: Rows in the table, from the database's statistics.
        children: The steps that this one reads from.
        partition_of: The partitioned table, where a partition is read.
    """

    operation: str
    kind: PlanKind = "other"
    table: str | None = None
    alias: str | None = None
    index: str | None = None
    condition: str | None = field(default=None, repr=False)
    filter: str | None = field(default=None, repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)
    estimated_rows: float | None = None
    actual_rows: float | None = None
    removed_rows: float | None = None
    loops: float | None = None
    cost: float | None = None
    time: float | None = None
    buffers_hit: int | None = None
    buffers_read: int | None = None
    spill: int | None = None
    table_rows: float | None = None
    children: list[PlanNode] = field(default_factory=list)
    partition_of: str | None = None

    @property
    def relation(self) -> str | None:
        """The table that the statement names: not a partition of it."""
        return self.partition_of or self.table

    def walk(self) -> Iterator[PlanNode]:
        """This node and all below it, from the top down."""
        yield self
        for child in self.children:
            yield from child.walk()


@record()
class Plan:
    """How a database executes a statement.

    Attributes:
        statement: The statement, its text sanitised.
        root: The last step, whose result is the statement's.
        analyzed: Whether the statement was executed, so that there are actual rows and times.
        planning_time: s, None where the database does not report it.
        execution_time: s, None unless the statement was executed.
        text: The plan in lines, without literals; what ``print(plan)`` shows.
    """

    statement: Statement
    root: PlanNode
    analyzed: bool = False
    planning_time: float | None = None
    execution_time: float | None = None
    text: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def system(self) -> str:
        """``db.system.name`` of the database."""
        return self.statement.system

    @property
    def cost(self) -> float | None:
        """Estimated cost of the whole statement, in the database's unit."""
        return self.root.cost

    @property
    def hash(self) -> str:
        """16 hexadecimal digits: the same for plans that do the same steps on the same tables and indexes."""
        return hashlib.sha256(_shape(self.root).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def nodes(self) -> Iterator[PlanNode]:
        """All nodes, from the top down."""
        return self.root.walk()


def _shape(node: PlanNode) -> str:
    inner = ",".join(map(_shape, node.children))
    return f"{node.operation}\0{node.table or ''}\0{node.index or ''}({inner})"


@record(frozen=True)
class PlanIssue:
    """One remark about a node of a plan.

    Attributes:
        name: ``seq_scan``, ``sort_spill`` …
        severity: ``info`` for what the plan does, ``warning`` for what is probably wrong.
        description: What was seen, without literals.
        recommendation: What to do about it, empty when there is nothing to do.
        node: Where in the plan.
    """

    name: str
    severity: Literal["info", "warning"]
    description: str
    recommendation: str
    node: PlanNode = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name}: {self.description}"


@record(frozen=True)
class PlanSummary:
    """What is kept of a plan: nothing in it is a literal.

    Attributes:
        hash: As ``Plan.hash``.
        cost: As ``Plan.cost``.
        issues: Names of the plan's issues, sorted.
        tree: The plan drawn with lines.
        costly: Which line of the tree is the step that costs most, from 0; -1 if unknown.
    """

    hash: str
    cost: float | None
    issues: tuple[str, ...]
    tree: str = field(default="", repr=False)
    costly: int = field(default=-1, compare=False, repr=False)


@record()
class ExplainedQuery:
    """A query of the application whose plan was asked for in the background.

    Attributes:
        operation: The query.
        route: Name of the window that it ran in.
        query_class: Whether it was slow; None for one that was explained although it was not.
        plan: Its plan.
        summary: The same, as it is kept.
        issues: What the plan does, and what is wrong with it.
        advice: The missing indexes; None if unknown.
        before: The plan that this process saw for the same fingerprint and database before.
    """

    operation: Operation
    route: str
    query_class: QueryClass | None
    plan: Plan
    summary: PlanSummary
    issues: Sequence[PlanIssue]
    advice: Sequence[IndexAdvice] | None = None
    before: PlanSummary | None = None


@record(frozen=True)
class IndexAdvice:
    """An index that a statement lacks.

    Attributes:
        table: The table.
        columns: Columns or expressions, in order, with ``DESC`` behind those that are sorted downwards.
        where: Condition of a partial index, empty for a whole one.
        proof: ``proved`` when the database's planner used the index and its plan became better, else ``likely``.
        cost_before: Cost of the plan without the index, None where the database has no costs.
        cost_after: Cost with the index.
        replaces: An existing index that the new one makes superfluous, empty when there is none.
        ddl: SQL that creates the index.
        sqlalchemy: The same for SQLAlchemy's table arguments.
        alembic: The same for a migration of Alembic's.
        django: The same for ``Meta.indexes`` of a Django model; empty where Django has no words for it.
        serves: Positions of the statements that it serves, where advice was asked for several.
        write_cost: What it costs, where statistics tell that the table is written often; empty elsewhere.
        also_serves: Other statements that were slow in this process, and that it serves as well.
        instead_of: Columns and conditions of indexes that were advised for those, and that it takes the place of.
    """

    table: str
    columns: tuple[str, ...]
    where: str
    proof: Literal["proved", "likely"]
    cost_before: float | None
    cost_after: float | None
    replaces: str
    ddl: str
    sqlalchemy: str
    alembic: str
    django: str
    serves: tuple[int, ...] = (0,)
    write_cost: str = ""
    also_serves: tuple[str, ...] = ()
    instead_of: tuple[tuple[tuple[str, ...], str], ...] = ()


@record(frozen=True)
class SuperfluousIndex:
    """An index that could be dropped.

    Attributes:
        table: Its table.
        name: Its name.
        columns: Columns or expressions, in order, with ``DESC`` behind those that are sorted downwards.
        reason: ``duplicate`` of another index, ``prefix`` of another index, ``unused`` since statistics began, or
            ``invalid``: left over from a ``CREATE INDEX CONCURRENTLY`` that failed.
        instead: The index that does the same, for ``duplicate`` and ``prefix``; else empty.
        size: Bytes; None where the database does not tell.
        scans: How often it was used (MariaDB with ``userstat``: rows read by it); None where that is not counted.
        ddl: SQL that drops it.
    """

    table: str
    name: str
    columns: tuple[str, ...]
    reason: Literal["duplicate", "prefix", "unused", "invalid"]
    instead: str
    size: int | None
    scans: int | None
    ddl: str

    def __str__(self) -> str:
        why = {
            "duplicate": f"does the same as {self.instead}",
            "prefix": f"{self.instead} begins with the same columns",
            "unused": "was not used since statistics began",
            "invalid": "is not valid: drop it, and create it again",
        }[self.reason]
        return f"{self.name} on {self.table} ({', '.join(self.columns)}): {why}"


@record(frozen=True)
class IndexReport:
    """Indexes that could be dropped.

    Attributes:
        indexes: By table. Of two that do the same, one is named.
        usage_known: Whether the database counts the uses of indexes; without, none is ``unused``.
        usage_since: When it began to count, as it writes it; empty if unknown.
    """

    indexes: tuple[SuperfluousIndex, ...]
    usage_known: bool
    usage_since: str

    def __str__(self) -> str:
        return "\n".join(map(str, self.indexes)) or "No index is superfluous."
