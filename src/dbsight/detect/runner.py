"""Runs the rules; one that raises is disabled while the others go on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from dbsight import scope
from dbsight.detect.load_rule import LoadRule
from dbsight.detect.rule import PlanRule, SnapshotRule, WindowRule
from dbsight.detect.rules import RULES, make_rules
from dbsight.detect.shape import Shape
from dbsight.detect.suppressions import Suppressions
from dbsight.safety import dropped, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.trace import SpanContext

    from dbsight.config import Settings
    from dbsight.detect.rule import Rule
    from dbsight.detect.window import Window
    from dbsight.model import ExplainedQuery, Finding, Operation, Snapshot
    from dbsight.recording import OpenWindow

_R = TypeVar("_R", bound="Rule")

_MAX_FINDINGS_PER_WINDOW: Final = 100
_MAX_SHAPES: Final = 5000
"""Shapes of operations of which it is remembered which rules they concern."""


class RuleRunner:
    """Runs the rules of one engine, and drops the findings that were suppressed.

    Args:
        settings: Enabled rules, their thresholds, and suppressions; an unknown rule is one warning.

    Attributes:
        suppressions: Overrides, the ignore list and the baseline.
        visitors: Rules that check each operation that may be slow.
        completers: Rules that check a window, or a part of one that reached its bounds.
        closers: Rules that check the totals of a window.
        enders: Rules that look at the process as a root ends.
        examiners: Rules that check the totals of the process.
        planners: Rules that check the plans of slow queries.
        watches_reads: Whether a rule wants to know what is read of the objects that an ORM loads.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._checked = -1
        self._check_names()
        every = make_rules(settings)
        rules = [rule for rule in every if isinstance(rule, WindowRule)]
        self.examiners = [rule for rule in every if isinstance(rule, SnapshotRule)]
        self.planners = [rule for rule in every if isinstance(rule, PlanRule)]
        self.visitors = [rule for rule in rules if type(rule).visit is not WindowRule.visit]
        self.completers = [rule for rule in rules if type(rule).complete is not WindowRule.complete]
        self.closers = [rule for rule in rules if type(rule).conclude is not WindowRule.conclude]
        self.enders = [rule for rule in rules if type(rule).ended is not WindowRule.ended]
        # Rules that not every operation concerns; each has one bit of what is known of a shape.
        self._choosy = tuple(rule for rule in self.completers if type(rule).concerns is not WindowRule.concerns)
        self._concerned: dict[tuple[object, ...], int] = {}
        self._chosen: dict[tuple[int, bool, bool], list[WindowRule]] = {}
        self.watches_reads = settings.watch_reads and any(isinstance(rule, LoadRule) for rule in every)
        self.suppressions = Suppressions(settings)

    def _check_names(self) -> None:
        """Warn of rules that do not exist, in the settings and in ``allow()``."""
        if len(scope.allowed_names) != self._checked:
            self._checked = len(scope.allowed_names)
            self._settings.check_rules((rule.name for rule in RULES), tuple(scope.allowed_names))

    def visit(self, operation: Operation, window: OpenWindow | None) -> tuple[Finding, ...]:
        """Return the findings about one operation that may be slow."""
        findings: tuple[Finding, ...] = ()
        for rule in self.visitors:
            try:
                found = rule.visit(operation, window)
            except Exception:
                self._switch_off(rule)
                continue
            if found is not None and self.suppressions.passes(_placed(found, operation.context, window)):
                findings = (*findings, found)
        return findings

    def ended(self, window: OpenWindow | Window) -> None:
        """Tell the rules that want to know it at once that the root of a window has ended, or a part of it."""
        for rule in tuple(self.enders):
            try:
                rule.ended(window)
            except Exception:  # noqa: PERF203 - the others are told all the same
                self._switch_off(rule)

    def complete(self, window: OpenWindow, part: Window) -> None:
        """Run the rules on a window, or on the part collected so far, and store the findings in it."""
        if not part.operations and not part.events:
            return
        if part.grown is None:  # no root has ended
            self.ended(part)
        for finding in self._passing(self._rules_for(part), lambda rule: rule.complete(part)):
            merge(window.findings, finding)

    def _rules_for(self, part: Window) -> Sequence[WindowRule]:
        """The rules that may find something in a window; in most, there is nothing for all but a few to look at."""
        concerned = 0
        for shape in part.shapes:
            known = self._concerned.get(shape)
            concerned |= known if known is not None else self._learn(shape)
        key = (concerned, bool(part.events), part.repeats())
        chosen = self._chosen  # before the rules: another thread may disable one meanwhile
        rules = chosen.get(key)
        if rules is None:
            rules = chosen[key] = self._choose(*key)
        return rules

    def _learn(self, shape: tuple[object, ...]) -> int:
        """Which of the choosy rules operations of a shape concern, as bits."""
        concerned = 0
        for place, rule in enumerate(self._choosy):
            try:
                if rule.concerns(Shape._make(shape)):
                    concerned |= 1 << place
            except Exception:  # noqa: PERF203 - the others are asked all the same
                self._switch_off(rule)
        if len(self._concerned) >= _MAX_SHAPES:
            self._concerned.clear()
        self._concerned[shape] = concerned
        return concerned

    def _choose(self, concerned: int, events: bool, repeats: bool) -> list[WindowRule]:
        idle = [rule for place, rule in enumerate(self._choosy) if not concerned >> place & 1]
        return [
            rule
            for rule in self.completers
            if (events or not rule.of_events)
            and (repeats or not rule.of_repetition)
            and not any(rule is other for other in idle)
        ]

    def conclude(self, window: OpenWindow, route: str) -> None:
        """Run the rules on the totals of a window, and drop findings that are ignored for its route."""
        for rule in tuple(self.closers):
            try:
                found = list(rule.conclude(window, route))
            except Exception:
                self._switch_off(rule)
                continue
            for finding in found:
                merge(window.findings, finding)
        for findings in (window.findings, window.singles):
            for finding in findings.values():
                finding.route = route
            if not self.suppressions.idle:
                for each in [each for each, finding in findings.items() if not self.suppressions.passes(finding)]:
                    del findings[each]

    def examine(self, snapshot: Snapshot) -> Iterator[Finding]:
        """Return the findings about the totals of the process."""
        self._check_names()
        return self._passing(self.examiners, lambda rule: rule.examine(snapshot))

    def judge_plan(self, explained: ExplainedQuery) -> Iterator[Finding]:
        """What is to be said of the plan of one query."""
        allowed = explained.operation.allowed | explained.operation.statement.allowed
        rules = [rule for rule in self.planners if rule.name not in allowed and "all" not in allowed]
        return self._passing(rules, lambda rule: rule.judge(explained))

    def _passing(self, rules: Sequence[_R], look: Callable[[_R], Iterable[Finding]]) -> Iterator[Finding]:
        """Return what rules find and nothing suppresses; a rule that fails is disabled."""
        for rule in tuple(rules):
            try:
                findings = list(look(rule))
            except Exception:
                self._switch_off(rule)
                continue
            yield from filter(self.suppressions.passes, findings)

    def _switch_off(self, rule: Rule) -> None:
        failed(f"rule {rule.name} (disabled for this process)")
        self.examiners = [other for other in self.examiners if other is not rule]
        self.visitors = [other for other in self.visitors if other is not rule]
        self.completers = [other for other in self.completers if other is not rule]
        self.closers = [other for other in self.closers if other is not rule]
        self.enders = [other for other in self.enders if other is not rule]
        self.planners = [other for other in self.planners if other is not rule]
        self._chosen = {}


def _placed(found: Finding, context: SpanContext | None, window: OpenWindow | None) -> Finding:
    if context is not None:
        found.trace = f"{context.trace_id:032x}"
    if window is not None:
        found.route = window.name
    return found


def merge(findings: dict[str, Finding], found: Finding) -> None:
    """Merge a finding into those of its window: counts and impacts add up, the more severe one provides the text."""
    known = findings.get(found.id)
    if known is None:
        if len(findings) >= _MAX_FINDINGS_PER_WINDOW:
            dropped("findings of a window")
            return
        findings[found.id] = found
        return
    speaker = found if found.impact > known.impact else known
    count, impact = known.count + found.count, known.impact + found.impact
    # A finding that is already on a query's span must not change: count it in a copy.
    findings[found.id] = replace(speaker, count=count, impact=impact)
