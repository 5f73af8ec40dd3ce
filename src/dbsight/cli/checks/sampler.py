"""Whether traces are sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class SamplerCheck(Check):
    """Does the sampler let traces through?

    Good:
        Traces are sampled. At a ratio, findings are made of the others too, as log events.

    What to do:
        ``OTEL_TRACES_SAMPLER=parentbased_always_on``, or a larger ``OTEL_TRACES_SAMPLER_ARG``.
    """

    name: ClassVar[str] = "sampler"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """The answers."""
        described = evidence.inside.sampler if evidence.inside is not None else ""
        asked = evidence.sampler or "parentbased_always_on"
        name, _, ratio = asked.partition(":")
        shown = described.partition("{")[0] + f" ({asked})" if described else asked
        if "always_off" in name or "AlwaysOff" in described.partition("{")[0] or _is_zero(name, ratio):
            yield Line("✘", f"the sampler {shown} drops every trace", "OTEL_TRACES_SAMPLER=parentbased_always_on")
        elif "ratio" in name:
            yield Line("?", f"the sampler {shown} drops a part", "findings of dropped traces are log events")
        else:
            yield Line("✔", f"the sampler is {shown}")


def _is_zero(name: str, ratio: str) -> bool:
    try:
        return "ratio" in name and float(ratio or 1) <= 0
    except ValueError:
        return False
