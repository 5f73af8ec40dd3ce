"""The lines of the checklist, each right, wrong and unknown."""

import json
from dataclasses import asdict, replace

import pytest

from dbsight.cli import habits
from dbsight.cli.checks import CHECKS
from dbsight.cli.django_facts import Alias, Django
from dbsight.cli.evidence import Evidence, Inside
from dbsight.cli.practice import Cache, Engine, Practice, Store

CHECKLIST = {check.name: check for check in CHECKS if check.advisory}

QUEUE = Engine("db/shop", "postgresql", "QueuePool", size=15, pre_ping=True, limits=["statement_timeout"])
BARE = Engine("db/shop", "postgresql", "NullPool", pre_ping=False, limits=[])
FILE = Engine("shop.db", "sqlite", "QueuePool", size=15, pre_ping=False, limits=[])


PATIENT = Engine("db/shop", "postgresql", "QueuePool", size=15, timeout=-1.0, recycle=-1.0, pre_ping=False)
USED = Engine("db/shop", "postgresql", "QueuePool", size=15, created=3, most=3, idle=3, timeout=30.0, recycle=3600.0)
LARGE = Engine("db/shop", "postgresql", "QueuePool", size=50, kept=20, timeout=10.0, created=1)
ASYNC = replace(LARGE, size=30, timeout=30.0, recycle=3600.0, asynchronous=True)
KEPT = Engine("localhost:6379/0", "redis", "ConnectionPool", size=50, created=9, most=9, idle=9, tested=False)
SHARED = Engine("localhost:6379/0", "redis", "SharedPool", size=10, created=2, most=2, idle=2, tested=True, shared=True)


def limited(**limits):
    """An engine whose server was asked for its limits."""
    return Engine("db/shop", "postgresql", "QueuePool", size=15, limits=[], server=limits)


def found(rule):
    """What a command does of which a rule has found something."""
    return {"findings": {rule: ["SELECT customers runs once for each order (app.py:7)"]}}


def caches(**numbers):
    """What a command does that asks one cache."""
    return {"caches": [Cache("user:{}", **numbers)]}


def judge(name, *, calls=9, evidence=None, **practice):
    """Mark and text of one line."""
    inside = Inside(attached=True, calls=calls, practice=Practice(**{"slow": 1.0, **practice}))
    (line,) = CHECKLIST[name]().look(Evidence(inside=inside, **(evidence or {})))
    assert bool(line.advice) == (line.mark != "✔")
    return line.mark, line.text


def test_each_line_is_tested_right_and_wrong_or_unknown():
    """A new line of the checklist has its cases below."""
    assert set(RIGHT) == set(CHECKLIST)
    assert set(CHECKLIST) - set(WRONG) - {"profiling", "benchmarks", "query-log"} == set()
    assert set(CHECKLIST) - set(UNKNOWN) == {"slow-log"}


@pytest.mark.parametrize("name", CHECKLIST)
def test_without_a_command_there_is_nothing_to_say(name):
    """Nor where our processor was not in place."""
    assert [*CHECKLIST[name]().look(Evidence()), *CHECKLIST[name]().look(Evidence(inside=Inside()))] == []


RIGHT = {
    "pooling": {"engines": [QUEUE, FILE]},
    "indexes": {"plans": 3},
    "timeouts": {"engines": [QUEUE, FILE]},
    "health": {"engines": [QUEUE, FILE]},
    "slow-log": {},
    "caching": caches(hits=9, misses=1),
    "batches": {"batches": 2},
    "async": {"asynchronous": 4},
    "leaks": {},
    "monitoring": {"evidence": {"configured": True, "endpoint": "collector:4317"}},
    "hit-rate": caches(hits=71, misses=29),
    "ttl": {"expiring": 3},
    "invalidation": caches(stores=3, removals=2),
    "layers": {"caches": [Cache("user:{}", "l1", hits=200), Cache("user:{}", "l2", hits=9)]},
    "warming": {"warmed": ["user:{}"]},
    "sizing": {"engines": [USED, FILE]},
    "pool-timeout": {"engines": [USED]},
    "recycle": {"engines": [USED]},
    "idle-limits": {"engines": [limited(idle_in_transaction_session_timeout=60.0)]},
    "workload": {"engines": [LARGE], "reads": 100},
    "redis-sharing": {"engines": [SHARED]},
    "redis-lazy": {"engines": [SHARED]},
    "redis-cleanup": {"engines": [SHARED]},
    "redis-health": {"engines": [SHARED]},
    "profiling": {"evidence": {"habits": {"profiling": "tox.ini"}}},
    "benchmarks": {"evidence": {"habits": {"benchmarks": "Makefile"}}},
    "budgets": {"budgets": 2},
    "regressions": {"baseline": "dbsight-baseline.json"},
    "query-log": {"log_level": "warning"},
    "django-connections": {"django": Django(aliases=[Alias("default", max_age=60.0)], opened=3, used=90)},
    "django-transactions": {"django": Django(aliases=[Alias("default", atomic=True)], longest=0.2)},
    "django-debug": {"django": Django(server="gunicorn")},
}
WRONG = {
    "pooling": {"engines": [QUEUE, BARE]},
    "indexes": found("missing_index"),
    "timeouts": {"engines": [QUEUE, BARE]},
    "health": {"engines": [QUEUE, BARE]},
    "slow-log": {"slow": None},
    "caching": found("redundant_query"),
    "batches": found("row_by_row_write"),
    "async": found("blocking_call"),
    "leaks": found("connection_leak"),
    "monitoring": {"evidence": {"exporters": ["console"]}},
    "hit-rate": caches(hits=70, misses=30),
    "ttl": {"expiring": 1, "lasting": 3},
    "invalidation": caches(stores=3),
    "layers": {"caches": [Cache("user:{}", "l2", hits=200)]},
    "warming": {"cold": ["user:{}"]},
    "sizing": {"engines": [replace(USED, waits=4, timeouts=1, needed=20)]},
    "pool-timeout": {"engines": [USED, PATIENT]},
    "recycle": {"engines": [PATIENT]},
    "idle-limits": {"engines": [limited(idle_in_transaction_session_timeout=0.0)]},
    "workload": {"engines": [LARGE], "reads": 100, "evidence": {"workload": "write"}},
    "redis-sharing": {"engines": [replace(KEPT, same=3)]},
    "redis-lazy": {"engines": [replace(KEPT, most=2)]},
    "redis-cleanup": {"engines": [KEPT]},
    "redis-health": {"engines": [KEPT]},
    "budgets": {"budgets": 2, **found("budget_exceeded")},
    "regressions": found("regression"),
    "django-connections": {"django": Django(aliases=[Alias("default")], opened=90, used=90)},
    "django-transactions": {"django": Django(aliases=[Alias("default", atomic=True)], longest=1.2, where="views.py:7")},
    "django-debug": {"django": Django(debug=True, server="gunicorn")},
}
UNKNOWN = {
    "pooling": {"engines": [FILE]},
    "indexes": {"plans": 0},
    "timeouts": {"engines": [FILE]},
    "health": {"engines": [FILE]},
    "caching": {"caches": [Cache("sqlalchemy.compiled", hits=5)]},
    "batches": {"calls": 0},
    "async": {},
    "leaks": {"calls": 0},
    "monitoring": {"evidence": {"endpoint": "localhost:4317"}},
    "hit-rate": {"caches": [Cache("sqlalchemy.compiled", hits=5)]},
    "ttl": {},
    "invalidation": {},
    "layers": {},
    "warming": {"cold": ["sqlalchemy.compiled"]},
    "sizing": {"engines": [FILE]},
    "pool-timeout": {"engines": [FILE, QUEUE]},
    "recycle": {"engines": [QUEUE]},
    "idle-limits": {"engines": [QUEUE]},
    "workload": {"engines": [LARGE], "reads": 7},
    "redis-sharing": {},
    "redis-lazy": {},
    "redis-cleanup": {"engines": [replace(KEPT, idle=1)]},
    "redis-health": {},
    "profiling": {},
    "benchmarks": {},
    "budgets": {},
    "regressions": {},
    "query-log": {},
    "django-connections": {"django": Django(aliases=[Alias("default")], opened=3, used=3)},
    "django-transactions": {"django": Django(aliases=[Alias("default", atomic=True)])},
    "django-debug": {"django": Django(debug=True)},
}


@pytest.mark.parametrize(
    ("name", "practice", "mark"),
    [
        (name, practice, mark)
        for mark, table in (("✔", RIGHT), ("✘", WRONG), ("?", UNKNOWN))
        for name, practice in table.items()
    ],
)
def test_each_line_tells_right_from_wrong(name, practice, mark):
    """By what the command did."""
    assert judge(name, **practice)[0] == mark


@pytest.mark.parametrize(
    ("practice", "mark", "text"),
    [
        ({"plans": 3, **found("slow_query")}, "✔", "no index is missing according to 3 query plans"),
        (
            {"plans": 3, "unexplained": ["SELECT x is slow"]},
            "?",
            "slow, and its query plan was not read: SELECT x is slow",
        ),
        ({"plans": 3, **found("bad_plan")}, "✘", ""),
    ],
    ids=["a plan that shows nothing wrong", "no plan", "a bad plan"],
)
def test_a_slow_query_is_judged_by_its_plan(practice, mark, text):
    """A query that reads what it has to is slow with every index; without its plan, nobody knows."""
    judged = judge("indexes", **practice)
    assert judged[0] == mark
    assert text in judged[1]


def test_a_line_says_what_it_was_judged_by():
    """Names, sizes and places."""
    assert judge("pooling", engines=[QUEUE]) == ("✔", "connections are pooled: db/shop QueuePool of 15")
    assert judge("batches", **found("n_plus_one")) == ("✘", "SELECT customers runs once for each order (app.py:7)")
    assert judge("hit-rate", **caches(hits=1, misses=3)) == (
        "✘",
        "25% of 4 lookups were hits; user:{} missed 3 times",
    )


@pytest.mark.parametrize(
    ("evidence", "practice", "mark", "text"),
    [
        (
            {"template": "high-performance"},
            {"engines": [LARGE]},
            "✔",
            "as expected for high-performance (no query ran)",
        ),
        ({"template": "high-performance"}, {"engines": [USED]}, "✘", "keeps 0 connections, not 20"),
        ({"template": "memory-optimized"}, {"engines": [LARGE]}, "✘", "has 50 connections, not 15"),
        (
            {"template": "high-performance"},
            {"stores": [Store("s3", 10)]},
            "✘",
            "s3 has 10 connections per client, not 100",
        ),
        ({"workload": "read"}, {"stores": [Store("elasticsearch", 10, 10.0)]}, "✘", "elasticsearch has 10 connections"),
        ({"workload": "write"}, {"stores": [Store("elasticsearch", 10, 60.0)]}, "✔", "as expected for write"),
        ({"workload": "read"}, {"engines": [LARGE], "writes": 100}, "✘", "100% of 100 queries write: that is write"),
        ({"template": "async"}, {"engines": [ASYNC]}, "✔", "as expected for async"),
        ({"template": "async"}, {"engines": [replace(ASYNC, size=15, kept=5)]}, "✘", "has 15 connections, not 30"),
        ({"template": "async"}, {"engines": [replace(ASYNC, timeout=60.0)]}, "✘", "waits 1 min, not 30 s"),
        (
            {"template": "async"},
            {"engines": [replace(ASYNC, recycle=-1.0)]},
            "✘",
            "does not replace connections after 60 min",
        ),
        ({}, {"engines": [USED], "reads": 100}, "?", "db/shop keeps 0 connections, not 20"),
    ],
)
def test_pools_are_compared_with_the_profile_that_was_asked_for(evidence, practice, mark, text):
    """Or with that of the measured share of writes, about which nothing is wrong for sure."""
    judged = judge("workload", evidence=evidence, **practice)
    assert judged[0] == mark
    assert text in judged[1]


@pytest.mark.parametrize(
    ("name", "engine", "mark", "text"),
    [
        (
            "sizing",
            replace(USED, size=200, server={"max_connections": 100.0}),
            "✘",
            "200 connections, the server allows 100",
        ),
        ("sizing", replace(USED, idle=20, most=2), "✘", "keeps 20 idle connections, 2 were in use at most"),
        ("recycle", replace(PATIENT, pre_ping=True), "✔", "replaced when a test at checkout fails"),
        ("recycle", replace(USED, recycle=86400.0), "✘", "connections are kept for 1 440 min, and not tested: db/shop"),
        ("recycle", replace(USED, recycle=86400.0, pre_ping=True), "✔", "replaced after 1 440 min"),
        ("recycle", replace(USED, server={"wait_timeout": 600.0}), "✘", "closes idle connections after 10 min"),
        ("timeouts", limited(statement_timeout=5.0), "✔", "statement_timeout of the server (5 s)"),
        ("timeouts", limited(statement_timeout=0.0), "✘", "queries have no timeout"),
        ("redis-cleanup", replace(SHARED, cleanup_failures=2), "✘", "2 clean-ups failed"),
    ],
)
def test_a_line_about_pools_says_what_it_saw(name, engine, mark, text):
    """Sizes against the server's, ages against the server's, limits of the server."""
    judged = judge(name, engines=[engine])
    assert judged[0] == mark
    assert text in judged[1]


def test_habits_are_read_from_the_files_of_the_project(tmp_path):
    """The first file that shows one; files that are too large, or of other kinds, are not read."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--dbsight"\n')
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / ".github" / "workflows" / "build.yml").write_text("- run: dbsight compare before.json after.json\n")
    (tmp_path / "Makefile").write_text("bench:\n\tdbsight bench queries hot.sql\n" + "#" * 300_000)
    (tmp_path / "notes.txt").write_text("dbsight bench")
    assert habits.of_project(tmp_path) == {"profiling": "pyproject.toml", "regressions": ".github/workflows/build.yml"}


@pytest.mark.parametrize(
    ("django", "text"),
    [
        (Django(aliases=[Alias("default", max_age=60.0, pooled=True)]), "a pool and CONN_MAX_AGE"),
        (Django(aliases=[Alias("default", max_age=-1.0)], asgi=True), "CONN_MAX_AGE under ASGI"),
    ],
    ids=["pool with an age", "age under ASGI"],
)
def test_connections_of_django_that_are_kept_in_the_wrong_way(django, text):
    """Django refuses the first itself; the second opens more and more."""
    mark, said = judge("django-connections", django=django)
    assert mark == "✘"
    assert text in said


def test_without_django_there_is_no_line_about_it():
    """Most programs are none of its."""
    inside = Inside(attached=True, calls=9, practice=Practice())
    assert [*CHECKLIST["django-debug"]().look(Evidence(inside=inside))] == []


def test_what_was_seen_of_django_is_read_back_from_json():
    """As a process tells it to ``dbsight doctor``."""
    practice = Practice(django=Django(debug=True, aliases=[Alias("default", atomic=True)]))
    assert Practice.of(json.loads(json.dumps(asdict(practice)))) == practice
