"""What instrumentors see that is no query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from dbsight.model.query import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import SpanContext

    from dbsight.model.query import CallSite, Database

PoolEventKind = Literal["checkout", "create", "close", "timeout", "failure", "leak", "returned", "discarded"]


class Event:
    """What is no query, seen by an instrumentor; the common part of the events below.

    Attributes:
        at_ns: When it was over, ns since the epoch.
        call_site: The line of the application, None when unknown.
        parent: Context of the span that it happened in, None outside spans: it finds the window.
        origin: Identity of the span pipeline, None when unknown; analysers ignore what is not theirs.
        allowed: Rules allowed when it happened.
    """

    __slots__ = ("allowed", "at_ns", "call_site", "origin", "parent")

    def __init__(
        self,
        at_ns: int,
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        self.allowed = allowed
        self.at_ns = at_ns
        self.call_site = call_site
        self.parent = parent
        self.origin = origin


class PoolEvent(Event):
    """Something that a connection pool did; what it does all the time, ``PoolUses`` tells.

    Attributes:
        kind: ``checkout`` (got a connection after it waited), ``create``, ``close``, ``timeout`` (got none in time),
             ``failure`` (a connection could not be made), ``leak`` (not returned), ``returned`` (after all, when it
             had been reported as a leak), or ``discarded`` (thrown away because its pool was full).
        pool: ``db.client.connection.pool.name``.
        seconds: Waited for a checkout or until a timeout; taken to create; out when a leak was found or it was
                returned; age at a close.
        error_type: Of a failure.
        reason: Why a connection was closed: ``recycle``, ``invalid``, ``overflow``, ``idle``, ``dispose`` …
        holders: Who holds the pool's connections at a timeout: place and age in s, oldest first.
        requester: Which thread or task it was; 0 when unknown.
        session: The connection was taken by an ORM session.
        library: Of the pool, as in ``PoolState``.
        asynchronous: Tasks use the pool.
    """

    __slots__ = (
        "asynchronous",
        "error_type",
        "holders",
        "kind",
        "library",
        "pool",
        "reason",
        "requester",
        "seconds",
        "session",
    )

    def __init__(
        self,
        kind: PoolEventKind,
        pool: str,
        at_ns: int,
        seconds: float = 0.0,
        *,
        error_type: str | None = None,
        reason: str | None = None,
        holders: tuple[tuple[CallSite | None, float], ...] = (),
        requester: int = 0,
        session: bool = False,
        library: str = "sqlalchemy",
        asynchronous: bool = False,
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(at_ns, call_site, parent, origin, allowed)
        self.requester = requester
        self.session = session
        self.library = library
        self.asynchronous = asynchronous
        self.kind: PoolEventKind = kind
        self.pool = pool
        self.seconds = seconds
        self.error_type = error_type
        self.reason = reason
        self.holders = holders


class PoolUse(NamedTuple):
    """A connection was taken from its pool, and given back.

    Attributes:
        over: When it was given back, s on ``perf_counter``.
        used: s that it was out.
        served: s until it was given out, without the time to make it.
        waited: s of these at an exhausted pool; a ``checkout`` told of it.
        requester: Thread or task; 0 when unknown.
        call_site: Where it was taken.
    """

    over: float
    used: float
    served: float
    waited: float
    requester: int
    call_site: CallSite | None


class PoolUses(Event):
    """Connections of a pool that were taken and given back lately: many at once, because it happens all the time.

    Attributes:
        pool: ``db.client.connection.pool.name``.
        uses: In the order of their end; plain tuples in the form of ``PoolUse``.
        offset: s to add to their ``over`` for seconds since the epoch.
        used: How long each connection was out, s.
        served: How long each request took, s, but for those that waited: a wait is told when it is over.
    """

    __slots__ = ("offset", "pool", "served", "used", "uses")

    def __init__(self, pool: str, at_ns: int, uses: Sequence[PoolUse], offset: float) -> None:
        super().__init__(at_ns)
        self.pool = pool
        self.uses = uses
        self.offset = offset
        self.used = [use[1] for use in uses]
        self.served = [use[2] for use in uses if not use[3]]


OpenedBy = Literal["sqlalchemy", "connection", "atomic", "ATOMIC_REQUESTS"]
"""What opened a transaction: SQLAlchemy, a driver's connection, ``atomic`` of Django, or that setting of Django."""


class TransactionEvent(Event):
    """A transaction that is over; savepoints are part of it.

    Attributes:
        database: Where.
        result: ``commit`` or ``rollback``.
        seconds: From its begin to its end.
        idle: s of these in which no statement ran.
        queries: Statements in it.
        writes: Of these, those that wrote.
        failed: Whether one of them failed.
        thread: Identity of the thread that ended it, 0 when unknown.
        opened_by: What opened it.
    """

    __slots__ = ("database", "failed", "idle", "opened_by", "queries", "result", "seconds", "thread", "writes")

    def __init__(
        self,
        database: Database,
        result: Literal["commit", "rollback"],
        at_ns: int,
        seconds: float,
        *,
        idle: float = 0.0,
        queries: int = 0,
        writes: int = 0,
        failed: bool = False,
        thread: int = 0,
        opened_by: OpenedBy = "sqlalchemy",
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(at_ns, call_site, parent, origin, allowed)
        self.thread = thread
        self.opened_by: OpenedBy = opened_by
        self.database = database
        self.result: Literal["commit", "rollback"] = result
        self.seconds = seconds
        self.idle = idle
        self.queries = queries
        self.writes = writes
        self.failed = failed


class CacheEvent(Event):
    """Look-ups in a cache.

    Attributes:
        cache: Name of the cache.
        layer: ``l1``, ``l2`` … or empty.
        key_prefix: Template of the keys, ``user:{}:cart``, or empty.
        hits: Keys that were found.
        misses: Keys that were not.
        stores: Keys that were written.
        removals: Keys that were removed: invalidated by the application.
        evictions: Keys that the cache dropped to make room, or because they were too old.
        sizes: Bytes of the values found, of each of which it is known.
        model: ORM model that is cached, or empty.
    """

    __slots__ = (
        "cache",
        "evictions",
        "hits",
        "key_prefix",
        "layer",
        "misses",
        "model",
        "removals",
        "sizes",
        "stores",
    )

    def __init__(
        self,
        cache: str,
        at_ns: int,
        *,
        hits: int = 0,
        misses: int = 0,
        layer: str = "",
        key_prefix: str = "",
        sizes: Sequence[int] = (),
        model: str = "",
        stores: int = 0,
        removals: int = 0,
        evictions: int = 0,
        allowed: frozenset[str] = frozenset(),
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
    ) -> None:
        super().__init__(at_ns, call_site, parent, origin, allowed)
        self.stores = stores
        self.removals = removals
        self.evictions = evictions
        self.cache = cache
        self.layer = layer
        self.key_prefix = key_prefix
        self.hits = hits
        self.misses = misses
        self.sizes = sizes
        self.model = model


class LockEvent(Event):
    """A distributed lock was tried for, released or lost.

    Attributes:
        kind: ``acquire`` (tried for), ``release`` or ``leak`` (held beyond its time, or never released).
        system: ``redis`` or ``postgresql``.
        lock: Name, shortened to its template.
        acquired: Whether it was got; for ``acquire``.
        seconds: Taken to acquire it, or held until the release.
        attempts: Tries of an ``acquire``.
        pauses: s between the tries, at most the first ten.
    """

    __slots__ = ("acquired", "attempts", "kind", "lock", "pauses", "seconds", "system")

    def __init__(
        self,
        kind: Literal["acquire", "release", "leak"],
        system: str,
        lock: str,
        at_ns: int,
        seconds: float,
        *,
        acquired: bool = True,
        attempts: int = 1,
        pauses: tuple[float, ...] = (),
        allowed: frozenset[str] = frozenset(),
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
    ) -> None:
        super().__init__(at_ns, call_site, parent, origin, allowed)
        self.kind: Literal["acquire", "release", "leak"] = kind
        self.system = system
        self.lock = lock
        self.seconds = seconds
        self.acquired = acquired
        self.attempts = attempts
        self.pauses = pauses


class BudgetEvent(Event):
    """A block of code exceeded the budget that the application gave it.

    Attributes:
        name: Of the block.
        metric: ``queries`` or ``time``.
        value: Queries, or s in the database.
        most: What was allowed.
    """

    __slots__ = ("metric", "most", "name", "value")

    def __init__(
        self,
        name: str,
        metric: Literal["queries", "time"],
        value: float,
        most: float,
        at_ns: int,
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
    ) -> None:
        super().__init__(at_ns, call_site, parent, origin)
        self.name = name
        self.metric = metric
        self.value = value
        self.most = most


OrmOperation = Literal["load", "insert", "update", "delete"]


class OrmEvent(Event):
    """Objects of one class that the ORM has loaded or written, since the last event.

    Attributes:
        model: Name of the class.
        operation: What was done.
        count: Objects.
    """

    __slots__ = ("count", "model", "operation")

    def __init__(self, model: str, operation: OrmOperation, count: int, at_ns: int) -> None:
        super().__init__(at_ns)
        self.model = model
        self.operation: OrmOperation = operation
        self.count = count


Observation = Operation | Event
"""What an instrumentor records."""
