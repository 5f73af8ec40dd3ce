"""What a pool and its server say of their limits, for the checklist: read from the objects of pool libraries.

Private names are read here (``QueuePool._timeout``, ``Pool._recycle``, ``Pool._pre_ping`` of SQLAlchemy 1.4 to 2.1;
``_max_inactive_connection_lifetime`` and ``_max_queries`` of asyncpg's pools); a fact is unknown where one is missing.
Only processes that ``dbsight doctor -- command`` starts read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight.safety import failed

if TYPE_CHECKING:
    from dbsight.instrument.pools.pool import Pool
    from dbsight.model import PoolState

_POSTGRESQL: Final = """\
SELECT name, setting FROM pg_settings WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout',
'max_connections')"""
_MYSQL: Final = """\
SHOW VARIABLES WHERE Variable_name IN ('max_statement_time', 'max_execution_time', 'idle_transaction_timeout',
'wait_timeout', 'max_connections')"""
_LIMITS: Final = {"postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MYSQL}
TIMEOUTS: Final = frozenset(
    {"command_timeout", "read_timeout", "statement_timeout", "max_execution_time", "max_statement_time", "call_timeout"}
)
"""Driver options that set a query timeout: asyncpg, PyMySQL, PostgreSQL, MySQL, MariaDB, Oracle."""
IDLE_LIMITS: Final = frozenset({"idle_in_transaction_session_timeout", "idle_transaction_timeout"})
"""Options that end a transaction in which nothing happens: PostgreSQL, MariaDB."""
_SHARED: Final = "dbsight_role"
NEVER: Final = -1.0
"""s; a limit that is switched off."""


def facts_of(pool: Pool) -> dict[str, Any]:
    """Limits of one pool, by the names of ``practice.Engine``; what is unknown is absent. Never raises."""
    try:
        made = pool.pool
        read = _READ.get(pool.library)
        return read(made) if made is not None and read is not None else {}
    except Exception:
        failed("doctor.pool_facts")
        return {}


def _sqlalchemy(pool: Any) -> dict[str, Any]:
    recycle = getattr(pool, "_recycle", None)
    facts: dict[str, Any] = {"pre_ping": bool(getattr(pool, "_pre_ping", False))}
    if hasattr(pool, "_timeout"):
        facts["timeout"] = NEVER if pool._timeout is None else float(pool._timeout)
    if recycle is not None:
        facts["recycle"] = float(recycle) if recycle >= 0 else NEVER
    return facts


def _psycopg(pool: Any) -> dict[str, Any]:
    limits = limits_among(pool.kwargs, pool.conninfo)
    return {
        "timeout": float(pool.timeout),
        "recycle": float(pool.max_lifetime),
        "idle_after": float(pool.max_idle),
        **({"limits": limits} if limits else {}),
    }


def _asyncpg(pool: Any) -> dict[str, Any]:
    idle, most = getattr(pool, "_max_inactive_connection_lifetime", None), getattr(pool, "_max_queries", None)
    facts: dict[str, Any] = {}
    if idle is not None:
        facts["idle_after"] = float(idle) if idle else NEVER
    if most is not None:
        facts["max_queries"] = int(most)
    limits = limits_among(getattr(pool, "_connect_kwargs", {}))
    if limits:
        facts["limits"] = limits
    return facts


def _django(about: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"pre_ping": about.health_checks}
    if about.max_age != 0:  # else they are closed after each request
        facts["recycle"] = NEVER if about.max_age is None else float(about.max_age)
    return facts


def _aiomysql(pool: Any) -> dict[str, Any]:
    recycle = getattr(pool, "_recycle", None)
    facts: dict[str, Any] = {} if recycle is None else {"recycle": float(recycle) if recycle >= 0 else NEVER}
    limits = limits_among(getattr(pool, "_conn_kwargs", {}))
    return {**facts, "limits": limits} if limits else facts


def limits_among(options: object, conninfo: object = "") -> list[str]:
    """The options of a driver that limit how long queries or idle transactions may take, without their values.

    Args:
        options: A dictionary as the driver takes it; none are known of anything else.
        conninfo: A connection string, which may have options of the server in it.
    """
    if not isinstance(options, dict):  # psycopg_pool takes a function, too
        options = {}
    told = {name for name, value in options.items() if value is not None}
    texts = (conninfo, *(options.get(name) for name in ("options", "init_command", "server_settings", "conninfo")))
    for text in texts:
        told.update(limit for limit in TIMEOUTS | IDLE_LIMITS if text is not None and limit in str(text))
    return sorted(told & (TIMEOUTS | IDLE_LIMITS))


def _redis(pool: Any) -> dict[str, Any]:
    options = getattr(pool, "connection_kwargs", {})
    shared = hasattr(pool, _SHARED) and hasattr(pool, "dbsight_clean")
    facts: dict[str, Any] = {
        "shared": shared,
        "tested": shared or float(options.get("health_check_interval") or 0) > 0,
    }
    if hasattr(pool, "timeout"):
        facts["timeout"] = NEVER if pool.timeout is None else float(pool.timeout)
    if shared:
        from dbsight.redis_pools import IDLE_AFTER

        facts["idle_after"] = IDLE_AFTER
    return facts


_READ: Final = {
    "sqlalchemy": _sqlalchemy,
    "psycopg_pool": _psycopg,
    "asyncpg": _asyncpg,
    "aiomysql": _aiomysql,
    "django": _django,
    "redis": _redis,
    "valkey": _redis,
}
"""By ``Pool.library``."""


def server_limits(connection: Any) -> dict[str, float]:
    """Ask a server for its limits on a new connection of SQLAlchemy, and leave no transaction behind.

    Args:
        connection: A ``Connection`` on which nothing has run.

    Returns:
        The settings in s, and ``max_connections``; empty where the server is of another kind, or does not say.
    """
    statement = _LIMITS.get(connection.engine.dialect.name)
    if statement is None:
        return {}
    inner = connection.connection
    try:
        with suppress_instrumentation():
            cursor = inner.cursor()
            try:
                cursor.execute(statement)
                rows = {str(name): str(value) for name, value in cursor.fetchall()}
            finally:
                cursor.close()
                inner.rollback()
    except Exception:  # it may not be allowed to, and the application goes on
        return {}
    return {name: _seconds(name, value) for name, value in rows.items()}


def _seconds(name: str, value: str) -> float:
    """A setting of a server: PostgreSQL's timeouts and MySQL's limit of execution are in ms, the others in s."""
    number = float(value)
    in_ms = name in {"statement_timeout", "idle_in_transaction_session_timeout", "max_execution_time"}
    return number / 1000 if in_ms else number


def state_of(state: PoolState) -> dict[str, Any]:
    """What the checklist takes from the state of a pool."""
    return {
        "kept": state.idle_min or state.idle_max or 0,
        "most": state.most,
        "idle": state.idle,
        "created": state.created,
        "same": state.same,
        "clients": state.clients,
        "cleanup_failures": state.cleanup_failures,
        "asynchronous": state.asynchronous,
    }
