"""``explain``: from a statement and where it runs to its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight import statement as statements
from dbsight.model import Plan, PlanNode
from dbsight.plans import mariadb, mysql, postgresql, sqlite
from dbsight.plans.errors import described
from dbsight.plans.options import Options
from dbsight.plans.permission import check_execution, check_text
from dbsight.plans.quoting import readable
from dbsight.plans.rendering import as_json, as_text, as_tree
from dbsight.plans.saved import with_values
from dbsight.plans.sessions import DjangoSession, SQLAlchemySession, check_pool, opened, system_of
from dbsight.plans.statements import is_queryset, of_queryset, of_sqlalchemy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dbsight.plans.options import Session

_DATABASES: Final = {
    "mariadb": mariadb.explain,
    "mysql": mysql.explain,
    "postgresql": postgresql.explain,
    "sqlite": sqlite.explain,
}
_FORMATS: Final[dict[str | None, Callable[[Plan], Any]]] = {
    None: lambda plan: plan,
    "text": as_text,
    "tree": as_tree,
    "json": as_json,
}


def explain(
    statement: Any,
    target: Any = None,
    *,
    params: Any = None,
    analyze: bool = False,
    rollback: bool = False,
    format: str | None = None,  # noqa: A002 - the word that EXPLAIN has for it
    timeout: float = 10.0,
    lock_timeout: float = 1.0,
) -> Any:
    """Ask the database how it executes a statement: SQLite, PostgreSQL, MySQL or MariaDB.

    It runs in a transaction that is always rolled back, read only where the database has that; it is neither traced nor
    counted. Literals are hidden in everything that is text or JSON, but not in the attributes of a ``Plan``.

    Args:
        statement: SQL text, a SQLAlchemy statement, or a Django queryset.
        target: SQLAlchemy ``Engine``, ``Connection``, ``AsyncEngine`` or ``AsyncConnection``, or a connection of
            Django's (``django.db.connection``). A queryset needs none.
        params: Values of the statement: a mapping for ``:name``, else as the driver takes them.
        analyze: Execute the statement, for actual rows and times. What writes, locks rows, or calls a function that may
            have side effects is refused.
        rollback: With ``analyze``, execute what writes as well, and roll it back.
        format: None for a ``Plan``; ``"text"`` or ``"tree"`` for a string, ``"json"`` for a dict of plain values.
        timeout: s that the statement may run.
        lock_timeout: s that it may wait for a lock; MySQL and MariaDB round up to whole seconds.

    Returns:
        The plan in that format; for an asynchronous engine or connection, an awaitable of it.

    Raises:
        ExplainRefusedError: It could change data, block, or run something else.
        ExplainError: The database gave no plan; ``__cause__`` is the driver's exception.
    """
    if format not in _FORMATS:
        raise ValueError(f"format is text, tree, json or None, not {format!r}")
    if rollback and not analyze:
        raise ValueError("rollback=True means something with analyze=True only")
    options = Options(analyze, rollback, timeout, lock_timeout)
    finish = _FORMATS[format]
    if is_queryset(statement) and target is None:
        from django.db import connections

        return finish(_explain_django(connections[statement.db], *of_queryset(statement), options))
    if hasattr(target, "vendor") and hasattr(target, "ensure_connection"):
        return finish(_explain_django(target, statement, params, options))
    if hasattr(target, "sync_engine") and hasattr(target, "run_sync"):
        return _explain_on_connection(target, statement, params, options, finish)
    if hasattr(target, "sync_engine"):
        return _explain_on_engine(target, statement, params, options, finish)
    if not hasattr(target, "dialect"):
        raise TypeError(f"explain takes an engine or connection of SQLAlchemy or Django's, not {type(target).__name__}")
    return finish(_explain(target, statement, params, options))


def explain_saved(text: str, target: Any, values: Mapping[str, Any], *, timeout: float = 10.0) -> Any:
    """Ask for the plan of a statement of a saved report, whose values are unknown.

    SQLite plans without values, PostgreSQL with its generic plan; MySQL and MariaDB need all of them.

    Args:
        text: As the report has it.
        target: SQLAlchemy ``Engine`` or ``AsyncEngine``.
        values: Those that are known, by the names or the positions of their placeholders.
        timeout: s that the statement may run.

    Returns:
        As ``explain`` does.

    Raises:
        ExplainError: As ``explain`` does, or a value is missing or superfluous.
    """
    system = system_of(getattr(target, "dialect", None) or target.sync_engine.dialect)
    written, unknown = with_values(text, values, system)
    generic = system == "postgresql" and unknown > 0
    params = (None,) * unknown if unknown and not generic else None
    options = Options(timeout=timeout, unknown=unknown if generic else 0)
    if hasattr(target, "sync_engine"):
        return _explain_on_engine(target, written, params, options, _FORMATS[None])
    return _explain(target, written, params, options)


async def _explain_on_engine(engine: Any, statement: Any, params: Any, options: Options, finish: Any) -> Any:
    check_pool(engine.sync_engine.pool)
    with suppress_instrumentation(), described():
        async with engine.connect() as connection:
            return await _explain_on_connection(connection, statement, params, options, finish)


async def _explain_on_connection(connection: Any, statement: Any, params: Any, options: Options, finish: Any) -> Any:
    return finish(await connection.run_sync(lambda inner: _explain(inner, statement, params, options)))


def _explain(target: Any, statement: Any, params: Any, options: Options) -> Plan:
    system_of(target.dialect)
    text, parameters = of_sqlalchemy(statement, params, target.dialect)
    with suppress_instrumentation(), described(), opened(target) as connection:
        return _ask(SQLAlchemySession(connection), text, parameters, options)


def _explain_django(connection: Any, text: str, parameters: Any, options: Options) -> Plan:
    with suppress_instrumentation(), described():
        return _ask(DjangoSession(connection), text, parameters, options)


def _ask(session: Session, text: str, parameters: Any, options: Options) -> Plan:
    text = readable(text, session)
    tokens = check_text(text, session.system)
    if options.analyze:
        check_execution(text, tokens, rollback=options.rollback)
    plan = Plan(statements.read(text, session.system), PlanNode("unknown"))
    _DATABASES[session.system](session, text, parameters, options, plan)
    plan.text = as_text(plan)
    return plan
