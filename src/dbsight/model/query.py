"""Queries: what ran, where, and asked for by which line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext

    from dbsight.model.blocking import Blocker

Kind = Literal["select", "insert", "update", "delete", "ddl", "transaction", "other"]


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
        own_text: Others share its ``prebuilt``, which differ in their text.
        prebuilt: Shared attributes of this statement, owned by ``span``.
    """

    own_text = False

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

    @property
    def is_work(self) -> bool:
        """Whether it counts where queries are limited or measured: no ping, set-up, or statement of a transaction."""
        return not (self.ping or self.setup or self.kind == "transaction")

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
        cluster: A cluster of Redis, whose commands for several keys need keys of one slot.
        several: It has several servers; which one answers an operation is known only once that has a connection.
    """

    __slots__ = ("address", "cluster", "key", "label", "namespace", "port", "several", "system")

    def __init__(
        self,
        system: str,
        namespace: str | None = None,
        address: str | None = None,
        port: int | None = None,
        *,
        cluster: bool = False,
        several: bool = False,
    ) -> None:
        self.cluster = cluster
        self.several = several
        self.system = system
        self.namespace = namespace
        self.address = address
        self.port = port
        self.key = f"{system}://{address or ''}:{port or ''}/{namespace or ''}"
        where = address if port is None else f"{address or ''}:{port}"
        self.label = " ".join(filter(None, (system, "/".join(filter(None, (where, namespace))))))

    def __repr__(self) -> str:
        return f"Database({self.key!r})"


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


class DjangoQuery(NamedTuple):
    """What Django's ORM was doing when it sent a query.

    Attributes:
        model: Name of the class that is read or written.
        key: Column of its primary key.
        relationship: As in ``Operation``.
        load: As in ``Operation``.
        to_many: As in ``Operation``.
        entity: As in ``Operation``.
        manager: Expression of the manager, ``Book.objects``; of a relation, that of the class that has it.
        target: Expression of the manager of ``model``.
        lookup: Name of the relation in ``filter()`` and ``annotate()``; of a deferred field, the call that loads it.
        back: Name of the way back from its objects in ``filter()``.
        joinable: Whether ``select_related()`` can follow it.
        narrowed: Whether the application has added conditions, or a limit, to those of the relation.
        selected: Classes that ``select_related()`` loads with it, and their paths.
        fields: Names of the fields, by column, where they differ.
        loads: Whether each row becomes an object of ``model``.
        raw: Whether the application wrote the text.
        kept: Whether Django keeps what it finds until the process ends: it looks up a content type.
    """

    model: str | None
    key: str = ""
    relationship: str | None = None
    load: str | None = None
    to_many: bool | None = None
    entity: str | None = None
    manager: str = ""
    target: str = ""
    lookup: str = ""
    back: str = ""
    joinable: bool = False
    narrowed: bool = False
    selected: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    loads: bool = False
    raw: bool = False
    kept: bool = False


class Operation:
    """One execution of a statement, filled by an instrumentor (or from a foreign span) when it is over.

    Instrumentors derive the records from it that they fill in place: what never varies there may stand on their class.

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
        connect_time: s in which a connection was made for this operation; 0 when there was one.
        blocker: The session that it waited for, None where none is known.
        parameters: Salted hash of the bound values, None when unknown. Never exported.
        values: A salted number per bound value, by its position or name, of statements with LIMIT or OFFSET and of
            UPDATE and DELETE; integers keep their distance from each other. None for others. Never exported.
        relationship: ORM relationship or attribute that asked for it (``Order.customer``).
        load: How the ORM came to load it: ``lazy`` or ``eager`` (selectinload, subqueryload …) for relationships;
            ``deferred``, ``expired``, ``inherited`` (of a subclass, left out by a query for its base class) or
            ``generated`` (by the database, after an INSERT or UPDATE) for columns. Of Django also ``related`` (a
            relation with more conditions or a limit) and ``refreshed``.
        entity: Name of the class that the relationship leads to; of inherited columns, the base class; of a write of
            the ORM, the class that is written.
        model: Name of the class that the ORM reads or writes with it, None for a statement that is not the ORM's.
        to_many: Whether the relationship is a collection; None when there is none.
        django: What Django's ORM knew of it, None for a query of others.
        flush: Identity of the ORM flush, or of the statement with many rows, that it belongs to; 0 outside of these.
        autoflush: Whether the flush was triggered by a read: the line is innocent.
        pool: Name of the connection pool.
        thread: Identity of the thread that ran it.
        allowed: Rules allowed when it ran (``with dbsight.allow(…)``).
        asynchronous: The application awaits it.
        blocked_loop: A synchronous driver call on a running event loop.
        foreign: It came from the span of another instrumentation.
        cursor: A fetch from a cursor; where there are several, the first executes the statement.
        measured: The client library records its duration by itself: nothing is emitted twice.
        streamed: Its rows were fetched in parts: a server-side cursor, ``yield_per``, or fetches of a few rows.
        replay: Weak handle to engine and parameters, only while plans are on.
    """

    __slots__ = (
        "affected",
        "allowed",
        "asynchronous",
        "autoflush",
        "batch_size",
        "blocked_loop",
        "blocker",
        "call_site",
        "connect_time",
        "context",
        "cursor",
        "database",
        "django",
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
        "model",
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
        "streamed",
        "thread",
        "to_many",
        "values",
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
        connect_time: float = 0.0,
        parameters: int | None = None,
        values: Mapping[object, int] | None = None,
        relationship: str | None = None,
        load: str | None = None,
        entity: str | None = None,
        to_many: bool | None = None,
        flush: int = 0,
        autoflush: bool = False,
        pool: str | None = None,
        thread: int = 0,
        allowed: frozenset[str] = frozenset(),
        asynchronous: bool = False,
        blocked_loop: bool = False,
        foreign: bool = False,
        cursor: bool = False,
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
        self.connect_time = connect_time
        self.parameters = parameters
        self.values = values
        self.relationship = relationship
        self.load = load
        self.entity = entity
        self.to_many = to_many
        self.flush = flush
        self.autoflush = autoflush
        self.pool = pool
        self.thread = thread
        self.allowed = allowed
        self.asynchronous = asynchronous
        self.blocked_loop = blocked_loop
        self.foreign = foreign
        self.cursor = cursor
        self.measured = self.streamed = False
        self.model: str | None = None
        self.django: DjangoQuery | None = None
        self.replay = replay
        self.blocker: Blocker | None = None

    @property
    def execution(self) -> tuple[object, ...]:
        """What the fetches of one cursor have in common, as spans tell them: span above, statement, parameters."""
        parent, statement = self.parent, self.statement
        return parent and parent.span_id, statement.fingerprint, statement.literals, self.parameters

    def __repr__(self) -> str:
        # Neither replay nor parameters: a repr ends up in logs.
        return f"Operation({self.statement.summary!r}, {self.duration:.6f} s, at {self.call_site})"
