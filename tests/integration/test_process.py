"""Memory and garbage collector of the process, as metrics, in the snapshot and by the guides' names."""

import gc
import os

import psutil
import pytest

import dbsight
from dbsight.config import Settings
from dbsight.instrument import process
from dbsight.model import MemorySample, Snapshot
from forking import in_child

MB = 1024 * 1024


def latest(telemetry, name):
    """The points of a metric by their generation, None without."""
    return {point.attributes.get("cpython.gc.generation"): point.value for point in telemetry.points(name)}


def test_memory_is_what_the_system_says(telemetry):
    """Resident and virtual, in bytes."""
    real = psutil.Process().memory_info()
    assert latest(telemetry, "process.memory.usage")[None] == pytest.approx(real.rss, rel=0.2)
    assert latest(telemetry, "process.memory.virtual")[None] == pytest.approx(real.vms, rel=0.2)


def test_the_garbage_collector_is_counted_by_generation(telemetry):
    """As ``gc.get_stats`` has it."""
    gc.collect()
    seen = latest(telemetry, "cpython.gc.collections")
    stats = [each["collections"] for each in gc.get_stats()]
    assert set(seen) == set(range(len(stats)))
    assert 0 < seen[len(stats) - 1] <= stats[-1]


def test_process_metrics_can_be_switched_off(make_telemetry):
    """``process_metrics=false`` leaves them out."""
    telemetry = make_telemetry(settings=Settings(process_metrics=False))
    assert telemetry.points("process.memory.usage") == []


def test_memory_by_the_name_of_the_guide():
    """MB of 1024 × 1024 bytes."""
    real = psutil.Process().memory_info()
    told = dbsight.get_process_memory()
    assert set(told) == {"rss", "vms"}
    assert told["rss"] == pytest.approx(real.rss / MB, rel=0.2)
    assert told["vms"] == pytest.approx(real.vms / MB, rel=0.2)


def test_the_history_has_a_point_a_minute(telemetry):
    """However often it is looked at."""
    for _ in range(3):
        telemetry.processor.analyzer.examine()
    points = telemetry.processor.analyzer.snapshot().memory
    assert 1 <= len(points) <= 2
    assert points[-1].rss > MB


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_speaks_of_itself():
    """After a fork the memory is the child's."""
    process.memory()

    def work():
        keep = bytearray(os.urandom(1)) * (60 * MB)
        return process.memory().rss, process._process.pid, os.getpid(), len(keep)

    rss, pid, child, _ = in_child(work)
    assert pid == child != os.getpid()
    assert rss > 60 * MB


def growth(*megabytes):
    """What the rule says of a point a minute."""
    from dbsight.detect.rules.memory_growth import MemoryGrowth

    points = [MemorySample(minute * 60_000_000_000, size * MB, size * MB) for minute, size in enumerate(megabytes)]
    return [found.title for found in MemoryGrowth(Settings()).examine(Snapshot(memory=points))]


def test_memory_that_only_grows_is_a_finding():
    """By more than a fifth and 50 MB, in a quarter of an hour; not a peak, a warm-up or a sawtooth."""
    assert growth(*(200 + 10 * minute for minute in range(20))) == ["The memory of the process keeps growing"]
    assert growth(*(200 + 10 * minute for minute in range(10))) == []
    assert growth(*(1000 + minute for minute in range(60))) == []
    assert growth(*[200] * 10, 900, *[210] * 10) == []
    assert growth(100, 200, 300, *[310] * 17) == []
    assert growth(*([200, 300] * 10)) == []
