"""Profiles of a block of code, without any OpenTelemetry set-up; operations measured by name."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import ForeignKey, create_engine, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload
from sqlalchemy.pool import StaticPool

import dbsight
from dbsight import config, profiler, scope


class Base(DeclarativeBase):
    """Of both tables."""


class User(Base):
    """Writes articles."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    articles: Mapped[list["Article"]] = relationship()


class Article(Base):
    """Of one user."""

    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


@pytest.fixture
def engine(sqlalchemy, monkeypatch):
    """Ten users with an article each; only SQLAlchemy is instrumented."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(User(id=number, name=f"user {number}", articles=[Article()]) for number in range(1, 11))
        session.commit()
    yield engine
    engine.dispose()
    assert scope.profiling == 0


def test_a_profile_has_the_queries_that_ran_inside_it(engine):
    """Text, duration, rows and line of each; values only where they may be recorded."""
    with Session(engine) as session:
        session.execute(text("SELECT name FROM users WHERE id = 3")).all()
        with dbsight.profile() as profile:
            session.execute(text("SELECT name FROM users WHERE id = :id"), {"id": 4}).all()
            session.execute(text("UPDATE users SET name = 'SECRET' WHERE id < 4"))
        session.execute(text("SELECT count(*) FROM users")).all()
    read, written = profile.queries
    assert profile.query_count == 2
    assert profile.total_duration_ms == read.duration_ms + written.duration_ms > 0
    assert profile.average_duration_ms == profile.total_duration_ms / 2
    assert (read.sql, read.row_count, read.params) == ("SELECT name FROM users WHERE id = ?", 1, None)
    assert (written.sql, written.row_count) == ("UPDATE users SET name = ? WHERE id < ?", 3)
    assert read.call_site.rpartition(":")[0].endswith("test_profiler.py")


def test_parameters_are_shown_where_they_may_be_recorded(engine):
    """As the driver gets them."""
    config.use(config.current().replaced(parameters="full"))
    with dbsight.profile() as profile, Session(engine) as session:
        session.get(User, 4)
    (query,) = profile.queries
    assert list(query.params.values()) == ["4"]


def test_a_profile_names_each_n_plus_one_and_its_fix(engine):
    """Applied, the finding is gone and two queries are left."""
    with Session(engine) as session, dbsight.QueryProfiler(analyze=True) as profile:
        for user in session.scalars(select(User)).all():
            assert len(user.articles) == 1
    (pattern,) = profile.detect_n_plus_one()
    assert pattern.count == 10
    assert pattern.main_query.startswith("SELECT users.id")
    assert pattern.repeated_query.startswith("SELECT articles.id")
    assert pattern.suggestion == "select(User).options(selectinload(User.articles))"
    assert "User.articles" in pattern.description
    summary = profile.summary()
    assert summary.startswith("11 queries")
    assert pattern.suggestion in summary
    assert "<td>SELECT articles</td><td>10</td>" in profile._repr_html_()
    with Session(engine) as session, dbsight.profile() as fixed:
        for user in session.scalars(select(User).options(selectinload(User.articles))).all():
            assert len(user.articles) == 1
    assert (fixed.query_count, fixed.detect_n_plus_one()) == (2, [])


def test_the_table_of_a_profile_is_escaped_in_a_notebook(engine):
    """Text of the application is no markup."""
    with dbsight.profile() as profile, engine.connect() as connection:
        connection.execute(text('SELECT 1 AS x FROM users AS "<script>"')).all()
    assert "<script>" not in profile._repr_html_()


def test_each_of_nested_profiles_has_what_ran_inside_it(engine):
    """The outer one has the queries of the inner one, too; a decorated function adds to its profile at each call."""
    outer, inner = dbsight.profile(), dbsight.profile()

    @inner
    def count():
        with engine.connect() as connection:
            return connection.execute(text("SELECT count(*) FROM users")).scalar()

    with outer:
        assert (count(), count()) == (10, 10)
        with engine.connect() as connection:
            connection.execute(text("SELECT count(*) FROM articles")).scalar()
    assert (outer.query_count, inner.query_count) == (3, 2)


def test_threads_that_a_profile_starts_are_part_of_it_and_others_are_not(engine):
    """Started inside, and submitted to a pool; not what another thread does meanwhile."""

    def work():
        with engine.connect() as connection:
            connection.execute(text("SELECT count(*) FROM users")).scalar()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
        with dbsight.profile() as profile:
            pool.submit(work).result()
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        pool.submit(work).result()
    assert profile.query_count == 2
    with dbsight.profile() as profile:
        pass
    assert profile.query_count == 0


def test_tasks_do_not_see_each_others_queries(sqlalchemy, monkeypatch, tmp_path):
    """Gathered, each with a profile of its own, around an asynchronous engine."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)

    async def task(engine, number):
        async with dbsight.profile() as profile:
            for _ in range(number):
                async with engine.connect() as connection:
                    await connection.execute(text("SELECT 1 AS x FROM sqlite_master"))
                await asyncio.sleep(0)
        return profile.query_count

    async def main():
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/tasks.db")
        try:
            return await asyncio.gather(*(task(engine, number) for number in range(5)))
        finally:
            await engine.dispose()

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_a_block_that_raises_leaves_its_queries_in_the_profile(engine):
    """And the exception goes on to the application."""
    with pytest.raises(ZeroDivisionError), dbsight.profile() as profile, engine.connect() as connection:  # noqa: PT012
        connection.execute(text("SELECT count(*) FROM users")).scalar()
        raise ZeroDivisionError
    assert profile.query_count == 1


def test_operations_are_measured_by_name(monkeypatch, capsys, caplog):
    """Average, minimum and maximum, a histogram, and a report."""
    caplog.set_level(logging.WARNING)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(profiler, "get_meter_provider", lambda: provider)
    monitor = dbsight.PerformanceMonitor()
    for seconds in (0.1, 0.3):
        monitor.add("create", seconds)

    async def search():
        async with monitor.measure("search"):
            await asyncio.sleep(0.01)

    asyncio.run(search())
    created, searched = monitor.metrics["create"], monitor.metrics["search"]
    assert (created.count, created.min, created.max) == (2, 0.1, 0.3)
    assert created.average == pytest.approx(0.2)
    assert searched.min == searched.max >= 0.01
    assert monitor.report().splitlines()[0] == "create: avg=200.00ms min=100.00ms max=300.00ms"
    assert capsys.readouterr().out.startswith("create: avg=200.00ms")
    metric = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0]
    assert metric.name == "dbsight.operation.duration"
    assert {point.attributes["operation"]: point.count for point in metric.data.data_points} == {
        "create": 2,
        "search": 1,
    }
    assert not caplog.records


def test_a_query_whose_rows_nobody_fetches_is_counted(engine):
    """It is over with the profile; its rows can be fetched as ever."""
    with engine.connect() as connection:
        with dbsight.profile() as profile:
            result = connection.execute(text("SELECT name FROM users"))
        assert (profile.query_count, profile.queries[0].summary) == (1, "SELECT users")
        assert len(result.all()) == 10


def test_a_profile_agrees_with_the_exported_spans(exported, sqlalchemy, monkeypatch):
    """Statement for statement; the profile is a span of its own around them."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)
    with dbsight.profile() as profile:
        for number in range(7):
            dbsight.record_query(f"SELECT {number} FROM t", 0.01 * number)
    spans = exported()
    assert profile.query_count == 7
    (around,) = [span for span in spans if span.name == "dbsight.profile"]
    queries = [span for span in spans if span.kind.name == "CLIENT"]
    assert [query.sql for query in profile.queries] == [span.attributes["db.query.text"] for span in queries]
    assert {span.parent.span_id for span in queries} == {around.context.span_id}
    durations = [(span.end_time - span.start_time) / 1e6 for span in queries]
    assert [query.duration_ms for query in profile.queries] == pytest.approx(durations, abs=1)
    assert profile.total_duration_ms == pytest.approx(sum(durations), abs=1)


def test_calls_of_a_decorated_function_may_overlap(exported, monkeypatch, caplog):
    """Each has a span of its own and its own time, also where the first to begin is the first to end."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)
    profile, monitor = dbsight.profile(), dbsight.PerformanceMonitor()

    @profile
    @monitor.measure("ask")
    async def ask(begun, goes_on):
        begun.set()
        await goes_on.wait()
        dbsight.record_query("SELECT a FROM t", 0.1)

    async def main():
        first, second, both = asyncio.Event(), asyncio.Event(), asyncio.Event()
        one = asyncio.create_task(ask(first, second))
        await first.wait()
        two = asyncio.create_task(ask(second, both))
        await one
        both.set()
        await two

    asyncio.run(main())
    assert profile.query_count == monitor.metrics["ask"].count == 2
    spans = {span.context.span_id: span for span in exported()}
    measured = [span for span in spans.values() if span.name == "ask"]
    assert [spans[span.parent.span_id].name for span in measured] == ["dbsight.profile"] * 2
    assert len({span.parent.span_id for span in measured}) == 2
    assert not caplog.records
