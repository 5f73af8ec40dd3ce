"""Client libraries under OpenTelemetry's own instrumentors, one face for all: the same few statements of each.

dbsight's instrumentors are off: all that it knows is what the spans say.
"""

import asyncio
import importlib
import sqlite3
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa


@dataclass
class Upstream:
    """One client library.

    Attributes:
        name: Module of the instrumentor below ``opentelemetry.instrumentation``, and its class.
        needs: The library.
        connect: Opens a connection to a ``servers.Database``, or a file for SQLite.
        mark: Placeholder of a parameter; empty where parameters are named.
        server: Fixture with the database; empty for SQLite.
        system: As the operation has it.
        connects: Whether its instrumentor makes spans of connecting.
        says_class: Whether its spans tell the class of an error.
    """

    name: tuple[str, str]
    needs: str
    connect: Any
    mark: str
    server: str
    system: str
    connects: bool = False
    says_class: bool = True

    def instrumentor(self) -> Any:
        """Made anew: its class has one object a process, which keeps the names of attributes it began with."""
        module, kind = self.name
        return getattr(importlib.import_module(f"opentelemetry.instrumentation.{module}"), kind)()


class Sync:
    """A connection of PEP 249."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def run(self, text: str, *values: Any) -> list[Any]:
        """Rows of a statement, if it has any."""
        cursor = self.connection.cursor()
        try:
            cursor.execute(text, values)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            cursor.close()

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()


class OnLoop:
    """A connection of an asynchronous library, on a loop of its own."""

    def __init__(self, connect: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.connection = self.loop.run_until_complete(connect())

    def run(self, text: str, *values: Any) -> list[Any]:
        """Rows of a statement, if it has any."""
        return self.loop.run_until_complete(self.sent(text, *values))

    async def sent(self, text: str, *values: Any) -> list[Any]:
        """As asyncpg sends it."""
        return list(await self.connection.fetch(text, *values))

    def close(self) -> None:
        """Disconnect, and end the loop."""
        self.loop.run_until_complete(self.connection.close())
        self.loop.close()


class Aiopg(OnLoop):
    """aiopg: cursors that are awaited."""

    async def sent(self, text: str, *values: Any) -> list[Any]:
        cursor = await self.connection.cursor()
        await cursor.execute(text, values)
        return await cursor.fetchall() if cursor.description else []


class Tortoise(OnLoop):
    """Tortoise's client of SQLite."""

    async def sent(self, text: str, *values: Any) -> list[Any]:
        return (await self.connection.execute_query(text, list(values)))[1]


class Engine:
    """SQLAlchemy, above a driver that nobody watches."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.connection = engine.connect()

    def run(self, text: str, *values: Any) -> list[Any]:
        """Rows of a statement, if it has any."""
        result = self.connection.exec_driver_sql(text, values)
        return list(result) if result.returns_rows else []

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()
        self.engine.dispose()


def _sqlite3(path: Any) -> Sync:
    return Sync(sqlite3.connect(path, isolation_level=None))


def _psycopg(at: Any) -> Sync:
    return Sync(importlib.import_module("psycopg").connect(at.url(), autocommit=True))


def _psycopg2(at: Any) -> Sync:
    connection = importlib.import_module("psycopg2").connect(at.url())
    connection.autocommit = True
    return Sync(connection)


def _mysql(module: str) -> Any:
    def connect(at: Any) -> Sync:
        where = {"host": at.host, "port": at.port, "user": at.user, "password": at.password, "database": at.name}
        return Sync(importlib.import_module(module).connect(**where, autocommit=True))

    return connect


def _asyncpg(at: Any) -> OnLoop:
    where = {"host": at.host, "port": at.port, "user": at.user, "password": at.password, "database": at.name}
    return OnLoop(lambda: importlib.import_module("asyncpg").connect(**where))


def _aiopg(at: Any) -> Aiopg:
    return Aiopg(lambda: importlib.import_module("aiopg").connect(at.url()))


def _tortoise(path: Any) -> Tortoise:
    kind = importlib.import_module("tortoise.backends.sqlite.client").SqliteClient
    client = kind(str(path), connection_name="default")

    async def connect() -> Any:
        await client.create_connection(with_db=True)
        return client

    return Tortoise(connect)


def _sqlalchemy(path: Any) -> Engine:
    return Engine(sa.create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT"))


CLIENTS = (
    Upstream(("sqlite3", "SQLite3Instrumentor"), "sqlite3", _sqlite3, "?", "", "sqlite"),
    Upstream(("psycopg", "PsycopgInstrumentor"), "psycopg", _psycopg, "%s", "postgresql", "postgresql"),
    Upstream(("psycopg2", "Psycopg2Instrumentor"), "psycopg2", _psycopg2, "%s", "postgresql", "postgresql"),
    Upstream(("asyncpg", "AsyncPGInstrumentor"), "asyncpg", _asyncpg, "$1", "postgresql", "postgresql"),
    Upstream(("aiopg", "AiopgInstrumentor"), "aiopg", _aiopg, "%s", "postgresql", "postgresql"),
    Upstream(("pymysql", "PyMySQLInstrumentor"), "pymysql", _mysql("pymysql"), "%s", "mariadb", "mysql"),
    Upstream(("mysqlclient", "MySQLClientInstrumentor"), "MySQLdb", _mysql("MySQLdb"), "%s", "mariadb", "mysql"),
    Upstream(("tortoiseorm", "TortoiseORMInstrumentor"), "tortoise", _tortoise, "?", "", "sqlite"),
    Upstream(
        ("sqlalchemy", "SQLAlchemyInstrumentor"),
        "sqlalchemy",
        _sqlalchemy,
        "?",
        "",
        "sqlite",
        connects=True,
        says_class=False,
    ),
)
