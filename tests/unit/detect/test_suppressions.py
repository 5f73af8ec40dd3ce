"""Overrides, the ignore list and the baseline: what ends there, and what is said about them."""

import datetime as dt
import json

import pytest

from builders import make_statement
from dbsight.config import Settings
from dbsight.detect.rules.row_by_row_write import RowByRowWrite
from dbsight.detect.slow_thresholds import SlowThresholds
from dbsight.detect.suppressions import Overrides, Suppressions, read_baseline, write_baseline
from dbsight.model import CallSite, Finding
from unit.detect.loops import SELECT_CUSTOMER, judge, loop, make_window, one

STATEMENT = make_statement(SELECT_CUSTOMER)
FINGERPRINT = STATEMENT.fingerprint


def finding(**fields):
    """An N+1 of GET /orders."""
    about = {
        "rule": "n_plus_one",
        "id": "n1-00000001",
        "severity": "warning",
        "category": "query",
        "title": "SELECT customers runs once per item",
        "description": "",
        "statement": STATEMENT,
        "call_site": CallSite("shop/orders.py", 88, "list_orders"),
        "route": "GET /orders",
    }
    return Finding(**{**about, **fields})


def ignoring(today="2030-01-01", **entry):
    """Suppressions with one entry in the ignore list."""
    settings = Settings(ignore=({"rule": "n_plus_one", "reason": "known", **entry},))
    return Suppressions(settings, today=lambda: dt.date.fromisoformat(today))


@pytest.mark.parametrize(
    ("entry", "passes"),
    [
        ({}, False),
        ({"rule": "all"}, False),
        ({"rule": "slow_query"}, True),
        ({"fingerprint": FINGERPRINT}, False),
        ({"fingerprint": "0" * 16}, True),
        ({"route": "GET /orders"}, False),
        ({"route": "GET /*"}, False),
        ({"route": "GET /cart"}, True),
        ({"call_site": "shop/orders.py"}, False),
        ({"call_site": "shop/*.py"}, False),
        ({"call_site": "shop/orders.py:88"}, False),
        ({"call_site": "shop/orders.py:89"}, True),
        ({"route": "GET /orders", "fingerprint": "0" * 16}, True),
    ],
    ids=str,
)
def test_an_entry_ignores_what_has_all_that_it_names(entry, passes):
    """Rule, and fingerprint, route and place where they are named."""
    assert ignoring(**entry).passes(finding()) is passes


def test_an_entry_ends_on_its_day():
    """On that day it still holds; afterwards the finding is back, and the entry is complained of."""
    expires = dt.date(2030, 1, 31)
    assert not ignoring("2030-01-31", expires=expires).passes(finding())
    expired = ignoring("2030-02-01", expires=expires)
    assert expired.passes(finding())
    assert expired.complaints() == ["ignore n_plus_one expired on 2030-01-31: fix the finding or renew it"]


def test_an_entry_that_ignored_nothing_is_named():
    """Until it ignores something."""
    suppressions = ignoring(route="GET /orders")
    assert suppressions.complaints() == [
        "ignore n_plus_one (route GET /orders) matched nothing: remove it if this persists"
    ]
    suppressions.passes(finding())
    assert suppressions.complaints() == []


@pytest.mark.parametrize("pattern", [FINGERPRINT, "customers", "GET /orders", "GET /*"])
def test_a_rule_is_taken_away_in_one_place(pattern):
    """By fingerprint, table or route."""
    suppressions = Suppressions(Settings(overrides={pattern: {"rules": ("all", "-n_plus_one")}}))
    elsewhere = finding(statement=make_statement("SELECT id FROM carts WHERE id = ?"), route="POST /cart")
    assert [suppressions.passes(each) for each in (finding(), finding(rule="slow_query"), elsewhere)] == [
        False,
        True,
        True,
    ]


def test_the_nearest_override_holds():
    """Fingerprint before table before route."""
    tables = {"GET /orders": {"n_plus_one_threshold": 9}, "customers": {"n_plus_one_threshold": 8}}
    value = Overrides(Settings(overrides=tables)).value
    assert value("n_plus_one_threshold", STATEMENT, "GET /orders", 5) == 8
    assert value("n_plus_one_threshold", None, "GET /orders", 5) == 9
    assert value("n_plus_one_threshold", None, "GET /cart", 5) == 5
    assert value("slow_query_threshold", STATEMENT, "GET /orders", 1.0) == 1.0
    nearest = Overrides(Settings(overrides={**tables, FINGERPRINT: {"n_plus_one_threshold": 7}}))
    assert nearest.value("n_plus_one_threshold", STATEMENT, "GET /orders", 5) == 7


def test_a_threshold_of_a_table_holds_for_it_alone():
    """Eight repetitions are a warning elsewhere."""
    overrides = {"customers": {"n_plus_one_threshold": 20}, "tags": {"row_by_row_write_threshold": 20}}
    assert [found.severity for found in judge(loop(8), overrides=overrides)] == ["info"]
    assert [found.severity for found in judge(loop(8))] == ["warning"]
    writes = make_window(loop(8, "INSERT INTO tags (name) VALUES (?)", affected=1))
    assert list(RowByRowWrite(Settings(overrides=overrides)).complete(writes)) == []
    assert len(list(RowByRowWrite(Settings()).complete(writes))) == 1


@pytest.mark.parametrize(
    ("override", "route", "expected"),
    [
        ({"customers": {"slow_query_threshold": 0.1}}, "", ("slow", 0.1)),
        ({"customers": {"slow_query_threshold": 0.1, "very_slow_query_threshold": 0.15}}, "", ("very_slow", 0.15)),
        ({"customers": {"very_slow_query_threshold": 0.2}}, "", ("very_slow", 0.2)),
        ({"GET /orders": {"slow_query_threshold": 0.1}}, "GET /orders", ("slow", 0.1)),
        ({"GET /orders": {"slow_query_threshold": 0.1}}, "GET /cart", (None, None)),
        ({"customers": {"slow_query_threshold": 9.0}}, "", (None, None)),
        ({}, "", (None, None)),
    ],
)
def test_slow_limits_differ_in_one_place(override, route, expected):
    """Lower or higher than everywhere else."""
    operation = one(SELECT_CUSTOMER, duration=0.2)
    assert SlowThresholds(Settings(overrides=override)).classify(operation, route) == expected


def test_a_baseline_holds_back_what_it_names(tmp_path):
    """What is new is reported."""
    path = tmp_path / "known.json"
    assert write_baseline([finding(), finding()], path) == 1
    assert json.loads(path.read_text())["findings"] == [
        {
            "id": "n1-00000001",
            "rule": "n_plus_one",
            "title": "SELECT customers runs once per item",
            "route": "GET /orders",
        }
    ]
    assert [each.name for each in tmp_path.iterdir()] == ["known.json"]
    suppressions = Suppressions(Settings(baseline=str(path)))
    assert [suppressions.passes(each) for each in (finding(), finding(id="n1-00000002"))] == [False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "the file is not valid JSON"),
        ("[]", "the file is not a dbsight baseline"),
        ('{"schema": 1}', "the file is not a dbsight baseline"),
        ('{"schema": 2, "findings": []}', "its schema is 2"),
    ],
)
def test_what_is_no_baseline_is_one_warning(tmp_path, caplog, content, message):
    """Everything is reported then."""
    path = tmp_path / "known.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_baseline(path)
    assert Suppressions(Settings(baseline=str(path))).passes(finding())
    (record,) = caplog.records
    assert message in record.getMessage()


def test_a_baseline_that_is_missing_is_one_warning(tmp_path, caplog):
    """It names the file."""
    path = tmp_path / "none.json"
    assert Suppressions(Settings(baseline=str(path))).passes(finding())
    assert [record.getMessage() for record in caplog.records] == [
        f"dbsight: baseline {path} ignored: No such file or directory"
    ]
