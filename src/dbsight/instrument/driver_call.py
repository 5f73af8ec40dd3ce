"""One statement of a driver, from the call that executes it to the end of its result, and the connection it ran on.

``dbapi.py`` begins it; the driver's file says which calls fetch from its result.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import ref

from dbsight import scope
from dbsight.instrument import models, transactions
from dbsight.instrument.dialects import error_of
from dbsight.instrument.outcomes import was_cancelled
from dbsight.safety import failed, guard
from dbsight.span import PendingQuery
from dbsight.span.pending import COMPLETED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import SpanContext
    from typing_extensions import Self

    from dbsight import span
    from dbsight.instrument import upstream_spans
    from dbsight.instrument.dbapi import Driver
    from dbsight.instrument.pools import Checkout
    from dbsight.model import Database, DjangoQuery, OrmOperation, Statement, Verdict
    from dbsight.span import PendingSpan

WRITES: Final = frozenset({"insert", "update", "delete"})
_COUNTED_WRITES: Final = frozenset({"insert", "update", "delete", "ddl"})


class Link:
    """One connection of a driver.

    What ran on it is counted while a transaction is open: only what ran in one is asked for.

    Attributes:
        driver: Whose.
        database: Where it leads.
        known: Statement and template of texts that ran lately on that database.
        busy: s of statements on it.
        queries: How many.
        writes: How many of these wrote.
        failures: How many failed.
        last: When the latest ended, on ``perf_counter``.
        transaction: The one that is open on it, a ``transactions.Transaction``.
    """

    __slots__ = ("busy", "database", "driver", "failures", "gone", "known", "last", "queries", "transaction", "writes")

    def __init__(
        self, driver: Driver, database: Database, known: dict[Any, tuple[Statement, span.SpanTemplate]]
    ) -> None:
        self.driver = driver
        self.database = database
        self.known = known
        self.busy = self.last = 0.0
        self.queries = self.writes = self.failures = 0
        self.transaction: Any = None
        self.gone: Any = None


class DriverCall(PendingQuery):
    """A statement that is running, whose result is being read, or that is queued.

    ``Driver.begin`` fills the slots, except those that are derived from others in the drain.

    Attributes:
        link: Its connection.
        place: Context, factory and parent of its span, as its window remembers them; None where ``locate`` noted them.
        last: When the latest driver call returned, on ``perf_counter``.
        executed: s of the execute call.
        affected: Rows written.
        key: Identity of the cursor whose fetches belong to it, 0 while there is none.
        django: What Django's ORM was doing, if it sends the statement.
        held: The checkout of its connection.
        many: Whether it has several sets of parameters.
        covering: Whether what it calls is covered by it.
        claim: The span of another instrumentation for the same statement, if any.
    """

    link: Link
    place: tuple[Any, ...] | None
    held: Checkout | None
    key: int
    many: bool
    covering: bool
    claim: upstream_spans.Claim | None
    _connection: Any
    _cursor: Any
    _dropped: ref[Any] | None

    __slots__ = (
        "_connection",
        "_cursor",
        "_dropped",
        "claim",
        "covering",
        "executed",
        "held",
        "key",
        "last",
        "link",
        "many",
        "place",
    )

    def __init__(self) -> None:
        """Without any values."""

    @property
    def driver(self) -> Driver:
        """Whose."""
        return self.link.driver

    # -- The driver call ----------------------------------------------------------------------------------------

    def returned(self, result: Any) -> None:
        """The driver returned: the statement ends unless its rows are fetched later."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        link, connection, cursor = self.link, self._connection, self._cursor
        # ``_left_driver`` written out, before anything can fail.
        self._cursor = self._connection = None
        if self.covering:
            scope.covered.set(False)
        if self.held is not None:
            self.held.inside -= 1
        driver = link.driver
        try:
            driver.look(self, cursor, result)
            if driver.in_transaction(connection) is (link.transaction is None):
                self.transaction_changed(connection)
        except Exception:  # a cursor may be anything; the statement ran, whatever it says of itself
            failed("dbapi.returned")
        if not self.key:
            self.finish()

    def raised(self, error: BaseException) -> None:
        """The driver raised: the statement ends."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        driver, connection = self.driver, self._connection
        self._left_driver()
        try:
            inside: bool | None = driver.in_transaction(connection)
        except Exception:  # a connection that was lost raises whatever it likes; what was open ends when it is closed
            inside = None
        try:
            if inside is (self.link.transaction is None):
                self.transaction_changed(connection)
        except Exception:
            failed("dbapi.raised")
        self.finish(error)

    def _left_driver(self) -> None:
        """The record must not keep cursor and connection alive."""
        self._cursor = self._connection = None
        if self.covering:
            scope.covered.set(False)
        if self.held is not None:
            self.held.inside -= 1

    def transaction_changed(self, connection: Any) -> None:
        """It began a transaction, or ended one by its text."""
        link = self.link
        if link.transaction is None:
            transactions.begun(link, connection, self.call_site, self.began)
        else:
            rolled_back = self.statement.summary.upper().startswith("ROLLBACK")
            transactions.end(link, "rollback" if rolled_back else "commit")

    # -- Its result ---------------------------------------------------------------------------------------------

    def keep_open(self, cursor: Any) -> None:
        """Rows are fetched later, by a cursor: keep the statement until its result ends."""
        self.rows = 0
        self.key = key = id(cursor)
        self.link.driver.open[key] = self
        try:
            self._dropped = ref(cursor, self.collected)
        except TypeError:  # its driver's file sees its end in another way
            self._dropped = None

    def keep_open_early(self, cursor: Any) -> None:
        """The same before it is executed: its result may end at any time."""
        self.last = self.began
        self.duration = self.executed = 0.0
        self.keep_open(cursor)

    @guard
    def collected(self, _: Any) -> None:
        """Its cursor is gone."""
        self.finish()

    def fetched(self, began: float, rows: int, *, over: bool) -> None:
        """A fetch returned.

        Args:
            began: When it began, on ``perf_counter``.
            rows: How many it gave.
            over: Whether there are no more.
        """
        self.last = now = perf_counter()
        self.duration += now - began
        self.rows = rows + (self.rows or 0)
        if over:
            self.finish()

    def fetch_failed(self, began: float, error: BaseException) -> None:
        """A fetch raised."""
        self.last = now = perf_counter()
        self.duration += now - began
        self.finish(error)

    def finish(self, error: BaseException | None = None) -> None:
        """Finish the statement. Idempotent."""
        if self.over:
            return
        link, held = self.link, self.held
        if self.key:
            self._dropped = None
            link.driver.open.pop(self.key, None)
        failure = False
        if error is not None and not was_cancelled(error):
            failure = True
            error_type, error_code = error_of(error)
            self.have(error_type=error_type, error_code=error_code)
        if held is not None:  # add it up there; the pool's name is read in the drain
            if held.wait or held.creating:
                self.have(pool_wait=held.take_wait(), connect_time=held.creating)
                held.creating = 0.0
            held.last = self.last
            held.busy += self.duration
            kind = self.statement.kind
            if kind != "transaction":
                held.queries += 1
                if kind in _COUNTED_WRITES:
                    held.writes += 1
            if failure:
                held.failures += 1
        if link.transaction is not None:
            self._count(failure=failure)
        # ``end`` written out.
        self.over = True
        queue = self.queue
        if queue is None or not queue.append(self):
            self.flush_all((self,))

    def _count(self, *, failure: bool) -> None:
        """It ran in a transaction."""
        link = self.link
        link.last = self.last
        link.busy += self.duration
        kind = self.statement.kind
        if kind != "transaction":
            link.queries += 1
            if kind in _COUNTED_WRITES:
                link.writes += 1
        if failure:
            link.failures += 1

    # -- In the drain -------------------------------------------------------------------------------------------

    @classmethod
    def complete_all(cls, records: Sequence[Self], /) -> None:
        """Complete records that are drained together, and count what Django's ORM loaded with them."""
        loaded: dict[str, int] = {}
        for record in records:
            if record.rare is not COMPLETED:
                record.complete()
                django = record.django
                model, rows = record.model, record.rows
                if rows and django is not None and django.loads and model and record.statement.kind not in WRITES:
                    loaded[model] = loaded.get(model, 0) + rows
        for model, rows in loaded.items():
            models.add("load", model, rows)

    def complete(self) -> None:
        """Fill in what the hooks did not."""
        if self.rare is COMPLETED:
            return
        link, place, held = self.link, self.place, self.held
        driver = link.driver
        self.factory = driver.factory
        if place is not None:
            self.current, _, self.parent = place
        self.database = link.database
        self.end_ns = self.start_ns + int((self.last - self.began) * 1e9)
        self.fetch_time = self.duration - self.executed
        self.asynchronous = driver.asynchronous
        self.pool = held.pool.name if held is not None else None
        self.error_type = self.error_code = self.claim = self.replay = self.blocker = None
        self.batch_size = self.flush = 0
        self.pool_wait = self.connect_time = 0.0
        self.blocked_loop = self.autoflush = self.measured = False
        if self.parameters is not None:
            self.values = None
        # A window keeps its operations, but not their connections.
        self.link = self.held = self.place = None  # type: ignore[assignment]
        self.fill()
        django = self.django
        if django is None:
            self.relationship = self.load = self.entity = self.model = self.to_many = None
            return
        self.model, self.entity, self.to_many = django.model, django.entity, django.to_many
        self.relationship, self.load = django.relationship, django.load
        if django.kept and self.rows != 0:
            self.load = "eager"  # once per process; one that finds nothing is sent again each time
        if self.statement.kind in WRITES:
            self._count_written(django)

    def _count_written(self, django: DjangoQuery) -> None:
        kind = self.statement.kind
        if django.model is not None and self.error_type is None:
            # INSERT … RETURNING gives a row for each object.
            rows = self.rows if self.affected is None else self.affected
            models.add(cast("OrmOperation", kind), django.model, int(kind == "insert") if rows is None else rows)

    def other_span(self) -> tuple[PendingSpan, SpanContext | None]:
        """What stands for its span where upstream's instrumentation makes it, and that one's context."""
        return self.factory.no_span(), self.claim.context if self.claim is not None else None

    def settle(self, verdict: Verdict | None) -> None:
        """Hand on the span that upstream's instrumentation made."""
        claim, self.claim = self.claim, None
        if claim is not None:
            claim.settle(self, verdict)


class Fetch:
    """One fetch from a cursor; what a ``begin`` hook returns. It gives a list of rows, a row or None."""

    __slots__ = ("_began", "_call")

    def __init__(self, call: DriverCall) -> None:
        self._call = call
        self._began = perf_counter()

    def returned(self, result: Any) -> None:
        """A list is the end if it is empty, as is None."""
        self._call.streamed = True
        self._call.fetched(
            self._began, len(result) if type(result) is list else int(result is not None), over=not result
        )

    def raised(self, error: BaseException) -> None:
        """The fetch failed, or an iterator is exhausted."""
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            self._call.fetched(self._began, 0, over=True)
        else:
            self._call.fetch_failed(self._began, error)


class FetchAll(Fetch):
    """A fetch of all rows that are left."""

    __slots__ = ()

    def returned(self, result: Any) -> None:
        """The result is exhausted."""
        self._call.fetched(self._began, len(result), over=True)


class Ending:
    """One commit, rollback or close of a connection with an open transaction."""

    __slots__ = ("_link", "_result")

    def __init__(self, link: Link, result: str) -> None:
        self._link = link
        self._result = result

    def returned(self, _: Any) -> None:
        """The transaction is over."""
        if self._link.transaction is not None:
            transactions.end(self._link, self._result)

    def raised(self, _: BaseException) -> None:
        """The database rolls it back."""
        if self._link.transaction is not None:
            transactions.end(self._link, "rollback")


class Covering:
    """One call of a library, which reports itself what it asks of its driver, or whose requests are setup."""

    __slots__ = ("_before",)

    def __init__(self, _: Any = None) -> None:
        self._before = scope.covered.get()
        scope.covered.set(True)

    def returned(self, _: Any) -> None:
        """It returned, or raised."""
        scope.covered.set(self._before)

    raised = returned
