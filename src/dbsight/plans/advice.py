"""``advise_index``: the indexes that a statement lacks, proved by the planner where that is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight.plans.advisor import SCRATCH, Advisor
from dbsight.plans.candidates import DIALECTS
from dbsight.plans.errors import ExplainError, described
from dbsight.plans.explain import explain
from dbsight.plans.literals import with_literals
from dbsight.plans.merging import merged
from dbsight.plans.options import Options
from dbsight.plans.sessions import check_pool, opened, system_of

if TYPE_CHECKING:
    from dbsight.model import IndexAdvice, Plan
    from dbsight.plans.merging import Advised


_LONG: Final = 20_000
"""Characters up to which a slow statement is parsed in the background: some tenths of a second."""


def advise_index(
    statement: Any,
    engine: Any,
    *,
    params: Any = None,
    proof: Literal["safe", "transaction", "scratch"] = "safe",
    timeout: float = 10.0,
    lock_timeout: float = 1.0,
) -> Any:
    """Find the indexes that a SELECT lacks: SQLite, PostgreSQL, MariaDB, MySQL; needs the extra ``dbsight[advice]``.

    Nothing is advised that exists already, that the planner does not use, or for tables below 1 000 rows. The statement
    itself is not executed.

    Args:
        statement: SQL text, a SQLAlchemy statement, or a list of them: then one index that serves several of them is
            advised instead of one index each.
        engine: SQLAlchemy ``Engine``, ``Connection``, ``AsyncEngine`` or ``AsyncConnection``.
        params: Values by name, by which the planner decides; for a list of statements, a list of them.
        proof: ``safe`` tries indexes in an in-memory clone of a SQLite schema and, on PostgreSQL, with the extension
            hypopg where that is installed; without it, and on MariaDB and MySQL, advice is ``likely``. ``transaction``
            creates them on PostgreSQL and rolls them back: writes to the table wait meanwhile. ``scratch`` creates
            them on MariaDB and MySQL in a schema of its own, with a sample of the rows, and drops that.
        timeout: s that each statement may run.
        lock_timeout: s that it may wait for a lock.

    Returns:
        At most one index per table, but one for each side of an OR where they help together only; empty where none
        would help. For an asynchronous engine or connection, an awaitable of it.

    Raises:
        ExplainError: The statement cannot be parsed or explained, or the database is none of these.
    """
    if proof not in ("safe", "transaction", "scratch"):
        raise ValueError(f"proof is safe, transaction or scratch, not {proof!r}")
    if hasattr(engine, "sync_engine"):
        return _advise_async(engine, statement, params, proof=proof, timeout=timeout, lock_timeout=lock_timeout)
    system = system_of(engine.dialect)
    if system not in DIALECTS:
        raise ExplainError(f"index advice for {system} is not supported; it is for {', '.join(DIALECTS)}")
    several = isinstance(statement, (list, tuple))
    given = _pairs(statement, params) if several else [(statement, params)]
    texts = [(_with_values(each, values, engine.dialect), _template(each, engine.dialect)) for each, values in given]
    if proof == "scratch" and system in SCRATCH and getattr(engine, "in_transaction", bool)():
        raise ExplainError("a scratch schema ends the transaction of this connection: pass the engine instead")
    with suppress_instrumentation(), described(), opened(engine) as connection:
        system = system_of(connection.dialect)
        options = Options(timeout=timeout, lock_timeout=lock_timeout)
        advisors = []
        for text, template in texts:
            plan = explain(text, connection, timeout=timeout, lock_timeout=lock_timeout)
            advisors.append(Advisor(connection, text, plan, options, template))
        return merged(advisors, proof) if several else advisors[0].advise(proof)


async def _advise_async(engine: Any, statement: Any, params: Any, **options: Any) -> list[IndexAdvice]:
    def advise(connection: Any) -> list[IndexAdvice]:
        found: list[IndexAdvice] = advise_index(statement, connection, params=params, **options)
        return found

    if hasattr(engine, "run_sync"):  # a connection
        result: list[IndexAdvice] = await engine.run_sync(advise)
        return result
    check_pool(engine.sync_engine.pool)
    with suppress_instrumentation(), described():
        async with engine.connect() as connection:
            found: list[IndexAdvice] = await connection.run_sync(advise)
    return found


def advise_slow(
    plan: Plan, connection: Any, text: str, parameters: Any, *, proof: str, advised: Advised, database: str
) -> list[IndexAdvice] | None:
    """Index advice for a query that was explained already, given as its driver got it.

    Args:
        plan: Its plan.
        connection: Where; one of our own.
        text: The statement.
        parameters: Its values.
        proof: As for ``advise_index``.
        advised: What was advised before.
        database: Which one of those of the process.

    Returns:
        As ``advise_index``; None if unknown: the parser is not installed, a value has no literal, or the text is so
        long that parsing it would keep the application waiting for the interpreter.
    """
    if plan.system not in DIALECTS or len(text) > _LONG:
        return None
    try:
        style = connection.dialect.paramstyle
        literal = with_literals(text, parameters, style, plan.system)
        template = with_literals(text, parameters, style, plan.system, hidden=True)
        with described():
            advisor = Advisor(connection, literal, plan, Options(timeout=5.0, lock_timeout=0.5), template)
            statement = plan.statement
            return advised.advise(database, statement.fingerprint, statement.summary, advisor, proof)
    except ExplainError:
        return None


def _pairs(statements: Sequence[Any], params: Any) -> list[tuple[Any, Any]]:
    """Several statements with the values of each."""
    if params is None:
        return [(each, None) for each in statements]
    if isinstance(params, Mapping) or len(params) != len(statements):
        raise TypeError("with several statements, params is a list with the values of each, or None")
    return list(zip(statements, params, strict=True))


def _template(statement: Any, dialect: Any) -> str:
    """The text with a placeholder for each value that is not written into it."""
    if isinstance(statement, str):
        return statement
    return str(statement.compile(dialect=type(dialect)(paramstyle="named")))


def _with_values(statement: Any, params: Mapping[str, Any] | None, dialect: Any) -> str:
    """The text with its values in it, for the planner alone."""
    if isinstance(statement, str):
        if params is None:
            return statement
        if not isinstance(params, Mapping):
            raise TypeError("advise_index takes parameters by name, and :name in the text")
        from sqlalchemy import text

        statement = text(statement)
    if params:
        statement = statement.bindparams(**params) if hasattr(statement, "bindparams") else statement.params(**params)
    try:
        # Percent signs are doubled for drivers that format texts, and this text has nothing to format.
        named = type(dialect)(paramstyle="named")
        return str(statement.compile(dialect=named, compile_kwargs={"literal_binds": True}))
    except Exception as error:
        raise ExplainError(f"a parameter cannot be written as a literal: {type(error).__name__}") from error
