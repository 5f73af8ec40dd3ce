"""The rule regression, of times; of plans, tests/integration/plans/test_plan_rules.py."""

import json
import random

import pytest

from builders import make_statement
from dbsight.config import Settings
from dbsight.detect.rules.regression import Regression
from dbsight.detect.suppressions import read_times, write_baseline
from dbsight.model import Database, Snapshot, StatementTotals
from dbsight.monitor.stats import Stats
from unit.detect.loops import one

SHOP = Database("postgresql", "shop")
STATEMENT = make_statement("SELECT * FROM orders WHERE id = ?", "postgresql")


def totals(p50, p95, count=100, statement=STATEMENT):
    """Totals of a statement."""
    return StatementTotals(statement, SHOP, count, 0, p50 * count, p50, p95, p95 * 2, count, None)


def measured(seed, times=1.0, count=400):
    """The totals of executions whose durations are distributed as those of a real query, about 20 ms each."""
    chance = random.Random(seed)
    stats = Stats()
    for _ in range(count):
        stats.add(one(STATEMENT.text, duration=chance.lognormvariate(-4, 0.6) * times, database=SHOP))
    return stats.snapshot().statements


def found(before, now, tmp_path):
    """What the rule says, compared with a baseline of other totals."""
    path = tmp_path / "baseline.json"
    write_baseline((), path, before)
    return list(Regression(Settings(baseline=str(path))).examine(Snapshot(statements=now)))


def test_a_statement_that_became_slower_is_reported(tmp_path):
    """With both distributions, and what it costs."""
    (finding,) = found([totals(0.02, 0.05)], [totals(0.05, 0.2)], tmp_path)
    assert finding.title == "SELECT orders became slower"
    assert finding.description == (
        "Compared with the baseline: median 20.0 ms → 50.0 ms, 95th percentile 50.0 ms → 200 ms, of 100 executions."
    )
    assert finding.impact == pytest.approx(3.0)
    assert (finding.severity, finding.current_value, finding.threshold) == ("warning", 0.05, 0.04)


@pytest.mark.parametrize("seed", range(10))
def test_a_shifted_distribution_is_told_from_the_same_one(tmp_path, seed):
    """As measured: chance alone never doubles both quantiles; a query that takes three times as long does."""
    before = measured(seed)
    assert found(before, measured(seed + 100), tmp_path) == []
    assert len(found(before, measured(seed + 100, times=3.0), tmp_path)) == 1


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (totals(0.02, 0.05), totals(0.03, 0.2)),
        (totals(0.02, 0.05), totals(0.05, 0.06)),
        (totals(0.001, 0.002), totals(0.003, 0.009)),
        (totals(0.02, 0.05, count=19), totals(0.2, 0.5)),
        (totals(0.02, 0.05), totals(0.2, 0.5, count=19)),
        (totals(0.2, 0.5), totals(0.02, 0.05)),
        (totals(0.02, 0.05, statement=make_statement("SELECT 2", "postgresql")), totals(0.2, 0.5)),
    ],
    ids=["outliers", "the median alone", "two ms", "few before", "few now", "faster", "another statement"],
)
def test_leaves_alone_what_says_nothing(tmp_path, before, now):
    """What chance, a busy minute or too few executions explain."""
    assert found([before], [now], tmp_path) == []


@pytest.mark.parametrize(
    "times", [None, [], {"f": None}, {"f": {"count": 1}}, {"f": {"count": 30, "p50": "1", "p95": 2}}]
)
def test_a_baseline_that_was_edited_does_no_harm(tmp_path, times):
    """What is no number is left out; one of an earlier version has no times."""
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"schema": 1, "findings": [], "times": times}))
    assert read_times(path) == {}
    assert read_times(tmp_path / "nowhere.json") == read_times(None) == {}
