"""Plans of slow queries: what the analyzer hands to the background worker, and what becomes of the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dbsight.detect.rules.missing_index import superseded
from dbsight.instrument import replays
from dbsight.instrument.replays import Policy
from dbsight.safety import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbsight.config import Settings
    from dbsight.detect.runner import RuleRunner
    from dbsight.model import ExplainedQuery, Finding, Operation, Verdict
    from dbsight.monitor.stats import Stats
    from dbsight.plans.worker import PlanWorker
    from dbsight.recording import OpenWindow
    from dbsight.report.events import FindingLog
    from dbsight.report.metrics import Metrics

_AT_EXIT = 1.0
"""s that the end of the process waits for plans that were asked for."""


class SlowPlans:
    """Plans on behalf of one analyzer; nothing at all while the setting ``explain`` is ``off``.

    Args:
        stats: Gets findings, and the plans of slow queries.
        metrics: Gets findings.
        log: Gets plans and findings.
        settle: Counts the operations that are not in ``stats`` yet.

    Attributes:
        active: Whether plans are asked for.
    """

    def __init__(self, stats: Stats, metrics: Metrics, log: FindingLog, settle: Callable[[], None]) -> None:
        self._stats = stats
        self._metrics = metrics
        self._log = log
        self._settle = settle
        self._runner: RuleRunner | None = None
        self._worker: PlanWorker | None = None
        self.active = False

    def use(self, settings: Settings, runner: RuleRunner, lowest: float) -> None:
        """Follow other settings from now on; ``lowest``: s, below which no query is slow."""
        self._runner = runner
        self.active = settings.explain != "off"
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        blocking = settings.blocking_sessions
        if not self.active:
            replays.ask(self, Policy(lowest, plans=False, blocking=True) if blocking else None)
            return
        from dbsight.plans.worker import PlanWorker

        self._worker = PlanWorker(
            self._explained,
            interval=settings.explain_interval,
            per_minute=settings.explain_per_minute,
            proof=settings.index_proof,
        )
        replays.ask(
            self, Policy(lowest, settings.explain == "always_once", blocking=blocking, known=self._worker.knows)
        )

    @guard
    def take(
        self,
        operations: Sequence[Operation],
        windows: Sequence[OpenWindow | None],
        verdicts: Sequence[Verdict | None],
    ) -> None:
        """Ask for the plans of slow queries; what is not asked for is wiped."""
        worker = self._worker
        for position, operation in enumerate(operations):
            kept, operation.replay = operation.replay, None
            if kept is None:
                continue
            verdict = verdicts[position] if verdicts else None
            window = windows[position]
            if worker is None:
                kept.wipe()
                continue
            worker.submit(
                kept,
                operation,
                window.name if window is not None else "",
                verdict.query_class if verdict is not None else None,
            )

    def add_plan(self, finding: Finding) -> None:
        """Add the plan to a finding that was just made, and that nobody else has yet."""
        worker, statement, database = self._worker, finding.statement, finding.database
        if worker is not None and finding.rule == "slow_query" and statement is not None and database is not None:
            finding.plan = worker.summary(database.key, statement.fingerprint)

    def with_plan(self, finding: Finding) -> Finding:
        """A finding of a slow query with the plan of its statement, where that is known."""
        worker = self._worker
        if worker is None or finding.rule != "slow_query" or finding.plan is not None:
            return finding
        if finding.statement is None or finding.database is None:
            return finding
        summary = worker.summary(finding.database.key, finding.statement.fingerprint)
        return finding if summary is None else replace(finding, plan=summary)

    @guard
    def _explained(self, explained: ExplainedQuery) -> None:
        """A plan is there; on the worker's thread."""
        operation = explained.operation
        self._settle()
        self._stats.planned(operation.statement.fingerprint, operation.database.key, explained.summary)
        self._log.emit_plan(explained)
        context = operation.context
        for found in self._runner.judge_plan(explained) if self._runner is not None else ():
            self._stats.found(found)
            self._metrics.finding(found)
            trace, span = (context.trace_id, context.span_id) if context is not None else (0, 0)
            self._log.emit(found, trace, span, sampled=context is not None and context.trace_flags.sampled)
        for advice in explained.advice or ():
            identity, others = superseded(advice)
            for other in others:
                self._stats.replace(other, identity)

    def wait(self, timeout: float = _AT_EXIT) -> None:
        """Wait for the plans that were asked for, at most so many seconds; at exit, a little."""
        if self._worker is not None:
            self._worker.wait(timeout)

    def stop(self) -> None:
        """Ask for nothing any more."""
        replays.ask(self, None)
        self.active = False
        if self._worker is not None:
            self._worker.stop()

    def after_fork(self) -> None:
        """In a forked child: the thread and its pending queries belong to the parent."""
        if self._worker is not None:
            self._worker.after_fork()
