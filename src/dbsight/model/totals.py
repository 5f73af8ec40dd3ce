"""Totals of the process: what reports and rules about totals read."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbsight.model.events import OpenedBy
    from dbsight.model.examples import WindowExample
    from dbsight.model.finding import MergedFinding, QueryClass
    from dbsight.model.monitoring import Recommendation, RouteTotals
    from dbsight.model.plan import PlanSummary
    from dbsight.model.pools import PoolSnapshot
    from dbsight.model.query import CallSite, Database, Statement


@record()
class StatementTotals:
    """Totals of one fingerprint on one database over the life of the process.

    Attributes:
        statement: One of its statements.
        database: Where.
        count: Executions.
        errors: Of these, how many failed.
        total: s.
        p50: s, estimated.
        p95: s, estimated.
        max: s.
        rows: Rows returned by all executions together.
        call_site: Where it ran most recently.
        plan: Its latest plan, None when none was asked for.
        durations: s, estimated, each with the number of executions that took so long; empty when unknown.
    """

    statement: Statement
    database: Database
    count: int
    errors: int
    total: float
    p50: float
    p95: float
    max: float
    rows: int
    call_site: CallSite | None = None
    plan: PlanSummary | None = None
    durations: tuple[tuple[float, int], ...] = field(default=(), compare=False, repr=False)


@record()
class KindTotals:
    """Totals of one kind of statement over the life of the process.

    Attributes:
        count: Executions.
        errors: Of these, how many failed.
        total: s.
        max: s.
    """

    count: int = 0
    errors: int = 0
    total: float = 0.0
    max: float = 0.0


@record()
class SlowQuery:
    """One execution that crossed a limit.

    Attributes:
        statement: What ran.
        database: Where it ran.
        start_ns: When it began, ns since the epoch.
        duration: s.
        query_class: ``slow`` or ``very_slow``.
        threshold: s; the limit that it crossed.
        call_site: The line of the application.
        trace_id: 128-bit integer, 0 when it belongs to no trace.
    """

    statement: Statement
    database: Database
    start_ns: int
    duration: float
    query_class: QueryClass
    threshold: float | None = None
    call_site: CallSite | None = None
    trace_id: int = 0


@record()
class OpenTransaction:
    """A transaction that is not over.

    Attributes:
        database: Where.
        call_site: Where it began.
        age: s since then.
        idle: s since its latest statement ended.
        queries: Statements in it so far.
        writes: Of these, those that wrote.
        opened_by: What opened it.
        allowed: Rules allowed when it began.
    """

    database: Database
    call_site: CallSite | None
    age: float
    idle: float
    queries: int = 0
    writes: int = 0
    opened_by: OpenedBy = "sqlalchemy"
    allowed: frozenset[str] = frozenset()


@record()
class TransactionTotals:
    """Transactions of one database over the life of the process.

    Attributes:
        database: Where.
        commits: Those that wrote and were committed.
        rollbacks: Those that wrote and were rolled back.
        call_site: Where the latest one that was rolled back began.
    """

    database: Database
    commits: int = 0
    rollbacks: int = 0
    call_site: CallSite | None = None


@record()
class MemorySample:
    """One point of the process's memory.

    Attributes:
        at_ns: ns since the epoch.
        rss: bytes resident.
        vms: bytes of virtual memory.
    """

    at_ns: int
    rss: int
    vms: int


@record()
class CacheTotals:
    """Look-ups in one cache over the life of the process.

    Attributes:
        cache: Name of the cache.
        layer: ``l1``, ``l2`` … or empty.
        key_prefix: Template of the keys, or empty.
        model: ORM model that is cached, or empty.
        hits: Keys that were found.
        misses: Keys that were not.
        stores: Keys that were written.
        removals: Keys that the application removed.
        evictions: Keys that the cache dropped by itself.
        size: Bytes of the values found, as far as they are known.
        sized: Hits whose size is known.
        call_site: Where it missed most recently.
    """

    cache: str
    layer: str = ""
    key_prefix: str = ""
    model: str = ""
    hits: int = 0
    misses: int = 0
    stores: int = 0
    removals: int = 0
    evictions: int = 0
    size: int = 0
    sized: int = 0
    call_site: CallSite | None = None

    @property
    def requests(self) -> int:
        """Hits and misses."""
        return self.hits + self.misses

    @property
    def hit_ratio(self) -> float:
        """Hits as a share of all look-ups, 0 to 1; 0 when there were none."""
        return self.hits / self.requests if self.requests else 0.0

    def copy(self) -> CacheTotals:
        """The totals as they are now."""
        return replace(self)


@record()
class LockTotals:
    """One distributed lock over the life of the process.

    Attributes:
        system: ``redis`` or ``postgresql``.
        lock: Template of its name.
        acquired: How often it was got.
        failed: How often it was given up.
        contended: How often it took more than one try.
        attempts: All tries.
        acquired_total: s taken by the successful ones.
        wait_total: s taken by all.
        wait_max: s.
        releases: How often it was released.
        held_total: s held, until the releases.
        held_max: s.
        leaks: How often it was held beyond its time, or never released.
        paced: Contended ones whose pauses are known.
        fixed: Of these, those that paused for the same time each time.
        call_site: Where it was contended most recently.
        leak_site: Where a leaked one was taken.
    """

    system: str
    lock: str
    acquired: int = 0
    failed: int = 0
    contended: int = 0
    attempts: int = 0
    acquired_total: float = 0.0
    wait_total: float = 0.0
    wait_max: float = 0.0
    releases: int = 0
    held_total: float = 0.0
    held_max: float = 0.0
    leaks: int = 0
    paced: int = 0
    fixed: int = 0
    call_site: CallSite | None = None
    leak_site: CallSite | None = None

    @property
    def tries(self) -> int:
        """Number of acquisitions, failed ones included."""
        return self.acquired + self.failed

    def copy(self) -> LockTotals:
        """The totals as they are now."""
        return replace(self)


@record()
class ModelTotals:
    """What the ORM did with the objects of one class, over the life of the process.

    Attributes:
        model: Name of the class.
        loads: Objects made from rows.
        inserts: Objects that flushes inserted.
        updates: Objects that flushes updated.
        deletes: Objects that flushes deleted.
        reads: Queries of the ORM for the class.
        read_time: s; of these queries.
        writes: Statements of the ORM that wrote its table.
        write_time: s; of these statements.
    """

    model: str
    loads: int = 0
    inserts: int = 0
    updates: int = 0
    deletes: int = 0
    reads: int = 0
    read_time: float = 0.0
    writes: int = 0
    write_time: float = 0.0

    def copy(self) -> ModelTotals:
        """The totals as they are now."""
        return replace(self)


@record()
class RepeatedRead:
    """One query with the same values in several units of work.

    Attributes:
        statement: What ran.
        database: Where it ran.
        call_site: Where in the application, the first time.
        times: In how many units of work.
        total: s; of all executions.
        writes: Statements that wrote one of its tables since it ran first.
        allowed: Rules allowed when it ran first.
    """

    statement: Statement
    database: Database
    call_site: CallSite | None
    times: int
    total: float
    writes: int = 0
    allowed: frozenset[str] = frozenset()


@record()
class Snapshot:
    """Totals of the process at one moment; what reports and rules about totals read.

    Attributes:
        service: ``service.name`` of the resource.
        preset: Name of the preset in force.
        windows: Units of work that were closed.
        requests: Of these, those whose root is a SERVER or CONSUMER span.
        calls: Operations; pings and connection setup are in ``kinds`` alone, here and in all other figures.
        db_time: s in the database, all together.
        p50: s; median of all operations, estimated.
        p95: s; 95th percentile of all operations, estimated.
        slow: Operations over the slow limit, but not over the very slow one.
        very_slow: Operations over the very slow limit.
        failed: Operations that ended with an error.
        kinds: Totals by kind of statement, and ``ping`` and ``setup``; kinds that never ran are absent.
        slow_queries: The latest operations over a limit, newest first.
        pools: The connection pools of the process, by target.
        transactions: Those that are open, oldest first; bounded.
        transaction_totals: By database.
        memory: Of the process, oldest first: a point a minute, an hour at most.
        caches: Totals by cache, layer, key template and model, most look-ups first.
        locks: Totals by lock, most time waited first.
        models: Totals by class of the ORM, most time first.
        repeated_reads: Queries with the same values in several units of work, most time first; bounded.
        recommendations: What to change first.
        window_time: s that the windows took, all together.
        request_time: s of these that requests took.
        request_db_time: s that requests spent in the database.
        findings: Merged by id over all windows, counts and impacts added, most time saved first.
        statements: Totals by fingerprint, most total time first.
        routes: Totals by route, most time in the database first.
        examples: The slowest window of each route, those that took longest first; bounded.
        dropped: What was not remembered because a bound was reached, by reason.
        exporting: Whether spans leave the process.
        unused: A sentence for each entry of the ignore list that is expired or ignored nothing.
    """

    service: str = ""
    preset: str = ""
    windows: int = 0
    requests: int = 0
    calls: int = 0
    db_time: float = 0.0
    window_time: float = 0.0
    findings: Sequence[MergedFinding] = ()
    statements: Sequence[StatementTotals] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    exporting: bool = False
    slow: int = 0
    very_slow: int = 0
    failed: int = 0
    kinds: Mapping[str, KindTotals] = field(default_factory=dict)
    slow_queries: Sequence[SlowQuery] = ()
    pools: Sequence[PoolSnapshot] = ()
    caches: Sequence[CacheTotals] = ()
    locks: Sequence[LockTotals] = ()
    models: Sequence[ModelTotals] = ()
    repeated_reads: Sequence[RepeatedRead] = ()
    recommendations: Sequence[Recommendation] = ()
    transactions: Sequence[OpenTransaction] = ()
    transaction_totals: Sequence[TransactionTotals] = ()
    memory: Sequence[MemorySample] = ()
    request_time: float = 0.0
    request_db_time: float = 0.0
    unused: Sequence[str] = ()
    routes: Sequence[RouteTotals] = ()
    examples: Sequence[WindowExample] = ()
    p50: float = 0.0
    p95: float = 0.0

    @property
    def mean(self) -> float:
        """Mean duration of an operation, s."""
        return self.db_time / self.calls if self.calls else 0.0

    @property
    def error_rate(self) -> float:
        """Share of the operations that failed, 0 to 1."""
        return self.failed / self.calls if self.calls else 0.0

    @property
    def pool_usage(self) -> float:
        """Share of the fullest pool that is in use, 0 to 1; 0 where no pool has a limit."""
        return max((each.state.usage or 0.0 for each in self.pools), default=0.0)
