"""Whether something is disabled."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Switches(Check):
    """Is something disabled?

    Good:
        OpenTelemetry's SDK, dbsight and all instrumentations are enabled.

    What to do:
        Unset ``OTEL_SDK_DISABLED``, ``OTEL_DBSIGHT_ENABLED`` or ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS``.
    """

    name: ClassVar[str] = "switches"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        if evidence.sdk_disabled:
            yield Line("✘", "OTEL_SDK_DISABLED is true: nothing is recorded", "unset OTEL_SDK_DISABLED")
        if not evidence.enabled:
            yield Line(
                "✘", "dbsight is disabled", "unset OTEL_DBSIGHT_ENABLED, or remove enabled = false from the file"
            )
        if not evidence.sdk_disabled and evidence.enabled:
            yield Line("✔", "neither the SDK nor dbsight is disabled")
        disabled = [each.name for each in evidence.instrumentors if each.disabled and not each.missing]
        if disabled:
            yield Line(
                "?",
                f"disabled: {', '.join(disabled)}",
                "remove what you need from OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
            )
