"""The catalogue of client libraries, and what is told by it."""

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

import dbsight
from dbsight import catalog
from dbsight.detect import pool_advice

WATCHED = [client for client in catalog.CLIENTS if client.instrumentor]


@pytest.mark.parametrize("client", WATCHED, ids=lambda client: client.name)
def test_an_instrumentor_is_where_its_row_says_and_requires_what_it_says(client):
    """The class is public, and its dependencies are those of the row."""
    ours = client.instrumentor
    kind = getattr(importlib.import_module(ours.module), ours.name)
    assert getattr(dbsight, ours.name) is kind
    assert tuple(kind().instrumentation_dependencies()) == ((ours.requires,) if ours.requires else ())


def test_names_and_drivers_stand_in_one_row_each():
    """Else one row would hide another."""
    assert len(catalog.BY_NAME) == len(catalog.CLIENTS)
    assert len(catalog.BY_DRIVER) == sum(len(client.drivers) for client in catalog.CLIENTS)
    assert len(catalog.INSTRUMENTORS) == len(WATCHED) + sum(client.pool is not None for client in catalog.CLIENTS)


@pytest.mark.parametrize("names", [["pymysql"], ["sqlite3"], ["aiosqlite"]])
def test_a_library_is_disabled_by_its_name_or_by_that_of_upstreams_instrumentor(names):
    """Aiosqlite is what upstream's ``sqlite3`` instruments, too."""
    disabled = {library for point, (library, _) in catalog.INSTRUMENTORS.items() if catalog.is_disabled(point, names)}
    assert disabled == ({"sqlite3", "aiosqlite"} if names == ["sqlite3"] else set(names))


@pytest.mark.parametrize("point", catalog.INSTRUMENTORS)
def test_an_instrumentor_is_disabled_by_its_own_name_and_by_the_asterisk(point):
    """As OpenTelemetry's loader takes the variable; ``configure()`` does not ask that loader."""
    assert catalog.is_disabled(point, [point])
    assert catalog.is_disabled(point, ["*"])
    assert not catalog.is_disabled(point, ["django"])


def test_a_row_is_read_without_importing_anything_heavy():
    """The distribution reads it at every start."""
    program = "import sys, dbsight.catalog; print(sorted(n for n in sys.modules if n.partition('.')[0] == 'dbsight'))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['dbsight', 'dbsight.catalog']"


def pool(library, kind, *, asynchronous=False, role=""):
    """What suggested code depends on."""
    return SimpleNamespace(library=library, kind=kind, asynchronous=asynchronous, role=role)


@pytest.mark.parametrize(
    ("state", "resized", "given_back", "shared"),
    [
        (
            pool("sqlalchemy", "QueuePool"),
            "create_engine(url, pool_size=3, max_overflow=0)",
            "with engine.connect() as connection:",
            "engine = create_engine(url)  # once, at module level",
        ),
        (
            pool("sqlalchemy", "AsyncAdaptedQueuePool", asynchronous=True),
            "create_async_engine(url, pool_size=3, max_overflow=0)",
            "async with engine.connect() as connection:",
            "engine = create_async_engine(url)  # once, at module level",
        ),
        (
            pool("psycopg_pool", "ConnectionPool"),
            "ConnectionPool(conninfo, min_size=3, max_size=3)",
            "with pool.connection() as connection:",
            "pool = ConnectionPool(conninfo)  # once, at module level",
        ),
        (
            pool("asyncpg", "Pool", asynchronous=True),
            "await asyncpg.create_pool(dsn, min_size=3, max_size=3)",
            "async with pool.acquire() as connection:",
            "pool = await asyncpg.create_pool(dsn)  # once, when the application starts",
        ),
        (
            pool("redis", "ConnectionPool", asynchronous=True),
            "redis.asyncio.ConnectionPool.from_url(url, max_connections=3)",
            "async with redis.asyncio.Redis(connection_pool=pool) as client:",
            "pool = redis.asyncio.ConnectionPool.from_url(url)  # once, at module level",
        ),
        (
            pool("redis", "SentinelConnectionPool"),
            "sentinel.master_for(service, max_connections=3)",
            "with redis.Redis(connection_pool=pool) as client:",
            "pool = redis.ConnectionPool.from_url(url)  # once, at module level",
        ),
        (
            pool("redis", "SharedPool", role="master"),
            'dbsight.redis_pool("master", max_connections=3)',
            "with redis.Redis(connection_pool=pool) as client:",
            "pool = redis.ConnectionPool.from_url(url)  # once, at module level",
        ),
    ],
    ids=lambda value: f"{value.library} {value.kind}" if isinstance(value, SimpleNamespace) else "",
)
def test_suggested_code_is_that_of_the_library(state, resized, given_back, shared):
    """For threads and for tasks."""
    assert pool_advice.resized(state, 3) == resized
    assert pool_advice.given_back(state) == given_back
    assert pool_advice.shared(state) == shared


def test_a_pool_without_pooling_and_a_session_have_code_of_their_own():
    """What keeps connections in its place, and what closes a session."""
    assert pool_advice.pooled(pool("psycopg_pool", "NullConnectionPool")) == "ConnectionPool(conninfo)"
    assert pool_advice.pooled(pool("sqlalchemy", "NullPool")) == "create_engine(url)  # without poolclass=NullPool"
    session = pool("sqlalchemy", "QueuePool", asynchronous=True)
    assert pool_advice.given_back(session, session=True) == "async with AsyncSession(engine) as session:"
    assert pool_advice.resized(pool("psycopg_pool", "ConnectionPool"), 8) == "ConnectionPool(conninfo, max_size=8)"
