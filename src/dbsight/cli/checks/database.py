"""The checklist of the database: five lines."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line
from dbsight.cli.pool_facts import IDLE_LIMITS
from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbsight.cli.evidence import Evidence
    from dbsight.cli.practice import Engine, Practice


class Advice(Check):
    """A line of the checklist, based on what the command did."""

    advisory: ClassVar[bool] = True

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield one line if a command ran with dbsight attached, else none."""
        if evidence.inside is not None and evidence.inside.attached:
            yield self.assess(evidence.inside.practice, evidence)

    @abstractmethod
    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""


def names(engines: Sequence[Engine]) -> str:
    """The names of some engines."""
    return ", ".join(each.name for each in engines[:3]) + (" …" if len(engines) > 3 else "")


class Pooling(Advice):
    """Checklist: are connections pooled?

    Good:
        Every engine that connects to a server has a pool with a limit, and no finding about its pool.

    What to do:
        ``create_engine(url, pool_size=5, max_overflow=10)``, once; ``NullPool`` only behind a pooler such as PgBouncer.
    """

    name: ClassVar[str] = "pooling"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        worn = practice.found("pool_churn", "duplicate_pools", "connection_leak", "async_engine_sync_pool")
        without = [each for each in practice.servers() if each.kind in {"NullPool", "StaticPool"}]
        if worn:
            return Line("✘", worn[0], "share one engine, and return connections: with engine.connect() as …")
        if without:
            return Line("✘", f"{without[0].kind}: no pool for {names(without)}", "remove poolclass")
        limited = [each for each in practice.servers() if each.size]
        if limited:
            sizes = ", ".join(f"{each.name} {each.kind} of {each.size}" for each in limited[:3])
            return Line("✔", f"connections are pooled: {sizes}")
        return Line("?", "no connection pool to a server was used", "run a command that connects to one")


class Indexes(Advice):
    """Checklist: do queries use an index?

    Good:
        The plans of the queries of this run, one per statement, lack no index: compared with the indexes that exist,
        which are read from the catalogue. Slow queries whose plan shows nothing wrong do not count. Plans of in-memory
        SQLite databases cannot be read.

    What to do:
        Create the index from the finding. ``dbsight explain`` prints the plan of a statement.
    """

    name: ClassVar[str] = "indexes"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        missing, bad = practice.found("missing_index"), practice.found("bad_plan")
        if missing:
            return Line("✘", missing[0], "create the index from the finding")
        if bad:
            return Line("✘", bad[0], "see the finding; dbsight explain prints the plan")
        if practice.unexplained:
            text = f"slow, and its query plan was not read: {practice.unexplained[0]}"
            return Line("?", text, "dbsight explain prints the plan")
        if evidence.inside is None or not evidence.inside.calls or practice.slow is None:
            return Line(
                "?", "no query was captured", "run a command that executes queries, with the rule slow_query enabled"
            )
        if not practice.plans:
            return Line(
                "?",
                f"no query took {practice.slow:g} s or more, and no query plan was read",
                "OTEL_DBSIGHT_EXPLAIN=always_once, and a database that plans can be read from",
            )
        return Line("✔", f"no index is missing according to {counted(practice.plans, 'query plan')}")


class Timeouts(Advice):
    """Checklist: do long queries time out?

    Good:
        Every engine that connects to a server sets a timeout, the server has one (it is asked on the first connection
        of SQLAlchemy), or the application sets one with a statement. Of pools of psycopg, asyncpg and aiomysql only the
        options of the driver are known.

    What to do:
        psycopg: ``connect_args={"options": "-c statement_timeout=5000"}``; asyncpg: ``{"command_timeout": 5}``;
        PyMySQL: ``{"read_timeout": 5}``; for all clients ``ALTER ROLE shop SET statement_timeout = '5s'``.
    """

    name: ClassVar[str] = "timeouts"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        if practice.limited:
            return Line("✔", "the application sets a timeout with a statement")
        known = [each for each in practice.servers() if each.limits is not None]
        without = [each for each in known if not self._limits(each)]
        if without:
            advice = 'connect_args={"options": "-c statement_timeout=5000"} for psycopg; see docs/doctor.md'
            return Line("✘", f"queries have no timeout: {names(without)}", advice)
        if known:
            return Line(
                "✔", f"queries time out: {', '.join(sorted({each for one in known for each in self._limits(one)}))}"
            )
        return Line("?", "no timeout of queries is known of the pools that were used", "see docs/doctor.md")

    @staticmethod
    def _limits(engine: Engine) -> list[str]:
        """Names of the limits of queries, those of the server with their values."""
        limits = [each for each in engine.limits or () if each not in IDLE_LIMITS]
        server = engine.server or {}
        names_ = ("statement_timeout", "max_statement_time", "max_execution_time")
        return limits + [
            f"{name} of the server ({seconds(server[name], exact=True)})" for name in names_ if server.get(name)
        ]


class Health(Advice):
    """Checklist: are broken connections detected before use?

    Good:
        Pools test connections at checkout (``pool_pre_ping``), or the application pings.

    What to do:
        ``create_engine(url, pool_pre_ping=True)``, and ``SELECT 1`` in the health check of the service.
    """

    name: ClassVar[str] = "health"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        known = [each for each in practice.servers() if each.pre_ping is not None]
        without = [each for each in known if not each.pre_ping]
        if practice.pings:
            return Line("✔", f"{practice.pings} pings were captured")
        if without:
            return Line("✘", f"broken connections are not detected: {names(without)}", "pool_pre_ping=True")
        if known:
            return Line("✔", f"connections are tested at checkout: {names(known)}")
        return Line("?", "SQLAlchemy did not connect to a server", "run a command that connects to one")


class SlowLog(Advice):
    """Checklist: are slow queries reported?

    Good:
        The rule ``slow_query`` is enabled.

    What to do:
        Remove ``-slow_query`` from ``OTEL_DBSIGHT_RULES``.
    """

    name: ClassVar[str] = "slow-log"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        if practice.slow is None:
            return Line("✘", "slow queries are not reported", "OTEL_DBSIGHT_RULES=all")
        return Line("✔", f"a query of {practice.slow:g} s or more is reported with its call site and trace")
