"""Metrics of caches and of distributed locks, on one meter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight import safety, semconv
from dbsight.report.preaggregation import AccumulatedCounter, histogram

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from dbsight.model import CacheEvent, LockEvent
    from dbsight.report.preaggregation import Series, Tally

CAP: Final = 500
"""Maximum number of attribute sets per metric; the rest is ``other``."""


class CacheMetrics:
    """``dbsight.cache.*`` and ``dbsight.lock.*``.

    Attributes:
        accumulated: Instruments that have to be flushed before a collection.
    """

    def __init__(self, meter: Meter) -> None:
        self._requests = AccumulatedCounter(
            meter.create_counter(
                semconv.METRIC_CACHE_REQUESTS, unit="{request}", description="Keys looked up in a cache, by result."
            )
        )
        self._evictions = AccumulatedCounter(
            meter.create_counter(semconv.METRIC_CACHE_EVICTIONS, unit="{item}", description="Items evicted by a cache.")
        )
        self._attempts = AccumulatedCounter(
            meter.create_counter(
                semconv.METRIC_LOCK_ATTEMPTS, unit="{attempt}", description="Attempts to acquire a distributed lock."
            )
        )
        self._leaks = AccumulatedCounter(
            meter.create_counter(
                semconv.METRIC_LOCK_LEAKS,
                unit="{lock}",
                description="Locks held beyond their timeout, or never released.",
            )
        )
        self._sizes = histogram(
            meter, semconv.METRIC_CACHE_SIZE, "By", "Size of the values found in a cache.", semconv.SIZE_BUCKETS
        )
        self._acquire = histogram(
            meter,
            semconv.METRIC_LOCK_ACQUIRE,
            "s",
            "Time to acquire a lock, or until the attempt was abandoned.",
            semconv.DURATION_BUCKETS,
        )
        self._hold = histogram(
            meter,
            semconv.METRIC_LOCK_HOLD,
            "s",
            "Time from the acquisition of a lock to its release.",
            semconv.HOLD_BUCKETS,
        )
        self.accumulated = (
            self._requests,
            self._evictions,
            self._attempts,
            self._leaks,
            self._sizes,
            self._acquire,
            self._hold,
        )
        self._known: set[tuple[str, ...]] = set()
        self._tallies: dict[tuple[str, ...], tuple[Tally, ...]] = {}
        self._series: dict[str, Series] = {}  # of sizes, by cache

    def cache(self, event: CacheEvent) -> None:
        """Count one event of a cache."""
        key = self._capped((event.cache, event.layer, event.key_prefix, event.model))
        tallies = self._tallies.get(key)
        if tallies is None:
            tallies = self._tallies[key] = tuple(
                counter.bind(_cache_attributes(key, result))
                for counter, result in ((self._requests, "hit"), (self._requests, "miss"), (self._evictions, ""))
            )
        for number, tally in zip((event.hits, event.misses, event.evictions), tallies, strict=True):
            if number:
                tally.add(number)
        if event.sizes:
            series = self._series.get(key[0])
            if series is None:
                series = self._series[key[0]] = self._sizes.bind({semconv.CACHE_NAME: key[0]})
            series.record_all(event.sizes)

    def lock(self, event: LockEvent) -> None:
        """Count one event of a lock."""
        system, lock = self._capped((event.system, event.lock))
        attributes = {semconv.DB_SYSTEM_NAME: system, semconv.LOCK_NAME: lock}
        if event.kind == "acquire":
            result = "acquired" if event.acquired else "failed"
            self._attempts.bind({**attributes, semconv.LOCK_RESULT: result}).add(event.attempts)
            series = self._acquire.bind({**attributes, semconv.LOCK_RESULT: result})
            series.record(event.seconds, event.parent, event.at_ns)
        elif event.kind == "release":
            self._hold.bind(attributes).record(event.seconds, event.parent, event.at_ns)
        else:
            self._leaks.bind(attributes).add()

    def _capped(self, key: tuple[str, ...]) -> tuple[str, ...]:
        if key in self._known:
            return key
        if len(self._known) >= CAP:
            safety.dropped("metric attribute values")
            return (key[0], *(semconv.OTHER if part else "" for part in key[1:]))
        self._known.add(key)
        return key


def _cache_attributes(key: tuple[str, ...], result: str) -> dict[str, str]:
    names = (
        semconv.CACHE_NAME,
        semconv.CACHE_LAYER,
        semconv.CACHE_KEY_PREFIX,
        semconv.CACHE_MODEL,
        semconv.CACHE_RESULT,
    )
    return {name: value for name, value in zip(names, (*key, result), strict=True) if value}
