"""One face for all drivers: what the contract's tests do with each, in the driver's own words.

A client's methods are the application: the call site of a statement is in them. Those of asynchronous drivers are
coroutines, which ``run`` runs on the client's event loop; of the others it returns what they gave.
"""

import asyncio
import sqlite3
import threading

import dbsight


class Client:
    """A synchronous driver.

    Attributes:
        instrumentor: Its class.
        system: ``db.system.name``.
        mark: Placeholder, as a function of its position.
        lazy: Rows are fetched after ``execute`` returned.
        transactional: A transaction begins with the first statement.
    """

    module = "sqlite3"
    server = ""
    instrumentor = None
    system = ""
    lazy = False
    asynchronous = False
    error = Exception
    code = None
    scope = ""

    def __init__(self, database, path):
        self.database = database
        self.path = str(path)
        self.connection = None

    @staticmethod
    def mark(position):
        """The placeholder at a position from 1."""
        return "%s"

    def run(self, result):
        """What a method gave."""
        return result

    def query(self, text, *values):
        """All rows of a statement."""
        cursor = self.connection.cursor()
        cursor.execute(text, values)
        return cursor.fetchall()

    def execute(self, text, *values):
        """A statement without rows."""
        cursor = self.connection.cursor()
        cursor.execute(text, values)
        cursor.close()

    def many(self, text, rows):
        """One with several sets of parameters."""
        cursor = self.connection.cursor()
        cursor.executemany(text, rows)
        cursor.close()

    def call(self, name, *arguments):
        """A stored procedure, or a function of PostgreSQL's; its rows."""
        cursor = self.connection.cursor()
        try:
            cursor.callproc(name, *arguments)
            return cursor.fetchall()
        finally:
            cursor.close()

    def commit(self):
        """End the transaction."""
        self.connection.commit()

    def rollback(self):
        """Give it up."""
        self.connection.rollback()

    def close(self):
        """Disconnect."""
        self.connection.close()

    def end(self):
        """After the test."""
        self.close()


class AsyncClient(Client):
    """An asynchronous one."""

    asynchronous = True

    def __init__(self, database, path):
        super().__init__(database, path)
        self.loop = asyncio.new_event_loop()

    def run(self, result):
        """Run a coroutine."""
        return self.loop.run_until_complete(result)

    async def query(self, text, *values):
        """All rows of a statement."""
        cursor = await self.cursor()
        await cursor.execute(text, values)
        return await cursor.fetchall()

    async def execute(self, text, *values):
        """A statement without rows."""
        cursor = await self.cursor()
        await cursor.execute(text, values)
        await cursor.close()

    async def many(self, text, rows):
        """One with several sets of parameters."""
        cursor = await self.cursor()
        await cursor.executemany(text, rows)
        await cursor.close()

    async def call(self, name, *arguments):
        """A stored procedure; its rows."""
        cursor = await self.cursor()
        try:
            await cursor.callproc(name, *arguments)
            return await cursor.fetchall()
        finally:
            await cursor.close()

    async def commit(self):
        """End the transaction."""
        await self.connection.commit()

    async def rollback(self):
        """Give it up."""
        await self.connection.rollback()

    async def close(self):
        """Disconnect."""
        await self.connection.close()

    async def cursor(self):
        """A cursor."""
        return self.connection.cursor()

    def end(self):
        self.run(self.close())
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()


class Psycopg(Client):
    """psycopg 3."""

    server = "postgresql"
    instrumentor = dbsight.PsycopgInstrumentor
    system = "postgresql"
    code = "42P01"
    slow = "SELECT pg_sleep(0.2)"

    def connect(self):
        """Connect."""
        import psycopg

        self.connection = psycopg.connect(self.database.url())


class Psycopg2(Client):
    """psycopg2."""

    module = "psycopg2"
    server = "postgresql"
    instrumentor = dbsight.Psycopg2Instrumentor
    system = "postgresql"
    code = "42P01"
    slow = "SELECT pg_sleep(0.2)"

    def connect(self, **options):
        """Connect."""
        import psycopg2

        self.connection = psycopg2.connect(self.database.url(), **options)


class AsyncPsycopg(AsyncClient):
    """psycopg 3, asynchronous."""

    server = "postgresql"
    instrumentor = dbsight.PsycopgInstrumentor
    system = "postgresql"
    code = "42P01"
    slow = "SELECT pg_sleep(0.2)"

    async def connect(self):
        """Connect."""
        import psycopg

        self.connection = await psycopg.AsyncConnection.connect(self.database.url())


class Asyncpg(AsyncClient):
    """asyncpg."""

    server = "postgresql"
    instrumentor = dbsight.AsyncpgInstrumentor
    system = "postgresql"
    code = "42P01"
    slow = "SELECT pg_sleep(0.2)"

    @staticmethod
    def mark(position):
        return f"${position}"

    async def connect(self):
        """Connect, and begin a transaction, as the others do by themselves."""
        import asyncpg

        where = self.database
        self.connection = await asyncpg.connect(
            host=where.host, port=where.port, user=where.user, password=where.password or None, database=where.name
        )
        self.transaction = None

    async def query(self, text, *values):
        return await self.connection.fetch(text, *values)

    async def execute(self, text, *values):
        await self._begun()
        await self.connection.execute(text, *values)

    async def many(self, text, rows):
        await self._begun()
        await self.connection.executemany(text, rows)

    async def _begun(self):
        if not self.connection.is_in_transaction():
            with dbsight.allow("all", reason="it is the test's"):
                self.transaction = self.connection.transaction()
                await self.transaction.start()

    async def commit(self):
        if self.transaction is not None:
            await self.transaction.commit()
            self.transaction = None

    async def rollback(self):
        if self.transaction is not None:
            await self.transaction.rollback()
            self.transaction = None


class SQLite(Client):
    """sqlite3."""

    instrumentor = dbsight.SQLite3Instrumentor
    system = "sqlite"
    lazy = True
    code = "SQLITE_ERROR"
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) SELECT count(*) FROM n"

    @staticmethod
    def mark(position):
        return "?"

    def connect(self):
        """Connect."""
        self.connection = sqlite3.connect(self.path)


class AioSQLite(AsyncClient):
    """aiosqlite."""

    instrumentor = dbsight.AioSQLiteInstrumentor
    system = "sqlite"
    lazy = True
    code = "SQLITE_ERROR"
    slow = SQLite.slow

    @staticmethod
    def mark(position):
        return "?"

    async def connect(self):
        """Connect."""
        import aiosqlite

        self.connection = await aiosqlite.connect(self.path)

    async def cursor(self):
        return await self.connection.cursor()


class PyMySQL(Client):
    """PyMySQL."""

    server = "mariadb"
    instrumentor = dbsight.PyMySQLInstrumentor
    system = "mariadb"
    code = "1146"
    slow = "SELECT SLEEP(0.2)"

    def connect(self):
        """Connect."""
        import pymysql

        self.connection = pymysql.connect(**self.arguments())

    def arguments(self):
        """Of ``connect``."""
        where = self.database
        found = {"user": where.user, "password": where.password, "database": where.name}
        if where.host.startswith("/"):
            return {**found, "unix_socket": where.host}
        return {**found, "host": where.host, "port": where.port}


class MySQLClient(PyMySQL):
    """mysqlclient."""

    module = "MySQLdb"
    instrumentor = dbsight.MySQLClientInstrumentor

    def connect(self):
        """Connect."""
        import MySQLdb

        self.connection = MySQLdb.connect(**self.arguments())


class AioMySQL(AsyncClient):
    """aiomysql."""

    module = "aiomysql"
    server = "mariadb"
    instrumentor = dbsight.AioMySQLInstrumentor
    system = "mariadb"
    code = "1146"
    slow = PyMySQL.slow

    async def connect(self):
        """Connect."""
        import aiomysql

        where = self.database
        self.connection = await aiomysql.connect(
            host=where.host, port=where.port, user=where.user, password=where.password, db=where.name
        )

    async def cursor(self):
        return await self.connection.cursor()

    async def close(self):
        await self.connection.ensure_closed()


class AsyncMy(AioMySQL):
    """asyncmy."""

    module = "asyncmy"
    instrumentor = dbsight.AsyncmyInstrumentor

    async def connect(self):
        """Connect."""
        import asyncmy

        where = self.database
        self.connection = await asyncmy.connect(
            host=where.host, port=where.port, user=where.user, password=where.password, db=where.name
        )

    async def cursor(self):
        return self.connection.cursor()


CLIENTS = (Psycopg, AsyncPsycopg, Psycopg2, Asyncpg, SQLite, AioSQLite, PyMySQL, MySQLClient, AioMySQL, AsyncMy)


def in_thread(function):
    """Run a function in a thread of its own, without a running event loop around it."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
