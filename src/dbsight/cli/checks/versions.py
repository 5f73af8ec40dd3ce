"""Which versions are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Versions(Check):
    """Are the installed versions compatible?

    Good:
        OpenTelemetry's API and SDK have the same version, 1.42 or later, and Python has its GIL.

    What to do:
        Install them together: ``pip install --upgrade dbsight opentelemetry-sdk opentelemetry-api``. In a free-threaded
        build, set ``PYTHON_GIL=1``: dbsight is not tested without the GIL.
    """

    name: ClassVar[str] = "versions"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        versions = evidence.versions
        shown = ", ".join(f"{name} {number}" for name, number in versions.items())
        yield Line("✔", f"Python {evidence.python}; {shown}")
        if not evidence.gil:
            yield Line("?", "free-threaded build: dbsight is not tested without the GIL", "PYTHON_GIL=1")
        api, sdk = versions.get("opentelemetry-api"), versions.get("opentelemetry-sdk")
        if sdk is None:
            yield Line("✘", "opentelemetry-sdk is not installed", "pip install opentelemetry-sdk")
        elif api != sdk:
            yield Line(
                "✘",
                f"opentelemetry-api {api} and opentelemetry-sdk {sdk} have different versions",
                "pip install --upgrade opentelemetry-api opentelemetry-sdk",
            )
