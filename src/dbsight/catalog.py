"""The client libraries, one row each: all that is known of one beside the file that instruments it.

To add a library: a row here; where dbsight watches it, a module below ``instrument/`` and its entry point in
``pyproject.toml``. The call site, the dialects of SQLAlchemy, suggested code, the distribution and ``dbsight doctor``
read it from here. Tables alone, for this is imported at start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Snippets(NamedTuple):
    """Suggested code for the pools of a library.

    Each may contain ``{kind}`` (class of the pool), ``{pooled}`` (the same without ``Null``), ``{size}``, ``{role}``,
    ``{with_}`` (``with`` or ``async with``), ``{engine}`` (``create_engine`` or ``create_async_engine``), ``{session}``
    (``Session`` or ``AsyncSession``), ``{aio}`` (``.asyncio`` or nothing) and ``{least}`` (a minimum size, where the
    default would be larger than ``{size}``).

    Attributes:
        resized: Creates the pool with ``{size}`` connections.
        given_back: Returns a connection in any case.
        shared: Creates one pool for the process.
        pooled: Creates a pool that keeps connections, instead of one that does not; empty where there is none.
        session: As ``given_back``, for the session of an ORM.
        grown: For connections that become more and more; empty where nothing is known.
        with_role: As ``resized``, for a pool of ``dbsight.redis_pool``.
        kinds: As ``resized``, by the classes of pools that are created in another way.
        least: Default minimum size; a maximum below it is an error.
    """

    resized: str
    given_back: str
    shared: str
    pooled: str = ""
    session: str = ""
    grown: str = ""
    with_role: str = ""
    kinds: Mapping[str, str] = {}
    least: int = 0


class Instrumentor(NamedTuple):
    """What of dbsight watches a library.

    Attributes:
        entry_point: Name of its entry point in the group ``opentelemetry_instrumentor``.
        module: Where its class is.
        name: Of its class.
        requires: The library with its lowest version; empty where it is optional.
        takes_place: OpenTelemetry's instrumentor of the same library is left out; otherwise both are used.
    """

    entry_point: str
    module: str
    name: str
    requires: str = ""
    takes_place: bool = False


class Client(NamedTuple):
    """One client library.

    Attributes:
        name: Of its module; also in ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS``.
        pool: As ``instrumentor``, of the pools of a library that has some beside its connections.
        frames: Installed packages, or directories of them, whose code is no call site: the library and its add-ons.
        instrumentor: Of dbsight, None where OpenTelemetry's alone makes spans.
        upstream: OpenTelemetry's instrumentor: module below ``opentelemetry.instrumentation``, and class.
        drivers: Names by which SQLAlchemy's dialects know it, where it is a driver.
        buffers: It has fetched all rows when ``execute`` returns, and counts them in ``rowcount``.
        snippets: Suggested code for its pools, None where it has none.
        asynchronous: Class to use on an event loop instead, where the library has both.
        distributions: Packages whose versions ``dbsight doctor`` shows.
        speaks: It talks to a database server by itself, so that ``dbsight doctor`` expects it to be instrumented.
        below: It is also used by SQLAlchemy, and is not expected to be instrumented then.
    """

    name: str
    frames: tuple[str, ...] = ()
    instrumentor: Instrumentor | None = None
    pool: Instrumentor | None = None
    upstream: tuple[str, str] | None = None
    drivers: tuple[str, ...] = ()
    buffers: bool = False
    snippets: Snippets | None = None
    asynchronous: str = ""
    distributions: tuple[str, ...] = ()
    speaks: bool = True
    below: bool = True


CLIENTS: Final = (
    Client(
        "sqlalchemy",
        frames=("sqlalchemy", "sqlmodel", "sqlalchemy_utils", "flask_sqlalchemy"),
        instrumentor=Instrumentor(
            "dbsight_sqlalchemy",
            "dbsight.instrument.sqlalchemy",
            "SQLAlchemyInstrumentor",
            requires="sqlalchemy >= 1.4",
            takes_place=True,
        ),
        snippets=Snippets(
            resized="{engine}(url, pool_size={size}, max_overflow=0)",
            given_back="{with_} engine.connect() as connection:",
            shared="engine = {engine}(url)  # once, at module level",
            pooled="{engine}(url)  # without poolclass=NullPool",
            session="{with_} {session}(engine) as session:",
        ),
        distributions=("sqlalchemy",),
        below=False,
    ),
    Client(
        "redis",
        frames=("redis",),
        instrumentor=Instrumentor(
            "dbsight_redis",
            "dbsight.instrument.redis",
            "RedisInstrumentor",
            requires="redis >= 5",
            takes_place=True,
        ),
        snippets=Snippets(
            resized="redis{aio}.{kind}.from_url(url, max_connections={size})",
            given_back="{with_} redis{aio}.Redis(connection_pool=pool) as client:",
            shared="pool = redis{aio}.ConnectionPool.from_url(url)  # once, at module level",
            grown='redis.Redis(connection_pool=dbsight.redis_pool("master"))  # one pool for all clients',
            with_role='dbsight.redis_pool("{role}", max_connections={size})',
            kinds={"SentinelConnectionPool": "sentinel.master_for(service, max_connections={size})"},
        ),
        asynchronous="redis.asyncio.Redis",
        distributions=("redis",),
        below=False,
    ),
    Client(
        "valkey",
        frames=("valkey",),
        instrumentor=Instrumentor(
            "dbsight_valkey",
            "dbsight.instrument.redis",
            "ValkeyInstrumentor",
            requires="valkey >= 6",
            takes_place=True,
        ),
        asynchronous="valkey.asyncio.Valkey",
        distributions=("valkey",),
        below=False,
    ),
    Client(
        "psycopg",
        frames=("psycopg",),
        instrumentor=Instrumentor(
            "dbsight_psycopg",
            "dbsight.instrument.psycopg",
            "PsycopgInstrumentor",
            requires="psycopg >= 3.1",
            takes_place=True,
        ),
        upstream=("psycopg", "PsycopgInstrumentor"),
        drivers=("psycopg", "psycopg_async"),
        buffers=True,
        distributions=("psycopg",),
    ),
    Client(
        "psycopg_pool",
        frames=("psycopg_pool",),
        instrumentor=Instrumentor(
            "dbsight_psycopg_pool",
            "dbsight.instrument.pools.psycopg",
            "PsycopgPoolInstrumentor",
            requires="psycopg_pool >= 3.1",
        ),
        snippets=Snippets(
            resized="{kind}(conninfo, {least}max_size={size})",
            given_back="{with_} pool.connection() as connection:",
            shared="pool = {kind}(conninfo)  # once, at module level",
            pooled="{pooled}(conninfo)",
            least=4,
        ),
        speaks=False,
    ),
    Client(
        "psycopg2",
        frames=("psycopg2",),
        instrumentor=Instrumentor(
            "dbsight_psycopg2",
            "dbsight.instrument.psycopg2",
            "Psycopg2Instrumentor",
            takes_place=True,
        ),
        upstream=("psycopg2", "Psycopg2Instrumentor"),
        drivers=("psycopg2",),
        buffers=True,
        distributions=("psycopg2", "psycopg2-binary"),
    ),
    Client("psycopg2cffi", drivers=("psycopg2cffi",), buffers=True, speaks=False),
    Client("pg8000", drivers=("pg8000",), buffers=True, speaks=False),
    Client(
        "asyncpg",
        frames=("asyncpg",),
        instrumentor=Instrumentor(
            "dbsight_asyncpg",
            "dbsight.instrument.asyncpg",
            "AsyncpgInstrumentor",
            requires="asyncpg >= 0.27",
            takes_place=True,
        ),
        pool=Instrumentor(
            "dbsight_asyncpg_pool",
            "dbsight.instrument.pools.asyncpg",
            "AsyncpgPoolInstrumentor",
            requires="asyncpg >= 0.27",
        ),
        upstream=("asyncpg", "AsyncPGInstrumentor"),
        drivers=("asyncpg",),
        buffers=True,
        snippets=Snippets(
            resized="await asyncpg.create_pool(dsn, {least}max_size={size})",
            given_back="{with_} pool.acquire() as connection:",
            shared="pool = await asyncpg.create_pool(dsn)  # once, when the application starts",
            least=10,
        ),
        distributions=("asyncpg",),
    ),
    Client(
        "pymysql",
        frames=("pymysql",),
        instrumentor=Instrumentor(
            "dbsight_pymysql",
            "dbsight.instrument.pymysql",
            "PyMySQLInstrumentor",
            requires="pymysql >= 1",
            takes_place=True,
        ),
        upstream=("pymysql", "PyMySQLInstrumentor"),
        drivers=("pymysql",),
        buffers=True,
        distributions=("pymysql",),
    ),
    Client(
        "MySQLdb",
        frames=("MySQLdb",),
        instrumentor=Instrumentor(
            "dbsight_mysqlclient",
            "dbsight.instrument.mysqlclient",
            "MySQLClientInstrumentor",
            requires="mysqlclient >= 2",
            takes_place=True,
        ),
        upstream=("mysqlclient", "MySQLClientInstrumentor"),
        drivers=("mysqldb",),
        buffers=True,
        distributions=("mysqlclient",),
    ),
    Client(
        "aiomysql",
        frames=("aiomysql",),
        instrumentor=Instrumentor(
            "dbsight_aiomysql",
            "dbsight.instrument.aiomysql",
            "AioMySQLInstrumentor",
            requires="aiomysql >= 0.1",
            takes_place=True,
        ),
        drivers=("aiomysql",),
        buffers=True,
        distributions=("aiomysql",),
    ),
    Client(
        "asyncmy",
        frames=("asyncmy",),
        instrumentor=Instrumentor(
            "dbsight_asyncmy",
            "dbsight.instrument.asyncmy",
            "AsyncmyInstrumentor",
            requires="asyncmy >= 0.2",
            takes_place=True,
        ),
        drivers=("asyncmy",),
        buffers=True,
        distributions=("asyncmy",),
    ),
    Client(
        "mysql",
        frames=("mysql",),
        upstream=("mysql", "MySQLInstrumentor"),
        drivers=("mysqlconnector",),
        buffers=True,
        speaks=False,
    ),
    Client("mariadb", drivers=("mariadbconnector",), buffers=True, speaks=False),
    Client(
        "sqlite3",
        instrumentor=Instrumentor(
            "dbsight_sqlite3", "dbsight.instrument.sqlite3", "SQLite3Instrumentor", takes_place=True
        ),
        upstream=("sqlite3", "SQLite3Instrumentor"),
        drivers=("pysqlite",),
    ),
    Client(
        "aiosqlite",
        frames=("aiosqlite",),
        instrumentor=Instrumentor(
            "dbsight_aiosqlite",
            "dbsight.instrument.aiosqlite",
            "AioSQLiteInstrumentor",
            requires="aiosqlite >= 0.17",
            takes_place=True,
        ),
        upstream=("sqlite3", "SQLite3Instrumentor"),
        drivers=("aiosqlite",),
        speaks=False,
    ),
    Client("pymongo", below=False),
    Client("pymemcache", below=False),
    Client("pymssql", upstream=("pymssql", "PyMSSQLInstrumentor"), drivers=("pymssql",)),
    Client("oracledb"),
    Client(
        "django",
        frames=("django/db", "django/utils"),
        snippets=Snippets(
            resized='DATABASES["default"]["OPTIONS"]["pool"] = {{"max_size": {size}}}',
            given_back="connection.close()",
            shared='DATABASES["default"]["CONN_MAX_AGE"] = 60  # seconds',
            pooled='DATABASES["default"]["CONN_MAX_AGE"] = 60  # seconds',
        ),
        distributions=("django",),
        speaks=False,
    ),
    Client(
        "caches",
        instrumentor=Instrumentor("dbsight_caches", "dbsight.instrument.caches", "CacheInstrumentor"),
        speaks=False,
    ),
    Client(
        "locks",
        instrumentor=Instrumentor("dbsight_locks", "dbsight.instrument.locks", "LockInstrumentor"),
        speaks=False,
    ),
)
"""All of them; ``caches`` and ``locks`` stand for parts of several libraries."""

BY_NAME: Final = {client.name: client for client in CLIENTS}
"""The same by name."""

BY_DRIVER: Final = {driver: client for client in CLIENTS for driver in client.drivers}
"""Those that are drivers of SQLAlchemy, by the name that its dialects know."""

INSTRUMENTORS: Final = {
    ours.entry_point: (client.name, ours)
    for client in CLIENTS
    for ours in (client.instrumentor, client.pool)
    if ours is not None
}
"""Name of the library and its instrumentor, by the name of the instrumentor's entry point."""

REPLACED: Final = frozenset(
    client.upstream[0] if client.upstream is not None else client.name
    for client in CLIENTS
    if client.instrumentor is not None and client.instrumentor.takes_place
)
"""Entry points of OpenTelemetry's instrumentors that are left out, for dbsight's take their place."""


def is_disabled(entry_point: str, names: Collection[str]) -> bool:
    """Whether ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`` names the library of an instrumentor of ours.

    Args:
        entry_point: The instrumentor's.
        names: What the variable names: libraries as in the catalogue, entry points of instrumentors, or ``*`` for all.
    """
    library, _ = INSTRUMENTORS[entry_point]
    upstream = BY_NAME[library].upstream
    known = {"*", entry_point, library} | ({upstream[0]} if upstream is not None else set())
    return not known.isdisjoint(names)


def requirements(name: str) -> tuple[str, ...]:
    """Return what the instrumentor of a library requires, as ``instrumentation_dependencies`` returns it."""
    instrumentor = BY_NAME[name].instrumentor
    return (instrumentor.requires,) if instrumentor is not None and instrumentor.requires else ()
