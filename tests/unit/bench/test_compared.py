"""Two runs: what differs beyond noise."""

import json
import random
from itertools import pairwise

import pytest

from dbsight.bench.compared import compare_benchmarks, compare_files, compare_runs, differs, improvement, told
from dbsight.model import CallSite, Database, Finding, MergedFinding, RouteTotals, Snapshot, Statement, StatementTotals
from dbsight.monitor.quantiles import count_all, durations, empty
from dbsight.report import json as saved


def totals(fingerprint, times):
    """Of one query."""
    buckets = empty()
    count_all(buckets, times)
    ordered = sorted(times)
    return StatementTotals(
        Statement("sqlite", "SELECT 1", f"SELECT {fingerprint}", fingerprint, kind="select"),
        Database("sqlite"),
        len(times),
        0,
        sum(times),
        ordered[len(times) // 2],
        ordered[-1],
        ordered[-1],
        0,
        durations=durations(buckets, ordered[-1]),
    )


def spread(mean, number=200, seed=1):
    """Durations around a mean, s."""
    chance = random.Random(seed)
    return [max(1e-5, chance.gauss(mean, mean / 4)) for _ in range(number)]


def finding(each, severity="warning"):
    """A finding that was seen once."""
    found = Finding("n_plus_one", each, severity, "query", "A loop", "x", call_site=CallSite("shop.py", 3, "f"))
    return MergedFinding(found, 1, 1, 0.0)


def run(statements=(), findings=(), routes=()):
    """A saved run."""
    return Snapshot(statements=list(statements), findings=list(findings), routes=list(routes))


def test_improvement_is_percent_of_the_base():
    """As the formula of the first guide has it."""
    assert improvement(0.5, 0.125) == 75.0
    assert improvement(0.1, 0.2) == -100.0
    assert improvement(0.0, 1.0) == 0.0


def test_a_query_is_faster_slower_or_no_different():
    """By more than the threshold, and by more than noise."""
    base = run([totals("a", spread(0.01)), totals("b", spread(0.01)), totals("c", spread(0.01)), totals("gone", [1.0])])
    head = run(
        [totals("a", spread(0.004, seed=2)), totals("b", spread(0.02)), totals("c", spread(0.0101)), totals("x", [1.0])]
    )
    changes = {change.name: change for change in compare_runs(base, head).changes}
    assert {name: change.verdict for name, change in changes.items()} == {
        "SELECT a": "faster",
        "SELECT b": "slower",
        "SELECT c": "no difference",
        "SELECT gone": "gone",
        "SELECT x": "new",
    }
    assert changes["SELECT a"].improvement == pytest.approx(60, abs=3)
    assert compare_runs(base, head).regressed
    assert not compare_runs(base, base).regressed


def test_noise_is_no_difference():
    """The same distribution, and means of few and wild executions that differ by a third."""
    chance = random.Random(5)
    wild = [[chance.expovariate(100) for _ in range(12)] for _ in range(40)]
    said = sum(differs([(each, 1) for each in a], [(each, 1) for each in b]) for a, b in pairwise(wild))
    assert said <= 5  # of 39; one in twenty is what the interval allows
    assert not differs([(0.1, 1)], [(0.9, 1)])  # nobody knows
    assert differs([(each, 1) for each in spread(0.01)], [(each, 1) for each in spread(0.012, seed=3)])


def test_findings_come_and_go():
    """A new one at warning is a regression; one at info is not."""
    before, after = run(findings=[finding("a"), finding("b")]), run(findings=[finding("b"), finding("c")])
    found = compare_runs(before, after)
    assert [merged.finding.id for merged in found.gone] == ["a"]
    assert told(found.new) == ["warning n_plus_one: A loop at shop.py:3"]
    assert found.regressed
    assert not compare_runs(before, run(findings=[finding("a"), finding("b"), finding("i", "info")])).regressed


def test_a_route_that_sends_more_queries_is_a_regression():
    """Per request, whatever the number of requests."""
    few, many = RouteTotals("GET /orders", windows=10, calls=20), RouteTotals("GET /orders", windows=3, calls=303)
    worse, better = (
        compare_runs(run(routes=[few]), run(routes=[many])),
        compare_runs(run(routes=[many]), run(routes=[few])),
    )
    assert (worse.routes[0].base, worse.routes[0].head, worse.regressed) == (2.0, 101.0, True)
    assert better.regressed is False


def test_benchmarks_are_compared_by_name():
    """Their samples are exact."""
    base = {"loop": {"samples_ms": [10.0, 11.0, 9.0, 10.0], "p95_ms": 11.0}}
    head = {"loop": {"samples_ms": [1.0, 1.1, 0.9, 1.0], "p95_ms": 1.1}}
    (change,) = compare_benchmarks(base, head).changes
    assert (change.verdict, round(change.improvement, 3)) == ("faster", 90.0)


def test_a_saved_run_keeps_what_is_compared(tmp_path):
    """Durations and routes survive the file."""
    snapshot = run([totals("a", spread(0.01))], routes=[RouteTotals("GET /", windows=2, calls=4)])
    saved.write(snapshot, tmp_path / "run.json")
    again = saved.read(tmp_path / "run.json")
    assert again.routes == snapshot.routes
    assert [count for _, count in again.statements[0].durations] == [
        count for _, count in snapshot.statements[0].durations
    ]
    (change,) = compare_files(tmp_path / "run.json", tmp_path / "run.json").changes
    assert change.verdict == "no difference"


def test_files_that_cannot_be_compared_are_one_sentence(tmp_path):
    """A cut file, another kind, a newer schema."""
    saved.write(run(), tmp_path / "run.json")
    (tmp_path / "cut.json").write_text((tmp_path / "run.json").read_text()[:40])
    benchmark = {"schema": 1, "benchmark": {"a": {"samples_ms": [1.0], "p95_ms": 1.0}}}
    (tmp_path / "bench.json").write_text(json.dumps(benchmark))
    (tmp_path / "newer.json").write_text(json.dumps({**benchmark, "schema": 99}))
    for head, words in (
        ("cut.json", "is not a dbsight report"),
        ("bench.json", "not of the same kind"),
        ("newer.json", "schema 99"),
    ):
        with pytest.raises(ValueError, match=words):
            compare_files(tmp_path / "run.json", tmp_path / head)
    with pytest.raises(OSError, match="No such file"):
        compare_files(tmp_path / "run.json", tmp_path / "none.json")
