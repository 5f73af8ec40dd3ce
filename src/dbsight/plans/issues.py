"""What a plan does, and what is wrong with it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from dbsight.formatting import count, counted
from dbsight.model import PlanIssue
from dbsight.model.deferred import computed
from dbsight.plans.predicates import columns, conditions
from dbsight.plans.rendering import sanitized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import Plan, PlanNode
    from dbsight.plans.predicates import Columns

LARGE_TABLE: Final = 1000
"""Rows from which on reading a whole table is worth a remark; a smaller one is read faster than its index."""

SELECTIVE: Final = 0.1
"""Share of rows up to which an index beats a sequential scan; planners switch between 5 and 20 %."""

MISESTIMATED: Final = 10.0
"""How many times more or fewer rows than estimated; from there on planners choose other joins."""

MANY_LOOPS: Final = 10_000

_IN_MEMORY: Final = 3
"""How many times more memory a sort or a hash table takes than what it writes to disk."""

_LABELS: Final = {
    "seq_scan": "reads the whole table",
    "index_scan": "reads by an index",
    "nested_loop": "joins row by row",
    "hash_join": "joins by a hash table",
    "merge_join": "joins sorted inputs",
    "sort": "sorts rows",
    "temp_table": "keeps rows in a temporary structure",
    "automatic_index": "builds an index for this one execution",
}
_WITHOUT_STATISTICS: Final = (
    "{} has no statistics, because the query itself makes it: put its rows into a temporary table, and ANALYZE that"
)
_PLAIN: Final = re.compile(r"[^\W\d]\w*")


class ExplainAnalyzer:
    """Reads a plan and says what it does and what is wrong with it.

    Args:
        plan: As ``dbsight.explain`` returns it.

    Attributes:
        issues: What the plan does (severity ``info``: ``seq_scan``, ``index_scan``, ``nested_loop``, ``hash_join``,
            ``merge_join``, ``sort``, ``temp_table``) and what is wrong (``warning``: ``selective_filter``,
            ``missing_join_index``, ``misestimated_rows``, ``sort_spill``, ``hash_spill``, ``temp_btree``,
            ``large_nested_loop``, ``automatic_index``, ``filter_after_index``), from the top of the plan down.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._tables = {node.relation for node in plan.nodes() if node.relation}

    @computed
    def issues(self) -> list[PlanIssue]:
        """What the plan does and what is wrong with it, from the top down."""
        return list(self._visit(self.plan.root, ()))

    @property
    def recommendations(self) -> list[str]:
        """What to do about it: SQL that can be pasted, or a sentence; without duplicates."""
        return list(dict.fromkeys(issue.recommendation for issue in self.issues if issue.recommendation))

    @property
    def labels(self) -> list[str]:
        """Names of all issues, sorted, without duplicates."""
        return sorted({issue.name for issue in self.issues})

    def _visit(self, node: PlanNode, above: tuple[PlanNode, ...]) -> Iterator[PlanIssue]:
        if node.kind in _LABELS and node.kind != "automatic_index":
            where = f" {node.table}" if node.table else ""
            yield PlanIssue(node.kind, "info", f"{node.operation}{where}: {_LABELS[node.kind]}", "", node)
        if node.kind == "seq_scan":
            yield from self._scan(node, above)
        elif node.kind == "automatic_index":
            yield self._automatic_index(node)
        elif node.kind == "index_scan":
            yield from self._filter_after_index(node)
        elif node.kind == "nested_loop":
            yield from self._nested_loop(node)
        yield from self._misestimated(node, above)
        yield from self._spilled(node)
        if "TEMP B-TREE" in node.operation:
            clause = node.operation.rpartition(" FOR ")[2] if " FOR " in node.operation else "the query"
            advice = f"An index on the columns of {clause}, in their order, avoids the temporary b-tree"
            large = any((each.table_rows or 0) >= LARGE_TABLE for each in self.plan.nodes())
            severity = "warning" if large else "info"
            yield PlanIssue("temp_btree", severity, f"{node.operation}: builds a temporary b-tree", advice, node)  # type: ignore[arg-type]
        for child in node.children:
            yield from self._visit(child, (*above, node))

    def _scan(self, node: PlanNode, above: tuple[PlanNode, ...]) -> Iterator[PlanIssue]:
        size = node.table_rows
        if size is None and node.actual_rows is not None:
            size = node.actual_rows + (node.removed_rows or 0)
        if size is None or size < LARGE_TABLE:
            return
        if _is_inner(node, above):
            condition = _join_condition(node, above)
            yield PlanIssue(
                "missing_join_index",
                "warning",
                f"compares all {counted(round(size), 'row')} of {node.table} with each row of the other table",
                self._create_index(node, condition) or f"Index the columns that {node.table} is joined by",
                node,
            )
            return
        share = _share(node)
        if share is None:
            yield from self._scan_without_numbers(node, size)
        elif node.filter and share <= SELECTIVE:
            yield PlanIssue(
                "selective_filter",
                "warning",
                f"reads all {counted(round(size), 'row')} of {node.table} and keeps {share:.2%} of them",
                self._create_index(node, node.filter) or f"Index the columns that {node.table} is filtered by",
                node,
            )

    def _scan_without_numbers(self, node: PlanNode, size: float) -> Iterator[PlanIssue]:
        """SQLite names no filter and estimates nothing; an equality is selective to its planner, too."""
        kept = self.plan.root.actual_rows if len(self._tables) == 1 else None
        advice = self._create_index(node, node.filter)
        if advice and self._columns(node, node.filter).equal and (kept is None or kept <= size * SELECTIVE):
            text = f"reads all {counted(round(size), 'row')} of {node.table} to find some of them"
            yield PlanIssue("selective_filter", "warning", text, advice, node)

    def _automatic_index(self, node: PlanNode) -> PlanIssue:
        names = columns(node.condition or "", (), sole=True).indexed
        advice = self._index(node, names) or f"Index the columns that {node.table} is joined by"
        text = f"builds an index on {node.table} for this one execution, and drops it"
        return PlanIssue("automatic_index", "warning", text, advice, node)

    def _filter_after_index(self, node: PlanNode) -> Iterator[PlanIssue]:
        if not node.filter or node.removed_rows is None or node.actual_rows is None:
            return
        removed = node.removed_rows * (node.loops or 1)
        kept = node.actual_rows * (node.loops or 1)
        if removed >= LARGE_TABLE and removed >= kept * (1 / SELECTIVE - 1):
            both = " and ".join(filter(None, (node.condition, node.filter)))
            yield PlanIssue(
                "filter_after_index",
                "warning",
                f"reads {counted(round(removed + kept), 'row')} by {node.index or 'an index'} and discards"
                f" {count(removed)} of them",
                self._create_index(node, both) or "Add the filtered column to the index",
                node,
            )

    def _nested_loop(self, node: PlanNode) -> Iterator[PlanIssue]:
        outer = node.children[0] if node.children else None
        if outer is None:
            return
        rows = outer.actual_rows if outer.actual_rows is not None else outer.estimated_rows
        for between in node.children[1:-1]:  # MySQL and MariaDB have all tables of a join side by side
            rows = None if rows is None else rows * (between.estimated_rows or 1)
        inner = max((each.loops or 0 for each in node.children[1:]), default=0) or rows
        if inner is not None and inner >= MANY_LOOPS:
            yield PlanIssue(
                "large_nested_loop",
                "warning",
                f"runs its inner side {count(inner)} times",
                "Filter the outer side earlier, or join less: a hash join would read the inner side once",
                node,
            )

    def _misestimated(self, node: PlanNode, above: tuple[PlanNode, ...]) -> Iterator[PlanIssue]:
        estimated, actual = node.estimated_rows, node.actual_rows
        if estimated is None or actual is None or not node.loops or max(estimated, actual) < 100:
            return
        low, high = sorted((max(estimated, 1.0), max(actual, 1.0)))
        stopped = actual < estimated and any(each.operation.startswith("Limit") for each in above)
        if high / low < MISESTIMATED or stopped:
            return
        table = next((each.relation for each in node.walk() if each.table and not _is_made(each)), None)
        made = next((each.table for each in node.walk() if each.table and _is_made(each)), None)
        update = "ANALYZE TABLE" if self.plan.system in ("mysql", "mariadb") else "ANALYZE"
        together = [name.strip('"') for name in self._columns(node, node.filter).equal] if node.filter else []
        if self.plan.system == "postgresql" and len(together) > 1 and all(map(_PLAIN.fullmatch, together)):
            # Columns that depend on each other are taken for independent, however fresh the statistics are.
            update = f"CREATE STATISTICS ON {', '.join(together)} FROM {table}; ANALYZE"
        yield PlanIssue(
            "misestimated_rows",
            "warning",
            f"{node.operation} returns {counted(round(actual), 'row')}, {count(estimated)} were estimated",
            f"{update} {table}" if table else _WITHOUT_STATISTICS.format(made or "The intermediate result"),
            node,
        )

    def _spilled(self, node: PlanNode) -> Iterator[PlanIssue]:
        if not node.spill:
            return
        sorts = node.kind == "sort"
        memory = "work_mem" if self.plan.system == "postgresql" else "sort_buffer_size"
        written = count(node.spill / 1024)
        megabytes = math.ceil(node.spill * _IN_MEMORY / 2**20)
        needed = f"'{megabytes}MB'" if memory == "work_mem" else str(megabytes * 2**20)
        yield PlanIssue(
            "sort_spill" if sorts else "hash_spill",
            "warning",
            f"{node.operation} wrote {written} KiB to disk because {memory} was too small",
            f"SET {memory} = {needed} for this query" + (", or index the columns that it sorts by" if sorts else ""),
            node,
        )

    def _create_index(self, node: PlanNode, condition: str | None) -> str:
        """The statement that creates an index for a condition; empty where no column is certain."""
        return self._index(node, self._columns(node, condition).indexed)

    def _columns(self, node: PlanNode, condition: str | None) -> Columns:
        """What a condition compares of the node's table; without one, what the statement's conditions compare."""
        hidden = sanitized(condition, self.plan.system) if condition else conditions(self.plan.statement.text)
        owners = {name.lower() for name in (node.table, node.alias) if name}
        return columns(hidden or "", owners, sole=len(self._tables) == 1)

    def _index(self, node: PlanNode, names: tuple[str, ...]) -> str:
        if not names or not node.relation:
            return ""
        plain = [name.strip('"`') for name in names]
        label = "_".join(("ix", node.relation, *plain))[:63]
        if not _PLAIN.fullmatch(label):
            return ""
        concurrently = " CONCURRENTLY" if self.plan.system == "postgresql" and not node.partition_of else ""
        return f"CREATE INDEX{concurrently} {label} ON {node.relation} ({', '.join(names)})"


def _share(node: PlanNode) -> float | None:
    """Share of the table's rows that a scan keeps, as measured or else as estimated."""
    if node.actual_rows is not None and node.removed_rows is not None:
        read = node.actual_rows + node.removed_rows
        return node.actual_rows / read if read else None
    if node.estimated_rows is not None and node.table_rows:
        return node.estimated_rows / node.table_rows
    return None


def _is_made(node: PlanNode) -> bool:
    """Whether the query makes what the node reads: a ``WITH`` query or a derived table, not a table of the schema."""
    return node.kind == "temp_table" or node.operation.startswith("WorkTable")


def _is_inner(node: PlanNode, above: tuple[PlanNode, ...]) -> bool:
    """Whether the node runs once per row of the outer side of a nested loop."""
    child = node
    for parent in reversed(above):
        if parent.kind == "nested_loop":
            return parent.children[0] is not child
        if parent.kind not in ("temp_table", "other") or len(parent.children) > 1:
            return False
        child = parent
    return False


def _join_condition(node: PlanNode, above: tuple[PlanNode, ...]) -> str | None:
    loop = next((each for each in reversed(above) if each.kind == "nested_loop"), None)
    parts = [node.filter, loop.filter if loop else None, loop.condition if loop else None]
    return " AND ".join(filter(None, parts)) or None
