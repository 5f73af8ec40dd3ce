"""The benchmarks of Redis and of pools run, and compare what they say they compare."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def printed(script, *arguments):
    """What a benchmark prints."""
    command = [sys.executable, BENCHMARKS / script, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_round_tells_what_watching_a_pool_adds():
    """Three measurements, and the records by themselves."""
    head, *rows = printed("pools.py", "--rounds", "1", "--loops", "50", "--repeats", "20").splitlines()
    assert head.split() == ["checkout", "and", "return", "CPU", "µs", "added"]
    measured = {row[:34].strip(): [float(number) for number in row[34:].split()] for row in rows}
    plain, watched, whole, records, record = measured.values()
    assert min(plain[0], watched[0], whole[0], record[0]) > 0
    assert (watched[1], whole[1]) == pytest.approx((watched[0] - plain[0], whole[0] - plain[0]), abs=0.02)
    assert records == pytest.approx([whole[0] - watched[0]], abs=0.02)


def test_one_round_compares_redis_with_stock(redis_server, tmp_path):
    """GETs and a pipeline of ten, without instrumentation, with stock's and with ours."""
    options = ("--rounds", "1", "--requests", "3", "--turns", "2", "--json", tmp_path / "redis.json")
    told = printed("redis_overhead.py", *options)
    assert [line.partition("  ")[0] for line in told.splitlines()[1:]] == ["GET", "GET, new keys", "pipeline of ten"]
    (measured,) = json.loads((tmp_path / "redis.json").read_text())["rounds"]
    assert list(measured) == ["none", "stock", "dbsight"]
    for one in measured.values():
        assert 0 < one["GET"] < one["pipeline of ten"]
