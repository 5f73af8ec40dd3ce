"""A connection that is asked for, or out: by whom, since when, and what ran on it."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import groupby
from operator import attrgetter
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

from dbsight import recording, scope
from dbsight.model import Holder, PoolUse, PoolUses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbsight.instrument.pools.pool import Pool
    from dbsight.model import CallSite


def _nothing() -> None:
    return None


_pool_of = attrgetter("pool")
_LEAKS = frozenset({"connection_leak", "session_leak", "all"})


class Checkout:
    """A connection that a thread or task asks for, and then has.

    Not slots: most of what it may know never comes up, and stands on the class until then.

    Attributes:
        pool: Whose.
        asked: When, on ``perf_counter``.
        creating: s in which a connection was made for it, which is no waiting, until its next query takes them.
        began: When it was given out, on ``perf_counter``.
        ended: When it was given back, on ``perf_counter``.
        site: Where in the application.
        served: s until it was given out, without ``creating``.
        early: A wait or a new connection may have to be told by the next query.
        wait: s of these at an exhausted pool, until the first query takes it, on whose span it stands.
        waited: The same, for good.
        requester: Thread or task.
        connection: The identity of the connection for the instrumentor of its queries, 0 if there is none.
        session: It was taken by an ORM session.
        overdue: It was reported as never given back.
        collected: The garbage collector found it.
        kept: Who has it keeps it on purpose, or gives it back whatever happens.
        allowed: The rules that were allowed when it was given out.
        ahead: Connections that were out and requests that were made before it, when it was asked for.
        making: A connection is being made for it.
        inside: How many calls of the driver are in progress on it, where they are counted.
        source: Gives the library's object of the connection, or None: its driver is asked whether a query runs.
        last: When its latest query ended, on ``perf_counter``.
        busy: s of queries on it.
        queries: How many.
        seen: How many its connection had run when it was looked at last, where it is the connection that counts.
        writes: How many of these wrote.
        failures: How many failed.
        suppressed: It was asked for while instrumentation was suppressed: it counts as used, and nothing is reported.
        transaction: The one that is open on it; ``transactions.py``'s.
        alone: It is told by itself when it is given back, rather than with what used it.
    """

    creating: float
    began = 0.0
    ended = 0.0
    served = 0.0
    wait: float
    waited = 0.0
    last = 0.0
    busy = 0.0
    requester = 0
    connection = 0
    queries = 0
    seen = 0
    writes = 0
    failures = 0
    session = False
    overdue = False
    collected = False
    kept = False
    suppressed = False
    alone = True
    making = False
    inside = 0
    source: Callable[[], Any] = _nothing
    allowed: frozenset[str] = frozenset()
    site: CallSite | None = None
    transaction: Any = None

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.early = True
        self.wait = self.creating = 0.0  # read by each query: what stands on the class alone is searched for
        self.ahead = len(pool.held) + len(pool.requests)
        self.asked = perf_counter()
        pool.requests[self] = None
        if not scope.says_nothing(scope.current_context()) and scope.suppressed():
            self.suppressed = True

    def take_wait(self) -> float:
        """What the first query after the checkout waited for its connection, s; 0 when it did not."""
        wait, self.wait = self.wait, 0.0
        return wait

    @classmethod
    def flush_all(cls, records: Sequence[Checkout]) -> None:
        """In the drain: publish uses of connections that ended, those of one pool together. Never raises."""
        uses: dict[str, list[Any]] = {}
        for pool, run in groupby(records, _pool_of):  # mostly one
            uses.setdefault(pool.name, []).extend(
                [
                    (held.ended, held.ended - held.began, held.served, held.waited, held.requester, held.site)
                    for held in run
                ]
            )
        now = time_ns()
        for name, ended in uses.items():
            recording.publish(PoolUses(name, now, ended, now / 1e9 - perf_counter()))

    def is_meant(self) -> bool:
        """Whether it may be out for any time: the library gives it back, or the application allows it."""
        return self.kept or not _LEAKS.isdisjoint(self.allowed)

    def holder(self, now: float) -> Holder:
        """As a record."""
        last = self.last or self.began
        return Holder(self.site, now - self.began, now - last, self.queries, self.session, self.is_meant())

    def use(self, now: float) -> PoolUse:
        """As the use that it is so far; of a request that still waits, the wait so far."""
        if not self.began:
            return PoolUse(now, 0.0, now - self.asked - self.creating, 0.0, self.requester, None)
        return PoolUse(now, now - self.began, self.served, self.waited, self.requester, self.site)


held_by_connection: dict[int, Checkout] = {}
"""Checked-out connections, by the identity that the instrumentor of their queries uses."""

held_on: Callable[[int], Checkout | None] = held_by_connection.get
"""The checkout of a connection; asked for each query."""

asking: ContextVar[Checkout | None] = ContextVar("dbsight_pool_request", default=None)
"""What the current thread or task asks a pool for; ContextVars follow greenlets."""
