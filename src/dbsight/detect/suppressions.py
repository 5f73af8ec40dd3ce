"""Suppressions: overrides per fingerprint, table or route, the ignore list, and the baseline."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from dbsight.model import PlanSummary
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dbsight.config import Settings
    from dbsight.model import Finding, Statement, StatementTotals

logger = logging.getLogger("dbsight")

BASELINE_SCHEMA: Final = 1
DEFAULT_BASELINE: Final = "dbsight-baseline.json"
ENOUGH: Final = 20
"""Minimum number of executions whose times are compared."""

_MAX_BASELINE: Final = 10_000_000
"""Maximum size of a baseline file, bytes."""


class Known(Protocol):
    """What a baseline keeps of a finding."""

    id: str
    rule: str
    title: str
    route: str


class BaselineTimes(NamedTuple):
    """How long a statement took in the run of a baseline.

    Attributes:
        executions: How many there were.
        p50: s.
        p95: s.
    """

    executions: float
    p50: float
    p95: float


class Overrides:
    """Settings that differ for one fingerprint, table or route.

    Overrides of the fingerprint take precedence over those of a table, then those of the route. A route may be a
    pattern: ``GET /admin/*``.
    """

    def __init__(self, settings: Settings) -> None:
        self._tables: Mapping[str, Mapping[str, Any]] = settings.overrides
        self._patterns = [pattern for pattern in self._tables if "*" in pattern]

    def value(self, name: str, statement: Statement | None, route: str, default: Any) -> Any:
        """Return the value of a setting.

        Args:
            name: Name of the setting.
            statement: The statement concerned, if any.
            route: Name of the unit of work as far as it is known.
            default: The value without an override.
        """
        if not self._tables:
            return default
        for key in self._keys(statement, route):
            table = self._tables.get(key)
            if table is not None and name in table:
                return table[name]
        return default

    def _keys(self, statement: Statement | None, route: str) -> Iterable[str]:
        if statement is not None:
            yield statement.fingerprint
            for target in statement.targets:
                yield target
                yield target.rpartition(".")[2].strip('"`[]')
        yield route
        for pattern in self._patterns:
            if fnmatchcase(route, pattern):
                yield pattern

    def every(self, name: str) -> list[Any]:
        """Return all values that override a setting."""
        return [table[name] for table in self._tables.values() if name in table]


class Suppressions:
    """Decides which findings are reported.

    Args:
        settings: Provide the overrides of ``rules``, the ignore list and the baseline.
        today: Compared with the expiry dates.
    """

    def __init__(self, settings: Settings, today: Callable[[], dt.date] = dt.date.today) -> None:
        self._settings = settings
        self._overrides = Overrides(settings)
        self._today = today
        self._hits = [0] * len(settings.ignore)
        self._known: frozenset[str] = frozenset()
        if settings.baseline:
            try:
                self._known = read_baseline(settings.baseline)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                logger.warning("dbsight: baseline %s ignored: %s", settings.baseline, why)
        self.idle = not settings.overrides and not settings.ignore and not self._known

    def passes(self, found: Finding) -> bool:
        """Return whether a finding is reported: its rule is enabled, and it is neither ignored nor in the baseline."""
        if self.idle:
            return True
        if found.id in self._known:
            return False
        words = self._overrides.value("rules", found.statement, found.route, None)
        if words is not None and not _enabled(words, found.rule):
            return False
        for position, entry in enumerate(self._settings.ignore):
            if self._holds(entry) and _matches(entry, found):
                self._hits[position] += 1
                return False
        return True

    def _holds(self, entry: Mapping[str, Any]) -> bool:
        expires = entry.get("expires")
        return expires is None or self._today() <= expires

    def complaints(self) -> list[str]:
        """Return a sentence for each entry of the ignore list that is expired or matched nothing so far."""
        said = []
        for entry, hits in zip(self._settings.ignore, self._hits, strict=True):
            if not self._holds(entry):
                said.append(f"ignore {_describe(entry)} expired on {entry['expires']}: fix the finding or renew it")
            elif not hits:
                said.append(f"ignore {_describe(entry)} matched nothing: remove it if this persists")
        return said


def _enabled(words: tuple[str, ...], rule: str) -> bool:
    """As ``Settings.rule_enabled``; a list of only disabled names leaves all others enabled."""
    enabled = words[:1] == () or words[0].startswith("-")
    for word in words:
        if word.lstrip("-") in {rule, "all"}:
            enabled = not word.startswith("-")
    return enabled


def _matches(entry: Mapping[str, Any], found: Finding) -> bool:
    """Return whether a finding matches all keys of an entry. A call site is a file, or a file and a line."""
    if entry["rule"] not in {found.rule, "all"}:
        return False
    if "fingerprint" in entry and (found.statement is None or found.statement.fingerprint != entry["fingerprint"]):
        return False
    if "route" in entry and not fnmatchcase(found.route, entry["route"]):
        return False
    if "call_site" in entry:
        site = found.call_site
        return site is not None and (fnmatchcase(site.file, entry["call_site"]) or str(site) == entry["call_site"])
    return True


def _describe(entry: Mapping[str, Any]) -> str:
    where = ", ".join(f"{key} {entry[key]}" for key in ("fingerprint", "route", "call_site") if key in entry)
    return f"{entry['rule']} ({where})" if where else str(entry["rule"])


# -- Baseline -----------------------------------------------------------------------------------------------------
def write_baseline(
    findings: Iterable[Known],
    path: str | os.PathLike[str] = DEFAULT_BASELINE,
    statements: Iterable[StatementTotals] = (),
) -> int:
    """Write the known findings, which are no longer reported; the file is replaced atomically.

    Benchmarks that the file has are kept.

    Args:
        findings: Those.
        path: The file.
        statements: Their plans and times, where known, are what later ones are compared with. Those that took most time
            come first.

    Returns:
        The number of findings.

    Raises:
        OSError: The file cannot be written.
    """
    known = list(statements)
    entries = {
        found.id: {"id": found.id, "rule": found.rule, "title": found.title, "route": found.route} for found in findings
    }
    document = {
        "schema": BASELINE_SCHEMA,
        "dbsight": __version__,
        "findings": [entries[key] for key in sorted(entries)],
        "plans": {
            totals.statement.fingerprint: {
                "hash": totals.plan.hash,
                "cost": totals.plan.cost,
                "issues": list(totals.plan.issues),
            }
            for totals in known
            if totals.plan is not None
        },
        "times": {
            totals.statement.fingerprint: {"count": totals.count, "p50": totals.p50, "p95": totals.p95}
            for totals in reversed(known)  # of several databases, the one that took most time
            if totals.count >= ENOUGH
        },
    }
    benchmarks = _known(path).get("benchmark")
    if benchmarks:
        document["benchmark"] = benchmarks
    _write(document, path)
    return len(entries)


def write_benchmarks(results: Mapping[str, Any], path: str | os.PathLike[str] = DEFAULT_BASELINE) -> None:
    """Write results of benchmarks into a baseline, whose findings are kept; those of the same names are replaced.

    Args:
        results: By name, as ``bench.compared.read_benchmark`` gives them; it reads them from the baseline, too.
        path: The file.

    Raises:
        OSError: The file cannot be written.
        ValueError: There is a file, which is not a baseline.
    """
    document: dict[str, Any] = {"schema": BASELINE_SCHEMA, "findings": []}
    if Path(path).exists():
        document = _load(path)
    _write({**document, "dbsight": __version__, "benchmark": {**document.get("benchmark", {}), **results}}, path)


def _known(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a baseline holds; nothing where there is none, or one that cannot be used."""
    try:
        return _load(path)
    except (OSError, ValueError):
        return {}


def _write(document: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def read_baseline(path: str | os.PathLike[str]) -> frozenset[str]:
    """Read the ids of the known findings.

    Raises:
        OSError: The file does not exist or cannot be read.
        ValueError: The file is not a baseline, or its schema is newer than this version supports.
    """
    entries = _load(path).get("findings")
    if not isinstance(entries, list):
        raise ValueError("the file is not a dbsight baseline")  # noqa: TRY004 - the file's fault, not a caller's
    return frozenset(each["id"] for each in entries if isinstance(each, dict) and isinstance(each.get("id"), str))


def read_plans(path: str | os.PathLike[str] | None) -> dict[str, PlanSummary]:
    """Read the plans of a baseline by fingerprint; none where there is no such file, or it cannot be used."""
    if not path:
        return {}
    saved = _known(path).get("plans")  # Suppressions warns of a file that cannot be used
    found = {}
    for fingerprint, plan in saved.items() if isinstance(saved, dict) else ():
        if isinstance(plan, dict) and isinstance(plan.get("hash"), str) and isinstance(plan.get("issues"), list):
            cost = plan.get("cost")
            issues = tuple(each for each in plan["issues"] if isinstance(each, str))
            found[fingerprint] = PlanSummary(plan["hash"], cost if isinstance(cost, (int, float)) else None, issues)
    return found


def read_times(path: str | os.PathLike[str] | None) -> dict[str, BaselineTimes]:
    """Read the times of a baseline by fingerprint; none where there is no such file, or it cannot be used."""
    if not path:
        return {}
    saved = _known(path).get("times")
    found = {}
    for fingerprint, times in saved.items() if isinstance(saved, dict) else ():
        values: list[Any] = [times.get(name) for name in ("count", "p50", "p95")] if isinstance(times, dict) else []
        if values and all(isinstance(value, (int, float)) and value > 0 for value in values):
            found[fingerprint] = BaselineTimes(*values)
    return found


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    file = Path(path)
    if file.stat().st_size > _MAX_BASELINE:
        raise ValueError("the file is too large")
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError("the file is not valid JSON") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("schema"), int):
        raise ValueError("the file is not a dbsight baseline")  # noqa: TRY004 - the file's fault, not a caller's
    if saved["schema"] > BASELINE_SCHEMA:
        raise ValueError(
            f"its schema is {saved['schema']}, and this version supports {BASELINE_SCHEMA}: upgrade dbsight"
        )
    return saved
