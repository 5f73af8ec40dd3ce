"""The benchmark of the reader of SQL text runs, and its twenty statements are read as what they are."""

import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "statement.py"


def test_one_round_prints_a_line_for_a_hit_and_a_miss():
    """A known text is looked up at least twenty times as fast as a new one is read."""
    done = subprocess.run([sys.executable, BENCHMARK, "--rounds", "1"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("20 statements of 38 to 327 characters, CPU µs, median (worst)\n")
    costs = {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines()[1:3]}
    assert list(costs) == ["hit", "miss"]
    assert costs["hit"] * 20 < costs["miss"]
