"""The table of suites: which releases, what of each is run, and what it needs."""

from __future__ import annotations

from peers import databases
from peers.suite import Suite

SCHEMAS = ("CREATE SCHEMA test_schema", "CREATE SCHEMA test_schema_2")
DATABASES = ("CREATE DATABASE IF NOT EXISTS test_schema", "CREATE DATABASE IF NOT EXISTS test_schema_2")
"""What SQLAlchemy's dialect suite expects to find; MariaDB calls schemas databases."""

AT = "{auth}@{host}:{port}/{name}"

_ORM = (
    *("test/orm/test_session.py", "test/orm/test_unitofworkv2.py", "test/orm/test_query.py", "test/orm/test_events.py"),
    *("test/ext/asyncio", "test/dialect/test_suite.py"),
)
_ORM_FULL = ("test/orm", "test/sql", "test/ext", "test/dialect/test_suite.py")


def _sqlalchemy(version: str, needs: tuple[str, ...]) -> tuple[Suite, ...]:
    """SQLAlchemy's own suite, and its dialect suite on each server."""
    series = version.rpartition(".")[0]
    # Its sources lie beside its tests, and are taken instead of what is installed unless this is set.
    common = {"package": "sqlalchemy", "version": version, "environment": {"PYTHONNOUSERSITE": "1"}}

    def dialect(driver: str, scheme: str, requirement: str, server: str) -> Suite:
        return Suite(
            name=f"sqlalchemy-{series}-{driver}",
            paths=("test/dialect/test_suite.py",),
            needs=(*needs, requirement),
            arguments=("--dburi", f"{scheme}://{AT}"),
            server=server,
            extensions=server == "postgresql",
            prepare={"postgresql": SCHEMAS, "mariadb": DATABASES}.get(server, ()),
            what=f"dialect suite on {'PostgreSQL' if server == 'postgresql' else 'MariaDB'} through {driver}",
            **common,
        )

    newest = series == "2.0"
    suites = [
        Suite(
            name=f"sqlalchemy-{series}-orm",
            paths=_ORM,
            full=_ORM_FULL,
            needs=(*needs, "aiosqlite"),
            what="sql, orm, ext and the dialect suite on SQLite",
            **common,
        ),
        Suite(
            name=f"sqlalchemy-{series}-engine",
            paths=("test/engine", "test/base"),
            needs=(*needs, "aiosqlite"),
            what="engine and base on SQLite",
            ci=newest,
            **common,
        ),
        Suite(
            name=f"sqlalchemy-{series}-aiosqlite",
            paths=("test/dialect/test_suite.py", "test/engine/test_execute.py", "test/ext/asyncio"),
            needs=(*needs, "aiosqlite"),
            arguments=("--dburi", "sqlite+aiosqlite:///:memory:"),
            what="dialect suite, execution and ext.asyncio on SQLite through aiosqlite",
            **common,
        ),
        dialect("asyncpg", "postgresql+asyncpg", "asyncpg", "postgresql"),
        dialect("pymysql", "mariadb+pymysql", "pymysql", "mariadb"),
        dialect("mysqlclient", "mariadb+mysqldb", "mysqlclient", "mariadb"),
    ]
    if series != "1.4":
        suites.append(dialect("psycopg", "postgresql+psycopg", "psycopg[binary]", "postgresql"))
    return tuple(suites)


_TIMED = "tests/test_commands.py::TestRedisCommands::test_interrupted_command"
"""Gives a thread 0.1 s to end, and ends the session of pytest where that is not enough."""


def _redis(version: str, *needs: str) -> tuple[Suite, ...]:
    major = version.partition(".")[0]
    sync = ("test_commands", "test_connection_pool", "test_pipeline", "test_pubsub", "test_lock", "test_scripting")
    paths = tuple(f"tests/{name}.py" for name in (*sync, "test_connection", "test_encoding", "test_monitor"))
    common = {
        "package": "redis",
        "version": version,
        "needs": ("pytest<9", "pytest-asyncio", "pytest-timeout", "coverage", "pytest-cov", "numpy", "ujson", *needs),
        "arguments": (
            "--redis-url",
            "redis://{host}:{port}/0",
            "--deselect",
            _TIMED,
            "-o",
            "asyncio_mode=auto",
            "--continue-on-collection-errors",
        ),
        "server": "redis",
        "shadows": ("redis",),
    }
    asynchronous = ("test_commands", "test_connection_pool", "test_pipeline", "test_pubsub", "test_lock")
    return (
        Suite(name=f"redis-{major}", paths=paths, what="the client, on one server", **common),
        Suite(
            name=f"redis-{major}-asyncio",
            paths=tuple(
                f"tests/test_asyncio/{name}.py" for name in (*asynchronous, "test_connection", "test_scripting")
            ),
            what="the asynchronous client, on one server",
            **common,
        ),
    )


_TYPING = ("typing-extensions", "greenlet", "pytest<9", "pytest-xdist")

SUITES: tuple[Suite, ...] = (
    *_sqlalchemy("1.4.54", ("greenlet", "pytest<7.5", "pytest-xdist<3.4", "mock")),
    *_sqlalchemy("2.0.58", _TYPING),
    *_sqlalchemy("2.1.9", _TYPING),
    *_redis("5.3.1", "redis-entraid", "cryptography", "mock"),
    *_redis("6.4.0", "redis-entraid", "cryptography"),
    *_redis("7.4.1", "redis-entraid", "pybreaker", "aiohttp", "xxhash", "cryptography"),
    *_redis("8.1.0", "redis-entraid", "pybreaker", "aiohttp", "xxhash", "cryptography", "click"),
    *databases.DRIVERS,
    *databases.DJANGO,
    Suite(
        *("dogpile.cache", "dogpile.cache", "1.5.0"),
        paths=tuple(
            f"tests/{name}"
            for name in (
                *("test_lock.py", "test_utils.py", "test_backgrounding.py", "cache/test_region.py"),
                *("cache/test_decorator.py", "cache/test_memory_backend.py", "cache/test_null_backend.py"),
                *("cache/test_dbm_backend.py", "cache/test_redis_backend.py"),
            )
        ),
        quick=("-m", "not time_intensive"),
        needs=("redis", "mako", "typing-extensions"),
        environment={"DOGPILE_REDIS_PORT": "{port}"},
        server="redis",
        shadows=("dogpile",),
        ci=True,
        what="regions, decorators, locks, the backends for memory, dbm and Redis",
    ),
    Suite("cachetools", "cachetools", "8.0.2", shadows=("src",), calls=False, ci=True),
    Suite(
        *("aiocache", "aiocache", "0.12.3"),
        paths=("tests/ut", "tests/acceptance"),
        needs=("redis<6", "aiomcache", "msgpack", "marshmallow<4", "pytest<8", "pytest-asyncio<0.21", "pytest-mock"),
        arguments=("-o", "addopts=", "-o", "asyncio_mode=auto", "-k", "not memcached and not (acceptance and redis)"),
        shadows=("aiocache",),
        calls=False,
        ci=True,
        what="all but what needs a Memcached, or a Redis at a port of its choice",
    ),
    Suite(
        *("alembic", "alembic", "1.20.1"),
        needs=("pytest<8.4", "pytest-xdist", "mako", "tzdata", "greenlet", "sqlalchemy<2.1"),
        ci=True,
        what="everything, on SQLite",
    ),
    Suite(
        *("flask-sqlalchemy", "flask-sqlalchemy", "3.1.1"),
        needs=("blinker", "sqlalchemy<2.1"),
        shadows=("src",),
        ci=True,
    ),
    Suite(
        *("sqlmodel", "sqlmodel", "0.0.50"),
        paths=("tests",),
        needs=(
            "aiosqlite",
            "alembic",
            "greenlet",
            "pymysql[rsa]",
            "pyyaml",
            "black",
            "dirty-equals",
            "fastapi",
            "httpx",
            "jinja2",
            "pytest<9",
            "typer",
            "coverage",
        ),
        shadows=("sqlmodel",),
        ci=True,
        what="everything, with the programs of its tutorial",
    ),
)


UNTESTED = {
    "psycopg 3 and psycopg_pool": "their source distributions contain no tests, and Debian's source package was not "
    "available. Django's suite and SQLAlchemy's dialect suite run through psycopg, and the contract tests of "
    "connection pools in `tests/integration/pools` cover psycopg_pool.",
    "asyncpg's `test_pool_config_persistence`": "it fails in three of five runs without dbsight, too: a connection "
    "that asks for TLS is lost, and the error that this leaves behind counts.",
    "redis-py's `test_interrupted_command`": "it allows a thread 0.1 s to end, and aborts the whole session when "
    "that is not enough, as on a busy machine. Run alone, it passes with dbsight.",
    "redis-py's tests of clusters, sentinels, TLS and modules": "they need several servers.",
}
"""Libraries whose suites are not run, and why."""


def selected(names: list[str], *, ci: bool, among: tuple[Suite, ...] = SUITES) -> list[Suite]:
    """Suites of these names, or whose names begin so; all, or those of continuous integration, without names.

    Raises:
        LookupError: There is none of one of the names.
    """
    for name in names:
        if not any(suite.name.startswith(name) for suite in among):
            raise LookupError(f"no suite {name}: {', '.join(suite.name for suite in among)}")
    return [
        suite
        for suite in among
        if (suite.ci or not ci) and (not names or any(suite.name.startswith(name) for name in names))
    ]
