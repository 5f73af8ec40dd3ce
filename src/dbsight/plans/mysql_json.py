"""What ``FORMAT=JSON`` of MySQL and of MariaDB have in common: blocks within blocks, each named by what it does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dbsight.model import PlanNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import PlanKind

_INDEX_ACCESS: Final = frozenset(
    (
        *("const", "system", "eq_ref", "ref", "ref_or_null", "range", "index", "index_merge", "fulltext"),
        *("unique_subquery", "index_subquery"),
    )
)
_WRAPPERS: Final[dict[str, tuple[str, PlanKind]]] = {
    "filesort": ("FILESORT", "sort"),
    "read_sorted_file": ("READ SORTED FILE", "other"),
    "temporary_table": ("TEMPORARY TABLE", "temp_table"),
    "ordering_operation": ("ORDER", "other"),
    "grouping_operation": ("GROUP", "other"),
    "duplicates_removal": ("DISTINCT", "other"),
    "windowing": ("WINDOW", "other"),
    "buffer_result": ("BUFFER RESULT", "temp_table"),
    "union_result": ("UNION", "other"),
    "materialized": ("MATERIALIZE", "temp_table"),
    "materialized_from_subquery": ("MATERIALIZE", "temp_table"),
    "expression_cache": ("EXPRESSION CACHE", "other"),
    "block-nl-join": ("BLOCK NESTED LOOP", "other"),
}
"""Blocks that do something to the rows of the one inside."""


_HASHED: Final = ("BNLH", "BKAH")
"""MariaDB's joins by a hash table (``join_cache_level`` 3 and more)."""

_PROPERTIES: Final = frozenset(("cost_info", "r_engine_stats", "r_limit", "index_merge", "rowid_filter", "range"))


_MERGE: Final = re.compile(r"(?:sort_union|union|intersect)\((.*)\)")
_SIZE: Final = re.compile(r"([\d.]+)([KMG]?)(?:i?[Bb])?")
_MERGED: Final = re.compile(r"(?!(?:sort_union|union|intersect)\()[^,()]+")


def number(value: Any) -> float | None:
    """A number that may be written as text; None for none."""
    return None if value is None else float(value)


def read_block(block: dict[str, Any]) -> PlanNode:
    """Make a node of a ``query_block``."""
    children = list(_children(block))
    node = children[0] if len(children) == 1 else PlanNode("QUERY", children=children)
    cost = (block.get("cost_info") or {}).get("query_cost", block.get("cost"))
    if node.cost is None:
        node.cost = number(cost)
    total = block.get("r_total_time_ms")
    if total is not None and node.time is None:
        node.time = total / 1e3
    return node


def _children(block: dict[str, Any]) -> Iterator[PlanNode]:
    for name, value in block.items():
        if name == "table":
            yield _table(value)
        elif name == "nested_loop":
            yield _loop(value)
        elif name in _WRAPPERS:
            yield _wrapper(name, value)
        elif name == "query_block":
            yield read_block(value)
        elif isinstance(value, dict) and name not in _PROPERTIES:
            # MySQL's "insert_from", and whatever else surrounds a block in a version to come: what is inside counts.
            yield from _children(value)
        elif isinstance(value, list):
            # "query_specifications", "attached_subqueries", "select_list_subqueries" …
            for each in value:
                if isinstance(each, dict):
                    yield from _children(each)


def _loop(entries: list[dict[str, Any]]) -> PlanNode:
    children = [child for entry in entries for child in _children(entry)]
    if len(children) == 1:
        return children[0]
    hashed = next((child for child in children if child.kind == "hash_join"), None)
    if hashed is not None:
        children = [each if each is not hashed else hashed.children[0] for each in children]
        return PlanNode("HASH JOIN", "hash_join", condition=hashed.condition, children=children)
    return PlanNode("NESTED LOOP", "nested_loop", children=children)


def _wrapper(name: str, block: dict[str, Any]) -> PlanNode:
    operation, kind = _WRAPPERS[name]
    if block.get("using_filesort"):
        operation, kind = f"{operation} (filesort)", "sort"
    if block.get("using_temporary_table"):
        operation = f"{operation} (temporary table)"
        kind = "temp_table" if kind == "other" else kind
    if name == "block-nl-join" and block.get("join_type") in _HASHED:
        operation, kind = "HASH JOIN", "hash_join"
    key = block.get("sort_key")
    node = PlanNode(
        operation,
        kind,
        keys=(key,) if key else (),
        filter=block.get("attached_condition") if name == "block-nl-join" else None,
        loops=block.get("r_loops"),
        actual_rows=block.get("r_output_rows"),
        time=block["r_total_time_ms"] / 1e3 if block.get("r_total_time_ms") is not None else None,
        spill=_spilled(block),
    )
    node.children = list(_children(block))
    if "filesort" in operation and "temporary table" in operation:
        # MySQL says both of one block.
        node.operation = operation.replace(" (temporary table)", "")
        node.children = [PlanNode("TEMPORARY TABLE", "temp_table", children=node.children)]
    return node


def _spilled(block: dict[str, Any]) -> int | None:
    """Bytes that a sort of MariaDB wrote to disk, about: it fills its buffer as often as it says, once in memory."""
    size = _SIZE.fullmatch(str(block.get("r_buffer_size")))
    passes = float(block.get("r_sort_passes") or 0)
    return int(float(size[1]) * 1024 ** " KMG".index(size[2] or " ") * passes) if size and passes > 1 else None


def _table(table: dict[str, Any]) -> PlanNode:
    access = str(table.get("access_type", table.get("message", "no table"))).removeprefix("hash_")
    name = table.get("table_name")
    temporary = name is None or str(name).startswith("<")
    examined = number(table.get("rows_examined_per_scan", table.get("rows")))
    share = number(table.get("filtered"))
    costs = table.get("cost_info") or {}
    merged = [*_merged(table.get("index_merge")), *_merged_by_name(table.get("key"))]
    # MariaDB, which has "rows", has no statistics of a column without index: it expects every row to pass.
    guessed = access == "ALL" and share == 100 and "rows" in table and bool(table.get("attached_condition"))
    node = PlanNode(
        operation=access,
        kind="seq_scan" if access == "ALL" and not temporary else "index_scan" if access in _INDEX_ACCESS else "other",
        table=name,
        index=None if merged else _index(table.get("key")),
        condition=table.get("index_condition") or _reference(table),
        filter=table.get("attached_condition"),
        estimated_rows=None if examined is None or guessed else examined * (100.0 if share is None else share) / 100,
        cost=number(costs.get("prefix_cost", table.get("cost"))),
        table_rows=examined if access == "ALL" and not temporary else None,
        children=[*merged, *_children(table)],
    )
    _measured(node, table)
    if table.get("using_join_buffer") == "hash join":
        return PlanNode("HASH JOIN", "hash_join", condition=node.filter, cost=node.cost, children=[node])
    return node


def _index(key: Any) -> str | None:
    """The index that a table is read by; not the hash table that MariaDB makes for a join."""
    if not isinstance(key, str) or key.startswith("#hash#"):
        return key.partition(":")[2] or None if isinstance(key, str) else None
    return key


def _merged(block: Any) -> Iterator[PlanNode]:
    """The indexes of MariaDB's index merge: as on PostgreSQL a node each, without a table."""
    if isinstance(block, dict):
        if isinstance(block.get("key"), str):
            parts = block.get("used_key_parts") or ()
            yield PlanNode("index", "index_scan", index=block["key"], condition=", ".join(parts) or None)
        block = list(block.values())
    if isinstance(block, list):
        for each in block:
            yield from _merged(each)


def _merged_by_name(key: Any) -> Iterator[PlanNode]:
    """The indexes of MySQL's index merge, whose key is ``union(ix_a,intersect(ix_b,ix_c))``."""
    found = _MERGE.fullmatch(key) if isinstance(key, str) else None
    for name in _MERGED.findall(found[1]) if found else ():
        yield PlanNode("index", "index_scan", index=name)


def _reference(table: dict[str, Any]) -> str | None:
    parts, refs = table.get("used_key_parts"), table.get("ref")
    if not parts or not refs:
        return None
    return " and ".join(f"{part} = {ref}" for part, ref in zip(parts, refs, strict=False))


def _measured(node: PlanNode, table: dict[str, Any]) -> None:
    """MariaDB's measurements: rows are per loop, times of all loops."""
    rows, share = table.get("r_rows"), table.get("r_filtered")
    loops = table.get("r_loops", None if rows is None else 1)  # UPDATE and DELETE of one table
    if loops is None:
        return
    node.loops = loops
    if rows is not None:
        kept = rows * (100.0 if share is None else share) / 100
        node.actual_rows, node.removed_rows = kept, rows - kept
    total = table.get("r_total_time_ms")
    if total is None and "r_table_time_ms" in table:
        total = table["r_table_time_ms"] + table.get("r_other_time_ms", 0.0)
    if total is not None and loops:
        node.time = total / 1e3 / loops
    stats = table.get("r_engine_stats") or {}
    if "pages_accessed" in stats:
        node.buffers_read = int(stats.get("pages_read_count", 0))
        node.buffers_hit = int(stats["pages_accessed"]) - node.buffers_read
