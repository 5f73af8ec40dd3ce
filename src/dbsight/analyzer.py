"""Open windows, and what happens to each observation and to each window that closes: detect, measure, report."""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import replace
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from dbsight import bus, config, safety, scope, semconv
from dbsight.detect import RULES, make_rules
from dbsight.detect.controls import Controls
from dbsight.detect.limits import Limits
from dbsight.detect.rule import SnapshotRule, WindowRule
from dbsight.detect.window import Window
from dbsight.instrument import caches, locks, pools, process, transactions
from dbsight.model import (
    CacheEvent,
    LockEvent,
    Operation,
    PoolEvent,
    PoolUses,
    TransactionEvent,
    Verdict,
    WindowSummary,
)
from dbsight.monitor.caches import Caches
from dbsight.monitor.locks import Locks
from dbsight.monitor.pools import Pools
from dbsight.monitor.stats import Stats
from dbsight.report.events import FindingLog, root_attributes, root_events
from dbsight.report.metrics import Metrics
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import SpanContext

    from dbsight.config import Settings
    from dbsight.detect.rule import Rule
    from dbsight.model import CacheTotals, Event, Finding, LockTotals, Observation, PoolTotals, Snapshot
    from dbsight.span import DrawnRoot

_SECOND: Final = 1_000_000_000
_SILENCE_OUTSIDE_NS: Final = 1 * _SECOND
"""A window outside any span is over after this silence (DESIGN §4)."""
_SILENCE_ROOTLESS_NS: Final = 10 * _SECOND
"""A window whose root never reaches a processor is over after this silence (DESIGN §4)."""
_SWEEP_EVERY: Final = 0.5  # s
_EXAMINE_EVERY_NS: Final = 10 * _SECOND
_MAX_FINDINGS_PER_WINDOW: Final = 100
_MAX_SPANS: Final = 100_000
"""Open spans of traces with several windows, of which it is remembered to which one they belong."""
_MAX_KNOWN: Final = 1000


class Analyzer:
    """One engine: rules, totals, metrics and the open windows of one or several span processors.

    Args:
        settings: None takes those of the process.
        meter_provider: For metrics of operations and findings; None follows the global one.
        logger_provider: For findings as log events; None follows the global one.
        clock: ns since the epoch.
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
        self.use(settings or config.current())
        self.stats = Stats(max_slow_queries=self.settings.max_slow_queries)
        self.pools = Pools()
        self.caches = Caches()
        self.locks = Locks()
        self.metrics = Metrics(meter_provider, _collect)
        if self.settings.process_metrics:
            process.observe(meter_provider)
        self.log = FindingLog(logger_provider)
        self.origins: tuple[object, ...] = ()
        self._origin: object | None = None  # the one that the latest operation had
        self._examined_ns = clock()
        self._known: dict[str, None] = {}  # ids of findings about totals, each told once
        # What wants to know of each event, by its class: totals in monitor/, metrics in report/metrics.py.
        self._takers: dict[type[Event], tuple[Callable[[Any], None], ...]] = {
            PoolEvent: (self.pools.take, self.metrics.events.pool),
            PoolUses: (self.pools.uses, self.metrics.events.uses),
            TransactionEvent: (self.pools.transaction, self.metrics.events.transaction),
            CacheEvent: (self.caches.take, self.metrics.caches.cache),
            LockEvent: (self.locks.take, self.metrics.caches.lock),
        }
        self._lock = threading.RLock()
        # By trace id, in order of opening: the first is the oldest.
        self._windows: dict[int, list[Window]] = {}
        self._open = 0  # windows, of all traces
        self._by_span: dict[int, Window] = {}
        self._sweeper: threading.Thread | None = None
        self._users = 0
        self.retired = False  # nobody uses it any more; a new processor gets a new one

    # -- Life ---------------------------------------------------------------------------------------------------

    def use(self, settings: Settings) -> None:
        """Judge by these settings from now on; what was found before stays."""
        settings.check_rules(rule.name for rule in RULES)
        every = make_rules(settings)
        rules = [rule for rule in every if isinstance(rule, WindowRule)]
        self.settings = settings
        self._examiners = [rule for rule in every if isinstance(rule, SnapshotRule)]
        self._visitors = [rule for rule in rules if type(rule).visit is not WindowRule.visit]
        self._completers = [rule for rule in rules if type(rule).complete is not WindowRule.complete]
        self._closers = [rule for rule in rules if type(rule).conclude is not WindowRule.conclude]
        self._limits = Limits(settings)
        self._controls = Controls(settings)
        self._max_age_ns = int(settings.max_window_age * _SECOND)

    def subscribe(self) -> None:
        """Listen to the bus on behalf of one more processor."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                bus.subscribe(self.observe)
                atexit.register(self.finish)
                _alive.append(self)

    def unsubscribe(self) -> None:
        """One processor was shut down; after the last, the windows are closed and the bus is left."""
        with self._lock:
            self._users -= 1
            last = self.retired = self._users == 0
        if last:
            self.finish()
            bus.unsubscribe(self.observe)
            atexit.unregister(self.finish)
            if self in _alive:
                _alive.remove(self)

    def add_origin(self, origin: object) -> None:
        """Operations of this span pipeline are ours; with none known, all are."""
        if not any(origin is known for known in self.origins):
            self.origins = (*self.origins, origin)

    def _is_ours(self, origin: object) -> bool:
        if any(origin is known for known in self.origins):
            self._origin = origin
            return True
        return False

    def after_fork(self) -> None:
        """In a forked child: the parent's windows, totals and threads are the parent's."""
        self._lock = threading.RLock()
        self._windows = {}
        self._open = 0
        self._by_span = {}
        self._sweeper = None
        self._known = {}
        self.stats.reset()
        self.pools.reset()
        self.caches.reset()
        self.locks.reset()
        self.metrics.forget()

    # -- Operations ---------------------------------------------------------------------------------------------

    def observe(self, observation: Observation) -> Verdict | None:
        """Take in one observation on the request path.

        Returns:
            What must stand on an operation's own span, None when there is nothing to say.
        """
        origin = observation.origin
        if origin is not self._origin and origin is not None and self.origins and not self._is_ours(origin):
            return None
        if isinstance(observation, Operation):
            return self._operation(observation)
        self._event(observation)
        return None

    def _event(self, event: Event) -> None:
        """Take in what is no query: totals and metrics, and the window that it happened in."""
        for take in self._takers.get(type(event), ()):
            take(event)
        if isinstance(event, CacheEvent) and not event.removals:
            return  # look-ups are counted; thousands of them would push out what else a window has to remember
        if event.parent is not None:
            windows = self._windows.get(event.parent.trace_id)
            if windows:
                (windows[0] if len(windows) == 1 else self._choose(windows, event.parent)).note(event)

    def _operation(self, operation: Operation) -> Verdict | None:
        if self._examiners and self._sweeper is None:
            self._start_sweeper()
        window = self._window_of(operation)
        if operation.duration >= self._limits.lowest and window is not None:
            window.rename()  # limits may be the route's
        findings: tuple[Finding, ...] = ()
        for rule in self._visitors:
            try:
                found = rule.visit(operation, window)
            except Exception:
                self._switch_off(rule)
                continue
            if found is not None and self._controls.passes(self._placed(found, operation.context, window)):
                findings = (*findings, found)
        verdict = None
        if operation.duration >= self._limits.lowest or findings:
            query_class, threshold = self._limits.classify(operation, window.name if window is not None else "")
            if query_class is not None or findings:
                verdict = Verdict(query_class, threshold, findings)
        self.stats.add(operation, verdict)
        self.metrics.record(operation, verdict)
        if window is not None:
            if findings:
                for found in findings:
                    _merge(window.singles, found)
            if window.add(operation) >= self.settings.max_operations_per_window or (
                operation.end_ns - window.emptied_ns > self._max_age_ns
            ):
                self._empty(window)
        elif findings:
            for found in findings:
                self.metrics.finding(found)
        return verdict

    def _switch_off(self, rule: Rule) -> None:
        failed(f"rule {rule.name} (switched off for this process)")
        self._examiners = [other for other in self._examiners if other is not rule]
        self._visitors = [other for other in self._visitors if other is not rule]
        self._completers = [other for other in self._completers if other is not rule]
        self._closers = [other for other in self._closers if other is not rule]

    @staticmethod
    def _placed(found: Finding, context: SpanContext | None, window: Window | None) -> Finding:
        if context is not None:
            found.trace = f"{context.trace_id:032x}"
        if window is not None:
            found.route = window.name
        return found

    # -- Windows ------------------------------------------------------------------------------------------------

    def _window_of(self, operation: Operation) -> Window | None:
        parent = operation.parent
        if parent is None:
            return None
        windows = self._windows.get(parent.trace_id)
        if windows is not None:
            if len(windows) == 1:
                return windows[0]
            if windows:
                return self._choose(windows, parent)
        root = scope.root.get()
        if root is not None and not root.closed and root.context.trace_id == parent.trace_id:
            return self._open_drawn(root)
        return self._open_rootless(parent)

    def _choose(self, windows: list[Window], parent: SpanContext) -> Window:
        window = self._by_span.get(parent.span_id)
        if window is not None and not window.closed:
            return window
        current = scope.window.get()
        if current is not None and not current.closed and current.trace_id == parent.trace_id:
            return current  # type: ignore[no-any-return]
        return windows[0]

    def open(
        self, name: str, context: SpanContext, start_ns: int, *, request: bool = False, exported: bool = True
    ) -> Window:
        """Open the window of a local root span."""
        window = Window(
            name,
            context.trace_id,
            context.span_id,
            start_ns,
            request=request,
            sampled=context.trace_flags.sampled,
            exported=exported,
        )
        self._by_span[context.span_id] = window
        self._register(window)
        return window

    def _open_drawn(self, root: DrawnRoot) -> Window:
        context = root.context
        with self._lock:
            if root.window is None:
                root.window = window = Window(
                    semconv.WINDOW_SPAN,
                    context.trace_id,
                    context.span_id,
                    root.start_ns,
                    sampled=context.trace_flags.sampled,
                )
                window.root = root
                self._register(window)
                self._start_sweeper()
            return root.window  # type: ignore[no-any-return]

    def _open_rootless(self, parent: SpanContext) -> Window:
        """A window whose root we do not see: an unsampled trace of an older tracer, or work after the root's end."""
        window = Window(
            semconv.WINDOW_SPAN,
            parent.trace_id,
            parent.span_id,
            self._clock(),
            sampled=parent.trace_flags.sampled,
            rootless=True,
        )
        self._register(window)
        self._start_sweeper()
        return window

    def _register(self, window: Window) -> None:
        evicted: Window | None = None
        with self._lock:
            self._windows.setdefault(window.trace_id, []).append(window)
            self._open += 1
            if self._open > self.settings.max_windows:
                evicted = self._windows[next(iter(self._windows))][0]
        if evicted is not None:
            safety.dropped("windows")
            self.close(evicted, self._clock(), evicted.name)

    def adopt(self, span_id: int, parent: SpanContext) -> None:
        """Note to which window a child span belongs, where its trace has several open ones."""
        windows = self._windows.get(parent.trace_id)
        if windows is not None and len(windows) > 1:
            if len(self._by_span) >= _MAX_SPANS:  # that never ended
                safety.dropped("spans of several windows")
                return
            self._by_span[span_id] = self._choose(windows, parent)

    def window_of_root(self, span_id: int) -> Window | None:
        """The open window whose root has this span id; any other span that ends is forgotten."""
        window = self._by_span.get(span_id)
        if window is None:
            return None
        if window.span_id != span_id:
            self._by_span.pop(span_id, None)
            return None
        return window

    def discard(self, window: Window) -> None:
        """Forget a window without judging it."""
        window.closed = True
        window.live = None
        with self._lock:
            self._by_span.pop(window.span_id, None)
            windows = self._windows.get(window.trace_id)
            if windows is not None:
                if window in windows:
                    windows.remove(window)
                    self._open -= 1
                if not windows:
                    del self._windows[window.trace_id]

    def _empty(self, window: Window) -> None:
        """Judge a window that reached its size or age, and let it go on."""
        window.rename()
        self._judge(window, window.take(self._clock()))

    def _judge(self, window: Window, part: Window) -> None:
        if not part.operations and not part.events:
            return
        for rule in tuple(self._completers):
            try:
                found = list(rule.complete(part))
            except Exception:
                self._switch_off(rule)
                continue
            for finding in found:
                if self._controls.passes(finding):
                    _merge(window.findings, finding)

    def _conclude(self, window: Window, route: str) -> None:
        """Judge the totals of a window; its route is known now, and what is ignored there goes."""
        for rule in tuple(self._closers):
            try:
                found = list(rule.conclude(window, route))
            except Exception:
                self._switch_off(rule)
                continue
            for finding in found:
                _merge(window.findings, finding)
        for findings in (window.findings, window.singles):
            for finding in findings.values():
                finding.route = route
            if not self._controls.idle:
                for each in [each for each, finding in findings.items() if not self._controls.passes(finding)]:
                    del findings[each]

    def close(self, window: Window, end_ns: int, route: str) -> WindowSummary | None:
        """Judge a window for good.

        Returns:
            What is known of it, None when it was closed before.
        """
        with self._lock:
            if window.closed:
                return None
            self.discard(window)
        window.duration = max(0.0, (end_ns - window.start_ns) / 1e9)
        part = window.take(end_ns)
        part.name = route
        self._judge(window, part)
        self._conclude(window, route)
        trace = f"{window.trace_id:032x}"
        groups = list(window.findings.values())
        for found in groups:
            found.trace = found.trace or trace
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
            findings=(*groups, *window.singles.values()),
        )
        self.stats.close(summary)
        self.metrics.close(summary)
        self._report(window, summary, end_ns)
        return summary

    def _report(self, window: Window, summary: WindowSummary, end_ns: int) -> None:
        """Findings that no span will carry become log events; a drawn root is emitted with its own."""
        to = self.settings.findings
        root: DrawnRoot | None = window.root  # type: ignore[assignment]
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
        if self._sweeper is None or not self._sweeper.is_alive():
            with self._lock:
                if self._sweeper is None or not self._sweeper.is_alive():
                    self._sweeper = threading.Thread(target=self._sweep_until_idle, name="dbsight", daemon=True)
                    self._sweeper.start()

    def _sweep_until_idle(self) -> None:
        wait = threading.Event().wait
        while True:
            wait(_SWEEP_EVERY)
            try:
                # Without the lock: a window that closes may write to the network, and requests open windows meanwhile.
                if self.sweep():
                    continue
                with self._lock:
                    if not any(_ends_by_silence(window) for windows in self._windows.values() for window in windows):
                        self._sweeper = None
                        return
            except Exception:
                failed("analyzer.sweep")

    def sweep(self) -> bool:
        """Close the windows without a live root span that fell silent, empty those that are too old.

        Returns:
            Whether there will be more to do: windows without a live root span, or rules about totals.
        """
        now = self._clock()
        left = False
        for window in [window for windows in list(self._windows.values()) for window in windows]:
            if _ends_by_silence(window):
                silence = _SILENCE_ROOTLESS_NS if window.rootless else _SILENCE_OUTSIDE_NS
                age = now - window.start_ns
                if now - window.last_ns > silence or age > self._max_age_ns:
                    self.close(window, window.last_ns, window.name)
                else:
                    left = True
            elif now - window.emptied_ns > self._max_age_ns:
                self._empty(window)
        if now - self._examined_ns > _EXAMINE_EVERY_NS:
            self._examined_ns = now
            self.examine()
        return left or bool(self._examiners)

    def snapshot(self, **about: Any) -> Snapshot:
        """The totals of the process now; ``about`` as in ``Stats.snapshot``."""
        _collect()
        snapshot = self.stats.snapshot(preset=self.settings.preset, **about)
        snapshot.pools = self.pools.snapshots(pools.snapshots(gone=True))
        snapshot.memory = process.history()
        snapshot.transactions = transactions.open_transactions()
        snapshot.unused = self._controls.complaints()
        snapshot.transaction_totals = self.pools.transactions()
        snapshot.caches = self.caches.totals()
        snapshot.locks = self.locks.totals()
        return snapshot

    def examine(self) -> None:
        """Let the rules about totals look; what they find for the first time has no span and becomes a log event."""
        if not self._examiners:
            return
        process.remember()
        pools.overdue(self.settings.connection_leak_after)
        self.pools.sample(pools.snapshots())
        snapshot = self.snapshot()
        for rule in tuple(self._examiners):
            try:
                findings = list(rule.examine(snapshot))
            except Exception:
                self._switch_off(rule)
                continue
            for found in findings:
                if not self._controls.passes(found) or found.id in self._known or len(self._known) >= _MAX_KNOWN:
                    continue
                self._known[found.id] = None
                self.stats.found(found)
                self.metrics.finding(found)
                self.log.emit(found, 0, 0, sampled=False)

    def finish(self) -> None:
        """Close every window, now, and look at the totals: at exit, and before a report."""
        try:
            bus.root_ending(None)
            for window in [window for windows in list(self._windows.values()) for window in windows]:
                self.close(window, max(window.last_ns, window.start_ns), window.name)
            self.examine()
        except Exception:
            failed("analyzer.finish")


def _collect() -> None:
    """Have those tell who keep events together until somebody reads the totals."""
    caches.collect()
    locks.collect()
    pools.tell_all_uses()


def _ends_by_silence(window: Window) -> bool:
    """Whether no processor will see the end of a live root span of this window."""
    return window.root is not None or window.rootless


def _merge(findings: dict[str, Finding], found: Finding) -> None:
    """Add a finding to those of its window: counts and impacts add up, the more severe one speaks."""
    known = findings.get(found.id)
    if known is None:
        if len(findings) >= _MAX_FINDINGS_PER_WINDOW:
            safety.dropped("findings of a window")
            return
        findings[found.id] = found
        return
    speaker = found if found.impact > known.impact else known
    count, impact = known.count + found.count, known.impact + found.impact
    # A finding that stands on a query's own span must not change any more: it is counted in a copy.
    findings[found.id] = replace(speaker, count=count, impact=impact)


_alive: list[Analyzer] = []


def total_pools() -> dict[str, PoolTotals]:
    """What the first engine of the process knows of each pool by name; nothing when there is none."""
    if not _alive:
        return {}
    pools.tell_all_uses()
    return {each.state.name: each.totals for each in _alive[0].pools.snapshots(pools.snapshots())}


def cache_totals() -> Sequence[CacheTotals]:
    """Look-ups in caches so far, by cache, layer, key template and model; empty while nobody listens."""
    caches.collect()
    return _alive[0].caches.totals() if _alive else ()


def lock_totals() -> Sequence[LockTotals]:
    """Distributed locks so far; empty while nobody listens."""
    locks.collect()
    return _alive[0].locks.totals() if _alive else ()


def _after_fork() -> None:
    scope.root.set(None)
    scope.window.set(None)
    for analyzer in _alive:
        analyzer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
