"""Plans of slow queries, asked for in the background: one thread, on connections of its own, within strict limits."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight.model import ExplainedQuery, PlanSummary
from dbsight.plans.advice import advise_slow
from dbsight.plans.explain import explain
from dbsight.plans.issues import ExplainAnalyzer
from dbsight.plans.merging import Advised
from dbsight.plans.rendering import as_tree, costly_line
from dbsight.plans.smells import smells, with_smells
from dbsight.safety import dropped, failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.model import Operation, QueryClass

_T = TypeVar("_T")

MAX_WAITING: Final = 20
"""Queries that wait for the thread, with their values."""

MAX_KNOWN: Final = 1000
"""Fingerprints, times databases, that are told apart."""

TIMEOUT: Final = 5.0  # s, for each statement
LOCK_TIMEOUT: Final = 0.5  # s
_REST: Final = 60.0
"""s without a question to a database that gave no connection."""

_LONG_REST: Final = 3600.0
"""The same for one that left a thread waiting."""

_IDLE: Final = 5.0
"""s after which the thread ends."""

STUCK: Final = 60.0
"""s after which a thread is given up: statements have timeouts, but a server may take a connection and never answer."""

_MAX_STUCK: Final = 3
"""Threads that may be stuck; while there are as many, nothing is asked."""


class Replay(Protocol):
    """What an instrumentor keeps of a query: it makes a connection as the application does.

    Attributes:
        text: As the driver got it.
        parameters: The same.
    """

    text: str
    parameters: Any

    def run(self, work: Callable[[Any], _T]) -> _T:
        """Call ``work`` with a private connection for ``explain``; close it afterwards."""

    def wipe(self) -> None:
        """Forget text and parameters."""


class _Job:
    __slots__ = ("began", "operation", "query_class", "replay", "route")

    def __init__(self, replay: Replay, operation: Operation, route: str, query_class: QueryClass | None) -> None:
        self.replay = replay
        self.operation = operation
        self.route = route
        self.query_class = query_class
        self.began = 0.0


class PlanWorker:
    """Asks for the plans of queries, at most one per fingerprint and interval and so many per minute.

    What is over the limits is dropped; an error of the database is not repeated anywhere. Everything but the thread's
    own work is quick, and may be called on any thread.

    Args:
        done: Called on the worker's thread with each query that was explained.
        interval: s between two plans of one fingerprint on one database.
        per_minute: Plans within any 60 s.
        proof: How indexes are proved, as for ``advise_index``.
        clock: s.
    """

    def __init__(
        self,
        done: Callable[[ExplainedQuery], None],
        *,
        interval: float = 600.0,
        per_minute: int = 10,
        proof: str = "safe",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._done = done
        self._interval = interval
        self._proof = proof
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=per_minute)
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], PlanSummary] = OrderedDict()
        self._away: dict[str, float] = {}
        self._advised = Advised()
        self._forget()

    def _forget(self) -> None:
        self._changed = threading.Condition()  # re-entrant: a finalizer may run a slow query on any thread
        self._waiting: deque[_Job] = deque()
        self._thread: threading.Thread | None = None
        self._job: _Job | None = None  # the one that is being asked about
        self._stuck: list[threading.Thread] = []
        self._stopped = False

    # -- Any thread -----------------------------------------------------------------------------------------------

    def submit(self, replay: Replay, operation: Operation, route: str, query_class: QueryClass | None) -> bool:
        """Ask for the plan of a query, if the limits allow it.

        Returns:
            Whether it will be asked for. If not, the replay is wiped.
        """
        key = (operation.database.key, operation.statement.fingerprint)
        with self._changed:
            self._give_up_stuck()
            if not self._take(key):
                replay.wipe()
                return False
            self._waiting.append(_Job(replay, operation, route, query_class))
            try:
                self._start()
            except RuntimeError:  # the interpreter is shutting down
                self._clear()
                return False
            self._changed.notify_all()
            return True

    def _give_up_stuck(self) -> None:
        """Leave a thread behind that waits for a server for too long, and that server alone."""
        job = self._job
        if job is None or self._thread is None or self._clock() - job.began < STUCK:
            return
        self._away[job.operation.database.key] = self._clock() + _LONG_REST
        job.replay.wipe()
        self._stuck = [each for each in self._stuck if each.is_alive()]
        self._stuck.append(self._thread)
        self._thread = self._job = None
        if len(self._stuck) >= _MAX_STUCK:
            self._clear()
        elif self._waiting:
            with suppress(RuntimeError):  # the interpreter is shutting down
                self._start()

    def _take(self, key: tuple[str, str]) -> bool:
        now = self._clock()
        if self._stopped or self.knows(*key):
            return False
        if self._away.get(key[0], now) > now:
            return False
        if len(self._stuck) >= _MAX_STUCK:
            self._stuck = [each for each in self._stuck if each.is_alive()]
            if len(self._stuck) >= _MAX_STUCK:
                return False
        full = len(self._recent) == self._recent.maxlen and now - self._recent[0] < 60
        if full or len(self._waiting) >= MAX_WAITING:
            dropped("plans")
            return False
        self._recent.append(now)
        self._asked[key] = now
        self._asked.move_to_end(key)
        if len(self._asked) > MAX_KNOWN:
            self._asked.popitem(last=False)
        return True

    def knows(self, database: str, fingerprint: str) -> bool:
        """Whether a fingerprint was asked about within the interval; without a lock, on the request's thread."""
        asked = self._asked.get((database, fingerprint))
        return asked is not None and self._clock() - asked < self._interval

    def summary(self, database: str, fingerprint: str) -> PlanSummary | None:
        """The latest plan of a fingerprint on a database, by its key; None when none is known."""
        return self._known.get((database, fingerprint))

    def wait(self, timeout: float) -> None:
        """Wait until nothing is left to do, at most so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and self._job is None, timeout)

    def stop(self) -> None:
        """Take nothing more, and wipe pending questions. A question that is being asked ends by its timeout."""
        with self._changed:
            self._stopped = True
            self._clear()
            self._changed.notify_all()

    def _clear(self) -> None:
        for job in self._waiting:
            job.replay.wipe()
        self._waiting.clear()

    def after_fork(self) -> None:
        """In a forked child: pending questions, and the connection in use, are the parent's."""
        jobs = [*self._waiting, *filter(None, (self._job,))]
        self._forget()
        for job in jobs:
            job.replay.wipe()

    # -- The thread -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="dbsight-plans", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        this = threading.current_thread()
        while True:
            with self._changed:
                if not self._waiting and self._thread is this and not self._stopped:
                    self._changed.wait(_IDLE)
                if self._thread is not this:  # given up meanwhile: another one does the work
                    return
                if self._stopped or not self._waiting:
                    self._thread = None
                    return
                self._job = job = self._waiting.popleft()
                job.began = self._clock()
            try:
                with suppress_instrumentation():
                    self._explain(job)
            except Exception:
                failed("plans.worker")
            finally:
                job.replay.wipe()
                with self._changed:
                    if self._job is job:
                        self._job = None
                    self._changed.notify_all()

    def _explain(self, job: _Job) -> None:
        database = job.operation.database.key
        connected = False

        def work(connection: Any) -> ExplainedQuery:
            nonlocal connected
            connected = True
            return self._ask(job, connection)

        try:
            explained = job.replay.run(work)
        except Exception:
            # Refused, unavailable, locked, not allowed: no plan, and no error.
            if not connected:
                with self._changed:
                    self._away = {key: until for key, until in self._away.items() if until > self._clock()}
                    self._away[database] = self._clock() + _REST
            return
        key = (database, job.operation.statement.fingerprint)
        with self._changed:
            self._known[key] = explained.summary
            self._known.move_to_end(key)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
            wanted = self._job is job and not self._stopped
        if wanted:
            self._done(explained)

    def _ask(self, job: _Job, connection: Any) -> ExplainedQuery:
        operation, replay = job.operation, job.replay
        plan = explain(replay.text, connection, params=replay.parameters, timeout=TIMEOUT, lock_timeout=LOCK_TIMEOUT)
        issues = ExplainAnalyzer(plan).issues
        if job.query_class is not None:
            issues = with_smells(issues, smells(plan, replay.text, replay.parameters, connection))
        advice = advise_slow(
            plan,
            connection,
            replay.text,
            replay.parameters,
            proof=self._proof,
            advised=self._advised,
            database=operation.database.key,
        )
        names = tuple(sorted({issue.name for issue in issues}))
        return ExplainedQuery(
            operation,
            job.route,
            job.query_class,
            plan,
            PlanSummary(plan.hash, plan.cost, names, as_tree(plan), costly_line(plan)),
            issues,
            advice,
            self.summary(operation.database.key, operation.statement.fingerprint),
        )
