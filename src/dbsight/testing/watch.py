"""The queries of one test: of the whole process, whatever thread, task or live server runs them."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from dbsight import config, recording, scope
from dbsight.detect.runner import RuleRunner, merge
from dbsight.detect.slow_thresholds import SlowThresholds
from dbsight.detect.window import Window
from dbsight.instrument.libraries import instrument_libraries
from dbsight.recording import OpenWindow
from dbsight.safety import guard
from dbsight.testing import calls as test_calls
from dbsight.testing.calls import is_support_code, is_test_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from dbsight.model import CallSite, Finding, Operation

_MOST: Final = 10_000
"""Queries that one watch remembers; further ones are counted."""

SEEDING: Final = frozenset({"row_by_row_write", "serial_writes", "write_heavy", "unprepared_repeat"})
"""Rules about writes: what a test writes by itself are rows for the test, not a fault of the application."""

CHECKING: Final = frozenset({"redundant_query"})
"""Rules about repetition: a test asks the same again to see what changed."""

_OF_SUPPORT: Final = SEEDING | CHECKING | {"n_plus_one"}
"""Rules about what factories and fixtures do for each row."""


@dataclass(frozen=True, slots=True)
class Group:
    """The executions of one query on one line.

    Attributes:
        count: Executions.
        summary: ``SELECT orders``.
        text: Sanitised text of the query.
        fingerprint: 16 hexadecimal digits.
        site: ``file:line in function`` of the application, empty when unknown.
        seconds: s; the sum of the durations.
    """

    count: int
    summary: str
    text: str
    fingerprint: str
    site: str
    seconds: float


class Unit:
    """One request that a test client sent: rules look at it by itself, as they do in production.

    Args:
        name: ``GET /orders/1``.
    """

    __slots__ = ("name", "operations")

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations: list[Operation] = []

    def add(self, operation: Operation, _: Mapping[str, Any] | None = None) -> None:
        """Take in one query; called in the drain."""
        if len(self.operations) < _MOST:
            self.operations.append(operation)

    def returned(self, _: Any = None) -> None:
        """The request is over."""
        scope.stop_profiling(self)

    raised = returned


def begin_unit(name: str) -> Unit | None:
    """Open a unit for a request that begins here; None while nothing is watched."""
    if not _open:
        return None
    unit = Unit(name)
    for watch in _open:
        watch.units.append(unit)
    scope.profile(unit)
    return unit


class Watch(scope.Block):
    """Records every query of the process while it is entered, without a span of its own.

    Pings, connection set-up and statements of transactions (``BEGIN``, ``SAVEPOINT`` …) are left out: whether a fixture
    wraps a test in a transaction must not change a number.

    Args:
        name: Of the test, for the findings.
        allow: Rules whose findings are known and wanted; ``all`` stands for every rule.
        calls: Whether rules look at each call that a test makes by itself, and not at the whole block.

    Attributes:
        units: The requests that test clients sent meanwhile.
        duration: s; from entering to leaving.
    """

    def __init__(self, name: str = "test", allow: Iterable[str] = (), *, calls: bool = False) -> None:
        self.name = name
        self.units: list[Unit] = []
        self.duration = 0.0
        self._calls: dict[test_calls.Key, Unit] | None = {} if calls else None
        self._allowed = frozenset(allow)
        self._operations: list[Operation] = []
        self._began = 0.0
        self._left_out = 0

    def fresh_copy(self) -> Self:
        """Return a copy with the same options that has recorded nothing."""
        twin = copy(self)
        twin.units, twin._operations, twin._left_out = [], [], 0
        twin._calls = None if self._calls is None else {}
        return twin

    def __enter__(self) -> Self:
        prepare()
        recording.settle()  # what ran before is not ours
        self._began = perf_counter()
        _open.append(self)
        scope.profile(self, everywhere=True, find=None if self._calls is None else self._call)
        return self

    @guard
    def _call(self) -> Unit | None:
        """The call of the test in which a query begins here."""
        key = test_calls.current()
        if key is None or self._calls is None:
            return None
        unit = self._calls.get(key)
        return unit if unit is not None else self._calls.setdefault(key, Unit(self.name))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        recording.settle()
        scope.stop_profiling(self)
        if self in _open:
            _open.remove(self)
        self.duration = perf_counter() - self._began

    def add(self, operation: Operation, _: Mapping[str, Any] | None = None) -> None:
        """Take in one query; called in the drain."""
        if not operation.statement.is_work:
            return
        if len(self._operations) < _MOST:
            self._operations.append(operation)
        else:
            self._left_out += 1

    # -- What was recorded ----------------------------------------------------------------------------------------

    def operations(self, system: str | None = None) -> list[Operation]:
        """The queries so far.

        Args:
            system: Those of one database system, ``postgresql``; None takes all SQL databases.
        """
        self._settle()
        return [each for each in tuple(self._operations) if _is_of(each, system)]

    def _settle(self) -> None:
        if self in _open:  # else it was, when it was left
            recording.settle()

    def count(self, system: str | None = None) -> int:
        """How many ran; as for ``operations``."""
        return len(self.operations(system)) + (self._left_out if system is None else 0)

    def seconds(self, system: str | None = None) -> float:
        """Time in the database, s."""
        return sum(each.duration for each in self.operations(system))

    def groups(self, system: str | None = None) -> list[Group]:
        """The queries by text and line, in the order of their first executions."""
        return grouped(self.operations(system))

    def findings(self) -> list[Finding]:
        """What the enabled rules find, most time saved first.

        Each request is looked at by itself, each call of a test where calls are told apart, and the rest. Rows that
        a test file itself writes are its set-up and no finding.
        """
        self._settle()
        left = {id(each): each for each in tuple(self._operations)}
        found: dict[str, Finding] = {}
        for unit in (*self.units, *(self._calls or {}).values()):
            its = [each for each in tuple(unit.operations) if left.pop(id(each), None) is not None]
            self._judge(found, unit.name, its)
        self._judge(found, self.name, list(left.values()))
        return sorted(found.values(), key=lambda each: -each.impact)

    def _judge(self, found: dict[str, Finding], name: str, operations: Sequence[Operation]) -> None:
        for each in _judged(name, operations) if operations else ():
            if not self._excused(each):
                merge(found, each)

    def _excused(self, found: Finding) -> bool:
        if "all" in self._allowed or found.rule in self._allowed:
            return True
        if self._calls is not None and found.rule in _OF_SUPPORT and is_support_code(found.call_site):
            return True
        excused = SEEDING if self._calls is None else SEEDING | CHECKING
        return found.rule in excused and is_test_code(found.call_site)


class _Drain(recording.Consumer):
    """Has the queries reach the watches that are open; without an engine nothing else is recorded."""

    passive = True

    def drain(self) -> None:
        """Work off what is pending in no window, as everything is that is recorded here."""
        recording.loose.drain()


_drain: Final = _Drain()
_open: list[Watch] = []
_prepared = False


def prepare() -> None:
    """Instrument what is installed or will be imported, once; from now on what watches record is drained."""
    global _prepared  # noqa: PLW0603 - asked at the begin of every test
    if not _prepared:
        from dbsight.testing import clients, clocks

        instrument_libraries()
        clients.install()
        clocks.install()
        _prepared = True
    recording.subscribe(_drain)


def grouped(operations: Iterable[Operation]) -> list[Group]:
    """Queries by text and line, in the order of their first executions."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Operation] = {}
    seconds: dict[tuple[str, str], float] = {}
    for each in operations:
        key = each.statement.fingerprint, place(each.call_site)
        first.setdefault(key, each)
        counts[key] += 1
        seconds[key] = seconds.get(key, 0.0) + each.duration
    return [
        Group(
            counts[key],
            each.statement.summary or each.database.system,
            each.statement.text,
            key[0],
            key[1],
            seconds[key],
        )
        for key, each in first.items()
    ]


def place(site: CallSite | None) -> str:
    """``shop/orders.py:12 in list_orders``; empty when unknown."""
    return f"{site} in {site.function}" if site is not None else ""


def _is_of(operation: Operation, system: str | None) -> bool:
    its = operation.database.system
    return its not in _NOT_SQL if system is None else its == system


_NOT_SQL: Final = frozenset({"redis", "valkey", "memcached", "mongodb", "elasticsearch", "opensearch", "dynamodb"})


def _judged(name: str, operations: Sequence[Operation]) -> Iterable[Finding]:
    """What the rules say of one unit.

    How long it took is not told to them: whether a test fails must not depend on how large a part of it its queries
    are, on a machine that is busy or not.
    """
    runner, limits = _rules(config.current())
    window = OpenWindow(name, 0, 0, 0)
    runner.complete(window, Window(name, 0, list(operations), duration=0.0))
    for operation in operations:
        if operation.duration >= limits.lowest:
            for found in runner.visit(operation, window):
                merge(window.singles, found)
    for found in (*window.findings.values(), *window.singles.values()):
        found.route = name
        yield found


_judges: list[tuple[config.Settings, RuleRunner, SlowThresholds]] = []


def _rules(settings: config.Settings) -> tuple[RuleRunner, SlowThresholds]:
    """The rules under these settings; made once, as there are hundreds of tests."""
    if not _judges or _judges[0][0] is not settings:
        _judges[:] = [(settings, RuleRunner(settings), SlowThresholds(settings))]
    return _judges[0][1], _judges[0][2]
