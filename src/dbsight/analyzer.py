"""Open windows, and what happens to each observation and to each window that closes: detect, measure, report."""

from __future__ import annotations

import atexit
import os
import threading
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from dbsight import config, recording, scope
from dbsight.detect import roots
from dbsight.detect.runner import RuleRunner, merge
from dbsight.detect.slow_thresholds import SlowThresholds
from dbsight.detect.window import Window
from dbsight.instrument import caches, full_pools, loads, locks, models, pools, process
from dbsight.model import CacheEvent, Operation, Verdict, WindowSummary
from dbsight.monitor.alerts import Alerts
from dbsight.monitor.callbacks import Callbacks
from dbsight.recording import Consumer, Ended, OpenWindow, Sweeper, Windows
from dbsight.report.alert_log import AlertLog
from dbsight.report.events import FindingLog, root_attributes, root_events
from dbsight.report.query_log import QueryLog
from dbsight.report.recommendation_log import RecommendationLog
from dbsight.safety import dropped, failed, guard
from dbsight.slow_plans import SlowPlans
from dbsight.totals import Totals, TotalsReview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider

    from dbsight.config import Settings
    from dbsight.model import Alert, Event, Observation, Snapshot
    from dbsight.serve import Service

_SECOND: Final = 1_000_000_000
_SILENCE_OUTSIDE_NS: Final = 1 * _SECOND
"""A window outside any span is over after this silence (DESIGN §4)."""
_SILENCE_ROOTLESS_NS: Final = 10 * _SECOND
"""A window whose root never reaches a processor is over after this silence (DESIGN §4)."""
_ALERTS_AT_EXIT: Final = 2.0  # s
_EXAMINE_EVERY_NS: Final = 10 * _SECOND


class Analyzer(Consumer):
    """One engine: rules, totals, metrics and the open windows of one or several span processors.

    Args:
        settings: None takes those of the process.
        meter_provider: For metrics of operations and findings; None follows the global one.
        logger_provider: For findings as log events; None follows the global one.
        clock: ns since the epoch.

    Attributes:
        windows: Those that are open, or not judged yet.
        ended: Those whose root has ended, until they are judged.
        judge: The rules.
        totals: Totals of the process, and metrics; ``stats``, ``pools``, ``caches`` and ``locks`` are its parts.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        clock: Callable[[], int] = time_ns,
    ) -> None:
        # Kept: processors find the engine that they share by the identity of these.
        self.providers = (meter_provider, logger_provider)
        self._clock = clock
        self._lock = threading.RLock()
        self._comparing = threading.RLock()
        settings = settings or config.current()
        self._users = 0
        self.ended = Ended(self._start_sweeper, self._wake_sweeper)
        self.sweeper = Sweeper(self.sweep, self.ended.work, self._has_rest)
        self.windows = Windows(clock, settings.max_windows, self._evict, self._start_sweeper)
        self.alerts = Alerts(settings, clock)
        self.totals = totals = Totals(settings, meter_provider, self.collect)
        self.stats, self.pools, self.caches, self.locks = totals.stats, totals.pools, totals.caches, totals.locks
        self.metrics = totals.metrics
        self.query_log = QueryLog(logger_provider)
        self._service: Service | None = None
        self.use(settings)
        self.log = FindingLog(logger_provider)
        self._recommended = RecommendationLog(logger_provider)
        self.alert_log = AlertLog(logger_provider, meter_provider)
        self.plans = SlowPlans(self.stats, self.metrics, self.log, totals.settle)
        self.origins: tuple[object, ...] = ()
        self._origin: object | None = None  # the latest of them
        self._examined_ns = clock()
        self._review = TotalsReview(totals, self.log)
        self.retired = False  # no longer in use; a new processor gets a new one

    # -- Life ---------------------------------------------------------------------------------------------------

    def use(self, settings: Settings) -> None:
        """Judge by these settings from now on; what was found before stays."""
        self.judge = RuleRunner(settings)
        self.settings = settings
        self.alerts.use(settings)
        self.query_log.use(settings)
        self.stats.keep(settings.max_slow_queries)
        self.windows.most = settings.max_windows
        self._most = settings.max_operations_per_window
        self._limits = SlowThresholds(settings)
        self._max_age_ns = int(settings.max_window_age * _SECOND)
        if self._users:
            self.plans.use(settings, self.judge, self._limits.lowest)
            loads.ask(self, wanted=self.judge.watches_reads)
            self._serve()

    def subscribe(self) -> None:
        """Consume records on behalf of one more processor."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self.sweeper.resume()
                self.plans.use(self.settings, self.judge, self._limits.lowest)
                loads.ask(self, wanted=self.judge.watches_reads)
                self._serve()
                recording.subscribe(self)
                full_pools.watch()
                atexit.register(self.finish)
                _alive.append(self)

    def unsubscribe(self) -> None:
        """One processor was shut down; after the last, the windows are closed."""
        with self._lock:
            self._users -= 1
            last = self.retired = self._users == 0
        if last:
            self.sweeper.stop()
            self.finish()
            self.plans.stop()
            loads.ask(self, wanted=False)
            self.query_log.close()
            if self._service is not None:
                self._service.stop()
            recording.unsubscribe(self)
            atexit.unregister(self.finish)
            if self in _alive:
                _alive.remove(self)
            if not _alive:
                full_pools.stop()

    @property
    def service(self) -> Service:
        """The endpoint, which nearly no process has: it is imported where one is asked for."""
        if self._service is None:
            from dbsight.serve import Service

            self._service = Service(self.snapshot, self.judge_ended)
        return self._service

    def _serve(self) -> None:
        if self._service is not None or self.settings.serve is not None:
            self.service.use(self.settings)

    def add_origin(self, origin: object) -> None:
        """Operations of this span pipeline are ours; with none known, all are."""
        if not any(origin is known for known in self.origins):
            self.origins = (*self.origins, origin)
            self._origin = origin

    def _is_ours(self, origin: object) -> bool:
        return (
            origin is self._origin  # nearly always
            or origin is None
            or not self.origins
            or any(origin is known for known in self.origins)
        )

    def after_fork(self) -> None:
        """In a forked child: the parent's windows, totals and threads are the parent's."""
        self._lock = threading.RLock()
        self._comparing = threading.RLock()
        for window in self.windows.all():
            window.abandon()
        self.windows.forget()
        self.ended.abandon()
        self.sweeper.after_fork()
        self._review.reset()
        self._recommended.reset()
        self.plans.after_fork()
        self.query_log.after_fork()
        if self._service is not None:
            self._service.after_fork()
        self.totals.reset()
        self.alerts.reset()

    # -- Operations ---------------------------------------------------------------------------------------------

    def observe(self, observation: Observation) -> Verdict | None:
        """Take in one operation or event.

        Returns:
            What must stand on an operation's own span, None when there is nothing to say.
        """
        if isinstance(observation, Operation):
            verdicts = self.observe_all((observation,))
            return verdicts[0] if verdicts else None
        if self._is_ours(observation.origin):
            self._event(observation)
        return None

    def observe_all(self, operations: Sequence[Operation]) -> Sequence[Verdict | None]:
        """Take in operations in the order of their ends: totals, metrics, and the windows that they belong to.

        Returns:
            What must stand on each one's own span; empty when there is nothing to say of any.
        """
        latest = self._origin
        others = [operation for operation in operations if operation.origin is not latest]  # nearly always none
        if others and self.origins:
            ours = [operation for operation in operations if self._is_ours(operation.origin)]
            if len(ours) < len(operations):
                return self._verdicts_for(operations, ours)
        if self.judge.examiners and self.sweeper.thread is None:
            self._start_sweeper()
        windows = self._windows_of(operations)
        lowest = self._limits.lowest
        verdicts: Sequence[Verdict | None] = ()
        if max([operation.duration for operation in operations]) >= lowest:
            verdicts = [
                self._slow(operation, window) if operation.duration >= lowest else None
                for operation, window in zip(operations, windows, strict=True)
            ]
            self.totals.add_all([each for each, verdict in zip(operations, verdicts, strict=True) if verdict is None])
            for operation, verdict in zip(operations, verdicts, strict=True):
                if verdict is not None:
                    self.totals.add_slow(operation, verdict)
        else:
            self.totals.add_all(operations)
        if self.plans.active:
            self.plans.take(operations, windows, verdicts)
        if self.query_log.wanted():
            self.query_log.take(operations, windows, verdicts)
        if windows.count(windows[0]) == len(windows):  # nearly always
            self._remember(windows[0], operations)
            return verdicts
        by_window: dict[OpenWindow | None, list[Operation]] = {}
        for operation, window in zip(operations, windows, strict=True):
            by_window.setdefault(window, []).append(operation)
        for window, its in by_window.items():
            self._remember(window, its)
        return verdicts

    def _remember(self, window: OpenWindow | None, operations: Sequence[Operation]) -> None:
        """Keep operations for the rules, which look at them when their window ends, or has reached its bounds."""
        if window is None:
            return
        if window.add(operations) >= self._most or window.last_ns - window.emptied_ns > self._max_age_ns:
            self._empty(window)

    def _verdicts_for(self, operations: Sequence[Operation], ours: list[Operation]) -> Sequence[Verdict | None]:
        """As ``observe_all`` where some operations are another engine's."""
        said = iter(self.observe_all(ours)) if ours else iter(())
        known = {id(operation) for operation in ours}
        return [next(said, None) if id(operation) in known else None for operation in operations]

    def _windows_of(self, operations: Sequence[Operation]) -> list[OpenWindow | None]:
        parents = [operation.parent for operation in operations]
        if parents.count(parents[0]) == len(parents):  # nearly always
            window = self.windows.of(parents[0], operations[0].start_ns)
            if window is None:
                return [None] * len(parents)
            if not window.rootless and max([each.start_ns for each in operations]) <= window.ended_ns:
                return [window] * len(parents)
        found: list[OpenWindow | None] = []
        window, parent = None, None
        for operation in operations:
            # Most have the same parent; what runs on when its root has ended has it, too.
            if operation.parent is not parent or window is None or operation.start_ns > window.ended_ns:
                window = self.windows.of(operation.parent, operation.start_ns)
                parent = operation.parent if window is not None and not window.rootless else None
            found.append(window)
        return found

    def _event(self, event: Event) -> None:
        """Take in what is no query: totals and metrics, and the window that it happened in."""
        self.totals.add_event(event)
        if isinstance(event, CacheEvent) and not event.removals:
            return  # look-ups are counted; thousands of them would push out what else a window has to remember
        if event.parent is not None:
            window = self.windows.known(event.parent, event.at_ns)
            if window is not None:
                window.note(event)

    def _slow(self, operation: Operation, window: OpenWindow | None) -> Verdict | None:
        """What is to be said of an operation that may be slow."""
        if window is not None:
            window.rename()  # limits may be the route's
        findings = self.judge.visit(operation, window)
        if self.plans.active:
            for finding in findings:
                self.plans.add_plan(finding)
        query_class, threshold = self._limits.classify(operation, window.name if window is not None else "")
        for found in findings:
            if window is not None:
                merge(window.singles, found)
            else:
                self.stats.found(found)
                self.metrics.finding(found)
        if query_class is None and not findings:
            return None
        # Without a window they would not be logged.
        logged = window is not None and self.settings.findings == "log"
        return Verdict(query_class, threshold, findings, logged=logged)

    @guard
    def collect(self) -> None:
        """Drain what is pending before totals are read, and ask what counts by itself."""
        caches.collect()
        locks.collect()
        models.collect()
        self.judge_ended()
        self.totals.settle()

    def drain(self) -> None:
        """Work off the pending records of all open windows, and of those without one."""
        for window in self.windows.all():
            window.drain()
        recording.loose.drain()

    def judge_ended(self) -> None:
        """Drain everything, and judge the windows whose root has ended: before anything is read or flushed."""
        self.drain()
        self.ended.work()

    def end(self, window: OpenWindow, judge: Callable[[], object], *, later: bool) -> None:
        """The root of a window has ended.

        Args:
            window: Takes no more records.
            judge: Closes it.
            later: Have it judged with others, soon; else now.
        """
        records = window.end()
        self.judge.ended(window)
        if later:
            self.ended.add(records, judge)
        else:
            judge()

    def attend(self) -> None:
        """Records are pending: the sweeper drains them in time."""
        self._start_sweeper()

    def open_root(self, root: Any) -> None:
        """Open the window of a synthetic root of our pipeline."""
        if not self.origins or self._is_ours(root.origin):
            self.windows.open_root(root)

    # -- Windows ------------------------------------------------------------------------------------------------

    def _evict(self, window: OpenWindow) -> None:
        if window.sealed:
            self.ended.work()
        else:
            dropped("windows")
            self.close(window, self._clock(), window.name)

    def _empty(self, window: OpenWindow) -> None:
        """Run the rules on a window that reached its size or age, and let it go on."""
        window.drain()
        window.rename()
        self.judge.complete(window, Window.taken_from(window, self._clock()))

    def close(self, window: OpenWindow, end_ns: int, route: str) -> WindowSummary | None:
        """Drain a window and run its rules for the last time.

        Returns:
            What is known of it, None when it was closed before.
        """
        for other in self.windows.beside(window):
            other.drain()  # records of this one may be pending there
        if not self.windows.discard(window):
            return None
        window.duration = max(0.0, (end_ns - window.start_ns) / 1e9)
        if window.loads is not None:
            self._note_loads(window)
        part = Window.taken_from(window, end_ns)
        part.name = route
        self.judge.complete(window, part)
        self.judge.conclude(window, route)
        groups = list(window.findings.values())
        for found in groups:
            found.trace = found.trace or f"{window.trace_id:032x}"
        roots.link(groups)
        summary = WindowSummary(
            window.name,
            route,
            window.trace_id,
            window.span_id,
            window.sampled,
            window.start_ns,
            window.duration,
            window.calls,
            window.db_time,
            request=window.request,
            concurrency=window.concurrency,
            findings=(*groups, *map(self.plans.with_plan, window.singles.values())),
        )
        self.stats.close(summary)
        self.totals.examples.offer(summary, part.operations)
        self.metrics.close(summary)
        if self._service is not None:
            self._service.closed(summary, part.operations)
        self._report(window, summary, end_ns)
        return summary

    @guard
    def _note_loads(self, window: OpenWindow) -> None:
        loaded, window.loads = window.loads, None
        # Not in scripts, which end with what they have not closed: that would look as if they had lost it.
        for event in loaded.events(collect=window.request):
            window.note(event)

    def _report(self, window: OpenWindow, summary: WindowSummary, end_ns: int) -> None:
        """Findings that no span will carry become log events; a drawn root is emitted with its own."""
        to = self.settings.findings
        root = window.root
        carried = window.sampled and not window.rootless
        if to != "span" or not carried:
            for found in summary.findings if not window.sampled or to != "span" else window.findings.values():
                self.log.emit(found, window.trace_id, window.span_id, sampled=window.sampled)
        if root is not None:
            root.closed = True
            events = root_events(window.findings.values(), end_ns) if to != "log" else ()
            root.emit(max(end_ns, window.last_ns), root_attributes(summary), events)

    # -- Time ---------------------------------------------------------------------------------------------------

    def _start_sweeper(self) -> None:
        if not (self.judge.examiners and self.sweeper.runs):  # with them it goes on for ever
            self.sweeper.start()

    def _wake_sweeper(self) -> None:
        self.sweeper.wake()

    def _has_rest(self) -> bool:
        """Whether nothing is pending and no window waits for the sweeper."""
        return recording.loose.rest() and not any(
            window.sealed or window.used or _ends_by_silence(window) for window in self.windows.all()
        )

    def sweep(self) -> bool:
        """Close the windows without a live root span that fell silent, empty those that are too old.

        Returns:
            Whether there will be more to do: windows without a live root span or that keep something, or rules about
            totals.
        """
        now = self._clock()
        left = False
        self.judge_ended()
        for window in self.windows.all():
            if window.sealed:  # it ended meanwhile
                left = True
            elif _ends_by_silence(window):
                silence = _SILENCE_ROOTLESS_NS if window.rootless else _SILENCE_OUTSIDE_NS
                age = now - window.start_ns
                if now - window.last_ns > silence or age > self._max_age_ns:
                    self.close(window, window.last_ns, window.name)
                else:
                    left = True
            else:
                left = left or window.used
                if now - window.emptied_ns > self._max_age_ns:
                    self._empty(window)
        if now - self._examined_ns > _EXAMINE_EVERY_NS:
            self._examined_ns = now
            self.examine()
        return left or bool(self.judge.examiners)

    def snapshot(self, **about: Any) -> Snapshot:
        """The totals of the process now; ``about`` as in ``Stats.snapshot``."""
        self.collect()
        snapshot = self.totals.snapshot(preset=self.settings.preset, **about)
        snapshot.unused = self.judge.suppressions.complaints()
        return snapshot

    def examine(self) -> None:
        """Let the rules about totals look; what they find for the first time has no span and becomes a log event."""
        if self.judge.examiners:
            process.remember()
            pools.overdue(self.settings.connection_leak_after)
            self.pools.sample(pools.snapshots())
            snapshot = self.check_alerts()
            self._review.examine(snapshot, self.judge)
            self._recommended.emit(snapshot.recommendations)

    def check_alerts(self) -> Snapshot:
        """Compare the totals with the thresholds of alerts; report those that were raised or cleared.

        Returns:
            The totals that were compared.
        """
        # One after the other: totals that are older than those compared last would look as if they had been reset.
        with self._comparing:
            snapshot = self.snapshot()
            changed = self.alerts.examine(snapshot)
        for alert in changed:
            self._tell(alert)
        return snapshot

    @guard
    def _tell(self, alert: Alert) -> None:
        self.alert_log.emit(alert)
        on_alert.call(alert)

    def reset(self) -> None:
        """Set the totals that the API shows back to zero; exported metrics are cumulative and go on."""
        self.collect()
        self.totals.clear()
        self.totals.examples.reset()

    def finish(self) -> None:
        """Close every window, now, and look at the totals: at exit, and before a report."""
        try:
            recording.root_ending(None)
            self.judge_ended()
            for window in self.windows.all():
                self.close(window, max(window.last_ns, window.start_ns), window.name)
            self.plans.wait()
            self.examine()
            on_alert.wait(_ALERTS_AT_EXIT)  # the thread of the callbacks ends with the process
        except Exception:
            failed("analyzer.finish")


def _ends_by_silence(window: OpenWindow) -> bool:
    """Whether no processor will see the end of a live root span of this window."""
    return window.root is not None or window.rootless


on_alert = Callbacks()
"""What the application wants to be called with each alert that is raised, in every engine of the process."""

_alive: list[Analyzer] = []


def engine() -> Analyzer | None:
    """The first engine of the process, None before dbsight was started."""
    return _alive[0] if _alive else None


def collect() -> None:
    """Have every engine take in what is pending, before totals are read."""
    for analyzer in _alive:
        analyzer.collect()


def _after_fork() -> None:
    scope.root.set(None)
    scope.window.set(None)
    on_alert.reset()
    for analyzer in _alive:
        analyzer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
