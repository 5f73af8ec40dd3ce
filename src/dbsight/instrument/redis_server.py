"""What a Redis server says of itself: INFO and SLOWLOG, asked every so often by a thread of its own, if at all.

Off by default (``poll_redis_every``). The thread has a connection of its own to each server that the pools of this
process lead to, beside those pools: no request waits for it, it is in no span and in no count. Metrics have the names
that the OpenTelemetry collector's Redis receiver gives them, so that a dashboard of the one shows the other.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import ref

from opentelemetry.metrics import Observation as Measurement
from opentelemetry.metrics import get_meter_provider

from dbsight import config, semconv
from dbsight.instrument.pools import registry
from dbsight.instrument.pools.redis import RedisPool
from dbsight.instrument.redis_clients import database_of
from dbsight.safety import failed
from dbsight.statement.redis.reader import read_command
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, MeterProvider

    from dbsight.model import Database

MAX_SERVERS: Final = 50
"""Maximum number of servers that are polled."""

SLOW_LOG: Final = 32
"""Latest entries of the slow log that are read."""

PATIENCE: Final = 5.0
"""s that a server has to answer."""

METRICS: Final = (
    (semconv.METRIC_REDIS_CONNECTED, "connected_clients", "{client}", "Client connections, as counted by the server."),
    (semconv.METRIC_REDIS_BLOCKED, "blocked_clients", "{client}", "Clients that wait in a blocking command."),
    (semconv.METRIC_REDIS_MEMORY, "used_memory", "By", "Memory that the server uses for its data."),
    (
        semconv.METRIC_REDIS_RSS,
        "used_memory_rss",
        "By",
        "Memory that the operating system has allocated to the server.",
    ),
    (semconv.METRIC_REDIS_PEAK, "used_memory_peak", "By", "Peak memory of the server."),
    (semconv.METRIC_REDIS_EVICTED, "evicted_keys", "{key}", "Keys removed for lack of memory."),
    (semconv.METRIC_REDIS_EXPIRED, "expired_keys", "{event}", "Expired keys."),
    (semconv.METRIC_REDIS_HITS, "keyspace_hits", "{hit}", "Lookups of all clients that found their key."),
    (semconv.METRIC_REDIS_MISSES, "keyspace_misses", "{miss}", "Lookups of all clients that did not find their key."),
    (semconv.METRIC_REDIS_REJECTED, "rejected_connections", "{connection}", "Connections refused at the limit."),
    (semconv.METRIC_REDIS_COMMANDS, "total_commands_processed", "{command}", "Commands of all clients."),
    (semconv.METRIC_REDIS_SLOW, "slow_log", "{command}", "Commands added to the slow log since the first poll."),
)
"""Metric, field of INFO, unit and description."""

_STATES: Final = frozenset(
    ("connected_clients", "blocked_clients", "used_memory", "used_memory_rss", "used_memory_peak")
)

_OPTIONS: Final = frozenset(("host", "port", "path", "db", "username", "password"))


class SlowCommand(NamedTuple):
    """One entry of the slow log.

    Attributes:
        number: Of the entry; grows.
        duration: s on the server, without the network.
        text: The command with its key, values hidden.
    """

    number: int
    duration: float
    text: str


class ServerState(NamedTuple):
    """What a server said.

    Attributes:
        info: The fields of INFO.
        slow: The slow log, newest first; empty where the user may not read it.
    """

    info: Mapping[str, str]
    slow: tuple[SlowCommand, ...]

    def number(self, field: str) -> int:
        """A field as a whole number; 0 where the server does not have it."""
        value = self.info.get(field, "")
        return int(value) if value.isdigit() else 0


def ask(connection: Any) -> ServerState:
    """Ask a server.

    Args:
        connection: Of redis-py, without decoding, in RESP2.

    Raises:
        redis.RedisError: It does not answer, or refuses INFO.
    """
    connection.send_command("INFO")
    lines = bytes(connection.read_response()).decode("utf-8", "replace").splitlines()
    info = dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    connection.send_command("SLOWLOG", "GET", SLOW_LOG)
    try:
        entries = connection.read_response()
    except Exception as error:
        if "NoPermission" not in type(error).__name__ and "Response" not in type(error).__name__:
            raise
        entries = []
    return ServerState(info, tuple(_slow(entry) for entry in entries))


def _slow(entry: Any) -> SlowCommand:
    words = [word.decode("utf-8", "replace") for word in entry[3]]
    return SlowCommand(int(entry[0]), entry[2] / 1e6, read_command(words).text)


def connection_to(pool: Any, package: str) -> Any:
    """A connection to where a pool leads, beside the pool; it connects when first used."""
    options = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if value is not None and (name in _OPTIONS or name.startswith("ssl_"))
    }
    kind = "SSLConnection" if "SSL" in pool.connection_class.__name__ else "Connection"
    if "path" in options:
        kind = "UnixDomainSocketConnection"
    made = getattr(importlib.import_module(f"{package}.connection"), kind)
    return made(**options, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, protocol=2, client_name="dbsight")


class Poller:
    """Asks the servers that the pools lead to, one after the other.

    Args:
        every: s between two rounds.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self.states: dict[Database, ServerState] = {}
        self._connections: dict[Database, Any] = {}
        self._seen: dict[Database, int] = {}
        self._slow: dict[Database, int] = {}
        self._over = threading.Event()

    def start(self) -> None:
        """Begin, in a thread that does not keep the process alive."""
        threading.Thread(target=self._run, name="dbsight-redis-servers", daemon=True).start()

    def stop(self) -> None:
        """End after the round that may be going on."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self.every):
            self.round()
        self._close()

    def round(self) -> None:
        """Ask each server once. Never raises."""
        try:
            for database, pool, package in self._servers():
                self._ask(database, pool, package)
        except Exception:
            failed("redis_server.round")

    def _servers(self) -> list[tuple[Database, Any, str]]:
        # A process may use several databases of one server, which counts for all of them together.
        servers: dict[tuple[Any, Any], tuple[Database, Any, str]] = {}
        for watched in registry.pools():
            pool = watched.pool if isinstance(watched, RedisPool) else None
            # Where a sentinel's pool leads is known to its connections alone.
            if pool is None or getattr(pool, "service_name", None) or len(servers) >= MAX_SERVERS:
                continue
            database = database_of(pool, watched.system)
            servers.setdefault((database.address, database.port), (database, pool, watched.system))
        for gone in self._connections.keys() - {database for database, _, _ in servers.values()}:
            self._away(gone)
        return list(servers.values())

    def _ask(self, database: Database, pool: Any, package: str) -> None:
        try:
            connection = self._connections.get(database)
            if connection is None:
                connection = self._connections[database] = connection_to(pool, package)
            state = ask(connection)
        except Exception:
            # A server that is away is the application's trouble, and seen in its own spans: it is asked again later.
            self._away(database)
            return
        newest = max((entry.number for entry in state.slow), default=-1)
        known = self._seen.get(database)
        new = 0 if known is None else sum(entry.number > known for entry in state.slow)
        self._seen[database] = newest if known is None or new else known
        self._slow[database] = self._slow.get(database, 0) + new
        state = state._replace(info={**state.info, "slow_log": str(self._slow[database])})
        self.states = {**self.states, database: state}  # a callback may be going through the other one

    def _away(self, database: Database) -> None:
        self.states = {known: state for known, state in self.states.items() if known is not database}
        self._forget(database)

    def _forget(self, database: Database) -> None:
        connection = self._connections.pop(database, None)
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.disconnect()

    def _close(self) -> None:
        for database in list(self._connections):
            self._forget(database)


_poller: Poller | None = None
_lock = threading.Lock()
_observed: list[ref[Any]] = []


def poll(meter_provider: MeterProvider | None = None) -> None:
    """Begin to ask the servers, where the settings say so; once for the process, and for each meter provider."""
    global _poller  # noqa: PLW0603 - one a process
    every = config.current().poll_redis_every
    if not every:
        return
    with _lock:
        if _poller is None:
            _poller = Poller(every)
            _poller.start()
    observe(meter_provider)


def states() -> Mapping[Database, ServerState]:
    """The last reply of each server; empty if servers are not polled."""
    return _poller.states if _poller is not None else {}


def stop() -> None:
    """Ask no more."""
    global _poller  # noqa: PLW0603 - as above
    with _lock:
        if _poller is not None:
            _poller.stop()
            _poller = None


def observe(meter_provider: MeterProvider | None = None) -> None:
    """Report to a meter provider what was answered last; a collection never waits for a server."""
    provider = meter_provider or get_meter_provider()
    with _lock:
        if any(known() is provider for known in _observed):
            return
        _observed[:] = [*(known for known in _observed if known() is not None), ref(provider)]
    meter = provider.get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
    for name, field, unit, description in METRICS:
        if field in _STATES:
            meter.create_observable_up_down_counter(name, [_callback(field)], unit=unit, description=description)
        else:
            meter.create_observable_counter(name, [_callback(field)], unit=unit, description=description)


def _callback(field: str) -> Any:
    def measure(_: CallbackOptions) -> Iterable[Measurement]:
        return [Measurement(state.number(field), _server(database)) for database, state in states().items()]

    return measure


def _server(database: Database) -> dict[str, Any]:
    about = {semconv.SERVER_ADDRESS: database.address, semconv.SERVER_PORT: database.port}
    return {name: value for name, value in about.items() if value is not None}


def _after_fork() -> None:
    global _lock, _poller  # noqa: PLW0603 - the parent's thread is not here, its connections are not ours
    _lock = threading.Lock()
    if _poller is not None:
        _poller = Poller(_poller.every)
        _poller.start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
