"""What is shown of watched processes: rows of requests, queries, pools and findings, summed over the chosen ones."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dbsight import semconv
from dbsight.model import Snapshot
from dbsight.monitor.merging import merged
from dbsight.monitor.quantiles import percentile
from dbsight.report import finding_text
from dbsight.report.causes import causes, label
from dbsight.report.layout import one_line, summary_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbsight.cli.top.watch import Ended, Watch, Worker
    from dbsight.model import PoolSnapshot, Severity, StatementTotals
    from dbsight.report.causes import Cause

OUTSIDE: Final = "(outside spans)"
"""Name of units of work without a span."""


@dataclass
class RequestRow:
    """Requests, tasks and other units of work with one name.

    Attributes:
        route: ``GET /orders``.
        count: Since the processes started.
        per_second: In the last minute.
        p50: s; of the latest ones, None if none is kept.
        p95: s; as ``p50``.
        queries: Per request; of the latest ones, else of all.
        db_share: Share of their time in the database, at most 1; of the latest ones, else of all.
        findings: Findings in them, since the start.
    """

    route: str
    count: int
    per_second: float
    p50: float | None
    p95: float | None
    queries: float
    db_share: float
    findings: int


@dataclass
class QueryRow:
    """Executions of one statement.

    Attributes:
        fingerprint: Of the statement.
        summary: ``SELECT orders``.
        system: ``db.system.name``.
        count: Since the processes started.
        per_second: In the last minute.
        total: s, all executions.
        share: Share of the time in the database.
        p50: s.
        p95: s.
        max: s.
        errors: Executions that failed.
        place: Latest line of the application, empty if unknown.
        text: The statement without literals.
        database: Short name.
    """

    fingerprint: str
    summary: str
    system: str
    count: int
    per_second: float
    total: float
    share: float
    p50: float
    p95: float
    max: float
    errors: int
    place: str
    text: str
    database: str


@dataclass
class PoolRow:
    """The connection pools of one name; numbers of several processes are added, of maxima the largest counts.

    Attributes:
        name: ``db.client.connection.pool.name``.
        library: ``sqlalchemy``, ``redis`` …
        used: Connections that are out now.
        idle: Connections in the pool now.
        max: Connections that it may open, None without a limit.
        waiting: Requests that wait for a connection now.
        waits: Requests that waited, since the start.
        wait_p95: s.
        timeouts: Requests that got no connection in time.
        leaks: Connections that were not given back.
    """

    name: str
    library: str
    used: int
    idle: int
    max: int | None
    waiting: int
    waits: int
    wait_p95: float
    timeouts: int
    leaks: int


@dataclass
class FindingRow:
    """Findings that one change mends.

    Attributes:
        id: Of the most important one.
        rule: ``n_plus_one``.
        severity: ``info``, ``warning`` or ``error``.
        label: ``N+1``.
        title: One line.
        route: Where it was found, empty if it belongs to no request.
        place: Line of the application, empty if unknown.
        count: How often it was seen in all.
        impact: s that the fix would have saved so far.
        fix: Code to paste, or what to do to find out more; may be empty.
        first_seen: s since the epoch; None if it was there before this watched.
        last_seen: s since the epoch; None if unknown.
        cause: What the details show.
    """

    id: str
    rule: str
    severity: Severity
    label: str
    title: str
    route: str
    place: str
    count: int
    impact: float
    fix: str
    first_seen: float | None
    last_seen: float | None
    cause: Cause


@dataclass
class View:
    """One reading of the chosen processes.

    Attributes:
        workers: All that are watched.
        chosen: Those that are summed.
        snapshot: Their totals.
        per_second: Units of work per second, in the last minute.
        missed: Units of work that ended between two readings and were not kept.
    """

    workers: Sequence[Worker]
    chosen: Sequence[Worker]
    snapshot: Snapshot
    per_second: float
    missed: int
    requests: list[RequestRow] = field(default_factory=list)
    queries: list[QueryRow] = field(default_factory=list)
    pools: list[PoolRow] = field(default_factory=list)
    findings: list[FindingRow] = field(default_factory=list)

    @property
    def db_share(self) -> float:
        """Share of the time of units of work in the database, at most 1."""
        return _share(self.snapshot.db_time, self.snapshot.window_time)


def view(watch: Watch, wanted: Callable[[Worker], bool] | None = None) -> View:
    """Sum what the latest reading of the processes says.

    Args:
        watch: After at least one reading.
        wanted: Whether a process counts; None for all.

    Returns:
        Rows in no particular order, except findings: the most important first.
    """
    workers = watch.workers
    chosen = [worker for worker in workers if worker.snapshot is not None and (wanted is None or wanted(worker))]
    known = [worker.snapshot for worker in chosen if worker.snapshot is not None]
    snapshot = merged(known) if known else Snapshot()
    living = [
        worker.snapshot
        for worker in chosen
        # A master that imported the application has a pool as its workers do, which it never uses.
        if worker.snapshot is not None and worker.state != "ended" and not is_helper(worker, chosen)
    ]
    requests, per_second = _requests(chosen, snapshot)
    rates = [worker.rates() for worker in chosen if worker.state != "ended"]
    return View(
        workers,
        chosen,
        snapshot,
        per_second,
        sum(worker.missed for worker in chosen),
        requests,
        [_query(totals, snapshot, rates) for totals in snapshot.statements],
        [_pool(pool) for pool in merged(living).pools if pool.state.pools or pool.totals.checkouts] if living else [],
        [_finding(cause, watch) for cause in causes(snapshot.findings)],
    )


def is_helper(worker: Worker, workers: Sequence[Worker]) -> bool:
    """Whether a process has done nothing itself, such as the master of a server whose workers do the work."""
    idle = worker.snapshot is not None and not worker.snapshot.calls
    return idle and any(other.snapshot is not None and other.snapshot.calls for other in workers)


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _requests(chosen: Sequence[Worker], snapshot: Snapshot) -> tuple[list[RequestRow], float]:
    kept: defaultdict[str, list[Ended]] = defaultdict(list)
    rates: defaultdict[str, float] = defaultdict(float)
    for worker in chosen:
        over, older = worker.recent
        for number, unit in enumerate(worker.units):
            kept[unit.route].append(unit)
            if number >= older and worker.state != "ended":
                rates[unit.route] += 1 / over
    rows = []
    for totals in snapshot.routes:
        units = kept[totals.route]
        durations = sorted(unit.duration for unit in units)
        calls, db_time, duration, number = (
            (sum(unit.calls for unit in units), sum(unit.db_time for unit in units), sum(durations), len(units))
            if units
            else (totals.calls, totals.db_time, totals.duration, totals.windows)
        )
        rows.append(
            RequestRow(
                OUTSIDE if totals.route in {"", semconv.WINDOW_SPAN} else one_line(totals.route),
                totals.windows,
                rates[totals.route],
                percentile(durations, 50) if units else None,
                percentile(durations, 95) if units else None,
                calls / number if number else 0.0,
                _share(db_time, duration),
                totals.findings,
            )
        )
    return rows, sum(rates.values())


def _query(
    totals: StatementTotals, snapshot: Snapshot, rates: Sequence[Callable[[StatementTotals], float]]
) -> QueryRow:
    statement = totals.statement
    return QueryRow(
        statement.fingerprint,
        summary_line(statement.summary) or statement.system,
        statement.system,
        totals.count,
        sum(rate(totals) for rate in rates),
        totals.total,
        _share(totals.total, snapshot.db_time),
        totals.p50,
        totals.p95,
        totals.max,
        totals.errors,
        finding_text.place(totals.call_site) if totals.call_site is not None else "",
        statement.text,
        one_line(totals.database.label),
    )


def _pool(pool: PoolSnapshot) -> PoolRow:
    state, totals = pool.state, pool.totals
    return PoolRow(
        one_line(state.name),
        state.library,
        state.used,
        state.idle,
        state.max,
        state.pending,
        totals.waits,
        totals.wait_p95,
        totals.timeouts,
        totals.leaks,
    )


def _finding(cause: Cause, watch: Watch) -> FindingRow:
    finding = cause.main.finding
    identities = [each.finding.id for each in cause.all]
    return FindingRow(
        finding.id,
        finding.rule,
        cause.severity,
        label(finding),
        finding_text.title(finding),
        one_line(finding.route),
        finding_text.place(finding.call_site) if finding.call_site is not None else "",
        cause.main.count,
        cause.impact,
        cause.fix,
        watch.first_seen.get(finding.id),
        max(map(watch.last_seen, identities)) or None,
        cause,
    )
