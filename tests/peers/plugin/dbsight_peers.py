"""A pytest plugin for the suites of other libraries: switches everything of dbsight on, and writes down each result.

It is loaded with ``-p`` into environments that know nothing of the tests here. ``DBSIGHT_PEERS_RESULTS`` is the file
that it writes; with ``DBSIGHT_PEERS_WATCH`` set it does first what ``opentelemetry-instrument`` does, in this process.
"""

import json
import logging
import os
import sys
from pathlib import Path

TAIL = 3000
"""Characters kept of a traceback."""

RANK = {"passed": 0, "xfailed": 1, "skipped": 2, "failed": 3}
"""What counts when a test has several reports: the highest."""

if os.environ.get("DBSIGHT_PEERS_WATCH"):
    from opentelemetry.instrumentation.auto_instrumentation import initialize

    initialize(swallow_exceptions=False)


class Warnings(logging.Handler):
    """What dbsight says of each place of its own that failed."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        """Keep the first hundred."""
        if len(self.said) < 100:
            self.said.append(record.getMessage())


warnings = Warnings()
logging.getLogger("dbsight").addHandler(warnings)


class Recorder:
    """Results of one session, by node id."""

    def __init__(self):
        self.results = {}
        self.tails = {}
        self.findings = {}
        self.queries = 0

    def note(self, node, outcome, text):
        """Keep what became of a test, or of a part of it."""
        known = self.results.get(node)
        if known is None or RANK[outcome] > RANK[known]:
            self.results[node] = outcome
        if outcome == "failed":
            self.tails[node] = str(text)[-TAIL:]

    def pytest_runtest_logreport(self, report):
        """Setup, call and teardown of a test each have one; that of a call alone says that it passed."""
        self._look(report)
        if report.outcome == "passed":
            if report.when == "call":
                self.note(report.nodeid, "passed", "")
        else:
            outcome = "xfailed" if report.skipped and hasattr(report, "wasxfail") else report.outcome
            self.note(report.nodeid, outcome, report.longrepr)

    def _look(self, report):
        """What dbsight's own plugin found in a test, if it is on: once by rule, place, query and severity."""
        watched = getattr(report, "dbsight", None) or {"queries": 0, "findings": []}
        self.queries += watched["queries"]
        for found in watched["findings"]:
            key = tuple(found[name] for name in ("rule", "file", "function", "query", "severity"))
            self.findings.setdefault(key, {**found, "tests": []})["tests"].append(report.nodeid)

    def pytest_collectreport(self, report):
        """A module that cannot be imported counts as a test that failed."""
        if report.failed:
            self.note(report.nodeid, "failed", report.longrepr)

    def pytest_sessionfinish(self):
        """The end."""
        self.write()

    def write(self):
        """Write the file."""
        found = {"findings": list(self.findings.values()), "operations": self.queries}
        written = {"results": self.results, "tails": self.tails, **found, **watching()}
        Path(os.environ["DBSIGHT_PEERS_RESULTS"]).write_text(json.dumps(written), encoding="utf-8")


def watching():
    """What dbsight did in this process: exceptions that it swallowed, operations that it saw."""
    if "dbsight.safety" in sys.modules and not os.environ.get("DBSIGHT_PEERS_WATCH"):  # its own plugin is on
        from dbsight import safety

        return {"swallowed": safety.errors(), "said": warnings.said}
    if not os.environ.get("DBSIGHT_PEERS_WATCH"):
        return {}
    from dbsight import distro, safety

    processor = distro._runtime.processor
    snapshot = distro._snapshot(processor, exporting=True)
    return {"swallowed": safety.errors(), "said": warnings.said, "operations": snapshot.calls}


def pytest_configure(config):
    """Listen to the session."""
    config.pluginmanager.register(Recorder(), "dbsight-peers")
