"""Findings that one change mends, together: what reports list, with what to change for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dbsight.formatting import counted, seconds
from dbsight.model import SEVERITIES
from dbsight.report.time_bar import parts_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from dbsight.model import Finding, MergedFinding, Severity, Snapshot

_ABOUT_PLANS: Final = frozenset(("missing_index", "bad_plan", "regression"))
_ABOUT_ROWS: Final = ("unused_eager_load", "client_side_filter", "over_fetch", "unbounded_fetch")
"""Rules about what a query loads, the most specific advice first: where it is slow as well, that is why."""
_LARGE: Final = 0.5
"""Share of a slow query's time from which on one part of it is the cause."""

LABELS: Final = {
    "n_plus_one": "N+1",
    "slow_query": "SLOW",
    "redundant_query": "REDUNDANT",
    "row_by_row_write": "ROW BY ROW",
    "redis_chatter": "REDIS N+1",
    "connection_leak": "LEAK",
    "session_leak": "LEAK",
    "blocking_call": "BLOCKED LOOP",
}
"""Labels that differ from the name of the rule."""


@dataclass(slots=True)
class Cause:
    """Findings with one cause.

    Attributes:
        main: The finding that is shown first.
        others: What the same change mends.
        impact: s that the change would have saved so far; of findings about one query, the largest counts.
        fix: Code to paste, or what to do to find out more; empty if unknown.
        proof: What is known about the effect of the fix, such as a plan that uses the new index; may be empty.
    """

    main: MergedFinding
    others: list[MergedFinding]
    impact: float
    fix: str
    proof: str = ""

    @property
    def severity(self) -> Severity:
        """The highest severity of its findings."""
        return max((each.finding.severity for each in self.all), key=SEVERITIES.index)

    @property
    def all(self) -> list[MergedFinding]:
        """The main finding and the others."""
        return [self.main, *self.others]


def causes(findings: Sequence[MergedFinding]) -> list[Cause]:
    """Group findings by cause.

    A slow query, its plan and its missing index, or what it loads in vain, are one cause; so are slow queries with the
    same fix at one line, findings of one loop, N+1 queries of one request whose fixes are contained in each other, and
    what a pool reports of one line of code.

    Args:
        findings: In the order of their importance.

    Returns:
        Causes in the order of their first findings.
    """
    fixes: dict[str, list[str]] = {}
    for each in findings:
        if each.finding.rule == "n_plus_one":
            fixes.setdefault(each.finding.route, []).append(each.finding.suggestion)
    groups: dict[Hashable, list[MergedFinding]] = {}
    for each in findings:
        groups.setdefault(_key(each.finding, fixes.get(each.finding.route, ())), []).append(each)
    for each in findings:
        if each.finding.rule in _ABOUT_ROWS:
            _join_slow_query(each, groups)
    _join_roots(groups)
    found = _with_same_fix([_cause(group) for group in groups.values()])
    return sorted(found, key=lambda cause: -cause.impact)


def headline(snapshot: Snapshot, found: Iterable[Cause]) -> str:
    """One sentence that says what the most important changes would save; empty if nothing is known to be saved."""
    saving = [cause for cause in found if cause.impact > 0][:3]
    saved = sum(cause.impact for cause in saving)
    if not saving or not snapshot.calls:
        return ""
    changes = counted(len(saving), "change")
    verb = "would save" if len(saving) > 1 else "saves"
    text = f"{changes} {verb} about {seconds(saved)}"
    worst = max(snapshot.routes, key=lambda route: route.db_time, default=None)
    whole = max(snapshot.db_time, snapshot.window_time)
    if saved < whole:
        text += f" of {seconds(whole)} spent in requests" if snapshot.requests else f" of {seconds(whole)}"
    if worst is not None and worst.db_time > _LARGE * snapshot.db_time > 0 and worst.route:
        text += f"; most database time goes to {worst.route}"
    return text


def label(finding: Finding) -> str:
    """A short name of the rule for people: ``N+1``, ``VERY SLOW``."""
    name = LABELS.get(finding.rule) or finding.rule.replace("_", " ").upper()
    return f"VERY {name}" if finding.rule == "slow_query" and finding.severity == "error" else name


def _key(finding: Finding, fixes: Sequence[str]) -> Hashable:
    """What findings with one cause have in common; ``fixes`` are those of the N+1 queries of the same route."""
    if finding.statement is not None and finding.database is not None:
        if finding.rule == "slow_query" or finding.rule in _ABOUT_PLANS:
            return ("query", finding.statement.fingerprint, finding.database.key)
        if finding.rule == "n_plus_one" and finding.suggestion:
            longest = max((fix for fix in fixes if _contains(fix, finding.suggestion)), key=len)
            return ("fix", finding.route, longest)
    if finding.category == "pool" and finding.call_site is not None:
        return ("pool", str(finding.call_site))
    return finding.id


def _join_roots(groups: dict[Hashable, list[MergedFinding]]) -> None:
    """Put findings that have the cause of another one to that one."""
    keys = {each.finding.id: key for key, group in groups.items() for each in group}
    for key, group in list(groups.items()):
        roots = {keys.get(each.finding.root) for each in group if each.finding.root} - {None, key}
        root = roots.pop() if len(roots) == 1 and all(each.finding.root for each in group) else None
        if root in groups:  # which may have gone to another one itself
            groups[root] += groups.pop(key)


def _join_slow_query(about_rows: MergedFinding, groups: dict[Hashable, list[MergedFinding]]) -> None:
    """Put a finding about what a query loads to the slow query that it explains, unless a plan explains that."""
    statement, database = about_rows.finding.statement, about_rows.finding.database
    if statement is None or database is None:
        return
    group = groups.get(("query", statement.fingerprint, database.key), ())
    rules = {each.finding.rule for each in group if each.finding.rule == "slow_query" or each.finding.suggestion}
    if "slow_query" in rules and not rules & {*_ABOUT_PLANS, about_rows.finding.rule}:
        groups.pop(about_rows.finding.id, None)
        group.append(about_rows)  # type: ignore[union-attr]


def _with_same_fix(found: Sequence[Cause]) -> list[Cause]:
    """The same causes; slow queries of one line that one change mends are one."""
    known: dict[Hashable, Cause] = {}
    kept = []
    for cause in found:
        finding = cause.main.finding
        advised = finding.rule == "slow_query" and any(each.finding.suggestion.strip() for each in cause.all)
        if not advised or finding.call_site is None or finding.statement is None:
            kept.append(cause)
            continue
        key = (finding.route, str(finding.call_site), finding.statement.summary, cause.fix)
        first = known.setdefault(key, cause)
        if first is cause:
            kept.append(cause)
        else:
            first.others += cause.all
            first.impact += cause.impact
    return kept


def _contains(longer: str, shorter: str) -> bool:
    """Whether the options of one query include those of another one."""
    return longer.startswith(shorter.rstrip(")")) if "options(" in shorter else longer == shorter


def _cause(group: list[MergedFinding]) -> Cause:
    main = next((each for each in group if each.finding.rule == "slow_query"), group[0])
    if main.finding.rule == "n_plus_one":
        loads = [each for each in group if each.finding.rule == "n_plus_one"]
        main = max(loads, key=lambda each: len(each.finding.suggestion))
    others = [each for each in group if each is not main]
    impacts = [each.impact for each in group]
    of_one_loop = main.finding.rule == "n_plus_one" or any(each.finding.root == main.finding.id for each in others)
    impact = sum(impacts) if of_one_loop else max(impacts)
    index = next((each.finding for each in group if each.finding.rule == "missing_index"), None)
    if index is not None:
        return Cause(main, others, impact, index.suggestion, _proof(index))
    about_rows = [each for rule in _ABOUT_ROWS for each in others if each.finding.rule == rule]
    fix = next(
        (each.finding.suggestion for each in [*about_rows, main, *others] if each.finding.suggestion.strip()), ""
    )
    return Cause(main, others, impact, fix or way_forward(main.finding))


def _proof(index: Finding) -> str:
    costs = ""
    if index.current_value is not None and index.threshold is not None:
        costs = f": cost {index.current_value:.4g} → {index.threshold:.4g}"
    if index.details.get("proof") == "proved":
        return f"proved: the planner uses the index{costs}"
    return f"likely: not tried on the database{costs}"


def way_forward(finding: Finding) -> str:
    """What to do about a slow query without a known fix, from where its time went; empty for other rules."""
    if finding.rule != "slow_query":
        return ""
    parts = {kind.name: value for kind, value in parts_of(finding.details)}
    whole = sum(parts.values())
    rows = finding.details.get("rows") or 0
    largest = next((name for name, value in parts.items() if value > _LARGE * whole), "")
    if largest == "fetch" and rows > 1:
        return f".limit(100)  # returns {counted(rows, 'row')}; or load_only(…) for fewer columns"
    if largest in _BY_PART:
        return _BY_PART[largest]
    if finding.plan is not None:
        return "# the plan has no known fault: read fewer rows, or cache the result"
    if finding.statement is not None and finding.statement.system in _WITHOUT_PLANS:
        return "# read less per command, or cache the result in the process"
    return "OTEL_DBSIGHT_EXPLAIN=slow  # shows the plan and the missing index"


_BY_PART: Final = {
    "lock": "# commit the transaction that holds the lock earlier",
    "wait": "# give connections back earlier, or raise pool_size",
    "connect": "# keep connections open: create the engine once, without NullPool",
}
_WITHOUT_PLANS: Final = ("redis", "valkey", "elasticsearch", "mongodb")
