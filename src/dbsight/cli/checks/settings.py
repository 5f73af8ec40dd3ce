"""Whether the settings were understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class SettingsCheck(Check):
    """Are all settings of dbsight understood?

    Good:
        Every variable and every entry of the file is one that exists, with a value that parses.

    What to do:
        Correct what is named; ``dbsight config`` prints every setting, its value and where that came from.
    """

    name: ClassVar[str] = "settings"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """The answers."""
        for complaint in evidence.complaints:
            yield Line("✘", complaint, "correct it; dbsight config prints all settings and where they came from")
        if not evidence.complaints:
            yield Line("✔", "all settings are understood")
        if evidence.config_file:
            yield Line("?", "OTEL_CONFIG_FILE is set", "the SDK reads that file, and most OTEL_ variables no more")
