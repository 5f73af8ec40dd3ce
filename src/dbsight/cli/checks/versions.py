"""Which versions are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Versions(Check):
    """Are the versions that are installed ones that work together?

    Good:
        OpenTelemetry's API and SDK are of the same version, 1.42 or later, on a Python whose threads take turns.

    What to do:
        Install them together: ``pip install --upgrade dbsight opentelemetry-sdk opentelemetry-api``. In a free-threaded
        build, ``PYTHON_GIL=1`` lets threads take turns: without that dbsight, whose short critical sections count on
        it, is not tried.
    """

    name: ClassVar[str] = "versions"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """The answers."""
        versions = evidence.versions
        shown = ", ".join(f"{name} {number}" for name, number in versions.items())
        yield Line("✔", f"Python {evidence.python}; {shown}")
        if not evidence.gil:
            yield Line("?", "its threads run at the same time: dbsight is not tried there", "PYTHON_GIL=1")
        api, sdk = versions.get("opentelemetry-api"), versions.get("opentelemetry-sdk")
        if sdk is None:
            yield Line("✘", "opentelemetry-sdk is not installed", "pip install opentelemetry-sdk")
        elif api != sdk:
            yield Line(
                "✘",
                f"opentelemetry-api {api} and opentelemetry-sdk {sdk} are not of one version",
                "pip install --upgrade opentelemetry-api opentelemetry-sdk",
            )
