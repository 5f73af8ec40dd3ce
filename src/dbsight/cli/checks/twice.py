"""Whether a client is instrumented twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Twice(Check):
    """Is the same client instrumented twice?

    Good:
        Each client has one instrumentation.

    What to do:
        Remove the call of OpenTelemetry's ``SQLAlchemyInstrumentor().instrument()`` or ``RedisInstrumentor()`` from the
        code, and disable the database integration of the other product.
    """

    name: ClassVar[str] = "twice"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        inside = evidence.inside
        if inside is None:
            return
        twice = sorted({name for name in inside.instrumented if inside.instrumented.count(name) > 1})
        for name in twice:
            yield Line(
                "✘", f"instrumented twice: {name}", f"remove the call that instruments upstream's {name} from the code"
            )
        for rival in inside.rivals:
            yield Line("?", f"{rival} is also loaded", f"check whether {rival} creates spans for the same queries")
        if not twice and not inside.rivals:
            yield Line("✔", "each client is instrumented once")
