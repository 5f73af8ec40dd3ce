"""Where engines and pools are created."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence

_MAX_LINES = 10


class Engines(Check):
    """Where are engines and pools created, and are all of them instrumented?

    Good:
        Each is created once, in the application's code, after instrumentation has started.

    What to do:
        Create one engine per database when the process starts, and share it. Engines that were created before dbsight
        started are instrumented too; OpenTelemetry's instrumentation misses them: start with
        ``opentelemetry-instrument``, or call ``dbsight.configure()`` first.
    """

    name: ClassVar[str] = "engines"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        if evidence.inside is None:
            return
        practice = evidence.inside.practice
        for each in practice.engines[:_MAX_LINES]:
            shown = f"{each.system} {each.name}: {each.kind}"
            if each.kind == "DjangoConnections":
                yield Line("✔", f"{shown}, made by Django as DATABASES says")
            elif each.where:
                yield Line("✔", f"{shown}, created at {each.where}")
            else:
                advice = "it is instrumented; start dbsight first to see where it is created"
                yield Line("?", f"{shown}, created outside the application's code, or before dbsight started", advice)
        for title in practice.found("duplicate_pools", "pool_churn"):
            yield Line("?", title, "create one engine per database, and share it")
