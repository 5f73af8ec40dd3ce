"""Which way a span takes, below which parent, and the roots of work outside any span."""

import os

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import Event, SpanLimits, SpanProcessor, TracerProvider
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
from dbsight import scope, span
from dbsight.processor import DbsightSpanProcessor, WindowSampler
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
    pipelines.pipeline, pipelines.exporter = span.Pipeline(provider), InMemorySpanExporter()
    assert taken(pipelines) == "none"


# -- Contexts -------------------------------------------------------------------------------------------------------


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


def nowhere(pipelines):
    """Start and emit one operation with nothing around it; what was noted."""
    operation = make_operation(fresh())
    prepared = span.prepare(operation.statement, operation.database)
    started = pipelines.pipeline.start(prepared.name, prepared.attributes, operation.start_ns, Context())
    operation.context, operation.parent = started.context, started.parent
    span.emit(started, operation, None, prepared)
    return started


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


def test_a_drawn_root_asks_the_sampler_once_and_its_children_follow(pipelines):
    """Nothing is exported where it says no, the root included."""
    pipelines.make(sampler=ParentBased(ALWAYS_OFF))
    assert [nowhere(pipelines).context for _ in range(3)] == [None] * 3
    root = scope.root.get()
    assert (root.recording, root.context.trace_flags) == (False, 0)
    root.emit(NOW_NS, {}, ())
    assert pipelines.spans() == ()


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
    pipeline = span.Pipeline()
    assert not pipeline.live()
    operation = make_operation(fresh())
    prepared = span.prepare(operation.statement, operation.database)
    below = set_span_in_context(NonRecordingSpan(make_span_context()), Context())
    started = pipeline.start(prepared.name, prepared.attributes, NOW_NS, below)
    assert (started.tracer, started.span) == (None, None)
    span.emit(started, operation, None, prepared)
    current[0] = pipelines.provider
    assert pipeline.live()
    started = pipeline.start(prepared.name, prepared.attributes, NOW_NS, below)
    span.emit(started, operation, None, prepared)
    assert [made.name for made in pipelines.spans()] == ["SELECT customers"]


def test_our_sampler_around_the_providers_is_looked_through(pipelines):
    """What it wraps decides below a parent."""
    processor = DbsightSpanProcessor()
    pipelines.make(processor, sampler=WindowSampler(ParentBased(ALWAYS_ON), processor))
    pipelines.run(make_operation(fresh()))
    assert pipelines.pipeline._follows_parent
    assert taken(pipelines) == "fast"
    assert taken(pipelines, parent=NonRecordingSpan(make_span_context(sampled=False))) == "none"


# -- Later ----------------------------------------------------------------------------------------------------------


def batched(pipelines, **options):
    """A pipeline whose only processor is ours, around one that exports in batches; it has started one span."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False, **options)
    provider.add_span_processor(DbsightSpanProcessor(BatchSpanProcessor(exporter)))
    pipelines.made.append(provider)
    pipelines.provider = provider
    pipelines.pipeline = span.Pipeline(provider)
    with provider.get_tracer("application").start_as_current_span("GET /"):
        pipelines.pipeline.start("SELECT", {}, NOW_NS, get_current())
    return pipelines.pipeline


def later_below(pipeline, parent):
    """What the pipeline says of a span below this one."""
    return pipeline.parent_of_later(set_span_in_context(parent, Context()))


@pytest.mark.parametrize("flags", [TraceFlags.SAMPLED, TraceFlags.SAMPLED | 2, TraceFlags.DEFAULT])
def test_a_span_that_is_started_later_is_the_same(pipelines, flags):
    """Parent, flags, trace state, origin, and nothing below an unsampled parent; its id alone is another."""
    pipeline = batched(pipelines)
    context = SpanContext(5, 6, is_remote=False, trace_flags=TraceFlags(flags), trace_state=TraceState([("a", "b")]))
    current = set_span_in_context(NonRecordingSpan(context), Context())
    now = pipeline.start("SELECT", {}, NOW_NS, current)
    later = pipeline.start_later(pipeline.parent_of_later(current))
    contexts = pipeline.contexts(later)
    first, second = contexts(), contexts()
    assert (later.parent, later.origin, later.tracer, later.span, later.extra) == (
        *(now.parent, now.origin, now.tracer, now.span, now.extra),
    )
    if flags & TraceFlags.SAMPLED:
        assert len({each.span_id for each in (now.context, first, second)}) == 3
        assert (first[0], *first[2:]) == (second[0], *second[2:]) == (now.context[0], *now.context[2:])
    else:
        assert first is second is now.context is None


def test_later_is_for_children_of_local_spans_alone(pipelines):
    """Without a span, or below one of another process, a root has to be drawn first."""
    pipeline = batched(pipelines)
    assert pipeline.parent_of_later(Context()) is None
    remote = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    assert later_below(pipeline, NonRecordingSpan(remote)) is None
    local = make_span_context()
    assert later_below(pipeline, NonRecordingSpan(local)) == local


def test_later_is_never_where_somebody_would_miss_the_span(pipelines):
    """An exporter that is told of each span at once, a sampler that wants to be asked, a processor that is new."""
    parent = NonRecordingSpan(make_span_context())
    pipeline = batched(pipelines)
    assert later_below(pipeline, parent) is not None
    (ours,) = pipelines.provider._active_span_processor._span_processors
    ours.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    assert later_below(pipeline, parent) is None
    pipeline.start("SELECT", {}, NOW_NS, set_span_in_context(parent, Context()))
    assert later_below(pipeline, parent) is None

    pipeline = batched(pipelines, sampler=ByName(Decision.RECORD_AND_SAMPLE))
    assert later_below(pipeline, parent) is None

    pipeline = batched(pipelines)
    pipelines.provider.add_span_processor(Starts())
    assert later_below(pipeline, parent) is None

    pipelines.make()
    pipelines.run(make_operation(fresh()))
    assert later_below(pipelines.pipeline, parent) is None
