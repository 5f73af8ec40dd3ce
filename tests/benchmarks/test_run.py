"""The benchmark runs and reports what it promises; how fast anything is, is not judged here."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
VARIANTS = ("none", "stock", "dbsight")
WORKLOADS = ("core-memory", "django-memory", "driver-sqlite3", "redis-get", "redis-pipeline", "checkout")


def parts():
    """The parts that can be left out, from the source: the benchmarks are programs, not modules of the tests."""
    module = ast.parse((BENCHMARKS / "variants.py").read_text())
    (value,) = (
        node.value
        for node in module.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PARTS"
    )
    return ast.literal_eval(value)


@pytest.fixture(scope="module")
def run(redis_process, tmp_path_factory):
    """One tiny round: what was printed, and the report."""
    file = tmp_path_factory.mktemp("bench") / "bench.json"
    options = ["--rounds", "1", "--requests", "3", "--no-instructions", "--json", str(file)]
    for workload in WORKLOADS:
        options += ["--workload", workload]
    for variant in (*VARIANTS, "watched"):
        options += ["--variant", variant]
    command = [sys.executable, str(BENCHMARKS / "run.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


def test_cpu_of_all_threads_and_of_the_caller_is_reported_of_each_variant(run):
    """Queries, commands, pipelines and checkouts: median, smallest and largest."""
    _, report = run
    assert list(report["workloads"]) == list(WORKLOADS)
    for summary in report["workloads"].values():
        for variant in VARIANTS:
            assert {"cpu", "caller", "wall"} <= set(summary[variant])
            assert set(summary[variant]["cpu"]) == {"median", "min", "max"}
        assert summary["none"]["cpu"]["median"] > 0
    assert "watched" in report["workloads"]["checkout"]


def test_every_span_arrives_in_the_sink(run):
    """A span a query or command or pipeline, and upstream's for each checkout of a request: nothing was dropped."""
    _, report = run
    spans = {
        name: {variant: round(report["workloads"][name][variant]["spans"], 3) for variant in VARIANTS[1:]}
        for name in WORKLOADS[:-1]
    }
    assert spans == {
        "core-memory": {"stock": 1.05, "dbsight": 1},
        "django-memory": {"stock": 1, "dbsight": 1},
        "driver-sqlite3": {"stock": 1, "dbsight": 1},
        "redis-get": {"stock": 1, "dbsight": 1},
        "redis-pipeline": {"stock": 1, "dbsight": 1},
    }


def test_memory_and_start_are_reported(run):
    """What a query keeps until it is exported, and CPU and memory of a start."""
    _, report = run
    summary = report["workloads"]["core-memory"]
    assert all({"blocks", "held_bytes", "peak_bytes"} <= set(summary[variant]) for variant in VARIANTS[1:])
    assert all(report["start"][variant][key]["median"] > 0 for variant in VARIANTS for key in ("cpu", "memory"))


def test_the_tables_of_the_page_are_printed(run):
    """A row a workload, the checkout, the start."""
    told, _ = run
    rows = [line.split("|")[1].strip() for line in told.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row in (*WORKLOADS, *VARIANTS)] == [*WORKLOADS[:-1], *VARIANTS]
    assert "Checkout and return: " in told


def test_instructions_misses_and_the_cost_of_a_known_finding_are_printed(monkeypatch):
    """What is added to the program without instrumentation; the finding's cost, the program's own included."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("results", "variants"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    markdown = importlib.import_module("results").markdown
    for name in ("results", "variants"):
        monkeypatch.delitem(sys.modules, name)
    whole = {"none": (400_000, 100, 10), "stock": (900_000, 700, 260), "dbsight": (600_000, 500, 210)}
    counts = {
        variant: {
            "core-six-memory": dict(zip(("instructions", "read_misses", "write_misses"), numbers, strict=True)),
            "nplusone-six-memory": {"instructions": numbers[0] * 1.1},
        }
        for variant, numbers in whole.items()
    }
    about = {"date": "2026-01-01", "machine": "this", "python": "3.11", "versions": {}, "rounds": 0}
    told = markdown({"meta": about, "counts": counts, "workloads": {"core-six-memory": {}}, "start": {}}).splitlines()
    assert "| core-six-memory | 500 | 200 | 0.40 |" in told
    assert "| core-six-memory | 600 | 250 | 400 | 200 |" in told
    assert [line for line in told if line.startswith("| nplusone")] == ["| nplusone-six-memory | 550 | 220 | 0.40 |"]
    assert "A known N+1 of six queries: 1.10 × the instructions of a request without one." in told


@pytest.mark.parametrize("part", parts())
def test_a_part_that_is_left_out_exists(part):
    """The setting or the function that the ablation switches off, by the name that it has today."""
    how = parts()[part]
    if isinstance(how, dict):
        settings = importlib.import_module("dbsight.config.settings")
        assert all(hasattr(settings.Settings, name.removeprefix("OTEL_DBSIGHT_").lower()) for name in how)
        return
    for function in how:
        module, _, path = function.partition(":")
        found = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        assert callable(found)
