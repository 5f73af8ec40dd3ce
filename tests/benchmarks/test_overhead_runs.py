"""The overhead benchmark runs and reports what it promises; how fast anything is, is not judged here."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "overhead.py"
VARIANTS = ("none", "stock", "stock-auto", "dbsight")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One quick run: the finished process and its report."""
    file = tmp_path_factory.mktemp("overhead") / "overhead.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--quick", "--markdown", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done, json.loads(file.read_text())


def test_every_variant_is_measured_against_none_and_stock(run):
    """The report has CPU, caller's CPU and wall of each variant, and finite ratios to stock and stock-auto."""
    _, report = run
    summary = report["workloads"]["core-memory"]
    assert set(summary) == set(VARIANTS)
    for variant in VARIANTS:
        assert {"cpu", "caller", "wall"} <= set(summary[variant])
        for spread in (summary[variant][key] for key in ("cpu", "caller", "wall")):
            assert set(spread) == {"median", "min", "max"}
    for variant in VARIANTS[1:]:
        for other in ("to_stock", "to_stock-auto"):
            assert set(summary[variant][other]) == {"cpu", "caller", "wall"}
            assert all(math.isfinite(ratio) for ratio in summary[variant][other].values())
    assert summary["stock"]["to_stock"]["cpu"] == 1


def test_every_span_arrives_in_the_sink(run):
    """The sink got a span a query from each variant, one more from the driver under stock-auto: nothing was dropped."""
    _, report = run
    summary = report["workloads"]["core-memory"]
    connects = 1 / 20  # upstream's span for each checkout, one a request
    assert {variant: round(summary[variant]["spans"], 3) for variant in VARIANTS[1:]} == {
        "stock": 1 + connects,
        "stock-auto": 2 + connects,
        "dbsight": 1,
    }


def test_memory_and_start_are_reported(run):
    """What a query keeps until it is exported, and what starting costs, are there for each variant."""
    _, report = run
    summary = report["workloads"]["core-memory"]
    assert all({"blocks", "held_bytes", "peak_bytes"} <= set(summary[variant]) for variant in VARIANTS[1:])
    assert set(report["start"]) == set(VARIANTS)
    assert all(report["start"][variant]["median"] > 0 for variant in VARIANTS)


def test_the_tables_are_printed(run):
    """One row a variant on the terminal, and the ratios as Markdown."""
    done, _ = run
    rows = [line.split()[1] for line in done.stdout.partition("memory, added")[0].splitlines() if line.startswith("│")]
    assert rows == list(VARIANTS)
    assert "| workload | stock, µs | stock | stock-auto | dbsight |" in done.stdout
