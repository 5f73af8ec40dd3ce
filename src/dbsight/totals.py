"""What one engine counts: totals over the life of the process, and metrics; each observation is added once."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from contextlib import suppress
from itertools import chain, repeat, starmap
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from dbsight.instrument import pools, process, transactions
from dbsight.model import CacheEvent, LockEvent, OrmEvent, PoolEvent, PoolUses, TransactionEvent
from dbsight.monitor.caches import Caches
from dbsight.monitor.examples import Examples
from dbsight.monitor.locks import Locks
from dbsight.monitor.models import Models
from dbsight.monitor.pools import Pools
from dbsight.monitor.reads import Reads
from dbsight.monitor.recommend import recommendations
from dbsight.monitor.stats import Stats
from dbsight.report.metrics import Metrics
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.metrics import MeterProvider

    from dbsight.config import Settings
    from dbsight.detect.runner import RuleRunner
    from dbsight.model import Event, Operation, Snapshot, Verdict
    from dbsight.monitor.statement_record import StatementRecord
    from dbsight.report.events import FindingLog
    from dbsight.report.metrics import OperationSeries
    from dbsight.report.preaggregation import Tally

_T = TypeVar("_T")
_MAX_KNOWN: Final = 5000
_MAX_REPORTED: Final = 1000
_BATCH: Final = 250
"""Operations of all units of work that are counted at once: those of one statement together cost a third."""
_PATIENCE: Final = 1.0
"""s that a reader waits for another thread that is counting."""


class _Pending(Generic[_T]):
    """What is counted together, later; several threads may add to it."""

    def __init__(self) -> None:
        self._all: deque[_T] = deque()
        self._weight = 0

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, each: _T, weight: int) -> int:
        """Keep something; gives the weight of all, which is not exact where threads meet, nor does it have to be."""
        self._all.append(each)
        self._weight = weight = self._weight + weight
        return weight

    def take(self) -> list[_T]:
        """Take everything out."""
        self._weight = 0
        taken: list[_T] = []
        with suppress(IndexError):  # another thread may append meanwhile
            taken.extend(starmap(self._all.popleft, repeat(())))  # keeps those that it got until then
        return taken


class Totals:
    """Totals and metrics of one engine.

    Args:
        settings: How much is remembered, and whether the process is measured.
        provider: Of the metrics; None follows the global one.
        collect: Called before totals are read.

    Attributes:
        stats: Operations, windows and findings.
        pools: Connection pools and transactions.
        caches: Caches.
        locks: Distributed locks.
        models: Classes of the ORM.
        reads: Reads of the same values, None where no rule looks at them.
        examples: The slowest window of each route.
        metrics: Of all of them.
    """

    def __init__(self, settings: Settings, provider: MeterProvider | None, collect: Callable[[], None]) -> None:
        self.stats = Stats(max_slow_queries=settings.max_slow_queries)
        self.pools = Pools()
        self.caches = Caches()
        self.locks = Locks()
        self.models = Models()
        self.reads = Reads() if settings.rule_enabled("cacheable_query") else None
        self.examples = Examples()
        self.metrics = Metrics(provider, collect)
        # Re-entrant: a finalizer may run a query while this thread is counting.
        self._counting = threading.RLock()
        self._pending: _Pending[Sequence[Operation]] = _Pending()
        self._uses: _Pending[PoolUses] = _Pending()
        if settings.process_metrics:
            process.observe(provider)
        # What wants to know of each event, by its class.
        self._takers: dict[type[Event], tuple[Callable[[Any], None], ...]] = {
            PoolEvent: (self.pools.take, self.metrics.events.pool),
            PoolUses: (self.pools.uses, self.metrics.events.uses),
            TransactionEvent: (self.pools.transaction, self.metrics.events.transaction),
            CacheEvent: (self.caches.take, self.metrics.caches.cache),
            LockEvent: (self.locks.take, self.metrics.caches.lock),
            OrmEvent: (self.models.take, self.metrics.models.objects),
        }

    @property
    def idle(self) -> bool:
        """Whether nothing was counted since the last reset."""
        return not (self._pending or self.stats.known)

    def clear(self) -> None:
        """Set everything back to zero but the metrics, which are cumulative."""
        self.stats.reset()
        self.pools.reset()
        self.caches.reset()
        self.locks.reset()
        self.models.reset()
        if self.reads is not None:
            self.reads.reset()
        self.examples.reset()

    def reset(self) -> None:
        """In a forked child: what was counted is the parent's."""
        self._counting = threading.RLock()
        self._pending = _Pending()
        self._uses = _Pending()
        self.clear()
        self.metrics.forget()

    def add_all(self, operations: Sequence[Operation]) -> None:
        """Count ordinary operations, in the order of their ends: by ``settle``, or once there are enough of them."""
        if self._pending.add(operations, len(operations)) >= _BATCH:
            self.settle(0)

    def settle(self, patience: float = _PATIENCE) -> None:
        """Count what is pending; before anything is read.

        Args:
            patience: s to wait for another thread that is counting.
        """
        if not self._counting.acquire(timeout=patience):
            return
        try:
            self._count(chain.from_iterable(self._pending.take()))
            self._count_uses(self._uses.take())
        finally:
            self._counting.release()

    def _count(self, operations: Iterable[Operation]) -> None:
        alike: defaultdict[Any, list[Operation]] = defaultdict(list)
        for operation in operations:
            statement = operation.statement
            alike[
                statement.fingerprint,
                statement.summary,
                operation.database,
                operation.error_type,
                operation.error_code,
                operation.model,
            ].append(operation)
        numbers: dict[Tally, int] = {}
        for key, group in alike.items():
            try:
                tally = self._count_alike(key, group)
                numbers[tally] = numbers.get(tally, 0) + len(group)
            except Exception:  # noqa: PERF203 - the application's views and reservoirs may raise; others are counted
                failed("totals")
        for tally, number in numbers.items():
            tally.add(number)

    def _count_uses(self, events: Sequence[PoolUses]) -> None:
        by_pool: dict[str, list[PoolUses]] = {}
        for event in events:
            by_pool.setdefault(event.pool, []).append(event)
        for pool, its in by_pool.items():
            latest = its[-1]
            uses = [use for each in its for use in each.uses]
            try:
                self._take(PoolUses(pool, latest.at_ns, uses, latest.offset))
            except Exception:
                failed("totals")

    def _count_alike(self, key: Any, group: Sequence[Operation]) -> Tally:
        """Count operations of one statement, database and outcome; gives what their number is added to."""
        known = self.stats.known
        counted: tuple[StatementRecord, OperationSeries] | None = known.get(key)
        if counted is None:
            if len(known) >= _MAX_KNOWN:
                known.clear()
            counted = known[key] = (self.stats.record_of(group[0]), self.metrics.series_of(group[0]))
        record, series = counted
        if len(group) == 1:
            record.take_one(group[0])
            series.record_one(group[0])
        else:
            took, rows = [each.duration for each in group], [each.rows for each in group]
            record.take(group, took, rows)
            series.record(group, took, rows)
        if group[0].model is not None:
            self.models.took(group[0].model, group)
        if self.reads is not None:
            self.reads.took(group)
        return series.counted

    def add_slow(self, operation: Operation, verdict: Verdict) -> None:
        """Count one operation of which there is something to say."""
        self.settle()
        self.stats.add(operation, verdict)
        series = self.metrics.series_of(operation, verdict.query_class)
        series.record_one(operation)
        series.counted.add()
        if operation.model is not None:
            self.models.took(operation.model, (operation,))
        if self.reads is not None:
            self.reads.took((operation,))

    def add_event(self, event: Event) -> None:
        """Count what is no query: uses of pools as ordinary operations, anything else at once."""
        if isinstance(event, PoolUses):
            if self._uses.add(event, len(event.uses)) >= _BATCH:
                self.settle(0)
        else:
            self._take(event)

    def _take(self, event: Event) -> None:
        for take in self._takers.get(type(event), ()):
            take(event)

    def snapshot(self, **about: Any) -> Snapshot:
        """All totals as they are; ``about`` as in ``Stats.snapshot``."""
        snapshot = self.stats.snapshot(**about)
        snapshot.pools = self.pools.snapshots(pools.snapshots(gone=True))
        snapshot.memory = process.history()
        snapshot.transactions = transactions.open_transactions()
        snapshot.transaction_totals = self.pools.transactions()
        snapshot.caches = self.caches.totals()
        snapshot.locks = self.locks.totals()
        snapshot.models = self.models.totals()
        snapshot.repeated_reads = self.reads.totals() if self.reads is not None else ()
        snapshot.examples = self.examples.all()
        snapshot.recommendations = recommendations(snapshot)
        return snapshot


class TotalsReview:
    """Runs the rules about totals. One that finds something for the first time has it counted and logged.

    Args:
        totals: Where findings are counted.
        log: Where they become log events: they belong to no span.
    """

    def __init__(self, totals: Totals, log: FindingLog) -> None:
        self._totals = totals
        self._log = log
        self.reset()

    def reset(self) -> None:
        """Forget which findings were reported: each is reported again."""
        self._known: dict[str, str] = {}  # rules by ids of findings

    def examine(self, snapshot: Snapshot, judge: RuleRunner) -> None:
        """Run the rules on the totals as they are now."""
        stats = self._totals.stats
        withdrawn = {rule.name for rule in judge.examiners if rule.withdraws}
        now = set()
        for found in judge.examine(snapshot):
            now.add(found.id)
            if found.id in self._known or len(self._known) >= _MAX_REPORTED:
                if found.rule in withdrawn:
                    stats.renew(found)
                continue
            self._known[found.id] = found.rule
            stats.found(found)
            self._totals.metrics.finding(found)
            self._log.emit(found, 0, 0, sampled=False)
        for each in [each for each, rule in self._known.items() if rule in withdrawn and each not in now]:
            del self._known[each]
            stats.withdraw(each)
