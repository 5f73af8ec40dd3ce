"""From the measurements of many processes to what a variant adds, and its tables.

A round is one process of each variant. What a variant adds is the difference to the baseline *of the same round*, so
that a machine that slows down during the run does not favour anybody; the number shown is the median over the rounds,
with the smallest and the largest beside it.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

BASELINES = {"ddtrace": "ddtrace-none"}
"""What a variant is compared with, where that is not ``none``."""

TIMES = ("cpu", "caller", "wall")
SIZES = ("blocks", "held_bytes", "peak_bytes")


def baseline(variant: str) -> str:
    """The variant without database instrumentation that ``variant`` is compared with."""
    return BASELINES.get(variant, "none")


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _differences(rounds: list[dict[str, Any]], variant: str, key: str) -> list[float]:
    return [
        one[variant][key] - one[baseline(variant)][key]
        for one in rounds
        if key in one.get(variant, {}) and key in one.get(baseline(variant), {})
    ]


def added(rounds: list[dict[str, Any]], variant: str) -> dict[str, Any]:
    """What ``variant`` adds to its baseline.

    Args:
        rounds: Per round, the measurements by variant, each as ``workload.py`` returns them.
        variant: Which one.

    Returns:
        For ``cpu``, ``caller`` and ``wall`` (µs a query), ``collections`` (a thousand queries), ``metrics`` (ms an
        export) and, where they were measured, ``blocks``, ``held_bytes`` and ``peak_bytes`` (a query): median, min and
        max. ``spans``: exported a query, beyond those of the baseline.
    """
    result: dict[str, Any] = {}
    for key in (*TIMES, "collections", "metrics", *SIZES):
        if differences := _differences(rounds, variant, key):
            result[key] = _spread(differences)
    if spans := _differences(rounds, variant, "spans"):
        result["spans"] = statistics.median(spans)
    return result


def summarize(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything about one workload: absolute numbers of the baselines, additions and ratios of the others."""
    variants = list(dict.fromkeys(name for one in rounds for name in one))
    summary: dict[str, Any] = {}
    for variant in variants:
        if variant == baseline(variant) or variant in BASELINES.values():
            summary[variant] = {key: _spread([one[variant][key] for one in rounds]) for key in TIMES}
        else:
            summary[variant] = added(rounds, variant)
    for variant, numbers in summary.items():
        if variant in ("none", *BASELINES.values()):
            continue
        for other in ("stock", "stock-auto"):
            if other in summary:
                numbers[f"to_{other}"] = {key: numbers[key]["median"] / summary[other][key]["median"] for key in TIMES}
    return summary


def _number(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "-"
    return f"{spread['median']:.1f} [dim]{spread['min']:.0f}…{spread['max']:.0f}[/dim]"


def _ratio(numbers: dict[str, Any], other: str) -> str:
    return f"{numbers[f'to_{other}']['cpu']:.2f}" if f"to_{other}" in numbers else "-"


def workload_table(name: str, summary: dict[str, Any]) -> Table:
    """The table of one workload."""
    table = Table(title=f"{name}: added per query (grey: the whole of what it is added to)", title_justify="left")
    table.add_column("variant")
    for column in (
        "CPU µs",
        "caller µs",
        "wall µs",
        "÷ stock",
        "÷ stock-auto",
        "spans",
        "GC / 1000",
        "metrics ms",
    ):
        table.add_column(column, justify="right")
    for variant, numbers in summary.items():
        times = [_number(numbers.get(key)) for key in TIMES]
        if variant in ("none", *BASELINES.values()):
            table.add_row(f"[dim]{variant}[/dim]", *times, "", "", "", "", "")
            continue
        spans = f"{numbers['spans']:.2f}" if "spans" in numbers else "-"
        collections = f"{numbers['collections']['median']:.0f}"
        ratios = [_ratio(numbers, other) for other in ("stock", "stock-auto")]
        table.add_row(variant, *times, *ratios, spans, collections, f"{numbers['metrics']['median']:.1f}")
    return table


def size_table(summaries: dict[str, dict[str, Any]]) -> Table:
    """The table of memory, for the workloads where it was measured."""
    table = Table(title="memory, added per query", title_justify="left")
    table.add_column("workload")
    table.add_column("variant")
    for column in ("blocks held until export", "bytes held until export", "peak bytes through export"):
        table.add_column(column, justify="right")
    for name, summary in summaries.items():
        for variant, numbers in summary.items():
            if "blocks" in numbers:
                table.add_row(name, variant, *(f"{numbers[key]['median']:.1f}" for key in SIZES))
    return table


def start_table(start: dict[str, dict[str, float]]) -> Table:
    """The table of start-up: CPU from an empty interpreter to the end of the first query."""
    table = Table(title="start: CPU to the end of the first query", title_justify="left")
    table.add_column("variant")
    table.add_column("ms", justify="right")
    table.add_column("added ms", justify="right")
    for variant, numbers in start.items():
        extra = f"{numbers['added']:.0f}" if "added" in numbers else ""
        table.add_row(variant, f"{numbers['median']:.0f} [dim]{numbers['min']:.0f}…{numbers['max']:.0f}[/dim]", extra)
    return table


def summarize_start(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """CPU of starting, ms, by variant, and what it adds to its baseline.

    Args:
        rounds: Per round, seconds by variant.
    """
    result = {}
    for variant in dict.fromkeys(name for one in rounds for name in one):
        result[variant] = _spread([one[variant] * 1000 for one in rounds])
        if variant not in ("none", *BASELINES.values()):
            result[variant]["added"] = statistics.median(
                (one[variant] - one[baseline(variant)]) * 1000 for one in rounds
            )
    return result


def markdown(summaries: dict[str, dict[str, Any]], variants: Iterable[str]) -> str:
    """The ratios as the documentation shows them: CPU added, stock = 1.00, one line a workload."""
    shown = [name for name in variants if any(name in summary for summary in summaries.values())]
    lines = [
        f"| workload | stock, µs | {' | '.join(shown)} |",
        f"|---|--:|{'--:|' * len(shown)}",
    ]
    for name, summary in summaries.items():
        cells = [_ratio(summary[variant], "stock") if variant in summary else "-" for variant in shown]
        lines.append(f"| {name} | {summary['stock']['cpu']['median']:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)
