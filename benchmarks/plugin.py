"""What ``pytest --dbsight`` costs: suites of others, timed in interleaved rounds.

    PYTHONPATH=tests python benchmarks/plugin.py --rounds 5 flask-sqlalchemy djangorestframework

Each round runs a suite three times, in an order that rotates: without the plug-in (``-p no:dbsight``), with the plug-in
that is installed but off, and with ``--dbsight``. What is compared is CPU time, user and system, of the process and its
children, which other work on the machine disturbs less than it does the clock; the median of the ratios of each round
counts, with the least and the most.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.environments import Environment
from peers import sources
from peers.plugged import PLUGGED
from peers.run import compiled
from peers.suites import SUITES, selected

if TYPE_CHECKING:
    from peers.suites import Suite

MODES: dict[str, tuple[str, ...]] = {"without": ("-p", "no:dbsight"), "off": (), "on": ("--dbsight",)}


def timed(python: Path, suite: Suite, source: Path, arguments: tuple[str, ...]) -> tuple[float, float]:
    """Run a suite once.

    Returns:
        CPU time and time on the clock, s.
    """
    foreign = ("OTEL_", "PYTHON", "PYTEST", "DBSIGHT")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign) and name != "CI"}
    env |= suite.environment
    env["PYTHONPATH"] = os.pathsep.join(str(source / name) for name in suite.sources)
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=no", *suite.arguments, *arguments]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, *suite.quick, *suite.paths], cwd=source, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: some tests fail without dbsight, too
        sys.exit(f"{suite.name}: pytest ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began


def measure(suite: Suite, rounds: int) -> None:
    """Time one suite, and print what came of it."""
    pytest = () if "pytest" in str(suite.needs) else ("pytest",)
    python = compiled(Environment((*suite.requirements, *pytest)).build())
    ratios: dict[str, list[float]] = {"off": [], "on": []}
    clock: dict[str, list[float]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory(prefix="dbsight-plugin-") as directory:
        source = sources.unpack(suite.archive(), Path(directory) / "source", suite.shadows)
        names = list(MODES)
        timed(python, suite, source, MODES["on"])  # warms the caches of the file system
        for number in range(rounds):
            turn = number % len(names)
            found = {name: timed(python, suite, source, MODES[name]) for name in names[turn:] + names[:turn]}
            for name in ("off", "on"):
                ratios[name].append(found[name][0] / found["without"][0])
                clock[name].append(found[name][1] / found["without"][1])
            print(f"  round {number + 1}: " + ", ".join(f"{name} {found[name][0]:.2f} s" for name in names), flush=True)
    for name, its in ratios.items():
        print(
            f"{suite.name} {name}: CPU × {statistics.median(its):.3f} ({min(its):.3f} to {max(its):.3f}), "
            f"clock × {statistics.median(clock[name]):.3f}",
            flush=True,
        )


def main() -> None:
    """Time the suites that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["flask-sqlalchemy", "djangorestframework"])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    known = {suite.name: suite for suite in (*SUITES, *PLUGGED)}
    for suite in selected(given.names, ci=False, among=tuple(known.values())):
        measure(suite, given.rounds)


if __name__ == "__main__":
    main()
