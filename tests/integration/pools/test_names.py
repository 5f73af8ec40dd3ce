"""One name for one database, whatever library's pool leads to it and however it was told where it is."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import asyncpg
import psycopg
import psycopg_pool
import pymysql
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from subjects import SUBJECTS, collect, in_threads, named

from dbsight import semconv
from dbsight.instrument import pools
from dbsight.instrument.pools import registry
from waiting import until


def names():
    """The names of all pools that are alive."""
    collect()
    return {each.name for each in pools.snapshots()}


def queried(engine):
    """Run one statement."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1").all()
    return engine


def places(telemetry):
    """Address, port and namespace of the spans of queries."""
    return {
        tuple(span.attributes.get(name) for name in (semconv.SERVER_ADDRESS, semconv.SERVER_PORT, semconv.DB_NAMESPACE))
        for span in telemetry.spans()
        if semconv.DB_QUERY_TEXT in span.attributes
    }


@pytest.fixture
def socket(postgresql):
    """The directory of PostgreSQL's UNIX socket."""
    with psycopg.connect(postgresql.url()) as connection:
        (directories,) = connection.execute("SHOW unix_socket_directories").fetchone()
    directory = directories.split(",")[0].strip()
    if not Path(directory, f".s.PGSQL.{postgresql.port}").exists():
        pytest.skip("the server has no UNIX socket here")
    return directory


async def opened_by_asyncpg(**where):
    """A pool of asyncpg, used once."""
    async with asyncpg.create_pool(min_size=1, max_size=1, **where) as pool:
        await pool.fetchval("SELECT 1")
        return names()


def test_a_socket_has_one_name(telemetry, postgresql, socket):
    """SQLAlchemy on psycopg and asyncpg, psycopg_pool and asyncpg's pool call it alike."""
    name = f"{socket}:{postgresql.port}/{postgresql.name}"
    query = f"?host={socket}&port={postgresql.port}"
    url = f"{postgresql.user}@/{postgresql.name}{query}"
    engine = queried(sqlalchemy.create_engine(f"postgresql+psycopg://{url}"))
    assert names() == {name}
    with psycopg_pool.ConnectionPool(
        f"host={socket} port={postgresql.port} dbname={postgresql.name} user={postgresql.user}", min_size=1
    ) as pool:
        pool.wait()
        assert names() == {name}
    found = asyncio.run(
        opened_by_asyncpg(host=socket, port=postgresql.port, database=postgresql.name, user=postgresql.user)
    )
    assert found == {name}

    async def on_loop():
        other = create_async_engine(f"postgresql+asyncpg://{url}")
        async with other.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")
        found = names()
        await other.dispose()
        return found

    assert asyncio.run(on_loop()) == {name}
    assert places(telemetry) == {(socket, postgresql.port, postgresql.name)}
    engine.dispose()


def test_a_service_file_says_where_it_is(telemetry, postgresql, tmp_path, monkeypatch):
    """``postgresql+psycopg:///?service=shop`` has neither host nor database; nor has psycopg_pool's conninfo."""
    path = tmp_path / "pg_service.conf"
    path.write_text(
        f"[shop]\nhost={postgresql.host}\nport={postgresql.port}\ndbname={postgresql.name}\nuser={postgresql.user}\n"
        + (f"password={postgresql.password}\n" if postgresql.password else "")
    )
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    name = f"{postgresql.host}:{postgresql.port}/{postgresql.name}"
    engine = queried(sqlalchemy.create_engine("postgresql+psycopg:///?service=shop"))
    assert names() == {name}
    assert places(telemetry) == {(postgresql.host, postgresql.port, postgresql.name)}
    engine.dispose()
    with psycopg_pool.ConnectionPool("service=shop", min_size=1) as pool:
        pool.wait()
        assert names() == {name}


def test_a_creator_and_connect_args_say_where_it_is(telemetry, postgresql):
    """The connection is asked once; the URL says nothing."""
    where = {
        "host": postgresql.host,
        "port": postgresql.port,
        "dbname": postgresql.name,
        "user": postgresql.user,
        "password": postgresql.password,
    }
    name = f"{postgresql.host}:{postgresql.port}/{postgresql.name}"
    engines = [
        queried(sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(**where))),
        queried(sqlalchemy.create_engine("postgresql+psycopg://", connect_args=where)),
    ]
    assert names() == {name}
    assert {state.pools for state in pools.snapshots()} == {2}
    assert places(telemetry) == {(postgresql.host, postgresql.port, postgresql.name)}
    for engine in engines:
        engine.dispose()


def test_a_creator_of_pymysql_says_where_it_is(telemetry, mariadb):
    """The same; and the first connection says too that this MySQL is a MariaDB."""

    def creator():
        return pymysql.connect(
            host=mariadb.host, port=mariadb.port, user=mariadb.user, password=mariadb.password, database=mariadb.name
        )

    engine = queried(sqlalchemy.create_engine("mysql+pymysql://", creator=creator))
    (state,) = pools.snapshots()
    assert (state.name, state.system) == (f"{mariadb.host}:{mariadb.port}/{mariadb.name}", "mariadb")
    assert places(telemetry) == {(mariadb.host, mariadb.port, mariadb.name)}
    engine.dispose()


def test_a_creator_of_sqlite_says_which_file(telemetry, tmp_path):
    """Its URL would be that of a database in memory."""
    engine = queried(
        sqlalchemy.create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(tmp_path / "shop.db"), poolclass=sqlalchemy.pool.QueuePool
        )
    )
    assert names() == {"shop.db"}
    assert places(telemetry) == {(None, None, "shop.db")}
    engine.dispose()


def test_a_pool_without_an_engine_says_where_it_leads(telemetry, postgresql):
    """Only its connections know."""
    pool = sqlalchemy.pool.QueuePool(lambda: psycopg.connect(postgresql.url()), pool_size=1)
    pool.connect().close()
    (state,) = pools.snapshots()
    assert (state.name, state.system) == (f"{postgresql.host}:{postgresql.port}/{postgresql.name}", "postgresql")
    assert state.created - state.closed == state.used + state.idle == 1
    pool.dispose()


@pytest.mark.parametrize(
    "subject_and_server",
    [pair for pair in SUBJECTS if not pair[1].shares and pair[1].library != "redis"],
    indirect=True,
    ids=named,
)
def test_a_pool_that_is_in_use_when_it_is_first_watched(make_telemetry, subject, database, state_of):
    """Four threads take and give back meanwhile: it has its name and system, once, and what it keeps is counted."""
    if subject.refuses and subject.limit < 4:
        pytest.skip("it refuses the second thread")
    pool = subject.open(database, timeout=30)
    with subject.taken(pool):
        pass
    over = threading.Event()

    def work(_):
        while not over.is_set():
            with subject.taken(pool):
                pass

    working = threading.Thread(target=in_threads, args=(4, work))
    working.start()
    try:
        for last in (False, False, True):
            telemetry = make_telemetry()
            state = state_of(database)
            found = names()
            assert subject.name(database) in found
            assert not found & {type(pool).__name__, getattr(subject, "kind", "")}
            assert (state.system == database.system, state.pools) == (True, 1)
            over.wait(0.1)
            if not last:
                telemetry.close()
    finally:
        over.set()
        working.join()
    # What was closed unseen while functions were wrapped one by one is put right once nothing is out.
    assert until(lambda: (each := state_of(database)).used == 0 and each.created - each.closed == each.idle)
    assert state_of(database).pending == 0
    subject.close(pool)


def test_a_name_that_is_no_text_is_written_as_one(telemetry):
    """SQLAlchemy takes any object for a pool's name; figures are sorted by it."""
    engines = [
        sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.QueuePool, pool_logging_name=name)
        for name in (5, "five")
    ]
    assert len(engines) == 2
    assert [state.name for state in registry.snapshots()] == ["5", "five"]
