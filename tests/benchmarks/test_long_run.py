"""The long run runs: nothing fails inside dbsight, and what is dropped is counted."""

import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "long_run.py"


def test_a_short_run_fails_nowhere():
    """Twenty lines, and a verdict; memory is judged over millions of operations, not here."""
    command = [sys.executable, BENCHMARK, "--operations", "20000", "--allowed", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    heading, *lines, verdict = done.stdout.splitlines()
    assert heading.split() == ["operations", "RSS", "MB", "µs", "each", "objects"]
    assert [line.split()[0] for line in lines] == [f"{1000 * part:,}" for part in range(1, 21)]
    assert verdict.endswith("failed: {}")
