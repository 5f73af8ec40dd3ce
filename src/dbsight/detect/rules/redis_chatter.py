"""Many Redis commands that one could replace, and commands that process too much at once."""

from __future__ import annotations

from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import is_allowed
from dbsight.detect.history import History
from dbsight.detect.median import median
from dbsight.detect.pace import saving
from dbsight.detect.redis_advice import (
    RedisAdvice,
    big_reply,
    broad_scan,
    fitting,
    huge_pipeline,
    keys_command,
    once,
    small_steps,
    together,
)
from dbsight.detect.repetition import KEY_VALUE, Repetition, places
from dbsight.detect.rule import WindowRule
from dbsight.detect.severity import MANY, MATTERS, SEVERAL, is_negligible, matters
from dbsight.detect.shape import Shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dbsight.config import Settings
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation, Severity


_WHOLE: Final = frozenset(
    ("HGETALL", "HKEYS", "HVALS", "SMEMBERS", "SUNION", "SINTER", "SDIFF", "LRANGE", "ZRANGE", "ZREVRANGE")
)
_BIG: Final = _WHOLE | {"KEYS", "SCAN"}
"""Commands that can process too much on their own."""

_SCANNED: Final = 0.9
"""Share of the time that one larger step or an index of the keys saves, estimated: the same keys are still sent."""

_HALF: Final = 0.5
"""Share of the time of large replies that is saved where only what is needed is asked for, estimated."""

_FEW: Final = 20
_FAST: Final = 0.000_05
"""s; so few commands that are as fast as that cannot be felt, on a server on the same host."""

_CHUNK: Final = 20
"""Keys in one command from which it counts as one of several chunks."""

_TAKES: Final = frozenset(("SET", "SETNX"))
_GIVES_BACK: Final = frozenset(("DEL", "UNLINK", "EVAL", "EVALSHA"))
"""Commands that acquire and release locks."""

_ITERATING: Final = frozenset(("SCAN", "HSCAN", "SSCAN", "ZSCAN"))
_PACE: Final = 0.05
"""s; a thread that waits longer between commands than this is waiting for something, not looping."""


class RedisChatter(WindowRule):
    """Many single Redis commands do the work of one, or one command processes too much at once.

        [ GET /cart ------------------------------------------------ ]
          [ GET price:1 ] [ GET price:2 ] [ GET price:3 ] …  × 50

    Anti-pattern:
        prices = [client.get(f"price:{number}") for number in range(50)]

    Best practice:
        prices = client.mget([f"price:{number}" for number in range(50)])

    Severity:
        error: 10 or more commands for different keys that take 100 ms, or 20 % of the unit of work.
        warning: 5 or more commands; ``KEYS``; a collection or a pipeline of 10 000 items, or one that is slow.
        info: Fewer than 20 commands that take less than 25 ms and 0.5 % of the unit of work; collections of 1000 items
        or more.

    Not reported:
        Pipelines of a reasonable size, commands that wait for something (locks, queues, rate limits: the same key at a
        steady interval), queue workers that process one job after another, subscriptions, pings, connection setup, the
        steps of a transaction that watches its keys, locks acquired key by key, ``MSET`` and ``MGET`` in chunks of 20
        keys, commands that a library sends outside requests, fewer than 20 commands below 0.05 ms each, and suppressed
        commands.
    """

    name: ClassVar[str] = "redis_chatter"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = (
        "redis_chatter_threshold",
        "redis_reply_threshold",
        "redis_pipeline_threshold",
        "redis_scan_threshold",
        "redis_scan_keys_threshold",
        "slow_query_thresholds",
        "redis_scan_few_threshold",
        "redis_reply_warning_factor",
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._few = settings.redis_chatter_threshold
        self._large = settings.redis_reply_threshold
        self._huge = settings.redis_pipeline_threshold

    def concerns(self, shape: Shape) -> bool:
        """Commands of Redis and of its like."""
        return shape.system in KEY_VALUE

    def complete(self, window: Window) -> Iterable[Finding]:
        """Find loops of commands and single oversized commands, ordered by the time that a fix would save."""
        if not self._may_be_chatter(window):
            return ()
        groups: dict[str, list[Operation]] = {}
        for each in window.operations:
            if each.database.system in KEY_VALUE and each.error_type is None and not is_allowed(self.name, each):
                groups.setdefault(each.statement.fingerprint, []).append(each)
        findings = {
            found.id: found
            for group in groups.values()
            if group[0].statement.operation in _BIG or max([each.batch_size for each in group]) >= self._huge
            for found in self._big(sorted(group, key=attrgetter("start_ns")), window)
        }
        repeated = [group for group in groups.values() if len(group) >= self._few and _may_be_joined(group[0])]
        if repeated:
            operations = sorted([each for group in groups.values() for each in group], key=attrgetter("start_ns"))
            history = History(operations, groups)
            units = history.units()
            locks = _locks(operations)
            for group in repeated:
                if _are_locks(group, locks):
                    continue
                group.sort(key=attrgetter("start_ns"))
                for part in _parts(group, units):
                    found = self._loop(part, window, history)
                    if found is not None:
                        findings[found.id] = found
        return sorted(findings.values(), key=lambda found: (-found.impact, found.id))

    def _may_be_chatter(self, window: Window) -> bool:
        """Return whether the window needs a closer check; for most windows this is the rule's whole cost."""
        if len(window.operations) - window.distinct >= self._few - 1:
            return True
        return any([self._may_be_big(Shape._make(each)) for each in window.shapes])  # noqa: C419 - mostly one

    def _may_be_big(self, shape: Shape) -> bool:
        return shape.operation in _BIG or shape.batch_size >= self._huge

    # -- Loops --------------------------------------------------------------------------------------------------

    def _loop(self, part: list[Operation], window: Window, history: History) -> Finding | None:
        if len(part) < self._few:
            return None
        repetition = Repetition(part)
        # External spans may not contain keys: many commands from one line then count as different.
        unknown = repetition.unknown and part[0].statement.kind == "select" and repetition.one_place
        if repetition.unknown and not unknown:
            return None
        several = bool(unknown) or repetition.distinct == len(part) or repetition.distinct >= SEVERAL
        # Neither the tasks of a request nor the threads of a scheduler have an application frame on their stack.
        nowhere = _is_housekeeping(repetition) and not (several and window.request)
        if nowhere or _waits(repetition):
            return None
        if not several and (part[0].statement.kind == "select" and _written_between(part, window)):
            return None
        severity = _severity(repetition, window.duration, several=several)
        if severity is None:
            return None
        advice = together(repetition) if several or part[0].statement.kind != "select" else once(repetition)
        saved = saving(part, history)
        return self._finding(part, advice, severity, window, saved, float(len(part)), float(self._few))

    # -- Oversized commands -------------------------------------------------------------------------------------

    def _big(self, group: Sequence[Operation], window: Window) -> Iterable[Finding]:
        operation = group[0].statement.operation
        if operation in _WHOLE:
            return self._whole(group, window)
        if operation == "KEYS":
            return self._keys(group, window)
        if operation == "SCAN" and len(group) >= self._few:
            return self._scan(group, window)
        huge = max([each.batch_size for each in group])
        if huge < self._huge:
            return ()
        return (self._finding(group, huge_pipeline(huge), "warning", window, 0.0, float(huge), float(self._huge)),)

    def _slow(self, operation: Operation) -> bool:
        return operation.duration >= self.configuration.limits(operation.database.system)[0]

    def _keys(self, group: Sequence[Operation], window: Window) -> Iterator[Finding]:
        longest = max(group, key=attrgetter("duration"))
        grave = (longest.rows or 0) >= self._large or self._slow(longest)
        total = sum(each.duration for each in group)
        yield self._finding(
            group,
            keys_command(longest, hidden=self.configuration.query_text == "off"),
            "warning" if grave else "info",
            window,
            total,
        )

    def _scan(self, group: Sequence[Operation], window: Window) -> Iterator[Finding]:
        total = sum(each.duration for each in group)
        found = sum(each.rows or 0 for each in group)
        calls = len(group)
        many = calls >= self.configuration.redis_scan_threshold
        if found < self.configuration.redis_scan_few_threshold * calls:
            severity: Severity = "warning" if total >= MATTERS or many else "info"
            yield self._finding(group, broad_scan(calls, found), severity, window, _SCANNED * total, float(calls))
        elif many and found < self.configuration.redis_scan_keys_threshold * calls:
            yield self._finding(group, small_steps(calls, found), "info", window, _SCANNED * total, float(calls))

    def _whole(self, group: Sequence[Operation], window: Window) -> Iterator[Finding]:
        big = [each for each in group if (each.rows or 0) >= self._large]
        if big:
            most = max(each.rows or 0 for each in big)
            grave = most >= self.configuration.redis_reply_warning_factor * self._large or any(map(self._slow, group))
            saved = _HALF * sum(each.duration for each in big)
            advice = big_reply(big[0], most)
            severity: Severity = "warning" if grave else "info"
            yield self._finding(big, advice, severity, window, saved, float(most), float(self._large))

    # -- Findings -----------------------------------------------------------------------------------------------

    def _finding(
        self,
        part: Sequence[Operation],
        advice: RedisAdvice,
        severity: Severity,
        window: Window,
        impact: float,
        value: float | None = None,
        threshold: float | None = None,
    ) -> Finding:
        first = part[0]
        site = first.call_site
        place = (site.file, site.function) if site is not None else ()
        return self.finding(
            ("rc", advice.fault, first.statement.fingerprint, *place),
            severity=severity,
            title=advice.title,
            description=advice.description,
            suggestion=fitting(advice.suggestion, first),
            impact=impact,
            effort="low",
            count=len(part),
            metric="count" if threshold is not None else "",
            current_value=value,
            threshold=threshold,
            statement=first.statement,
            database=first.database,
            call_site=site,
            trace=f"{window.trace_id:032x}",
            route=window.name,
        )


def _may_be_joined(operation: Operation) -> bool:
    """Return whether several of these can be combined: single commands that do not block and follow no protocol."""
    statement = operation.statement
    if statement.ping or statement.setup or statement.blocking or statement.kind in {"transaction", "other"}:
        return False
    if statement.in_length >= _CHUNK:
        return False
    if statement.operation in _ITERATING or statement.operation == "KEYS" or operation.batch_size > 1:
        return False
    if statement.operation == "XACK":  # once each message is done: sent later, a crash would repeat those before
        return False
    return bool(statement.targets) or operation.foreign


def _locks(operations: Sequence[Operation]) -> frozenset[int]:
    """Keys that are written and then deleted one by one: locks, as hashes of their names."""
    taken = {each.statement.literals for each in operations if each.statement.operation in _TAKES}
    given_back = {each.statement.literals for each in operations if each.statement.operation in _GIVES_BACK}
    return frozenset((taken & given_back) - {0})


def _are_locks(group: Sequence[Operation], locks: frozenset[int]) -> bool:
    """Return whether most of these acquire or release a lock, which cannot be combined."""
    if not locks or group[0].statement.operation not in _TAKES | _GIVES_BACK:
        return False
    return 2 * sum([each.statement.literals in locks for each in group]) > len(group)


def _is_housekeeping(repetition: Repetition) -> bool:
    """Return whether no application frame is involved: a library's scheduler, heartbeat or acknowledgement.

    Overlapping commands are tasks of one ``gather``, which the application started.
    """
    site = repetition.call_site
    if site is None:
        return median(repetition.gaps()) >= 0
    return "site-packages" in site.file or "dist-packages" in site.file


def _parts(group: list[Operation], units: Mapping[int, object]) -> Iterator[list[Operation]]:
    """Split a group by database, unit of work and call site."""
    parts: dict[object, list[Operation]] = {}
    for operation in group:
        parts.setdefault((operation.database.key, units.get(id(operation))), []).append(operation)
    for part in parts.values():
        yield from places(part)


def _waits(repetition: Repetition) -> bool:
    """Return whether it runs at a steady interval: a lock that is retried, a queue or a rate limit that is polled."""
    gaps = repetition.gaps()
    return median(gaps) > _PACE if repetition.distinct < len(repetition) else median(gaps) > 1.0


def _written_between(part: Sequence[Operation], window: Window) -> bool:
    """Return whether most of these reads follow a write of the same keys, so that they are not repetitions."""
    targets = set(part[0].statement.targets)
    writes = [
        each.start_ns
        for each in window.operations
        if each.statement.written and not targets.isdisjoint(each.statement.written)
    ]
    if not writes:
        return False
    starts = [each.start_ns for each in part]
    fresh = sum(any(before < write < after for write in writes) for before, after in pairwise(starts))
    return fresh * 2 >= len(starts) - 1


def _severity(repetition: Repetition, window: float, *, several: bool) -> Severity | None:
    """Apply the severity table: none, demotion, error, warning; the first match applies."""
    count, total = len(repetition), repetition.duration
    if count < _FEW and total < _FAST * count:
        return None
    if is_negligible(count, total, window):
        return "info"
    return "error" if several and count >= MANY and matters(total, window) else "warning"
