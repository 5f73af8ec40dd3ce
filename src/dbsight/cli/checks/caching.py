"""The checklist of caches: five lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Line
from dbsight.cli.checks.database import Advice

if TYPE_CHECKING:
    from dbsight.cli.evidence import Evidence
    from dbsight.cli.practice import Cache, Practice

_COMPILED = "sqlalchemy.compiled"
"""SQLAlchemy's own cache of compiled statements, which needs no tuning."""


def _caches(practice: Practice) -> list[Cache]:
    return [each for each in practice.caches if each.name != _COMPILED]


def _none() -> Line:
    return Line("?", "no cache was used", "run a command that uses one")


class HitRate(Advice):
    """Checklist: is the cache hit ratio above 70 %?

    Good:
        It is, over all caches.

    What to do:
        A longer time to live, a larger cache, or keys that more requests share.
    """

    name: ClassVar[str] = "hit-rate"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        caches = _caches(practice)
        hits = sum(each.hits for each in caches)
        asked = hits + sum(each.misses for each in caches)
        if not asked:
            return _none()
        rate = f"{hits / asked:.0%} of {asked} lookups were hits"
        if hits > 0.7 * asked:
            return Line("✔", rate)
        worst = max(caches, key=lambda each: each.misses)
        return Line(
            "✘", f"{rate}; {worst.name} missed {worst.misses} times", "use a longer time to live, or a larger cache"
        )


class Expiry(Advice):
    """Checklist: do cached values expire?

    Good:
        Keys are written to the server with a time to live.

    What to do:
        ``client.set(key, value, ex=300)``.
    """

    name: ClassVar[str] = "ttl"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        # EXPIRE after SET is one key, not two.
        for_ever = practice.lasting - practice.expiring
        if for_ever > 0:
            advice = "client.set(key, value, ex=300), unless the keys are not a cache"
            return Line("✘", f"{for_ever} keys were written to the server without a time to live", advice)
        if practice.expiring:
            return Line("✔", f"{practice.expiring} keys were written with a time to live")
        return Line("?", "no key was written to a cache server", "run a command that writes one")


class Invalidation(Advice):
    """Checklist: are changed values invalidated?

    Good:
        Keys are deleted individually when their rows change, or expire.

    What to do:
        Delete or update the key where its rows are written; do not use ``KEYS`` or a pattern over all keys.
    """

    name: ClassVar[str] = "invalidation"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        storm = practice.found("invalidation_storm")
        if storm:
            return Line("✘", storm[0], "delete only changed keys, or put a version into the key")
        removed = sum(each.removals for each in _caches(practice))
        if removed:
            return Line("✔", f"{removed} keys were deleted individually")
        if practice.expiring:
            return Line("✔", "keys expire and are not deleted")
        if not any(each.stores for each in _caches(practice)):
            return _none()
        return Line(
            "✘", "keys were stored, but none was deleted or expires", "delete them where their rows are written"
        )


class Layers(Advice):
    """Checklist: is there an in-process cache in front of the remote one?

    Good:
        Lookups are answered by two layers, or there is no remote cache.

    What to do:
        Add a small in-process cache with a short time to live for the keys that are read most.
    """

    name: ClassVar[str] = "layers"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        caches = [each for each in _caches(practice) if each.hits + each.misses]
        layers = {each.layer for each in caches if each.layer}
        if not caches:
            return _none()
        if len(layers) > 1:
            return Line("✔", f"lookups are answered by {len(layers)} layers: {', '.join(sorted(layers))}")
        busiest = max(caches, key=lambda each: each.hits)
        if busiest.hits < 100:
            return Line("✔", "one layer is enough for so few lookups")
        return Line("✘", f"{busiest.name} had {busiest.hits} hits in one layer", "add an in-process cache for hot keys")


class Warming(Advice):
    """Checklist: are caches warmed up?

    Good:
        Values are stored before the first lookup, or the first lookups are hits.

    What to do:
        Load the most frequently read values when the process starts.
    """

    name: ClassVar[str] = "warming"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        cold = [name for name in practice.cold if name != _COMPILED]
        if cold:
            return Line(
                "✘",
                f"all first lookups missed: {', '.join(cold[:3])}",
                "load the most frequently read values at startup",
            )
        if practice.warmed:
            return Line("✔", f"filled before the first lookup: {', '.join(practice.warmed[:3])}")
        if any(each.hits for each in _caches(practice)):
            return Line("✔", "the first lookups were hits")
        return _none()
