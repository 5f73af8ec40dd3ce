"""Connections of SQLAlchemy and of Django, as what explains needs them."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from dbsight.plans.errors import ExplainError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from dbsight.plans.options import Row

SYSTEMS: Final = ("sqlite", "postgresql", "mysql", "mariadb")
_DEPTH: Final = "dbsight.transactions"


def system_of(dialect: Any) -> str:
    """``db.system.name`` of a SQLAlchemy dialect; MariaDB is known once the first connection was made.

    Raises:
        ExplainError: Plans of this database are not read.
    """
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else str(dialect.name)
    return _supported(name)


def _supported(name: str) -> str:
    if name not in SYSTEMS:
        raise ExplainError(f"plans of {name} are not supported; those of {', '.join(SYSTEMS)} are")
    return name


class SQLAlchemySession:
    """A connection of SQLAlchemy's, in whatever state the caller left it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.system = system_of(connection.dialect)
        fairy = connection.connection
        self.driver_connection = getattr(fairy, "driver_connection", None) or fairy.connection
        self._autocommit = _is_autocommit(getattr(fairy, "dbapi_connection", fairy), self.driver_connection)
        self.in_transaction = bool(connection.in_transaction()) and not self._autocommit

    def rows(self, text: str, parameters: Any = None) -> Sequence[Row]:
        """Execute a text as the driver takes it, and fetch all rows."""
        result = self._execute(text, parameters)
        return [tuple(row) for row in result.fetchall()] if result.returns_rows else []

    def count(self, text: str, parameters: Any = None) -> int:
        """Execute a text, and count its rows."""
        result = self._execute(text, parameters)
        number = 0
        while result.returns_rows and (chunk := len(result.fetchmany(1000))):
            number += chunk
        return number

    def _execute(self, text: str, parameters: Any) -> Any:
        # SQLAlchemy 1.4 would commit behind each text that looks like a write; without parameters, a percent sign is
        # one.
        options = {"autocommit": False, **({"no_parameters": True} if parameters is None else {})}
        return self._connection.exec_driver_sql(text, parameters, execution_options=options)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A savepoint in the caller's transaction, or one of our own; rolled back in any case."""
        connection = self._connection
        inside = connection.in_transaction()
        if inside and not self.in_transaction and not self._autocommit:
            connection.get_transaction().rollback()  # what SQLAlchemy began for a query of ours
            inside = False
        own = None if inside and self._autocommit else connection.begin_nested() if inside else connection.begin()
        begin, end = self._by_hand()
        try:
            if begin:
                self.rows(begin)
                connection.info[_DEPTH] = connection.info.get(_DEPTH, 0) + 1
            yield
        finally:
            try:
                if end:
                    connection.info[_DEPTH] = connection.info.get(_DEPTH, 1) - 1
                    self.rows(end)
                if own is not None:
                    own.rollback()
            except Exception:
                # The server is away, or is about to know that we are: it rolls back.
                connection.invalidate()

    def _by_hand(self) -> tuple[str, str]:
        """What begins and ends a transaction where the driver begins none; a savepoint inside another of ours."""
        if not self._autocommit or self.system == "sqlite":
            return "", ""
        if self._connection.info.get(_DEPTH):
            return "SAVEPOINT dbsight_explain", "ROLLBACK TO SAVEPOINT dbsight_explain"
        return "BEGIN", "ROLLBACK"


def _is_autocommit(*connections: Any) -> bool:
    """Whether the driver begins no transaction by itself."""
    for connection in connections:
        ask = getattr(connection, "get_autocommit", None)
        if callable(ask):
            return bool(ask())
        value = getattr(connection, "autocommit", None)
        if isinstance(value, bool):
            return value
    return False


class DjangoSession:
    """A connection of Django's: ``django.db.connections[alias]``."""

    def __init__(self, connection: Any) -> None:
        connection.ensure_connection()
        self._connection = connection
        self.system = _supported("mariadb" if getattr(connection, "mysql_is_mariadb", False) else connection.vendor)
        self.driver_connection = connection.connection
        self.in_transaction = bool(connection.in_atomic_block or not connection.get_autocommit())

    def rows(self, text: str, parameters: Any = None) -> Sequence[Row]:
        """Execute a text, and fetch all rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(text, parameters)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def count(self, text: str, parameters: Any = None) -> int:
        """Execute a text, and count its rows."""
        number = 0
        with self._connection.cursor() as cursor:
            cursor.execute(text, parameters)
            while cursor.description and (chunk := len(cursor.fetchmany(1000))):
                number += chunk
        return number

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """``transaction.atomic()`` that is rolled back in any case."""
        from django.db import transaction

        alias = self._connection.alias
        with transaction.atomic(using=alias):
            try:
                yield
            finally:
                transaction.set_rollback(True, using=alias)


def opened(target: Any) -> AbstractContextManager[Any]:
    """The connection to use: a new one of an engine, closed afterwards, or the caller's own."""
    if not hasattr(target, "pool"):
        return nullcontext(target)
    check_pool(target.pool)
    connection: AbstractContextManager[Any] = target.connect()
    return connection


def check_pool(pool: Any) -> None:
    """Refuse a pool of one connection that is in a transaction: its return to the pool would roll that back.

    Raises:
        ExplainError: It is one.
    """
    shared = _shared(pool)
    driver = getattr(shared, "_connection", shared)  # of SQLAlchemy's adapter of aiosqlite
    if getattr(driver, "in_transaction", False):
        raise ExplainError("this engine has one connection, which is in a transaction: pass that connection instead")


def _shared(pool: Any) -> Any:
    """The DBAPI connection that a pool gives to everybody (in-memory SQLite); None for other pools."""
    kind = type(pool).__name__
    record = None
    if kind == "StaticPool":
        record = pool.__dict__.get("connection")
    elif kind == "SingletonThreadPool":
        current = getattr(pool._conn, "current", None)
        record = current() if current is not None else None
    return getattr(record, "dbapi_connection", None)
