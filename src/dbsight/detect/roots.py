"""Findings of one window that have one cause: the root, and what goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from dbsight.model import Finding

_LOOPS: Final = frozenset(("n_plus_one", "row_by_row_write", "redundant_query", "redis_chatter", "unprepared_repeat"))
"""Rules about what a loop does in each of its rounds."""
_OF_ONE_QUERY: Final = (
    ("unbounded_fetch", frozenset(("memory_spike", "text_smell", "over_fetch"))),
    ("memory_spike", frozenset(("text_smell", "over_fetch"))),
    ("retry_storm", frozenset(("error_burst",))),
)
"""A rule, and the rules that see the same fault of the same query less clearly."""
_ALIKE: Final = 0.1
"""Share by which the numbers of rounds may differ: a loop may skip some of its statements."""


def link(findings: Sequence[Finding]) -> None:
    """Name the root of each finding that another one explains.

    Args:
        findings: Of one window; not yet exported. Their ``root`` is set.
    """
    if len(findings) < 2:
        return
    loops: dict[Hashable, list[Finding]] = {}
    for each in findings:
        if each.rule in _LOOPS and each.call_site is not None:
            loops.setdefault((each.call_site.file, each.call_site.function), []).append(each)
    for group in loops.values():
        _link_loop(group)
    by_query: dict[Hashable, dict[str, Finding]] = {}
    for each in findings:
        if each.statement is not None and each.database is not None:
            by_query.setdefault((each.statement.fingerprint, each.database.key), {})[each.rule] = each
    for known in by_query.values():
        for rule, followers in _OF_ONE_QUERY:
            if rule in known:
                _follow(known[rule], [each for name, each in known.items() if name in followers])


def _link_loop(group: list[Finding]) -> None:
    """Of findings in one function with about as many rounds, the one that would save most is the root."""
    left = sorted(group, key=lambda each: (-each.impact, each.id))
    while left:
        root = left.pop(0)
        same = [each for each in left if abs(each.count - root.count) <= max(1, _ALIKE * root.count)]
        _follow(root, same)
        left = [each for each in left if not each.root]


def _follow(root: Finding, others: Iterable[Finding]) -> None:
    for each in others:
        if not each.root and not root.root:
            each.root = root.id
