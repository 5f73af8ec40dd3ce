"""Which way a span takes, below which parent, and the roots of work outside any span."""

import json
import os

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from builders import NOW_NS, make_operation, make_span_context, make_statement
from dbsight import recording, scope, span
from dbsight.processor import DbsightSpanProcessor
from dbsight.span.window_sampler import WindowSampler
from pipelines import Pipelines, Starts

TEXT = "SELECT name FROM customers WHERE id = ?"


def fresh(text=TEXT):
    """A statement that nothing was prepared for."""
    return make_statement(text, kind="select")


# -- Which path -----------------------------------------------------------------------------------------------------


class ByName(Sampler):
    """Drops database spans, or keeps them off the wire, or marks them."""

    def __init__(self, decision, **attributes):
        self.decision = decision
        self.attributes = attributes

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        """As told at the beginning."""
        state = TraceState([("vendor", "kept")])
        return SamplingResult(self.decision, {**(attributes or {}), **self.attributes}, state)

    def get_description(self):
        """For humans."""
        return "ByName"


def taken(pipelines, **noted):
    """Whether the fast path is taken, the ordinary one, or none."""
    started, _ = pipelines.run(make_operation(fresh()), **noted)
    return "fast" if started.tracer is not None else "ordinary" if started.span is not None else "none"


@pytest.mark.parametrize(
    ("processors", "options", "path"),
    [
        ([], {}, "fast"),
        ([SimpleSpanProcessor(InMemorySpanExporter())], {}, "fast"),
        ([Starts()], {}, "ordinary"),
        ([], {"span_limits": SpanLimits(max_span_attribute_length=5)}, "ordinary"),
        ([], {"span_limits": SpanLimits(max_span_attributes=8)}, "ordinary"),
        ([], {"span_limits": SpanLimits(max_events=1)}, "fast"),
        ([], {"sampler": ALWAYS_OFF}, "none"),
        ([], {"sampler": ByName(Decision.DROP)}, "none"),
        ([], {"sampler": ByName(Decision.RECORD_ONLY)}, "fast"),
        ([], {"sampler": TraceIdRatioBased(0.0)}, "none"),
        ([], {"sampler": ParentBased(ALWAYS_OFF)}, "fast"),
    ],
)
def test_the_ordinary_path_is_taken_where_somebody_would_miss_something(pipelines, processors, options, path):
    """A processor that sees starts, limits on attributes; a sampler is heard whatever the parent."""
    pipelines.make(*processors, **options)
    assert taken(pipelines) == path


def test_a_batch_processor_misses_nothing(pipelines):
    """It does nothing when a span starts."""
    batch = BatchSpanProcessor(InMemorySpanExporter())
    pipelines.make(batch)
    assert taken(pipelines) == "fast"


def test_processors_that_come_and_go_are_noticed(pipelines):
    """Beside ours and inside it; the decision is made anew, not once."""
    ours = DbsightSpanProcessor(SimpleSpanProcessor(InMemorySpanExporter()))
    pipelines.make(ours)
    assert taken(pipelines) == "fast"
    ours.add_span_processor(Starts())
    assert taken(pipelines) == "ordinary"
    pipelines.make()
    assert taken(pipelines) == "fast"
    pipelines.provider.add_span_processor(Starts())
    assert taken(pipelines) == "ordinary"


def test_limits_are_those_of_the_provider(pipelines):
    """The span is cut as any other: by length and by number."""
    pipelines.make(span_limits=SpanLimits(max_span_attribute_length=10, max_span_attributes=5))
    _, (made,) = pipelines.run(make_operation(fresh(), rows=3))
    assert len(made.attributes) == 5
    assert made.dropped_attributes > 0
    assert all(len(value) <= 10 for value in made.attributes.values() if isinstance(value, str))


def test_the_sdk_that_is_disabled_gets_nothing(monkeypatch):
    """``OTEL_SDK_DISABLED``: the tracer is no SDK's, and nothing is recorded."""
    monkeypatch.setitem(os.environ, "OTEL_SDK_DISABLED", "true")
    provider = TracerProvider(shutdown_on_exit=False)
    pipelines = Pipelines()
    pipelines.factory, pipelines.exporter = span.SpanFactory(provider), InMemorySpanExporter()
    assert taken(pipelines) == "none"


# -- Contexts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("about", [{}, {"error_type": "ValueError", "pool_wait": 0.5}], ids=["ordinary", "failed"])
def test_a_span_is_what_the_constructor_of_the_sdk_makes(pipelines, monkeypatch, about):
    """For an ordinary one, what all of a tracer share stands on their class; of an unknown SDK nothing does."""
    told = []
    for known in (True, False):
        monkeypatch.setattr(span.emission, "_IS_KNOWN", known)
        pipelines.make()
        _, (made,) = pipelines.run(make_operation(fresh(), **about))
        own = {"span_id": "", "trace_id": ""}
        told.append({**json.loads(made.to_json()), "context": own, "parent_id": ""})
        assert (type(made) is ReadableSpan) is not (known and not about)
        assert isinstance(made, ReadableSpan)
    assert told[0] == told[1]


def test_a_query_is_a_child_of_the_span_that_it_runs_in(pipelines):
    """Trace, flags and trace state are handed down; its id is its own."""
    state = TraceState([("vendor", "value")])
    parent = SpanContext(1 << 100, 42, is_remote=False, trace_flags=TraceFlags(1), trace_state=state)
    started, (made,) = pipelines.run(make_operation(fresh()), parent=NonRecordingSpan(parent))
    assert (made.context.trace_id, made.context.trace_flags, made.context.trace_state) == (1 << 100, 1, state)
    assert (made.parent, made.context.is_remote) == (parent, False)
    assert made.context.span_id not in (0, 42)
    assert started.origin is pipelines.provider._active_span_processor


@pytest.mark.skipif(not hasattr(TraceFlags, "RANDOM_TRACE_ID"), reason="this API knows of no such flag")
def test_the_flag_of_random_trace_ids_is_handed_down(pipelines):
    """Trace context level 2."""
    parent = SpanContext(1 << 100, 42, is_remote=False, trace_flags=TraceFlags(3))
    _, (made,) = pipelines.run(make_operation(fresh()), parent=NonRecordingSpan(parent))
    assert made.context.trace_flags == 3


def test_a_span_that_is_only_recorded_does_not_carry_the_sampled_flag(pipelines):
    """RECORD_ONLY: processors see it, exporters leave it."""
    seen = []

    class Ends(SpanProcessor):
        def on_end(self, span):
            seen.append(span)

    pipelines.make(Ends(), sampler=ByName(Decision.RECORD_ONLY))
    _, exported = pipelines.run(make_operation(fresh()))
    assert exported == ()
    assert [made.context.trace_flags for made in seen] == [0]


def test_what_a_sampler_adds_is_kept(pipelines):
    """Attributes and trace state."""
    pipelines.make(sampler=ByName(Decision.RECORD_AND_SAMPLE, mark=1))
    _, (made,) = pipelines.run(make_operation(fresh()))
    assert made.attributes["mark"] == 1
    assert made.context.trace_state == TraceState([("vendor", "kept")])


@pytest.mark.parametrize(
    ("sampler", "asked"),
    [
        (ParentBased(ALWAYS_ON), 0),
        (ParentBased(TraceIdRatioBased(0.5)), 0),
        (ParentBased(ALWAYS_ON, local_parent_sampled=TraceIdRatioBased(1.0)), 1),
        (ALWAYS_ON, 1),
    ],
)
def test_a_sampler_is_asked_unless_its_answer_is_known(pipelines, sampler, asked, monkeypatch):
    """Parent based as by default: below a local parent it decides as for the parent."""
    calls = []
    original = type(sampler).should_sample
    pipelines.make(sampler=sampler)

    def counting(self, *arguments, **named):
        calls.append(arguments)
        return original(self, *arguments, **named)

    pipelines.run(make_operation(fresh()))  # decides whether it is to be asked, by the class as it is
    monkeypatch.setattr(type(sampler), "should_sample", counting)
    for sampled in (True, False):
        parent = NonRecordingSpan(make_span_context(sampled=sampled))
        pipelines.run(make_operation(fresh()), parent=parent)
    assert len(calls) == 2 * asked


def test_below_an_unsampled_parent_nothing_is_made(pipelines):
    """No span; the operation keeps its parent, so that its window is found."""
    parent = make_span_context(sampled=False)
    started, exported = pipelines.run(make_operation(fresh()), parent=NonRecordingSpan(parent))
    assert (started.context, started.parent, exported) == (None, parent, ())


# -- Work outside any span ------------------------------------------------------------------------------------------


@pytest.fixture
def consumed():
    """Somebody ends what is outside any span."""
    consumer = recording.Consumer()
    recording.subscribe(consumer)
    yield
    recording.unsubscribe(consumer)


def nowhere(pipelines):
    """Run one operation with nothing around it; what was decided about its span."""
    operation = make_operation(fresh())
    return pipelines.end(pipelines.begin(operation, Context()), operation)


@pytest.mark.usefixtures("consumed")
def test_the_first_operation_outside_spans_draws_a_root_for_all(pipelines):
    """Trace and parent are the same until the root is closed; then another one is drawn."""
    first, second = nowhere(pipelines), nowhere(pipelines)
    root = scope.root.get()
    assert first.parent == second.parent == root.context
    assert [made.parent for made in pipelines.spans()] == [root.context] * 2
    root.closed = True
    third = nowhere(pipelines)
    assert third.parent != first.parent
    assert third.parent.trace_id != first.parent.trace_id


@pytest.mark.usefixtures("consumed")
def test_a_drawn_root_is_emitted_with_what_was_found(pipelines):
    """INTERNAL, ours, with the remote parent that it was called from."""
    remote = make_span_context(remote=True)
    pipelines.run(make_operation(fresh()), parent=NonRecordingSpan(remote))
    root = scope.root.get()
    pipelines.spans()
    root.emit(NOW_NS + 5, {"dbsight.db.calls": 1}, (Event("dbsight.finding", {"a": 1}, NOW_NS + 5),))
    (made,) = pipelines.spans()
    assert (made.name, made.kind, made.context, made.parent) == (
        "dbsight.window",
        SpanKind.INTERNAL,
        root.context,
        remote,
    )
    assert (made.start_time, made.end_time, made.attributes) == (NOW_NS, NOW_NS + 5, {"dbsight.db.calls": 1})
    assert [(event.name, event.attributes) for event in made.events] == [("dbsight.finding", {"a": 1})]
    assert made.context.trace_id == remote.trace_id
    assert made.instrumentation_scope.name == "dbsight"


@pytest.mark.usefixtures("consumed")
def test_a_drawn_root_asks_the_sampler_once_and_its_children_follow(pipelines):
    """Nothing is exported where it says no, the root included."""
    pipelines.make(sampler=ParentBased(ALWAYS_OFF))
    assert [nowhere(pipelines).context for _ in range(3)] == [None] * 3
    root = scope.root.get()
    assert (root.recording, root.context.trace_flags) == (False, 0)
    root.emit(NOW_NS, {}, ())
    assert pipelines.spans() == ()


@pytest.mark.usefixtures("consumed")
def test_a_root_belongs_to_its_pipeline(pipelines):
    """Two SDKs in one thread draw two roots."""
    first = nowhere(pipelines)
    pipelines.make()
    assert nowhere(pipelines).parent.trace_id != first.parent.trace_id


# -- Providers ------------------------------------------------------------------------------------------------------


def test_a_provider_that_is_set_later_is_found(pipelines, monkeypatch):
    """A proxy's tracer stays a proxy: the tracer is fetched again when the global provider changed."""
    current = [trace.ProxyTracerProvider()]
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: current[0])
    pipelines.factory = span.SpanFactory()
    assert not pipelines.factory.live()
    below = set_span_in_context(NonRecordingSpan(make_span_context()), Context())

    operation = make_operation(fresh())
    assert pipelines.begin(operation, below) is None
    current[0] = pipelines.provider
    assert pipelines.factory.live()
    pipelines.end(pipelines.begin(operation, below), operation)
    assert [made.name for made in pipelines.spans()] == ["SELECT customers"]


def test_the_environment_names_a_provider_once(pipelines, monkeypatch):
    """While there is no provider, the environment is not read for each query; one that is set is seen."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.delenv("OTEL_PYTHON_TRACER_PROVIDER", raising=False)
    factory = span.SpanFactory()
    assert not factory.live()
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "unknown")  # to load it would raise
    assert not factory.live()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", pipelines.provider)
    assert factory.live()


def test_our_sampler_around_the_providers_is_looked_through(pipelines):
    """What it wraps decides below a parent."""
    processor = DbsightSpanProcessor()
    pipelines.make(processor, sampler=WindowSampler(ParentBased(ALWAYS_ON), processor.remember_unsampled))
    pipelines.run(make_operation(fresh()))
    assert pipelines.factory._follows_parent
    assert taken(pipelines) == "fast"
    assert taken(pipelines, parent=NonRecordingSpan(make_span_context(sampled=False))) == "none"


# -- Queues ---------------------------------------------------------------------------------------------------------


def batched(pipelines, **options):
    """A factory on a provider whose only processor is ours, around one that exports in batches; its tracer."""
    provider = TracerProvider(shutdown_on_exit=False, **options)
    provider.add_span_processor(DbsightSpanProcessor(BatchSpanProcessor(InMemorySpanExporter())))
    pipelines.made.append(provider)
    pipelines.provider = provider
    pipelines.factory = span.SpanFactory(provider)
    return provider.get_tracer("application")


def queue_of(pipelines, current=None):
    """What takes a query that begins in a context, by default in the current one."""
    return pipelines.begin(make_operation(fresh()), get_current() if current is None else current).queue


def test_a_query_below_a_local_root_is_left_with_its_window(pipelines):
    """Whatever the sampler: it is asked in the drain."""
    for options in ({}, {"sampler": ALWAYS_ON}, {"sampler": ByName(Decision.RECORD_AND_SAMPLE)}):
        with batched(pipelines, **options).start_as_current_span("GET /"):
            assert queue_of(pipelines) is scope.window.get()


def test_a_query_outside_spans_is_left_with_the_window_of_its_synthetic_root(pipelines):
    """Also where the work was called from another process."""
    batched(pipelines)
    assert queue_of(pipelines, Context()) is scope.root.get().window
    remote = NonRecordingSpan(make_span_context(remote=True))
    assert queue_of(pipelines, set_span_in_context(remote, Context())) is scope.root.get().window


def test_a_query_below_a_span_whose_window_is_not_known_waits_too(pipelines):
    """In the queue of no window."""
    batched(pipelines)
    below = set_span_in_context(NonRecordingSpan(make_span_context()), Context())
    assert queue_of(pipelines, below) is recording.loose


def test_nothing_waits_where_somebody_would_miss_the_span(pipelines):
    """An exporter that gets each span at once, a processor that is new, a provider without our processor."""
    with batched(pipelines).start_as_current_span("GET /"):
        assert queue_of(pipelines) is not None
        (ours,) = pipelines.provider._active_span_processor._span_processors
        ours.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
        scope.window.get().drain()
        with trace.use_span(NonRecordingSpan(make_span_context())):
            assert queue_of(pipelines) is None
    with batched(pipelines).start_as_current_span("GET /"):
        pipelines.provider.add_span_processor(Starts())
        assert queue_of(pipelines) is None
    pipelines.make()
    assert queue_of(pipelines, set_span_in_context(NonRecordingSpan(make_span_context()), Context())) is None
