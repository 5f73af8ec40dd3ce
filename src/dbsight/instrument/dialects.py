"""What has to be known of each SQLAlchemy dialect and its driver."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, Final

from dbsight.catalog import BY_DRIVER
from dbsight.instrument.outcomes import error_type
from dbsight.model import Database
from dbsight.safety import guard

_SYSTEMS: Final = {
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mariadb",
    "sqlite": "sqlite",
    "mssql": "microsoft.sql_server",
    "oracle": "oracle.db",
    "cockroachdb": "cockroachdb",
    "redshift": "aws.redshift",
    "db2": "ibm.db2",
    "ibm_db_sa": "ibm.db2",
    "firebird": "firebirdsql",
    "sybase": "sybase",
    "hana": "sap.hana",
    "trino": "trino",
    "clickhouse": "clickhouse",
    "snowflake": "snowflake",
    "duckdb": "duckdb",
    "spanner+spanner": "gcp.spanner",
}
"""SQLAlchemy's dialect names to ``db.system.name``; ``other_sql`` for the rest."""


def database_of(dialect: Any, url: Any) -> Database:
    """Where the statements of an engine run, by its URL.

    SQLite's namespace is the file's name; an in-memory database is told from the others by its engine.
    """
    name = dialect.name
    system = _SYSTEMS.get(name, "other_sql")
    if system == "mysql" and getattr(dialect, "is_mariadb", False):
        system = "mariadb"
    # A dialect of the application's own, or a stand-in of its tests, may call its databases by anything.
    namespace = url.database if isinstance(url.database, str) else None
    if system == "sqlite":
        path = namespace or ":memory:"
        if path != ":memory:" and "mode=memory" not in str(url.query.get("mode", "")):
            return sqlite_database(path)
        database = Database(system, ":memory:")
        database.key = f"sqlite:///{path}#{id(dialect)}"
        return database
    host = url.host or url.query.get("host") or url.query.get("unix_socket")
    port = url.port or url.query.get("port")
    return Database(
        system,
        namespace,
        host if isinstance(host, str) else None,
        int(port) if isinstance(port, (int, str)) and str(port).isdigit() else None,
    )


def sqlite_database(path: str) -> Database:
    """A SQLite database in a file."""
    database = Database("sqlite", PurePath(path).name)
    database.key = f"sqlite:///{path}"
    return database


def buffers_rows(dialect: Any) -> bool:
    """Whether the driver has fetched all rows when ``execute`` returns."""
    client = BY_DRIVER.get(getattr(dialect, "driver", ""))
    return client is not None and client.buffers


def instrumentor_of(dialect: Any) -> tuple[str, str]:
    """OpenTelemetry's instrumentor of this dialect's driver: its module and its class; empty where there is none."""
    client = BY_DRIVER.get(getattr(dialect, "driver", ""))
    if client is None or client.upstream is None:
        return "", ""
    module, name = client.upstream
    return f"opentelemetry.instrumentation.{module}", name


def error_of(error: BaseException) -> tuple[str, str | None]:
    """``error.type`` and ``db.response.status_code`` of an exception.

    Returns:
        The class with its module, and SQLSTATE (PostgreSQL), errno (MySQL, MariaDB, SQL Server) or the error's name
        (SQLite, Python 3.11 and newer); None where the driver gives no code.
    """
    # SQLAlchemy's asyncpg adapter wraps the driver's own exception.
    cause = error.__cause__
    if cause is not None and "sqlalchemy" in type(error).__module__:
        error = cause
    return error_type(error), _code_of(error)


@guard  # an exception's properties may raise; its class is known all the same
def _code_of(error: BaseException) -> str | None:
    first = error.args[0] if error.args else None
    if isinstance(first, int) and not isinstance(first, bool):
        return str(first)  # MySQL's drivers: (errno, message), whether or not they give the SQLSTATE as well
    for attribute in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, attribute, None)
        if isinstance(code, str):
            return code
    code = getattr(first, "full_code", None)  # oracledb: ORA-00942
    return code if isinstance(code, str) else None
