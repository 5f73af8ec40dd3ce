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

Other people's tests show best whether a tool breaks what worked. `make peers` fetches the source distributions of the
libraries below and runs each one's own test suite twice: plainly, and with everything of dbsight switched on in the
same process (all instrumentations, the span processor, an OTLP export). A test that passes plainly and fails with
dbsight is a failure, and so is any exception that dbsight's own guard had to swallow.

```sh
make peers                                   # a part of each suite, and the applications
make peers ARGS="sqlalchemy-2.0"             # suites by the beginning of their names
make peers ARGS="--full sqlalchemy"          # all of them
make peers ARGS=--ci                         # what every change is tested with
```

Servers are started by the tests: PostgreSQL, MariaDB, Redis. Not found on a machine, they make the suite fail.

## Suites

*compared*: tests that pass without dbsight, in the last run that was written down (Python 3.11); *different*: those
that fail with dbsight alone.

| suite | version | what is run | compared | different | every change |
|---|---|---|---:|---:|---|
"""

DIFFERENT = """
## What differs

"""

APPLICATIONS_INTRODUCTION = """
## Applications

A small workload of each runs plainly and under `opentelemetry-instrument`: it must behave the same:
same output, exit code and standard error, one span for each statement that reaches a database, and no finding that is
not in the reviewed list `tests/peers/applications/findings.toml`.

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
        return "No test is listed as one that must differ.\n"
    lines = [f"* `{test}` ({', '.join(entry['suites'])}): {reason}\n" for (test, reason), entry in entries.items()]
    return "".join(lines)
