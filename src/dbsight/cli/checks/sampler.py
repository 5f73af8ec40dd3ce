"""Whether traces are sampled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence

_RATIO: Final = re.compile(r"^TraceIdRatioBased\{([\d.e-]+)\}|traceidratio(?::(.*))?$")


class SamplerCheck(Check):
    """Does the sampler keep traces?

    Good:
        Traces are sampled. Findings of unsampled traces are exported as log events.

    What to do:
        ``OTEL_TRACES_SAMPLER=parentbased_always_on``, or a larger ``OTEL_TRACES_SAMPLER_ARG``.
    """

    name: ClassVar[str] = "sampler"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        described = evidence.inside.sampler if evidence.inside is not None else ""
        asked = evidence.sampler or "parentbased_always_on"
        shown = described.partition("{")[0] + f" ({asked})" if described else asked
        # A sampler that is set in code or in a file is known only inside the process.
        kept = _share(described) if described else _share(asked)
        if kept == 0:
            yield Line("✘", f"the sampler {shown} drops every trace", "OTEL_TRACES_SAMPLER=parentbased_always_on")
        elif kept is not None and kept < 1:
            yield Line("?", f"the sampler {shown} drops some traces", "findings of dropped traces are log events")
        else:
            yield Line("✔", f"the sampler is {shown}")


def _share(sampler: str) -> float | None:
    """Return the share of sampled traces from a sampler's description or setting; None if unknown."""
    root = sampler.removeprefix("ParentBased{root:")
    if root.startswith("AlwaysOff") or root.endswith("always_off"):
        return 0.0
    ratio = _RATIO.search(root)
    if ratio is None:
        return None
    try:
        return float(ratio[1] or ratio[2] or 1)
    except ValueError:
        return None
