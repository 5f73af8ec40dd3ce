"""The page about metrics, made from the instruments of the code and from what the pools showed in the tests."""
# ruff: noqa: INP001 - a part of generate.py

import json
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter

from dbsight import semconv
from dbsight.instrument import pools, process, redis_server
from dbsight.report.metrics import Metrics

SHOWN = Path(__file__).parent / "pool_metrics.json"

INTRODUCTION = """\
# Metrics

<!-- Made by `python docs/generate.py` from the instruments of the code: edit there. -->

Names of OpenTelemetry's semantic conventions where they have one; names of our own begin with `dbsight.`. Attributes
that can grow without bound (summaries, databases, error classes, routes, pools, key prefixes) are capped: the rest is
counted as `other`.

The states of pools and of the process are asked for at each collection, with the meter provider that the instrumentor
was given; everything else is recorded by the span processor. After a fork a child starts from what it inherited:
`dbsight.pool.created` begins with the connections that were open, and nothing is ever negative.
"""

POOLS = """\
## Pools

`db.client.connection.pool.name` is where the connections lead, `host:port/namespace`, or the name of a SQLite file;
several pools of one target share it, and their numbers are added. A request that was served at once is in `wait_time`
with its few microseconds; the time to make a connection is `create_time` alone. Where psycopg_pool makes a connection
in its own thread, whoever waits for it waits.

Which pool shows what, as the contract test saw it on real servers; a dash where the pool has no such thing: no limit
that could be reached, or none who waits.
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
    redis_server.observe(provider)
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
