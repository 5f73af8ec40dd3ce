"""``dbsight bench redis`` against a real server: the presets differ as they should, and what cannot be had is said."""

import json

import pytest
from click.testing import CliRunner

from dbsight.cli.main import main


@pytest.fixture
def bench():
    """Runs the command; its result."""

    def run(*arguments):
        return CliRunner().invoke(main, ["bench", "redis", *arguments])

    return run


def test_each_preset_is_measured(bench, redis_server):
    """Sizes of the role, all that were opened are closed again; with the fewest connections requests wait."""
    done = bench(redis_server.url(), "--seconds", "0.5", "--threads", "16", "--hold", "0.005", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)
    assert [(row["preset"], row["max_connections"]) for row in rows] == [
        ("minimal", 5),
        ("balanced", 10),
        ("high_performance", 20),
    ]
    for row in rows:
        assert 1 <= row["connections"] <= row["max_connections"]
        assert row["closed"] == row["connections"]
        assert 0 < row["wait_p50"] <= row["wait_p95"]
        assert row["rate"] > 0
        assert min(row["pending"], row["rss"], row["cleanup"]) >= 0
    assert rows[0]["connections"] == 5
    assert rows[0]["pending"] > 0


def test_tasks_of_an_event_loop_are_measured_as_well(bench, redis_server):
    """The cleanup leaves as many connections as the settings keep."""
    done = bench(
        redis_server.url(), "--role", "async", "--seconds", "0.4", "--threads", "40", "--hold", "0.005", "--json"
    )
    assert done.exit_code == 0, done.output
    rows = {row["preset"]: row for row in json.loads(done.output)}
    assert rows.keys() == {"minimal", "balanced", "high_performance"}
    for row in rows.values():
        assert 1 <= row["connections"] <= row["max_connections"]
        assert row["closed"] < row["connections"]
        assert 0 < row["wait_p50"] <= row["wait_p95"]
        assert row["rate"] > 0
    assert rows["minimal"]["pending"] > 0


def test_one_preset_of_another_role_is_a_table_of_one_line(bench, redis_server):
    """For people."""
    done = bench(redis_server.url(), "--preset", "high_performance", "--role", "local", "--seconds", "0.1")
    assert done.exit_code == 0, done.output
    about, _, head, line = done.output.rstrip().split("\n")
    assert about == "32 threads, role local, connections held for 2.00 ms, 0.1 s per preset"
    assert head.split("  ")[0] == "preset"
    assert line.startswith("high_performance")
    assert " of 10 " in line


def test_a_server_that_is_not_there_is_one_sentence(bench):
    """With its address, and no traceback."""
    done = bench("redis://:secret@127.0.0.1:1/0", "--seconds", "0.1", "--preset", "minimal")
    assert done.exit_code == 2
    assert done.output.startswith("Error: 127.0.0.1:1: ")
    assert (done.output.count("\n"), "secret" in done.output) == (1, False)
