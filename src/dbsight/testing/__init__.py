"""What tests may ask of the queries that ran: how many, which ones, and whether the rules find anything.

Everything here works without an OpenTelemetry set-up, and under any test runner: an expectation that is not met raises
``AssertionError``. The pytest plug-in (``pytest --dbsight``) and the runners for ``unittest`` and Django stand on it.
"""

from __future__ import annotations

from dbsight.testing.expectations import assert_no_findings, assert_queries
from dbsight.testing.snapshots import SnapshotMismatchError
from dbsight.testing.watch import Watch

__all__ = ["SnapshotMismatchError", "Watch", "assert_no_findings", "assert_queries"]
