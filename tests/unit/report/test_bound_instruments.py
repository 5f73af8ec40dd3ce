"""Recording with bound attributes: what reaches a reader is what the public method would have brought there."""

import inspect
import itertools
import json
import math
import random
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeter
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Counter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics._internal import instrument as instruments
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.version import __version__ as sdk_release
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context, use_span

from dbsight import safety
from dbsight.report import bound_instruments
from dbsight.report.bound_instruments import BoundCounter, BoundHistogram, is_verified

verified = pytest.mark.skipif(not is_verified(sdk_release), reason=f"bound.py was not compared with SDK {sdk_release}")


def span(number, *, sampled):
    """A context whose current span has this id."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(1000 + number, number, is_remote=False, trace_flags=flags))


ATTRIBUTES = (
    {},
    {"a": 1},
    {"a": True},
    {"a": 1.0},
    {"a": "x", "b": "y", "c": 3},
    {"c": 3, "b": "y", "a": "x"},
    {"a": "x", "b": "z", "d": ("p", "q")},
    {"b": "y"},
)
CONTEXTS = (
    None,
    Context(),
    set_span_in_context(span(1, sampled=True)),
    set_span_in_context(span(2, sampled=True)),
    set_span_in_context(span(3, sampled=False)),
)
FILTERS = (TraceBasedExemplarFilter, AlwaysOnExemplarFilter, AlwaysOffExemplarFilter)
DELTA = {Histogram: AggregationTemporality.DELTA, Counter: AggregationTemporality.DELTA}
CUMULATIVE = {}
LIMITED = "aggregation_cardinality_limit" in inspect.signature(View).parameters
VIEWS = {
    "no view": list,
    "fewer attributes": lambda: [View(instrument_name="*", attribute_keys={"a"})],
    "no attributes": lambda: [View(instrument_name="*", attribute_keys=set())],
    "two views": lambda: [
        View(instrument_name="h", name="few", attribute_keys={"b", "d"}),
        View(instrument_name="h", name="exponential", aggregation=ExponentialBucketHistogramAggregation()),
        View(instrument_name="c", name="other", attribute_keys={"c"}),
    ],
    "dropped": lambda: [View(instrument_name="h", aggregation=DropAggregation())],
    **({"limited": lambda: [View(instrument_name="*", aggregation_cardinality_limit=2)]} if LIMITED else {}),
}


class Clock:
    """Stands still within a step."""

    now = 1


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """One clock for the SDK and for us, so that points can be compared with their times."""
    clock = Clock()
    for module in (
        "opentelemetry.sdk.metrics._internal.instrument",
        "opentelemetry.sdk.metrics._internal.measurement_consumer",
        "opentelemetry.sdk.metrics._internal.metric_reader_storage",
        "opentelemetry.sdk.metrics._internal._view_instrument_match",
        "dbsight.report.bound_instruments",
    ):
        monkeypatch.setattr(f"{module}.time_ns", lambda: clock.now)
    clock.now = 1
    safety.reset()
    yield clock
    assert safety.errors() == {}


@dataclass
class Process:
    """One provider with its instruments, recorded to in one of the two ways."""

    views: str = "no view"
    temporalities: tuple = (CUMULATIVE,)
    exemplars: type = TraceBasedExemplarFilter
    bind: bool = False
    readers: list = field(default_factory=list)
    bound: dict = field(default_factory=dict)

    def __post_init__(self):
        self.readers = [InMemoryMetricReader(preferred_temporality=each) for each in self.temporalities]
        self.provider = MeterProvider(
            metric_readers=self.readers,
            resource=Resource({}),
            exemplar_filter=self.exemplars(),
            views=VIEWS[self.views](),
            shutdown_on_exit=False,
        )
        self.meter = self.provider.get_meter("m")
        self.histogram = self.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[0.1, 1.0, 10.0])
        self.counter = self.meter.create_counter("c")

    def record(self, name, amount, attributes, context):
        """Record to one instrument, by its own method or by one that was bound once."""
        random.seed(amount if math.isfinite(amount) else 0)  # a counter's exemplars are drawn
        if not self.bind:
            (self.histogram.record if name == "h" else self.counter.add)(amount, attributes, context)
            return
        key = (name, tuple((key, type(value), value) for key, value in attributes.items()))
        if key not in self.bound:
            holder = BoundHistogram(self.histogram) if name == "h" else BoundCounter(self.counter)
            assert holder.direct == is_verified(sdk_release)
            self.bound[key] = holder.bind(attributes)
        self.bound[key](amount, context)

    def add_reader(self, temporality):
        """Another reader joins, where the SDK knows that."""
        if hasattr(self.provider, "add_metric_reader"):
            self.readers.append(InMemoryMetricReader(preferred_temporality=temporality))
            self.provider.add_metric_reader(self.readers[-1])

    def remove_reader(self):
        """The oldest reader leaves."""
        if hasattr(self.provider, "remove_metric_reader") and self.readers:
            self.provider.remove_metric_reader(self.readers.pop(0))

    def enable(self, *, on):
        """Switch the meter off or on."""
        from opentelemetry.sdk.metrics._internal import _MeterConfig

        self.meter._set_meter_config(_MeterConfig(is_enabled=on))

    def collect(self):
        """Our metrics as each reader gets them, by name, with times and exemplars."""
        return [
            {
                metric.name: json.loads(metric.to_json())
                for resource in (data.resource_metrics if data is not None else ())
                for scope in resource.scope_metrics
                if scope.scope.name == "m"
                for metric in scope.metrics
            }
            for data in [reader.get_metrics_data() for reader in self.readers]
        ]

    def points(self, name):
        """The points of one metric at the first reader, as JSON has them."""
        return self.collect()[0].get(name, {"data": {"data_points": []}})["data"]["data_points"]


def outcome(process, *measurement):
    """What recording raised: before 1.44 the SDK does, for what is not finite."""
    try:
        process.record(*measurement)
    except Exception as error:
        return type(error)
    return None


amounts = st.one_of(
    st.floats(0, 100),
    st.integers(0, 100),
    st.sampled_from([0.0, -0.0, -1.0, 1e300, math.inf, -math.inf, math.nan, True]),
)
records = st.tuples(
    st.just("record"),
    st.sampled_from("hc"),
    st.lists(amounts, min_size=1, max_size=3),
    st.sampled_from(ATTRIBUTES),
    st.sampled_from(CONTEXTS),
)
changes = st.one_of(
    st.tuples(st.just("collect")),
    st.tuples(st.just("add_reader"), st.sampled_from([DELTA, CUMULATIVE])),
    st.tuples(st.just("remove_reader")),
    st.tuples(st.just("enable"), st.booleans()),
)
steps = st.lists(st.one_of(records, records, records, changes), min_size=5, max_size=40)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(sorted(VIEWS)),
    st.lists(st.sampled_from([DELTA, CUMULATIVE]), min_size=1, max_size=2),
    st.sampled_from(FILTERS),
    steps,
)
def test_readers_get_the_same_points_either_way(clock, views, temporalities, exemplars, steps):
    """Whatever is recorded, collected, added, removed or switched off, in whatever order: the same points."""
    public = Process(views, tuple(temporalities), exemplars)
    direct = Process(views, tuple(temporalities), exemplars, bind=True)
    for number, (step, *details) in enumerate([*steps, ("collect",)], start=1):
        clock.now = number
        if step == "record":
            name, several, attributes, context = details
            for amount in several:
                outcomes = [outcome(process, name, amount, attributes, context) for process in (public, direct)]
                assert outcomes[0] is outcomes[1]
        for process in (public, direct):
            if step == "add_reader":
                process.add_reader(*details)
            elif step == "remove_reader":
                process.remove_reader()
            elif step == "enable":
                process.enable(on=details[0])
        if step == "collect":
            assert direct.collect() == public.collect()


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE], ids=["delta", "cumulative"])
def test_an_exemplar_points_at_the_span_of_its_context(temporality):
    """The context that is given, and the current one where none is; what a view took out is on the exemplar."""
    process = Process("fewer attributes", (temporality,), bind=True)
    for _ in range(2):  # the first time by the public method, the second time directly
        process.record("h", 0.5, {"a": 1, "b": "y"}, CONTEXTS[2])
        with use_span(span(9, sampled=True)):
            process.record("h", 5.0, {"a": 1, "b": "y"}, None)
        (point,) = process.points("h")
        assert point["attributes"] == {"a": 1}
        assert [
            (each["value"], each["span_id"], each["trace_id"], each["filtered_attributes"])
            for each in point["exemplars"]
        ] == [(0.5, 1, 1001, {"b": "y"}), (5.0, 9, 1009, {"b": "y"})]


@verified
@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE], ids=["delta", "cumulative"])
@pytest.mark.parametrize("views", sorted(set(VIEWS) - {"limited"}))
def test_every_view_is_found(views, temporality):
    """The general way, which hashes attributes each time, is for what is beyond a cardinality limit."""
    process = Process(views, (temporality, CUMULATIVE))
    attributes = {"a": "x", "b": "y", "c": 3}
    process.histogram.record(0.5, attributes)
    readers = process.histogram._measurement_consumer._reader_storages
    sinks = bound_instruments._sinks(readers, process.histogram, attributes)
    assert len(sinks) == (4 if views == "two views" else 2)
    assert not {sink.__name__ for sink in sinks} - {"aggregate"}


@verified
def test_only_the_first_measurement_takes_the_public_way(monkeypatch):
    """Otherwise nothing would be gained; a reader that joins costs one more."""
    taken = []
    original = instruments.Histogram.record
    monkeypatch.setattr(
        instruments.Histogram,
        "record",
        lambda self, amount, *rest: (taken.append(amount), original(self, amount, *rest)),
    )
    process = Process(bind=True)
    for amount in (1, 2, 3):
        process.record("h", amount, {"a": 1}, None)
    process.add_reader(DELTA)
    for amount in (4, 5, 6):
        process.record("h", amount, {"a": 1}, None)
    assert taken == ([1, 4] if len(process.readers) == 2 else [1])


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE], ids=["delta", "cumulative"])
def test_nothing_is_lost_while_readers_collect(temporality):
    """Threads record, another one collects all the time: every measurement is in exactly one collection."""
    process = Process(temporalities=(temporality,))
    record = BoundHistogram(process.histogram).bind({"a": 1})
    count = BoundCounter(process.counter).bind({"a": 1})
    stop = threading.Event()
    seen = {"h": [], "c": []}

    def collect():
        (metrics,) = process.collect()
        for name, metric in metrics.items():
            (point,) = metric["data"]["data_points"]
            seen[name].append(point["count" if name == "h" else "value"])

    def collect_until_stopped():
        while not stop.is_set():
            collect()

    def work():
        for _ in range(2000):
            record(0.5, None)
            count(1, None)

    collector = threading.Thread(target=collect_until_stopped, daemon=True)
    workers = [threading.Thread(target=work) for _ in range(8)]
    collector.start()
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        stop.set()
    collector.join()
    collect()
    total = sum if temporality is DELTA else max
    assert {name: total(values) for name, values in seen.items()} == {"h": 16_000, "c": 16_000}


@pytest.mark.parametrize("name", ["h", "c"])
def test_a_meter_that_is_switched_off_takes_nothing(name):
    """Off before the first measurement, on, off again after many: only what came while it was on is there."""
    public, direct = Process(), Process(bind=True)
    for process in (public, direct):
        for on, amount in ((False, 1), (True, 2), (True, 4), (False, 8), (False, 16), (True, 32)):
            process.enable(on=on)
            process.record(name, amount, {"a": 1}, None)
    collected = direct.collect()
    assert collected == public.collect()
    (point,) = collected[0][name]["data"]["data_points"]
    assert point["sum" if name == "h" else "value"] == 38


def test_attributes_are_fixed_when_they_are_bound():
    """What happens to the caller's dictionary afterwards is its own affair."""
    process = Process()
    attributes = {"a": 1}
    record = BoundHistogram(process.histogram).bind(attributes)
    attributes["a"] = 2
    record(1.0, None)
    record(1.0, None)
    assert [(point["attributes"], point["count"]) for point in process.points("h")] == [({"a": 1}, 2)]


def test_amounts_that_the_sdk_refuses_are_refused_with_its_warning(caplog):
    """Negative ones are dropped, and the user is told by the SDK."""
    process = Process(bind=True)
    for amount in (1.0, -1.0, 2.0, -2.0):
        process.record("h", amount, {"a": 1}, None)
    assert [(point["count"], point["sum"]) for point in process.points("h")] == [(2, 3.0)]
    assert [record.name for record in caplog.records] == ["opentelemetry.sdk.metrics._internal.instrument"] * 2


def test_a_meter_without_sdk_is_called_by_its_public_method():
    """An API-only process, or one whose SDK is disabled: nothing happens, quickly."""
    meter = NoOpMeter("m")
    holders = (BoundHistogram(meter.create_histogram("h")), BoundCounter(meter.create_counter("c")))
    for holder in holders:
        holder.bind({"a": 1})(1.0, None)
    assert [holder.direct for holder in holders] == [False, False]


def test_another_implementation_of_the_api_is_called_by_its_public_method():
    """Also one that is derived from the SDK's: its own ``record`` may do more."""
    calls = []

    class Loud(instruments._Histogram):
        def record(self, amount, attributes=None, context=None):
            calls.append((amount, attributes, context))

    process = Process()
    loud = Loud("loud", process.meter._instrumentation_scope, process.meter._measurement_consumer)
    holder = BoundHistogram(loud)
    record = holder.bind({"a": 1})
    record(1.0, None)
    record(2.0, CONTEXTS[2])
    assert (holder.direct, calls) == (False, [(1.0, {"a": 1}, None), (2.0, {"a": 1}, CONTEXTS[2])])


def test_a_proxy_is_followed_once_its_provider_is_set():
    """Bound before the application configured anything: dropped until then, recorded from then on."""
    proxies = _ProxyMeterProvider()
    meter = proxies.get_meter("m")
    count = BoundCounter(meter.create_counter("c")).bind({"a": 1})
    record = BoundHistogram(meter.create_histogram("h")).bind({"a": 1})
    count(1, None)
    record(1.0, None)
    process = Process()
    proxies.on_set_meter_provider(process.provider)
    for _ in range(3):
        count(2, None)
        record(0.5, None)
    assert [(point["value"], point["attributes"]) for point in process.points("c")] == [(6, {"a": 1})]
    assert [(point["count"], point["sum"], point["attributes"]) for point in process.points("h")] == [
        (3, 1.5, {"a": 1})
    ]


@pytest.mark.parametrize("missing", ["_measurement_consumer", "_is_enabled"])
def test_an_instrument_without_a_private_name_is_called_by_its_public_method(missing):
    """A renamed attribute costs speed, nothing else."""

    class Partial:
        def __init__(self, real):
            self.real = real

        def __getattribute__(self, name):
            if name == "__class__":
                return type(object.__getattribute__(self, "real"))
            if name == missing:
                raise AttributeError(name)
            return getattr(object.__getattribute__(self, "real"), name)

    process = Process()
    holder = BoundHistogram(Partial(process.histogram))
    record = holder.bind({"a": 1})
    record(0.5, None)
    record(0.5, None)
    assert (holder.direct, [point["count"] for point in process.points("h")]) == (False, [2])


def test_an_unknown_release_of_the_sdk_is_called_by_its_public_method(monkeypatch):
    """Private names promise nothing from one patch to the next."""
    monkeypatch.setattr("opentelemetry.sdk.version.__version__", "1.99.0")
    process = Process()
    holder = BoundHistogram(process.histogram)
    holder.bind({"a": 1})(0.5, None)
    assert (holder.direct, [point["count"] for point in process.points("h")]) == (False, [1])


def test_a_view_that_keeps_its_aggregations_elsewhere_still_gets_measurements():
    """What cannot be found is reached the general way, and counted once as a failure of ours."""
    taken = []

    class Match:
        def consume_measurement(self, measurement, sampled):
            taken.append((measurement, sampled))

    sink = bound_instruments._sink(Match(), {"a": 1})
    sink("measurement", True)
    assert taken == [("measurement", True)]
    assert safety.errors() == {"report.bound_instruments": 1}
    safety.reset()


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


def test_measurements_are_what_aggregations_expect():
    """Ours has every field of the SDK's."""
    from opentelemetry.sdk.metrics._internal.measurement import Measurement

    ours = bound_instruments._Measurement(1.0, 2, "instrument", Context(), {"a": 1})
    theirs = Measurement(1.0, 2, "instrument", Context(), {"a": 1})
    fields = tuple(itertools.chain(theirs.__dataclass_fields__))
    assert {name: getattr(ours, name) for name in fields} == {name: getattr(theirs, name) for name in fields}
