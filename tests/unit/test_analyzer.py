"""The engine: which window an operation belongs to, when a window is over, and what becomes of its findings."""

import threading
from dataclasses import replace

import pytest

from builders import NOW_NS, TRACE_ID, make_operation, make_span_context
from dbsight import scope
from dbsight.detect import runner
from dbsight.model import Finding
from engine import SECOND, Engine, Roots, draw_root, run_loop


@pytest.fixture
def engine():
    """An engine with the settings of a new process."""
    return Engine()


# -- Which window ---------------------------------------------------------------------------------------------------


def test_an_operation_without_a_parent_is_counted_and_belongs_nowhere(engine):
    """Totals, and no window."""
    assert engine.observe(make_operation()) is None
    assert (engine.snapshot().calls, engine.windows.all()) == (1, [])


def test_an_operation_belongs_to_the_one_window_of_its_trace(engine):
    """Whatever its parent is, in whatever thread it runs."""
    window = engine.windows.open("GET /", make_span_context(1), NOW_NS)
    engine.observe(make_operation(parent=make_span_context(77)))
    thread = threading.Thread(target=engine.observe, args=[make_operation(parent=make_span_context(78))])
    thread.start()
    thread.join()
    assert (window.calls, engine.windows.all()) == (2, [window])


def test_in_a_trace_with_several_windows_the_parent_tells(engine):
    """A server that was started inside a span: each request is a window, and so is the span."""
    outer = engine.windows.open("main", make_span_context(1), NOW_NS)
    first = engine.windows.open("GET /a", make_span_context(2), NOW_NS, request=True)
    second = engine.windows.open("GET /b", make_span_context(3), NOW_NS, request=True)
    engine.windows.adopt(21, make_span_context(2))
    engine.windows.adopt(22, make_span_context(21))
    for parent, times in ((1, 1), (2, 2), (3, 4), (21, 8), (22, 16)):
        for _ in range(times):
            engine.observe(make_operation(parent=make_span_context(parent)))
    assert [window.calls for window in (outer, first, second)] == [1, 2 + 8 + 16, 4]


def told_one_by_one(engine, operations):
    """As most are."""
    return [engine.observe(operation) for operation in operations]


def told_together(engine, operations):
    """As those that were left with their window."""
    return list(engine.observe_all(operations)) or [None] * len(operations)


@pytest.mark.parametrize("tell", [told_one_by_one, told_together])
@pytest.mark.parametrize("windows", [1, 2])
def test_operations_are_judged_alike_one_by_one_and_together(engine, tell, windows):
    """Totals, window, verdicts of the slow ones; in a trace with several windows each finds its own."""
    engine.observe(make_operation())  # the engine is at work
    opened = [engine.windows.open(f"GET /{at}", make_span_context(at), NOW_NS, request=True) for at in (1, 2)[:windows]]
    operations = [
        make_operation(parent=make_span_context(1 + number % windows), duration=2.0 if number == 7 else 0.001)
        for number in range(20)
    ]
    verdicts = tell(engine, operations)
    assert [verdict and verdict.query_class for verdict in verdicts] == [*[None] * 7, "slow", *[None] * 12]
    assert tell(engine, [make_operation(parent=make_span_context(1)) for _ in range(3)]) == [None] * 3
    assert [window.calls for window in opened] == ([23] if windows == 1 else [13, 10])
    assert engine.snapshot().calls == 24


def test_what_is_told_together_empties_a_window_that_is_full(engine):
    """Its size is bounded however operations come."""
    window = engine.windows.open("GET /", make_span_context(1), NOW_NS)
    engine.observe(make_operation(parent=make_span_context(1)))
    most = engine.settings.max_operations_per_window
    engine.observe_all([make_operation(parent=make_span_context(1)) for _ in range(most)])
    assert (window.calls, window.operations) == (most + 1, [])


def test_where_the_parent_is_unknown_the_context_tells_if_its_trace_agrees(engine):
    """A span of another SDK between; a window of another trace is left alone."""
    first = engine.windows.open("GET /a", make_span_context(1), NOW_NS)
    second = engine.windows.open("GET /b", make_span_context(2), NOW_NS)
    elsewhere = engine.windows.open("GET /c", make_span_context(3, trace_id=7), NOW_NS)
    unknown = make_span_context(99)
    for current in (second, elsewhere, None):
        scope.window.set(current)
        engine.observe(make_operation(parent=unknown))
    assert [window.calls for window in (first, second, elsewhere)] == [2, 1, 0]


def test_a_span_that_ended_is_forgotten(engine):
    """What was noted of the children of several windows goes with them."""
    for number in (1, 2):
        engine.windows.open(f"GET /{number}", make_span_context(number), NOW_NS)
    engine.windows.adopt(11, make_span_context(1))
    assert engine.windows.of_root(11) is None
    assert engine.windows.of_root(12) is None
    roots = [engine.windows.of_root(number) for number in (1, 2)]
    for window in roots:
        engine.close(window, NOW_NS, window.name)
    assert (engine.windows._by_span, engine.windows.all(), len(engine.windows)) == ({}, [], 0)


def test_operations_of_another_pipeline_are_left_to_its_own_engine(engine):
    """As soon as it is known which pipelines are ours; an operation that does not say is taken."""
    ours, theirs = object(), object()
    engine.observe(make_operation(origin=theirs))
    engine.add_origin(ours)
    for origin in (ours, theirs, None):
        engine.observe(make_operation(origin=origin))
    assert engine.snapshot().calls == 3


# -- When it is over ------------------------------------------------------------------------------------------------


def test_a_window_is_judged_once(engine):
    """By whoever closes it first; the summary says what is known of it."""
    window = engine.windows.open("GET", make_span_context(1), NOW_NS, request=True)
    run_loop(engine, make_span_context(1), duration=0.002)
    summary = engine.close(window, NOW_NS + SECOND // 10, "GET /orders")
    assert (summary.name, summary.route, summary.trace_id, summary.span_id) == ("GET", "GET /orders", TRACE_ID, 1)
    assert (summary.start_ns, summary.duration, summary.calls, summary.request) == (NOW_NS, 0.1, 5, True)
    assert summary.db_time == pytest.approx(0.01)
    assert [(found.rule, found.count, found.route) for found in summary.findings] == [("n_plus_one", 5, "GET /orders")]
    assert engine.close(window, NOW_NS + SECOND, "GET /orders") is None
    assert engine.snapshot().windows == 1


def test_a_window_that_is_discarded_is_not_judged(engine):
    """A foreign database span is no unit of work."""
    window = engine.windows.open("SELECT", make_span_context(1), NOW_NS)
    run_loop(engine, make_span_context(1))
    engine.windows.discard(window)
    assert engine.close(window, NOW_NS, "SELECT") is None
    assert (engine.windows.all(), engine.snapshot().windows) == ([], 0)


def test_a_window_without_a_visible_root_is_over_after_ten_seconds_of_silence(engine):
    """An unsampled trace of an older tracer: its finding becomes a log event with the trace that it belongs to."""
    parent = make_span_context(42, sampled=False)
    run_loop(engine, parent)
    (window,) = engine.windows.all()
    engine.now = window.last_ns + 9 * SECOND
    assert engine.sweep()
    run_loop(engine, parent, 1, at=9)
    engine.now = window.last_ns + 10 * SECOND
    assert engine.sweep()
    assert engine.logged() == []
    engine.now = window.last_ns + 11 * SECOND
    engine.sweep()
    assert engine.windows.all() == []
    assert engine.logged() == [("n_plus_one", 6, TRACE_ID, 42)]


def test_work_outside_spans_is_over_after_a_second_of_silence(engine, pipelines):
    """Its root is emitted with what was found, and closed: the next operation draws another one."""
    roots = Roots()
    root = draw_root(engine, pipelines, roots)
    run_loop(engine, root.context, 20, duration=0.01)
    (window,) = engine.windows.all()
    engine.now = window.last_ns + SECOND
    engine.sweep()
    assert (roots.spans, root.closed) == ([], False)
    engine.now = window.last_ns + SECOND + 1
    engine.sweep()
    (made,) = roots.spans
    assert (made.name, made.context, made.start_time) == ("dbsight.window", root.context, NOW_NS)
    assert made.end_time == window.last_ns
    assert [event.attributes["dbsight.finding.count"] for event in made.events] == [20]
    assert made.attributes["dbsight.db.calls"] == 20
    assert root.closed
    assert engine.logged() == []  # a span carries it


def test_work_outside_spans_that_never_pauses_is_over_at_its_age():
    """A busy worker gets a root a minute."""
    engine = Engine(max_window_age=60.0)
    parent = make_span_context(42, sampled=False)
    for second in range(62):
        run_loop(engine, parent, 1, at=second)
    engine.at(61.5)
    engine.sweep()
    assert engine.windows.all() == []


def test_the_sweeper_and_the_end_of_the_process_examine_totals(engine, monkeypatch):
    """Rules about totals have no window that ends."""
    examined = []
    monkeypatch.setattr(engine, "examine", lambda: examined.append(engine.now))
    engine.at(11)
    engine.sweep()
    engine.finish()
    assert len(examined) == 2


def test_finishing_closes_everything(engine, pipelines):
    """At exit and before a report: live roots, roots that were drawn, and those that nobody sees."""
    roots = Roots()
    root = draw_root(engine, pipelines, roots)
    engine.windows.open("GET /", make_span_context(1, trace_id=5), NOW_NS)
    run_loop(engine, make_span_context(1, trace_id=5))
    run_loop(engine, root.context)
    run_loop(engine, make_span_context(9, trace_id=6, sampled=False))
    engine.finish()
    assert (engine.windows.all(), len(roots.spans), engine.snapshot().windows) == ([], 1, 3)
    assert engine.logged() == [("n_plus_one", 5, 6, 9)]


@pytest.mark.parametrize(
    ("findings", "sampled", "logged"),
    [("span", True, 0), ("log", True, 1), ("both", True, 1), ("span", False, 1), ("log", False, 1), ("both", False, 1)],
)
def test_what_no_span_carries_is_a_log_event_and_never_twice(findings, sampled, logged):
    """As asked for, and always where the root is not exported."""
    engine = Engine(findings=findings)
    window = engine.windows.open("GET /", make_span_context(1, sampled=sampled), NOW_NS)
    run_loop(engine, make_span_context(1, sampled=sampled))
    engine.close(window, NOW_NS + SECOND, "GET /")
    assert engine.logged() == [("n_plus_one", 5, TRACE_ID, 1)] * logged


# -- Merging --------------------------------------------------------------------------------------------------------


def finding(**fields):
    """One about a query."""
    return replace(Finding("slow_query", "sq-1", "warning", "query", "title", "said"), **fields)


def test_findings_of_one_id_add_up_and_the_one_with_the_largest_impact_speaks():
    """Counts and impacts; description and severity are the speaker's."""
    merged = {}
    for count, impact, said in ((1, 0.1, "a"), (2, 0.5, "b"), (4, 0.3, "c")):
        runner.merge(merged, finding(count=count, impact=impact, description=said))
    assert merged == {"sq-1": finding(count=7, impact=pytest.approx(0.9), description="b")}


def test_a_finding_on_a_querys_own_span_does_not_change_any_more():
    """It is counted in a copy: a batch processor exports it later."""
    engine = Engine(slow_query_threshold=0.001)
    window = engine.windows.open("GET /", make_span_context(1), NOW_NS)
    verdicts = [
        engine.observe(make_operation(parent=make_span_context(1), duration=duration))
        for duration in (0.01, 0.03, 0.02)
    ]
    summary = engine.close(window, NOW_NS + SECOND, "GET /")
    told = [verdict.findings[0] for verdict in verdicts]
    assert [(found.count, found.current_value) for found in told] == [(1, 0.01), (1, 0.03), (1, 0.02)]
    assert [(found.count, found.current_value) for found in summary.findings] == [(3, 0.03)]
