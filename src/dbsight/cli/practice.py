"""What a command did, for the checklist: its engines, timeouts, caches and findings, as plain values.

Recorded only in processes that ``dbsight doctor -- command`` starts.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from dbsight import recording
from dbsight.cli import django_facts, pool_facts, store_facts
from dbsight.instrument.caches import publish_at_once
from dbsight.instrument.pools import registry
from dbsight.instrument.pools.drivers import pool_name
from dbsight.model import CacheEvent, Operation, TransactionEvent
from dbsight.safety import failed

if TYPE_CHECKING:
    from dbsight.config import Settings
    from dbsight.model import MergedFinding, Observation, PoolSnapshot, Snapshot

_MAX: Final = 200
"""Maximum number of engines, caches and statements recorded."""
_STORES: Final = frozenset({"redis", "valkey"})
_SHOWN: Final = 3
"""Findings shown per rule."""
_WRITES: Final = ("insert", "update", "delete")
_EXPIRING: Final = frozenset({"SETEX", "PSETEX", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"})
_EXPIRY: Final = ("ex", "px", "exat", "pxat")
_COLD: Final = 5
"""First lookups of a cache: if all miss and nothing was stored before, the cache started cold."""


@dataclass
class Engine:
    """The connection pools of one target.

    Attributes:
        name: Name of the target.
        system: ``db.system.name``.
        kind: Class of the pool.
        where: ``file:line`` where the latest was created; empty if it existed before.
        size: Maximum number of connections, 0 without a limit.
        made: Number of pools created so far.
        pre_ping: Whether connections are tested at checkout; None if unknown.
        limits: Driver options that set a timeout of queries or idle transactions; None if unknown.
        server: Limits that the server says it has, s, and its ``max_connections``; None if it was not asked.
        timeout: s that a request waits for a connection; negative for ever; None if unknown.
        recycle: s after which a connection is replaced; negative for never; None if unknown.
        idle_after: s after which an idle connection is closed; negative for never; None if unknown.
        max_queries: Queries after which a connection is replaced; None if unknown.
        kept: Connections that are kept open.
        most: The most connections that were in use at once.
        idle: Open connections that wait in the pool.
        created: Connections that were made.
        same: Pools with one and the same configuration.
        clients: Engines or clients that use them.
        waits: Requests that waited for a connection.
        timeouts: Requests that got none.
        needed: Connections with which no request would have waited, 0 if unknown.
        cleanup_failures: How often idle connections could not be closed.
        asynchronous: Tasks use it.
        shared: It comes from ``dbsight.redis_pool``.
        tested: A Redis connection that was idle is tested before use.
    """

    name: str
    system: str = ""
    kind: str = ""
    where: str = ""
    size: int = 0
    made: int = 1
    pre_ping: bool | None = None
    limits: list[str] | None = None
    server: dict[str, float] | None = None
    timeout: float | None = None
    recycle: float | None = None
    idle_after: float | None = None
    max_queries: int | None = None
    kept: int = 0
    most: int = 0
    idle: int = 0
    created: int = 0
    same: int = 1
    clients: int = 1
    waits: int = 0
    timeouts: int = 0
    needed: int = 0
    cleanup_failures: int = 0
    asynchronous: bool = False
    shared: bool = False
    tested: bool | None = None


@dataclass
class Store:
    """Connections to a store that is no database: Elasticsearch, S3.

    Attributes:
        kind: ``elasticsearch`` or ``s3``.
        size: Connections per node.
        timeout: s; None without a limit, or if unknown.
        clients: How many were made with these values.
    """

    kind: str
    size: int
    timeout: float | None = None
    clients: int = 1


@dataclass
class Cache:
    """One cache: the numbers of ``dbsight.model.CacheTotals``."""

    name: str
    layer: str = ""
    hits: int = 0
    misses: int = 0
    stores: int = 0
    removals: int = 0
    evictions: int = 0


@dataclass
class Practice:
    """The input of the checklist.

    Attributes:
        engines: Pools by target.
        caches: Caches by name and layer.
        findings: Titles and call sites by rule, a few of each.
        unused: A sentence for each entry of the ignore list that is expired or matched nothing.
        pings: Pings that the application or its pools sent.
        batches: Statements with many rows each.
        asynchronous: Queries that ran on an event loop.
        limited: Whether the application set a timeout with a statement.
        expiring: Keys written to a server with a time to live.
        lasting: Keys written to one without.
        warmed: Caches that were filled before the first lookup.
        cold: Caches whose first lookups all missed.
        slow: s; the limit of the rule ``slow_query``, None if it is disabled.
        explain: The setting ``explain``: ``off``, ``slow`` …
        plans: Statements whose query plan was read.
        unexplained: Slow queries whose plan was not read.
        reads: SELECT statements.
        writes: INSERT, UPDATE and DELETE statements.
        stores: Clients of Elasticsearch and S3.
        budgets: Routes with a budget.
        baseline: Path of the baseline of known findings and durations.
        log_level: Level of the query log.
        django: Django's settings; None where it does not run.
    """

    engines: list[Engine] = field(default_factory=list)
    caches: list[Cache] = field(default_factory=list)
    findings: dict[str, list[str]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    pings: int = 0
    batches: int = 0
    asynchronous: int = 0
    limited: bool = False
    expiring: int = 0
    lasting: int = 0
    warmed: list[str] = field(default_factory=list)
    cold: list[str] = field(default_factory=list)
    slow: float | None = None
    explain: str = ""
    plans: int = 0
    unexplained: list[str] = field(default_factory=list)
    reads: int = 0
    writes: int = 0
    stores: list[Store] = field(default_factory=list)
    budgets: int = 0
    baseline: str = ""
    log_level: str = "off"
    django: django_facts.Django | None = None

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Practice:
        """Create from plain values, such as decoded JSON."""
        known = {name: value for name, value in plain.items() if name in cls.__dataclass_fields__}
        known["engines"] = [Engine(**each) for each in known.get("engines", ())]
        known["caches"] = [Cache(**each) for each in known.get("caches", ())]
        known["stores"] = [Store(**each) for each in known.get("stores", ())]
        known["django"] = django_facts.Django.of(known.get("django"))
        return cls(**known)

    def servers(self) -> list[Engine]:
        """Return the engines that connect to an SQL server."""
        return [each for each in self.engines if each.system not in {"sqlite", "duckdb", *_STORES}]

    def redis(self) -> list[Engine]:
        """Return the pools that connect to a Redis or Valkey server."""
        return [each for each in self.engines if each.system in _STORES]

    def found(self, *rules: str) -> list[str]:
        """Return the findings of these rules."""
        return [title for rule in rules for title in self.findings.get(rule, ())]


class Watcher(recording.Consumer):
    """Records what the command does."""

    def __init__(self) -> None:
        self._seen = Practice()
        self._engines: dict[Any, Engine] = {}  # by target, whose name may change when it connects
        self._longest: TransactionEvent | None = None
        self._looked: dict[str, list[int]] = {}  # by cache: number of first lookups, and of misses among them

    def start(self) -> None:
        """Start recording."""
        recording.subscribe(self)
        publish_at_once()  # the order of the first lookups and stores matters
        if find_spec("sqlalchemy") is not None:
            from sqlalchemy import event
            from sqlalchemy.engine import Engine as Engines

            event.listen(Engines, "do_connect", self.connecting)
            event.listen(Engines, "engine_connect", self.connected)
        store_facts.watch(self._seen.stores)
        for package in ("redis", "valkey"):
            if find_spec(package) is not None:
                commands = import_module(f"{package}.commands.core").BasicKeyCommands
                commands.set = self._setting(commands.set)

    def _setting(self, original: Any) -> Any:
        """Wrap ``client.set()``, because spans contain neither the value nor the options."""
        signature = inspect.signature(original)

        @functools.wraps(original)
        def set_(*arguments: Any, **named: Any) -> Any:
            try:
                options = signature.bind(*arguments, **named).arguments
                expires = any(options.get(name) is not None for name in _EXPIRY)
                self._seen.expiring += expires
                self._seen.lasting += not expires
            except Exception:
                failed("doctor.setting")
            return original(*arguments, **named)

        return set_

    def observe(self, observation: Observation) -> None:
        """Take note of one observation."""
        if isinstance(observation, Operation):
            self._operation(observation)
        elif isinstance(observation, CacheEvent):
            self._cache(observation)
        elif isinstance(observation, TransactionEvent):
            self._longest = django_facts.longer(self._longest, observation)

    def _operation(self, operation: Operation) -> None:
        seen, statement = self._seen, operation.statement
        seen.pings += statement.ping and operation.database.system not in _STORES
        seen.batches += operation.batch_size > 1
        if statement.setup and any(limit in statement.text.lower() for limit in pool_facts.TIMEOUTS):
            seen.limited = True
        seen.asynchronous += operation.asynchronous
        seen.expiring += statement.operation in _EXPIRING

    def _cache(self, event: CacheEvent) -> None:
        name = event.key_prefix or event.cache
        looked = self._looked.get(name)
        if looked is None:
            if len(self._looked) >= _MAX:
                return
            looked = self._looked[name] = [0, 0]
            if event.stores and not event.hits + event.misses:
                self._seen.warmed.append(name)
        if looked[0] < _COLD and name not in self._seen.warmed:
            looked[0] += event.hits + event.misses
            looked[1] += event.misses
            if looked[0] >= _COLD and looked[0] == looked[1]:
                self._seen.cold.append(name)

    def connecting(self, dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> None:
        """Record pool and driver options when SQLAlchemy connects, without their values."""
        try:
            target = dialect.__dict__.get("_dbsight_target")
            engine = target.engine() if target is not None else None
            if engine is None or len(self._engines) >= _MAX:
                return
            name = pool_name(target.database)
            limits = pool_facts.limits_among(options)
            self._engines[target] = Engine(name, pre_ping=bool(engine.pool._pre_ping), limits=limits)
        except Exception:
            failed("doctor.connecting")

    def connected(self, connection: Any, *_: Any) -> None:
        """Ask the server for its limits, once per engine, on the first connection that is checked out."""
        try:
            target = connection.dialect.__dict__.get("_dbsight_target")
            engine = self._engines.get(target)
            if engine is not None and engine.server is None:
                engine.server = {}  # before it is asked: the question may connect, too
                engine.server = pool_facts.server_limits(connection)
        except Exception:
            failed("doctor.connected")

    def practice(self, snapshot: Snapshot, settings: Settings) -> Practice:
        """Return what was recorded so far.

        Args:
            snapshot: The totals of the process.
            settings: The settings of the process.
        """
        seen = self._seen
        pools = {pool.name: pool_facts.facts_of(pool) for pool in registry.pools()}
        seen.engines = [self._engine(each, pools.get(each.state.name, {})) for each in snapshot.pools[:_MAX]]
        seen.reads = snapshot.kinds["select"].count if "select" in snapshot.kinds else 0
        seen.writes = sum(snapshot.kinds[kind].count for kind in _WRITES if kind in snapshot.kinds)
        seen.budgets = len(settings.budgets)
        seen.baseline = settings.baseline or ""
        seen.log_level = settings.log_level or "off"
        seen.caches = [
            Cache(
                each.key_prefix or each.cache,
                each.layer,
                each.hits,
                each.misses,
                each.stores,
                each.removals,
                each.evictions,
            )
            for each in snapshot.caches[:_MAX]
        ]
        for merged in snapshot.findings:
            titles = seen.findings.setdefault(merged.finding.rule, [])
            if len(titles) < _SHOWN:
                titles.append(_title(merged))
        seen.unused = list(snapshot.unused[:_MAX])
        seen.django = django_facts.look(snapshot, self._longest)
        seen.slow = settings.limits("")[0] if settings.rule_enabled("slow_query") else None
        seen.explain = settings.explain
        with_plan = (each for each in snapshot.statements if each.plan is not None)
        known = {(each.statement.fingerprint, each.database.key) for each in with_plan}
        seen.plans = len(known)
        for merged in snapshot.findings:
            finding = merged.finding
            if finding.rule != "slow_query" or finding.statement is None or finding.database is None:
                continue
            if (finding.statement.fingerprint, finding.database.key) not in known:
                seen.unexplained.append(_title(merged))
        del seen.unexplained[_SHOWN:]
        return seen

    def _engine(self, pool: PoolSnapshot, facts: dict[str, Any]) -> Engine:
        state, totals = pool.state, pool.totals
        engines = (engine for target, engine in self._engines.items() if pool_name(target.database) == state.name)
        known = next(engines, None) or Engine(state.name)
        made = {
            "pre_ping": known.pre_ping,
            "limits": known.limits,
            **pool_facts.state_of(state),
            **facts,
            "waits": totals.waits,
            "timeouts": totals.timeouts,
            "needed": totals.needed,
        }
        return Engine(
            state.name,
            state.system,
            state.kind,
            f"{state.call_site.file}:{state.call_site.line}" if state.call_site is not None else "",
            state.max or 0,
            state.made,
            server=known.server,
            **made,
        )


def _title(merged: MergedFinding) -> str:
    site = merged.finding.call_site
    return merged.finding.title + (f" ({site.file}:{site.line})" if site is not None else "")


watcher: Watcher | None = None
"""The watcher of this process if ``dbsight doctor`` started it."""


def start() -> None:
    """Record what this process, and processes forked from it, do."""
    global watcher  # noqa: PLW0603 - one per process
    watcher = Watcher()
    watcher.start()
