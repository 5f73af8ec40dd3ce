"""What is instrumented, and what is skipped and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.cli.check import Check, Line, Mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence

_BY_THEMSELVES: Final = frozenset({"sqlalchemy", "redis", "valkey", "pymongo", "pymemcache"})
"""Modules that are used without SQLAlchemy."""
_NAMES: Final = {"MySQLdb": "mysqlclient"}
"""Modules whose instrumentor has a different name."""


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
            # What SQLAlchemy uses below itself needs none of its own. It is imported where it is installed.
            below = inside.practice.engines and module not in _BY_THEMSELVES
            if _NAMES.get(module, module).lower() not in known and not below:
                mark: Mark = "?" if inside.calls else "✘"
                text = f"{module} is imported and not instrumented"
                yield Line(mark, text, "opentelemetry-bootstrap -a install, if it is used")
