"""Properties of redis-py clients: server, pipeline, errors, built-in metrics."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

from dbsight.instrument.outcomes import error_type
from dbsight.model import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from dbsight.instrument.pools.checkout import Checkout
    from dbsight.instrument.pools.redis_checkout import CommandCheckout
    from dbsight.model import CallSite
    from dbsight.statement.redis.command import Command


class Sending(Protocol):
    """A command or pipeline, as far as others have to know.

    Attributes:
        database: Where it is sent.
        over: Its reply is there.
        keeps: It keeps its connection, because it watches keys.
        request: The current request to a pool for a connection.
        held: The connection that a pool gave it last, until that is told.
        allowed: Rules that were allowed when it began.
        call_site: The line of the application.
        thread: Identity of the thread that began it.
        pool: Name of the pool of its connection.
        pool_wait: s that it waited for it.
        connect_time: s in which it was made.
    """

    database: Database
    request: Checkout | None
    over: bool
    keeps: bool
    held: CommandCheckout | None
    allowed: frozenset[str]
    call_site: CallSite | None
    thread: int
    pool: str | None
    pool_wait: float
    connect_time: float

    def have(self, **values: Any) -> None:
        """Note values that hardly any has: ``failures``, attempts to send it; ``local``, answered by the client."""

    def noted(self, name: str) -> Any:
        """Such a value, None where it was not noted."""

    def given(self, request: Checkout, connection: Any) -> None:
        """What was asked for is here. Never raises."""

    def reached(self, connection: Any) -> None:
        """It is sent on this connection, of one of several servers."""


running: ContextVar[Sending | None] = ContextVar("dbsight_redis_running", default=None)
"""The command or pipeline that this thread or task began last; it may be over."""

WATCHING: Final = frozenset({"immediate_execute_command", "_immediate_execute_command"})
"""Methods that keep their connection, because they watch keys; it may be forgotten before EXEC."""

_MAX_DATABASES: Final = 1_000

_NOTHING: Final[Mapping[str, Any]] = {}
_FIRST: Final = itemgetter(0)

_databases: dict[tuple[Any, ...], Database] = {}

LOOK_UPS: Final = frozenset(("get", "mget"))
"""Effects of commands whose reply says whether a key was found."""

PLAIN: Final = frozenset(("GET", "HGET", "GETEX", "GETDEL", "MGET", "HMGET"))
"""These commands, but for those of modules, whose replies the library transforms."""

_PREFIXES: Final = {
    "AskError": "ASK",
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "ERR",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "ModuleError": "ERR",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
    "ExternalAuthProviderError": "ERR",
}
"""Prefixes that the parser takes off the message, by the class that it makes of them."""


def database_of(client: Any, system: str) -> Database:
    """Where a client, a pool, a pipeline, a subscription or a cluster sends its commands."""
    try:
        return client.__dict__["connection_pool"].__dict__["_dbsight_database"]  # type: ignore[no-any-return]
    except (AttributeError, KeyError):
        return _look_for_database(client, system)


def _look_for_database(client: Any, system: str) -> Database:
    # An asynchronous cluster has both: the arguments of connections, as a pool has, and its nodes.
    is_pool = hasattr(client, "connection_kwargs") and not hasattr(client, "nodes_manager")
    pool = client if is_pool else getattr(client, "connection_pool", None)
    if pool is None:
        return _cluster(client, system)
    known: Database | None = pool.__dict__.get("_dbsight_database")
    if known is not None:
        return known
    options = pool.connection_kwargs
    service = getattr(pool, "service_name", None)
    address = service or options.get("host") or options.get("path") or "localhost"
    port = None if service or options.get("path") else _number(options.get("port") or 6379)
    database = _shared(system, str(options.get("db") or 0), str(address), port, several=service is not None)
    # An application may change its kwargs, but not usually once there are connections.
    pool.__dict__["_dbsight_database"] = database
    return database


def _cluster(client: Any, system: str) -> Database:
    # A pipeline, its strategy and a subscription know their cluster by other names in other releases.
    for name in ("_pipe", "cluster", "cluster_client", "_client"):
        client = getattr(client, name, client)
    nodes = list(getattr(getattr(client, "nodes_manager", None), "startup_nodes", ()))
    node = nodes[0] if nodes else ""
    host, _, port = str(node).rpartition(":")
    return _shared(system, "0", host or "cluster", _number(port), cluster=True, several=True)


def _number(port: Any) -> int | None:
    """A port as a number: an application may have read it from its environment."""
    try:
        return int(port)
    except (TypeError, ValueError):
        return None


def _shared(
    system: str, namespace: str, address: str, port: int | None, *, cluster: bool = False, several: bool = False
) -> Database:
    """One object per target: an application may create a client per request."""
    return _known(
        (system, namespace, address, port, cluster, several),
        lambda: Database(system, namespace, address, port, cluster=cluster, several=several),
    )


def _known(key: tuple[Any, ...], make: Callable[[], Database]) -> Database:
    database = _databases.get(key)
    if database is None:
        if len(_databases) >= _MAX_DATABASES:
            _databases.clear()
        database = _databases[key] = make()
    return database


def server_of(database: Database, connections: Sequence[Any], *, redirected: bool) -> Database:
    """The server of a cluster, or of a sentinel's service, that answered.

    Args:
        database: The whole.
        connections: Those that the command or pipeline used.
        redirected: Only the last of them answered.

    Returns:
        A record with the address and port of the server; in totals and rules it is the same database as the whole. The
        whole itself where several servers answered.
    """
    used = connections[-1:] if redirected else connections
    inner = [getattr(each, "_conn", each) for each in used]  # behind a cache of the client
    where = {(str(getattr(each, "host", None) or ""), _number(getattr(each, "port", None))) for each in inner}
    address, port = where.pop() if len(where) == 1 else ("", None)
    if not address:
        return database

    def make() -> Database:
        made = Database(database.system, database.namespace, address, port, cluster=database.cluster)
        made.key, made.label = database.key, database.label
        return made

    return _known((database, address, port), make)


def queued(pipe: Any) -> tuple[Sequence[Sequence[Any]], bool]:
    """The commands that wait in a pipeline, and whether they will be sent as a transaction."""
    known = getattr(pipe, "__dict__", _NOTHING)
    stack = known.get("command_stack")
    if stack is None or "_execution_strategy" in known:
        return _queued_for_cluster(pipe)
    if stack and type(stack[0]) is not tuple:  # clusters, redis-py 5
        return [each.args for each in stack], False
    transaction = known.get("is_transaction")  # asyncio, where ``transaction`` is a method
    if transaction is None:
        transaction = known.get("transaction")
    return tuple(map(_FIRST, stack)), bool(transaction or known.get("explicit_transaction"))


def _queued_for_cluster(pipe: Any) -> tuple[Sequence[Sequence[Any]], bool]:
    strategy = getattr(pipe, "_execution_strategy", None)
    if strategy is not None:  # redis-py 6 and newer
        return [each.args for each in strategy._command_queue], "Transaction" in type(strategy).__name__
    return [each.args for each in pipe._command_stack], False


def transforms(callbacks: dict[Any, Any], command: Command) -> bool:
    """Whether a response callback of the application takes the reply: whether a key was found is not known then."""
    parts = command.parts or (command,)
    return any(part.operation in PLAIN and dict.__contains__(callbacks, part.operation) for part in parts)


def error_of(error: BaseException) -> tuple[str, str | None]:
    """``error.type`` and ``db.response.status_code`` of an exception.

    Returns:
        The class with its module, and the prefix of the server's error (``WRONGTYPE``); None for what is no reply of
        the server.
    """
    return error_type(error), _prefix(error)


def _prefix(error: BaseException) -> str | None:
    code = getattr(error, "status_code", None)  # redis-py 7 and newer
    if isinstance(code, str) and code:
        return code
    names = {kind.__name__ for kind in type(error).__mro__}
    for kind in type(error).__mro__:
        if kind.__name__ in _PREFIXES:
            return _PREFIXES[kind.__name__]
    if "ResponseError" not in names:
        return None
    message = str(error.args[0]) if error.args else ""
    # A pipeline puts the command, with its values, in front.
    message = message.rpartition("of pipeline caused error: ")[2]
    first = message.partition(" ")[0]
    return first if 2 < len(first) < 24 and first.isalpha() and first.isupper() else "ERR"


def measuring_themselves() -> Collection[str]:
    """The libraries that record the duration of their commands by themselves (redis-py 8, switched on by the user)."""
    return [system for system in _PROVIDERS if _measured(system, "COMMAND")]


def pools_measure_themselves(system: str) -> bool:
    """Whether the library records the connections of its pools by itself."""
    return _measured(system, "CONNECTION_BASIC") or _measured(system, "CONNECTION_ADVANCED")


_PROVIDERS: Final = {system: f"{system}.observability.providers" for system in ("redis", "valkey")}


def _measured(system: str, group: str) -> bool:
    providers = sys.modules.get(_PROVIDERS[system])
    instance = getattr(providers, "_observability_instance", None)
    manager = instance.get_provider_manager() if instance is not None else None
    groups = getattr(getattr(manager, "config", None), "metric_groups", None)
    return groups is not None and group in type(groups).__members__ and type(groups)[group] in groups
