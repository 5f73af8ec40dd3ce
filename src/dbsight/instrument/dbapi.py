"""What all drivers share: one statement from the driver call to the end of its result, and one connection.

A file per driver (``psycopg.py``, ``sqlite3.py``, ``pymysql.py`` …) says which methods are wrapped, where
a connection leads, whether it is in a transaction, and how many rows a cursor has. Everything else is here: begin and
end of an execution, executemany, fetches, commit and rollback, errors, parameters, call site, the connection's pool.

* Nothing about an object of the driver changes. Methods of Python classes are wrapped in place; what has to be known of
  a connection is kept in a ``Link`` beside it, found by its identity and dropped with it.
* A driver that has fetched all rows when ``execute`` returns ends its statement there. Where rows are fetched later
  (sqlite3, server-side cursors), it is kept open: fetches add their time and rows to it, and it ends when the
  result is exhausted or closed, when its cursor is garbage collected or executes again, or with the local root.
* A library above that reports the statement itself (SQLAlchemy) says so by ``scope.covered``: there is one span per
  statement, whatever is instrumented and in whatever order.
* Where OpenTelemetry's own instrumentor of the driver is active, its span is enriched: ours makes none. If it cannot be
  found as the current span, nothing is recorded here and the processor reads it when it ends.
"""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.trace import get_current_span

from dbsight import catalog, config, recording, scope, semconv, span
from dbsight.config import process
from dbsight.instrument import callsite, django, transactions, upstream_spans
from dbsight.instrument.django_orm import asked
from dbsight.instrument.driver_call import WRITES, DriverCall, Ending, Fetch, FetchAll, Link
from dbsight.instrument.pools import held_on
from dbsight.instrument.pools.drivers import database_behind
from dbsight.instrument.threads import carry_windows
from dbsight.instrument.wrap import Patches
from dbsight.model import Database
from dbsight.safety import failed
from dbsight.statement import read
from dbsight.statement.parameters import KEPT, MAX_KEPT, parameter_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType

    from opentelemetry.trace import TracerProvider

    from dbsight.model import Statement

_MAX_KNOWN: Final = 1000
_MAX_DATABASES: Final = 1000
_MAX_OPEN: Final = 10_000
_UPSTREAM: Final = "opentelemetry.instrumentation."

# Asked for each query, therefore without a search.
_new: Final = object.__new__
_all_kept: Final = KEPT.issuperset
_allowed: Final = scope.allowed
_connecting: Final = scope.connecting.get
_covered: Final = scope.covered.get
_current_context: Final = scope.current_context
_frame: Final = sys._getframe
_near: Final = callsite.near.get
_window: Final = scope.window.get

above: set[str] = set()
"""Libraries that are instrumented and report what they ask of their driver: ``sqlalchemy``, ``aiosqlite``."""

drivers: list[Driver] = []
"""Those that are instrumented."""


class Driver:
    """The hooks of one driver; a file per driver subclasses it.

    Args:
        provider: The tracer provider, None for the global one.

    Attributes:
        system: ``db.system.name``.
        upstream: Module and class of OpenTelemetry's instrumentor.
        asynchronous: Its calls are awaited.
        links: Its connections that ran something, by identity.
        open: Statements whose rows are being fetched, by the identity of the cursor.
        beside: Whether the module of OpenTelemetry's instrumentor is imported.
    """

    system = ""
    upstream = ("", "")
    asynchronous = False

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.factory = span.SpanFactory(provider)
        self.links: dict[int, Link] = {}
        self.open: dict[int, DriverCall] = {}
        self.beside = False
        # Read by each query: what stands on the class alone is searched for.
        self.asynchronous = self.asynchronous
        self._usual: object = self  # the latest settings that are as usual
        self._databases: dict[str, tuple[Database, dict[Any, Any]]] = {}

    # -- What a driver's file says ------------------------------------------------------------------------------

    def where(self, connection: Any) -> Database | None:
        """Where a connection leads; None or an exception where it does not say."""
        return database_behind(connection)

    def in_transaction(self, connection: Any) -> bool:
        """Whether a connection is in a transaction that began with a statement or before."""
        return False

    def look(self, call: DriverCall, cursor: Any, result: Any) -> None:
        """Note the rows of a statement that has run, or keep it open. By default as DB-API's cursors tell."""
        count = cursor.rowcount
        if cursor.description is not None:
            call.rows = count if count >= 0 else None
        elif call.statement.kind in WRITES:
            call.affected = count if count >= 0 else None

    # -- Statements ---------------------------------------------------------------------------------------------

    def begin(  # noqa: C901, PLR0912, PLR0915 - each query comes here, and each function that is called costs
        self,
        connection: Any,
        cursor: Any,
        text: Any,
        parameters: Any = (),
        many: bool = False,
        nested: bool = False,
        bare: bool = False,
    ) -> DriverCall | None:
        """Begin to record a statement that is about to be passed to the server.

        Args:
            connection: The driver's connection.
            cursor: Given to ``look`` when it has run.
            text: str, bytes, or an object of the driver that is rendered by ``render``.
            parameters: Bound values; of ``many``, a sequence of them.
            many: Whether it is executed with several sets of parameters.
            nested: Whether the method calls others that are wrapped, too.
            bare: Whether it does without cursor and connection, because ``returned`` will not be called.

        Returns:
            None while it is reported by a library above, suppressed, or setup.
        """
        if _covered() or _connecting():
            return None
        window = _window()
        # As ``SpanFactory.locate``: in the same context as the latest, everything is as it was then.
        place = window.place if window is not None and not scope.profiling else None
        if place is None or place[0] is not _current_context() or place[1] is not self.factory:
            place = None
            if self.factory.idle():
                return None
        if many and hasattr(parameters, "__len__") and len(parameters) == 0:
            return None
        if self.open:
            self._make_way(cursor)
        upstream = None
        if self.beside:
            upstream = self._span_of_upstream()
            if upstream is False:
                return None
        call: DriverCall = _new(DriverCall)
        call.start_ns = time_ns()
        call.rows = call.affected = call.extra = call.rare = None
        call.profiles = ()
        call.over = call.streamed = False
        call.own_span = True
        call.key = 0
        call.many = many
        call.covering = nested
        call.place = place
        if place is not None:
            call.queue = window
        else:
            call.queue = None
            if not self.factory.locate(call):
                return None
        identity = id(connection)
        call.link = link = self.links.get(identity) or self._adopt(connection)
        try:
            known = link.known.get(text)
        except TypeError:  # an object of the driver
            known = None
        call.statement, template = known or self._learn(link, text, cursor)
        call.template = template
        if upstream is not None:
            if place is not None:
                call.current, call.place = place[0], None
            call.own_span = False
            call.parent = upstream.parent
            call.have(claim=upstream_spans.claim_span(upstream, call))
        call.thread = get_ident()
        call.django = asked()
        call.allowed = _allowed()
        settings = process.in_force or config.current()
        usual = settings is self._usual or self._finds_usual(settings)
        site = None
        if usual or settings.code_location == "on":
            depth = template.depth
            if depth:  # ``callsite.find_near`` written out, for a place that is known
                try:
                    at: Any = _frame(depth - 1)
                    above = at.f_back
                    site = _near((depth, id(at.f_code), at.f_lasti, id(above.f_code), above.f_lasti))
                except (ValueError, AttributeError):  # not so deep
                    pass
            if site is None:
                site = callsite.find_near(template)
        call.call_site = site
        if usual and not many:
            if type(parameters) is tuple and _all_kept(map(type, parameters)) and len(parameters) <= MAX_KEPT:
                call.parameters = parameters  # as ``frozen`` of what most statements have
            else:
                call.values = None
                call.keep_parameters(parameters if parameters is not None else ())
        else:
            call.parameters = call.parameters_hash = call.values = None
            self._note(call, text, parameters, cursor, many, settings)
        if not self.asynchronous and _get_running_loop() is not None:
            call.have(blocked_loop=True)
        call.held = held = held_on(identity)
        if held is not None:
            held.inside += 1
        if not bare:
            call._cursor = cursor
            call._connection = connection
        if nested:
            scope.covered.set(True)
        call.began = perf_counter()
        return call

    def _finds_usual(self, settings: config.Settings) -> bool:
        """Whether all that settings have noted of a query are its line and the hash of its parameters."""
        usual = settings.code_location == "on" and settings.parameters == "hash" and settings.query_text != "raw"
        if usual:
            self._usual = settings
        return usual

    def _note(
        self, call: DriverCall, text: Any, parameters: Any, cursor: Any, many: bool, settings: config.Settings
    ) -> None:
        """Record parameters and text, unless it is as nearly always."""
        if many:
            self._note_batch(call, parameters, settings)
        elif settings.parameters != "off":
            call.keep_parameters(parameters if parameters is not None else ())
            if settings.parameters == "full":
                call.extra = parameter_attributes(parameters)
        if settings.query_text == "raw":
            call.extra = {**(call.extra or {}), semconv.DB_QUERY_TEXT: _as_text(text) or self.render(text, cursor)}

    @staticmethod
    def _note_batch(call: DriverCall, parameters: Any, settings: config.Settings) -> None:
        """One set of parameters is no batch (semantic conventions); an iterator's length is known afterwards."""
        size = len(parameters) if hasattr(parameters, "__len__") else 0
        if size >= 2:
            call.have(batch_size=size)
        elif size == 1 and settings.parameters != "off" and isinstance(parameters, (list, tuple)):
            call.keep_parameters(parameters[0])

    def _span_of_upstream(self) -> Any:
        """The span of OpenTelemetry's instrumentor for the statement that begins.

        Returns:
            None while that instrumentor is off; False where it is on and its span is not current, or is a root.
        """
        module, name = self.upstream
        instrumentor = getattr(sys.modules[module], name, None)
        if instrumentor is None or not instrumentor().is_instrumented_by_opentelemetry:
            return None
        current: Any = get_current_span()
        made_by = getattr(getattr(current, "instrumentation_scope", None), "name", "")
        if not made_by.startswith(_UPSTREAM) or not current.is_recording() or current.parent is None:
            return False
        return current

    def _learn(self, link: Link, text: Any, cursor: Any) -> tuple[Statement, span.SpanTemplate]:
        plain = _as_text(text)
        if plain is None:
            plain = self.render(text, cursor)
        statement = read(plain, link.database.system)
        found = (statement, span.template_of(statement, link.database))
        if isinstance(text, (str, bytes)):
            if len(link.known) >= _MAX_KNOWN:
                link.known.clear()
            link.known[text] = found
        return found

    def render(self, text: Any, cursor: Any) -> str:
        """The text of an object by which the driver describes statements."""
        return str(text)

    # -- Connections --------------------------------------------------------------------------------------------

    def _adopt(self, connection: Any) -> Link:
        try:
            database = self.where(connection)
        except Exception:
            # It is closed, or says nothing: the statement that fails is reported, the next one asks again.
            database = None
        if database is None:
            return Link(self, Database(self.system), {})
        return self.adopt(connection, database)

    def adopt(self, connection: Any, database: Database) -> Link:
        """Remember where a connection leads."""
        shared = self._databases.get(database.key)
        if shared is None:
            if len(self._databases) >= _MAX_DATABASES:
                self._databases.clear()
            shared = self._databases[database.key] = (database, {})
        link = Link(self, *shared)
        identity = id(connection)

        def dropped(_: Any) -> None:
            try:
                # It does not hold the link, which holds it: where the garbage collector frees the connection, the
                # weak reference keeps its callback, and all three would wait for the next collection.
                link = self.links.pop(identity, None)
                if link is not None and link.transaction is not None:
                    transactions.end(link, "rollback")
            except Exception:
                failed("dbapi.dropped")

        link.gone = ref(connection, dropped)
        self.links[identity] = link
        return link

    def ending(self, result: str) -> Callable[[Any], Ending | None]:
        """The hook around a method of a connection that ends its transaction by ``commit`` or ``rollback``."""

        def begin(connection: Any) -> Ending | None:
            link = self.links.get(id(connection))
            return Ending(link, result) if link is not None and link.transaction is not None else None

        return begin

    # -- Results ------------------------------------------------------------------------------------------------

    def fetching(self, cursor: Any) -> Fetch | None:
        """The hook around a method that fetches some rows."""
        call = self.open.get(id(cursor)) if self.open else None
        return Fetch(call) if call is not None else None

    def fetching_all(self, cursor: Any) -> Fetch | None:
        """The hook around a method that fetches all rows."""
        call = self.open.get(id(cursor)) if self.open else None
        return FetchAll(call) if call is not None else None

    def closing(self, cursor: Any) -> None:
        """The hook before a method that closes a cursor."""
        call = self.open.get(id(cursor)) if self.open else None
        if call is not None:
            call.finish()

    def _make_way(self, cursor: Any) -> None:
        """A cursor that executes again ends its result; too many results that are open end the oldest."""
        self.closing(cursor)
        if len(self.open) >= _MAX_OPEN:
            next(iter(self.open.values())).finish()

    # -- Its life -----------------------------------------------------------------------------------------------

    def watch(self, patches: Patches) -> None:
        """It is instrumented until these replacements are undone."""
        patches.at_undo(self.forget)
        if self.upstream[0]:
            patches.when_imported(self.upstream[0], self._is_beside)
        drivers.append(self)
        recording.finish_with_roots(self.open)
        transactions.sources.append(self.links)
        transactions.emit_with(self.factory)
        django.follow(self)

    def _is_beside(self, _: ModuleType) -> None:
        self.beside = True

    def forget(self) -> None:
        """It is no longer instrumented."""
        recording.leave_at_roots(self.open)
        if self in drivers:
            drivers.remove(self)
            transactions.sources.remove(self.links)
            transactions.emit_with(None)
            django.unfollow(self)
        for call in list(self.open.values()):
            call.finish()
        self.links.clear()


class DriverInstrumentor(BaseInstrumentor):
    """What the instrumentors of drivers have in common; each is one object per class.

    Attributes:
        library: Name in the catalogue.
        module: The module whose import installs it; by default that of the library.
    """

    library = ""
    module = ""
    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Supported versions of the driver."""
        return catalog.requirements(self.library)

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Wrap the classes of the imported driver."""
        raise NotImplementedError

    def _instrument(self, **kwargs: Any) -> None:
        patches = self._patches = Patches()
        carry_windows(patches)
        provider = kwargs.get("tracer_provider")
        patches.when_imported(self.module or self.library, lambda module: self.install(module, patches, provider))

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.undo()
            self._patches = None


def placeholders(values: Any) -> str:
    """As many as there are arguments of a stored procedure; none where the driver will refuse them."""
    return ", ".join(["%s"] * len(values)) if hasattr(values, "__len__") else ""


def _as_text(text: Any) -> str | None:
    if isinstance(text, str):
        return text
    if isinstance(text, (bytes, bytearray)):
        return bytes(text).decode(errors="replace")
    return None
