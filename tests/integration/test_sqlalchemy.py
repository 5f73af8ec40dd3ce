"""The SQLAlchemy instrumentor on a real SQLite: which spans, when they are over, and what stands on them."""

import asyncio
import gc
import os
import sqlite3
import threading
from pathlib import Path
from unittest.mock import Mock
from weakref import ref

import pytest
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult
from sqlalchemy import create_engine, event, exc, insert, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, registry, selectinload
from sqlalchemy.orm.exc import UnmappedClassError

import dbsight
from dbsight import safety, semconv
from shop import Author, Base, Book, fill

HERE = os.path.relpath(__file__)


@pytest.fixture
def engine(tmp_path):
    """An engine on a filled SQLite file, made before anything is instrumented."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def shop(engine, telemetry):
    """The engine, and an SDK in memory that watches it."""
    return engine, telemetry


def queries(telemetry):
    """The query spans, in the order of their ends."""
    return [span for span in telemetry.spans() if span.kind == "CLIENT"]


def loads(telemetry):
    """Relationship and loader of each query span."""
    return [
        (span.attributes.get("dbsight.orm.relationship"), span.attributes.get("dbsight.orm.load"))
        for span in queries(telemetry)
    ]


def line_of(marker):
    """The number of the line of this file that ends with a marker."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}"))


def test_a_query_is_one_span_with_everything_on_it(shop):
    """Name, kind, parent and attributes of an ordinary SELECT, compared whole."""
    engine, telemetry = shop
    with telemetry.root() as root, engine.connect() as connection:
        rows = connection.execute(select(Author.name).where(Author.id < 3)).all()  # ordinary
    assert len(rows) == 2
    (span,) = queries(telemetry)
    assert (span.name, span.kind, span.parent_span_id) == (
        "SELECT authors",
        "CLIENT",
        f"{root.get_span_context().span_id:016x}",
    )
    fingerprint = span.attributes["dbsight.query.fingerprint"]
    assert len(fingerprint) == 16
    assert span.attributes == {
        "db.system.name": "sqlite",
        "db.system": "sqlite",
        "db.namespace": "shop.db",
        "db.query.text": "SELECT authors.name FROM authors WHERE authors.id < ?",
        "db.query.summary": "SELECT authors",
        "db.response.returned_rows": 2,
        "dbsight.orm.compiled_cache": "miss",
        "dbsight.query.fingerprint": fingerprint,
        "code.file.path": HERE,
        "code.line.number": line_of("ordinary"),
        "code.function.name": "test_a_query_is_one_span_with_everything_on_it",
    }
    assert span.status == "UNSET"
    assert span.start_ns <= span.end_ns


def test_a_statement_that_is_new_keeps_nothing_of_its_caller_alive(shop):
    """A frame that referred to itself would keep those below until the garbage collector comes."""
    engine, _ = shop

    class Held:
        pass

    def ask(connection):
        held = Held()
        connection.execute(text("SELECT 'never asked before'")).all()
        return ref(held)

    with engine.connect() as connection:
        connection.execute(text("SELECT 1")).all()
        gc.disable()
        try:
            assert ask(connection)() is None
        finally:
            gc.enable()


def test_an_engine_made_after_the_start_is_watched(telemetry):
    """Class-level listeners cover engines that come later."""
    engine = create_engine("sqlite://")
    with telemetry.root(), engine.connect() as connection:
        connection.execute(text("SELECT 7")).all()
    assert [span.attributes["db.namespace"] for span in queries(telemetry)] == [":memory:"]


def test_several_engines_keep_their_own_names(tmp_path, telemetry):
    """Each span carries the database of its own engine."""
    engines = [create_engine(f"sqlite:///{tmp_path / name}") for name in ("a.db", "b.db")]
    with telemetry.root():
        for engine in engines:
            with engine.connect() as connection:
                connection.execute(text("SELECT 7 AS n")).all()
    assert [span.attributes["db.namespace"] for span in queries(telemetry)] == ["a.db", "b.db"]


def test_a_lazy_load_names_its_relationship(shop):
    """To-one and to-many, each with class and attribute."""
    engine, telemetry = shop
    with telemetry.root(), Session(engine) as session:
        book = session.scalars(select(Book).where(Book.id == 1)).one()
        assert book.author.name == "author 1"
        assert len(book.author.books) == 2
    seen = loads(telemetry)
    assert seen == [(None, None), ("Book.author", "lazy"), ("Author.books", "lazy")]


def test_an_eager_load_is_told_from_a_lazy_one(shop):
    """Selectinload runs a second query by itself; it is marked so."""
    engine, telemetry = shop
    with telemetry.root(), Session(engine) as session:
        session.scalars(select(Author).options(selectinload(Author.books))).all()
    seen = loads(telemetry)
    assert seen == [(None, None), ("Author.books", "eager")]


def test_deferred_and_expired_columns_are_named(shop):
    """A deferred column that is read, and an object that is read again after a commit."""
    engine, telemetry = shop
    with telemetry.root(), Session(engine) as session:
        author = session.get(Author, 1)
        assert author.biography == "born 1"
        session.commit()
        assert author.name == "author 1"
    seen = loads(telemetry)
    assert seen == [(None, None), ("Author.biography", "deferred"), ("Author", "expired")]


def test_rows_are_counted_however_they_are_fetched(shop):
    """All, one by one, in parts, partly and not at all."""
    engine, telemetry = shop
    statement = select(Author.id).order_by(Author.id)
    with telemetry.root(), engine.connect() as connection:
        connection.execute(statement).all()
        assert len(list(connection.execute(statement))) == 10
        result = connection.execute(statement)
        while result.fetchmany(3):
            pass
        result = connection.execute(statement)
        result.fetchone()
        result.close()
        connection.execute(statement).close()
        connection.exec_driver_sql("SELECT id FROM authors").fetchall()
        connection.execute(statement).scalars().first()
    assert [span.attributes["db.response.returned_rows"] for span in queries(telemetry)] == [10, 10, 10, 1, 0, 10, 1]


def test_a_query_is_over_when_the_next_one_runs_on_its_connection(shop):
    """An abandoned result does not wait for the garbage collector."""
    engine, telemetry = shop
    with telemetry.root(), engine.connect() as connection:
        abandoned = connection.execute(select(Author.id))
        abandoned.fetchone()
        connection.execute(select(Book.id)).all()
        assert [span.name for span in queries(telemetry)] == ["SELECT authors", "SELECT books"]
        abandoned.fetchall()
    assert [span.attributes["db.response.returned_rows"] for span in queries(telemetry)] == [1, 10]


def test_a_query_is_over_when_its_connection_is_checked_in(shop):
    """Closing the connection ends what was open on it."""
    engine, telemetry = shop
    with telemetry.root():
        connection = engine.connect()
        result = connection.execute(select(Author.id))
        result.fetchmany(2)
        connection.close()
        assert [span.attributes["db.response.returned_rows"] for span in queries(telemetry)] == [2]


def test_a_query_is_over_before_its_root(shop):
    """A result that is still open when the request ends belongs to that request."""
    engine, telemetry = shop
    connection = engine.connect()
    with telemetry.root():
        result = connection.execute(select(Author.id))
        result.fetchmany(2)
    assert [span.name for span in telemetry.spans()] == ["SELECT authors", "GET /"]
    assert telemetry.spans()[1].attributes["dbsight.db.calls"] == 1
    connection.close()


def test_the_consumers_own_time_is_not_the_databases(shop):
    """The span lasts until the last fetch; the duration counts driver calls alone."""
    engine, telemetry = shop
    pause = threading.Event()
    with telemetry.root(), engine.connect() as connection:
        result = connection.execute(select(Author.id)).yield_per(5)
        result.fetchmany(5)
        pause.wait(0.05)
        result.fetchall()
    (span,) = queries(telemetry)
    assert span.end_ns - span.start_ns >= 50_000_000
    (point,) = telemetry.points("db.client.operation.duration")
    assert point.sum < 0.04


def test_an_executemany_is_one_span_with_its_batch_size(shop):
    """Core executemany, and insertmanyvalues with RETURNING."""
    engine, telemetry = shop
    with telemetry.root(), engine.begin() as connection:
        connection.execute(insert(Author), [{"name": f"n{number}"} for number in range(7)])
        connection.execute(text("UPDATE authors SET name = :n WHERE id = :i"), [{"n": "x", "i": 1}, {"n": "y", "i": 2}])
        connection.execute(insert(Author).returning(Author.id), [{"name": f"m{number}"} for number in range(4)]).all()
        connection.execute(insert(Author), [{"name": "one"}])
    sizes = [span.attributes.get("db.operation.batch.size") for span in queries(telemetry)]
    assert sizes == [7, 2, 4, None]


def test_writes_tell_how_many_rows_they_changed(shop):
    """UPDATE and DELETE; a SELECT says nothing about it."""
    engine, telemetry = shop
    with telemetry.root(), engine.begin() as connection:
        connection.execute(text("UPDATE authors SET name = 'x' WHERE id <= 4"))
        connection.execute(text("DELETE FROM books WHERE id = 1"))
        connection.execute(select(Author.id)).all()
    changed = [span.attributes.get("dbsight.query.rows_affected") for span in queries(telemetry)]
    assert changed == [4, 1, None]


def test_writes_are_seen_beside_a_class_that_could_not_be_mapped(shop):
    """It stays in its registry for as long as somebody holds it, and the registry cannot list its mappers then."""
    engine, telemetry = shop
    broken = type("Broken", (), {})
    mapped = registry()
    with pytest.raises(exc.InvalidRequestError, match="__tablename__"):
        mapped.mapped(broken)
    with pytest.raises(UnmappedClassError):
        mapped.mappers  # noqa: B018 - what it is about
    with telemetry.root(), Session(engine) as session:
        session.add(Author(name="one more"))
        session.commit()
    assert "INSERT authors" in [span.name for span in queries(telemetry)]


def test_a_savepoint_is_a_query_of_its_own(shop):
    """SAVEPOINT and RELEASE go through the cursor; the work between them as well."""
    engine, telemetry = shop
    with telemetry.root(), engine.begin() as connection, connection.begin_nested():
        connection.execute(select(Author.id)).all()
    assert [span.name.split()[0] for span in queries(telemetry)] == ["SAVEPOINT", "SELECT", "RELEASE"]


def test_the_log_names_the_same_lines(engine, make_telemetry, caplog):
    """SQLAlchemy logs begin and end of a transaction with the line of its caller: never one of a wrapper."""

    def logged():
        caplog.clear()
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
        with engine.connect() as connection, connection.begin() as transaction:
            transaction.rollback()
        return [(record.pathname, record.funcName, record.lineno, record.getMessage()) for record in caplog.records]

    caplog.set_level("INFO", "sqlalchemy.engine")
    plainly = logged()
    make_telemetry()
    again = logged()
    assert [each[:3] for each in again] == [each[:3] for each in plainly]
    assert {each[3] for each in again} >= {"BEGIN (implicit)", "COMMIT", "ROLLBACK"}


def test_a_cursor_that_counts_no_rows_is_taken(shop):
    """A stand-in for a cursor has whatever it is given as its count of rows: no failure of ours."""
    engine, telemetry = shop

    def stand_in(connection, cursor, statement, parameters, context, executemany):
        context.dialect.do_execute(Mock(description=None), statement, parameters, context)

    event.listen(engine, "before_cursor_execute", stand_in)
    with telemetry.root(), engine.begin() as connection:
        connection.execute(text(f"UPDATE {Author.__tablename__} SET id = id WHERE id = 1"))
    assert safety.errors() == {}


def test_a_connection_that_is_of_no_pool_is_taken(shop):
    """SQLAlchemy takes a driver's own connection for a pool's."""

    class Own(sqlite3.Connection):
        is_valid = True

    engine, telemetry = shop
    given = sqlite3.connect(":memory:", factory=Own)
    with telemetry.root(), Connection(engine, connection=given) as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
        connection.rollback()
    assert len(queries(telemetry)) == 1
    assert safety.errors() == {}


def test_an_error_has_class_and_code_but_no_message(shop):
    """Drivers quote values: neither status nor event repeat them."""
    engine, telemetry = shop
    with telemetry.root(), engine.connect() as connection, pytest.raises(exc.IntegrityError):
        connection.execute(text("INSERT INTO authors (id, name) VALUES (1, :name)"), {"name": "MARKER"})
    (span,) = queries(telemetry)
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "sqlite3.IntegrityError")
    assert span.status_description.startswith("sqlite3.IntegrityError")
    (failure,) = span.events
    assert (failure.name, failure.attributes["exception.type"]) == ("exception", "sqlite3.IntegrityError")
    assert "exception.message" not in failure.attributes
    assert "MARKER" not in repr(telemetry.spans()) + repr(telemetry.metrics()) + repr(telemetry.logs())


def test_an_error_without_its_event_ends_the_query_all_the_same(shop):
    """skip_user_error_events changes nothing: the driver call itself is watched."""
    engine, telemetry = shop
    with telemetry.root(), engine.connect() as connection:
        with pytest.raises(exc.OperationalError):
            connection.execution_options(skip_user_error_events=True).execute(text("SELECT x FROM nowhere"))
        connection.execution_options(skip_user_error_events=False).execute(select(Author.id)).all()
    assert [span.attributes.get("error.type") for span in queries(telemetry)] == ["sqlite3.OperationalError", None]


@pytest.mark.parametrize("when", ["before_cursor_execute", "after_cursor_execute"])
def test_another_listener_that_raises_leaves_no_trace_behind(shop, when):
    """The application's own exception reaches it; the next query is watched as ever."""
    engine, telemetry = shop

    def broken(*_):
        raise ValueError("the application's own")

    event.listen(engine, when, broken)
    try:
        with telemetry.root(), engine.connect() as connection, pytest.raises(ValueError, match="own"):
            connection.execute(select(Author.id))
    finally:
        event.remove(engine, when, broken)
    with telemetry.root(), engine.connect() as connection:
        connection.execute(select(Book.id)).all()
    assert [span.name for span in queries(telemetry)][-1] == "SELECT books"
    assert len(queries(telemetry)) <= 2


def test_a_keyboard_interrupt_passes_through(shop):
    """BaseException is never caught; the query is over all the same."""
    import sqlite3

    _, telemetry = shop
    interrupted = []

    class Cursor(sqlite3.Cursor):
        def execute(self, *args):
            if interrupted:
                raise KeyboardInterrupt
            return super().execute(*args)

    class Connection(sqlite3.Connection):
        def cursor(self, factory=Cursor):
            return super().cursor(factory)

    own = create_engine("sqlite://", connect_args={"factory": Connection})
    with telemetry.root(), own.connect() as connection:
        interrupted.append(True)
        with pytest.raises(KeyboardInterrupt):
            connection.execute(text("SELECT 1"))
        interrupted.clear()
    own.dispose()
    assert [span.attributes["error.type"] for span in queries(telemetry)] == ["KeyboardInterrupt"]


def test_the_drivers_own_spans_are_suppressed(engine, make_telemetry):
    """With the driver instrumented too, a query is one span; the application's own driver calls keep theirs."""
    telemetry = make_telemetry()
    import sqlite3

    SQLite3Instrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    try:
        watched = create_engine(engine.url)
        with telemetry.root(), Session(watched) as session:
            session.execute(select(Author.id)).all()
            session.execute(text("UPDATE authors SET name = 'x' WHERE id = 1"))
            session.commit()
        assert [span.scope.name for span in queries(telemetry)] == ["dbsight", "dbsight"]
        telemetry.clear()
        with telemetry.root():
            connection = sqlite3.connect(":memory:")
            connection.cursor().execute("SELECT 42")
            connection.close()
        assert [span.scope.name for span in queries(telemetry)] == ["opentelemetry.instrumentation.sqlite3"]
        watched.dispose()
    finally:
        SQLite3Instrumentor().uninstrument()


def test_a_ping_before_the_first_query_is_nobodys(tmp_path, telemetry):
    """The driver's own instrumentation makes no span of it."""
    SQLite3Instrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    try:
        engine = create_engine(f"sqlite:///{tmp_path / 'pinged.db'}", pool_pre_ping=True)
        for _ in range(2):
            engine.connect().close()
        engine.dispose()
    finally:
        SQLite3Instrumentor().uninstrument()
    assert queries(telemetry) == []


def test_an_uninstrumented_library_is_as_it_was(engine, make_telemetry):
    """No listener, no attribute, no span is left."""
    telemetry = make_telemetry()
    with engine.connect() as connection:
        connection.execute(select(Author.id)).all()
    dbsight.SQLAlchemyInstrumentor().uninstrument()
    telemetry.clear()
    assert "_dbsight" not in vars(engine.dialect)
    assert not engine.dispatch.before_cursor_execute
    assert not engine.dispatch.after_execute
    assert not engine.pool.dispatch.checkin
    with telemetry.root(), engine.connect() as connection:
        connection.execute(select(Author.id)).all()
    assert queries(telemetry) == []


def test_without_a_processor_of_ours_a_query_outside_spans_is_a_root(engine):
    """An instrumentor by hand: there is nobody who would make the span of a window, and end it."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    dbsight.SQLAlchemyInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        with engine.connect() as connection:
            for _ in range(2):
                connection.execute(select(Author.id)).all()
            with provider.get_tracer("test").start_as_current_span("GET /"):
                connection.execute(select(Author.id)).all()
    finally:
        dbsight.SQLAlchemyInstrumentor().uninstrument()
    first, second, third, root = exporter.get_finished_spans()
    assert (first.parent, second.parent) == (None, None)
    assert first.context.trace_id != second.context.trace_id
    assert third.parent == root.context


class DropDatabase(Sampler):
    """A user's sampler that drops database spans below a sampled parent."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        """Drop what has a database system."""
        decision = Decision.DROP if "db.system.name" in (attributes or {}) else Decision.RECORD_AND_SAMPLE
        return SamplingResult(decision, attributes)

    def get_description(self):
        """For humans."""
        return "DropDatabase"


def test_a_sampler_may_drop_query_spans_and_nothing_else_is_lost(engine, make_telemetry):
    """No span, but metrics, window and rules all the same."""
    telemetry = make_telemetry(sampler=DropDatabase())
    with telemetry.root(), Session(engine) as session:
        for book in session.scalars(select(Book)):
            assert book.author
    assert [span.name for span in telemetry.spans()] == ["GET /"]
    assert telemetry.spans()[0].attributes["dbsight.db.calls"] == 6
    assert telemetry.spans()[0].attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert sum(point.count for point in telemetry.points("db.client.operation.duration")) == 6


class Marking(Sampler):
    """A sampler that adds an attribute and changes nothing else."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        """Sample, with a mark."""
        return SamplingResult(Decision.RECORD_AND_SAMPLE, {**(attributes or {}), "sampler.mark": 1})

    def get_description(self):
        """For humans."""
        return "Marking"


def test_the_samplers_attributes_are_kept(engine, make_telemetry):
    """What a sampler adds stands on the query's span."""
    telemetry = make_telemetry(sampler=Marking())
    with telemetry.root(), engine.connect() as connection:
        connection.execute(select(Author.id)).all()
    assert [span.attributes["sampler.mark"] for span in queries(telemetry)] == [1]


def test_nothing_is_exported_of_an_unsampled_trace_by_hand(engine, make_telemetry):
    """At zero per cent no span leaves, and operations are counted."""
    telemetry = make_telemetry(sampler=ParentBased(ALWAYS_OFF))
    with telemetry.root(), engine.connect() as connection:
        connection.execute(select(Author.id)).all()
    assert telemetry.spans() == []
    assert sum(point.count for point in telemetry.points("db.client.operation.duration")) == 1


class Curious(SpanProcessor):
    """A processor of the application that wants to see the start of every span, as a baggage processor does."""

    def __init__(self):
        self.started = []

    def on_start(self, span, parent_context=None):
        """Take note and write on the span."""
        self.started.append(span.name)
        span.set_attribute("curious", True)


def test_both_paths_make_the_same_span(engine, make_telemetry):
    """Attribute by attribute; and nobody's processor is passed over."""

    def work(telemetry):
        with telemetry.root(), Session(engine) as session:
            book = session.scalars(select(Book).where(Book.id == 1)).one()
            assert book.author
            session.execute(text("UPDATE authors SET name = 'x' WHERE id = 1"))
            with pytest.raises(exc.OperationalError):
                session.execute(text("SELECT nothing FROM nowhere"))

    own = {
        "curious",
        semconv.QUERY_FETCH_TIME,
        semconv.QUERY_CONNECT_TIME,
        semconv.POOL_WAIT,
        semconv.ORM_COMPILED_CACHE,
    }  # the times are there on a busy machine alone, and the second run finds its statements compiled

    def comparable(span):
        attributes = {key: value for key, value in span.attributes.items() if key not in own}
        events = [(each.name, each.attributes) for each in span.events]
        return span.name, span.kind, attributes, events, span.status, span.status_description, span.scope, span.flags

    fast = make_telemetry()
    work(fast)
    quick = [comparable(span) for span in queries(fast)]
    fast.close()
    ordinary = make_telemetry()
    curious = Curious()
    ordinary.tracer_provider.add_span_processor(curious)
    work(ordinary)
    assert [comparable(span) for span in queries(ordinary)] == quick
    assert curious.started == ["GET /", *(name for name, *_ in quick)]
    assert all(span.attributes["curious"] for span in ordinary.spans())


def test_an_async_engine_gives_the_same_spans_and_the_awaiting_line(tmp_path, telemetry):
    """aiosqlite: the call site lies on the other side of the greenlet."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'async.db'}"

    async def work():
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        telemetry.clear()
        with telemetry.root():
            async with AsyncSession(engine) as session:
                session.add(Author(id=1, name="one", biography="b"))
                await session.commit()
                found = await session.execute(select(Author.id))  # awaited
                assert found.all() == [(1,)]
        await engine.dispose()

    asyncio.run(work())
    spans = queries(telemetry)
    assert [span.name for span in spans] == ["INSERT authors", "SELECT authors"]
    assert spans[1].attributes["code.line.number"] == line_of("awaited")
    assert spans[1].attributes["code.file.path"] == HERE
    assert spans[1].attributes["db.response.returned_rows"] == 1


def test_parallel_tasks_belong_to_the_request_that_started_them(tmp_path, telemetry):
    """asyncio.gather: every query finds its own root."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'gather.db'}"

    async def request(engine, name):
        with telemetry.root(name):

            async def one():
                async with engine.connect() as connection:
                    await connection.execute(text("SELECT 7 AS n"))

            await asyncio.gather(*(one() for _ in range(4)))

    async def work():
        engine = create_async_engine(url)
        await asyncio.gather(*(request(engine, f"GET /{number}") for number in range(5)))
        await engine.dispose()

    asyncio.run(work())
    roots = [span for span in telemetry.spans() if span.kind == "SERVER"]
    assert [span.attributes["dbsight.db.calls"] for span in roots] == [4] * 5


def test_suppressed_work_is_not_watched(shop):
    """What OpenTelemetry was asked to leave alone is left alone."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    engine, telemetry = shop
    with telemetry.root(), suppress_instrumentation(), engine.connect() as connection:
        connection.execute(select(Author.id)).all()
    assert queries(telemetry) == []


def test_sixty_four_threads_give_exact_totals(engine, telemetry):
    """Every statement once, whatever runs beside it."""

    def work():
        with telemetry.root(), engine.connect() as connection:
            for number in range(50):
                connection.execute(text("SELECT id FROM authors WHERE id = :n"), {"n": number}).all()

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roots = [span for span in telemetry.spans() if span.kind == "SERVER"]
    assert len(queries(telemetry)) == 64 * 50
    assert [span.attributes["dbsight.db.calls"] for span in roots] == [50] * 64
    assert telemetry.processor.analyzer.snapshot().calls == 64 * 50
    assert sum(point.count for point in telemetry.points("db.client.operation.duration")) == 64 * 50


@pytest.mark.parametrize(
    "setting", [{"query_text": "off"}, {"query_text": "raw"}, {"parameters": "full"}, {"code_location": "off"}]
)
def test_the_settings_of_a_query_span(tmp_path, make_telemetry, setting):
    """Text off and raw, parameters, no call site."""
    from dbsight import config

    config.use(config.Settings(**setting))
    telemetry = make_telemetry()
    engine = create_engine(f"sqlite:///{tmp_path / 'set.db'}")
    statement = f"SELECT 1 AS n, 'secret' AS s, :p AS p /* {next(iter(setting))} {next(iter(setting.values()))} */"
    with telemetry.root(), engine.connect() as connection:
        connection.execute(text(statement), {"p": "value"}).all()
    (span,) = queries(telemetry)
    attributes = span.attributes
    wanted = {
        "off": ("db.query.text" not in attributes) if "query_text" in setting else ("code.file.path" not in attributes),
        "raw": "'secret'" in attributes.get("db.query.text", ""),
        "full": attributes.get("db.query.parameter.0") == "value",
    }
    assert wanted[next(iter(setting.values()))]
