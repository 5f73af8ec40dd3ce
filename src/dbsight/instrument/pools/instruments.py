"""The metrics of pools: those of a state are observed here, those of events are recorded in ``report/metrics.py``.

Observable instruments ask the pools at each collection: what is counted by events goes wrong after a fork, where
aggregated counters are inherited, and after everything that a pool does without telling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import ref

from opentelemetry.metrics import Observation as Measurement
from opentelemetry.metrics import get_meter_provider

from dbsight import semconv
from dbsight.instrument.pools import registry
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider

    from dbsight.model import PoolState

    Read = Callable[[PoolState], int | float | Mapping[str, int] | None]


class State(NamedTuple):
    """One metric of a pool's state.

    Attributes:
        name: Of the metric.
        unit: Of it.
        description: One sentence; of the semantic conventions where the metric is theirs.
        read: Gives its value, None for no measurement, or a value per ``dbsight.pool.reason``.
        state: ``db.client.connection.state``, empty where there is none.
        instrument: Name of the meter's method that creates it.
    """

    name: str
    unit: str
    description: str
    read: Read
    state: str = ""
    instrument: str = "create_observable_up_down_counter"


_COUNT_TEXT = "The number of connections that are currently in state described by the state attribute."

STATES: Final = (
    State(semconv.METRIC_CONNECTION_COUNT, "{connection}", _COUNT_TEXT, lambda state: state.idle, "idle"),
    State(semconv.METRIC_CONNECTION_COUNT, "{connection}", _COUNT_TEXT, lambda state: state.used, "used"),
    State(
        semconv.METRIC_CONNECTION_MAX,
        "{connection}",
        "The maximum number of open connections allowed.",
        lambda state: state.max,
    ),
    State(
        semconv.METRIC_CONNECTION_IDLE_MAX,
        "{connection}",
        "The maximum number of idle open connections allowed.",
        lambda state: state.idle_max,
    ),
    State(
        semconv.METRIC_CONNECTION_IDLE_MIN,
        "{connection}",
        "The minimum number of idle open connections allowed.",
        lambda state: state.idle_min,
    ),
    State(
        semconv.METRIC_CONNECTION_PENDING,
        "{request}",
        "The number of current pending requests for an open connection.",
        lambda state: state.pending,
    ),
    State(
        semconv.METRIC_POOL_USAGE,
        "1",
        "Connections in use, as a fraction of the maximum.",
        lambda state: state.usage,
        instrument="create_observable_gauge",
    ),
    State(
        semconv.METRIC_POOL_OVERFLOW,
        "{connection}",
        "Open connections beyond the pool's regular size.",
        lambda state: state.overflow,
    ),
    State(
        semconv.METRIC_POOL_CREATED,
        "{connection}",
        "Connections opened by this process, or inherited by fork.",
        lambda state: state.created,
        instrument="create_observable_counter",
    ),
    State(
        semconv.METRIC_POOL_CLOSED,
        "{connection}",
        "Connections closed, or garbage collected with their pool, by reason.",
        lambda state: state.closed_by,
        instrument="create_observable_counter",
    ),
    State(
        semconv.METRIC_POOL_IDLE_TIME,
        "s",
        "Time since the last checkout or check-in; 0 while a connection is checked out.",
        lambda state: state.idle_time,
        instrument="create_observable_gauge",
    ),
    State(
        semconv.METRIC_POOL_CLIENTS,
        "{client}",
        "Engines or clients that share the pools of one target.",
        lambda state: state.clients,
    ),
    State(
        semconv.METRIC_POOL_CLEANUP_FAILURES,
        "{failure}",
        "Failed cleanups of the idle connections of a shared pool.",
        lambda state: state.cleanup_failures if state.role else None,
        instrument="create_observable_counter",
    ),
    State(semconv.METRIC_POOLS, "{pool}", "Connection pools of one target.", lambda state: state.pools),
)
"""All metrics of a pool's state, in the order of the documentation."""


class _Observer:
    """The instruments of one meter provider, for the libraries that were instrumented with it."""

    def __init__(self, meter: Meter) -> None:
        self.libraries: dict[str, int] = {}
        self._by_name: dict[str, list[State]] = {}
        self._pools: list[PoolState] = []
        self._left: set[str] = set()
        for state in STATES:
            self._by_name.setdefault(state.name, []).append(state)
        for name, states in self._by_name.items():
            create = getattr(meter, states[0].instrument)
            create(name, [self._callback(states)], unit=states[0].unit, description=states[0].description)
        meter.create_observable_up_down_counter(
            semconv.METRIC_ENGINES, [self._engines], unit="{engine}", description="SQLAlchemy engines that are alive."
        )

    def _states(self, metric: str) -> list[PoolState]:
        """The pools as they are at this collection: they are asked once for all metrics.

        A metric that asks for the second time begins a new collection.
        """
        if metric not in self._left:
            self._pools, self._left = registry.snapshots(), set(self._by_name)
        self._left.discard(metric)
        return self._pools

    def _callback(self, states: list[State]) -> Callable[[CallbackOptions], Iterable[Measurement]]:
        def measure(_: CallbackOptions) -> Iterable[Measurement]:
            measurements = []
            for pool in self._states(states[0].name):
                if pool.library not in self.libraries:
                    continue
                for state in states:
                    value = state.read(pool)
                    attributes: dict[str, Any] = {semconv.POOL_NAME: pool.name}
                    if state.state:
                        attributes[semconv.CONNECTION_STATE] = state.state
                    if pool.role:
                        attributes[semconv.POOL_ROLE] = pool.role
                    if isinstance(value, (int, float)):
                        measurements.append(Measurement(value, attributes))
                    elif value is not None:
                        measurements += [
                            Measurement(number, {**attributes, semconv.POOL_REASON: reason})
                            for reason, number in value.items()
                        ]
            return measurements

        return measure

    def _engines(self, _: CallbackOptions) -> Iterable[Measurement]:
        return [Measurement(len(registry.engines()))] if "sqlalchemy" in self.libraries else []


# By identity: providers of other SDKs may be neither hashable nor comparable.
_observers: list[tuple[ref[Any], _Observer]] = []


def observe(library: str, provider: MeterProvider | None = None) -> None:
    """Report the states of a library's pools to a meter provider from now on.

    Args:
        library: As ``Pool.library``.
        provider: None takes the global one; its instruments start to work when it is set.
    """
    provider = provider or get_meter_provider()
    observer = next((observer for known, observer in _observers if known() is provider), None)
    if observer is None:
        meter = provider.get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
        observer = _Observer(meter)
        _observers[:] = [*(each for each in _observers if each[0]() is not None), (ref(provider), observer)]
    observer.libraries[library] = 1


def stop_observing(library: str) -> None:
    """Undo ``observe`` at every provider, and forget the library's pools."""
    for _, observer in tuple(_observers):
        observer.libraries.pop(library, None)
    registry.forget(library)
