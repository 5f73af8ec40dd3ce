"""The page about what dbsight is tested with, made from the tables of ``make peers``."""
# ruff: noqa: INP001 - a part of generate.py

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from peers.applications.table import APPLICATIONS
from peers.comparison import RECORD, known
from peers.suites import SUITES, UNTESTED, Suite

INTRODUCTION = """\
# Tested with

<!-- Made by `python docs/generate.py` from the tables in `tests/peers/`: edit there. -->

`make peers` fetches the source distributions of the libraries below and runs each test suite twice: without dbsight,
and with all of dbsight enabled in the same process (all instrumentations, the span processor, an OTLP export). A test
that passes without dbsight and fails with it is a failure, and so is any internal error of dbsight.

```sh
make peers                                   # part of each suite, and the applications
make peers ARGS="sqlalchemy-2.0"             # suites by name prefix
make peers ARGS="--full sqlalchemy"          # complete suites
make peers ARGS=--ci                         # the subset run for every change
```

The tests start PostgreSQL, MariaDB and Redis. If a server is not installed, its suites fail.

## Suites

*compared*: tests that passed without dbsight in the last recorded run (Python 3.11); *different*: tests that failed
only with dbsight.

| suite | version | what is run | compared | different | every change |
|---|---|---|---:|---:|---|
"""

DIFFERENT = """
## What differs

"""

APPLICATIONS_INTRODUCTION = """
## Applications

A small workload of each application runs with and without `opentelemetry-instrument`. Output, exit code and standard
error must be the same, each statement that reaches a database must have exactly one span, and each finding must be in
the reviewed list `tests/peers/applications/findings.toml`.

| application | what it is | every change |
|---|---|---|
"""


def tested_with() -> str:
    """The whole page."""
    counted = json.loads(RECORD.read_text(encoding="utf-8"))
    return "".join(
        (
            INTRODUCTION,
            *(_row(suite, counted[suite.name]) for suite in SUITES if _is_current(suite, counted)),
            DIFFERENT,
            _differences(),
            "\n## Not run\n\n",
            *(f"* **{name}**: {reason}\n" for name, reason in UNTESTED.items()),
            APPLICATIONS_INTRODUCTION,
            *(f"| {each.name} | {each.about} | {'yes' if each.ci else ''} |\n" for each in APPLICATIONS),
        )
    )


def _is_current(suite: Suite, counted: dict[str, Any]) -> bool:
    """Whether a run was written down for the version in the table: nothing else is listed."""
    return suite.name in counted and counted[suite.name]["version"] == suite.version


def _row(suite: Suite, counts: dict[str, Any]) -> str:
    """A suite's line."""
    part = " (in part)" if counts["part"] else ""
    every = "yes" if suite.ci else ""
    what = f"{suite.what}{part}"
    return f"| {suite.name} | {suite.version} | {what} | {counts['compared']} | {counts['different']} | {every} |\n"


def _differences() -> str:
    """Each known difference once, with its suites."""
    entries = {(entry["test"], entry["reason"]): entry for suite in SUITES for entry in known(suite.name)}
    if not entries:
        return "No test is expected to differ.\n"
    lines = [f"* `{test}` ({', '.join(entry['suites'])}): {reason}\n" for (test, reason), entry in entries.items()]
    return "".join(lines)
