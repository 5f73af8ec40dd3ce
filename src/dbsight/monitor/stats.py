"""Totals over the life of the process: by fingerprint, by kind, slow queries, findings.

``add`` is called for every operation: about 1 µs, one uncontended lock, no allocation that stays but for the first
execution of a fingerprint. Everything else is computed by ``snapshot``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any

from dbsight import safety, semconv
from dbsight.model import (
    SEVERITIES,
    Database,
    KindTotals,
    MergedFinding,
    RouteTotals,
    SlowQuery,
    Snapshot,
    Statement,
)
from dbsight.monitor.quantiles import empty, quantiles
from dbsight.monitor.statement_record import StatementRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbsight.model import Finding, Operation, PlanSummary, Verdict, WindowSummary

_OTHER_STATEMENT = Statement(semconv.OTHER, "", semconv.OTHER, "0" * 16)
_OTHER_DATABASE = Database(semconv.OTHER)


class _State:
    """All that is counted; replaced whole by ``reset``, so that no total is half of before and half of after."""

    __slots__ = (
        "apart",
        "findings",
        "known",
        "lock",
        "other",
        "records",
        "request_db_time",
        "request_time",
        "requests",
        "routes",
        "slow",
        "window_time",
        "windows",
    )

    def __init__(self, max_slow_queries: int) -> None:
        self.lock = RLock()  # as in StatementRecord; guards everything here but reading ``records``
        self.records: dict[tuple[str, str], StatementRecord] = {}
        self.known: dict[Any, Any] = {}
        self.apart: dict[str, StatementRecord] = {}  # ping, setup
        self.other: dict[str, StatementRecord] = {}  # what found no room, by kind
        self.slow: deque[SlowQuery] = deque(maxlen=max_slow_queries)
        self.findings: dict[str, MergedFinding] = {}
        self.routes: dict[str, RouteTotals] = {}
        self.windows = 0
        self.requests = 0
        self.window_time = 0.0
        self.request_time = 0.0
        self.request_db_time = 0.0


class Stats:
    """Totals of the process, fed by the analyser with each operation and each closed window.

    Threads may call everything at any time: totals are exact, whatever the number of threads, with and without the
    global interpreter lock. Memory is bounded: 2 kB for a fingerprint, and the numbers below.

    Args:
        max_statements: Fingerprints (times databases) that are told apart; the rest is one record, ``other``.
        max_slow_queries: Latest slow operations that are remembered one by one.
        max_findings: Findings that are told apart. When there are a quarter more, those that would save the least
            time are forgotten.
        max_routes: Routes that are told apart; the rest is one record, ``other``.
    """

    def __init__(
        self,
        *,
        max_statements: int = 2000,
        max_slow_queries: int = 100,
        max_findings: int = 1000,
        max_routes: int = 500,
    ) -> None:
        self._max_routes = max_routes
        self._max_statements = max_statements
        self._max_slow_queries = max_slow_queries
        self._max_findings = max_findings
        self._state = _State(max_slow_queries)

    def keep(self, max_slow_queries: int) -> None:
        """Remember so many slow operations from now on."""
        self._max_slow_queries = max_slow_queries
        state = self._state
        with state.lock:
            state.slow = deque(state.slow, maxlen=max_slow_queries)

    def add(self, operation: Operation, verdict: Verdict | None = None) -> None:
        """Count one operation.

        Args:
            operation: It is read, not kept.
            verdict: What the rules said about it alone; its class puts it among the slow ones.
        """
        state = self._state
        record = self.record_of(operation)
        record.take_one(operation)
        if verdict is not None and verdict.query_class is not None:
            _remember_slow(state, record, operation, verdict)

    @property
    def known(self) -> dict[Any, Any]:
        """Where the analyzer keeps records that it found; another one after ``reset``."""
        return self._state.known

    def record_of(self, operation: Operation) -> StatementRecord:
        """What counts the operations of this fingerprint on this database; its ``take`` does so."""
        state = self._state
        record = state.records.get((operation.statement.fingerprint, operation.database.key))
        return record if record is not None else self._record_for(state, operation)

    def close(self, summary: WindowSummary) -> None:
        """Count one closed window and merge its findings by id: windows, counts and impacts are added."""
        state = self._state
        with state.lock:
            state.windows += 1
            state.window_time += summary.duration
            if summary.request:
                state.requests += 1
                state.request_time += summary.duration
                state.request_db_time += summary.db_time
            _count_route(state.routes, summary, self._max_routes)
            if summary.findings:
                _merge(state.findings, summary.findings, request=summary.request)
                self._forget_findings(state)

    def found(self, finding: Finding) -> None:
        """Merge a finding that belongs to no window."""
        state = self._state
        with state.lock:
            _merge(state.findings, (finding,), request=False)
            self._forget_findings(state)

    def planned(self, fingerprint: str, database: str, plan: PlanSummary) -> None:
        """A statement's plan is known: it stands with its totals, and with what was found of it being slow."""
        state = self._state
        record = state.records.get((fingerprint, database))
        if record is not None:
            record.plan = plan
        with state.lock:
            for merged in state.findings.values():
                found = merged.finding
                if found.rule != "slow_query" or found.statement is None or found.database is None:
                    continue
                if found.statement.fingerprint == fingerprint and found.database.key == database:
                    # It may stand on a span, and must not change there.
                    merged.finding = replace(found, plan=plan)

    def renew(self, finding: Finding) -> None:
        """A finding about totals says something else by now."""
        state = self._state
        with state.lock:
            known = state.findings.get(finding.id)
            if known is not None:
                known.finding, known.count, known.impact = finding, finding.count, finding.impact

    def replace(self, identity: str, by: str) -> None:
        """One finding says what another one said, too: it takes that one's place and its counts."""
        findings = self._state.findings
        with self._state.lock:
            if identity in findings and by in findings:
                old, new = findings.pop(identity), findings[by]
                new.count += old.count
                new.windows += old.windows
                new.requests += old.requests
                new.impact += old.impact

    def withdraw(self, identity: str) -> None:
        """A finding, by its id, is not true any more."""
        state = self._state
        with state.lock:
            state.findings.pop(identity, None)

    def snapshot(
        self,
        *,
        service: str = "",
        preset: str = "",
        exporting: bool = False,
        dropped: Mapping[str, int] | None = None,
    ) -> Snapshot:
        """Read all totals.

        Args:
            service: ``service.name`` of the resource.
            preset: Name of the preset in force.
            exporting: Whether spans leave the process.
            dropped: What was not remembered, by reason; by default what ``dbsight.safety`` counted.

        Returns:
            A record that shares nothing mutable with the totals. Statements come with most total time first, ``other``
            among them; findings with most time saved first. Each record is consistent in itself; operations that end
            meanwhile are in it or not.
        """
        state = self._state
        with state.lock:
            records = list(state.records.values())
            other = list(state.other.values())
            apart = list(state.apart.values())
            slow_queries = tuple(reversed(state.slow))
            findings = [replace(merged) for merged in state.findings.values()]
            routes = [replace(each) for each in state.routes.values()]
            windows, requests, window_time = state.windows, state.requests, state.window_time
            request_time, request_db_time = state.request_time, state.request_db_time
        # Outside the lock: 30 ms for 2000 fingerprints.
        told_apart = [record.copy() for record in records]
        rest = [record.copy() for record in other]
        counted = told_apart + rest
        p50, p95 = _quantiles(counted)
        statements = [record.totals() for record in (*told_apart, *_merged_other(rest))]
        return Snapshot(
            service=service,
            preset=preset,
            windows=windows,
            requests=requests,
            calls=sum(record.count for record in counted),
            db_time=sum(record.total for record in counted),
            window_time=window_time,
            findings=sorted(findings, key=rank, reverse=True),
            statements=sorted(statements, key=lambda totals: totals.total, reverse=True),
            dropped=safety.drops() if dropped is None else dict(dropped),
            exporting=exporting,
            slow=sum(record.slow for record in counted),
            very_slow=sum(record.very_slow for record in counted),
            failed=sum(record.errors for record in counted),
            kinds=_kinds(counted + [record.copy() for record in apart]),
            slow_queries=slow_queries,
            request_time=request_time,
            request_db_time=request_db_time,
            p50=p50,
            p95=p95,
            routes=sorted(routes, key=lambda each: each.db_time, reverse=True),
        )

    def reset(self) -> None:
        """Forget everything, locks included: in a forked child a lock may belong to a thread that is not there."""
        self._state = _State(self._max_slow_queries)

    def _record_for(self, state: _State, operation: Operation) -> StatementRecord:
        statement = operation.statement
        if statement.ping or statement.setup:
            return _shared(state, state.apart, "ping" if statement.ping else "setup")
        key = (statement.fingerprint, operation.database.key)
        with state.lock:
            record = state.records.get(key)
            if record is not None:
                return record
            if len(state.records) < self._max_statements:
                record = state.records[key] = StatementRecord(statement, operation.database, statement.kind)
                return record
        safety.dropped("statements")
        return _shared(state, state.other, statement.kind)

    def _forget_findings(self, state: _State) -> None:
        if len(state.findings) <= self._max_findings + self._max_findings // 4:
            return
        kept = sorted(state.findings.items(), key=lambda item: rank(item[1]), reverse=True)[: self._max_findings]
        safety.dropped("findings", len(state.findings) - len(kept))
        state.findings = dict(kept)


def _count_route(routes: dict[str, RouteTotals], summary: WindowSummary, most: int) -> None:
    totals = routes.get(summary.route)
    if totals is None:
        route = summary.route if len(routes) < most else semconv.OTHER
        totals = routes.setdefault(route, RouteTotals(route))
    totals.windows += 1
    totals.calls += summary.calls
    totals.db_time += summary.db_time
    totals.duration += summary.duration
    totals.max_calls = max(totals.max_calls, summary.calls)
    totals.findings += sum(found.severity != "info" for found in summary.findings)


def _shared(state: _State, records: dict[str, StatementRecord], kind: str) -> StatementRecord:
    record = records.get(kind)
    if record is None:
        with state.lock:
            record = records.setdefault(kind, StatementRecord(_OTHER_STATEMENT, _OTHER_DATABASE, kind))
    return record


def _remember_slow(state: _State, record: StatementRecord, operation: Operation, verdict: Verdict) -> None:
    statement = operation.statement
    if verdict.query_class is None or statement.ping or statement.setup:
        return
    with record.lock:
        if verdict.query_class == "very_slow":
            record.very_slow += 1
        else:
            record.slow += 1
    slow = SlowQuery(
        statement,
        operation.database,
        operation.start_ns,
        operation.duration,
        verdict.query_class,
        verdict.threshold,
        operation.call_site,
        0 if operation.context is None else operation.context.trace_id,
    )
    with state.lock:
        state.slow.append(slow)


def _merge(merged: dict[str, MergedFinding], findings: Iterable[Finding], *, request: bool) -> None:
    seen = set()
    for finding in findings:
        known = merged.get(finding.id)
        if known is None:
            known = merged[finding.id] = MergedFinding(finding, 0, 0, 0.0)
        if finding.id not in seen:  # several slow executions of one query in one window
            seen.add(finding.id)
            known.windows += 1
            known.requests += request
        known.count += finding.count
        known.impact += finding.impact
        if finding.impact > known.finding.impact:
            known.finding = finding


def _merged_other(records: list[StatementRecord]) -> list[StatementRecord]:
    if not records:
        return []
    merged = StatementRecord(_OTHER_STATEMENT, _OTHER_DATABASE, semconv.OTHER)
    for record in records:
        merged.merge(record)
    merged.call_site = None  # of many statements, the last line says nothing
    return [merged]


def _quantiles(records: Iterable[StatementRecord]) -> tuple[float, float]:
    """Median and 95th percentile of all operations together."""
    buckets, longest = empty(), 0.0
    for record in records:
        longest = max(longest, record.max)
        for index, count in enumerate(record.buckets):
            if count:
                buckets[index] += count
    p50, p95 = quantiles(buckets, longest, 0.5, 0.95)
    return p50, p95


def _kinds(records: Iterable[StatementRecord]) -> dict[str, KindTotals]:
    kinds: dict[str, KindTotals] = {}
    for record in records:
        totals = kinds.setdefault(record.kind, KindTotals())
        totals.count += record.count
        totals.errors += record.errors
        totals.total += record.total
        totals.max = max(totals.max, record.max)
    return kinds


def rank(merged: MergedFinding) -> tuple[float, int, int, str]:
    """Most time saved is greatest; then the more severe, the more often seen, and the id so that order is stable."""
    finding = merged.finding
    return (merged.impact, SEVERITIES.index(finding.severity), merged.count, finding.id)
