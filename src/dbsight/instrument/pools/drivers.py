"""What a driver's connection tells without a query: whether one runs on it, and where it leads; and a pool's name."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight.instrument.dialects import sqlite_database
from dbsight.model import Database
from dbsight.safety import failed

_SYSTEMS: Final = {
    "psycopg": "postgresql",
    "psycopg2": "postgresql",
    "asyncpg": "postgresql",
    "pymysql": "mysql",
    "aiomysql": "mysql",
    "asyncmy": "mysql",
    "mysql": "mysql",
}
"""``db.system.name`` by the package of a driver whose connections know where they lead."""

_PORTS: Final = {
    "postgresql": 5432,
    "cockroachdb": 26257,
    "aws.redshift": 5439,
    "mysql": 3306,
    "mariadb": 3306,
    "microsoft.sql_server": 1433,
    "oracle.db": 1521,
    "redis": 6379,
    "valkey": 6379,
}
"""Ports that are used where none is given."""

_SOCKET: Final = ".s.PGSQL."

_ACTIVE: Final = 1
"""libpq's status of a connection that runs a query."""


def driver_connection(connection: Any) -> Any:
    """The driver's own connection behind what SQLAlchemy makes of it, sync or async; None for none."""
    known = getattr(connection, "driver_connection", connection)  # a pool's record, SQLAlchemy 2
    known = getattr(known, "dbapi_connection", known)  # the same, SQLAlchemy 1.4
    inner = known.__dict__.get("_connection") if hasattr(known, "__dict__") else getattr(known, "_connection", None)
    return known if inner is None else inner


def runs_query(connection: Any) -> bool:
    """Whether a query runs on a connection at the moment; False where the driver cannot tell.

    psycopg and psycopg2 know it from libpq. asyncpg's protocol keeps the future that it waits for to itself, but the
    garbage collector knows what it refers to.
    """
    if connection is None:
        return False
    try:
        inner = driver_connection(connection)
        status = getattr(getattr(inner, "pgconn", None) or getattr(inner, "info", None), "transaction_status", None)
        if isinstance(status, int):
            return status == _ACTIVE
        protocol = getattr(inner, "_protocol", None)
        return protocol is not None and any(
            isinstance(each, asyncio.Future) and not each.done() for each in gc.get_referents(protocol)
        )
    except Exception:
        failed("pools.runs_query")
        return False


def pool_name(database: Database) -> str:
    """``db.client.connection.pool.name`` of the pools that lead to a database, whatever library they belong to.

    Returns:
        ``host:port/namespace``, as the semantic conventions recommend for a pool that has no name of its own, with the
        usual port where none is given. The host may be the directory of PostgreSQL's UNIX socket; a socket that is a
        file has no port. Without an address the namespace, else the system: of SQLite the name of the file.
    """
    address = database.address
    if address is None:
        return database.namespace or database.system
    port = database.port
    if port is None and (database.system == "postgresql" or not address.startswith("/")):
        port = _PORTS.get(database.system)
    return f"{address}{'' if port is None else f':{port}'}/{database.namespace or ''}"


def database_behind(connection: Any, known: Database | None = None) -> Database | None:
    """Where a connection leads, as its driver says: the URL may leave it to a service file, a creator or arguments.

    Args:
        connection: SQLAlchemy's, or the driver's own.
        known: What is known of it otherwise; taken where the driver says nothing.

    Returns:
        ``known`` unless the driver returns something else; None if unknown.
    """
    try:
        inner = driver_connection(connection)
        package = str(inner.__class__.__module__).partition(".")[0]
        system = _SYSTEMS.get(package)
        if system is None:
            return known
        address, port, namespace = _POSTGRESQL[package](inner) if system == "postgresql" else _mysql(inner)
    except Exception:
        failed("pools.database_behind")
        return known
    if known is None:
        return Database(system, namespace, address, port)
    found = Database(known.system, namespace or known.namespace, address or known.address, port or known.port)
    if address and address.startswith("/") and port is None:
        found = Database(known.system, found.namespace, address)
    return known if found.key == known.key else found


def sqlite_behind(connection: Any, pool: Any, known: Database) -> Database:
    """The file behind a SQLite connection that the application's own ``creator`` made; ``known`` for any other."""
    if pool._dialect.is_async or str(getattr(pool._creator, "__module__", "")).startswith("sqlalchemy."):
        return known
    with suppress_instrumentation():
        cursor = driver_connection(connection).cursor()
        try:
            rows = cursor.execute("PRAGMA database_list")
            # A creator in the tests of an application may give anything.
            path = next((row[2] for row in rows if row[1] == "main"), "") if isinstance(rows, Iterable) else ""
        finally:
            cursor.close()
    return sqlite_database(path) if path else known


_Where = tuple["str | None", "int | None", "str | None"]


def libpq(connection: Any) -> tuple[str | None, int | None, str | None]:
    """Address, port and name of the database of a connection of psycopg or psycopg2."""
    info = connection.info
    return info.host or getattr(info, "hostaddr", None) or None, int(info.port), info.dbname or None


def _asyncpg(connection: Any) -> _Where:
    address, namespace = connection._addr, connection._params.database
    if isinstance(address, str):  # /directory/.s.PGSQL.5432
        path = PurePath(address)
        port = path.name.removeprefix(_SOCKET)
        return str(path.parent), int(port) if port.isdigit() else None, namespace
    return str(address[0]), int(address[1]), namespace


_POSTGRESQL: Final = {"psycopg": libpq, "psycopg2": libpq, "asyncpg": _asyncpg}


def _mysql(connection: Any) -> _Where:
    def said(*names: str) -> Any:
        values = (getattr(connection, name, None) for name in names)
        return next((value for value in values if isinstance(value, (str, bytes, int)) and value), None)

    namespace = said("_database", "_db", "db")
    if isinstance(namespace, bytes):
        namespace = namespace.decode(errors="replace")
    socket = said("_unix_socket", "unix_socket")
    if isinstance(socket, str):
        return socket, None, namespace
    host, port = said("_host", "host"), said("_port", "port")
    return host if isinstance(host, str) else None, port if isinstance(port, int) else None, namespace
