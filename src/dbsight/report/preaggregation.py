"""Histograms that are aggregated here, and added to the SDK's once per collection.

A database client records the same few series repeatedly; ``Histogram.record`` cleans, copies, sorts and hashes their
attributes at every call. Here a measurement costs a bucket search and five additions under a lock of its own (1 µs
against 6 to 16 for ``Histogram.record``); when a reader collects, the measurements since the last collection are added
to the SDK's aggregations. A reader gets the same data as with ``record``: buckets, sum, extremes, and the latest
exemplar of each bucket. A collection calls observable instruments before it reads the histograms: ``flush`` has to be
called then.

Private names of the SDK are only used in releases that the tests were run against. If a view, an exemplar filter or a
reservoir of the user changes the aggregation, and with any other SDK, each measurement is recorded through the public
method.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from math import inf
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.metrics import Counter, Histogram, Meter
    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import AttributeValue

    from dbsight.model import Operation

_NOWHERE = Context()  # not the current one: an exemplar belongs to the operation, not to the collecting thread
_FLAGS: Final = 3
"""Index of the trace flags in a ``SpanContext``, which is a tuple: the property costs a call."""

VERIFIED = ((1, 41, 0), (1, 45, 2))
"""First and last release of opentelemetry-sdk whose private names were verified.

Including the patch release: 1.45.2 began to discard aggregations at each collection with delta temporality.
"""


class Series:
    """One histogram for one set of attributes."""

    __slots__ = ("_attributes", "_bounds", "_counts", "_exemplars", "_fits", "_lock", "_max", "_min", "_public", "_sum")

    def __init__(
        self,
        attributes: dict[str, AttributeValue],
        bounds: tuple[float, ...],
        public: Callable[..., None],
        fits: bool,
    ) -> None:
        self._attributes = attributes
        self._bounds = bounds
        self._public = public
        self._fits = fits
        # Re-entrant, because a finalizer may run a query while this thread holds the lock.
        self._lock = threading.RLock()
        self._clear()

    def _clear(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._min = inf
        self._max = -inf
        self._exemplars: dict[int, tuple[float, int, SpanContext]] = {}

    def record(self, amount: float, context: SpanContext | None, at_ns: int) -> None:
        """Record one measurement.

        Args:
            amount: Finite and not negative.
            context: Of the span that was measured; a sampled one makes an exemplar.
            at_ns: When it was measured, ns since the epoch.
        """
        if not self._fits:
            self._public(amount, self._attributes, context)
            return
        index = bisect_left(self._bounds, amount)
        with self._lock:
            self._counts[index] += 1
            self._sum += amount
            if amount < self._min:  # noqa: PLR1730 - min() costs a call
                self._min = amount
            if amount > self._max:  # noqa: PLR1730 - as above
                self._max = amount
            if context is not None and context[_FLAGS] & 1:
                self._exemplars[index] = (amount, at_ns, context)

    def record_all(self, amounts: Sequence[float]) -> None:
        """Record many measurements without spans at once; otherwise as ``record``."""
        if not amounts:
            return
        if not self._fits:
            for amount in amounts:
                self._public(amount, self._attributes, None)
            return
        bounds = self._bounds
        least, most = min(amounts), max(amounts)
        first, last = bisect_left(bounds, least), bisect_left(bounds, most)
        if first < last:
            amounts = sorted(amounts)  # a bucket is then a slice, and only its end is searched
        counted = 0
        with self._lock:
            counts = self._counts
            for index in range(first, last):
                below = bisect_right(amounts, bounds[index], counted)
                counts[index] += below - counted
                counted = below
            counts[last] += len(amounts) - counted
            self._sum += sum(amounts)
            if least < self._min:  # noqa: PLR1730 - as above
                self._min = least
            if most > self._max:  # noqa: PLR1730 - as above
                self._max = most

    def record_each(self, amounts: Sequence[float], operations: Sequence[Operation]) -> None:
        """Record measurements in order; otherwise as ``record``.

        Args:
            amounts: As for ``record``.
            operations: That of each amount, whose context and end are taken.
        """
        if not amounts:
            return
        if not self._fits:
            for amount, operation in zip(amounts, operations, strict=True):
                self._public(amount, self._attributes, operation.context)
            return
        bounds = self._bounds
        least, most = min(amounts), max(amounts)
        first = bisect_left(bounds, least)
        with self._lock:
            self._sum += sum(amounts)
            if least < self._min:  # noqa: PLR1730 - as above
                self._min = least
            if most > self._max:  # noqa: PLR1730 - as above
                self._max = most
            counts = self._counts
            if (
                first == len(bounds) or most <= bounds[first]
            ):  # mostly one bucket takes all: only the latest are looked at
                counts[first] += len(amounts)
                for place in range(len(amounts) - 1, -1, -1):
                    context = operations[place].context
                    if context is not None and context[_FLAGS] & 1:
                        self._exemplars[first] = (amounts[place], operations[place].end_ns, context)
                        break
                return
            for amount, operation in zip(amounts, operations, strict=True):
                index = bisect_left(bounds, amount, first)
                counts[index] += 1
                context = operation.context
                if context is not None and context[_FLAGS] & 1:
                    self._exemplars[index] = (amount, operation.end_ns, context)

    def flush(self, sinks: Iterable[Any]) -> None:
        """Add pending measurements to the SDK's aggregations, and reset."""
        with self._lock:
            if self._max < 0:
                return
            counts, total, least, most = self._counts, self._sum, self._min, self._max
            exemplars = self._exemplars
            self._clear()
        for match in sinks:
            _add(match, self._attributes, counts, total, least, most, exemplars)

    def forget(self) -> None:
        """Discard pending measurements in a forked child: the parent reports them."""
        self._lock = threading.RLock()
        self._clear()


class AccumulatedCounter:
    """A counter that is updated once per collection, by its public method."""

    def __init__(self, instrument: Counter) -> None:
        self._instrument = instrument
        self._tallies: dict[Any, Tally] = {}

    def bind(self, attributes: Mapping[str, AttributeValue]) -> Tally:
        """Fix the attributes of additions; the same attributes give the same tally."""
        return self._tallies.setdefault(tuple(sorted(attributes.items())), Tally(dict(attributes)))

    def flush(self) -> None:
        """Flush pending measurements to the SDK."""
        for tally in tuple(self._tallies.values()):
            if count := tally.take():
                self._instrument.add(count, tally.attributes, _NOWHERE)

    def forget(self) -> None:
        """Discard pending measurements in a forked child: the parent reports them."""
        for tally in self._tallies.values():
            tally.forget()


class Tally:
    """One counter for one set of attributes."""

    __slots__ = ("_count", "_lock", "attributes")

    def __init__(self, attributes: dict[str, AttributeValue]) -> None:
        self.attributes = attributes
        self._lock = threading.RLock()
        self._count = 0

    def add(self, number: int = 1) -> None:
        """Count one, or as many as happened at once."""
        with self._lock:
            self._count += number

    def take(self) -> int:
        """Return the count since the last call."""
        with self._lock:
            count, self._count = self._count, 0
        return count

    def forget(self) -> None:
        """Reset with a new lock."""
        self._lock = threading.RLock()
        self._count = 0


def histogram(meter: Meter, name: str, unit: str, description: str, bounds: tuple[float, ...]) -> AccumulatedHistogram:
    """Create a histogram of the SDK with these buckets, and aggregate for it."""
    instrument = meter.create_histogram(
        name, unit=unit, description=description, explicit_bucket_boundaries_advisory=list(bounds)
    )
    return AccumulatedHistogram(instrument, bounds)


class AccumulatedHistogram:
    """A histogram that aggregates measurements between collections if the SDK's aggregations allow it."""

    def __init__(self, instrument: Histogram, bounds: tuple[float, ...]) -> None:
        self._instrument: Any = instrument
        self._bounds = bounds
        self._series: dict[Any, Series] = {}
        # A proxy gets a real instrument when the application sets its provider: check again then.
        self._proxy = is_proxy(instrument)
        self._fits = not self._proxy and is_known(instrument) and self._matches() is not None

    def bind(self, attributes: Mapping[str, AttributeValue]) -> Series:
        """Fix the attributes of measurements; the same attributes give the same series."""
        key = tuple(sorted(attributes.items()))
        series = self._series.get(key)
        if series is None:
            fixed = dict(attributes)
            made = Series(fixed, self._bounds, self._record, self._fits)
            series = self._series.setdefault(key, made)
        return series

    def flush(self) -> None:
        """Flush pending measurements to the SDK."""
        if self._proxy and self._instrument._real_instrument is not None:
            self._become(self._instrument._real_instrument)
        if not self._fits:
            return
        matches = self._matches() if self._instrument._is_enabled() else []
        if matches is None:
            # A reader with other buckets was added: record every measurement individually from now on.
            self._fits = False
            for series in tuple(self._series.values()):
                series._fits = False
            matches = [match for match in self._every_match() if _fits(match, self._bounds)]
        for series in tuple(self._series.values()):
            series.flush(matches)

    def _record(self, amount: float, attributes: dict[str, AttributeValue], context: SpanContext | None) -> None:
        """Record one measurement by the public method; the proxy of an unset provider would discard it."""
        if not self._proxy or self._instrument._real_instrument is not None:
            self._instrument.record(amount, attributes, _in_context(context))

    def _become(self, real: Any) -> None:
        """Use the real instrument of a proxy, and aggregate from now on if possible."""
        self._proxy = False
        self._instrument = real
        self._fits = is_known(real) and self._matches() is not None
        for series in tuple(self._series.values()):
            series._fits = self._fits

    def forget(self) -> None:
        """Discard pending measurements in a forked child: the parent reports them."""
        for series in self._series.values():
            series.forget()

    def _every_match(self) -> list[Any]:
        consumer = self._instrument._measurement_consumer
        return [
            match
            for storage in consumer._reader_storages.values()
            for match in storage._get_or_init_view_instrument_match(self._instrument)
        ]

    def _matches(self) -> list[Any] | None:
        """Return the views of all readers; None if one of them aggregates differently."""
        try:
            matches = self._every_match()
            filter_ = type(self._instrument._measurement_consumer._sdk_config.exemplar_filter).__name__
            if filter_ != "TraceBasedExemplarFilter" or not all(_fits(match, self._bounds) for match in matches):
                return None
        except AttributeError:
            return None
        return matches


def _fits(match: Any, bounds: tuple[float, ...]) -> bool:
    """Return whether a view has the same buckets and keeps the latest exemplar of each."""
    from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
    from opentelemetry.sdk.metrics._internal.exemplar import AlignedHistogramBucketExemplarReservoir

    sample = match._aggregation  # each view has one, of the class that it makes
    return (
        type(sample) is _ExplicitBucketHistogramAggregation
        and tuple(sample._boundaries) == bounds
        and type(sample._reservoir) is AlignedHistogramBucketExemplarReservoir
    )


def _add(
    match: Any,
    attributes: Mapping[str, AttributeValue],
    counts: list[int],
    total: float,
    least: float,
    most: float,
    exemplars: Mapping[int, tuple[float, int, SpanContext]],
) -> None:
    """Add the measurements of one series to one view."""
    keys = match._view._attribute_keys
    kept = {key: value for key, value in attributes.items() if keys is None or key in keys}
    with match._lock:  # as in a collection, so that the aggregation is not discarded meanwhile
        aggregation = _aggregation(match, kept)
        with aggregation._lock:
            if aggregation._value is None:
                aggregation._value = aggregation._get_empty_bucket_counts()
            for index, count in enumerate(counts):
                if count:
                    aggregation._value[index] += count
            aggregation._sum += total
            if aggregation._record_min_max:
                aggregation._min = min(aggregation._min, least)
                aggregation._max = max(aggregation._max, most)
        for amount, at_ns, context in exemplars.values():
            aggregation._reservoir.offer(amount, at_ns, attributes, _in_context(context))


def _aggregation(match: Any, attributes: dict[str, AttributeValue]) -> Any:
    """Return the aggregation of a view for these attributes, created if needed; the view's lock is held."""
    key = key_of(attributes)
    if hasattr(match, "_get_or_create_aggregation"):  # since 1.45.2, with its limit of attribute sets
        return match._get_or_create_aggregation(key, dict(attributes))
    aggregation = match._attributes_aggregation.get(key)
    if aggregation is None:
        aggregation = match._attributes_aggregation[key] = _make(match, attributes)
    return aggregation


def _make(match: Any, attributes: dict[str, AttributeValue]) -> Any:
    from time import time_ns

    from opentelemetry.sdk.metrics._internal.aggregation import DefaultAggregation

    view = match._view
    maker: Callable[..., Any] = (
        match._instrument_class_aggregation[type(match._instrument)]._create_aggregation
        if isinstance(view._aggregation, DefaultAggregation)
        else view._aggregation._create_aggregation
    )
    return maker(match._instrument, attributes, view._exemplar_reservoir_factory, time_ns())


def _in_context(context: SpanContext | None) -> Context:
    return _NOWHERE if context is None else set_span_in_context(NonRecordingSpan(context), _NOWHERE)


def is_verified(release: str) -> bool:
    """Return whether the private names of this release of opentelemetry-sdk were verified; False for pre-releases."""
    parts = release.split(".")
    if not all(part.isdigit() for part in parts):
        return False
    first, last = VERIFIED
    return first <= tuple(int(part) for part in parts) <= last


def is_proxy(instrument: Any) -> bool:
    """Return whether it is the proxy of an instrument whose provider is not set yet."""
    try:
        from opentelemetry.metrics._internal.instrument import _ProxyInstrument
    except ImportError:
        return False
    return isinstance(instrument, _ProxyInstrument) and hasattr(instrument, "_real_instrument")


def is_known(instrument: Any) -> bool:
    """Return whether all names that aggregation uses exist, with exactly the verified classes."""
    try:
        from opentelemetry.sdk.metrics._internal import instrument as instruments
        from opentelemetry.sdk.metrics._internal.measurement_consumer import SynchronousMeasurementConsumer
        from opentelemetry.sdk.version import __version__ as release

        if not is_verified(release) or type(instrument) is not instruments._Histogram:
            return False
        consumer = instrument._measurement_consumer
        return (
            type(consumer) is SynchronousMeasurementConsumer
            and callable(instrument._is_enabled)
            and callable(consumer._sdk_config.exemplar_filter.should_sample)
            and isinstance(consumer._reader_storages, dict)
        )
    except (ImportError, AttributeError):
        return False


def key_of(attributes: dict[str, AttributeValue]) -> Any:
    """The key of an aggregation in the SDK."""
    from opentelemetry.sdk.metrics._internal import _view_instrument_match

    if hasattr(_view_instrument_match, "_hash_attributes"):  # since 1.45
        return _view_instrument_match._hash_attributes(attributes)
    return frozenset(attributes.items())
