"""Metrics of pools, connections and transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight import semconv
from dbsight.report.preaggregation import AccumulatedCounter, AccumulatedHistogram, histogram

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from dbsight.model import Database, PoolEvent, PoolUses, TransactionEvent
    from dbsight.report.preaggregation import Series, Tally

_MAX_BOUND = 5000

HISTOGRAMS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    semconv.METRIC_CONNECTION_CREATE_TIME: (
        "s",
        "The time it took to create a new connection.",
        semconv.DURATION_BUCKETS,
    ),
    semconv.METRIC_CONNECTION_WAIT_TIME: (
        "s",
        "The time it took to obtain an open connection from the pool; the time to create a connection is not included.",
        semconv.DURATION_BUCKETS,
    ),
    semconv.METRIC_CONNECTION_USE_TIME: (
        "s",
        "The time between borrowing a connection and returning it to the pool.",
        semconv.DURATION_BUCKETS,
    ),
    semconv.METRIC_CONNECTION_AGE: ("s", "Age of a connection when it was closed.", semconv.HOLD_BUCKETS),
    semconv.METRIC_TRANSACTION_DURATION: (
        "s",
        "Time from the beginning of a transaction to its end, savepoints included.",
        semconv.HOLD_BUCKETS,
    ),
}
"""Unit, description and bucket boundaries by name."""

COUNTERS: dict[str, tuple[str, str]] = {
    semconv.METRIC_CONNECTION_TIMEOUTS: (
        "{timeout}",
        "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
    ),
    semconv.METRIC_CONNECTION_FAILURES: ("{failure}", "Connections that could not be opened."),
    semconv.METRIC_POOL_DISCARDED: (
        "{connection}",
        "Connections of HTTP clients (S3, Elasticsearch) that were thrown away because their pool was full.",
    ),
    semconv.METRIC_CONNECTION_LEAKS: (
        "{connection}",
        "Connections closed by the garbage collector, or checked out and idle for too long.",
    ),
}
"""Unit and description by name."""


class EventMetrics:
    """Histograms and counters of pool and transaction events, on one meter.

    Attributes:
        accumulated: Instruments that have to be flushed before a collection.
    """

    def __init__(self, meter: Meter) -> None:
        self._histograms = {
            name: histogram(meter, name, unit, description, bounds)
            for name, (unit, description, bounds) in HISTOGRAMS.items()
        }
        self._counters = {
            name: AccumulatedCounter(meter.create_counter(name, unit=unit, description=description))
            for name, (unit, description) in COUNTERS.items()
        }
        self.accumulated: tuple[AccumulatedHistogram | AccumulatedCounter, ...] = (
            *self._histograms.values(),
            *self._counters.values(),
        )
        self._series: dict[Any, Series] = {}
        self._tallies: dict[Any, Tally] = {}

    def pool(self, event: PoolEvent) -> None:
        """Record one event of a pool; the number of pool names is limited where they are assigned."""
        kind = event.kind
        if kind == "checkout":
            self._record(semconv.METRIC_CONNECTION_WAIT_TIME, event)
        elif kind == "create":
            self._record(semconv.METRIC_CONNECTION_CREATE_TIME, event)
        elif kind == "close":
            self._record(semconv.METRIC_CONNECTION_AGE, event)
        elif kind == "timeout":
            self._count(semconv.METRIC_CONNECTION_TIMEOUTS, {semconv.POOL_NAME: event.pool})
        elif kind == "discarded":
            self._count(semconv.METRIC_POOL_DISCARDED, {semconv.POOL_NAME: event.pool})
        elif kind == "failure":
            self._count(
                semconv.METRIC_CONNECTION_FAILURES,
                {semconv.POOL_NAME: event.pool, semconv.ERROR_TYPE: event.error_type or "_OTHER"},
            )
        elif kind == "leak":
            self._count(
                semconv.METRIC_CONNECTION_LEAKS,
                {semconv.POOL_NAME: event.pool, semconv.POOL_REASON: event.reason or "overdue"},
            )

    def uses(self, event: PoolUses) -> None:
        """Record checkouts and check-ins; waits are recorded when they end."""
        used = self._plain(semconv.METRIC_CONNECTION_USE_TIME, event.pool)
        served = self._plain(semconv.METRIC_CONNECTION_WAIT_TIME, event.pool)
        used.record_all(event.used)
        served.record_all(event.served)

    def _plain(self, metric: str, pool: str) -> Series:
        key = (metric, pool, None)
        series = self._series.get(key)
        return series or self._keep(key, self._histograms[metric].bind({semconv.POOL_NAME: pool}))

    def _record(self, metric: str, event: PoolEvent) -> None:
        reason = event.reason if event.kind == "close" else None
        key = (metric, event.pool, reason)
        series = self._series.get(key)
        if series is None:
            attributes = {semconv.POOL_NAME: event.pool}
            if reason is not None:
                attributes[semconv.POOL_REASON] = reason
            series = self._keep(key, self._histograms[metric].bind(attributes))
        series.record(event.seconds, event.parent, event.at_ns)

    def _count(self, metric: str, attributes: dict[str, Any]) -> None:
        key = (metric, *attributes.values())
        tally = self._tallies.get(key)
        if tally is None:
            if len(self._tallies) >= _MAX_BOUND:
                self._tallies.clear()
            tally = self._tallies[key] = self._counters[metric].bind(attributes)
        tally.add()

    def transaction(self, event: TransactionEvent) -> None:
        """Record one transaction."""
        key = (semconv.METRIC_TRANSACTION_DURATION, event.database, event.result)
        series = self._series.get(key)
        if series is None:
            attributes = {**_attributes(event.database), semconv.TRANSACTION_RESULT: event.result}
            series = self._keep(key, self._histograms[semconv.METRIC_TRANSACTION_DURATION].bind(attributes))
        series.record(event.seconds, event.parent, event.at_ns)

    def _keep(self, key: Any, series: Series) -> Series:
        if len(self._series) >= _MAX_BOUND:
            self._series.clear()
        self._series[key] = series
        return series


def _attributes(database: Database) -> dict[str, Any]:
    attributes: dict[str, Any] = {semconv.DB_SYSTEM_NAME: database.system}
    if database.address is not None:
        attributes[semconv.SERVER_ADDRESS] = database.address
    if database.port is not None:
        attributes[semconv.SERVER_PORT] = database.port
    return attributes
