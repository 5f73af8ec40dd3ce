"""What users reported of their own applications, rebuilt and judged by the rules: ``public_reports.toml`` lists them.

A case has the texts, the numbers and the order that its report tells of; what it leaves out is ours.
"""

import importlib
import re
import sys
from math import prod
from pathlib import Path

import pytest

from dbsight.config import Settings
from dbsight.detect.rules import RULES as ALL
from dbsight.model import Database, ExplainedQuery, KindTotals, Snapshot
from dbsight.recording import OpenWindow
from unit.detect.loops import make_window, one
from unit.detect.rules import public_plans, public_pools, public_queries, public_stores
from unit.detect.rules import test_errors_and_retries as errors
from unit.detect.rules import test_es_query_context as searches
from unit.detect.rules import test_more_work_than_needed as more
from unit.detect.rules import test_serial_awaits as reads
from unit.detect.rules import test_slow_consumer as streams
from unit.detect.rules import test_workload as workload

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RULES = {rule.name: rule for rule in ALL}
TABLE = tomllib.loads(Path(__file__).with_name("public_reports.toml").read_text(encoding="utf-8"))
REPORTS = [each for each in TABLE["report"] if "test" not in each]
ELSEWHERE = [each for each in TABLE["report"] if "test" in each]
SILENT = frozenset(
    {"hot_table", "memory_growth", "budget_exceeded", "regression", "slow_query", "pool_wait", "write_heavy"}
)
"""Rules whose evidence alone does not always show what to change."""
MYSQL, COCKROACH = Database("mysql", "shop"), Database("cockroachdb", "shop")
CONFIG = "SELECT * FROM config"
FLAGS = "SELECT flag_name, enabled FROM org_feature_flags WHERE org_id = ?"
MEMBERSHIP = (
    "INSERT INTO label_membership (updated_at, label_id, host_id) VALUES (?, ?, ?)"
    " ON DUPLICATE KEY UPDATE updated_at = VALUES(updated_at)"
)
BY_CHANCE = (
    "SELECT * FROM Pages p INNER JOIN Collections c ON p.cID = c.cID LEFT JOIN PagePaths pp ON p.cID = pp.cID"
    " WHERE p.cPointerID < ? AND p.cIsTemplate = ? ORDER BY rand() LIMIT 1"
)
WIDE = f"SELECT {', '.join(f'c{column}' for column in range(50))} FROM exported"
REPORT = [f"SELECT sum(total) FROM {name}" for name in ("sales", "products", "categories", "customers")]


def window(*operations, duration=1.0):
    """A request with these operations."""
    return make_window(operations, duration)


def gathered(*texts, duration=0.1):
    """Reads that are awaited together."""
    return window(*[reads.awaited(text, number * 0.001, duration) for number, text in enumerate(texts)], duration=0.5)


def awaited(*texts, duration=0.1):
    """Reads that are awaited one after the other."""
    return window(*reads.serial(*texts, duration=duration), duration=2 * duration * len(texts))


def retried(number, pauses=None, text="UPDATE tasks SET state = ? WHERE id = ?", **fields):
    """Failed attempts with the same parameters."""
    return window(*errors.failing(number, text, pauses=pauses, **fields), duration=60.0)


def tables(**seconds):
    """Statements of 5 000 queries that took so many s, by table."""
    return workload.snapshot({}, 5000, seconds)


def queries(**kinds):
    """Totals of so many queries by their kind."""
    return workload.snapshot(kinds, sum(kinds.values()))


def repeated(*groups):
    """What the monitor remembers of reads and writes."""
    remembered = more.Reads()
    for group in groups:
        remembered.took(group)
    return Snapshot(repeated_reads=remembered.totals())


def grown(operation, size):
    """A request with this query, and the bytes by which the peak of memory grew."""
    return window(operation), size


def profile(pool, used="select", **settings):
    """A pool, what its process does, and settings."""
    pool.calls, pool.kinds = 5000, {used: KindTotals(count=5000)}
    return pool, settings


def found_in(conditions, **options):
    """One search with these conditions."""
    return window(searches.search({"query": conditions, **options}))


def must(*conditions, clause="must"):
    """Conditions that all hold."""
    return {"bool": {clause: list(conditions)}}


RANGES = ({"range": {"maf": {"gte": 0.1}}}, {"term": {"genic": True}})
FORMS = ({"term": {"domain": "demo"}}, {"term": {"doc_type": "form"}})
CASES = {
    "text_smell": {
        "ten by chance": lambda: window(
            one("SELECT id FROM product_insight WHERE type = ? ORDER BY random() LIMIT 10", rows=10, duration=18.3)
        ),
        "ten by chance mended": lambda: window(
            one(
                "SELECT id FROM product_insight WHERE type = ? ORDER BY unique_scans_n LIMIT 10",
                rows=10,
                duration=0.0045,
            )
        ),
        "one page by chance": lambda: window(one(BY_CHANCE, rows=1, duration=1.2)),
        "of 40 million": lambda: window(one("SELECT id FROM t ORDER BY rand() LIMIT 1", rows=1, duration=20.0)),
        "of 40 million mended": lambda: window(one("SELECT id FROM t WHERE id = ?", rows=1)),
        "rows to validate": lambda: window(one("SELECT id FROM t ORDER BY RAND() LIMIT 2000", rows=2000)),
        "rows to validate mended": lambda: window(one("SELECT id FROM t WHERE id >= ? AND id < ?", rows=2000)),
        "a small table": lambda: window(one(CONFIG, rows=60)),
    },
    "unbounded_fetch": {
        "five million objects": lambda: window(reads.large(5_000_000, "SELECT prop_id FROM land_value")),
        "five million objects mended": lambda: window(
            reads.streamed(reads.large(5_000_000, "SELECT prop_id FROM land_value"))
        ),
        "an export": lambda: window(reads.large(40_000, WIDE)),
        "an export mended": lambda: window(reads.streamed(reads.large(40_000, WIDE))),
        "a cache to fill": lambda: window(reads.large(60_000, "SELECT id, result FROM benchmark_result")),
        "a cache to fill mended": lambda: window(
            reads.streamed(reads.large(60_000, "SELECT id, result FROM benchmark_result"))
        ),
        "two hundred": lambda: window(reads.large(200, "SELECT data FROM task WHERE user_id = ? LIMIT 200")),
    },
    "serial_awaits": {
        "four reports": lambda: awaited(*REPORT),
        "four reports mended": lambda: gathered(*REPORT),
        "one per spelling": lambda: awaited(*["SELECT id FROM products WHERE name = ?"] * 8),
        "a page of answers": lambda: awaited(*[f"SELECT id FROM page_{part}" for part in range(8)]),
        "a page of answers mended": lambda: gathered(*[f"SELECT id FROM page_{part}" for part in range(8)]),
        "count and page": lambda: awaited("SELECT count(*) FROM products", "SELECT id FROM products LIMIT 20"),
        "2 ms each": lambda: awaited("SELECT id FROM blocked", "SELECT id FROM followed", duration=0.002),
    },
    "retry_storm": {
        "no backoff": lambda: retried(30, error="ConnectionError"),
        "no backoff mended": lambda: retried(6, [0.1, 0.2, 0.4, 0.8, 1.6], error="ConnectionError"),
        "writer thread": lambda: retried(12, text=MEMBERSHIP, database=MYSQL, code="2006"),
        "writer thread mended": lambda: retried(12, [5.0] * 11, text=MEMBERSHIP, database=MYSQL, code="2006"),
        "locked database": lambda: retried(5, [0.01] * 4, code="SQLITE_BUSY"),
        "five in 20 s": lambda: retried(5, [1.3, 2.6, 5.2, 10.4], code="2003"),
        "three attempts": lambda: retried(3, [0.1, 0.4], code="40001"),
    },
    "error_burst": {
        "reordering": lambda: retried(4, text="UPDATE contribution SET ordinal = ? WHERE id = ?", code="40P01"),
        "reordering mended": lambda: window(one("UPDATE contribution SET ordinal = ? WHERE id = ?", affected=1)),
        "memberships": lambda: retried(5, text=MEMBERSHIP, database=MYSQL, code="1213"),
        "select_for_update": lambda: retried(3, text="SELECT id FROM rows WHERE k = ? FOR UPDATE", code="40P01"),
        "one deadlock": lambda: window(
            *errors.failing(1, MEMBERSHIP, database=MYSQL, code="1213"), one(MEMBERSHIP, database=MYSQL, at=0.5)
        ),
        "locked twice": lambda: retried(2, [2.0], code="SQLITE_BUSY"),
    },
    "fan_out": {
        "home page": lambda: window(*workload.different(150)),
        "home page mended": lambda: window(*workload.different(10)),
        "no products": lambda: window(*workload.different(156)),
        "dashboard": lambda: window(*workload.different(450)),
        "dashboard mended": lambda: window(*workload.different(90)),
        "one per chart": lambda: window(*workload.different(1) * 120, *workload.different(4)),
        "list of orders": lambda: window(*workload.different(1) * 64, *workload.different(7)),
    },
    "unprepared_repeat": {
        "interpolated": lambda: window(*workload.written(600, "SELECT name FROM customers WHERE account = {}")),
        "interpolated mended": lambda: window(
            *[one("SELECT name FROM customers WHERE account = ?", parameters=number) for number in range(600)]
        ),
        "literals": lambda: window(*workload.written(30, "SELECT * FROM festivals WHERE name = 'festival {}'")),
        "literals mended": lambda: window(
            *[one("SELECT * FROM festivals WHERE name = $1", parameters=number) for number in range(30)]
        ),
        "native queries": lambda: window(*workload.written(12, "SELECT count(*) FROM orders WHERE day = '2017-02-{}'")),
        "native queries mended": lambda: window(
            *[one("SELECT count(*) FROM orders WHERE day = ?", parameters=number) for number in range(12)]
        ),
        "two constants": lambda: window(*workload.written(2, "SELECT id FROM GamePieceTypes WHERE type = 'piece {}'")),
    },
    "write_heavy": {
        "heartbeats": lambda: queries(update=3000, select=1500),
        "heartbeats mended": lambda: queries(update=100, select=1500),
        "session tokens": lambda: queries(update=1000, insert=100, select=900),
        "session tokens mended": lambda: queries(update=50, insert=100, select=900),
        "seen by an agent": lambda: queries(update=2000, select=1000),
        "seen by an agent mended": lambda: queries(update=200, select=1000),
        "one read, one write": lambda: queries(update=2000, select=2000),
    },
    "hot_table": {
        "a join table": lambda: tables(item_store_join=3950.0, changelog_deduped=497.0, stock_movement=105.0),
        "a join table mended": lambda: tables(item_store_join=450.0, changelog_deduped=497.0, stock_movement=105.0),
        "flags": lambda: tables(rollout_feature=90.0, users=20.0, orders=30.0),
        "flags mended": lambda: tables(rollout_feature=0.1, users=20.0, orders=30.0, lines=25.0, notes=9.0),
        "fields of a schema": lambda: tables(metabase_field=104.0, card=21.0, core_user=9.0, dashboard=8.0),
        "sessions of workers": lambda: tables(session_connection_state=600.0, worker=40.0, target=3.0),
        "a quarter of a second": lambda: tables(delayed_jobs=0.1, users=0.064, apps=0.052, events=0.039),
    },
    "es_query_context": {
        "genomic ranges": lambda: found_in(must(*RANGES)),
        "genomic ranges mended": lambda: found_in(must(*RANGES, clause="filter")),
        "must for filters": lambda: found_in(must({"match": {"name": "annual visit"}}, *FORMS)),
        "must for filters mended": lambda: found_in(
            {"bool": {"must": {"match": {"name": "annual visit"}}, "filter": list(FORMS)}}
        ),
        "where of a connector": lambda: found_in({"bool": {"must": [FORMS[0]], "should": [], "must_not": []}}),
        "where of a connector mended": lambda: found_in({"constant_score": {"filter": must(FORMS[0])}}),
        "sorted anyway": lambda: found_in(must(*RANGES), sort=["_doc"]),
        "must_not": lambda: found_in(must(*RANGES, clause="must_not")),
        "must in a filter": lambda: found_in({"bool": {"filter": must(*FORMS)}}),
    },
    "cacheable_query": {
        "configuration": lambda: repeated(more.read(80, CONFIG)),
        "configuration mended": lambda: repeated(more.read(1, CONFIG)),
        "flags of an organisation": lambda: repeated(more.read(200, FLAGS, 0.001)),
        "flags of an organisation mended": lambda: repeated(
            more.read(60, FLAGS), more.write(60, "UPDATE org_feature_flags SET enabled = ?")
        ),
        "half a millisecond": lambda: repeated(more.read(250, "SELECT * FROM rollout_feature WHERE name = ?", 0.0005)),
        "cached already": lambda: repeated(more.read(24, "SELECT * FROM configuration")),
        "in one page": lambda: repeated(more.read(50, "SELECT value FROM conf WHERE name = ?", every=50)),
    },
    "memory_spike": {
        "a migration": lambda: grown(more.rows(900_000, "SELECT id, name FROM area", model="Area"), 6e9),
        "a migration mended": lambda: grown(more.rows(900_000, "SELECT id, name FROM area", streamed=True), 6e9),
        "wide rows": lambda: grown(more.rows(40_000, WIDE, model="Exported"), 1.5e9),
        "wide rows mended": lambda: grown(more.rows(40_000, WIDE, streamed=True), 60e6),
        "table of tasks": lambda: grown(more.rows(400_000, "SELECT * FROM background_task", model="Task"), 700e6),
        "table of tasks mended": lambda: grown(more.rows(400_000, "SELECT * FROM background_task", streamed=True), 5e6),
    },
    "pool_profile_mismatch": {
        "all in use": lambda: profile(more.sized(20, 20)),
        "all in use mended": lambda: profile(more.sized(25, 6)),
        "200 for a worker": lambda: profile(more.sized(200, 3), pool_profile="memory-optimized"),
        "ten thousand": lambda: profile(more.sized(10_000, 40), pool_profile="read"),
        "times out": lambda: profile(more.pool((), 15, most=15, waits=9)),
        "exhausted": lambda: profile(more.pool((), 10, most=10, waits=30)),
    },
    "concurrency_over_pool": {
        "500 tasks": lambda: more.pool(more.borrowed(500, waited=1.0), asynchronous=True),
        "100 workers": lambda: more.pool(more.borrowed(100, waited=2.0, used=0.2), 10, asynchronous=True),
        "sixteen calls": lambda: more.pool(more.borrowed(16, waited=30.0)),
        "sixteen calls mended": lambda: more.pool(more.borrowed(20), 40, waits=0),
        "fifteen calls": lambda: more.pool(more.borrowed(15), waits=0),
        "four at once": lambda: more.pool(more.borrowed(4), 10, waits=0, asynchronous=True),
    },
    "serial_writes": {
        "replication": lambda: window(more.BEGIN, *more.writes(*more.ORDER, duration=0.01), duration=0.1),
        "replication mended": lambda: window(more.BEGIN, *more.writes(*more.ORDER, gap=-0.015), duration=0.1),
        "a distant server": lambda: window(*more.writes(*more.ORDER, *more.ORDER, duration=0.05)),
        "one trip each": lambda: window(*more.writes(*more.ORDER, database=COCKROACH), duration=0.2),
        "one statement": lambda: window(*more.writes(*["INSERT INTO _test (a, b) VALUES ($1, $2)"] * 1000)),
        "two statements": lambda: window(*more.writes(*more.ORDER[:2])),
    },
    "slow_consumer": {
        "a call per row": lambda: window(streams.stream(600.0, 2.0, rows=5000)),
        "a call per row mended": lambda: window(streams.stream(0.05, 0.05, rows=500, streamed=False)),
        "a download": lambda: window(streams.stream(90.0, 4.0, rows=100_000)),
        "a button": lambda: window(streams.stream(45.0, 0.02, rows=50)),
        "all at once": lambda: window(streams.stream(8.0, 8.0, rows=900_000, streamed=False)),
        "SELECT 1": lambda: window(one("SELECT 1", duration=0.001)),
    },
}


CASES |= public_plans.CASES | public_pools.CASES | public_queries.CASES | public_stores.CASES


def judged(name, evidence):
    """What a rule finds; an expensive text in a slow query is told by ``slow_query``, with the advice for the text."""
    evidence, options = evidence if isinstance(evidence, tuple) else (evidence, {})
    given = options if isinstance(options, dict) else {"peak": options}
    rule = RULES[name](Settings(**{key: value for key, value in given.items() if key not in {"peak", "times"}}))
    if "peak" in given:
        rule._peak = more.Grown(int(options))
    if "times" in given:
        rule._times = given["times"]
    if isinstance(evidence, Snapshot):
        return list(rule.examine(evidence))
    if isinstance(evidence, ExplainedQuery):
        return list(rule.judge(evidence))
    if isinstance(evidence, OpenWindow):
        return list(rule.conclude(evidence, evidence.name))
    found = list(rule.complete(evidence))
    if name in {"text_smell", "slow_query"}:
        slow = RULES["slow_query"](Settings())
        found += [each for operation in evidence.operations if (each := slow.visit(operation, None)) is not None]
    return found


@pytest.mark.parametrize("report", REPORTS, ids=[f"{each['rule']}: {each['case']}" for each in REPORTS])
def test_a_public_report_is_judged_as_it_should_be(report):
    """The fault is found once, with an answer to it; what is right is left alone."""
    found = judged(report["rule"], CASES[report["rule"]][report["case"]]())
    assert len(found) == (report["verdict"] == "detect")
    assert all(each.suggestion or each.rule in SILENT for each in found)
    assert all(report.get("suggests", "") in each.suggestion for each in found)


def test_each_case_is_one_of_the_list():
    """And the other way round."""
    named = [(each["rule"], each["case"]) for each in REPORTS]
    assert sorted(named) == sorted((rule, case) for rule, cases in CASES.items() for case in cases)


def public(each):
    """Whether a case was reported by somebody else."""
    return each["source"].startswith("https://")


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_five_cases_of_each_verdict_half_of_them_reported_by_others(name):
    """A new rule needs them as well: look for reports of its fault, and for what was taken for it and is none."""
    for verdict, fewest in (("detect", 3), ("leave alone", 2)):
        cases = [each for each in TABLE["report"] if (each["rule"], each["verdict"]) == (name, verdict)]
        ours = [each["cases"] for each in TABLE["own"] if (each["rule"], each["verdict"]) == (name, verdict)]
        assert len(cases) + sum(ours) >= 5, f"{name}: too few cases of {verdict}"
        assert sum(map(public, cases)) >= fewest, f"{name}: too few public cases of {verdict}"


def test_cases_elsewhere_are_there():
    """A test of that name, with that parameter, or with that many."""
    root = Path(__file__).parents[3]
    for each in (*ELSEWHERE, *TABLE["own"]):
        file, _, name = each["test"].partition("::")
        function, _, parameter = name.rstrip("]").partition("[")
        assert f"def {function}(" in (root / file).read_text(encoding="utf-8"), each["test"]
        if parameter:
            word = re.compile(rf"\b{parameter.rpartition('-')[2]}\b")
            assert any(word.search(path.read_text(encoding="utf-8")) for path in (root / file).parent.glob("*.py"))
    for each in TABLE["own"]:
        file, _, function = each["test"].partition("::")
        test = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), function)
        held = prod(len(mark.args[1]) for mark in test.pytestmark if mark.name == "parametrize")
        others = [other["cases"] for other in TABLE["own"] if other["test"] == each["test"]]
        assert sum(others) <= held, each["test"]
