"""What is sent, held back, dropped and skipped."""

import math
import threading

import pytest
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace.export import (
    SpanExportResult,
)

from dbsight import safety
from exporting import HTTP, PATIENT, SentLogs, SentMetrics, SentSpans, spans


def test_spans_wait_in_order_for_a_collector_and_later_ones_follow(outlet, ports):
    """Nothing is tried while nobody listens; the look that finds a collector hands over what waited."""
    inner = SentSpans()
    exporter = outlet.spans(inner)

    first = [exporter.export(spans("a", "b")), exporter.export(spans("c"))]
    outlet.look()
    assert (first, inner.batches) == ([SpanExportResult.SUCCESS] * 2, [])

    ports.listening.add(HTTP)
    assert inner.batches == []
    assert outlet.look() is True
    assert inner.names == [["a", "b", "c"]]
    assert inner.suppressed == [True]

    exporter.export(spans("d"))
    assert inner.names == [["a", "b", "c"], ["d"]]


def test_waiting_spans_leave_in_batches_of_the_configured_size(outlets, ports):
    """The SDK's own variable bounds the batches; one that makes no sense is the SDK's to complain about."""
    for size, expected in (("2", [["a", "b"], ["c", "d"], ["e"]]), ("0", [list("abcde")]), ("many", [list("abcde")])):
        ports.listening.clear()
        outlet = outlets({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": size})
        inner = SentSpans()
        outlet.spans(inner).export(spans(*"abcde"))
        ports.listening.add(HTTP)
        outlet.look()
        assert inner.names == expected


def test_beyond_the_capacity_the_oldest_spans_are_dropped_and_counted(outlets, ports):
    """What happened last is what somebody who starts a collector wants to see."""
    outlet = outlets(capacity=3)
    inner = SentSpans()
    exporter = outlet.spans(inner)
    exporter.export(spans("a", "b"))
    exporter.export(spans("c", "d", "e"))

    ports.listening.add(HTTP)
    outlet.look()

    assert inner.names == [["c", "d", "e"]]
    assert safety.drops() == {"spans waiting for a collector": 2}


def test_with_a_collector_batches_pass_untouched_whatever_their_size(outlets, ports):
    """The open way costs no copy, and no capacity applies to it."""
    ports.listening.add(HTTP)
    outlet = outlets(capacity=1)
    inner = SentSpans()
    exporter = outlet.spans(inner)
    batch = spans("a", "b", "c")

    assert exporter.export(batch) is SpanExportResult.SUCCESS
    assert inner.batches[0] is batch
    assert safety.drops() == {}


def test_when_the_collector_goes_away_its_last_batch_waits_at_the_front(outlets, ports):
    """A failed batch is kept if nobody listens any more, before what came later."""
    outlet = outlets({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}, capacity=3)
    ports.listening.add(HTTP)
    inner = SentSpans(answer=lambda _: HTTP in ports.listening)
    exporter = outlet.spans(inner)
    exporter.export(spans("a"))

    ports.listening.clear()
    assert exporter.export(spans("b", "c")) is SpanExportResult.FAILURE
    exporter.export(spans("d", "e"))
    ports.listening.add(HTTP)
    outlet.look()

    assert inner.names == [["a"], ["b", "c"], ["c", "d"], ["e"]]
    assert safety.drops() == {"spans waiting for a collector": 1}


def test_what_a_collector_refuses_is_not_sent_again(outlets, ports):
    """Somebody listens, and says no: that is the SDK's business."""
    ports.listening.add(HTTP)
    outlet = outlets()
    inner = SentSpans(answer=lambda batch: batch[0].name != "bad")
    exporter = outlet.spans(inner)

    assert exporter.export(spans("bad")) is SpanExportResult.FAILURE
    assert exporter.export(spans("good")) is SpanExportResult.SUCCESS
    assert inner.names == [["bad"], ["good"]]


def test_an_exporter_that_raises_ends_its_turn(outlets, ports):
    """The SDK's processor catches what its exporter raises; the next batch must not wait for it for ever."""
    ports.listening.add(HTTP)
    inner = SentSpans(answer=lambda batch: batch[0].name != "bad" or 1 / 0)
    exporter = outlets().spans(inner)

    with pytest.raises(ZeroDivisionError):
        exporter.export(spans("bad"))
    assert exporter.export(spans("good")) is SpanExportResult.SUCCESS


def test_what_comes_while_another_thread_sends_is_taken_along_by_it(outlets, ports):
    """Exporters are promised one call at a time; the second thread does not wait for the first one's network."""
    ports.listening.add(HTTP)
    sending, go_on = threading.Event(), threading.Event()

    def answer(batch):
        if batch[0].name == "a":
            sending.set()
            assert go_on.wait(PATIENT)
        return True

    inner = SentSpans(answer)
    exporter = outlets().spans(inner)
    first = threading.Thread(target=exporter.export, args=(spans("a"),))
    first.start()
    assert sending.wait(PATIENT)

    assert exporter.export(spans("b")) is SpanExportResult.SUCCESS
    exporter.deliver()
    assert inner.names == [["a"]]

    go_on.set()
    first.join(PATIENT)
    assert inner.names == [["a"], ["b"]]


def test_many_threads_lose_and_double_no_span_when_the_way_opens(outlet, ports):
    """Exports, looks and the opening of the way in any order: every span is sent once, in each thread's order."""
    inner = SentSpans()
    exporter = outlet.spans(inner)
    start = threading.Barrier(5)

    def work(thread):
        start.wait(PATIENT)
        for number in range(100):
            exporter.export(spans(f"{thread}-{number}"))

    def look():
        start.wait(PATIENT)
        for number in range(100):
            if number == 50:
                ports.listening.add(HTTP)
            outlet.look()

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)] + [threading.Thread(target=look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT)
    exporter.deliver()

    sent = [name for batch in inner.names for name in batch]
    assert [[name for name in sent if name.startswith(f"{thread}-")] for thread in range(4)] == [
        [f"{thread}-{number}" for number in range(100)] for thread in range(4)
    ]


def test_metrics_and_logs_are_skipped_until_somebody_listens(outlet, ports):
    """Skipped is success, so that nobody retries or complains; nothing of it is kept."""
    metrics, logs = SentMetrics(), SentLogs()
    metric_exporter, log_exporter = outlet.metrics(metrics), outlet.logs(logs)

    skipped = [metric_exporter.export(MetricsData([]), timeout_millis=1), log_exporter.export(["record"])]
    assert skipped == [MetricExportResult.SUCCESS, LogRecordExportResult.SUCCESS]

    ports.listening.add(HTTP)
    outlet.look()
    assert (metrics.batches, logs.batches) == ([], [])
    metric_exporter.export(MetricsData([]), timeout_millis=1)
    log_exporter.export(["later"])
    assert (metrics.batches, logs.batches) == ([MetricsData([])], [["later"]])


def test_metrics_and_logs_are_skipped_again_when_the_collector_goes_away(outlet, ports):
    """One failure is enough to look; no second one is waited for."""
    ports.listening.add(HTTP)
    metrics, logs = SentMetrics(lambda _: False), SentLogs(lambda _: False)
    metric_exporter, log_exporter = outlet.metrics(metrics), outlet.logs(logs)
    ports.listening.clear()

    failed = [metric_exporter.export(MetricsData([])), log_exporter.export(["one"])]
    assert failed == [MetricExportResult.FAILURE, LogRecordExportResult.SUCCESS]
    assert (len(metrics.batches), logs.batches) == (1, [])


def test_a_metric_reader_finds_the_preferences_of_the_exporter_inside(outlet):
    """Temporality and aggregation are read from the exporter when the reader is made."""
    inner = SentMetrics(preferred_temporality={Counter: AggregationTemporality.DELTA})
    bare = PeriodicExportingMetricReader(inner, export_interval_millis=math.inf)
    wrapped = PeriodicExportingMetricReader(outlet.metrics(inner), export_interval_millis=math.inf)
    assert wrapped._instrument_class_temporality == bare._instrument_class_temporality
    assert wrapped._preferred_temporality == inner._preferred_temporality
    assert outlet.metrics(inner)._preferred_aggregation is inner._preferred_aggregation


def test_what_the_wrapper_does_not_know_it_asks_the_exporter_inside(outlet, ports):
    """Users and the SDK may look for attributes of the exporter that they configured."""
    inner = SentSpans()
    exporter = outlet.spans(inner)
    assert exporter.shutdowns == 0
    assert exporter.force_flush() is True
    with pytest.raises(AttributeError, match="no_such_thing"):
        exporter.no_such_thing  # noqa: B018 - asking is the test
    exporter.export(spans("a"))
    ports.listening.add(HTTP)
    outlet.look()
    exporter.force_flush()
    assert inner.names == [["a"]]
