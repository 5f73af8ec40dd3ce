"""The engine over time: what is bounded, what is switched off, its thread, and what a fork leaves."""

import os
import threading

import pytest
from opentelemetry.sdk.trace import SpanProcessor

from builders import NOW_NS, TRACE_ID, make_operation, make_span_context
from dbsight import config, recording, safety, scope
from dbsight.analyzer import Analyzer
from dbsight.config import Settings
from dbsight.recording import sweeper, windows
from engine import SECOND, Engine, draw_root, run_loop
from forking import in_child


@pytest.fixture
def engine():
    """An engine with the settings of a new process."""
    return Engine()


# -- Bounds ---------------------------------------------------------------------------------------------------------


def test_a_window_that_reaches_its_size_is_judged_and_goes_on():
    """Its findings wait for the end: one finding, counts and impacts added."""

    def impact_of(count):
        alone = Engine()
        run_loop(alone, make_span_context(1), count, duration=0.01)
        (summary,) = [alone.close(window, NOW_NS + SECOND, "GET /") for window in alone.windows.all()]
        return summary.findings[0].impact

    engine = Engine(max_operations_per_window=10)
    window = engine.windows.open("GET /", make_span_context(1), NOW_NS)
    run_loop(engine, make_span_context(1), 35, duration=0.01)
    assert (len(window.operations), [found.count for found in window.findings.values()]) == (5, [30])
    summary = engine.close(window, NOW_NS + SECOND, "GET /")
    (found,) = summary.findings
    assert (found.count, summary.calls) == (35, 35)
    assert found.impact == pytest.approx(3 * impact_of(10) + impact_of(5))


@pytest.mark.parametrize("noticed_by", ["the next operation", "the sweep"])
def test_a_window_that_reaches_its_age_is_judged_and_goes_on(noticed_by):
    """A request that never ends, with and without further queries."""
    engine = Engine(max_window_age=60.0)
    window = engine.windows.open("GET /stream", make_span_context(1), NOW_NS)
    run_loop(engine, make_span_context(1), duration=0.01)
    engine.at(61)
    if noticed_by == "the sweep":
        engine.sweep()
    else:
        run_loop(engine, make_span_context(1), 1, at=61, text="SELECT 2 FROM t")
    assert (window.operations, window.closed, [each.count for each in window.findings.values()]) == ([], False, [5])


def test_the_number_of_windows_is_bounded():
    """The oldest is judged early, and that it was is counted."""
    engine = Engine(max_windows=3)
    windows = [engine.windows.open(f"GET /{n}", make_span_context(n, trace_id=n), NOW_NS) for n in range(1, 6)]
    assert [window.closed for window in windows] == [True, True, False, False, False]
    assert safety.drops() == {"windows": 2}


def test_the_number_of_windows_of_one_trace_is_bounded():
    """Requests below one span that never end."""
    engine = Engine(max_windows=3)
    windows = [engine.windows.open(f"GET /{n}", make_span_context(n), NOW_NS, request=True) for n in range(1, 6)]
    assert [window.closed for window in windows] == [True, True, False, False, False]
    assert (len(engine.windows), len(engine.windows._by_span), safety.drops()) == (3, 3, {"windows": 2})


def test_the_number_of_children_of_several_windows_is_bounded(engine, monkeypatch):
    """Spans that never end."""
    monkeypatch.setattr(windows, "_MAX_SPANS", 10)
    for number in (1, 2):
        engine.windows.open(f"GET /{number}", make_span_context(number), NOW_NS)
    for number in range(100, 120):
        engine.windows.adopt(number, make_span_context(2))
    assert (len(engine.windows._by_span), safety.drops()) == (10, {"spans of several windows": 12})


def test_the_number_of_findings_of_a_window_is_bounded():
    """Slow queries, each of another text."""
    engine = Engine(slow_query_threshold=0.001)
    window = engine.windows.open("GET /", make_span_context(1), NOW_NS)
    for number in range(130):
        engine.observe(make_operation(f"SELECT a{number} FROM t", parent=make_span_context(1), duration=0.01))
    assert len(engine.close(window, NOW_NS + SECOND, "GET /").findings) == 100
    assert safety.drops() == {"findings of a window": 30}


# -- Failures -------------------------------------------------------------------------------------------------------


@pytest.mark.swallows_errors
@pytest.mark.parametrize("hook", ["visit", "complete"])
def test_a_rule_that_raises_is_switched_off_and_the_others_go_on(engine, hook, caplog):
    """Reported once, for the life of the process; no word of its message."""

    class Broken(type(engine.judge.completers[0])):
        name = "broken"

    def fail(*_):
        raise RuntimeError("MARKER")

    setattr(Broken, hook, fail)
    rule = Broken(engine.settings)
    engine.judge.visitors.insert(0, rule)
    engine.judge.completers.insert(0, rule)
    for trace in (1, 2):
        window = engine.windows.open("GET /", make_span_context(1, trace_id=trace), NOW_NS)
        run_loop(engine, make_span_context(1, trace_id=trace))
        engine.observe(make_operation("SELECT slow FROM t", parent=make_span_context(1, trace_id=trace), duration=9.0))
        summary = engine.close(window, NOW_NS + SECOND, "GET /")
        assert "n_plus_one" in {found.rule for found in summary.findings}
    assert safety.errors() == {"rule broken (disabled for this process)": 1}
    assert "MARKER" not in caplog.text


def test_settings_can_be_changed_while_windows_are_open(engine):
    """What is judged from then on is judged by them."""
    window = engine.windows.open("GET /", make_span_context(1), NOW_NS)
    run_loop(engine, make_span_context(1))
    engine.use(Settings(rules=("-n_plus_one",)))
    assert engine.close(window, NOW_NS + SECOND, "GET /").findings == ()


# -- Life -----------------------------------------------------------------------------------------------------------


def test_the_engine_listens_as_long_as_one_processor_uses_it(engine):
    """Two processors share it; after the last it finishes and is not used again."""
    engine.subscribe()
    engine.subscribe()
    recording.publish(make_operation(parent=make_span_context(42, sampled=False)))
    engine.unsubscribe()
    recording.publish(make_operation())
    assert (engine.retired, engine.snapshot().calls) == (False, 2)
    engine.unsubscribe()
    recording.publish(make_operation())
    assert (engine.retired, engine.snapshot().calls, engine.windows.all()) == (True, 2, [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_begins_anew(engine):
    """The parent's windows, totals and thread are the parent's."""

    def work():
        left = (engine.windows.all(), engine.windows._by_span, len(engine.windows), scope.window.get())
        window = engine.windows.open("GET /", make_span_context(2), NOW_NS)
        run_loop(engine, make_span_context(2), 3)
        engine.close(window, NOW_NS, "GET /")
        snapshot = engine.snapshot()
        return left, snapshot.calls, snapshot.windows

    engine.subscribe()
    try:
        scope.window.set(engine.windows.open("GET /", make_span_context(1), NOW_NS))
        run_loop(engine, make_span_context(1))
        with engine.windows._lock:  # as another thread may hold it
            told = in_child(work)
        assert told == (([], {}, 0, None), 3, 1)
        assert (engine.snapshot().calls, len(engine.windows.all())) == (5, 1)
    finally:
        engine.unsubscribe()


def test_many_threads_open_fill_and_close_windows_of_one_trace(engine):
    """Every operation is in exactly one window, and nothing is left."""
    threads = 16
    summaries = []

    def work(number):
        for turn in range(20):
            root = make_span_context(1 + number * 100 + turn)
            window = engine.windows.open(f"GET /{number}", root, NOW_NS, request=True)
            scope.window.set(window)
            run_loop(engine, root, 7)
            summaries.append(engine.close(window, NOW_NS + SECOND, f"GET /{number}"))

    workers = [threading.Thread(target=work, args=[number]) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [summary.calls for summary in summaries] == [7] * threads * 20
    assert (engine.snapshot().calls, engine.stats.snapshot().windows) == (7 * 320, 320)
    assert (engine.windows.all(), engine.windows._by_span, len(engine.windows)) == ([], {}, 0)


class Sweeping(Engine):
    """With its thread."""

    _start_sweeper = Analyzer._start_sweeper


def test_the_thread_starts_with_the_first_window_that_needs_it_and_ends_with_the_last(monkeypatch):
    """No thread for requests; a daemon, so that it holds no process up."""
    monkeypatch.setattr(sweeper, "EVERY", 0.001)
    engine = Sweeping(rules=("n_plus_one",))
    engine.windows.open("GET /", make_span_context(1, trace_id=5), NOW_NS)
    run_loop(engine, make_span_context(1, trace_id=5))
    assert engine.sweeper.thread is None
    run_loop(engine, make_span_context(42, sampled=False))
    thread = engine.sweeper.thread
    assert (thread.daemon, thread.is_alive()) == (True, True)
    engine.at(100)
    thread.join(10)
    assert (thread.is_alive(), engine.sweeper.thread, len(engine.windows.all())) == (False, None, 1)
    assert engine.logged() == [("n_plus_one", 5, TRACE_ID, 42)]
    run_loop(engine, make_span_context(43, trace_id=9, sampled=False))
    assert engine.sweeper.thread is not thread
    engine.at(200)
    engine.sweeper.thread.join(10)


def test_the_thread_ends_when_the_last_processor_is_shut_down(monkeypatch):
    """A process that sets up one provider after the other keeps one thread; a new processor starts it again."""
    monkeypatch.setattr(sweeper, "EVERY", 0.001)
    engine = Sweeping()
    for _ in range(2):
        engine.subscribe()
        run_loop(engine, make_span_context(42, sampled=False))
        thread = engine.sweeper.thread
        assert thread.is_alive()
        engine.unsubscribe()
        thread.join(10)
        assert (thread.is_alive(), engine.sweeper.thread) == (False, None)


def test_an_exporter_that_hangs_while_a_window_closes_holds_no_request_up(monkeypatch, pipelines):
    """The root of work outside spans may be written to the network: no lock is held meanwhile."""
    monkeypatch.setattr(sweeper, "EVERY", 0.001)
    writing, answered = threading.Event(), threading.Event()

    class Hanging(SpanProcessor):
        def on_end(self, span):
            writing.set()
            answered.wait(30)

    engine = Sweeping(rules=("n_plus_one",))
    root = draw_root(engine, pipelines, Hanging())
    run_loop(engine, root.context)
    thread = engine.sweeper.thread
    engine.at(100)
    assert writing.wait(10)
    requests = threading.Thread(target=lambda: engine.windows.open("GET /", make_span_context(1, trace_id=5), NOW_NS))
    requests.start()
    requests.join(5)
    held_up = requests.is_alive()
    answered.set()
    requests.join()
    thread.join(10)
    assert not held_up


def test_the_engine_takes_the_settings_of_the_process_where_it_is_given_none():
    """By hand: what ``configure()`` put in force."""
    chosen = Settings(n_plus_one_threshold=17, process_metrics=False)
    config.use(chosen)
    assert Analyzer().settings is chosen
