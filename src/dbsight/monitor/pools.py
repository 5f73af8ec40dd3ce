"""What happened in the connection pools: totals, a short time series, and how many connections were needed.

``take`` runs on the request path, for what is rare; the rest is computed when a snapshot is made.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import RLock
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

from dbsight import safety, semconv
from dbsight.model import Borrowing, Leak, PoolSample, PoolSnapshot, PoolState, PoolTotals, PoolUse, TransactionTotals
from dbsight.monitor.quantiles import bucket, count_all, empty, quantiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.model import CallSite, PoolEvent, PoolUses, TransactionEvent

_MAX_NAMES = 200
_MAX_DATABASES = 200
_REMEMBERED = 2000  # requests of one pool
_MAX_LEAKS = 100  # lines of one pool
_POINTS = 360  # an hour at one in ten seconds


class _Record:
    """What is known of the pools of one target; written under its lock."""

    def __init__(self) -> None:
        self.lock = RLock()  # re-entrant: connections are given back by finalisers too
        self.waits = empty()
        self.uses = empty()
        self.totals = PoolTotals()
        self.recent: deque[PoolUse] = deque(maxlen=_REMEMBERED)
        self.offset = time_ns() / 1e9 - perf_counter()  # of the times in ``recent`` from seconds since the epoch
        self.series: deque[PoolSample] = deque(maxlen=_POINTS)
        self.sampled_timeouts = 0
        self.leaked: dict[str, Leak] = {}


class Pools:
    """Totals of all pools and of transactions, bounded; threads may call everything at any time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, locks included: in a forked child too."""
        self._lock = RLock()
        self._records: dict[str, _Record] = {}
        self._transactions: dict[str, TransactionTotals] = {}

    def take(self, event: PoolEvent) -> None:
        """Count one event."""
        record = self._records.get(event.pool)
        if record is None:
            record = self._record(event.pool)
        with record.lock:
            kind = event.kind
            totals = record.totals
            if kind == "checkout":
                _waited(record, event.seconds)
            elif kind == "timeout":
                _waited(record, event.seconds)
                totals.timeouts += 1
                over = event.at_ns / 1e9 - record.offset
                record.recent.append(PoolUse(over, 0.0, event.seconds, 0.0, event.requester, event.call_site))
            elif kind == "failure":
                totals.failures += 1
                if event.reason == "sync_pool":
                    totals.refused = event.call_site
            elif kind == "leak":
                totals.leaks += 1
                _leaked(record.leaked, event)
            elif kind == "returned":
                totals.leaks = max(0, totals.leaks - 1)
                _returned(record.leaked, event)

    def uses(self, event: PoolUses) -> None:
        """Count connections that were taken and given back."""
        record = self._records.get(event.pool) or self._record(event.pool)
        used, served = event.used, event.served
        with record.lock:
            totals = record.totals
            totals.checkouts += len(used)
            count_all(record.uses, used)
            totals.use_max = max(totals.use_max, *used)
            count_all(record.waits, served)
            totals.wait_max = max([totals.wait_max, *served])
            record.recent.extend(event.uses)
            record.offset = event.offset

    def transaction(self, event: TransactionEvent) -> None:
        """Count one transaction that wrote; others tell nothing about commits and rollbacks."""
        if not event.writes:
            return
        key = event.database.key
        with self._lock:
            totals = self._transactions.get(key)
            if totals is None:
                if len(self._transactions) >= _MAX_DATABASES:
                    safety.dropped("databases with transactions")
                    return
                totals = self._transactions[key] = TransactionTotals(event.database)
            if event.result == "commit":
                totals.commits += 1
            else:
                totals.rollbacks += 1
                totals.call_site = event.call_site

    def transactions(self) -> list[TransactionTotals]:
        """Totals of transactions by database."""
        with self._lock:
            return list(self._transactions.values())

    def sample(self, states: Iterable[PoolState], at_ns: int | None = None) -> None:
        """Add one point to the time series of each pool."""
        for state in states:
            record = self._record(state.name)
            with record.lock:
                timeouts = record.totals.timeouts - record.sampled_timeouts
                record.sampled_timeouts = record.totals.timeouts
                point = PoolSample(at_ns or time_ns(), state.used, state.idle, state.pending, timeouts)
                record.series.append(point)

    def snapshots(self, states: Iterable[PoolState]) -> list[PoolSnapshot]:
        """Each pool with what happened in it."""
        return [PoolSnapshot(state, *self._known(state.name, state.open)) for state in states]

    def _known(
        self, name: str, still_open: Sequence[PoolUse]
    ) -> tuple[PoolTotals, Sequence[PoolSample], Sequence[Borrowing]]:
        """What happened, the uses that are still open included."""
        record = self._records.get(name)
        if record is None:
            if not still_open:
                return PoolTotals(), (), ()
            record = _Record()
        with record.lock:
            totals, series = record.totals, tuple(record.series)
            offset = record.offset
            recent = [
                Borrowing(over + offset - used - served, served, used, requester, site)
                for over, used, served, _, requester, site in (*record.recent, *still_open)
            ]
            (wait_p95,) = quantiles(record.waits, totals.wait_max, 0.95)
            out = [use.used for use in still_open if use.used]
            use_max = max([totals.use_max, *out])
            kept = record.uses[:]
            count_all(kept, out)
            (use_p95,) = quantiles(kept, use_max, 0.95)
            counted = (totals.checkouts + len(out), totals.waits, totals.wait_total, totals.wait_max, use_max)
            counts = (totals.timeouts, totals.failures, totals.leaks)
            leaked = [replace(leak) for leak in record.leaked.values()]
        checkouts, waits, wait_total, wait_max, use_max = counted
        timeouts, failures, leaks = counts
        return (
            PoolTotals(
                checkouts=checkouts,
                waits=waits,
                wait_total=wait_total,
                wait_p95=wait_p95,
                wait_max=wait_max,
                use_p95=use_p95,
                use_max=use_max,
                timeouts=timeouts,
                failures=failures,
                leaks=leaks,
                rate=_rate(recent),
                needed=needed(recent, use_p95),
                hog=_hog(recent),
                leaked=leaked,
                refused=totals.refused,
            ),
            series,
            recent,
        )

    def _record(self, name: str) -> _Record:
        with self._lock:
            record = self._records.get(name)
            if record is None:
                if len(self._records) >= _MAX_NAMES:
                    safety.dropped("pools")
                    name = semconv.OTHER
                record = self._records.setdefault(name, _Record())
            return record


def _leaked(leaks: dict[str, Leak], event: PoolEvent) -> None:
    key = _line(event)
    leak = leaks.get(key)
    if leak is None:
        if len(leaks) >= _MAX_LEAKS:
            safety.dropped("leaks")
            return
        leak = leaks[key] = Leak(event.call_site, event.session)
    leak.count += 1
    leak.age = event.seconds
    if event.reason == "collected":
        leak.collected += 1


def _returned(leaks: dict[str, Leak], event: PoolEvent) -> None:
    """A connection that was reported as a leak came back after all."""
    key = _line(event)
    leak = leaks.get(key)
    if leak is None:
        return
    leak.count -= 1
    if leak.count <= 0:
        del leaks[key]


def _line(event: PoolEvent) -> str:
    return f"{event.call_site}{event.session}"


def _waited(record: _Record, seconds: float) -> None:
    """A request waited at an exhausted pool, served or not."""
    totals = record.totals
    record.waits[bucket(seconds)] += 1
    totals.waits += 1
    totals.wait_total += seconds
    totals.wait_max = max(totals.wait_max, seconds)


def _rate(recent: Sequence[Borrowing]) -> float:
    """Requests a second."""
    if len(recent) < 2:
        return 0.0
    asked = [each.asked for each in recent]
    span = max(asked) - min(asked)
    return (len(recent) - 1) / span if span > 0 else 0.0


def _hog(recent: Sequence[Borrowing]) -> tuple[CallSite, float] | None:
    """Where most of the time that connections were out was spent."""
    total = 0.0
    by_site: dict[str, tuple[CallSite, float]] = {}
    for each in recent:
        total += each.used
        if each.site is not None:
            key = str(each.site)
            known = by_site.get(key)
            by_site[key] = (each.site, (known[1] if known else 0.0) + each.used)
    if not by_site or total <= 0:
        return None
    site, used = max(by_site.values(), key=lambda pair: pair[1])
    return site, used / total


def needed(recent: Iterable[Borrowing], timed_out_use: float) -> int:
    """Return the number of connections with which no request would have waited: replays the requests without waits.

    Little's law (arrival rate × time that a connection is out) gives the mean, for arrivals that do not depend on the
    waiting; a thread that waits asks for its next connection later. So each thread or task is replayed by itself: its
    next request comes as long after its previous one was over as it did. The most that are out at once are needed.

    Args:
        recent: The requests; those of one thread do not overlap.
        timed_out_use: s that a request that timed out would have kept its connection.

    Returns:
        At least 1; 0 when there were no requests.
    """
    over: dict[int, tuple[float, float]] = {}  # by requester: when it was over in truth, and replayed
    steps: list[tuple[float, int]] = []
    for each in sorted(recent, key=lambda each: each.asked):
        used = each.used or timed_out_use
        asked = each.asked
        known = over.get(each.requester) if each.requester else None
        if known is not None and asked >= known[0]:
            asked = known[1] + (asked - known[0])
        steps.append((asked, 1))
        steps.append((asked + used, -1))
        if each.requester and (known is None or each.asked >= known[0]):
            over[each.requester] = (each.asked + each.waited + each.used, asked + used)
    out = most = 0
    for _, step in sorted(steps):  # at the same moment, given back before taken
        out += step
        most = max(most, out)
    return most
