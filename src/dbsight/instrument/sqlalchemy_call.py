"""One statement of SQLAlchemy, from the driver call to the end of its result."""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from dbsight import config, scope, semconv
from dbsight.config import process
from dbsight.instrument import orm, upstream_spans
from dbsight.instrument.callsite import find_near, near
from dbsight.instrument.dialects import error_of
from dbsight.instrument.outcomes import was_cancelled
from dbsight.instrument.pools import held_on
from dbsight.instrument.results import COVERING, QUIET, follow
from dbsight.instrument.upstream_spans import UPSTREAM
from dbsight.recording import consumers
from dbsight.safety import failed, guard
from dbsight.span import PendingQuery
from dbsight.span.pending import COMPLETED
from dbsight.statement.parameters import KEPT, MAX_KEPT, frozen, parameter_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import SpanContext
    from typing_extensions import Self

    from dbsight.config import Settings
    from dbsight.instrument.pools import Checkout
    from dbsight.instrument.sqlalchemy import Engine, Watcher
    from dbsight.model import Verdict
    from dbsight.span import PendingSpan

_WRITES = frozenset({"insert", "update", "delete"})
_COUNTED_WRITES = frozenset({"insert", "update", "delete", "ddl"})
_USUAL: Final[tuple[Any, ...]] = (*(None,) * 11, (), 0, 0, 0.0, 0.0, True, False, False, False, False)
"""What a statement has in the slots that ``StatementCall.complete`` fills, in their order there."""
_new = object.__new__
_getframe = sys._getframe
_modules = sys.modules
_all_kept = KEPT.issuperset
_near = near.get
_current_context = scope.current_context
_window = scope.window.get
_allowed = scope.allowed
MAX_OPEN: Final = 10_000
"""Statements with open results that are followed."""

compiled_cache: Callable[[int, int], None] | None = None
"""Counts hits and misses in the cache of compiled statements if that is instrumented; set by ``cache_libraries.py``."""


class SetUp:
    """One call of the driver that sets up or keeps a connection, of which no driver reports anything."""

    __slots__ = ("_covered", "_token")

    def __init__(self, *, suppressing: bool) -> None:
        self._token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)) if suppressing else None
        self._covered = scope.covered.get()
        scope.covered.set(True)

    def returned(self, *_: Any) -> None:
        """It returned, or raised."""
        scope.covered.set(self._covered)
        if self._token is not None:
            detach(self._token)

    raised = returned


def begin(  # noqa: C901, PLR0912, PLR0915 - see below
    watcher: Watcher, dialect: Any, cursor: Any, statement: str, parameters: Any, context: Any = None
) -> StatementCall | SetUp | None:
    """Begin to record a statement that is about to be passed to the driver: a hook, as a method of ``Watcher``.

    What other functions do elsewhere is written out here where it is short: between two queries the application's own
    code runs, and each function that is called has to be fetched into the processor's cache again.

    Returns:
        The pending query; None while instrumentation is suppressed or nothing is recorded, and for a method that calls
        that of its base class.
    """
    if not (consumers.awake or scope.profiling or watcher.factory.live()):
        return None
    try:
        engine: Engine = dialect._dbsight
    except AttributeError:
        if context is None:
            return None
        engine = watcher.engine(dialect, context)
    if context is None:
        return SetUp(suppressing=engine.suppresses_driver())
    proxy = context.root_connection._dbapi_connection
    try:
        raw = proxy.dbapi_connection
    except AttributeError:  # no pool has made it
        raw = proxy
    covering = type(raw) is not engine.plain
    if covering and scope.covered.get() == id(context):
        return None
    call: StatementCall = _new(watcher.calls)
    call.rare = None
    call.start_ns = time_ns()
    window = _window()
    # ``locate`` written out for all but the first query in a context.
    if (
        window is not None
        and (place := window.place) is not None
        and place[0] is _current_context()
        and place[1] is watcher.factory
    ):
        call.current, _, call.parent = place
        call.queue = window
        if scope.profiling:
            call.rare = {"profiles": scope.profiles()}
    elif not call.is_located(watcher.factory):
        return None
    call.engine = engine
    call.statement, template = engine.known.get(statement) or engine.learn(statement)
    call.template = template
    call.key = key = id(raw)
    if key in engine.open:
        engine.open[key].finish()
    call.thread = get_ident()
    call.allowed = _allowed()
    try:
        call.cache_hit = context.cache_hit
        purpose: orm.Purpose = context.compiled._dbsight
    except AttributeError:
        purpose = call.look(context)
    if process.in_force is watcher.usual or watcher.is_usual(config.current()):
        # ``find_near`` written out where the place is as deep as it was; it counts itself.
        depth = template.depth
        site = None
        if depth:
            try:
                at = _getframe(depth - 1)
                above: Any = at.f_back
                site = _near((depth, id(at.f_code), at.f_lasti, id(above.f_code), above.f_lasti))
            except (ValueError, AttributeError):
                pass  # the stack is not so deep
        call.call_site = site if site is not None else find_near(template)
        # ``note`` written out for what most queries are given; what is no number may be long.
        kind = type(parameters)
        if purpose.writes:
            call.note(statement, parameters, context, purpose, watcher.settings)
        elif kind is tuple and _all_kept(map(type, parameters)) and len(parameters) <= MAX_KEPT:
            call.parameters = parameters
        elif kind is dict and _all_kept(map(type, parameters.values())) and len(parameters) <= MAX_KEPT:
            call.parameters = parameters.copy()
        else:
            call.note(statement, parameters, context, purpose, watcher.settings)
    else:
        call.call_site = find_near(template) if watcher.settings.code_location == "on" else None
        call.note(statement, parameters, context, purpose, watcher.settings)
    if purpose.of_orm:
        loads = context.execution_options.get("_sa_orm_load_options")
        if loads is not None and loads._refresh_state is not None:
            call.have(loading=orm.loading(context))  # it depends on what is expired, which this query changes
        elif purpose.lazily is not None:
            if loads is not None and loads._lazy_loaded_from is not None:
                purpose = purpose.lazily
        elif purpose.of_subclass:
            call.have(loading=orm.loading(context))
    call.purpose = purpose
    if _get_running_loop() is not None and not engine.asynchronous:
        call.have(blocked_loop=True)
    if UPSTREAM in _modules and upstream_spans.are_made_elsewhere(context.root_connection):
        call.have(own_span=False)
    call.rows = 0  # of what is read row by row; ``returned`` knows better of all else
    call.over = call.fetching = False
    call.held = held = held_on(key)
    quiet = engine.module in _modules and engine.suppresses_driver()
    # Nothing below can fail and need to be undone.
    if held is not None:
        held.inside += 1
    if quiet:
        call.aside = QUIET | COVERING if covering else QUIET
        call._suppressing = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    else:
        call.aside = covering
    if covering:
        scope.covered.set(id(context))
    if watcher.extended:
        call.have()
        call.enters(context)
    call.began = perf_counter()
    return call


class StatementCall(PendingQuery):
    """A statement that is running, whose result is being read, or that is queued.

    In place it has what every statement has. What hardly any has is kept in ``rare``, which is not None either where
    ``_look_aside`` has to be called when the driver returns.

    Attributes:
        engine: The engine that it runs on.
        key: Identity of its DBAPI connection.
        last: When the latest driver call returned, on ``perf_counter``.
        executed: s of the execute call.
        fetching: Whether fetches from its result are added to it.
        held: The checkout of its connection.
        aside: Flags that ``results.py`` names; 0 for most.
        cache_hit: How SQLAlchemy came by the compiled statement, an ``engine.interfaces.CacheStats`` or None; in the
            drain, its name.
        purpose: What the ORM asked for with the compiled statement.
        loading: What it was loading.
        claim: The span of another instrumentation for the same statement, if any.
    """

    engine: Engine
    key: int
    purpose: orm.Purpose
    aside: int
    loading: orm.Loading | None
    cache_hit: Any
    held: Checkout | None
    claim: upstream_spans.Claim | None
    _suppressing: Any

    __slots__ = (
        "_suppressing",
        "aside",
        "cache_hit",
        "claim",
        "engine",
        "executed",
        "fetching",
        "held",
        "key",
        "last",
        "loading",
        "purpose",
    )

    def look(self, context: Any) -> orm.Purpose:
        """Find out what ``begin`` looks for, where SQLAlchemy does not have it or it is not known yet."""
        self.cache_hit = getattr(context, "cache_hit", None)
        return orm.purpose(context)

    def note(self, text: str, parameters: Any, context: Any, purpose: orm.Purpose, settings: Settings) -> None:
        """Note what is bound to it, and of a write what the ORM is doing."""
        self.parameters = None
        if self._is_batch(context):
            self.have(batch_size=_batch_size(parameters, context))
        elif settings.parameters != "off":
            self.parameters = frozen(parameters)
            if self.parameters is None:
                self.values = None
                self._hash(parameters)
                self.have(parameters_hash=self.parameters_hash, values=self.values)
            if settings.parameters == "full":
                self.add(parameter_attributes(parameters))
        if settings.query_text == "raw":
            self.add({semconv.DB_QUERY_TEXT: text})
        if purpose.writes:
            self._note_write(context)

    def _note_write(self, context: Any) -> None:
        """Note the class and the flush that it writes."""
        model = orm.written(context)
        flush = orm.flush.get()
        if flush is None and len(context.compiled_parameters) > 1:
            flush = orm.Flush(orm.number_of(context), auto=False)
        if model is not None:
            self.have(entity=model, model=model)
        if flush is not None:
            self.have(flush=flush.number, autoflush=flush.auto)

    def enters(self, context: Any) -> None:
        """The driver is about to be called; of ``extended`` classes. Never raises."""

    def leaves(self, context: Any) -> None:
        """The driver has returned or raised; of ``extended`` classes."""

    # -- The driver call ----------------------------------------------------------------------------------------

    def returned(self, _: Any, cursor: Any, context: Any) -> None:  # noqa: C901, PLR0912, PLR0915 - as ``begin``
        """The driver returned: the query ends if the driver fetched all rows, or there are none."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        # ``_left_driver`` written out: whatever fails afterwards.
        held = self.held
        if held is not None:
            held.inside -= 1
        aside = self.aside
        if aside:
            if aside >= QUIET:
                token, self._suppressing = self._suppressing, None
                detach(token)
            if aside != QUIET:
                scope.covered.set(False)
        try:
            if self.rare is not None:
                self._look_aside(context)
            engine = self.engine
            result = cursor.pgresult if engine.libpq and not context._is_server_side else None
            # To describe the columns takes psycopg longer than all of this, and their number says as much.
            if (result is None or not result.nfields) and cursor.description is None:
                self.rows = None
                if self.statement.kind in _WRITES:
                    self.have(affected=_row_count(cursor))
            elif context._is_server_side or context.execution_options.get("stream_results"):
                self.have(streamed=True)
                self._follow_when_made(context)
            elif engine.buffers:
                count = cursor.rowcount  # ``_row_count`` written out
                self.rows = count if type(count) is int and count >= 0 else None
            else:
                # Rows are fetched one by one or together from a cursor that steps as they are.
                inner = context.cursor_fetch_strategy
                if inner is engine.fetch and aside < QUIET:  # ``follow`` written out
                    followed = _new(engine.followed)
                    followed._inner = inner
                    followed._call = self
                elif inner.alternate_cursor_description is None:
                    followed = follow(inner, self)
                else:
                    followed = None
                if followed is not None and not (self.purpose.writes and self._is_batch(context)):
                    context.cursor_fetch_strategy = followed
                    if held is None:
                        self._make_room()
                    else:
                        held.last = now
                    engine.open[self.key] = self
                    self.fetching = True
                    return
                self.rows = None
        except Exception:  # a cursor may be anything; the query ran, whatever it says of itself
            self.rows = None
            failed("sqlalchemy.returned")
        if not self.fetching:
            self.finish()

    def _look_aside(self, context: Any) -> None:
        """The driver has returned or raised: what few classes and few statements do then."""
        self.leaves(context)
        if self.noted("own_span") is False:
            self.have(claim=upstream_spans.claim(context, self))

    def _is_batch(self, context: Any) -> bool:
        """Whether it has several sets of parameters; SQLAlchemy 1.4 says so in another way."""
        single = self.engine.single
        return bool(context.execute_style is not single if single is not None else context.executemany)

    def _left_driver(self) -> None:
        """Undo what was done for the time of the driver call."""
        if self.held is not None:
            self.held.inside -= 1
        if self.aside >= QUIET:
            token, self._suppressing = self._suppressing, None
            detach(token)
        if self.aside & COVERING:
            scope.covered.set(False)

    def raised(self, error: BaseException, _: Any, context: Any) -> None:
        """The driver raised: the query ends."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        self._left_driver()
        self.rows = None
        try:
            if self.rare is not None:
                self._look_aside(context)
        except Exception:
            failed("sqlalchemy.raised")
        self.finish(error)

    def _follow_when_made(self, context: Any) -> None:
        """The fetch strategy of a server-side cursor is made with the result: follow it from then on."""
        make = context._setup_result_proxy

        def setup_result_proxy() -> Any:
            del context._setup_result_proxy
            token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)) if self.aside >= QUIET else None
            try:
                result = make()  # it fetches the first rows
            finally:
                if token is not None:
                    detach(token)
            self._follow_result(result)
            return result

        context._setup_result_proxy = setup_result_proxy
        self._keep_open()

    @guard
    def _follow_result(self, result: Any) -> None:
        if not self.over:
            result.cursor_strategy = follow(result.cursor_strategy, self)

    def _keep_open(self) -> None:
        """Keep it until its result ends."""
        if self.held is not None:
            self.held.last = self.last
        self._make_room()
        self.engine.open[self.key] = self
        self.fetching = True

    def _make_room(self) -> None:
        """Follow one result less; of connections from a pool that is watched there are as many as that has."""
        running = self.engine.open
        if len(running) >= MAX_OPEN:
            next(iter(running.values())).finish()

    # -- Its result ---------------------------------------------------------------------------------------------

    def finish(self, error: BaseException | None = None) -> None:
        """Finish the query. Idempotent."""
        if self.over:
            return
        if self.fetching:
            self.engine.open.pop(self.key, None)
        held = self.held
        if held is not None:  # add it up there; the pool's name is read in the drain
            if held.early:
                held.early = False
                if held.wait or held.creating:
                    self.have(pool_wait=held.take_wait(), connect_time=held.creating)
                    held.creating = 0.0
            held.last = self.last
            held.busy += self.duration
            kind = self.statement.kind
            if kind == "select":
                held.queries += 1
            elif kind != "transaction":
                held.queries += 1
                held.writes += kind in _COUNTED_WRITES
        if error is not None:
            self._fail(error)
        self.over = True  # ``end`` written out
        queue = self.queue
        if queue is None or not queue.append(self):
            self.flush_all((self,))

    def _fail(self, error: BaseException) -> None:
        """Note what it failed with; given up is not failed."""
        if not was_cancelled(error):
            error_type, error_code = error_of(error)
            self.have(error_type=error_type, error_code=error_code)
            if self.held is not None:
                self.held.failures += 1

    # -- In the drain -------------------------------------------------------------------------------------------

    def complete(self) -> None:
        """Fill in what the hooks did not."""
        if self.rare is COMPLETED:
            return
        engine, purpose, held = self.engine, self.purpose, self.held
        self.factory, self.database = engine.factory, engine.database
        self.asynchronous = engine.asynchronous
        self.pool = held.pool.name if held is not None else None
        self.held = None
        self.end_ns = self.start_ns + int((self.last - self.began) * 1e9)
        self.fetch_time = self.duration - self.executed
        (
            self.parameters_hash, self.values, self.error_type, self.error_code, self.extra, self.entity,
            self.claim, self.affected, self.django, self.replay, self.blocker, self.profiles, self.batch_size,
            self.flush, self.pool_wait, self.connect_time, self.own_span, self.blocked_loop, self.streamed,
            self.autoflush, self.measured,
        ) = _USUAL  # fmt: skip
        self.loading, self.model = purpose.loading, purpose.model
        self.fill()
        loading = self.loading
        if loading is None:
            self.relationship = self.load = self.to_many = None
        else:
            self.relationship, self.load, self.to_many = loading.relationship, loading.load, loading.to_many
            self.entity = loading.entity
        # The name of a member, by its property, costs five times as much.
        self.cache_hit = hit = getattr(self.cache_hit, "_name_", None) or getattr(self.cache_hit, "name", "")
        if hit == "CACHE_MISS":
            self.extra = {**(self.extra or {}), semconv.ORM_COMPILED_CACHE: "miss"}

    def other_span(self) -> tuple[PendingSpan, SpanContext | None]:
        """What stands for its span where upstream's instrumentation makes it, and that one's context."""
        return self.factory.no_span(), self.claim.context if self.claim is not None else None

    def settle(self, verdict: Verdict | None) -> None:
        """Hand on the span that upstream's instrumentation made."""
        claim, self.claim = self.claim, None
        if claim is not None:
            claim.settle(self, verdict)

    @classmethod
    def reported(cls, records: Sequence[Self], /) -> None:
        """Count what the cache of compiled statements had. Never raises."""
        if compiled_cache is not None:
            outcomes = [record.cache_hit for record in records]
            compiled_cache(outcomes.count("CACHE_HIT"), outcomes.count("CACHE_MISS"))


def _row_count(cursor: Any) -> int | None:
    count = cursor.rowcount
    return count if isinstance(count, int) and count >= 0 else None  # None, or anything where it is a stand-in


def _batch_size(parameters: Any, context: Any) -> int:
    """Rows of this driver call: of an executemany, or of one statement of insertmanyvalues; 0 for a single one.

    One is no batch (semantic conventions); neither is the row-by-row form that SQLAlchemy falls back to where a
    database cannot batch.
    """
    if isinstance(parameters, list) or not hasattr(context, "execute_style"):  # 1.4: a tuple, and no insertmanyvalues
        rows = len(parameters)
    else:
        names = len(getattr(context.compiled, "bind_names", ()))
        rows = len(parameters) // names if names and parameters else 0
    return rows if rows >= 2 else 0
