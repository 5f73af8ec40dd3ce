"""The rules cacheable_query, memory_spike, serial_writes, concurrency_over_pool and pool_profile_mismatch.

Where the cases come from: tables of settings and flags that are read in every request (oneclickorgs/one-click-orgs 365,
hypothesis/h 3110, CarnegieLearningWeb/UpGrade 2190); whole tables in memory (mysociety/mapit 43,
django-import-export 44, readthedocs/ethical-ad-server 502, meneses-pt/django-background-tasks 9); hundreds of tasks on
a pool of fifteen (PrefectHQ/prefect 6274 and 6492, apecloud/ApeRAG 1086); a round trip per statement
(psycopg/psycopg 145 and 605, dimitri/pgcopydb 704). The others are our own.
"""

import pytest

from builders import make_span_context
from dbsight.config import Settings
from dbsight.detect.rules.cacheable_query import CacheableQuery
from dbsight.detect.rules.concurrency_over_pool import ConcurrencyOverPool
from dbsight.detect.rules.memory_spike import MemorySpike
from dbsight.detect.rules.pool_profile_mismatch import PoolProfileMismatch
from dbsight.detect.rules.serial_writes import SerialWrites
from dbsight.model import Borrowing, Database, KindTotals, PoolSnapshot, PoolState, PoolTotals, Snapshot
from dbsight.monitor.reads import Reads
from unit.detect.loops import make_window, one

SHOP = Database("postgresql", "shop", "db", 5432)
SETTINGS = "SELECT name, value FROM settings"


def read(number, text=SETTINGS, duration=0.002, *, every=1, **fields):
    """The same query in so many requests."""
    options = {"parameters": 7, **fields}
    return [
        one(text, duration=duration, parent=make_span_context(trace_id=1 + at // every), **options)
        for at in range(number)
    ]


def write(number, text="UPDATE settings SET value = ?"):
    """As many writes."""
    return [one(text, parameters=at) for at in range(number)]


def cacheable(*groups):
    """What the rule finds after these operations."""
    reads = Reads()
    for group in groups:
        reads.took(group)
    return list(CacheableQuery(Settings()).examine(Snapshot(repeated_reads=reads.totals())))


@pytest.mark.parametrize(
    "groups",
    [
        [read(60)],
        [read(60, "SELECT on_for FROM features WHERE name = ?")],
        [read(200, duration=0.001), write(5)],
        [write(500), read(60)],
        [read(60), read(60, "SELECT id FROM orders WHERE id = ?"), write(80, "UPDATE orders SET seen = 1")],
        [read(120, every=2)],
    ],
    ids=["settings", "feature flags", "seldom written", "written before", "another table is written", "twice each"],
)
def test_detects_what_every_request_asks_for(groups):
    """What it costs is what a cache would save, but for the first."""
    (found,) = cacheable(*groups)
    assert (found.severity, found.threshold) == ("info", 50)
    assert found.count >= 60
    assert found.impact == pytest.approx(found.count * groups[-1][0].duration, rel=1.1)


@pytest.mark.parametrize(
    "groups",
    [
        [read(49)],
        [read(60), write(10)],
        [read(60, duration=0.0002)],
        [read(60, parameters=None)],
        [read(60, every=60)],
        [read(60, "SELECT value FROM settings FOR UPDATE")],
        [read(60, "SELECT id FROM jobs WHERE due < now()")],
        [read(60, "SELECT nextval('numbers')")],
        [read(60, "SELECT 1")],
        [read(60, allowed=frozenset({"cacheable_query"}))],
        [read(60, error_type="OperationalError")],
        [[one("SELECT name FROM customers WHERE id = ?", parameters=at) for at in range(200)]],
    ],
    ids=[
        *("too few", "written", "fast", "unknown values", "one request", "locks", "asks for the time", "a sequence"),
        *("a ping", "allowed", "fails", "other values"),
    ],
)
def test_leaves_alone_what_changes_or_is_cheap(groups):
    """Or is another rule's."""
    assert cacheable(*groups) == []


def test_no_more_reads_are_remembered_than_there_is_room_for():
    """What is not seen again is forgotten; what comes again and again stays."""
    reads = Reads()
    text = "SELECT name FROM customers WHERE id = ?"
    for at, again in enumerate(read(60)):
        reads.took([again])
        reads.took([one(text, parameters=(at, each), parent=make_span_context()) for each in range(100)])
    assert reads.totals()[0].times == 60
    assert len(reads._reads) == 1000


class Grown:
    """A peak that grew by so many bytes."""

    def __init__(self, size, *, counts=True):
        self.size, self.counts, self.source = size, counts, "tracemalloc"

    def growth(self):
        return self.size


def spike(operations, grown, *, request=True, counts=True):
    """What the rule finds when the peak grew."""
    rule = MemorySpike(Settings())
    rule._peak = Grown(grown, counts=counts)
    return list(rule.complete(make_window(operations, request=request)))


def rows(number, text="SELECT a, b, c, d FROM lines", **fields):
    """A query with so many rows."""
    streamed = fields.pop("streamed", False)
    model = fields.pop("model", None)
    operation = one(text, rows=number, **fields)
    operation.streamed, operation.model = streamed, model
    return operation


@pytest.mark.parametrize(
    ("operations", "grown", "severity"),
    [
        ([rows(300_000)], 60e6, "warning"),
        ([rows(100_000, model="Line")], 120e6, "warning"),
        ([rows(1_000_000)], 500e6, "error"),
        ([rows(20_000), rows(300_000, "SELECT a, b, c, d FROM logs")], 80e6, "warning"),
        ([rows(300_000, "SELECT * FROM tasks")], 150e6, "warning"),
    ],
    ids=["a table", "objects of an ORM", "very many", "the larger of two", "all columns"],
)
def test_detects_rows_that_made_the_memory_grow(operations, grown, severity):
    """It names the query with most rows."""
    (found,) = spike(operations, int(grown))
    assert (found.severity, found.current_value, found.statement) == (severity, grown, operations[-1].statement)
    assert "tracemalloc" in found.description
    assert spike(operations, int(grown), request=False)[0].severity in {"info", "error"}


@pytest.mark.parametrize(
    ("operations", "grown"),
    [
        ([rows(300_000)], 49e6),
        ([rows(300_000)], 0),
        ([rows(999)], 60e6),
        ([rows(5_000)], 60e6),
        ([rows(300_000, streamed=True)], 60e6),
        ([rows(300_000, "SELECT table_name FROM information_schema.columns")], 60e6),
        ([rows(300_000, allowed=frozenset({"memory_spike"}))], 60e6),
        ([rows(300_000, "LRANGE log", database=Database("redis"))], 60e6),
    ],
    ids=[
        "little",
        "used before",
        "few rows",
        "not by these rows",
        "streamed",
        "catalogue",
        "allowed",
        "key-value store",
    ],
)
def test_leaves_alone_what_did_not_grow_or_not_by_a_query(operations, grown):
    """Growth without a query is memory_growth's."""
    assert spike(operations, int(grown)) == []


def test_where_nothing_counts_memory_the_rows_are_an_estimate():
    """Only a clear one."""
    assert spike([rows(300_000)], 0, counts=False)
    assert spike([rows(30_000)], 0, counts=False) == []


ORDER = (
    *("INSERT INTO orders (id) VALUES (?)", "UPDATE stock SET pieces = pieces - 1 WHERE id = ?"),
    *("INSERT INTO log (line) VALUES (?)", "DELETE FROM carts WHERE id = ?", "UPDATE customers SET seen = ?"),
)


def writes(*texts, duration=0.02, gap=0.001, **fields):
    """Writes one after the other."""
    options = {"database": SHOP, **fields}
    return [one(text, at=at * (duration + gap), duration=duration, **options) for at, text in enumerate(texts)]


def serial(operations, duration=0.2, *, request=True):
    """What the rule finds."""
    return list(SerialWrites(Settings()).complete(make_window(operations, duration, request=request)))


BEGIN = one("BEGIN", database=SHOP, duration=0.001)


@pytest.mark.parametrize(
    ("operations", "count"),
    [
        (writes(*ORDER), 5),
        (writes(*ORDER, *ORDER[:3]), 8),
        ([BEGIN, *writes(*ORDER), one("COMMIT", at=0.2, database=SHOP)], 5),
        ([*writes(*ORDER), one("SELECT id FROM t", at=0.2, database=SHOP)], 5),
        (writes(*ORDER, duration=0.03, database=Database("cockroachdb", "shop")), 5),
        (writes(*ORDER, error_type=None, thread=3), 5),
    ],
    ids=["an order", "some again", "in a transaction", "a read after them", "CockroachDB", "in a thread"],
)
def test_detects_writes_that_wait_for_each_other(operations, count):
    """They would save the round trips of all but three."""
    (found,) = serial(operations)
    assert (found.severity, found.count) == ("info", count)
    shortest = min(each.duration for each in operations if each.statement.kind not in {"transaction", "select"})
    assert found.impact == pytest.approx((count - 3) * shortest)


def test_a_second_to_be_saved_in_a_request_is_a_warning():
    """In a script nobody waits."""
    assert serial(writes(*ORDER, duration=0.6), 4.0)[0].severity == "warning"
    assert serial(writes(*ORDER, duration=0.6), 4.0, request=False)[0].severity == "info"


@pytest.mark.parametrize(
    "operations",
    [
        writes(*ORDER[:4]),
        writes(*ORDER[:1] * 20),
        writes(*ORDER, database=Database("mysql", "shop")),
        writes(*ORDER, duration=0.001),
        writes(*ORDER, rows=1),
        writes(*ORDER, flush=4),
        writes(*ORDER, batch_size=10),
        writes(*ORDER, error_type="IntegrityError"),
        writes(*ORDER, gap=-0.015),
        writes(*[text for each in ORDER for text in (each, "SELECT id FROM t WHERE id = ?")]),
        writes(*ORDER, allowed=frozenset({"serial_writes"})),
    ],
    ids=[
        *("few", "one statement", "MySQL", "little to gain", "RETURNING", "a flush", "executemany", "fails"),
        *("at the same time", "reads in between", "allowed"),
    ],
)
def test_leaves_alone_writes_that_cannot_go_together(operations):
    """Or are another rule's."""
    assert serial(operations) == []


def borrowed(number, *, waited=0.0, used=0.1, asked=0.0, requester=None):
    """So many who want a connection at the same time."""
    return [Borrowing(asked, waited, used, at + 1 if requester is None else requester, None) for at in range(number)]


def pool(uses, limit=15, *, waits=1, **fields):
    """One pool with these uses."""
    leaks, checkouts = fields.pop("leaks", 0), fields.pop("checkouts", 9)
    state = PoolState("shop", "sqlalchemy", "QueuePool", fields.pop("system", "postgresql"), max=limit, **fields)
    totals = PoolTotals(waits=waits, leaks=leaks, checkouts=checkouts)
    return Snapshot(pools=[PoolSnapshot(state, totals, uses=uses)])


def over(snapshot):
    """What the rule finds."""
    return list(ConcurrencyOverPool(Settings()).examine(snapshot))


@pytest.mark.parametrize(
    ("snapshot", "severity", "wanted"),
    [
        (pool(borrowed(20, waited=0.2)), "info", 20),
        (pool(borrowed(500, waited=0.2), asynchronous=True), "warning", 500),
        (pool(borrowed(3, waited=0.1), 1), "warning", 3),
        (pool([*borrowed(10), *borrowed(16, waited=0.1, asked=5.0)]), "info", 16),
        (pool(borrowed(40, waited=0.1), 30, pools=2), "info", 40),
        (pool(borrowed(20, waited=0.2, requester=0)), "info", 20),
    ],
    ids=["twenty threads", "five hundred tasks", "a single connection", "later", "two pools", "nobody known"],
)
def test_detects_more_who_want_a_connection_than_there_are(snapshot, severity, wanted):
    """At the same time."""
    (found,) = over(snapshot)
    assert (found.severity, found.current_value) == (severity, wanted)
    assert ("Semaphore" in found.suggestion) == snapshot.pools[0].state.asynchronous


@pytest.mark.parametrize(
    "snapshot",
    [
        pool(borrowed(15, waited=0.1)),
        pool([use for at in range(50) for use in borrowed(1, asked=at, waited=0.01)]),
        pool(borrowed(500), None),
        pool(borrowed(20, waited=0.1), waits=0),
        pool(borrowed(20, waited=0.1), leaks=1),
        pool(borrowed(20, waited=0.1, requester=7)),
    ],
    ids=["as many as there are", "one after the other", "no limit", "nobody waited", "a leak", "one thread"],
)
def test_leaves_alone_a_pool_that_is_large_enough(snapshot):
    """Or runs out for another reason."""
    assert over(snapshot) == []


def profiled(snapshot, kinds=None, calls=1000, **settings):
    """What the rule finds after so many queries."""
    snapshot.calls = calls
    snapshot.kinds = {kind: KindTotals(count=number) for kind, number in (kinds or {"select": 1000}).items()}
    return list(PoolProfileMismatch(Settings(**settings)).examine(snapshot))


def sized(limit, used=0, **fields):
    """A pool without waits."""
    return pool((), limit, waits=0, most=used, **fields)


@pytest.mark.parametrize(
    ("snapshot", "options", "expected"),
    [
        (sized(5, 5), {}, 50),
        (sized(15, 15), {"kinds": {"select": 500, "insert": 600}}, 30),
        (sized(15, 15), {"kinds": {"select": 700, "insert": 300}}, 40),
        (sized(15, 2), {"pool_profile": "read"}, 50),
        (sized(200, 2), {"pool_profile": "write"}, 30),
        (sized(40, 2), {"pool_profile": "memory-optimized", "calls": 3}, 15),
        (sized(10, 2), {"pool_profile": "high-performance", "calls": 3}, 50),
    ],
    ids=["reads", "writes", "mixed", "declared", "too large", "template", "template of speed"],
)
def test_detects_a_pool_that_does_not_suit_its_workload(snapshot, options, expected):
    """That of the queries, or the one that was declared."""
    (found,) = profiled(snapshot, **options)
    assert (found.severity, found.threshold) == ("info", expected)


@pytest.mark.parametrize(
    ("snapshot", "options"),
    [
        (sized(15, 3), {}),
        (sized(5, 5), {"calls": 999}),
        (sized(50, 50), {}),
        (sized(5, 5, system="sqlite"), {}),
        (sized(5, 5, system="redis"), {}),
        (sized(None, 5), {}),
        (pool((), 5, most=5), {}),
        (sized(40, 2), {"pool_profile": "read"}),
        (sized(15, 2, checkouts=0), {"pool_profile": "read"}),
    ],
    ids=["room left", "few queries", "suits", "SQLite", "Redis", "no limit", "waits", "suits the profile", "unused"],
)
def test_leaves_alone_a_pool_that_suits_or_is_another_rules(snapshot, options):
    """The size of a pool that waits is computed by pool_wait."""
    assert profiled(snapshot, **options) == []
