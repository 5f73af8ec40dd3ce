"""Accumulated histograms and counters give readers what the public methods give them."""

import random

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, AlwaysOnExemplarFilter, Histogram, MeterProvider
from opentelemetry.sdk.metrics._internal import _MeterConfig
from opentelemetry.sdk.metrics._internal import instrument as instruments
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from builders import NOW_NS, make_span_context
from dbsight.report.preaggregation import AccumulatedCounter, AccumulatedHistogram, is_verified

BOUNDS = (0.001, 0.01, 0.1, 1.0)
ATTRIBUTES = ({"db.system.name": "sqlite", "n": 1}, {"db.system.name": "sqlite", "n": 2}, {})


class Pair:
    """Two providers alike: one is recorded to by the public method, the other through an accumulator."""

    def __init__(self, *, views=(), temporality=AggregationTemporality.CUMULATIVE, readers=1, **options):
        preferred = {Histogram: temporality}
        self.readers = [[InMemoryMetricReader(preferred_temporality=preferred) for _ in range(readers)] for _ in "ab"]
        self.providers = [
            MeterProvider(readers, views=list(views), shutdown_on_exit=False, **options) for readers in self.readers
        ]
        meters = [provider.get_meter("test") for provider in self.providers]
        self.public, instrument = (
            meter.create_histogram("h", explicit_bucket_boundaries_advisory=BOUNDS) for meter in meters
        )
        self.histogram = AccumulatedHistogram(instrument, BOUNDS)
        meters[1].create_observable_gauge("flush", [lambda _: self.histogram.flush() or ()])

    def record(self, amount, attributes, context=None):
        """The same measurement both ways."""
        self.public.record(
            amount, attributes, set_span_in_context(NonRecordingSpan(context)) if context else set_span_in_context(None)
        )
        self.histogram.bind(attributes).record(amount, context, NOW_NS)

    def points(self, side, reader=0):
        """What a reader gets of the histogram, without times, in the order of the attributes."""
        data = self.readers[side][reader].get_metrics_data()
        found = []
        for metrics in data.resource_metrics if data else ():
            for scope in metrics.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == "h":
                        found += [comparable(point) for point in metric.data.data_points]
        return sorted(found, key=repr)

    def close(self):
        """Shut both down."""
        for provider in self.providers:
            provider.shutdown()


def comparable(point):
    """A point without the times of its exemplars; sums are rounded, for the order of additions differs."""
    fields = {
        name: getattr(point, name)
        for name in ("attributes", "count", "sum", "min", "max", "bucket_counts", "explicit_bounds", "scale")
        if hasattr(point, name)
    }
    fields["sum"] = round(fields["sum"], 9)
    fields["attributes"] = dict(fields["attributes"])
    fields["exemplars"] = [(e.value, e.trace_id, e.span_id, dict(e.filtered_attributes or {})) for e in point.exemplars]
    return fields


VIEWS = {
    "none": (),
    "fewer attributes": (View(instrument_name="h", attribute_keys={"n"}),),
    "other buckets": (View(instrument_name="h", aggregation=ExplicitBucketHistogramAggregation((1, 2))),),
    "exponential": (View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation()),),
    "dropped": (View(instrument_name="h", aggregation=DropAggregation()),),
}


@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
@pytest.mark.parametrize("readers", [1, 2])
def test_readers_get_what_they_would_get_from_the_public_method(views, temporality, readers):
    """Random measurements and collections: every collection of every reader is the same on both sides."""
    pair = Pair(views=views, temporality=temporality, readers=readers)
    generator = random.Random(7)
    try:
        for _ in range(6):
            for _ in range(generator.randrange(40)):
                context = generator.choice((None, make_span_context(), make_span_context(sampled=False)))
                pair.record(generator.expovariate(10), generator.choice(ATTRIBUTES), context)
            for reader in range(readers):
                assert pair.points(1, reader) == pair.points(0, reader)
    finally:
        pair.close()


@pytest.mark.parametrize("exemplars", [AlwaysOnExemplarFilter(), AlwaysOffExemplarFilter()])
def test_another_exemplar_filter_is_respected(exemplars):
    """With any filter but the default one, measurements go one by one."""
    pair = Pair(exemplar_filter=exemplars)
    try:
        for amount in (0.005, 0.05, 0.5):
            pair.record(amount, ATTRIBUTES[0], make_span_context())
        assert pair.points(1) == pair.points(0)
    finally:
        pair.close()


def test_the_latest_exemplar_of_each_bucket_is_kept():
    """As the SDK's own reservoir does."""
    pair = Pair()
    try:
        contexts = [make_span_context() for _ in range(4)]
        for context, amount in zip(contexts, (0.005, 0.006, 0.5, 0.6), strict=True):
            pair.record(amount, ATTRIBUTES[0], context)
        (point,) = pair.points(1)
        assert [exemplar[:3] for exemplar in point["exemplars"]] == [
            (0.006, contexts[1].trace_id, contexts[1].span_id),
            (0.6, contexts[3].trace_id, contexts[3].span_id),
        ]
    finally:
        pair.close()


def test_a_forked_child_forgets_what_came_together():
    """It is the parent's to tell."""
    pair = Pair()
    try:
        pair.histogram.bind(ATTRIBUTES[0]).record(0.5, None, NOW_NS)
        pair.histogram.forget()
        assert pair.points(1) == []
    finally:
        pair.close()


def test_a_counter_is_exact_and_keeps_its_attributes():
    """Three of one kind, two of another; the same attributes are one tally."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    counter = AccumulatedCounter(provider.get_meter("test").create_counter("c"))
    for kind, count in (("select", 3), ("insert", 2)):
        for _ in range(count):
            counter.bind({"kind": kind}).add()
    counter.flush()
    counter.flush()
    (metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    assert {point.attributes["kind"]: point.value for point in metric.data.data_points} == {"select": 3, "insert": 2}
    provider.shutdown()


def recorded(instrument, amount=0.5):
    """Two measurements of an instrument, handed on; whether they came together."""
    histogram = AccumulatedHistogram(instrument, BOUNDS)
    series = histogram.bind({"a": 1})
    series.record(amount, None, NOW_NS)
    series.record(amount, make_span_context(), NOW_NS)
    fits = histogram._fits
    histogram.flush()
    return fits


@pytest.fixture
def pair():
    """Two providers, shut down at the end."""
    made = Pair()
    yield made
    made.close()


def test_a_meter_that_is_switched_off_takes_nothing(pair):
    """And goes on once it is on again."""
    meter = pair.providers[1].get_meter("test")
    counts = []
    for on in (False, True):
        meter._set_meter_config(_MeterConfig(is_enabled=on))
        pair.histogram.bind(ATTRIBUTES[0]).record(0.5, None, NOW_NS)
        pair.histogram.flush()
        counts.append([point["count"] for point in pair.points(1)])
    assert counts == [[], [1]]


def test_a_meter_without_sdk_is_called_by_its_public_method():
    """An API-only process, or one whose SDK is disabled: nothing happens."""
    assert not recorded(NoOpMeter("m").create_histogram("h"))


def test_another_implementation_of_the_api_is_called_by_its_public_method(pair):
    """Also one that is derived from the SDK's: its own ``record`` may do more."""
    calls = []

    class Loud(instruments._Histogram):
        def record(self, amount, attributes=None, context=None):
            calls.append((amount, attributes))

    real = pair.public
    assert not recorded(Loud("loud", real.instrumentation_scope, real._measurement_consumer))
    assert calls == [(0.5, {"a": 1})] * 2


def test_a_proxy_is_followed_once_its_provider_is_set(pair):
    """Bound before the application configured anything: dropped until then, recorded from then on."""
    proxies = _ProxyMeterProvider()
    histogram = AccumulatedHistogram(proxies.get_meter("m").create_histogram("h"), BOUNDS)
    series = histogram.bind({"a": 1})
    series.record(1.0, None, NOW_NS)
    histogram.flush()
    proxies.on_set_meter_provider(pair.providers[0])
    series.record(0.5, None, NOW_NS)  # one by one until the next collection
    histogram.flush()
    series.record(0.25, None, NOW_NS)
    histogram.flush()
    assert [(point["count"], point["sum"]) for point in pair.points(0)] == [(2, 0.75)]


@pytest.mark.parametrize("missing", ["_measurement_consumer", "_is_enabled"])
def test_an_instrument_without_a_private_name_is_called_by_its_public_method(pair, missing):
    """A renamed attribute costs speed, nothing else."""

    class Partial:
        def __getattribute__(self, name):
            if name == "__class__":
                return type(pair.public)
            if name == missing:
                raise AttributeError(name)
            return getattr(pair.public, name)

    assert not recorded(Partial())
    assert [point["count"] for point in pair.points(0)] == [2]


def test_an_unknown_release_of_the_sdk_is_called_by_its_public_method(pair, monkeypatch):
    """Private names promise nothing from one patch to the next."""
    monkeypatch.setattr("opentelemetry.sdk.version.__version__", "1.99.0")
    assert not recorded(pair.public)
    assert [point["count"] for point in pair.points(0)] == [2]


@pytest.mark.parametrize(
    ("release", "known"),
    [
        ("1.40.0", False),
        ("1.41.0", True),
        ("1.45.1", True),
        ("1.45.2", True),
        ("1.45.3", False),
        ("1.46.0", False),
        ("1.45.2.dev0", False),
        ("1.45rc1", False),
        ("2.0.0", False),
        ("", False),
    ],
)
def test_releases_are_known_to_the_patch(release, known):
    """A patch release has changed what is used here before."""
    assert is_verified(release) is known
