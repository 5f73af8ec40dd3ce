"""Connection pools: their state, their totals, and who holds their connections."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple

from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbsight.model.events import PoolUse
    from dbsight.model.query import CallSite


@record()
class Holder:
    """Who holds a connection.

    Attributes:
        call_site: Where it was taken, None when unknown.
        age: s since then.
        idle: s since a query ended on it, or since it was taken.
        queries: That ran on it since then.
        session: It was taken by an ORM session.
        kept: It is kept on purpose, or given back whatever happens: a subscription, a command that waits.
    """

    call_site: CallSite | None
    age: float
    idle: float = 0.0
    queries: int = 0
    session: bool = False
    kept: bool = False


@record()
class PoolState:
    """The pools of one target at one moment, as they say themselves; numbers of several are added.

    Attributes:
        name: ``db.client.connection.pool.name``.
        library: ``sqlalchemy``, ``psycopg_pool``, ``asyncpg``, ``redis`` …
        kind: Class of the pool: ``QueuePool``.
        system: ``db.system.name``.
        used: Connections that are out.
        idle: Open connections that wait in the pool.
        pending: Requests that wait for a connection now.
        max: Connections that it may open, None for no limit.
        idle_max: Connections that it keeps open, None for no limit.
        idle_min: Connections that it keeps open at least.
        overflow: Open connections beyond those that it keeps.
        pools: How many pools there are now.
        made: How many there have been.
        same: The most pools with one and the same configuration, now.
        clients: Engines or clients that share them.
        created: Connections made by this process, or inherited when it was forked.
        closed_by: Of these, those that are gone, by reason: ``recycle``, ``invalid``, ``idle``, ``dispose`` …
        idle_time: s since a connection was taken or given back; 0 while one is out.
        asynchronous: Tasks use it.
        blocks_loop: An asynchronous engine has a pool for threads, which stops the event loop when it waits.
        role: ``dbsight.pool.role`` of a Redis pool that was asked for by its role, else empty.
        cleanup_failures: How often idle connections could not be closed.
        wrong_loop: How often a pool was used on another event loop than the one that its connections belong to.
        call_site: Where the latest pool was made.
        holders: Who holds its connections, oldest first; bounded.
        most: The most connections that were out at once, those of several pools added.
        open: The uses that have not ended yet, and the requests that wait, as they are so far; bounded.
    """

    name: str
    library: str
    kind: str
    system: str
    used: int = 0
    idle: int = 0
    pending: int = 0
    max: int | None = None
    idle_max: int | None = None
    idle_min: int = 0
    overflow: int = 0
    pools: int = 1
    made: int = 1
    same: int = 1
    clients: int = 1
    created: int = 0
    closed_by: Mapping[str, int] = field(default_factory=dict)
    idle_time: float = 0.0
    wrong_loop: int = 0
    role: str = ""
    cleanup_failures: int = 0
    asynchronous: bool = False
    blocks_loop: bool = False
    call_site: CallSite | None = None
    holders: Sequence[Holder] = ()
    most: int = 0
    open: Sequence[PoolUse] = ()

    @property
    def closed(self) -> int:
        """Connections that are gone, for whatever reason."""
        return sum(self.closed_by.values())

    @property
    def usage(self) -> float | None:
        """Share of the connections that are out, 0 to 1; None where there is no limit."""
        return self.used / self.max if self.max else None


@record()
class Leak:
    """Connections of a pool that were taken on one line and not given back.

    Attributes:
        call_site: Where they were taken, None when unknown.
        session: By an ORM session.
        count: How many.
        collected: Of these, those that the garbage collector found.
        age: s that the latest was out, when it was seen.
    """

    call_site: CallSite | None
    session: bool = False
    count: int = 0
    collected: int = 0
    age: float = 0.0


@record()
class PoolTotals:
    """What happened in the pools of one target over the life of the process.

    Attributes:
        checkouts: Connections that were taken, those that are still out included.
        waits: Requests that waited for 1 ms or longer, those that timed out included.
        wait_total: s; all waits together.
        wait_p95: s; of all requests, estimated.
        wait_max: s.
        use_p95: s that a connection was out, estimated.
        use_max: s.
        timeouts: Requests that got none in time.
        failures: Connections that could not be made.
        leaks: Connections that were found by the garbage collector, or are out without a query for too long.
        rate: Connections taken, a second, over the time remembered.
        needed: Connections with which no request would have waited, over the recorded period; 0 if unknown.
        hog: Where the connections that were out the longest were taken, and the part of all use that it makes up.
        leaked: The leaks by line; bounded.
        refused: Where an asynchronous engine was given a pool for threads, None when nowhere.
    """

    checkouts: int = 0
    waits: int = 0
    wait_total: float = 0.0
    wait_p95: float = 0.0
    wait_max: float = 0.0
    use_p95: float = 0.0
    use_max: float = 0.0
    timeouts: int = 0
    failures: int = 0
    leaks: int = 0
    rate: float = 0.0
    needed: int = 0
    hog: tuple[CallSite, float] | None = None
    leaked: Sequence[Leak] = ()
    refused: CallSite | None = None


@record()
class PoolSample:
    """One point of a pool's time series.

    Attributes:
        at_ns: ns since the epoch.
        used: As in ``PoolState``.
        idle: The same.
        pending: The same.
        timeouts: Since the point before.
    """

    at_ns: int
    used: int
    idle: int
    pending: int
    timeouts: int


class Borrowing(NamedTuple):
    """One request for a connection, remembered for a while.

    Attributes:
        asked: When, s since the epoch.
        waited: s until it was served, or given up.
        used: s that the connection was out; 0 when none was given.
        requester: Thread or task; 0 when unknown.
        site: Line of the application.
    """

    asked: float
    waited: float
    used: float
    requester: int
    site: CallSite | None


@record()
class PoolSnapshot:
    """The pools of one target: what they are, what happened, and how it went.

    Attributes:
        state: Now.
        totals: Over the life of the process.
        series: The latest points, oldest first.
        uses: The latest requests for a connection, in the order of their ends; those that are open come last.
    """

    state: PoolState
    totals: PoolTotals = field(default_factory=PoolTotals)
    series: Sequence[PoolSample] = ()
    uses: Sequence[Borrowing] = ()
