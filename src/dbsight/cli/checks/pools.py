"""The checklist of pools: sizes, times and limits, compared with what happened and with profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.cli.check import Line
from dbsight.cli.checks.database import Advice, names
from dbsight.cli.pool_facts import IDLE_LIMITS
from dbsight.detect import expectations
from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from dbsight.cli.evidence import Evidence
    from dbsight.cli.practice import Engine, Practice
    from dbsight.detect.expectations import PoolProfile

_LONGEST_WAIT: Final = 30.0
_ENOUGH_QUERIES: Final = 100
_OLDEST: Final = 3600.0
"""s; firewalls and load balancers forget connections that are older, and say nothing."""


def _shown(limit: float) -> str:
    """A limit as it was set; negative for none."""
    return "for ever" if limit < 0 else seconds(limit, exact=True)


class Sizing(Advice):
    """Checklist: do the sizes of pools fit their use?

    Good:
        No request waited for a connection, no pool keeps many more connections than were ever in use, and all pools
        together fit into the server's ``max_connections``.

    What to do:
        The size that the finding ``pool_wait`` computes; else the most connections that were in use, and a
        quarter more. The numbers are those of this run: use one with real load.
    """

    name: ClassVar[str] = "sizing"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        pools = [each for each in (*practice.servers(), *practice.redis()) if each.created or each.most]
        if not pools:
            return Line("?", "no connection pool to a server was used", "run a command that connects to one")
        for each in pools:
            if each.timeouts or each.waits:
                waited = f"{counted(each.waits, 'request')} waited for a connection, {each.timeouts} got none"
                size = f", {each.needed} would do" if each.needed > each.size else ""
                return Line("✘", f"{each.name}: {waited}{size}", "a larger pool, or shorter use; see pool_wait")
            allowed = int((each.server or {}).get("max_connections", 0))
            if allowed and each.size > allowed:
                text = f"{each.name} may open {each.size} connections, the server allows {allowed}"
                return Line("✘", text, "a smaller pool; all processes together have to fit")
        for each in pools:
            if each.idle >= 10 and each.idle > 4 * max(1, each.most):
                text = f"{each.name} keeps {each.idle} idle connections, {each.most} were in use at most"
                return Line("✘", text, "a smaller minimum size")
        used = ", ".join(f"{each.name} {each.most} of {each.size or 'any number'}" for each in pools[:3])
        return Line("✔", f"no request waited; most connections in use: {used}")


class PoolTimeout(Advice):
    """Checklist: do requests stop waiting for a connection?

    Good:
        Every pool gives up after 30 s or less.

    What to do:
        ``create_engine(url, pool_timeout=10)``, ``ConnectionPool(…, timeout=10)``,
        ``BlockingConnectionPool(timeout=10)``. asyncpg takes the limit per call: ``pool.acquire(timeout=10)``, which
        cannot be seen from the pool.
    """

    name: ClassVar[str] = "pool-timeout"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        known = [each for each in (*practice.servers(), *practice.redis()) if each.timeout is not None]
        forever = [each for each in known if each.timeout is not None and not 0 <= each.timeout <= _LONGEST_WAIT]
        if forever:
            waits = forever[0].timeout or 0.0
            how_long = _shown(waits) if waits < 0 else f"up to {_shown(waits)}"
            return Line("✘", f"requests wait {how_long} for a connection: {names(forever)}", "pool_timeout=10")
        if known:
            longest = max(each.timeout or 0.0 for each in known)
            return Line("✔", f"requests wait {_shown(longest)} for a connection at most")
        return Line("?", "no pool with a known timeout was used", "run a command that uses one")


class Recycling(Advice):
    """Checklist: are old connections replaced?

    Good:
        Pools replace a connection after an hour or less (``pool_recycle``, ``max_lifetime``) or close it when idle,
        and before the server does; or they test it at checkout.

    What to do:
        ``create_engine(url, pool_recycle=3600, pool_pre_ping=True)``.
    """

    name: ClassVar[str] = "recycle"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        known = [each for each in practice.servers() if each.recycle is not None or each.idle_after is not None]
        for each in known:
            limit = max(each.recycle or -1.0, each.idle_after or -1.0)
            ends = (each.server or {}).get("wait_timeout", 0.0)
            if limit < 0 and not each.pre_ping:
                text = f"connections are kept for ever, and not tested: {each.name}"
                return Line("✘", text, "pool_recycle=3600, pool_pre_ping=True")
            if limit > _OLDEST and not each.pre_ping:
                text = f"connections are kept for {_shown(limit)}, and not tested: {each.name}"
                return Line("✘", text, "pool_recycle=3600, pool_pre_ping=True")
            if 0 < ends < limit and not each.pre_ping:
                text = f"the server closes idle connections after {_shown(ends)}, {each.name} after {_shown(limit)}"
                return Line("✘", text, f"pool_recycle={ends / 2:g}")
        if known:
            limits = [max(each.recycle or -1.0, each.idle_after or -1.0) for each in known]
            told = f"after {_shown(max(limits))}" if min(limits) > 0 else "when a test at checkout fails"
            return Line("✔", f"connections are replaced {told}")
        return Line("?", "no pool with a known age limit was used", "run a command that connects to a server")


class IdleTransactions(Advice):
    """Checklist: are idle transactions ended?

    Good:
        The server ends a transaction in which nothing happens: its own setting, asked for on the first connection, or
        one of the driver's options.

    What to do:
        PostgreSQL: ``ALTER ROLE shop SET idle_in_transaction_session_timeout = '60s'``; MariaDB:
        ``SET GLOBAL idle_transaction_timeout = 60``. MySQL has no such limit.
    """

    name: ClassVar[str] = "idle-limits"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        limits: list[str] = []
        without: list[str] = []
        for each in practice.servers():
            server = [value for name, value in (each.server or {}).items() if name in IDLE_LIMITS]
            if IDLE_LIMITS & set(each.limits or ()):
                limits.append("as the driver asks for")
            elif server and max(server) > 0:
                limits.append(f"after {_shown(max(server))}")
            elif server:
                without.append(each.name)
        if without:
            advice = "ALTER ROLE … SET idle_in_transaction_session_timeout = '60s'"
            return Line("✘", f"idle transactions stay open: {', '.join(without[:3])}", advice)
        if limits:
            return Line("✔", f"idle transactions are ended: {', '.join(sorted(set(limits)))}")
        return Line("?", "no server was asked for its limit", "run a command that connects with SQLAlchemy")


class Workload(Advice):
    """Checklist: do pools fit the workload?

    Good:
        The pools of SQL servers, and the clients of Elasticsearch and S3, are at least as large, and wait at most as
        long, as the profile expects. The profile is ``--workload`` (``read``, ``write``, ``mixed``) or ``--template``
        (``high-performance``, ``memory-optimized``, ``async``); without either it follows from the share of writes. SQL
        servers: ``read`` expects 20 connections kept, 50 at most, 10 s of waiting for one, 30 s per query; ``write``
        10, 30, 5 s, 60 s; ``mixed`` 15, 40, 10 s, 45 s; ``high-performance`` 20, 50, 10 s, idle ones closed after
        600 s; ``memory-optimized`` at most 5 and 15, idle ones closed after 300 s; ``async`` 20, 30, 30 s, replaced
        after 3600 s. Elasticsearch, per node: ``read`` 20
        connections and 30 s, ``write`` 10 and 60 s, the templates 30 and 10. S3: the templates 100 and 25.

    What to do:
        Change the pool, or the profile: they are a starting point, and ``sizing`` says what this run needed.
    """

    name: ClassVar[str] = "workload"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        asked = evidence.template or evidence.workload
        measured = expectations.workload_of(practice.reads, practice.writes)
        queries = practice.reads + practice.writes
        if not practice.servers() and not practice.stores:
            return Line("?", "no connection pool to a server was used", "run a command that connects to one")
        if not asked and queries < _ENOUGH_QUERIES:
            return Line("?", f"{counted(queries, 'query', 'queries')}: too few for a profile", "--workload=mixed")
        wrong = _deviations(practice, evidence, evidence.workload or measured)
        share = f"{practice.writes / queries:.0%} of {queries} queries write" if queries else "no query ran"
        if evidence.workload and queries >= _ENOUGH_QUERIES and measured != evidence.workload:
            wrong.insert(0, f"{share}: that is {measured}")
        profile = asked or measured
        if wrong:
            return Line(
                "✘" if asked else "?", f"{profile}: {'; '.join(wrong[:4])}", "see docs/doctor.md for the profiles"
            )
        return Line("✔", f"pools are as expected for {profile} ({share})")


def _deviations(practice: Practice, evidence: Evidence, workload: expectations.Workload) -> list[str]:
    """Where pools differ from what is expected of them."""
    if evidence.template:
        profiles = expectations.TEMPLATES[evidence.template]
    else:
        search = expectations.ELASTICSEARCH.get(workload, expectations.ELASTICSEARCH["read"])
        profiles = {"sql": expectations.SQL[workload], "elasticsearch": search}
    memory = evidence.template == "memory-optimized"
    wrong = []
    for each in practice.servers():
        if each.size:  # without a limit, "pooling" has something to say
            wrong += _compared(each, profiles["sql"], memory=memory)
    for store in practice.stores:
        expected = profiles.get(store.kind)
        if expected is not None and expected.most is not None:
            differs = store.size > expected.most if memory else store.size < expected.most
            if differs:
                wrong.append(f"{store.kind} has {store.size} connections per client, not {expected.most}")
            if expected.timeout is not None and store.timeout is not None and store.timeout > expected.timeout:
                wrong.append(f"{store.kind} waits {_shown(store.timeout)}, not {_shown(expected.timeout)}")
    return wrong


def _compared(pool: Engine, expected: PoolProfile, *, memory: bool) -> list[str]:
    """Where a pool differs from its profile: too small, or with ``memory`` too large, or too patient."""
    wrong = []
    for word, value, wanted in (("keeps", pool.kept, expected.kept), ("has", pool.size, expected.most)):
        if wanted is not None and (value > wanted if memory else value < wanted):
            wrong.append(f"{pool.name} {word} {value} connections, not {wanted}")
    limit = expected.timeout
    if limit is not None and pool.timeout is not None and not 0 <= pool.timeout <= limit:
        wrong.append(f"{pool.name} waits {_shown(pool.timeout)}, not {_shown(limit)}")
    statement = (pool.server or {}).get("statement_timeout") or (pool.server or {}).get("max_statement_time")
    if expected.command_timeout is not None and statement is not None and statement > expected.command_timeout:
        wrong.append(f"queries of {pool.name} may take {_shown(statement)}, not {_shown(expected.command_timeout)}")
    if expected.age is not None and pool.recycle is not None and not 0 < pool.recycle <= expected.age:
        wrong.append(f"{pool.name} does not replace connections after {_shown(expected.age)}")
    if expected.idle is not None and pool.idle_after is not None and not 0 < pool.idle_after <= expected.idle:
        wrong.append(f"{pool.name} does not close idle connections after {_shown(expected.idle)}")
    return wrong
