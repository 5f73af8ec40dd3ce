"""Alerts: thresholds over a sliding window of the totals, with a minimum sample and hysteresis.

Nothing here runs per query. Every few seconds, and whenever alerts are read, the totals are compared with those at the
start of the window.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import RLock
from time import time_ns
from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.model import Alert, AlertSeverity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbsight.config import Settings
    from dbsight.model import Snapshot

MINIMUM_QUERIES: Final = 20
"""Queries in the window below which no ratio and no mean is compared, as in the generated Prometheus rules: one query
more or less would decide."""

MINIMUM_SECONDS: Final = 10.0
"""Length of the window below which no rate is compared."""

CLEARED_AT: Final = 0.9
"""Share of its threshold below which an alert is cleared, so that a value at the threshold does not flap."""

_POINTS: Final = 400
_MAX_ACTIVE: Final = 1000


_METRICS: Final = {
    "error_rate": (
        AlertSeverity.ERROR,
        "error_rate_threshold",
        "{value:.1%} of {calls} queries failed (threshold {limit:.1%})",
    ),
    "avg_query_time": (
        AlertSeverity.WARNING,
        "avg_query_time_threshold",
        "The mean query time is {value:.3f} s (threshold {limit:g} s)",
    ),
    "queries_per_second": (
        AlertSeverity.WARNING,
        "qps_threshold",
        "{value:.1f} queries per second (threshold {limit:g})",
    ),
    "connection_failures": (
        AlertSeverity.ERROR,
        "failed_connection_threshold",
        "{value} connections could not be made (threshold {limit})",
    ),
    "connection_leaks": (
        AlertSeverity.ERROR,
        "connection_leak_threshold",
        "{value} connections were not given back (threshold {limit})",
    ),
}
"""What the process is watched for: severity, setting with the threshold, message. Pools have readings of their own."""


class _Point(NamedTuple):
    """Totals at one moment."""

    at_ns: int
    calls: int = 0
    failed: int = 0
    db_time: float = 0.0
    failures: int = 0
    leaks: int = 0


class _Reading(NamedTuple):
    """One value that is compared with its threshold."""

    metric: str
    severity: AlertSeverity
    value: float
    threshold: float
    message: str
    subject: str = ""
    at_least: bool = False  # reaching the threshold is enough

    @property
    def key(self) -> tuple[str, str]:
        return self.metric, self.subject

    @property
    def crossed(self) -> bool:
        return self.value >= self.threshold if self.at_least else self.value > self.threshold


class Alerts:
    """The alerts of one process. Threads may call everything at any time.

    Args:
        settings: Thresholds and the length of the window.
        clock: ns since the epoch.
    """

    def __init__(self, settings: Settings, clock: Callable[[], int] = time_ns) -> None:
        self._clock = clock
        self._settings = settings
        self._ring: deque[Alert] = deque()
        self.reset()

    def use(self, settings: Settings) -> None:
        """Compare with these thresholds from now on."""
        with self._lock:
            self._settings = settings
            self._ring = deque(self._ring, maxlen=settings.max_alerts)

    def reset(self) -> None:
        """Forget everything, locks included: in a forked child too."""
        self._lock = RLock()
        self._points: deque[_Point] = deque([_Point(self._clock())], maxlen=_POINTS)
        self._ring = deque(maxlen=self._settings.max_alerts)
        self._active: dict[tuple[str, str], Alert] = {}
        self._slow_seen = 0

    def raised(self) -> Sequence[Alert]:
        """The latest alerts, newest first; those that were cleared since are among them."""
        with self._lock:
            return tuple(reversed(self._ring))

    def active(self) -> Sequence[Alert]:
        """Alerts that hold now."""
        with self._lock:
            return tuple(self._active.values())

    def examine(self, snapshot: Snapshot) -> list[Alert]:
        """Compare the totals with the thresholds.

        Args:
            snapshot: The totals now, pools included.

        Returns:
            What changed: alerts that were raised, and alerts that were cleared.
        """
        now = self._clock()
        with self._lock:
            changed = [*self._slow(snapshot, now)]
            readings = {reading.key: reading for reading in self._readings(snapshot, now)}
            for key, reading in readings.items():
                if key not in self._active and reading.crossed and len(self._active) < _MAX_ACTIVE:
                    alert = self._active[key] = _alert(reading, now)
                    self._ring.append(alert)
                    changed.append(alert)
            for key, alert in list(self._active.items()):
                value = readings[key].value if key in readings else 0.0  # too little happened, or it is gone
                if value < alert.threshold_value * CLEARED_AT:
                    del self._active[key]
                    changed.append(replace(alert, state="cleared", current_value=value, at_ns=now))
            return changed

    def _readings(self, snapshot: Snapshot, now: int) -> Iterator[_Reading]:
        settings = self._settings
        point = _Point(
            now,
            snapshot.calls,
            snapshot.failed,
            snapshot.db_time,
            sum(each.totals.failures for each in snapshot.pools),
            sum(each.totals.leaks for each in snapshot.pools),
        )
        start = self._start_of_window(point)
        seconds = (now - start.at_ns) / 1e9
        calls = point.calls - start.calls
        values: dict[str, float] = {
            "connection_failures": point.failures - start.failures,
            "connection_leaks": max(0, point.leaks - start.leaks),
        }
        if calls >= MINIMUM_QUERIES:
            values["error_rate"] = (point.failed - start.failed) / calls
            values["avg_query_time"] = (point.db_time - start.db_time) / calls
        if seconds >= MINIMUM_SECONDS:
            values["queries_per_second"] = calls / seconds
        for name, value in values.items():
            severity, setting, message = _METRICS[name]
            limit = getattr(settings, setting)
            text = message.format(value=value, limit=limit, calls=calls)
            yield _Reading(name, severity, value, limit, text, at_least=name == "connection_leaks")
        for each in snapshot.pools:
            state = each.state
            usage = state.usage
            if usage is not None:
                yield _Reading(
                    "connection_pool_usage",
                    AlertSeverity.WARNING,
                    usage,
                    settings.pool_usage_threshold,
                    f"{state.used} of {state.max} connections of the pool {state.name} are in use"
                    f" (threshold {settings.pool_usage_threshold:.0%})",
                    state.name,
                )

    def _start_of_window(self, point: _Point) -> _Point:
        """The totals when the window began; remembers ``point`` for later ones."""
        points = self._points
        oldest = point.at_ns - int(self._settings.stats_window * 1e9)
        while len(points) > 1 and points[1].at_ns <= oldest:
            points.popleft()
        if point.calls < points[-1].calls:  # the totals were reset since
            start = _Point(points[-1].at_ns)
            points.clear()
            points.append(start)
        start = points[0]
        # Enough points for the window, however often alerts are read.
        if (point.at_ns - points[-1].at_ns) * _POINTS > self._settings.stats_window * 1e9:
            points.append(point)
        return start

    def _slow(self, snapshot: Snapshot, now: int) -> Iterator[Alert]:
        """One alert per query that was slow since the previous look; a query that is slow again and again, one each."""
        total = snapshot.slow + snapshot.very_slow
        new = total - self._slow_seen if total >= self._slow_seen else total
        self._slow_seen = total
        for query in reversed(snapshot.slow_queries[: max(0, new)]):
            severity = AlertSeverity.ERROR if query.query_class == "very_slow" else AlertSeverity.WARNING
            alert = Alert(
                severity,
                f"{query.statement.summary or query.database.system} took {query.duration:.3f} s"
                f" (threshold {query.threshold or 0:g} s)",
                "query_duration",
                query.duration,
                query.threshold or 0.0,
                query.statement.fingerprint,
                now,
            )
            self._ring.append(alert)
            yield alert


def _alert(reading: _Reading, now: int) -> Alert:
    return Alert(
        reading.severity, reading.message, reading.metric, reading.value, reading.threshold, reading.subject, now
    )
