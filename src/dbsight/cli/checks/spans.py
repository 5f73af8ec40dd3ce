"""Whether queries were seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line
from dbsight.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Spans(Check):
    """Were queries captured while the command ran?

    Good:
        The tracer provider has dbsight's span processor, and at least one query was captured.

    What to do:
        Run ``dbsight doctor -- command`` with a command that executes queries and exits. If none is captured,
        the client is not instrumented, the queries run in a process that was started in another way, or the tracer
        provider was replaced after the start.
    """

    name: ClassVar[str] = "spans"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        inside = evidence.inside
        if inside is None and not evidence.told:
            yield Line("?", "no command was run", "dbsight doctor -- python app.py runs it and checks from inside")
            return
        if inside is None:
            yield Line(
                "✘",
                "no process of the command reported",
                "it was not instrumented, was killed, or ran another Python than the one with dbsight",
            )
            return
        for place, number in inside.errors.items():
            yield Line("✘", f"{place} failed {counted(number, 'time')} and was skipped", "please report it")
        if not inside.attached:
            advice = "do not replace the provider after the start, or call dbsight.configure() after it"
            yield Line("✘", f"the tracer provider {inside.provider} has no dbsight span processor", advice)
        elif inside.calls:
            seen, made = counted(inside.calls, "query", "queries"), counted(inside.findings, "finding")
            yield Line("✔", f"{seen} captured, {made} reported")
        else:
            advice = "run a command that executes queries; see the check instrumented"
            yield Line("✘", "no database query was captured", advice)
