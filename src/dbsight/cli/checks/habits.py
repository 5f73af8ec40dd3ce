"""The checklist of habits: profiling, benchmarks, budgets, regressions, the query log."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Line
from dbsight.cli.checks.database import Advice
from dbsight.formatting import counted

if TYPE_CHECKING:
    from dbsight.cli.evidence import Evidence
    from dbsight.cli.practice import Practice


class Profiling(Advice):
    """Checklist: are queries profiled regularly?

    Good:
        The project's configuration runs tests with ``pytest --dbsight``, or programs with ``dbsight run``.

    What to do:
        ``addopts = "--dbsight"`` in ``[tool.pytest.ini_options]``. What people do by hand cannot be seen.
    """

    name: ClassVar[str] = "profiling"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        where = evidence.habits.get("profiling")
        if where:
            return Line("✔", f"tests or builds are profiled: {where}")
        return Line("?", "no configuration file of the project runs dbsight", "pytest --dbsight")


class Benchmarks(Advice):
    """Checklist: are critical paths benchmarked?

    Good:
        A build runs ``dbsight bench`` or ``dbsight load``.

    What to do:
        ``dbsight bench queries file.sql``, and ``dbsight compare before.json after.json`` in the build.
    """

    name: ClassVar[str] = "benchmarks"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        where = evidence.habits.get("benchmarks")
        if where:
            return Line("✔", f"benchmarks run in {where}")
        return Line("?", "no configuration file of the project runs a benchmark", "dbsight bench, or dbsight load")


class Budgets(Advice):
    """Checklist: do routes have budgets?

    Good:
        The setting ``budgets`` names at least one route, and none was exceeded in this run.

    What to do:
        ``OTEL_DBSIGHT_BUDGETS="GET /orders=queries:10"``.
    """

    name: ClassVar[str] = "budgets"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        exceeded = practice.found("budget_exceeded")
        if exceeded:
            return Line("✘", exceeded[0], "fewer queries, or a larger budget")
        if practice.budgets:
            return Line("✔", f"{counted(practice.budgets, 'budget')} kept")
        return Line("?", "no route has a budget", "the setting budgets; see docs/configuration.md")


class Regressions(Advice):
    """Checklist: are regressions reported?

    Good:
        A baseline is set, or a build compares runs or fails on findings; and this run shows no regression.

    What to do:
        ``dbsight baseline save dbsight-report.json``, and ``OTEL_DBSIGHT_BASELINE=dbsight-baseline.json``; the alert
        ``DbLatencyRegression`` compares with the day before.
    """

    name: ClassVar[str] = "regressions"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        worse = practice.found("regression")
        if worse:
            return Line("✘", worse[0], "see the finding")
        if practice.baseline:
            return Line("✔", f"compared with {practice.baseline}")
        where = evidence.habits.get("regressions")
        if where:
            return Line("✔", f"builds compare with what was before: {where}")
        return Line("?", "no baseline is set, and no build compares runs", "dbsight baseline save")


class QueryLogging(Advice):
    """Checklist: are queries logged where that helps?

    Good:
        The query log is on, at a level that suits the environment.

    What to do:
        ``OTEL_DBSIGHT_LOG_LEVEL=warning`` logs slow and failed queries; ``debug`` logs all, for development.
    """

    name: ClassVar[str] = "query-log"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        if practice.log_level == "off":
            return Line("?", "no query is logged; spans and findings are exported", "OTEL_DBSIGHT_LOG_LEVEL=warning")
        return Line("✔", f"queries are logged at the level {practice.log_level}")
