"""The records that cross rooms.

Immutable by convention: whoever makes a record fills it, everybody else reads it. Those made for every query are plain
classes with slots (0.3 µs to make, against 2.5 µs for a frozen dataclass); those made for a finding are dataclasses.
Times are seconds (float) unless a name ends in ``_ns`` or the text says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.trace import SpanContext

Kind = Literal["select", "insert", "update", "delete", "ddl", "transaction", "other"]
Severity = Literal["info", "warning", "error"]
Category = Literal["index", "query", "pool", "cache", "workload", "memory", "lock"]
Effort = Literal["low", "medium", "high"]
QueryClass = Literal["slow", "very_slow"]

PoolEventKind = Literal["checkout", "create", "close", "timeout", "failure", "leak"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the least to the most severe."""


class Statement:
    """One distinct query text of one database system; made once per text by ``statement.read`` and cached there.

    Attributes:
        system: ``db.system.name`` by the semantic conventions: ``postgresql``, ``mysql``, ``sqlite``, ``redis`` …
        text: The sanitised text: literals are ``?``, comments are gone, cut at the reader's limit.
        summary: ``db.query.summary``: ``SELECT orders``, at most 255 characters.
        fingerprint: 16 hexadecimal digits, the same for the same query with other literals, comments, white space,
            case of keywords, and lengths of IN and VALUES lists.
        kind: What sort of statement it is; a CTE in front of an INSERT is an insert.
        targets: The tables (or key prefixes) that it names, in text order, without duplicates; for use in process
            only, never an attribute.
        written: The tables that it writes.
        limit: The number in LIMIT / FETCH FIRST when it is a literal, -1 when it is a parameter, None without.
        offset: Whether it has an OFFSET.
        in_length: The length of the longest IN list, literals and placeholders counted.
        ping: ``SELECT 1`` and other statements that only keep a connection alive.
        setup: What sets a connection up or keeps it: PRAGMA, SET, SHOW, USE …
        catalogue: Reads the database's own catalogue (``information_schema``, ``pg_catalog``, ``sqlite_master`` …).
        blocking: Waits by design (``LISTEN``, ``pg_sleep``, ``WAITFOR``, COPY, ``BLPOP``): never slow.
        truncated: The text was longer than the reader reads; what came after is unknown.
        literals: Salted hash of the literals that sanitising took out; 0 when there were none. Never exported.
        allowed: Rules that a ``-- dbsight: allow n_plus_one`` comment in the text allows.
        operation: ``db.operation.name``, for systems whose conventions ask for it (Redis); empty for SQL.
        prebuilt: What ``span.py`` keeps about this statement (shared attributes); nobody else touches it.
    """

    __slots__ = (
        "allowed",
        "blocking",
        "catalogue",
        "fingerprint",
        "in_length",
        "kind",
        "limit",
        "literals",
        "offset",
        "operation",
        "ping",
        "prebuilt",
        "setup",
        "summary",
        "system",
        "targets",
        "text",
        "truncated",
        "written",
    )

    def __init__(
        self,
        system: str,
        text: str,
        summary: str,
        fingerprint: str,
        *,
        kind: Kind = "other",
        targets: tuple[str, ...] = (),
        written: tuple[str, ...] = (),
        limit: int | None = None,
        offset: bool = False,
        in_length: int = 0,
        ping: bool = False,
        setup: bool = False,
        catalogue: bool = False,
        blocking: bool = False,
        truncated: bool = False,
        literals: int = 0,
        allowed: frozenset[str] = frozenset(),
        operation: str = "",
    ) -> None:
        self.system = system
        self.text = text
        self.operation = operation
        self.summary = summary
        self.fingerprint = fingerprint
        self.kind: Kind = kind
        self.targets = targets
        self.written = written
        self.limit = limit
        self.offset = offset
        self.in_length = in_length
        self.ping = ping
        self.setup = setup
        self.catalogue = catalogue
        self.blocking = blocking
        self.truncated = truncated
        self.literals = literals
        self.allowed = allowed
        self.prebuilt: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"Statement({self.system!r}, {self.summary!r}, {self.fingerprint})"


class Database:
    """Where a statement runs: one per engine or client, shared by all its operations.

    Attributes:
        system: ``db.system.name``.
        namespace: ``db.namespace`` or None.
        address: ``server.address`` or None.
        port: ``server.port`` or None.
        key: What tells databases apart: forty SQLite files are forty databases.
        label: Short name for people: ``redis localhost:6379/0``.
    """

    __slots__ = ("address", "key", "label", "namespace", "port", "system")

    def __init__(
        self, system: str, namespace: str | None = None, address: str | None = None, port: int | None = None
    ) -> None:
        self.system = system
        self.namespace = namespace
        self.address = address
        self.port = port
        self.key = f"{system}://{address or ''}:{port or ''}/{namespace or ''}"
        where = address if port is None else f"{address or ''}:{port}"
        self.label = " ".join(filter(None, (system, "/".join(filter(None, (where, namespace))))))

    def __repr__(self) -> str:
        return f"Database({self.key!r})"


class SharedAttributes(dict[str, Any]):
    """Attributes that the spans of all alike operations share; never changed once made.

    Attributes:
        encoded: What an exporter keeps about them; nobody else touches it.
    """

    __slots__ = ("encoded",)

    encoded: bytes | None

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        super().__init__(attributes)
        self.encoded = None


class CallSite:
    """The line of the application that asked for the query.

    Attributes:
        file: Relative to the working directory where it lies below it, else absolute.
        line: Line number, from 1.
        function: Qualified name of the function (its plain name before Python 3.11).
        caller: The frame that called it, when that is the application's too: helpers hide the real place.
    """

    __slots__ = ("caller", "file", "function", "line", "prebuilt")

    def __init__(self, file: str, line: int, function: str, caller: CallSite | None = None) -> None:
        self.file = file
        self.line = line
        self.function = function
        self.caller = caller
        self.prebuilt: Any = None  # span.py's

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def __repr__(self) -> str:
        return f"CallSite({self.file}:{self.line} in {self.function})"


class Operation:
    """One execution of a statement, filled by an instrumentor (or from a foreign span) when it is over.

    Attributes:
        statement: What ran.
        database: Where it ran.
        start_ns: When the driver call began, ns since the epoch.
        duration: s; execute + time inside fetch calls.
        end_ns: When the last driver call returned, ns since the epoch; later than start + duration when the
            application took its time between fetches.
        fetch_time: s; the fetch part of the duration.
        rows: Rows returned to the application, None when unknown or when the statement returns none.
        affected: Rows written, None when unknown.
        batch_size: Parameter sets of an executemany or rows of a multi-row INSERT; 0 when it is no batch.
        error_type: ``error.type``: the exception's qualified class, None when it succeeded.
        error_code: ``db.response.status_code``: SQLSTATE, errno or Redis error prefix.
        call_site: The line of the application, None when unknown.
        context: Its own span's context, None where no span is made.
        parent: The parent span's context, None for work outside any span before a root is drawn.
        origin: Identity of the span pipeline that it goes to, None when unknown; analysers ignore what is not theirs.
        pool_wait: s waited for the connection before this operation; 0 when it did not wait.
        parameters: Salted hash of the bound values, None when unknown. Never exported.
        relationship: ORM relationship or attribute that asked for it (``Order.customer``).
        load: How the ORM came to load it: ``lazy`` or ``eager`` (selectinload, subqueryload …) for relationships;
            ``deferred``, ``expired``, ``inherited`` (of a subclass, left out by a query for its base class) or
            ``generated`` (by the database, after an INSERT or UPDATE) for columns.
        entity: Name of the class that the relationship leads to; of inherited columns, the base class.
        to_many: Whether the relationship is a collection; None when there is none.
        flush: Identity of the ORM flush that it belongs to; 0 outside flushes.
        autoflush: Whether the flush was triggered by a read: the line is innocent.
        pool: Name of the connection pool.
        thread: Identity of the thread that ran it.
        allowed: Rules allowed when it ran (``with dbsight.allow(…)``).
        blocked_loop: A synchronous driver call on a running event loop.
        foreign: It came from the span of another instrumentation.
        measured: The client library records its duration by itself: nothing is emitted twice.
        replay: Weak handle to engine and parameters, only while plans are on.
    """

    __slots__ = (
        "affected",
        "allowed",
        "autoflush",
        "batch_size",
        "blocked_loop",
        "call_site",
        "context",
        "database",
        "duration",
        "end_ns",
        "entity",
        "error_code",
        "error_type",
        "fetch_time",
        "flush",
        "foreign",
        "load",
        "measured",
        "origin",
        "parameters",
        "parent",
        "pool",
        "pool_wait",
        "relationship",
        "replay",
        "rows",
        "start_ns",
        "statement",
        "thread",
        "to_many",
    )

    def __init__(
        self,
        statement: Statement,
        database: Database,
        start_ns: int,
        duration: float,
        *,
        end_ns: int = 0,
        fetch_time: float = 0.0,
        rows: int | None = None,
        affected: int | None = None,
        batch_size: int = 0,
        error_type: str | None = None,
        error_code: str | None = None,
        call_site: CallSite | None = None,
        context: SpanContext | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
        pool_wait: float = 0.0,
        parameters: int | None = None,
        relationship: str | None = None,
        load: str | None = None,
        entity: str | None = None,
        to_many: bool | None = None,
        flush: int = 0,
        autoflush: bool = False,
        pool: str | None = None,
        thread: int = 0,
        allowed: frozenset[str] = frozenset(),
        blocked_loop: bool = False,
        foreign: bool = False,
        replay: Any = None,
    ) -> None:
        self.statement = statement
        self.database = database
        self.start_ns = start_ns
        self.duration = duration
        self.end_ns = end_ns or start_ns + int(duration * 1e9)
        self.fetch_time = fetch_time
        self.rows = rows
        self.affected = affected
        self.batch_size = batch_size
        self.error_type = error_type
        self.error_code = error_code
        self.call_site = call_site
        self.context = context
        self.parent = parent
        self.origin = origin
        self.pool_wait = pool_wait
        self.parameters = parameters
        self.relationship = relationship
        self.load = load
        self.entity = entity
        self.to_many = to_many
        self.flush = flush
        self.autoflush = autoflush
        self.pool = pool
        self.thread = thread
        self.allowed = allowed
        self.blocked_loop = blocked_loop
        self.foreign = foreign
        self.measured = False
        self.replay = replay

    def __repr__(self) -> str:
        # Neither replay nor parameters: a repr ends up in logs.
        return f"Operation({self.statement.summary!r}, {self.duration:.6f} s, at {self.call_site})"


@dataclass(slots=True)
class Finding:
    """One fault, with its place and its fix.

    Attributes:
        rule: Name of the rule that made it.
        id: Stable across processes and runs: rule, fingerprint, place. ``n1-7c1e9a40``.
        severity: ``info``, ``warning`` or ``error``.
        category: What part of the system it is about.
        title: One line, without numbers that change from run to run where that can be avoided.
        description: What was seen, in a sentence or two.
        suggestion: Code that can be pasted, empty when there is none.
        impact: s that the fix would save in this window.
        effort: How much work the fix is.
        count: How often it was seen in this window.
        metric: What was measured (``duration``, ``count`` …), empty when nothing was compared.
        current_value: What it was.
        threshold: What it was compared with.
        statement: The statement concerned.
        database: Where it ran.
        call_site: Where in the application.
        relationship: The ORM relationship.
        trace: 32 hexadecimal digits of a trace that shows it.
        route: Name of the window that it was found in, ``GET /orders``.
        details: More numbers for reports, not exported as attributes.
    """

    rule: str
    id: str
    severity: Severity
    category: Category
    title: str
    description: str
    suggestion: str = ""
    impact: float = 0.0
    effort: Effort = "low"
    count: int = 1
    metric: str = ""
    current_value: float | None = None
    threshold: float | None = None
    statement: Statement | None = None
    database: Database | None = None
    call_site: CallSite | None = None
    relationship: str | None = None
    trace: str = ""
    route: str = ""
    details: dict[str, Any] = field(default_factory=dict)


class Verdict:
    """What must stand on a query's own span.

    Attributes:
        query_class: ``slow`` or ``very_slow``, None for a normal query.
        threshold: s; the limit that it crossed.
        findings: The findings about this query alone.
    """

    __slots__ = ("findings", "query_class", "threshold")

    def __init__(
        self,
        query_class: QueryClass | None = None,
        threshold: float | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        self.query_class: QueryClass | None = query_class
        self.threshold = threshold
        self.findings = findings


@dataclass(slots=True)
class WindowSummary:
    """What is known of one unit of work when it is over.

    Attributes:
        name: Name of its root span; ``dbsight.window`` outside spans.
        route: ``http.route`` with its method, the task's name, or the root's name.
        trace_id: 128-bit integer.
        span_id: Of the root.
        sampled: Whether the root is exported.
        start_ns: When it began, ns since the epoch.
        duration: s.
        calls: Operations in it.
        db_time: s; the sum of their durations.
        findings: All of them: groups' and single queries'.
        request: Whether its root is a SERVER or CONSUMER span.
    """

    name: str
    route: str
    trace_id: int
    span_id: int
    sampled: bool
    start_ns: int
    duration: float
    calls: int
    db_time: float
    findings: Sequence[Finding] = ()
    request: bool = False


@dataclass(slots=True)
class StatementTotals:
    """Totals of one fingerprint on one database over the life of the process.

    Attributes:
        statement: One of its statements.
        database: Where.
        count: Executions.
        errors: Of these, how many failed.
        total: s.
        p50: s, estimated.
        p95: s, estimated.
        max: s.
        rows: Rows returned by all executions together.
        call_site: Where it ran most recently.
    """

    statement: Statement
    database: Database
    count: int
    errors: int
    total: float
    p50: float
    p95: float
    max: float
    rows: int
    call_site: CallSite | None = None


@dataclass(slots=True)
class KindTotals:
    """Totals of one kind of statement over the life of the process.

    Attributes:
        count: Executions.
        errors: Of these, how many failed.
        total: s.
        max: s.
    """

    count: int = 0
    errors: int = 0
    total: float = 0.0
    max: float = 0.0


@dataclass(slots=True)
class SlowQuery:
    """One execution that crossed a limit.

    Attributes:
        statement: What ran.
        database: Where it ran.
        start_ns: When it began, ns since the epoch.
        duration: s.
        query_class: ``slow`` or ``very_slow``.
        threshold: s; the limit that it crossed.
        call_site: The line of the application.
        trace_id: 128-bit integer, 0 when it belongs to no trace.
    """

    statement: Statement
    database: Database
    start_ns: int
    duration: float
    query_class: QueryClass
    threshold: float | None = None
    call_site: CallSite | None = None
    trace_id: int = 0


@dataclass(slots=True)
class Holder:
    """Who holds a connection.

    Attributes:
        call_site: Where it was taken, None when unknown.
        age: s since then.
        idle: s since a query ended on it, or since it was taken.
        queries: That ran on it since then.
        session: It was taken by an ORM session.
    """

    call_site: CallSite | None
    age: float
    idle: float = 0.0
    queries: int = 0
    session: bool = False


@dataclass(slots=True)
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
        closed: Of these, those that are gone.
        idle_time: s since a connection was taken or given back; 0 while one is out.
        blocks_loop: An asynchronous engine has a pool for threads, which stops the event loop when it waits.
        role: ``dbsight.pool.role`` of a Redis pool that was asked for by its role, else empty.
        cleanup_failures: How often idle connections could not be closed.
        wrong_loop: How often a pool was used on another event loop than the one that its connections belong to.
        call_site: Where the latest pool was made.
        holders: Who holds its connections, oldest first; bounded.
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
    closed: int = 0
    idle_time: float = 0.0
    wrong_loop: int = 0
    role: str = ""
    cleanup_failures: int = 0
    blocks_loop: bool = False
    call_site: CallSite | None = None
    holders: Sequence[Holder] = ()


@dataclass(slots=True)
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


@dataclass(slots=True)
class PoolTotals:
    """What happened in the pools of one target over the life of the process.

    Attributes:
        checkouts: Connections that were taken and given back.
        waits: Requests that waited for 1 ms or longer, those that timed out included.
        wait_total: s; all waits together.
        wait_p95: s; of all requests, estimated.
        wait_max: s.
        use_p95: s that a connection was out, estimated.
        use_max: s.
        timeouts: Requests that got none in time.
        failures: Connections that could not be made.
        leaks: Connections that were never given back.
        rate: Connections taken, a second, over the time remembered.
        needed: Connections with which nobody would have waited, over the time remembered; 0 when unknown.
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


@dataclass(slots=True)
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


@dataclass(slots=True)
class PoolSnapshot:
    """The pools of one target: what they are, what happened, and how it went.

    Attributes:
        state: Now.
        totals: Over the life of the process.
        series: The latest points, oldest first.
    """

    state: PoolState
    totals: PoolTotals = field(default_factory=PoolTotals)
    series: Sequence[PoolSample] = ()


@dataclass(slots=True)
class OpenTransaction:
    """A transaction that is not over.

    Attributes:
        database: Where.
        call_site: Where it began.
        age: s since then.
        idle: s since its latest statement ended.
        queries: Statements in it so far.
        writes: Of these, those that wrote.
    """

    database: Database
    call_site: CallSite | None
    age: float
    idle: float
    queries: int = 0
    writes: int = 0


@dataclass(slots=True)
class TransactionTotals:
    """Transactions of one database over the life of the process.

    Attributes:
        database: Where.
        commits: Those that wrote and were committed.
        rollbacks: Those that wrote and were rolled back.
        call_site: Where the latest one that was rolled back began.
    """

    database: Database
    commits: int = 0
    rollbacks: int = 0
    call_site: CallSite | None = None


@dataclass(slots=True)
class MemorySample:
    """One point of the process's memory.

    Attributes:
        at_ns: ns since the epoch.
        rss: bytes resident.
        vms: bytes of virtual memory.
    """

    at_ns: int
    rss: int
    vms: int


@dataclass(slots=True)
class CacheTotals:
    """Look-ups in one cache over the life of the process.

    Attributes:
        cache: Name of the cache.
        layer: ``l1``, ``l2`` … or empty.
        key_prefix: Template of the keys, or empty.
        model: ORM model that is cached, or empty.
        hits: Keys that were found.
        misses: Keys that were not.
        stores: Keys that were written.
        removals: Keys that the application removed.
        evictions: Keys that the cache dropped by itself.
        size: Bytes of the values found, as far as they are known.
        sized: Hits whose size is known.
        call_site: Where it missed most recently.
    """

    cache: str
    layer: str = ""
    key_prefix: str = ""
    model: str = ""
    hits: int = 0
    misses: int = 0
    stores: int = 0
    removals: int = 0
    evictions: int = 0
    size: int = 0
    sized: int = 0
    call_site: CallSite | None = None

    @property
    def requests(self) -> int:
        """Hits and misses."""
        return self.hits + self.misses

    @property
    def hit_ratio(self) -> float:
        """Hits as a share of all look-ups, 0 to 1; 0 when there were none."""
        return self.hits / self.requests if self.requests else 0.0

    def copy(self) -> CacheTotals:
        """The totals as they are now."""
        return replace(self)


@dataclass(slots=True)
class LockTotals:
    """One distributed lock over the life of the process.

    Attributes:
        system: ``redis`` or ``postgresql``.
        lock: Template of its name.
        acquired: How often it was got.
        failed: How often it was given up.
        contended: How often it took more than one try.
        attempts: All tries.
        acquired_total: s taken by the successful ones.
        wait_total: s taken by all.
        wait_max: s.
        releases: How often it was released.
        held_total: s held, until the releases.
        held_max: s.
        leaks: How often it was held beyond its time, or never released.
        paced: Contended ones whose pauses are known.
        fixed: Of these, those that paused for the same time each time.
        call_site: Where it was contended most recently.
        leak_site: Where a leaked one was taken.
    """

    system: str
    lock: str
    acquired: int = 0
    failed: int = 0
    contended: int = 0
    attempts: int = 0
    acquired_total: float = 0.0
    wait_total: float = 0.0
    wait_max: float = 0.0
    releases: int = 0
    held_total: float = 0.0
    held_max: float = 0.0
    leaks: int = 0
    paced: int = 0
    fixed: int = 0
    call_site: CallSite | None = None
    leak_site: CallSite | None = None

    @property
    def tries(self) -> int:
        """How often somebody wanted it."""
        return self.acquired + self.failed

    def copy(self) -> LockTotals:
        """The totals as they are now."""
        return replace(self)


@dataclass(slots=True)
class Snapshot:
    """Totals of the process at one moment; what reports and rules about totals read.

    Attributes:
        service: ``service.name`` of the resource.
        preset: Name of the preset in force.
        windows: Units of work that were closed.
        requests: Of these, those whose root is a SERVER or CONSUMER span.
        calls: Operations; pings and connection setup are in ``kinds`` alone, here and in all other figures.
        db_time: s in the database, all together.
        slow: Operations over the slow limit, but not over the very slow one.
        very_slow: Operations over the very slow limit.
        failed: Operations that ended with an error.
        kinds: Totals by kind of statement, and ``ping`` and ``setup``; kinds that never ran are absent.
        slow_queries: The latest operations over a limit, newest first.
        pools: The connection pools of the process, by target.
        transactions: Those that are open, oldest first; bounded.
        transaction_totals: By database.
        memory: Of the process, oldest first: a point a minute, an hour at most.
        caches: Totals by cache, layer, key template and model, most look-ups first.
        locks: Totals by lock, most time waited first.
        window_time: s that the windows took, all together.
        request_time: s of these that requests took.
        request_db_time: s that requests spent in the database.
        findings: Merged by id over all windows, counts and impacts added, most time saved first.
        statements: Totals by fingerprint, most total time first.
        dropped: What was not remembered because a bound was reached, by reason.
        exporting: Whether spans leave the process.
        unused: A sentence for each entry of the ignore list that is expired or ignored nothing.
    """

    service: str = ""
    preset: str = ""
    windows: int = 0
    requests: int = 0
    calls: int = 0
    db_time: float = 0.0
    window_time: float = 0.0
    findings: Sequence[MergedFinding] = ()
    statements: Sequence[StatementTotals] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    exporting: bool = False
    slow: int = 0
    very_slow: int = 0
    failed: int = 0
    kinds: Mapping[str, KindTotals] = field(default_factory=dict)
    slow_queries: Sequence[SlowQuery] = ()
    pools: Sequence[PoolSnapshot] = ()
    caches: Sequence[CacheTotals] = ()
    locks: Sequence[LockTotals] = ()
    transactions: Sequence[OpenTransaction] = ()
    transaction_totals: Sequence[TransactionTotals] = ()
    memory: Sequence[MemorySample] = ()
    request_time: float = 0.0
    request_db_time: float = 0.0
    unused: Sequence[str] = ()


@dataclass(slots=True)
class MergedFinding:
    """A finding over the life of the process: one id, merged.

    Attributes:
        finding: The one with the largest impact.
        windows: In how many windows it was seen.
        count: Sum of the counts.
        impact: s; sum of the impacts.
        requests: How many of the windows were requests.
    """

    finding: Finding
    windows: int
    count: int
    impact: float
    requests: int = 0


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
             ``failure`` (a connection could not be made) or ``leak`` (never returned).
        pool: ``db.client.connection.pool.name``.
        seconds: Waited for a checkout or until a timeout; taken to create; out at a leak; age at a close.
        error_type: Of a failure.
        reason: Why a connection was closed: ``recycle``, ``invalid``, ``overflow``, ``idle``, ``dispose`` …
        holders: Who holds the pool's connections at a timeout: place and age in s, oldest first.
        requester: Which thread or task it was; 0 when unknown.
        session: The connection was taken by an ORM session.
    """

    __slots__ = ("error_type", "holders", "kind", "pool", "reason", "requester", "seconds", "session")

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
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(at_ns, call_site, parent, origin, allowed)
        self.requester = requester
        self.session = session
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
    """

    __slots__ = ("offset", "pool", "uses")

    def __init__(self, pool: str, at_ns: int, uses: Sequence[PoolUse], offset: float) -> None:
        super().__init__(at_ns)
        self.pool = pool
        self.uses = uses
        self.offset = offset


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
    """

    __slots__ = ("database", "failed", "idle", "queries", "result", "seconds", "writes")

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
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(at_ns, call_site, parent, origin, allowed)
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
        size: Bytes of the values found, None when unknown.
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
        "size",
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
        size: int | None = None,
        model: str = "",
        stores: int = 0,
        removals: int = 0,
        evictions: int = 0,
        allowed: frozenset[str] = frozenset(),
        call_site: CallSite | None = None,
        parent: SpanContext | None = None,
        origin: object | None = None,
    ) -> None:
        # Made for every look-up: written out, a call of the parent's would cost a third of it.
        self.at_ns = at_ns
        self.call_site = call_site
        self.parent = parent
        self.origin = origin
        self.allowed = allowed
        self.stores = stores
        self.removals = removals
        self.evictions = evictions
        self.cache = cache
        self.layer = layer
        self.key_prefix = key_prefix
        self.hits = hits
        self.misses = misses
        self.size = size
        self.model = model

    def add(self, other: CacheEvent) -> None:
        """Count another event about the same keys into this one."""
        self.hits += other.hits
        self.misses += other.misses
        self.stores += other.stores
        self.removals += other.removals
        self.evictions += other.evictions
        if other.size is not None:
            self.size = other.size + (self.size or 0)


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


Observation = Operation | Event
"""What an instrumentor publishes on the bus."""
