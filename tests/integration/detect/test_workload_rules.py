"""Rules about how much is asked for, and when, on a real PostgreSQL: found, fixed, and saved as promised."""

import asyncio
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from dbsight import semconv
from dbsight.config import Settings
from dbsight.report.causes import causes
from dbsight.report.json import document

NUMBERS = [sa.text(f"SELECT pg_sleep(0.15) AS {name}") for name in ("orders", "reviews", "stock")]


def findings(telemetry, rule):
    """What a rule found."""
    found = [each.finding for each in telemetry.processor.analyzer.snapshot().findings]
    return [each for each in found if each.rule == rule]


def test_gathering_saves_what_serial_awaits_promises(telemetry, postgresql):
    """Three queries of 150 ms: one after the other, and at once."""

    async def ask(engine, statement):
        async with engine.connect() as connection:
            return await connection.scalar(statement)

    async def work():
        engine = create_async_engine(postgresql.url("postgresql+asyncpg"))
        await asyncio.gather(*[ask(engine, statement) for statement in NUMBERS])  # connections are made
        telemetry.processor.analyzer.drain()
        began = time.perf_counter()
        with telemetry.root("GET /serial"):
            for statement in NUMBERS:
                await ask(engine, statement)
        serial = time.perf_counter() - began
        began = time.perf_counter()
        with telemetry.root("GET /gathered"):
            await asyncio.gather(*[ask(engine, statement) for statement in NUMBERS])
        gathered = time.perf_counter() - began
        await engine.dispose()
        return serial - gathered

    saved = asyncio.run(work())
    (found,) = findings(telemetry, "serial_awaits")
    assert (found.route, found.severity, found.count) == ("GET /serial", "warning", 3)
    assert found.impact == pytest.approx(saved, abs=0.15)


def test_a_large_result_is_found_until_it_is_streamed_or_limited(telemetry, postgresql):
    """The suggestion of the finding makes it go away."""
    engine = sa.create_engine(postgresql.url("postgresql+psycopg"))
    rows = sa.text("SELECT number FROM generate_series(1, 12000) AS number")
    with telemetry.root("GET /all"), engine.connect() as connection:
        assert len(connection.execute(rows).all()) == 12_000
    (found,) = findings(telemetry, "unbounded_fetch")
    assert (found.severity, found.current_value) == ("warning", 12_000)
    with telemetry.root("GET /streamed"), engine.connect() as connection:
        streamed = connection.execute(rows.execution_options(yield_per=1000))
        assert sum(1 for _ in streamed) == 12_000
    with telemetry.root("GET /limited"), engine.connect() as connection:
        limited = sa.text("SELECT number FROM generate_series(1, 12000) AS number LIMIT 11000")
        assert len(connection.execute(limited).all()) == 11_000
    assert [each.route for each in findings(telemetry, "unbounded_fetch")] == ["GET /all"]
    engine.dispose()


def test_locks_that_are_not_to_be_had_are_a_storm_and_a_burst(telemetry, postgresql):
    """NOWAIT in a loop; with growing pauses the storm is over."""
    engine = sa.create_engine(postgresql.url("postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE stock (id int PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO stock VALUES (1)"))

    def attempt():
        with engine.connect() as connection, pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.text("SELECT id FROM stock WHERE id = :id FOR UPDATE NOWAIT"), {"id": 1})

    with engine.begin() as holder:
        holder.execute(sa.text("SELECT id FROM stock FOR UPDATE"))
        with telemetry.root("POST /storm"):
            for _ in range(6):
                attempt()
        with telemetry.root("POST /backoff"):
            for number in range(6):
                attempt()
                time.sleep(0.01 * 2**number)
    (storm,) = findings(telemetry, "retry_storm")
    assert (storm.route, storm.count, storm.suggestion.partition("(")[0]) == ("POST /storm", 6, "time.sleep")
    bursts = findings(telemetry, "error_burst")
    assert {each.title for each in bursts} == {"Queries fail repeatedly with a lock timeout"}
    engine.dispose()


def test_a_loop_that_reads_and_writes_is_one_fault_everywhere(telemetry, postgresql):
    """The event of the write names the read as its root, the report has one cause, JSON keeps it."""
    engine = sa.create_engine(postgresql.url("postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE stock (id int PRIMARY KEY, pieces int)"))
        connection.execute(sa.text("INSERT INTO stock SELECT number, 9 FROM generate_series(1, 20) AS number"))
    telemetry.clear()

    def sell(connection):
        for number in range(1, 21):
            row = {"id": number}
            pieces = connection.scalar(sa.text("SELECT pieces FROM stock WHERE id = :id"), row)
            connection.execute(sa.text("UPDATE stock SET pieces = :left WHERE id = :id"), {**row, "left": pieces - 1})

    with telemetry.root("POST /sale"), engine.begin() as connection:
        sell(connection)
    engine.dispose()
    (root,) = [span for span in telemetry.spans() if span.name == "POST /sale"]
    events = {
        each.attributes[semconv.FINDING_RULE]: each.attributes for each in root.events_named(semconv.FINDING_EVENT)
    }
    assert set(events) == {"n_plus_one", "row_by_row_write"}
    ids = {rule: each[semconv.FINDING_ID] for rule, each in events.items()}
    named = {rule: each.get(semconv.FINDING_ROOT) for rule, each in events.items()}
    assert sorted(named.values(), key=str) == sorted([None, *(set(named.values()) & set(ids.values()))], key=str)
    snapshot = telemetry.processor.analyzer.snapshot()
    (cause,) = causes(snapshot.findings)
    assert len(cause.all) == 2
    saved = document(snapshot)["findings"]
    assert {each["id"]: each["root"] or None for each in saved} == {ids[rule]: named[rule] for rule in ids}


def test_who_dawdles_over_a_stream_is_told_as_that(make_telemetry, postgresql):
    """It is no slow query and no long transaction; page by page, nothing is found."""
    limits = Settings(long_transaction_threshold=0.2, slow_query_threshold=0.25)
    telemetry = make_telemetry(settings=limits)
    engine = sa.create_engine(postgresql.url("postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE lines AS SELECT number AS id FROM generate_series(1, 300) AS number"))
    with telemetry.root("GET /stream"), engine.begin() as connection:
        query = sa.text("SELECT id FROM lines").execution_options(yield_per=50)
        for page in connection.execute(query).partitions(50):
            time.sleep(0.08)
            assert len(page) == 50
    last = 0
    with telemetry.root("GET /pages"):
        while last < 300:
            with engine.begin() as connection:
                query = sa.text("SELECT id FROM lines WHERE id > :last ORDER BY id LIMIT 50")
                last = connection.scalars(query, {"last": last}).all()[-1]
            time.sleep(0.08)
    engine.dispose()
    (slow,) = telemetry.processor.analyzer.snapshot().findings
    assert (slow.finding.rule, slow.finding.route) == ("slow_consumer", "GET /stream")
    assert slow.finding.current_value == pytest.approx(0.45, abs=0.25)


def test_a_count_that_tests_existence_is_found_until_it_is_exists(telemetry, postgresql):
    """On a table where counting takes its time."""
    engine = sa.create_engine(postgresql.url("postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE visits AS SELECT n AS id FROM generate_series(1, 1000000) AS n"))
    count = sa.text("SELECT count(*) FROM visits")
    exists = sa.text("SELECT EXISTS (SELECT 1 FROM visits)")
    with telemetry.root("GET /count"), engine.connect() as connection:
        assert connection.scalar(count) > 0
    with telemetry.root("GET /exists"), engine.connect() as connection:
        assert connection.scalar(exists)
    engine.dispose()
    (found,) = findings(telemetry, "text_smell")
    assert (found.route, found.metric) == ("GET /count", "duration")
