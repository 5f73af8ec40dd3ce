"""Whether anything leaves the process, who looks, and how the process ends."""

import os
import threading
import time

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace.export import (
    SpanExportResult,
)

from dbsight.export import Outlet
from dbsight.export.sdk_hooks import BoundedLogProcessor, BoundedSpanProcessor
from exporting import GRPC, HTTP, PATIENT, SentLogs, SentMetrics, SentSpans, spans, watchers
from forking import in_child


def test_exporting_says_whether_telemetry_leaves_the_process(outlets, ports):
    """No exporter, nobody listening, somebody listening, a failure, a success."""
    outlet = outlets()
    said = [outlet.exporting]
    inner = SentSpans()
    exporter = outlet.spans(inner)
    said.append(outlet.exporting)
    ports.listening.add(HTTP)
    outlet.look()
    said.append(outlet.exporting)
    inner.answer = lambda _: False
    exporter.export(spans("a"))
    said.append(outlet.exporting)
    inner.answer = lambda _: True
    exporter.export(spans("a"))
    said.append(outlet.exporting)
    assert said == [False, False, True, False, True]


def test_an_idle_application_is_heard_when_a_collector_starts(outlets, ports):
    """One daemon looks at intervals, without any further export, and ends when somebody listens."""
    outlet = outlets(interval=0.005)
    arrived = threading.Event()
    exporter = outlet.spans(SentSpans(lambda _: arrived.set() or True))
    assert watchers() == []
    exporter.export(spans("a"))
    exporter.export(spans("b"))
    (watcher,) = watchers()
    assert watcher.daemon

    ports.listening.add(HTTP)
    assert arrived.wait(PATIENT)
    watcher.join(PATIENT)
    assert not watcher.is_alive()


def test_a_new_watcher_looks_when_the_collector_goes_away_again(outlets, ports):
    """The thread ends with the first collector, and another one waits for the second."""
    outlet = outlets(interval=0.005)
    ports.listening.add(HTTP)
    arrived = threading.Event()
    inner = SentSpans(lambda _: HTTP in ports.listening and (arrived.set() or True))
    exporter = outlet.spans(inner)
    for _ in range(2):
        ports.listening.clear()
        exporter.export(spans("a"))
        (watcher,) = watchers()
        arrived.clear()
        ports.listening.add(HTTP)
        assert arrived.wait(PATIENT)
        watcher.join(PATIENT)
        assert not watcher.is_alive()
    assert inner.names == [["a"]] * 4


def test_a_watcher_ends_with_its_exporters(outlets, ports):
    """A provider that was shut down leaves no thread behind."""
    exporter = outlets(interval=0.005).spans(SentSpans())
    exporter.export(spans("a"))
    (watcher,) = watchers()
    exporter.shutdown()
    watcher.join(PATIENT)
    assert not watcher.is_alive()


def test_where_no_thread_can_start_spans_wait_all_the_same(outlet, ports, monkeypatch):
    """Python starts none while it ends, nor when the system has no more."""

    def start(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    inner = SentSpans()
    exporter = outlet.spans(inner)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        exporter.export(spans("a"))
    ports.listening.add(HTTP)
    outlet.look()
    assert inner.names == [["a"]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_anew_and_the_parent_keeps_its_spans(outlet, ports):
    """What waited is the parent's to send; the child has a watcher of its own, and no lock that nobody holds."""
    inner = SentSpans()
    exporter = outlet.spans(inner)
    exporter.export(spans("parent"))
    (watcher,) = watchers()

    def work():
        exporter.export(spans("child"))
        own = watchers()
        ports.listening.add(HTTP)
        outlet.look()
        return inner.names, len(own), own == [watcher]

    with exporter._turn, outlet._lock:
        told = in_child(work)
    assert told == ([["child"]], 1, False)

    ports.listening.add(HTTP)
    outlet.look()
    assert inner.names == [["parent"]]


def test_the_end_gives_up_what_waits_without_trying(outlet, ports):
    """Nobody listens: nothing is sent, the exporter inside is shut down, and no thread is started for it."""
    inner = SentSpans()
    exporter = outlet.spans(inner)
    exporter.export(spans("a"))
    outlet.closing()
    exporter.export(spans("b"))
    exporter.shutdown(timeout_millis=1000)
    assert (inner.batches, inner.shutdowns, outlet.exporting) == ([], 1, False)
    assert exporter.export(spans("c")) is SpanExportResult.FAILURE


def test_the_end_looks_once_more_in_both_directions(outlets, ports):
    """A collector that has just come gets what waited; one that has gone is not tried."""
    ports.listening.update({GRPC, HTTP})
    outlet = outlets()
    going, coming = SentMetrics(), SentSpans()
    going_exporter = outlet.metrics(going)
    ports.listening.clear()
    came = threading.Event()
    coming.answer = lambda _: came.set() or True
    other = outlets()
    coming_exporter = other.spans(coming)
    coming_exporter.export(spans("a"))

    outlet.closing()
    going_exporter.export(MetricsData([]))
    ports.listening.add(HTTP)
    other.closing()
    assert came.wait(PATIENT)
    coming_exporter.shutdown()
    assert (going.batches, coming.names) == ([], [["a"]])


def test_a_provider_shut_down_by_the_application_looks_once_more(outlet, ports):
    """A script that ends its provider itself, long before the end of the process."""
    inner = SentSpans()
    exporter = outlet.spans(inner)
    exporter.export(spans("a"))
    ports.listening.add(HTTP)
    exporter.shutdown()
    assert (inner.names, inner.shutdowns) == ([["a"]], 1)


def test_shutdowns_are_brief_only_at_the_end_of_the_process(outlet):
    """Before it, the SDK's own patience holds."""
    before = outlet.patience(outlet.SPANS)
    outlet.closing()
    assert (before, outlet.patience(outlet.SPANS)) == (30.0, 1.5)


class Hasty(Outlet):
    """An outlet with little patience, but enough for the SDK's thread to wake up."""

    SPANS = 0.3
    OTHERS = 0.3


@pytest.fixture
def stuck():
    """An answer that does not come before the test ends."""
    release = threading.Event()
    yield lambda _: release.wait(PATIENT)
    release.set()


@pytest.mark.parametrize(
    ("make", "kind", "wrap"),
    [(SentSpans, BoundedSpanProcessor, Outlet.spans), (SentLogs, BoundedLogProcessor, Outlet.logs)],
)
def test_a_processor_leaves_an_export_that_hangs_at_the_end(outlets, stuck, make, kind, wrap):
    """The export goes on in the SDK's own thread, a daemon; the exporter inside is told to stop."""
    outlet = outlets({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"}, kind=Hasty)
    inner = make(stuck)
    processor = kind(wrap(outlet, inner), outlet)
    processor._batch_processor.emit(spans("a")[0])
    outlet.closing()
    begun = time.monotonic()
    processor.shutdown()
    assert time.monotonic() - begun < PATIENT / 2
    assert (len(inner.batches), inner.shutdowns) == (1, 1)


def test_a_metric_reader_leaves_an_export_that_hangs_at_the_end(outlets, stuck):
    """The same for the last collection of a reader, through the meter provider's own shutdown."""
    outlet = outlets({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"}, kind=Hasty)
    inner = SentMetrics(stuck)
    provider = MeterProvider([PeriodicExportingMetricReader(inner)], shutdown_on_exit=False)
    outlet.fit(provider)
    provider.get_meter("test").create_counter("things").add(1)
    outlet.closing()
    begun = time.monotonic()
    provider.shutdown()
    assert time.monotonic() - begun < PATIENT / 2
    assert (len(inner.batches), inner.shutdowns) == (1, 1)
