"""Caches that are invalidated key by key, hundreds of keys at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.identity import identity
from dbsight.detect.pace import REMAINS
from dbsight.detect.redis_advice import fitting
from dbsight.detect.rule import WindowRule
from dbsight.model import CacheEvent, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.window import Window
    from dbsight.model import Category


class InvalidationStorm(WindowRule):
    """A request, task or script deletes hundreds of keys of one template from a cache.

        [ POST /products ---------------------------------------- ]
          [ SCAN list:* ] [ DEL list:1 ] [ DEL list:2 ] …  × 500

    Anti-pattern:
        for key in client.scan_iter(match="list:*"):
            client.delete(key)

    Best practice:
        version = client.incr("list:version")
        client.set(f"list:{version}:1", "…", ex=3600)  # old versions expire by themselves

    Severity:
        warning: 100 keys of one template or more.

    Not reported:
        Fewer than 100 keys, and suppressed deletions.
    """

    name: ClassVar[str] = "invalidation_storm"
    category: ClassVar[Category] = "cache"
    settings: ClassVar[tuple[str, ...]] = ("invalidation_storm_threshold",)
    of_events: ClassVar[bool] = True

    def complete(self, window: Window) -> Iterable[Finding]:
        """Count the removed keys by cache and key template."""
        removed: dict[tuple[str, str], list[CacheEvent]] = {}
        for event in window.events:
            if isinstance(event, CacheEvent) and event.removals and {self.name, "all"}.isdisjoint(event.allowed):
                removed.setdefault((event.cache, event.key_prefix), []).append(event)
        return [
            self._finding(events, number, window)
            for events in removed.values()
            if (number := sum(event.removals for event in events)) >= self.configuration.invalidation_storm_threshold
        ]

    def _finding(self, events: list[CacheEvent], number: int, window: Window) -> Finding:
        first = events[0]
        site = first.call_site
        parts = [self.name, first.cache, first.key_prefix, *((site.file, site.function) if site is not None else ())]
        stem = first.key_prefix.partition("{")[0].rstrip(":/|.") or "cache"
        writing = [each for each in window.operations if first.key_prefix in each.statement.written]
        time = sum(each.duration for each in writing)
        suggestion = (
            f'version = client.incr("{stem}:version")\n'
            f'client.set(f"{stem}:{{version}}:{{key}}", value, ex=3600)  # old versions expire by themselves'
        )
        return Finding(
            rule=self.name,
            id=identity("is", *parts),
            severity="warning",
            category=self.category,
            title=f"{first.key_prefix or first.cache} is invalidated key by key",
            description=f"{number} keys {first.key_prefix} were deleted; the next read of each is a miss.",
            suggestion=fitting(suggestion, writing[0]) if writing else suggestion,
            impact=(1 - REMAINS) * time,
            effort="medium",
            count=number,
            metric="removals",
            current_value=float(number),
            threshold=float(self.configuration.invalidation_storm_threshold),
            call_site=site,
            trace=f"{window.trace_id:032x}",
            route=window.name,
        )
