"""Whether the settings were understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class SettingsCheck(Check):
    """Are all settings of dbsight valid?

    Good:
        Every variable and every entry of the file is a known setting with a valid value.

    What to do:
        Correct the setting; ``dbsight config`` prints every setting, its value and its source.
    """

    name: ClassVar[str] = "settings"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        for complaint in evidence.complaints:
            yield Line("✘", complaint, "correct it; dbsight config prints all settings and their sources")
        if not evidence.complaints:
            yield Line("✔", "all settings are valid")
        if evidence.config_file:
            yield Line("?", "OTEL_CONFIG_FILE is set", "the SDK reads that file instead of most OTEL_ variables")
