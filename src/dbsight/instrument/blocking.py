"""Which session blocks a slow query of SQLAlchemy: asked of the server while the query runs, if a setting allows it.

Statements are listed while the driver runs them. A thread looks at the list, and asks about those that are slow, on a
connection of our own: PostgreSQL, MariaDB and MySQL. Nothing is asked on the application's threads or connections.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight import semconv
from dbsight.instrument import private
from dbsight.instrument.sqlalchemy_call import StatementCall
from dbsight.instrument.sqlalchemy_replay import ReplayableCall
from dbsight.model import Blocker
from dbsight.model.deferred import pattern
from dbsight.safety import guard
from dbsight.span.pending import COMPLETED
from dbsight.statement import read

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOOK: Final = 0.1
"""s between two looks at what runs, at most."""

_AGAIN: Final = 0.25
"""s between two questions about one query; a tenth of the time that it runs, where that is more."""

_IDLE: Final = 5.0
"""s without a query after which the thread ends."""

_AWAY: Final = 60.0
"""s without a question to a server that did not answer the last one."""

_PATIENCE: Final = 5.0
"""s that a server may take for an answer."""

_LONG_AWAY: Final = 3600.0
"""s without a question to a server that did not answer in that time."""

_MAX_RUNNING: Final = 1000
_MAX_ASKED: Final = 20
"""Queries that are asked about in one question."""

_TRACEPARENT: Final = pattern(r"traceparent\s*=\s*'00-([0-9a-f]{32})-")

_POSTGRESQL: Final = """\
SELECT w.pid, b.pid, b.application_name, b.state, EXTRACT(EPOCH FROM clock_timestamp() - b.xact_start)::float8, b.query,
 {since}
FROM pg_catalog.pg_stat_activity AS w
JOIN pg_catalog.pg_stat_activity AS b ON b.pid = ANY (pg_catalog.pg_blocking_pids(w.pid))
WHERE w.pid IN ({sessions}) AND w.wait_event_type = 'Lock' ORDER BY b.xact_start"""
_WAITS_SINCE: Final = """\
(SELECT EXTRACT(EPOCH FROM clock_timestamp() - min(l.waitstart))::float8
 FROM pg_catalog.pg_locks AS l WHERE l.pid = w.pid AND NOT l.granted)"""

_MARIADB: Final = """\
SELECT r.trx_mysql_thread_id, b.trx_mysql_thread_id, '', COALESCE(p.command, ''),
 TIMESTAMPDIFF(SECOND, b.trx_started, NOW()), b.trx_query,
 TIMESTAMPDIFF(MICROSECOND, r.trx_wait_started, NOW(6)) / 1e6
FROM information_schema.innodb_lock_waits AS w
JOIN information_schema.innodb_trx AS b ON b.trx_id = w.blocking_trx_id
JOIN information_schema.innodb_trx AS r ON r.trx_id = w.requesting_trx_id
LEFT JOIN information_schema.processlist AS p ON p.id = b.trx_mysql_thread_id
WHERE r.trx_mysql_thread_id IN ({sessions}) ORDER BY b.trx_started"""
"""InnoDB keeps whole seconds: what a query waited is at most one more, and never more than it took."""

_MYSQL: Final = """\
SELECT w.waiting_pid, w.blocking_pid, '', COALESCE(p.command, ''),
 TIMESTAMPDIFF(MICROSECOND, w.blocking_trx_started, NOW(6)) / 1e6, w.blocking_query,
 TIMESTAMPDIFF(MICROSECOND, w.wait_started, NOW(6)) / 1e6
FROM sys.innodb_lock_waits AS w LEFT JOIN information_schema.processlist AS p ON p.id = w.blocking_pid
WHERE w.waiting_pid IN ({sessions}) ORDER BY w.blocking_trx_started"""


class RunningCall(StatementCall):
    """A statement that is listed while the driver runs it.

    Attributes:
        blocker: The session that it waited for, as far as is known.
        context: SQLAlchemy's execution context while it runs.
        asked: When the server was asked about it last, on ``perf_counter``.
    """

    blocker: Blocker | None = None
    context: Any = None
    asked = 0.0

    @guard
    def enters(self, context: Any) -> None:
        """It is listed."""
        if self.engine.database.system in _QUESTIONS:
            self.context = context
            watch.add(self)

    def leaves(self, context: Any) -> None:
        """It is listed no longer."""
        watch.running.pop(id(self), None)
        self.context = None
        super().leaves(context)

    def complete(self) -> None:
        """As for every statement, with the session that blocked it."""
        blocker = self.blocker
        if blocker is not None and self.rare is not COMPLETED:
            self.add(_attributes(blocker))
        super().complete()
        self.blocker = blocker


class RunningReplayableCall(RunningCall, ReplayableCall):
    """The same of one whose plan may be asked for as well."""


def _attributes(blocker: Blocker) -> dict[str, Any]:
    known = {
        semconv.QUERY_LOCK_TIME: blocker.waited,
        semconv.BLOCKER_SESSION: blocker.session,
        semconv.BLOCKER_APPLICATION: blocker.application,
        semconv.BLOCKER_STATE: blocker.state,
        semconv.BLOCKER_TRANSACTION_TIME: blocker.open_for,
        semconv.BLOCKER_QUERY_SUMMARY: blocker.summary,
        semconv.BLOCKER_QUERY_FINGERPRINT: blocker.fingerprint,
        semconv.BLOCKER_TRACE: blocker.trace,
    }
    return {name: value for name, value in known.items() if value not in (None, "")}


class Watch:
    """The statements that run, and the thread that asks about those that take long."""

    def __init__(self) -> None:
        self.slow = 1.0  # s
        self.running: dict[int, RunningCall] = {}
        self._forget()

    def _forget(self) -> None:
        self.running.clear()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._away: dict[str, float] = {}

    # -- The application's threads --------------------------------------------------------------------------------

    def add(self, call: RunningCall) -> None:
        """A statement begins."""
        if len(self.running) < _MAX_RUNNING:
            self.running[id(call)] = call
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._stopped.clear()
            self._thread = threading.Thread(target=self._run, name="dbsight-blocking", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._thread = None

    def stop(self) -> None:
        """Let the thread end; statements that begin afterwards start another one."""
        self._stopped.set()

    after_fork = _forget

    # -- The thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        idle_since = perf_counter()
        while not self._stopped.wait(min(_LOOK, max(self.slow / 2, 0.01))):
            now = perf_counter()
            if self.running:
                idle_since = now
                self._look(now)
            elif now - idle_since > _IDLE:
                with self._lock:
                    self._thread = None
                    if not self.running:
                        return
                    self._thread = threading.current_thread()  # one came meanwhile, and saw that there was a thread
        self._thread = None

    def _look(self, now: float) -> None:
        """Ask about the statements that are slow, those of one engine together. Never raises."""
        due: dict[int, tuple[Any, dict[int, RunningCall]]] = {}
        for call in list(self.running.values()):
            elapsed = now - call.began
            if elapsed < self.slow or now - call.asked < max(_AGAIN, elapsed / 10):
                continue
            try:
                context = call.context
                engine = context.engine
                # Not the public property: it connects again where the connection was lost.
                session = _session(context.root_connection._dbapi_connection)
            except Exception:  # noqa: S112 - it ended in this moment, or its driver does not tell
                continue
            if session is not None and self._away.get(call.engine.database.key, 0.0) <= now:
                call.asked = now
                calls = due.setdefault(id(engine), (engine, {}))[1]
                if len(calls) < _MAX_ASKED:
                    calls[session] = call
        for engine, calls in due.values():
            self._question(engine, calls)

    def _question(self, engine: Any, calls: dict[int, RunningCall]) -> None:
        """Ask on a thread that is left behind where the server takes the connection and never answers."""
        database = next(iter(calls.values())).engine.database.key
        asking = threading.Thread(target=self._ask_server, args=(engine, calls, database), daemon=True)
        try:
            asking.start()
        except RuntimeError:  # the interpreter is shutting down
            self._away[database] = perf_counter() + _AWAY
            return
        asking.join(_PATIENCE)
        if asking.is_alive():
            self._away[database] = perf_counter() + _LONG_AWAY

    def _ask_server(self, engine: Any, calls: dict[int, RunningCall], database: str) -> None:
        try:
            with suppress_instrumentation():
                private.run(engine, partial(_ask, calls))
        except Exception:
            # Refused, or away. The query is reported all the same.
            self._away[database] = perf_counter() + _AWAY


def _session(proxy: Any) -> int | None:
    """The number by which the server knows a connection, as its driver remembers it; None where it does not."""
    if proxy is None:
        return None
    driver = getattr(proxy, "driver_connection", None) or proxy.connection
    info = getattr(driver, "info", None)
    number = getattr(info, "backend_pid", None)  # psycopg, psycopg2
    for name in ("get_server_pid", "thread_id", "get_backend_pid"):  # asyncpg; PyMySQL and its kin; psycopg2
        if number is None and callable(ask := getattr(driver, name, None)):
            number = ask()
    return number if isinstance(number, int) else None


def _ask(calls: dict[int, RunningCall], connection: Any) -> None:
    dialect = connection.dialect
    system = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    since = _WAITS_SINCE if (dialect.server_version_info or (0,)) >= (14,) else "NULL"
    question = _QUESTIONS[system].format(sessions=", ".join(map(str, calls)), since=since)
    rows = connection.exec_driver_sql(question, execution_options={"no_parameters": True}).fetchall()
    _note(rows, calls, system)


def _note(rows: Iterable[Any], calls: dict[int, RunningCall], system: str) -> None:
    """Keep for each query the first session that blocks it, which is the one whose transaction began first."""
    now = perf_counter()
    noted = set()
    for waiting, session, application, state, open_for, query, waited in rows:
        call = calls.get(int(waiting))
        if call is None or waiting in noted:
            continue
        noted.add(waiting)
        text = query or ""
        statement = None if not text or text == "<insufficient privilege>" else read(text, system)
        trace = _TRACEPARENT.search(text)
        elapsed = now - call.began
        call.blocker = Blocker(
            int(session),
            str(application or ""),
            str(state or ""),
            float(open_for) if open_for is not None else None,
            statement.summary if statement is not None else "",
            statement.fingerprint if statement is not None else "",
            trace[1] if trace is not None else "",
            min(float(waited) if waited is not None else elapsed, elapsed),
        )


_QUESTIONS: Final = {"postgresql": _POSTGRESQL, "mariadb": _MARIADB, "mysql": _MYSQL}

watch = Watch()
"""Of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=watch.after_fork)
