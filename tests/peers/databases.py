"""The suites of drivers, and Django's own."""

from __future__ import annotations

from matrix.environments import RUNNING
from peers.suite import Suite

_PYMYSQL = (
    '{{"host": "{host}", "port": {port}, "user": "{user}", "password": "{password}", '
    '"database": "%s", "use_unicode": true, "local_infile": %s}}'
)

_MYSQLCLIENT = """[MySQLdb-tests]
host={host}
port={port}
user={user}
password={password}
database={name}
default-character-set=utf8mb4
"""

_ASYNCMY = """import conftest

conftest.connection_kwargs.update(host="{host}", port={port}, user="{user}", password="{password}")
"""
"""Its own connects to the usual port with a password."""

_LATE = "tests/test_pool.py::TestPool::test_pool_config_persistence"
"""Fails in three of five runs without dbsight, too: a connection that asks for TLS is lost, and nobody asks why."""

DRIVERS: tuple[Suite, ...] = (
    Suite(
        *("asyncpg", "asyncpg", "0.32.0"),
        paths=tuple(f"tests/test_{name}.py" for name in ("pool", "prepare", "cursor", "execute", "transaction")),
        full=tuple(
            f"tests/test_{name}.py"
            for name in (
                *("pool", "prepare", "cursor", "execute", "transaction", "cancellation", "timeout", "listeners"),
                *("codecs", "introspection", "copy", "record", "adversity", "cache_invalidation", "exceptions"),
            )
        ),
        arguments=("--deselect", _LATE),
        environment={"PGHOST": "{host}", "PGPORT": "{port}", "PGUSER": "{user}", "PGDATABASE": "{name}"},
        server="postgresql",
        shadows=("asyncpg",),
        calls=False,  # nobody but the instrumentation of its driver sees queries
        ci=True,
        what="pool, queries, prepared statements, cursors, transactions",
    ),
    Suite(
        *("aiosqlite", "aiosqlite", "0.22.1"),
        paths=("aiosqlite/tests/smoke.py",),
        calls=False,  # SQLAlchemy's dialect tells of its queries; here is none
        ci=True,
    ),
    Suite(
        *("pymysql", "pymysql", "1.1.1"),
        paths=("pymysql/tests",),
        server="mariadb",
        debian=("python-pymysql=1.1.1-2", "trixie"),
        prepare=("CREATE DATABASE IF NOT EXISTS test1", "CREATE DATABASE IF NOT EXISTS test2"),
        files={"pymysql/tests/databases.json": f"[{_PYMYSQL % ('test1', 'true')}, {_PYMYSQL % ('test2', 'false')}]"},
        calls=False,
        what="everything, on one MariaDB",
    ),
    Suite(
        *("psycopg2", "psycopg2", "2.9.13"),
        paths=tuple(
            f"tests/test_{name}.py"
            for name in (
                "connection",
                "cursor",
                "copy",
                "extras_dictcursor",
                "fast_executemany",
                "module",
                "sql",
                "with",
            )
        ),
        full=("tests",),
        environment={
            "PSYCOPG2_TESTDB": "{name}",
            **{f"PSYCOPG2_TESTDB_{name.upper()}": f"{{{name}}}" for name in ("host", "port", "user")},
        },
        server="postgresql",
        calls=False,
        ci=True,
        what="connections, cursors, COPY, composed SQL and extras",
    ),
    Suite(
        *("mysqlclient", "mysqlclient", "2.3.2"),
        server="mariadb",
        files={"tests/default.cnf": _MYSQLCLIENT},
        environment={"TESTDB": "default.cnf"},
        shadows=("src",),
        calls=False,
        ci=True,
        what="everything, on one MariaDB",
    ),
    Suite(
        *("aiomysql", "aiomysql", "0.2.0"),
        needs=("uvloop", "sqlalchemy<2", "pymysql<1.2", "pytest<8"),
        arguments=("--mysql-unix-socket", "unix={socket}"),
        server="mariadb",
        shadows=("aiomysql",),
        calls=False,
        what="everything, on one MariaDB",
    ),
    Suite(
        *("asyncmy", "asyncmy", "0.2.10"),
        needs=("pytest-asyncio<0.22", "pytest<8"),  # its fixtures replace the event loop
        files={"tests/conftest.py": _ASYNCMY},
        arguments=("-o", "asyncio_mode=auto"),
        server="mariadb",
        debian=("python-asyncmy=0.2.10-1", "trixie"),
        shadows=("asyncmy",),
        calls=False,
        what="everything, on one MariaDB",
    ),
)


_RELATIONS = (
    *("queries", "prefetch_related", "select_related", "select_related_onetoone", "select_related_regress"),
    *("defer", "defer_regress", "many_to_many", "generic_relations", "known_related_objects"),
)
_CONNECTIONS = ("transactions", "backends", "async", "transaction_hooks", "bulk_create", "get_or_create", "raw_query")
_MORE = (
    *("aggregation", "aggregation_regress", "annotations", "basic", "cache", "composite_pk", "contenttypes_tests"),
    *("custom_managers", "custom_pk", "db_functions", "db_utils", "delete", "delete_regress", "expressions"),
    *("expressions_case", "expressions_window", "filtered_relation", "fixtures", "force_insert_update"),
    *("foreign_object", "from_db_value", "generic_relations_regress", "handlers", "introspection", "lookup"),
    *("m2m_and_m2o", "m2m_intermediary", "m2m_multiple", "m2m_recursive", "m2m_regress", "m2m_signals", "m2m_through"),
    *("m2m_through_regress", "m2o_recursive", "managers_regress", "many_to_one", "many_to_one_null", "model_fields"),
    *("model_inheritance", "model_inheritance_regress", "multiple_database", "nested_foreign_keys", "null_fk"),
    *("one_to_one", "or_lookups", "ordering", "pagination", "proxy_models", "queryset_pickle"),
    *("reverse_lookup", "schema", "select_for_update", "serializers", "sessions_tests", "signals", "test_utils"),
    *("test_client", "timezones", "update", "update_only_fields"),
)


def _django(version: str, python: str, *needs: str) -> tuple[Suite, ...]:
    """Django's own suite, on each server."""
    series = version.rpartition(".")[0]

    def on(server: str, *needed: str, environment: dict[str, str], ci: bool) -> Suite:
        short = _CONNECTIONS if server else (*_RELATIONS, *_CONNECTIONS)
        return Suite(
            *(f"django-{series}-{server or 'sqlite'}", "django", version),
            paths=short,
            full=(*_RELATIONS, *_CONNECTIONS, *(name for name in _MORE if name != "composite_pk" or series >= "5.2")),
            needs=("sqlparse", "tblib", "jinja2", "pyyaml", *needs, *needed),
            environment=environment,
            server=server,
            python=python,
            program="dbsight_django",
            inside="tests",
            shadows=("django",),
            ci=ci,
            what="transactions, backends, asynchronous and raw queries on PostgreSQL through psycopg"
            if server
            else "queries, relations, transactions, backends on SQLite",
        )

    postgresql = {f"DBSIGHT_PEERS_{name.upper()}": f"{{{name}}}" for name in ("host", "port", "user", "password")}
    # The oldest on the one, the newest on the other.
    return (
        on("", environment={}, ci=series < "5"),
        on("postgresql", "psycopg[binary,pool]", environment=postgresql, ci=series >= "6"),
    )


DJANGO: tuple[Suite, ...] = (*_django("4.2.28", RUNNING), *_django("5.2.19", RUNNING), *_django("6.1.3", "3.12"))
