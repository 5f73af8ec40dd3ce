"""Totals of several processes as one, such as the saved runs of the workers of one server."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import fields, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dbsight.model import (
    CacheTotals,
    KindTotals,
    LockTotals,
    MergedFinding,
    ModelTotals,
    PoolSnapshot,
    PoolState,
    PoolTotals,
    RouteTotals,
    Snapshot,
    StatementTotals,
)
from dbsight.monitor.examples import MAX_EXAMPLES
from dbsight.monitor.recommend import recommendations
from dbsight.monitor.stats import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

Record = TypeVar("Record")

_SUMS: Final = (
    *("windows", "requests", "calls", "db_time", "window_time", "request_time", "request_db_time"),
    *("slow", "very_slow", "failed"),
)
_LARGEST: Final = frozenset(("max", "max_calls", "wait_max", "held_max", "wait_p95", "use_p95", "use_max"))
"""Numbers of which the largest counts; percentiles of pools cannot be added, so the worst process speaks."""


def merged(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Add the totals of several processes.

    Percentiles of statements are computed from their distributions. Of pools and routes with the same name, numbers are
    added, and the largest of maxima and percentiles is kept; of examples, the slowest of each route.

    Args:
        snapshots: At least one.
    """
    first = snapshots[0]
    if len(snapshots) == 1:
        return first
    dropped: Counter[str] = Counter()
    for each in snapshots:
        dropped.update(each.dropped)
    statements = _merge(_all(snapshots, "statements"), _statement_key, _statement)
    durations = [point for totals in statements for point in totals.durations]
    p50, p95 = _percentiles(durations) if durations else (first.p50, first.p95)
    result = Snapshot(
        service=", ".join(dict.fromkeys(each.service for each in snapshots if each.service)),
        preset=", ".join(dict.fromkeys(each.preset for each in snapshots if each.preset)),
        **{name: sum(getattr(each, name) for each in snapshots) for name in _SUMS},
        p50=p50,
        p95=p95,
        findings=sorted(_merge(_all(snapshots, "findings"), _finding_key, _finding), key=rank, reverse=True),
        statements=sorted(statements, key=lambda each: -each.total),
        routes=sorted(
            _merge(_all(snapshots, "routes"), lambda each: each.route, _added), key=lambda each: -each.db_time
        ),
        examples=_examples(snapshots),
        pools=_merge(_all(snapshots, "pools"), lambda each: each.state.name, _pool),
        memory=max((each.memory for each in snapshots), key=lambda each: max((one.rss for one in each), default=0)),
        caches=sorted(_merge(_all(snapshots, "caches"), _cache_key, _added), key=lambda each: -each.requests),
        locks=sorted(
            _merge(_all(snapshots, "locks"), lambda each: (each.system, each.lock), _added),
            key=lambda each: -each.wait_total,
        ),
        models=_merge(_all(snapshots, "models"), lambda each: each.model, _added),
        kinds=_kinds(snapshots),
        dropped=dict(dropped),
        unused=tuple(dict.fromkeys(line for each in snapshots for line in each.unused)),
        exporting=any(each.exporting for each in snapshots),
    )
    result.recommendations = recommendations(result)
    return result


def _all(snapshots: Sequence[Snapshot], name: str) -> list[Any]:
    return [record for each in snapshots for record in getattr(each, name)]


def _merge(
    records: Iterable[Record], key: Callable[[Record], Hashable], add: Callable[[Record, Record], Record]
) -> list[Record]:
    by_key: dict[Hashable, Record] = {}
    for record in records:
        known = by_key.get(key(record))
        by_key[key(record)] = record if known is None else add(known, record)
    return list(by_key.values())


Totals = TypeVar("Totals", CacheTotals, LockTotals, ModelTotals, RouteTotals, KindTotals, PoolTotals)


def _added(one: Totals, other: Totals) -> Totals:
    """Numbers are added, or the larger is kept; of anything else, what is known last."""
    changes: dict[str, Any] = {}
    for field in fields(one):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, (int, float)) and isinstance(its, (int, float)):
            changes[field.name] = max(mine, its) if field.name in _LARGEST else mine + its
        else:
            changes[field.name] = its or mine
    return replace(one, **changes)


def _finding_key(merged_finding: MergedFinding) -> str:
    return merged_finding.finding.id


def _finding(one: MergedFinding, other: MergedFinding) -> MergedFinding:
    return MergedFinding(
        max(one.finding, other.finding, key=lambda each: each.impact),
        one.windows + other.windows,
        one.count + other.count,
        one.impact + other.impact,
        one.requests + other.requests,
    )


def _statement_key(totals: StatementTotals) -> Hashable:
    return (totals.statement.fingerprint, totals.database.key)


def _statement(one: StatementTotals, other: StatementTotals) -> StatementTotals:
    durations: Counter[float] = Counter()
    for duration, number in (*one.durations, *other.durations):
        durations[duration] += number
    points = tuple(sorted(durations.items()))
    p50, p95 = _percentiles(points) if points else (max(one.p50, other.p50), max(one.p95, other.p95))
    longest = max(one.max, other.max)
    return StatementTotals(
        one.statement,
        one.database,
        one.count + other.count,
        one.errors + other.errors,
        one.total + other.total,
        min(p50, longest),
        min(p95, longest),
        longest,
        one.rows + other.rows,
        other.call_site or one.call_site,
        other.plan or one.plan,
        points,
    )


def _percentiles(points: Iterable[tuple[float, int]]) -> tuple[float, float]:
    ordered = sorted(points)
    whole = sum(number for _, number in ordered)
    seen = list(accumulate(number for _, number in ordered))
    p50, p95 = (ordered[bisect_left(seen, share * whole)][0] for share in (0.5, 0.95))
    return p50, p95


def _cache_key(totals: CacheTotals) -> Hashable:
    return (totals.cache, totals.layer, totals.key_prefix, totals.model)


def _pool(one: PoolSnapshot, other: PoolSnapshot) -> PoolSnapshot:
    a, b = one.state, other.state
    state = replace(
        a,
        **{
            name: getattr(a, name) + getattr(b, name)
            for name in ("used", "idle", "pending", "overflow", "pools", "made", "clients", "created", "most")
        },
        closed_by=dict(Counter(a.closed_by) + Counter(b.closed_by)),
        max=_limit(a, b, "max"),
        idle_max=_limit(a, b, "idle_max"),
        holders=[*a.holders, *b.holders],
    )
    totals = replace(_added(one.totals, other.totals), leaked=[*one.totals.leaked, *other.totals.leaked])
    return PoolSnapshot(state, totals, one.series or other.series, [*one.uses, *other.uses])


def _limit(a: PoolState, b: PoolState, name: str) -> int | None:
    mine, its = getattr(a, name), getattr(b, name)
    return None if mine is None or its is None else mine + its


def _examples(snapshots: Sequence[Snapshot]) -> list[Any]:
    best = _merge(
        _all(snapshots, "examples"),
        lambda each: each.route,
        lambda one, other: max(one, other, key=lambda each: (bool(each.findings), each.duration)),
    )
    return sorted(best, key=lambda each: -each.duration)[:MAX_EXAMPLES]


def _kinds(snapshots: Sequence[Snapshot]) -> dict[str, KindTotals]:
    kinds: dict[str, KindTotals] = {}
    for each in snapshots:
        for kind, totals in each.kinds.items():
            kinds[kind] = _added(kinds[kind], totals) if kind in kinds else totals
    return kinds
