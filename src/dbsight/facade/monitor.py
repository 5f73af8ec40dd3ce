"""The monitor: statistics, alerts and recommendations of this process behind one object."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from dbsight import config
from dbsight.engines import process_analyzer
from dbsight.facade.totals import KINDS, on_alert
from dbsight.instrument.pools.manual import ManualPool
from dbsight.instrument.recorded import record_query
from dbsight.model import AlertSeverity
from dbsight.monitor.recommend import calls_by_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.instrument.pools.manual import ConnectionEvent
    from dbsight.model import Alert, Recommendation, SlowQuery


@dataclass(frozen=True)
class PerformanceThresholds:
    """Thresholds of slow queries and alerts.

    Attributes:
        slow_query_threshold: s; a query that takes longer is slow.
        very_slow_query_threshold: s; one that takes longer is very slow.
        error_rate_threshold: Share of queries that fail, 0 to 1.
        connection_pool_usage_threshold: Share of a pool's connections in use, 0 to 1.
        avg_query_time_threshold: s; mean query duration.
        queries_per_second_threshold: Queries per second.
        connection_leak_threshold: Leaked connections in the window of ``stats_window``.
        failed_connection_threshold: Connections that could not be made, in the same window.
    """

    slow_query_threshold: float = 1.0
    very_slow_query_threshold: float = 5.0
    error_rate_threshold: float = 0.05
    connection_pool_usage_threshold: float = 0.8
    avg_query_time_threshold: float = 0.5
    queries_per_second_threshold: float = 100.0
    connection_leak_threshold: int = 5
    failed_connection_threshold: int = 10

    def settings(self) -> dict[str, Any]:
        """The same as settings of dbsight, by their names."""
        return {_SETTINGS.get(each.name, each.name): getattr(self, each.name) for each in fields(self)}


_SETTINGS = {
    "connection_pool_usage_threshold": "pool_usage_threshold",
    "queries_per_second_threshold": "qps_threshold",
}


class QueryType(str, Enum):
    """Kind of a statement; each member equals its value."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    DDL = "ddl"
    TRANSACTION = "transaction"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class PerformanceStats:
    """What ``DatabasePerformanceMonitor.get_stats`` returns.

    Attributes:
        total_queries: All queries; pings and connection setup are left out.
        slow_queries: Those over the slow limit, those over the very slow one included.
        very_slow_queries: Those over the very slow limit.
        failed_queries: Those that ended with an error.
        avg_query_time: Mean, s.
        error_rate: Share that failed, 0 to 1.
        active_connections: Connections that are out of their pools.
        connection_pool_usage: Share of the fullest pool that is in use, 0 to 1.
        select_queries: By kind of statement.
        insert_queries: The same.
        update_queries: The same.
        delete_queries: The same.
    """

    total_queries: int = 0
    slow_queries: int = 0
    very_slow_queries: int = 0
    failed_queries: int = 0
    avg_query_time: float = 0.0
    error_rate: float = 0.0
    active_connections: int = 0
    connection_pool_usage: float = 0.0
    select_queries: int = 0
    insert_queries: int = 0
    update_queries: int = 0
    delete_queries: int = 0


@dataclass(frozen=True, slots=True)
class SlowQueryRecord:
    """One slow query.

    Attributes:
        query: Sanitised text, at most 100 characters.
        duration: s.
        query_type: Kind of the statement.
        timestamp: When it began, in UTC.
        trace_id: 32 hexadecimal digits, empty when it belongs to no trace.
        call_site: ``file:line`` of the application, empty when unknown.
    """

    query: str
    duration: float
    query_type: QueryType
    timestamp: datetime
    trace_id: str = ""
    call_site: str = ""


class DatabasePerformanceMonitor:
    """Statistics, alerts and recommendations of this process, and a way to report what nothing instruments.

    It shows what dbsight's engine knows of all instrumented clients, and keeps no numbers itself: several monitors show
    the same. It instruments none: ``opentelemetry-instrument``, ``dbsight.configure()`` or an instrumentor does.
    Thread-safe.

    Args:
        thresholds: All eight are put in force in the whole process; None leaves the settings as they are.
        max_slow_queries: Slow queries that are remembered; None leaves the setting, 100 by default.
        max_alerts: Alerts that are remembered; None leaves the setting, 1000 by default.
        enable_recommendations: Whether ``get_recommendations`` returns any.

    Raises:
        ValueError: A threshold that is no valid setting, or a very slow limit below the slow one.
    """

    def __init__(
        self,
        thresholds: PerformanceThresholds | None = None,
        max_slow_queries: int | None = None,
        max_alerts: int | None = None,
        enable_recommendations: bool = True,
    ) -> None:
        chosen: dict[str, Any] = thresholds.settings() if thresholds is not None else {}
        if max_slow_queries is not None:
            chosen["max_slow_queries"] = max_slow_queries
        if max_alerts is not None:
            chosen["max_alerts"] = max_alerts
        if chosen:
            config.use(config.current().replaced(**chosen))
        self.enable_recommendations = enable_recommendations
        self._engine = process_analyzer()
        if chosen:
            self._engine.use(config.current())
        self._pool: ManualPool | None = None

    # -- Reports of the application -----------------------------------------------------------------------------

    def record_query(
        self,
        query: str,
        duration: float,
        error: BaseException | None = None,
        rows_affected: int | None = None,
        connection_id: str | None = None,
        user_id: str | None = None,
    ) -> None:
        """As ``dbsight.record_query``."""
        record_query(query, duration, error, rows_affected, connection_id, user_id)

    def record_connection_event(
        self, event_type: ConnectionEvent, connection_id: str, error: BaseException | None = None
    ) -> None:
        """Report what happened to a connection of a pool that nothing instruments.

        Args:
            event_type: ``create``, ``checkout``, ``checkin``, ``close`` or ``error``.
            connection_id: What the application calls it.
            error: What was raised.

        Raises:
            ValueError: Another event.
        """
        if event_type not in _CONNECTION_EVENTS:
            raise ValueError(f"event_type must be one of {', '.join(_CONNECTION_EVENTS)}, not {event_type!r}")
        self._manual_pool().event(event_type, connection_id, error)

    def update_pool_metrics(self, pool_size: int, checked_out: int, checked_in: int, overflow: int = 0) -> None:
        """Report the state of a pool that nothing instruments.

        Args:
            pool_size: Connections that it keeps open at most.
            checked_out: Connections that are in use.
            checked_in: Open connections that wait in the pool.
            overflow: Open connections beyond ``pool_size``.
        """
        self._manual_pool().update(pool_size, checked_out, checked_in, overflow)

    def __repr__(self) -> str:
        stats = self.get_stats()
        return f"<DatabasePerformanceMonitor {stats.total_queries} queries, {stats.slow_queries} slow>"

    def _manual_pool(self) -> ManualPool:
        if self._pool is None:
            self._pool = ManualPool(self, "application")
        return self._pool

    # -- What is known --------------------------------------------------------------------------------------------

    def get_stats(self) -> PerformanceStats:
        """Statistics since the process started, or since ``reset_stats``."""
        snapshot = self._engine.snapshot()
        kinds = snapshot.kinds
        return PerformanceStats(
            total_queries=snapshot.calls,
            slow_queries=snapshot.slow + snapshot.very_slow,
            very_slow_queries=snapshot.very_slow,
            failed_queries=snapshot.failed,
            avg_query_time=snapshot.mean,
            error_rate=snapshot.error_rate,
            active_connections=sum(each.state.used for each in snapshot.pools),
            connection_pool_usage=snapshot.pool_usage,
            **{f"{kind}_queries": kinds[kind].count for kind in KINDS if kind in kinds},
        )

    def get_slow_queries(self, limit: int = 10) -> list[SlowQueryRecord]:
        """The latest queries over the slow limit, those over the very slow one included; newest first."""
        return [_record(each) for each in self._engine.snapshot().slow_queries[: max(0, limit)]]

    def get_very_slow_queries(self, limit: int = 5) -> list[SlowQueryRecord]:
        """The latest queries over the very slow limit; newest first."""
        very_slow = [each for each in self._engine.snapshot().slow_queries if each.query_class == "very_slow"]
        return [_record(each) for each in very_slow[: max(0, limit)]]

    def get_alerts(self, severity: AlertSeverity | str | None = None, limit: int = 100) -> list[Alert]:
        """The latest alerts; newest first.

        Args:
            severity: Of this severity alone: ``info``, ``warning`` or ``error``.
            limit: At most so many.

        Raises:
            ValueError: There is no such severity.
        """
        self._engine.check_alerts()
        chosen = None if severity is None else AlertSeverity(severity)
        return [each for each in self._engine.alerts.raised() if chosen in (None, each.severity)][: max(0, limit)]

    def get_query_stats_by_type(self) -> dict[str, dict[str, float]]:
        """``count``, ``avg_duration`` (s) and ``max_duration`` (s) by kind of statement."""
        return {
            kind: {
                "count": totals.count,
                "avg_duration": totals.total / totals.count if totals.count else 0.0,
                "max_duration": totals.max,
            }
            for kind, totals in self._engine.snapshot().kinds.items()
        }

    def get_query_stats_by_table(self, limit: int = 10) -> dict[str, int]:
        """Queries that name each table, most first."""
        return dict(list(calls_by_table(self._engine.snapshot()).items())[: max(0, limit)])

    def get_recommendations(self, force_refresh: bool = False) -> list[Recommendation]:
        """What to change, most urgent first.

        Args:
            force_refresh: Run the rules about totals now, instead of within ten seconds.
        """
        if not self.enable_recommendations:
            return []
        if force_refresh:
            self._engine.examine()
        return list(self._engine.snapshot().recommendations)

    def register_alert_callback(self, callback: Callable[[Alert], object]) -> None:
        """As ``dbsight.on_alert``."""
        on_alert(callback)

    def reset_stats(self) -> None:
        """As ``dbsight.reset``."""
        self._engine.reset()


_CONNECTION_EVENTS = ("create", "checkout", "checkin", "close", "error")


_DEFAULT: Final = float("1.0")
"""This very object: a limit that the program did not choose must not beat the environment's."""


def create_performance_monitor(
    slow_query_threshold: float = _DEFAULT, enable_recommendations: bool = True
) -> DatabasePerformanceMonitor:
    """A monitor of this process.

    Args:
        slow_query_threshold: s; put in force in the whole process. Left out, the setting stays: 1 s by default.
        enable_recommendations: As for ``DatabasePerformanceMonitor``.

    Raises:
        ValueError: The threshold is no duration above zero.
    """
    chosen = slow_query_threshold is not _DEFAULT
    if chosen:
        config.use(config.current().replaced(slow_query_threshold=slow_query_threshold))
    monitor = DatabasePerformanceMonitor(enable_recommendations=enable_recommendations)
    if chosen:
        process_analyzer().use(config.current())
    return monitor


def _record(slow: SlowQuery) -> SlowQueryRecord:
    return SlowQueryRecord(
        (slow.statement.text or slow.statement.summary)[:100],
        slow.duration,
        QueryType(slow.statement.kind),
        datetime.fromtimestamp(slow.start_ns / 1e9, timezone.utc),
        f"{slow.trace_id:032x}" if slow.trace_id else "",
        str(slow.call_site) if slow.call_site is not None else "",
    )
