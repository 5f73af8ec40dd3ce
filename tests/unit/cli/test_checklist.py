"""The fifteen lines of the checklist, each right, wrong and unknown."""

import pytest

from dbsight.cli.checks import CHECKS
from dbsight.cli.evidence import Evidence, Inside
from dbsight.cli.practice import Cache, Engine, Practice

CHECKLIST = {check.name: check for check in CHECKS if check.advisory}

QUEUE = Engine("db/shop", "postgresql", "QueuePool", size=15, pre_ping=True, limits=["statement_timeout"])
BARE = Engine("db/shop", "postgresql", "NullPool", pre_ping=False, limits=[])
FILE = Engine("shop.db", "sqlite", "QueuePool", size=15, pre_ping=False, limits=[])


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


def test_it_has_fifteen_lines():
    """Five about the database, five about the application, five about caches."""
    assert len(CHECKLIST) == 15


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
