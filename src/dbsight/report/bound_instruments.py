"""Instruments with fixed attributes, which avoid the SDK's cost per measurement.

``Histogram.record`` cleans, copies, sorts, tags and hashes its attributes at every call: two thirds of its 16 µs with
seven of them. OpenTelemetry plans bound instruments; the Python SDK has none. A callable bound here caches the SDK's
aggregations for its attributes, of every reader and view, and passes measurements to them. A reader gets the same data,
exemplars included.

This uses private names of the SDK, only in this file and only in releases that the tests were run against. With any
other release, another implementation of the API, or a missing name, the public method is called.
"""

from __future__ import annotations

from math import inf
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import get_current

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.util.types import AttributeValue

    Record = Callable[[float, Context | None], None]
    Sink = Callable[["_Measurement", bool], None]

VERIFIED = ((1, 41, 0), (1, 45, 2))
"""First and last release of opentelemetry-sdk whose private names were verified.

Including the patch release: 1.45.2 began to discard aggregations at each collection with delta temporality.
"""


class _Bound:
    """Common base of histograms and counters.

    Attributes:
        direct: Whether measurements bypass the public method; False until the provider of a proxy is set.
    """

    _public: str
    _sdk_class: str

    def __init__(self, instrument: Any) -> None:
        self._instrument = instrument
        self._proxy = is_proxy(instrument)
        # A proxy gets a real instrument when the application sets its provider: check again then.
        self.direct = not self._proxy and is_known(instrument, self._sdk_class)

    def bind(self, attributes: Mapping[str, AttributeValue]) -> Record:
        """Fix the attributes of measurements.

        Args:
            attributes: Copied; later changes to the mapping have no effect.

        Returns:
            ``record(amount, context)``, to be called for every measurement with these attributes. A context
            of None is the current one. It does what the instrument's own method does, at any time: with readers that
            are added or removed later, meters that are disabled, amounts that are refused. It can be called from any
            thread.
        """
        fixed = dict(attributes)
        if self._proxy:
            return self._follow_proxy(fixed)
        if self.direct:
            return _bind_private(self._instrument, getattr(self._instrument, self._public), fixed)
        return _bind_public(getattr(self._instrument, self._public), fixed)

    def _follow_proxy(self, attributes: dict[str, AttributeValue]) -> Record:
        proxy = self._instrument
        real = None
        record = _bind_public(getattr(proxy, self._public), attributes)

        def follow(amount: float, context: Context | None = None) -> None:
            nonlocal real, record
            if proxy._real_instrument is not real:
                real = proxy._real_instrument
                record = type(self)(real).bind(attributes)
            record(amount, context)

        return follow


class BoundHistogram(_Bound):
    """A histogram that attributes can be bound to.

    Args:
        instrument: Any ``Histogram`` of the API.
    """

    _public = "record"
    _sdk_class = "_Histogram"

    def __init__(self, instrument: Histogram) -> None:
        super().__init__(instrument)


class BoundCounter(_Bound):
    """A counter that attributes can be bound to.

    Args:
        instrument: Any ``Counter`` of the API.
    """

    _public = "add"
    _sdk_class = "_Counter"

    def __init__(self, instrument: Counter) -> None:
        super().__init__(instrument)


class _Measurement:
    """Like the SDK's class, a frozen dataclass that takes four times as long to create."""

    __slots__ = ("attributes", "context", "instrument", "time_unix_nano", "value")

    def __init__(
        self,
        value: float,
        time_unix_nano: int,
        instrument: Any,
        context: Context,
        attributes: Mapping[str, AttributeValue] | None,
    ) -> None:
        self.value = value
        self.time_unix_nano = time_unix_nano
        self.instrument = instrument
        self.context = context
        self.attributes = attributes


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


def is_known(instrument: Any, sdk_class: str) -> bool:
    """Return whether all names that recording uses exist, with exactly the verified classes."""
    try:
        from opentelemetry.sdk.metrics._internal import instrument as instruments
        from opentelemetry.sdk.metrics._internal.measurement_consumer import SynchronousMeasurementConsumer
        from opentelemetry.sdk.version import __version__ as release

        if not is_verified(release) or type(instrument) is not getattr(instruments, sdk_class):
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


def _bind_public(public: Callable[..., None], attributes: dict[str, AttributeValue]) -> Record:
    def record(amount: float, context: Context | None = None) -> None:
        public(amount, attributes, context)

    return record


def _bind_private(instrument: Any, public: Callable[..., None], attributes: dict[str, AttributeValue]) -> Record:
    from opentelemetry.sdk.metrics._internal.measurement import Measurement

    consumer = instrument._measurement_consumer
    configuration = consumer._sdk_config
    is_enabled = instrument._is_enabled
    # Cleaned as by the SDK: exemplars contain attributes that a view removed.
    cleaned = Measurement(0, 0, instrument, get_current(), attributes).attributes
    # One object, so that a thread never sees new readers with old sinks. The SDK replaces its mapping of readers and
    # never changes it: the same mapping is the same readers.
    known: tuple[Mapping[Any, Any] | None, tuple[Sink, ...]] = (None, ())

    def record(amount: float, context: Context | None = None) -> None:
        nonlocal known
        readers, sinks = known
        if readers is not consumer._reader_storages:
            # The public method creates the aggregations, which can be looked up from then on.
            readers = consumer._reader_storages
            public(amount, attributes, context)
            if is_enabled() and 0 <= amount < inf:
                known = (readers, _sinks(readers, instrument, cleaned))
            return
        if not 0 <= amount < inf or not is_enabled():
            public(amount, attributes, context)  # which rejects it, with a warning if appropriate
            return
        now = time_ns()
        context = context or get_current()
        sampled = configuration.exemplar_filter.should_sample(amount, now, cleaned, context)
        measurement = _Measurement(amount, now, instrument, context, cleaned)
        for sink in sinks:
            sink(measurement, sampled)

    return record


def _sinks(
    readers: Mapping[Any, Any], instrument: Any, attributes: Mapping[str, AttributeValue] | None
) -> tuple[Sink, ...]:
    """Return the aggregation for each view of each reader."""
    return tuple(
        _sink(match, attributes or {})
        for storage in readers.values()
        for match in storage._get_or_init_view_instrument_match(instrument)
    )


def _sink(match: Any, attributes: Mapping[str, AttributeValue]) -> Sink:
    general: Sink = match.consume_measurement  # correct for all attributes, but expensive
    try:
        keys = match._view._attribute_keys
        kept = {key: value for key, value in attributes.items() if keys is None or key in keys}
        key = key_of(kept)
        if getattr(match, "_reset_on_collect", False):
            return _resetting(match, key, kept)
        # Missing beyond the cardinality limit: the general method then uses the overflow point.
        aggregation = match._attributes_aggregation.get(key)
        sink: Sink = general if aggregation is None else aggregation.aggregate
    except (AttributeError, TypeError, ImportError):
        failed("report.bound_instruments")
        return general
    return sink


def _resetting(match: Any, key: Any, attributes: dict[str, AttributeValue]) -> Sink:
    """For views whose aggregations live until the next collection, under the lock that the collection takes."""
    lock, create = match._lock, match._get_or_create_aggregation

    def aggregate(measurement: _Measurement, sampled: bool) -> None:
        with lock:
            aggregation = match._attributes_aggregation.get(key)
            if aggregation is None:
                aggregation = create(key, dict(attributes))
            aggregation.aggregate(measurement, sampled)

    return aggregate


def key_of(attributes: dict[str, AttributeValue]) -> Any:
    """The key of an aggregation in the SDK."""
    from opentelemetry.sdk.metrics._internal import _view_instrument_match

    if hasattr(_view_instrument_match, "_hash_attributes"):  # since 1.45
        return _view_instrument_match._hash_attributes(attributes)
    return frozenset(attributes.items())
