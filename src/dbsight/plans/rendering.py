"""Plans as text, tree and JSON, all without literals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight import formatting, statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import Plan, PlanNode


def sanitized(expression: str | None, system: str) -> str | None:
    """An expression of a plan with its literals hidden, as in query texts."""
    return expression and statement.read(expression, system).text


def as_text(plan: Plan) -> str:
    """One line per node, indented, with ``->`` in front of all but the first."""
    return "\n".join(_indented(plan.root, plan.system, 0))


def _indented(node: PlanNode, system: str, depth: int) -> Iterator[str]:
    yield f"{'      ' * (depth - 1)}{'  ->  ' if depth else ''}{_line(node, system)}"
    for name, value in _expressions(node, system):
        yield f"{'      ' * depth}  {name}: {value}"
    for child in node.children:
        yield from _indented(child, system, depth + 1)


def as_tree(plan: Plan) -> str:
    """The same, drawn with lines."""
    return "\n".join(_branches(plan.root, plan.system, "", ""))


def _branches(node: PlanNode, system: str, first: str, rest: str) -> Iterator[str]:
    yield first + _line(node, system)
    bar = "│ " if node.children else "  "
    for name, value in _expressions(node, system):
        yield f"{rest}{bar}{name}: {value}"
    for place, child in enumerate(node.children, 1):
        last = place == len(node.children)
        yield from _branches(child, system, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


_WITHOUT_COSTS: Final = ("seq_scan", "automatic_index", "temp_table", "sort")
"""Steps that cost most where the database reports neither times nor costs, the worst first."""


def costly_line(plan: Plan) -> int:
    """Which line of ``as_tree`` is the step that costs most by itself, without its children.

    Measured times count where the statement was executed, else estimated costs, else what the step does.

    Returns:
        The line from 0; -1 if unknown.
    """
    worst = _costliest(plan)
    line = 0
    for node in plan.nodes():
        if node is worst:
            return line
        line += 1 + sum(1 for _ in _expressions(node, plan.system))
    return -1


def _costliest(plan: Plan) -> PlanNode | None:
    nodes = list(plan.nodes())
    for share in (_time, _cost):
        if share(plan.root):
            return max(nodes, key=lambda node: share(node) - sum(map(share, node.children)))
    ranked = [node for node in nodes if node.kind in _WITHOUT_COSTS]
    return min(ranked, key=lambda node: _WITHOUT_COSTS.index(node.kind), default=None)


def _time(node: PlanNode) -> float:
    return (node.time or 0.0) * (node.loops or 1.0)


def _cost(node: PlanNode) -> float:
    return node.cost or 0.0


def _line(node: PlanNode, system: str) -> str:
    words = [sanitized(node.operation, system) if "'" in node.operation else node.operation]
    if node.table:
        words.append(f"on {node.table}")
        if node.alias and node.alias != node.table:
            words.append(node.alias)
    if node.index:
        words.append(f"using {node.index}")
    numbers = list(_numbers(node))
    return " ".join(filter(None, words)) + (f"  ({', '.join(numbers)})" if numbers else "")


def _numbers(node: PlanNode) -> Iterator[str]:
    if node.estimated_rows is not None:
        yield f"estimated {_rows(node.estimated_rows)}"
    if node.actual_rows is not None:
        yield f"actual {_rows(node.actual_rows)}"
    if node.loops is not None and node.loops != 1:
        yield formatting.counted(round(node.loops), "loop")
    if node.cost is not None:
        yield f"cost {node.cost:.6g}"
    if node.time is not None:
        yield formatting.seconds(node.time)
    if node.spill:
        yield f"{formatting.count(node.spill / 1024)} KiB on disk"


def _rows(value: float) -> str:
    return formatting.counted(round(value), "row")


def _expressions(node: PlanNode, system: str) -> Iterator[tuple[str, str]]:
    for name, value in (("condition", node.condition), ("filter", node.filter)):
        shown = sanitized(value, system)
        if shown:
            yield name, shown
    if node.keys:
        yield "keys", ", ".join(sanitized(key, system) or "" for key in node.keys)
    if node.removed_rows:
        yield "rows removed by filter", formatting.count(node.removed_rows)


_FIELDS = (
    *("table", "alias", "index", "estimated_rows", "actual_rows", "removed_rows", "loops", "cost", "time"),
    *("buffers_hit", "buffers_read", "spill", "table_rows"),
)


def as_json(plan: Plan) -> dict[str, Any]:
    """What ``json.dumps`` takes: the nodes with what is known of them, times in seconds."""
    return {
        "system": plan.system,
        "statement": plan.statement.text,
        "fingerprint": plan.statement.fingerprint,
        "hash": plan.hash,
        "analyzed": plan.analyzed,
        "cost": plan.cost,
        "planning_time": plan.planning_time,
        "execution_time": plan.execution_time,
        "plan": _fields(plan.root, plan.system),
    }


def _fields(node: PlanNode, system: str) -> dict[str, Any]:
    known: dict[str, Any] = {
        "operation": sanitized(node.operation, system) if "'" in node.operation else node.operation
    }
    known["kind"] = node.kind
    for name in _FIELDS:
        value = getattr(node, name)
        if value is not None:
            known[name] = value
    for name, value in (("condition", node.condition), ("filter", node.filter)):
        if value:
            known[name] = sanitized(value, system)
    if node.keys:
        known["keys"] = [sanitized(key, system) for key in node.keys]
    known["children"] = [_fields(child, system) for child in node.children]
    return known
