"""Django's test runner, which tells of the queries, too.

In the settings of the tests: ``TEST_RUNNER = "dbsight.testing.django.WatchedDiscoverRunner"``.
"""

from __future__ import annotations

import sys
import unittest
from typing import Any

from django.test.runner import DiscoverRunner

from dbsight.testing.results import Session
from dbsight.testing.runners import watched
from dbsight.testing.watch import prepare


class WatchedDiscoverRunner(DiscoverRunner):  # type: ignore[misc]
    """As Django's; tells of the queries at the end. Tests that run in other processes (``--parallel``) are not watched.

    Attributes:
        fail_on: As ``OTEL_DBSIGHT_FAIL_ON``, which holds where it is None.
    """

    fail_on: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        prepare()
        self._session = Session()

    def get_resultclass(self) -> type:
        """Django's class, or unittest's, which watches."""
        return watched(super().get_resultclass() or unittest.TextTestResult, self._session, self.fail_on)

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> Any:
        """Print the summary, too."""
        if self.parallel > 1:
            print("dbsight: tests that run in parallel processes are not watched", file=sys.stderr)  # noqa: T201
        else:
            print("\n".join(["", "dbsight", *self._session.lines()]), file=sys.stderr)  # noqa: T201 - as the runner
        return super().suite_result(suite, result, **kwargs)
