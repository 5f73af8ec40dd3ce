"""Whether the ignore list is still needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Ignored(Check):
    """Is every entry of the ignore list still needed?

    Good:
        Each matched a finding while the command ran, and none is expired.

    What to do:
        Remove entries that match nothing in a complete run; fix the findings of expired entries, or renew them.
    """

    name: ClassVar[str] = "ignored"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        if evidence.inside is not None:
            for sentence in evidence.inside.practice.unused:
                text, _, advice = sentence.partition(": ")
                yield Line("?", text, advice)
