"""What is instrumented, and what is skipped and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.catalog import BY_NAME
from dbsight.cli.check import Check, Line, Mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Instrumented(Check):
    """Which clients are instrumented, which are skipped, and why?

    Good:
        Every database client that the process imports has an enabled instrumentor.

    What to do:
        ``opentelemetry-bootstrap -a install`` installs the instrumentors that are missing. One that supports other
        versions than the installed one is skipped: install a version within its bound, or rely on dbsight's own
        (upstream's for SQLAlchemy ends before 2.1; dbsight's does not).
    """

    name: ClassVar[str] = "instrumented"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        names = {each.name for each in evidence.instrumentors}
        for each in evidence.instrumentors:
            if each.conflict and not each.missing:
                skipped = f"{each.name} of {each.package} is skipped: {each.conflict}"
                if f"dbsight_{each.name}" in names:
                    yield Line("✔", f"{skipped}; dbsight's own is used instead")
                else:
                    yield Line("✘", skipped, "install a version that it supports")
        inside = evidence.inside
        if inside is None:
            ready = [each.name for each in evidence.instrumentors if not each.conflict and not each.disabled]
            if not ready:
                yield Line("✘", "no instrumentor is ready", "pip install dbsight; opentelemetry-bootstrap -a install")
            else:
                yield Line("✔", f"ready: {', '.join(ready)}")
            return
        if inside.instrumented:
            yield Line("✔", f"instrumented: {', '.join(inside.instrumented)}")
        else:
            yield Line("✘", "nothing is instrumented", "start it with opentelemetry-instrument, or call configure()")
        known = " ".join(inside.instrumented).lower()
        for module in inside.modules:
            client = BY_NAME[module]
            below = inside.practice.engines and client.below  # what SQLAlchemy uses needs no instrumentor of its own
            name = client.upstream[0] if client.upstream is not None else module
            if name.lower() not in known and not below:
                mark: Mark = "?" if inside.calls else "✘"
                text = f"{module} is imported and not instrumented"
                yield Line(mark, text, "opentelemetry-bootstrap -a install, if it is used")
