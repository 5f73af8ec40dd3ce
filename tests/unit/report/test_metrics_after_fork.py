"""Metrics in a forked child: nothing of the parent's, and no lock that nobody holds."""

import os

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter, PeriodicExportingMetricReader

from dbsight import semconv
from dbsight.report.metrics_after_fork import begin_anew
from forking import in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


class Kept(MetricExporter):
    """Keeps the values of the newest export."""

    values = None

    def export(self, metrics_data, timeout_millis=10_000, **_):
        """Each counter's value."""
        (resource,) = metrics_data.resource_metrics
        self.values = [point.value for metric in resource.scope_metrics[0].metrics for point in metric.data.data_points]

    def force_flush(self, timeout_millis=10_000):
        """Nothing waits."""
        return True

    def shutdown(self, timeout_millis=30_000, **_):
        """Nothing is open."""


def test_a_child_exports_its_own_counts_whatever_the_parent_was_doing():
    """The parent's reader was exporting and another collecting at the fork: their locks are nobody's in the child."""
    exporter = Kept()
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader, InMemoryMetricReader()], shutdown_on_exit=False)
    counter = provider.get_meter(semconv.SCOPE).create_counter("things")
    counter.add(5)
    consumer = provider._measurement_consumer

    def work():
        begin_anew(counter)
        counter.add(2)
        reader.force_flush()
        return exporter.values

    with reader._export_lock, consumer._lock, next(iter(consumer._reader_storages.values()))._lock:
        told = in_child(work)
    assert told == [2]
    reader.force_flush()
    assert exporter.values == [5]
    provider.shutdown()
