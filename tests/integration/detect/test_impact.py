"""What a finding promises to save is what its fix saves, behind a network where each round trip takes 15 ms.

The fault and its fix run on the same server, and the times of both are compared with each other: a slow machine slows
down both.
"""

import asyncio
import contextlib
import itertools
import statistics
import time
import tracemalloc

import psycopg
import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, joinedload

import dbsight
from dbsight.config import Settings
from integration.detect import shop
from integration.detect.shop import Customer, Order
from latency import distant

DELAY = 0.015
TABLES = ("orders", "stock", "log", "carts", "customers", "visits")


def found(telemetry, rule):
    """What a rule found in all windows."""
    telemetry.processor.analyzer.finish()
    merged = telemetry.processor.analyzer.snapshot().findings
    return [each for each in merged if each.finding.rule == rule]


@pytest.fixture
def saved(telemetry):
    """What a fix saves, s: the better of two runs of each, as the first one compiles and prepares."""

    def run(work, name):
        began = time.perf_counter()
        with telemetry.root(name):
            work()
        return time.perf_counter() - began

    def compare(fault, fix):
        return min(run(fault, "GET /fault") for _ in range(2)) - min(run(fix, "GET /fix") for _ in range(2))

    return compare


def promised(telemetry, rule):
    """What the only finding of a rule says that its fix saves in one request, s; it is about the fault."""
    (merged,) = found(telemetry, rule)
    assert (merged.finding.route, merged.windows) == ("GET /fault", 2)
    return merged.impact / merged.windows


@pytest.fixture
def far(postgresql):
    """PostgreSQL behind the network."""
    with distant(postgresql, DELAY) as database:
        yield database


@pytest.fixture
def engine(far):
    """An engine on it."""
    engine = sa.create_engine(far.url("postgresql+psycopg"))
    yield engine
    engine.dispose()


@pytest.fixture
def filled(engine, postgresql):
    """The same with the shop in it, filled without the network."""
    near = sa.create_engine(postgresql.url("postgresql+psycopg"))
    shop.fill(near)
    near.dispose()
    with engine.connect() as connection:  # connecting takes round trips of its own
        connection.scalar(sa.text("SELECT count(*) FROM orders"))
    return engine


@pytest.fixture
def instrumented(telemetry):
    """Instruments clients beside SQLAlchemy, for one test."""
    with contextlib.ExitStack() as stack:

        def instrument(instrumentor):
            instrumentor.instrument(
                tracer_provider=telemetry.tracer_provider,
                meter_provider=telemetry.meter_provider,
                skip_dep_check=True,
            )
            stack.callback(instrumentor.uninstrument)

        yield instrument


def test_an_eager_load_saves_what_n_plus_one_promises(telemetry, saved, filled):
    """A customer for each order."""

    def load(query):
        with Session(filled) as session:
            for order in session.scalars(query.limit(20)):
                assert order.customer.name

    query = sa.select(Order)
    really = saved(lambda: load(query), lambda: load(query.options(joinedload(Order.customer))))
    assert really / 2 < promised(telemetry, "n_plus_one") < really * 2


def test_keeping_a_result_saves_what_redundant_query_promises(telemetry, saved, filled):
    """The same query ten times, and once."""

    def ask(times):
        with filled.connect() as connection:
            for _ in range(times):
                connection.scalar(sa.select(Customer.name).where(Customer.id == 1))

    really = saved(lambda: ask(10), lambda: ask(1))
    assert really / 2 < promised(telemetry, "redundant_query") < really * 2


def test_one_statement_saves_what_row_by_row_write_promises(telemetry, saved, filled):
    """Twenty rows, one by one and together."""
    keys = itertools.count(5000)

    def rows():
        return [{"id": next(keys), "name": "new"} for _ in range(20)]

    def one_by_one():
        with filled.begin() as connection:
            for row in rows():
                connection.execute(sa.insert(Customer.__table__).values(row))

    def together():
        with filled.begin() as connection:
            connection.execute(sa.insert(Customer.__table__), rows())

    really = saved(one_by_one, together)
    assert really / 2 < promised(telemetry, "row_by_row_write") < really * 2


def test_one_command_saves_what_redis_chatter_promises(telemetry, saved, instrumented, redis_server):
    """Thirty keys."""
    instrumented(dbsight.RedisInstrumentor())
    with distant(redis_server, DELAY) as database, contextlib.closing(redis.Redis.from_url(database.url())) as client:
        keys = [f"price:{number}" for number in range(30)]
        client.mset(dict.fromkeys(keys, 1))
        really = saved(lambda: [client.get(key) for key in keys], lambda: client.mget(keys))
        assert really / 2 < promised(telemetry, "redis_chatter") < really * 2


def place(connection):
    """Writes to six tables, none of which needs the answer to another."""
    for table in TABLES:
        connection.execute(f"INSERT INTO {table} (id) VALUES (%s)", (1,))


def place_at_once(connection):
    """The same in one round trip."""
    with connection.pipeline():
        place(connection)


def test_a_pipeline_saves_what_serial_writes_promises(telemetry, saved, instrumented, far):
    """Six tables, with psycopg's pipeline and without; the finding is gone with it."""
    instrumented(dbsight.PsycopgInstrumentor())
    with psycopg.connect(far.url(), autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE {table} (id int)")
        really = saved(lambda: place(connection), lambda: place_at_once(connection))
        (row,) = connection.execute(f"SELECT {' + '.join(f'(SELECT count(*) FROM {each})' for each in TABLES)}")
    assert row == (4 * len(TABLES),)
    assert really / 2 < promised(telemetry, "serial_writes") < really * 2


def test_a_cache_saves_what_cacheable_query_promises(telemetry, filled):
    """Fifty requests for the same settings; a table that is written meanwhile is left alone."""
    query = sa.select(Customer.name).where(Customer.id == 1)
    written = sa.select(Order.id).where(Order.id == 1)
    began = time.perf_counter()
    for _ in range(50):
        with telemetry.root("GET /page"), filled.connect() as connection:
            connection.scalar(query)
    spent = time.perf_counter() - began
    for number in range(60):
        with telemetry.root("GET /order"), filled.begin() as connection:
            connection.scalar(written)
            if number % 10 == 0:
                connection.execute(sa.update(Order).where(Order.id == 1).values(note=str(number)))
    (cacheable,) = found(telemetry, "cacheable_query")
    assert cacheable.finding.statement.targets == ("customers",)
    # The request has BEGIN and ROLLBACK of the pool besides, which a cache saves, too.
    assert spent / 6 < cacheable.impact < spent


def test_a_semaphore_ends_what_concurrency_over_pool_names(telemetry, postgresql):
    """Twenty tasks on three connections wait; three at a time do not."""
    query = sa.text("SELECT pg_sleep(0.03) AS pause")

    async def load(engine, limit):
        async with limit, engine.connect() as connection:
            await connection.execute(query)

    async def work(route, at_once):
        limit = asyncio.Semaphore(at_once)
        engine = create_async_engine(postgresql.url("postgresql+asyncpg"), pool_size=3, max_overflow=0)
        with telemetry.root(route):
            await asyncio.gather(*[load(engine, limit) for _ in range(20)])
        names = [each.finding.severity for each in found(telemetry, "concurrency_over_pool")]
        await engine.dispose()
        return names

    assert asyncio.run(work("GET /limited", 3)) == []
    assert asyncio.run(work("GET /all", 20)) == ["warning"]


def test_streaming_ends_what_memory_spike_names(make_telemetry, postgresql):
    """As tracemalloc counts it: all rows at once, and a thousand at a time."""
    query = sa.text("SELECT number, repeat('x', 200) AS note FROM generate_series(1, 40000) AS number")
    engine = sa.create_engine(postgresql.url("postgresql+psycopg"))
    tracemalloc.start()
    try:
        telemetry = make_telemetry(settings=Settings(memory_spike_threshold=5_000_000))
        with telemetry.root("GET /streamed"), engine.connect() as connection:
            streamed = connection.execute(query.execution_options(yield_per=1000))
            assert sum(1 for _ in streamed) == 40_000
        assert found(telemetry, "memory_spike") == []
        with telemetry.root("GET /all"), engine.connect() as connection:
            assert len(connection.execute(query).all()) == 40_000
        (spike,) = found(telemetry, "memory_spike")
    finally:
        tracemalloc.stop()
        engine.dispose()
    assert spike.finding.route == "GET /all"
    assert "tracemalloc" in spike.finding.description


def test_a_pool_of_its_profile_ends_what_pool_profile_mismatch_names(make_telemetry, postgresql):
    """Declared as one that reads."""
    telemetry = make_telemetry(settings=Settings(pool_profile="read"))

    def use(**options):
        engine = sa.create_engine(postgresql.url("postgresql+psycopg"), **options)
        with engine.connect() as connection:
            connection.scalar(sa.text("SELECT count(*) FROM pg_class"))
        names = [each.finding.suggestion for each in found(telemetry, "pool_profile_mismatch")]
        engine.dispose()
        return names

    (suggestion,) = use(pool_size=2, max_overflow=1)
    assert "50" in suggestion
    assert use(pool_size=20, max_overflow=30) == []


# -- In process ---------------------------------------------------------------------------------------------------
@pytest.fixture
def in_process(tmp_path):
    """The shop on SQLite, where the driver takes a small part of what a query costs."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    shop.fill(engine)
    with Session(engine) as session:
        session.add_all(Customer(id=number, name=f"customer {number}") for number in range(1000, 1200))
        session.flush()
        session.add_all(Order(id=number, customer_id=number, note="new", status="many") for number in range(1000, 1200))
        session.commit()
    yield engine
    engine.dispose()


@pytest.fixture
def ratio(telemetry):
    """What a rule promises, by the time of the processor that its fix saves: other processes take none of that.

    The fault and its fix take turns, and the middle one of the rounds counts.
    """

    def run(work, name):
        with telemetry.root(name):
            began = time.thread_time()
            work()
            return time.thread_time() - began

    def compare(rule, fault, fix, rounds=5):
        ratios = []
        told = 0.0
        for number in range(rounds + 1):
            really = run(fault, "GET /fault") - run(fix, "GET /fix")
            (merged,) = found(telemetry, rule)
            assert merged.finding.route == "GET /fault"
            if number:  # the first one compiles and prepares
                ratios.append((merged.impact - told) / really)
            told = merged.impact
        return statistics.median(ratios)

    return compare


def test_an_eager_load_in_process_saves_what_n_plus_one_promises(ratio, in_process):
    """Two hundred customers; nearly all of their time is the ORM's."""

    def load(query):
        with Session(in_process) as session:
            for order in session.scalars(query):
                assert order.customer.name

    query = sa.select(Order).where(Order.status == "many")
    eager = query.options(joinedload(Order.customer))
    assert 0.5 < ratio("n_plus_one", lambda: load(query), lambda: load(eager)) < 2


def test_a_join_in_process_saves_what_n_plus_one_promises_without_an_orm(ratio, in_process):
    """The same with Core."""
    keys = sa.select(Order.customer_id).where(Order.status == "many")
    name = sa.select(Customer.name)

    def one_by_one():
        with in_process.connect() as connection:
            for key in connection.scalars(keys).all():
                connection.scalar(name.where(Customer.id == key))

    def joined():
        with in_process.connect() as connection:
            connection.execute(name.where(Customer.id.in_(keys))).all()

    assert 0.5 < ratio("n_plus_one", one_by_one, joined) < 2


def test_one_statement_in_process_saves_what_row_by_row_write_promises(ratio, in_process):
    """A flush for each row."""
    keys = itertools.count(5000)

    def one_by_one():
        with Session(in_process) as session:
            for _ in range(100):
                session.add(Customer(id=next(keys), name="new"))
                session.flush()
            session.rollback()

    def together():
        with Session(in_process) as session:
            session.execute(sa.insert(Customer), [{"id": next(keys), "name": "new"} for _ in range(100)])
            session.rollback()

    assert 0.5 < ratio("row_by_row_write", one_by_one, together) < 2
