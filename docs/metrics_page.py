"""The page about metrics, made from the instruments of the code and from what the pools showed in the tests."""
# ruff: noqa: INP001 - a part of generate.py

import json
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter

from dbsight import health, semconv
from dbsight.bench.benchmark import duration_histogram
from dbsight.instrument import cache_states, pools, process, redis_server
from dbsight.profiler import PerformanceMonitor
from dbsight.report.alert_log import AlertLog
from dbsight.report.metrics import Metrics

SHOWN = Path(__file__).parent / "pool_metrics.json"

INTRODUCTION = """\
# Metrics

<!-- Made by `python docs/generate.py` from the instruments of the code: edit there. -->

Metrics use the names of OpenTelemetry's semantic conventions where these define one; other names begin with
`dbsight.`, `redis.`, `process.` or `cpython.`. The number of values of high-cardinality attributes (summaries,
databases, error classes, routes, pools, key prefixes) is limited: further values are counted as `other`.

The states of pools and of the process are observed at each collection, with the meter provider of the instrumentor.
All other metrics are recorded by the span processor. After a fork, the child process counts from its own state:
`dbsight.pool.created` starts with the number of inherited open connections, and no value is negative.
"""

POOLS = """\
## Pools

`db.client.connection.pool.name` is the target of the connections: `host:port/namespace`, or the name of a SQLite file.
Several pools of one target share the name, and their values are added. `wait_time` includes checkouts without a wait,
which take a few microseconds. The time to open a connection is in `create_time` only; where psycopg_pool opens it in a
background thread, the requester's wait is in `wait_time`.

The table shows which pool library reports which metric, as recorded by the contract test on real servers. A dash means
that the pool has no such property, for example no limit or no waiting requests.
"""


class Instrument(NamedTuple):
    """One instrument, as it is created.

    Attributes:
        kind: ``counter``, ``histogram``, ``observable gauge`` …
        name: Of the metric.
        unit: Of it.
        description: One sentence.
    """

    kind: str
    name: str
    unit: str
    description: str


class _Meter(NoOpMeter):
    def __init__(self, created: list[Instrument]) -> None:
        super().__init__("dbsight")
        self._created = created

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("create_"):
            return found
        kind = name.removeprefix("create_").replace("_", " ").replace("up down", "up-down")
        created = self._created

        def create(metric: str, *arguments: Any, **named: Any) -> Any:
            created.append(Instrument(kind, metric, named.get("unit", ""), named.get("description", "")))
            return found(metric, *arguments, **named)

        return create


class _Provider(MeterProvider):
    def __init__(self) -> None:
        self.created: list[Instrument] = []

    def get_meter(self, *_: Any, **__: Any) -> Meter:
        return _Meter(self.created)


def instruments() -> list[Instrument]:
    """Every instrument of dbsight, in the order of the page: semantic conventions first, then by name."""
    provider = _Provider()
    Metrics(provider)
    pools.observe("docs", provider)
    pools.stop_observing("docs")
    process.observe(provider)
    cache_states.observe(provider)
    redis_server.observe(provider)
    health.observe(provider)
    AlertLog(meter_provider=provider)
    PerformanceMonitor(provider)
    duration_histogram(provider)
    return sorted(set(provider.created), key=lambda each: (each.name.startswith("dbsight."), each.name))


def metrics() -> str:
    """The whole page."""
    lines = [INTRODUCTION, "| metric | kind | unit | attributes | meaning |", "|---|---|---|---|---|"]
    for each in instruments():
        attributes = ", ".join(f"`{name}`" for name in semconv.METRIC_ATTRIBUTES[each.name]) or "–"
        lines.append(f"| `{each.name}` | {each.kind} | `{each.unit}` | {attributes} | {each.description} |")
    return "\n".join([*lines, "", POOLS, *_shown()]) + "\n"


def _shown() -> list[str]:
    shown: dict[str, list[str]] = json.loads(SHOWN.read_text(encoding="utf-8"))
    names = [name for name in semconv.METRIC_ATTRIBUTES if name.startswith("db.client.connection.")]
    heads = [name.removeprefix("db.client.connection.") for name in names]
    lines = [f"| | {' | '.join(f'`{head}`' for head in heads)} |", f"|---|{'---|' * len(heads)}"]
    for pool, seen in shown.items():
        lines.append(f"| {pool} | {' | '.join('✔' if name in seen else '–' for name in names)} |")
    return lines
