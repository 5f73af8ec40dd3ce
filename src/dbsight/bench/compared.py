"""Two saved runs or benchmarks: what became faster or slower, beyond noise, and which findings came and went."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from dbsight.model import SEVERITIES
from dbsight.report import json as saved_run
from dbsight.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from dbsight.bench.benchmark import BenchmarkResult
    from dbsight.model import MergedFinding, Snapshot

    Durations = Sequence[tuple[float, int]]

SCHEMA: Final = 1
"""Of a file of benchmark results."""

_RESAMPLES: Final = 400
_DRAWS: Final = 200
"""Of one resample; the interval is scaled to the number of executions: an m-out-of-n bootstrap, after Bickel, Götze,
van Zwet: "Resampling fewer than n observations", Statistica Sinica 7, 1997."""

_INTERVAL: Final = 0.95

Verdict = Literal["faster", "slower", "no difference", "new", "gone"]


@dataclass(frozen=True, slots=True)
class Change:
    """One query, function or route in both runs.

    Attributes:
        name: Its summary or name.
        id: Fingerprint and database system, or the name.
        verdict: ``no difference`` where the change is smaller than the threshold, or may be noise.
        base_count: Executions, 0 in ``new``.
        head_count: Executions, 0 in ``gone``.
        base_mean: s.
        head_mean: s.
        base_p95: s.
        head_p95: s.
        improvement: Percent of the base's mean that were saved; negative where it takes longer.
    """

    name: str
    id: str
    verdict: Verdict
    base_count: int
    head_count: int
    base_mean: float
    head_mean: float
    base_p95: float
    head_p95: float
    improvement: float


@dataclass(frozen=True, slots=True)
class RouteChange:
    """The queries of one request of a route.

    Attributes:
        route: ``GET /orders``.
        base: Queries per request.
        head: The same.
        base_time: s in the database per request.
        head_time: The same.
    """

    route: str
    base: float
    head: float
    base_time: float
    head_time: float


@dataclass(slots=True)
class Comparison:
    """What differs.

    Attributes:
        changes: Queries or functions, those that cost most first.
        routes: Routes of both runs whose requests send another number of queries.
        gone: Findings of the base that the head does not have.
        new: Findings of the head that the base does not have.
        threshold: Percent that a mean has to change by.
    """

    changes: list[Change] = field(default_factory=list)
    routes: list[RouteChange] = field(default_factory=list)
    gone: list[MergedFinding] = field(default_factory=list)
    new: list[MergedFinding] = field(default_factory=list)
    threshold: float = 10.0

    @property
    def regressed(self) -> bool:
        """Whether something became slower, sends more queries, or has a new finding at warning or above."""
        warning = SEVERITIES.index("warning")
        return (
            any(change.verdict == "slower" for change in self.changes)
            or any(more_queries(route, self.threshold) for route in self.routes)
            or any(SEVERITIES.index(merged.finding.severity) >= warning for merged in self.new)
        )


def improvement(base: float, head: float) -> float:
    """Percent of ``base`` that ``head`` saves: ``(base - head) / base * 100``; 0.0 where base is 0."""
    return (base - head) / base * 100 if base else 0.0


def more_queries(route: RouteChange, threshold: float) -> bool:
    """Whether a request sends at least one query more, and more than the threshold allows."""
    return route.head - route.base >= 1 and -improvement(route.base, route.head) > threshold


def compare_runs(base: Snapshot, head: Snapshot, threshold: float = 10.0) -> Comparison:
    """Compare two saved runs.

    Args:
        base: Before.
        head: After.
        threshold: Percent that a mean has to change by to be more than no difference.
    """
    before = {_key(each.statement): each for each in base.statements}
    after = {_key(each.statement): each for each in head.statements}
    changes = []
    for key in dict.fromkeys([*after, *before]):
        old, new = before.get(key), after.get(key)
        known = new or old
        assert known is not None
        changes.append(
            _change(
                known.statement.summary,
                key,
                (old.durations, old.count, old.total, old.p95) if old else None,
                (new.durations, new.count, new.total, new.p95) if new else None,
                threshold,
            )
        )
    changes.sort(key=lambda each: -max(each.base_mean * each.base_count, each.head_mean * each.head_count))
    old_findings = {merged.finding.id: merged for merged in base.findings}
    new_findings = {merged.finding.id: merged for merged in head.findings}
    return Comparison(
        changes,
        _routes(base, head),
        [merged for each, merged in old_findings.items() if each not in new_findings],
        [merged for each, merged in new_findings.items() if each not in old_findings],
        threshold,
    )


def compare_benchmarks(
    base: Mapping[str, Mapping[str, Any]], head: Mapping[str, Mapping[str, Any]], threshold: float = 10.0
) -> Comparison:
    """Compare the results of two benchmarks by name; arguments as ``read_benchmark`` gives them."""
    changes = []
    for name in dict.fromkeys([*head, *base]):
        sides = [_side(results.get(name)) for results in (base, head)]
        changes.append(_change(name, name, sides[0], sides[1], threshold))
    return Comparison(changes, threshold=threshold)


def _side(result: Mapping[str, Any] | None) -> tuple[Durations, int, float, float] | None:
    if result is None:
        return None
    samples = [each / 1e3 for each in result["samples_ms"]]
    return [(each, 1) for each in samples], len(samples), sum(samples), result["p95_ms"] / 1e3


def _key(statement: Any) -> str:
    return f"{statement.system} {statement.fingerprint}"


def _change(
    name: str,
    key: str,
    old: tuple[Durations, int, float, float] | None,
    new: tuple[Durations, int, float, float] | None,
    threshold: float,
) -> Change:
    base_mean = old[2] / old[1] if old and old[1] else 0.0
    head_mean = new[2] / new[1] if new and new[1] else 0.0
    verdict: Verdict = "no difference"
    saved = 0.0
    if old is None:
        verdict = "new"
    elif new is None:
        verdict = "gone"
    else:
        saved = improvement(base_mean, head_mean)
        if abs(saved) > threshold and differs(old[0], new[0]):
            verdict = "faster" if saved > 0 else "slower"
    return Change(
        name,
        key,
        verdict,
        old[1] if old else 0,
        new[1] if new else 0,
        base_mean,
        head_mean,
        old[3] if old else 0.0,
        new[3] if new else 0.0,
        saved,
    )


def _routes(base: Snapshot, head: Snapshot) -> list[RouteChange]:
    before = {each.route: each for each in base.routes if each.windows}
    found = []
    for new in head.routes:
        old = before.get(new.route)
        if old is not None and new.windows:
            change = RouteChange(
                new.route,
                old.calls / old.windows,
                new.calls / new.windows,
                old.db_time / old.windows,
                new.db_time / new.windows,
            )
            if abs(change.base - change.head) >= 0.05:
                found.append(change)
    return found


def differs(base: Durations, head: Durations) -> bool:
    """Whether the means of two sets of durations differ by more than noise.

    True where zero lies outside the bootstrap interval (95 %) of the difference of the means. False where one side has
    fewer than three executions: they say nothing about noise.

    Args:
        base: s, each with the number of executions that took so long.
        head: The same.
    """
    if min(_count(base), _count(head)) < 3:
        return False
    chance = random.Random(0)  # noqa: S311 - the same answer each time
    center = _mean(head) - _mean(base)
    deviations = sorted(_resampled(head, chance) - _resampled(base, chance) for _ in range(_RESAMPLES))
    cut = int(_RESAMPLES * (1 - _INTERVAL) / 2)
    return not center + deviations[cut] <= 0.0 <= center + deviations[-cut - 1]


def _resampled(durations: Durations, chance: random.Random) -> float:
    """How far the mean of a resample lies from the mean of all."""
    count = _count(durations)
    draws = min(count, _DRAWS)
    values = chance.choices([each for each, _ in durations], [number for _, number in durations], k=draws)
    return (sum(values) / draws - _mean(durations)) * math.sqrt(draws / count)


def _count(durations: Durations) -> int:
    return sum(number for _, number in durations)


def _mean(durations: Durations) -> float:
    return sum(each * number for each, number in durations) / max(1, _count(durations))


# -- Files --------------------------------------------------------------------------------------------------------


def write_benchmark(results: Mapping[str, BenchmarkResult], path: str | os.PathLike[str]) -> None:
    """Write the results of a benchmark as JSON, for ``compare``.

    Raises:
        OSError: The file cannot be written.
    """
    document = {
        "schema": SCHEMA,
        "dbsight": __version__,
        "benchmark": {name: result.plain() for name, result in results.items()},
    }
    Path(path).write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_benchmark(path: str | os.PathLike[str]) -> Mapping[str, Mapping[str, Any]] | None:
    """Read the results of a benchmark; None where the file is something else.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is of a newer schema than this version knows.
    """
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(saved, dict) or not isinstance(saved.get("benchmark"), dict):
        return None
    if saved.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {saved.get('schema')}, and this version knows {SCHEMA}: upgrade dbsight")
    results: dict[str, Mapping[str, Any]] = saved["benchmark"]
    for name, result in results.items():
        if not isinstance(result, dict) or not isinstance(result.get("samples_ms"), list) or not result["samples_ms"]:
            raise ValueError(f"{path} has no samples of {name}")
    return results


def compare_files(base: Path, head: Path, threshold: float = 10.0) -> Comparison:
    """Compare two files: two saved runs, or two benchmarks.

    Raises:
        OSError: One cannot be read.
        ValueError: One is neither, is of another schema, or they are of two kinds.
    """
    benchmarks = read_benchmark(base), read_benchmark(head)
    if benchmarks[0] is not None and benchmarks[1] is not None:
        return compare_benchmarks(benchmarks[0], benchmarks[1], threshold)
    if benchmarks != (None, None):
        raise ValueError(f"{base} and {head} are not of the same kind: a benchmark and a saved run")
    return compare_runs(_run(base), _run(head), threshold)


def _run(path: Path) -> Snapshot:
    try:
        return saved_run.read(path)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a dbsight report: {type(error).__name__}") from error


def told(findings: Iterable[MergedFinding]) -> list[str]:
    """A line for each finding: severity, rule, route, title, place."""
    lines = []
    for merged in findings:
        found = merged.finding
        where = f" at {found.call_site}" if found.call_site is not None else ""
        route = f" {found.route}:" if found.route else ""
        lines.append(f"{found.severity} {found.rule}:{route} {found.title}{where}")
    return lines
