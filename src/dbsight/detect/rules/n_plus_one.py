"""The N+1: one query for the list, and then one for each item of it."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, ClassVar

from dbsight.detect import exempt
from dbsight.detect.advice import DIFFERENT, Advice, advise
from dbsight.detect.facts import facts_of
from dbsight.detect.grouping import parts, where
from dbsight.detect.identity import identity
from dbsight.detect.pace import saving
from dbsight.detect.repetition import KEY_VALUE, Repetition
from dbsight.detect.rule import WindowRule
from dbsight.detect.severity import MANY, MATTERS, SEVERAL, is_negligible, matters
from dbsight.detect.suppressions import Overrides
from dbsight.model import SEVERITIES, Finding
from dbsight.safety import dropped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dbsight.config import Settings
    from dbsight.detect.history import History
    from dbsight.detect.window import Window
    from dbsight.model import Category, Operation, Severity

_MAX_FINDINGS = 50
_MAX_ADVICE = 500


class NPlusOne(WindowRule):
    """The same query runs once per row that an earlier query returned.

        [ GET /orders ------------------------------------------------ ]
          [ SELECT orders ]
                           [ SELECT customers ]  × 200, a different id each time

    Anti-pattern:
        for order in session.scalars(select(Order)):
            print(order.customer.name)

    Best practice:
        for order in session.scalars(select(Order).options(joinedload(Order.customer))):
            print(order.customer.name)

    Severity:
        error: 10 or more executions with different parameters that take 100 ms, or 20 % of the unit of work.
        warning: ``n_plus_one_threshold`` (5) or more executions; or 3 or more that take 100 ms.
        info: 2 or more from one line, all with different parameters. Also executions more than 1 s apart, and fewer
        than 20 that take less than 25 ms and 0.5 % of the unit of work.

    Not reported:
        Eager loads, pagination and lookups for the keys of one page, chunks of 50 values or more, refreshes after
        writes, get-or-create, polling at a steady interval, queue workers that process one job after another,
        background threads of libraries, retries after errors, fetches from one cursor, queries on system catalogs and
        on the version table of a migration tool, pings, connection setup, all writes, and suppressed queries.
    """

    name: ClassVar[str] = "n_plus_one"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("n_plus_one_threshold",)
    of_repetition: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._threshold = settings.n_plus_one_threshold
        self._overrides = Overrides(settings)
        self._advice: dict[tuple[str, ...], Advice] = {}
        self._located = settings.code_location == "on"

    def complete(self, window: Window) -> Iterable[Finding]:
        """Find the queries that ran once per item, ordered by the time that a fix would save.

        In a window without repetition this is one pass over the fingerprints.
        """
        facts = facts_of(window)
        repeated = [group for group in facts.by_query.values() if len(group) > 1 and _reads(group[0])]
        if not repeated:
            return ()
        history = facts.history
        candidates = self._candidates(repeated, window, history)
        if not candidates:
            return ()
        return self._report(candidates, window, history)

    # -- Candidates ---------------------------------------------------------------------------------------------

    def _candidates(
        self, repeated: Iterable[Sequence[Operation]], window: Window, history: History
    ) -> list[_Candidate]:
        """Yield the repetitions with different parameters that match none of the exempt patterns."""
        units = history.units()
        candidates: list[_Candidate] = []
        pages: list[Operation] = []
        eager = False
        for group in repeated:
            counted = [
                each
                for each in group
                if each.error_type is None
                and each.load != "eager"
                and (not (each.allowed or each.statement.allowed) or not self._allows(each))
            ]
            eager = eager or len(counted) < len(group)
            if len(counted) < 2:
                continue
            for part in parts(counted, units):
                if len(part) < 2:
                    continue
                repetition = Repetition(part)
                if not self._varies(repetition):
                    continue
                reason = exempt.reason(repetition, window, history)
                if reason is None:
                    candidates.append(_Candidate(repetition))
                elif reason == "pagination":
                    pages += repetition.operations
        if pages:
            candidates = [each for each in candidates if not exempt.belong_to_pages(each.repetition, pages)]
        if eager and candidates:
            _follow(candidates, history)
        return candidates

    def _allows(self, operation: Operation) -> bool:
        allowed = operation.allowed | operation.statement.allowed
        return self.name in allowed or "all" in allowed

    def _varies(self, repetition: Repetition) -> bool:
        """Return whether the parameters differ; repetitions of the same parameters are handled by other rules.

        Many executions that alternate between two values are redundant, too.
        """
        if repetition.relationship is None and repetition.call_site is None:
            if self._located and not repetition.operations[0].foreign:
                return False  # a scheduler's thread, with no application frame on its stack
            return not repetition.unknown and repetition.distinct == len(repetition) >= self._threshold
        if repetition.unknown:
            return True
        return repetition.distinct == len(repetition) or repetition.distinct >= SEVERAL

    # -- Severity -----------------------------------------------------------------------------------------------

    def _severity(self, candidate: _Candidate, window: Window) -> Severity | None:
        """Apply the severity table: none, demotion, error, warning, info; the first match applies."""
        repetition = candidate.repetition
        count = len(repetition)
        total = candidate.duration
        severity = self._undemoted(repetition, count, total, window)
        if severity is None:
            return None
        if repetition.slow_paced:
            return "info"
        if is_negligible(count, total, window.duration):
            return "info"
        return severity

    def _undemoted(self, repetition: Repetition, count: int, total: float, window: Window) -> Severity | None:
        threshold = self._threshold_of(repetition, window)
        if count >= max(MANY, threshold) and repetition.distinct >= MANY and matters(total, window.duration):
            return "error"
        if count >= threshold or (count >= SEVERAL and total >= MATTERS):
            return "warning"
        if repetition.distinct == count and repetition.one_place:
            return "info"
        return None

    def _threshold_of(self, repetition: Repetition, window: Window) -> int:
        name = "n_plus_one_threshold"
        return int(self._overrides.value(name, repetition.statement, window.name, self._threshold))

    # -- Findings -----------------------------------------------------------------------------------------------

    def _report(self, candidates: Iterable[_Candidate], window: Window, history: History) -> list[Finding]:
        """Build one finding per id: calls of one helper from several places are one fault."""
        faults: dict[str, _Fault] = {}
        judged: list[Repetition] = []
        for candidate in candidates:
            severity = self._severity(candidate, window)
            if severity is None:
                continue
            judged.append(candidate.repetition)
            found = self._identity(candidate.repetition)
            fault = faults.get(found)
            if fault is None:
                faults[found] = _Fault(candidate, severity, history)
            else:
                fault.add(candidate, severity, history)
        siblings = _siblings(judged)
        ranked = sorted(faults.items(), key=lambda item: (-item[1].impact, item[0]))
        if len(ranked) > _MAX_FINDINGS:
            dropped("findings of a window", len(ranked) - _MAX_FINDINGS)
        return [self._finding(*item, window, history, siblings) for item in ranked[:_MAX_FINDINGS]]

    def _identity(self, repetition: Repetition) -> str:
        """Stable across runs: the query and the code that ran it, without line numbers, which every edit changes.

        Without a relationship, the function may be a shared helper: two functions that loop over it are two faults.
        """
        site = repetition.call_site
        parts = [self.name, repetition.statement.fingerprint, repetition.relationship or ""]
        if site is not None:
            parts += (site.file, site.function)
            if repetition.relationship is None and site.caller is not None:
                parts += (site.caller.file, site.caller.function)
        return identity("n1", *parts)

    def _finding(
        self,
        found: str,
        fault: _Fault,
        window: Window,
        history: History,
        siblings: Mapping[str, Sequence[str]],
    ) -> Finding:
        main, count, followers = fault.main, fault.count, fault.followers
        advice = self._advise(found, main, history, siblings.get(main.entity or "", ()))
        different = f"{main.distinct} different parameters" if main.distinct > 1 else "unknown parameters"
        description = f"{count} queries {advice.seen.replace(DIFFERENT, different)}{where(main.call_site)}."
        if followers:
            names = sorted({follower.relationship or follower.statement.summary for follower in followers})
            description += f" Each ran its eager loads again ({', '.join(names)}): {len(followers)} more queries."
        details: dict[str, object] = {
            "distinct": fault.distinct,
            "duration": fault.duration,
            "main_query": _main_query(main, history),
            "repeated_query": main.statement.summary,
            "followers": len(followers),
        }
        return Finding(
            rule=self.name,
            id=found,
            severity=fault.severity,
            category=self.category,
            title=advice.title,
            description=description,
            suggestion=advice.suggestion,
            impact=fault.impact,
            effort=advice.effort,
            count=count,
            metric="count",
            current_value=float(count),
            threshold=float(self._threshold_of(main, window)),
            statement=main.statement,
            database=main.database,
            call_site=main.call_site,
            relationship=main.relationship,
            trace=f"{window.trace_id:032x}",
            route=window.name,
            details=details,
        )

    def _advise(self, found: str, repetition: Repetition, history: History, siblings: Sequence[str]) -> Advice:
        """Return the advice for a finding, cached by the finding's id."""
        key = (found, *siblings)
        advice = self._advice.get(key)
        if advice is None:
            if len(self._advice) >= _MAX_ADVICE:
                self._advice.clear()
            advice = self._advice[key] = advise(repetition, history, siblings)
        return advice


class _Candidate:
    """A repetition, and the eager loads that its executions triggered."""

    __slots__ = ("duration", "followers", "repetition")

    def __init__(self, repetition: Repetition) -> None:
        self.repetition = repetition
        self.followers: list[Operation] = []
        self.duration = repetition.duration

    def follow(self, operation: Operation) -> None:
        self.followers.append(operation)
        self.duration += operation.duration

    def saving(self, history: History) -> float:
        """Seconds that the fix saves."""
        return saving([*self.repetition.operations, *self.followers], history)


class _Fault:
    """Candidates with one id, added up: calls of one helper from several places.

    Attributes:
        main: The repetition with the most executions.
        severity: That of the most severe.
        count: Number of executions.
        distinct: Number of different parameters.
        duration: s; of executions and followers.
        followers: Eager loads that the executions triggered.
        impact: s; what the fix saves.
    """

    __slots__ = ("_savings", "count", "distinct", "duration", "followers", "impact", "main", "severity")

    def __init__(self, candidate: _Candidate, severity: Severity, history: History) -> None:
        self.main = candidate.repetition
        self.severity = severity
        self.count = len(self.main.operations)
        self.distinct = self.main.distinct
        self.duration = candidate.duration
        self.followers = candidate.followers
        self.impact = candidate.saving(history)
        self._savings = [self.impact]

    def add(self, candidate: _Candidate, severity: Severity, history: History) -> None:
        """Add one more candidate."""
        repetition = candidate.repetition
        self.main = max(self.main, repetition, key=lambda each: (len(each), each.duration))
        self.severity = max(self.severity, severity, key=SEVERITIES.index)
        self.count += len(repetition)
        self.distinct += repetition.distinct
        self.duration += candidate.duration
        self.followers = [*self.followers, *candidate.followers]
        self._savings.append(candidate.saving(history))
        self.impact = fsum(self._savings)


def _reads(operation: Operation) -> bool:
    """Return whether a statement can be part of an N+1: it reads tables of the application."""
    statement = operation.statement
    if statement.kind != "select" or statement.system in KEY_VALUE:
        return False  # redis_chatter handles key-value stores
    return not (statement.ping or statement.setup or statement.catalogue or statement.blocking)


def _follow(candidates: Iterable[_Candidate], history: History) -> None:
    """Assign each eager load to the repetition whose execution triggered it."""
    owners = {id(operation): candidate for candidate in candidates for operation in candidate.repetition.operations}
    latest: dict[int, _Candidate | None] = {}
    for operation in history.operations:
        if operation.load != "eager":
            latest[operation.thread] = owners.get(id(operation))
            continue
        owner = latest.get(operation.thread)
        if owner is not None:
            owner.follow(operation)


def _siblings(repetitions: Iterable[Repetition]) -> dict[str, list[str]]:
    """Group the classes whose columns were loaded row by row by base class: one loader option covers them all."""
    classes: dict[str, set[str]] = {}
    for repetition in repetitions:
        if repetition.load == "inherited" and repetition.relationship and repetition.entity:
            classes.setdefault(repetition.entity, set()).add(repetition.relationship.partition(".")[0])
    return {base: sorted(names) for base, names in classes.items()}


def _main_query(repetition: Repetition, history: History) -> str:
    """Return the summary of the query that probably returned the items: the last application query before."""
    for earlier in history.before(repetition.operations[0]):
        statement = earlier.statement
        if (
            earlier.relationship is None
            and _reads(earlier)
            and statement.fingerprint != repetition.statement.fingerprint
        ):
            return statement.summary
    return ""
