"""From the measurements of many processes to what a variant adds, and its tables.

A round is one process of each variant. What a variant adds is the difference to the baseline *of the same round*, so
that a machine that slows down during the run does not favour anybody; the number shown is the median over the rounds,
with the smallest and the largest beside it.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from variants import WITHOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

BASELINES = {"ddtrace": "ddtrace-none"}
"""What a variant is compared with, where that is not ``none``."""

Counts = dict[str, dict[str, dict[str, float]]]
"""``instructions``, ``read_misses`` and ``write_misses`` per query, by variant and workload."""

RECURRING = {"six": ("nplusone-six-memory", "core-six-memory"), "twenty": ("nplusone-memory", "core-memory")}
"""The workload with an N+1 and its counterpart without a finding, by the queries of a request."""

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
    """Everything about one workload: absolute numbers of the baselines, additions of the others."""
    variants = list(dict.fromkeys(name for one in rounds for name in one))
    summary: dict[str, Any] = {}
    for variant in variants:
        if variant == baseline(variant) or variant in BASELINES.values():
            summary[variant] = {key: _spread([one[variant][key] for one in rounds]) for key in TIMES}
        else:
            summary[variant] = added(rounds, variant)
    return summary


def summarize_start(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """CPU ms and MB of a start by variant, and what it adds to stock's.

    Args:
        rounds: Per round, ``cpu`` and ``memory`` by variant.
    """
    result: dict[str, dict[str, dict[str, float]]] = {}
    for variant in rounds[0] if rounds else ():
        result[variant] = {key: _spread([one[variant][key] for one in rounds]) for key in ("cpu", "memory")}
        for key in ("cpu", "memory"):
            if "stock" in rounds[0]:
                beyond = [one[variant][key] - one["stock"][key] for one in rounds]
                result[variant][key]["beyond_stock"] = statistics.median(beyond)
    return result


def _rows(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    headings, rows = list(headings), list(rows)
    if not rows:
        return []
    return [
        f"| {' | '.join(headings)} |",
        f"|---|{'--:|' * (len(headings) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _cell(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)


def _spread_cell(spread: dict[str, float] | None) -> str:
    return "-" if spread is None else f"{spread['median']:.1f} ({spread['min']:.1f}…{spread['max']:.1f})"


def _added(summary: dict[str, Any], variant: str, key: str) -> float | None:
    numbers = summary.get(variant, {}).get(key)
    return None if numbers is None else float(numbers["median"])


def _over(summary: dict[str, Any], variant: str, other: str, key: str) -> float | None:
    ours, theirs = _added(summary, variant, key), _added(summary, other, key)
    return None if ours is None or not theirs else ours / theirs


def counted_more(counts: Counts, variant: str, name: str, event: str = "instructions") -> float | None:
    """What a variant adds to one workload, per query; None where it was not counted."""
    try:
        return counts[variant][name][event] - counts[baseline(variant)][name][event]
    except KeyError:
        return None


def instructions_over_stock(counts: Counts, name: str) -> float | None:
    """Instructions that dbsight adds, over those that stock adds; None where they were not counted."""
    ours, theirs = counted_more(counts, "dbsight", name), counted_more(counts, "stock", name)
    return None if ours is None or not theirs else ours / theirs


def markdown(report: dict[str, Any]) -> str:
    """What was measured, as the documentation shows it."""
    about, counts = report["meta"], report["counts"]
    lines = [
        f"{about['date']}, {about['machine']}, Python {about['python']}; "
        + ", ".join(f"{package} {version}" for package, version in about["versions"].items())
        + f". Medians of {about['rounds']} interleaved rounds.",
        "",
    ]
    queries = {name: summary for name, summary in report["workloads"].items() if summary and name != "checkout"}
    headings = ("added per query", "stock CPU µs", "dbsight CPU µs", "÷ stock", "caller ÷ stock")
    lines += _rows(
        (*headings, "instructions ÷ stock", "÷ stock-auto", "÷ ddtrace", "÷ base"),
        (
            (
                name,
                _cell(_added(of, "stock", "cpu"), ".1f"),
                _spread_cell(of.get("dbsight", {}).get("cpu")),
                _cell(_over(of, "dbsight", "stock", "cpu")),
                _cell(_over(of, "dbsight", "stock", "caller")),
                _cell(instructions_over_stock(counts, name)),
                *(_cell(_over(of, "dbsight", other, "cpu")) for other in ("stock-auto", "ddtrace", "base")),
            )
            for name, of in queries.items()
        ),
    )
    if checkout := report["workloads"].get("checkout"):
        whole, watched = _added(checkout, "dbsight", "caller"), _added(checkout, "watched", "caller")
        records = None if whole is None or watched is None else whole - watched
        lines += [
            f"Checkout and return: {_cell(watched)} µs; records of metrics and totals: {_cell(records)} µs more.",
            "",
        ]
    if ratio := recurring(report["workloads"]):
        lines += [f"A request with an N+1 costs {ratio:.2f} times one with as many queries and no finding.", ""]
    lines += _counted(counts)
    lines += _rows(
        ("start", "CPU ms", "beyond stock", "resident MB", "beyond stock"),
        (
            (
                variant,
                *(
                    cell
                    for key, form in (("cpu", ".0f"), ("memory", ".1f"))
                    for cell in (f"{of[key]['median']:{form}}", f"{of[key].get('beyond_stock', 0):+{form}}")
                ),
            )
            for variant, of in report["start"].items()
        ),
    )
    lines += _rows(
        ("memory per query", "blocks held", "bytes held", "peak bytes"),
        (
            (f"{name}, {variant}", *(f"{numbers[key]['median']:.0f}" for key in SIZES))
            for name, summary in report["workloads"].items()
            for variant, numbers in summary.items()
            if "blocks" in numbers
        ),
    )
    lines += _ablation(report["workloads"], counts)
    return "\n".join(lines)


def recurring(summaries: dict[str, Any]) -> float | None:
    """CPU of a request with an N+1 over that of one without a finding, the program's own included."""
    totals = []
    for name in RECURRING["twenty"]:
        program = summaries.get(name, {}).get("none", {}).get("cpu")
        extra = _added(summaries.get(name, {}), "dbsight", "cpu")
        if program is None or extra is None:
            return None
        totals.append(program["median"] + extra)
    return totals[0] / totals[1]


def _counted(counts: Counts) -> list[str]:
    """What valgrind counted: instructions, misses, and the cost of a finding."""
    names = [name for name in counts.get("none", {}) if instructions_over_stock(counts, name) is not None]
    lines = _rows(
        ("instructions added per query, in thousands", "stock", "dbsight", "÷ stock"),
        (
            (
                name,
                *(_cell((counted_more(counts, variant, name) or 0) / 1000, ".0f") for variant in ("stock", "dbsight")),
                _cell(instructions_over_stock(counts, name)),
            )
            for name in names
        ),
    )
    events = ("read_misses", "write_misses")
    lines += _rows(
        ("misses of the second-level cache added per query", "stock: reads", "writes", "dbsight: reads", "writes"),
        (
            (
                name,
                *(
                    _cell(counted_more(counts, variant, name, event), ".0f")
                    for variant in ("stock", "dbsight")
                    for event in events
                ),
            )
            for name in names
            if counted_more(counts, "dbsight", name, events[0]) is not None
        ),
    )
    for number, (with_one, without) in RECURRING.items():
        ours = counts.get("dbsight", {})
        if with_one in ours and without in ours:
            ratio = ours[with_one]["instructions"] / ours[without]["instructions"]
            lines += [f"A known N+1 of {number} queries: {ratio:.2f} × the instructions of a request without one.", ""]
    return lines


def _ablation(summaries: dict[str, Any], counts: Counts) -> list[str]:
    """What each part costs: dbsight whole less dbsight without it."""
    rows = []
    for name, of in summaries.items():
        for variant in of:
            if not variant.startswith(WITHOUT):
                continue
            part, whole = variant.removeprefix(WITHOUT), _added(of, "dbsight", "cpu")
            less = _added(of, variant, "cpu")
            cpu = None if whole is None or less is None else whole - less
            fewer = None
            if name in counts.get(variant, {}) and name in counts.get("dbsight", {}):
                fewer = counts["dbsight"][name]["instructions"] - counts[variant][name]["instructions"]
            rows.append((f"{name}: {part}", _cell(fewer, ",.0f"), _cell(cpu, ".1f")))
    return _rows(("what a part costs per query", "instructions", "CPU µs"), rows) if rows else []
