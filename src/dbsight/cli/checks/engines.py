"""Where engines and pools are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence

_MAX_LINES = 10


class Engines(Check):
    """Where are the engines and pools made, and are all of them watched?

    Good:
        Each is made once, at a line of the application, after the instrumentation has started.

    What to do:
        Make one engine a database when the process starts, and share it. Those that were made before dbsight started
        are watched all the same; upstream's instrumentation misses them: start with ``opentelemetry-instrument``, or
        call ``dbsight.configure()`` first.
    """

    name: ClassVar[str] = "engines"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """The answers."""
        if evidence.inside is None:
            return
        practice = evidence.inside.practice
        for each in practice.engines[:_MAX_LINES]:
            shown = f"{each.system} {each.name}: {each.kind}"
            if each.where:
                yield Line("✔", f"{shown}, made at {each.where}")
            else:
                advice = "it is watched; to learn where it is made, start dbsight before it"
                yield Line("?", f"{shown}, made outside the application's code, or before dbsight started", advice)
        for title in practice.found("duplicate_pools", "pool_churn"):
            yield Line("?", title, "make one engine for each database, and share it")
