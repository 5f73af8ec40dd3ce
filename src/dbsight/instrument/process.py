"""The process: memory under the semantic conventions' names, the garbage collector, and a short history of both."""

from __future__ import annotations

import gc
import os
import threading
from collections import deque
from time import time_ns
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from opentelemetry.metrics import Observation as Measurement
from opentelemetry.metrics import get_meter_provider

from dbsight import semconv
from dbsight.model import MemorySample
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import CallbackOptions, MeterProvider

_EVERY_NS: Final = 60 * 1_000_000_000
_POINTS: Final = 60  # an hour

METRICS: Final = (
    (semconv.METRIC_PROCESS_MEMORY, "By", "The amount of physical memory in use."),
    (semconv.METRIC_PROCESS_VIRTUAL, "By", "The amount of committed virtual memory."),
    (semconv.METRIC_GC_COLLECTIONS, "{collection}", "The number of times a generation was collected."),
    (semconv.METRIC_GC_COLLECTED, "{object}", "The number of objects that were collected."),
    (semconv.METRIC_GC_UNCOLLECTABLE, "{object}", "The number of objects that could not be collected."),
)
"""Name, unit and description; of the semantic conventions."""

_lock = threading.Lock()
_history: deque[MemorySample] = deque(maxlen=_POINTS)
_process: Any = None
# By identity: providers of other SDKs may be neither hashable nor comparable.
_observed: list[ref[Any]] = []


def memory() -> MemorySample:
    """Resident and virtual memory now, in bytes."""
    global _process  # noqa: PLW0603 - importing psutil takes longer than a program should wait for at its start
    if _process is None:
        import psutil

        _process = psutil.Process()
    used = _process.memory_info()
    return MemorySample(time_ns(), used.rss, used.vms)


def remember() -> None:
    """Add a point to the history, at most one a minute."""
    with _lock:
        if not _history or time_ns() - _history[-1].at_ns >= _EVERY_NS:
            _history.append(memory())


def history() -> list[MemorySample]:
    """The latest points, oldest first: one a minute, at most an hour."""
    with _lock:
        return list(_history)


def observe(provider: MeterProvider | None = None) -> None:
    """Report memory and garbage collector to a meter provider from now on; once for each provider.

    Args:
        provider: None takes the global one; its instruments start to work when it is set.
    """
    provider = provider or get_meter_provider()
    with _lock:
        if any(known() is provider for known in _observed):
            return
        _observed[:] = [*(known for known in _observed if known() is not None), ref(provider)]
    meter = provider.get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)

    def resident(_: CallbackOptions) -> Iterable[Measurement]:
        return [Measurement(memory().rss)]

    def virtual(_: CallbackOptions) -> Iterable[Measurement]:
        return [Measurement(memory().vms)]

    def collector(key: str) -> Any:
        def measure(_: CallbackOptions) -> Iterable[Measurement]:
            return [
                Measurement(stats[key], {semconv.GC_GENERATION: generation})
                for generation, stats in enumerate(gc.get_stats())
            ]

        return measure

    callbacks = (resident, virtual, collector("collections"), collector("collected"), collector("uncollectable"))
    for (name, unit, description), callback in zip(METRICS, callbacks, strict=True):
        create = (
            meter.create_observable_up_down_counter if name.startswith("process.") else meter.create_observable_counter
        )
        create(name, [callback], unit=unit, description=description)


def clear() -> None:
    """Forget what this process was: a fork made another one, or a test begins."""
    global _lock, _process  # noqa: PLW0603 - one that another thread held, and another process
    _lock = threading.Lock()
    _process = None
    _history.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=clear)
