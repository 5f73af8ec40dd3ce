"""The report as a file: JSON with a versioned schema, for other tools.

It contains no literals or parameters: statements are sanitised before they become records. The file is written beside
the target and renamed, so that readers never see an incomplete file.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from math import isfinite
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Final

from dbsight.model import (
    CacheTotals,
    Database,
    Finding,
    KindTotals,
    LockTotals,
    MemorySample,
    MergedFinding,
    ModelTotals,
    Recommendation,
    RouteTotals,
    Snapshot,
    StatementTotals,
)
from dbsight.report.files import replace_file
from dbsight.report.json_records import (
    plain,
    plain_call_site,
    plain_database,
    plain_example,
    plain_plan,
    plain_pool,
    plain_statement,
    read_call_site,
    read_example,
    read_plan,
    read_pool,
    read_statement,
    record,
    records,
)
from dbsight.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import TextIO

SCHEMA: Final = 1
"""Version of the file's schema: incremented if a field changes its meaning or is removed, not if one is added."""

DEFAULT_FILE: Final = "dbsight-report.json"

_PLAIN: Final = (str, int, float, type(None))

MAX_FINDINGS: Final = 1000
MAX_STATEMENTS: Final = 1000
MAX_UNUSED: Final = 1000
MAX_ROUTES: Final = 1000
MAX_POOLS: Final = 20
MAX_TOTALS: Final = 200
"""Caches, locks and models, each; with the limits above and those of ``json_records``, a file stays below 12 MB."""


def document(snapshot: Snapshot) -> dict[str, Any]:
    """The totals of a process as plain values. Times are seconds, ``written`` seconds since the epoch."""
    return {
        "schema": SCHEMA,
        "dbsight": __version__,
        "written": round(time(), 3),
        "service": snapshot.service,
        "preset": snapshot.preset,
        "totals": {
            "windows": snapshot.windows,
            "requests": snapshot.requests,
            "calls": snapshot.calls,
            "db_time": snapshot.db_time,
            "window_time": snapshot.window_time,
            "request_time": snapshot.request_time,
            "request_db_time": snapshot.request_db_time,
            "slow": snapshot.slow,
            "very_slow": snapshot.very_slow,
            "failed": snapshot.failed,
            "p50": snapshot.p50,
            "p95": snapshot.p95,
        },
        "recommendations": [asdict(each) for each in snapshot.recommendations],
        "findings": [_finding(merged) for merged in snapshot.findings[:MAX_FINDINGS]],
        "statements": [_totals(totals) for totals in snapshot.statements[:MAX_STATEMENTS]],
        "routes": [_route(totals) for totals in snapshot.routes[:MAX_ROUTES]],
        "examples": [plain_example(example) for example in snapshot.examples],
        "pools": [plain_pool(pool) for pool in snapshot.pools[:MAX_POOLS]],
        "memory": plain(snapshot.memory),
        "caches": plain(snapshot.caches[:MAX_TOTALS]),
        "locks": plain(snapshot.locks[:MAX_TOTALS]),
        "models": plain(snapshot.models[:MAX_TOTALS]),
        "kinds": {kind: plain(totals) for kind, totals in snapshot.kinds.items()},
        "dropped": dict(snapshot.dropped),
        "unused": list(snapshot.unused[:MAX_UNUSED]),
        "left_out": {
            "findings": max(0, len(snapshot.findings) - MAX_FINDINGS),
            "statements": max(0, len(snapshot.statements) - MAX_STATEMENTS),
        },
    }


def _finding(merged: MergedFinding) -> dict[str, Any]:
    found = merged.finding
    return {
        "id": found.id,
        "rule": found.rule,
        "severity": found.severity,
        "category": found.category,
        "title": found.title,
        "description": found.description,
        "suggestion": found.suggestion,
        "effort": found.effort,
        "metric": found.metric,
        "current_value": found.current_value,
        "threshold": found.threshold,
        "route": found.route,
        "root": found.root,
        "trace": found.trace,
        "relationship": found.relationship,
        "plan": plain_plan(found.plan),
        "details": {name: value for name, value in found.details.items() if isinstance(value, _PLAIN)},
        "statement": plain_statement(found.statement) if found.statement is not None else None,
        "database": plain_database(found.database) if found.database is not None else None,
        "call_site": plain_call_site(found.call_site),
        "windows": merged.windows,
        "requests": merged.requests,
        "count": merged.count,
        "impact": merged.impact,
    }


def _totals(totals: StatementTotals) -> dict[str, Any]:
    return {
        "statement": plain_statement(totals.statement),
        "database": plain_database(totals.database),
        "call_site": plain_call_site(totals.call_site),
        "count": totals.count,
        "errors": totals.errors,
        "total": totals.total,
        "p50": totals.p50,
        "p95": totals.p95,
        "max": totals.max,
        "rows": totals.rows,
        "plan": plain_plan(totals.plan),
        "durations": [[round(each, 9), count] for each, count in totals.durations],
    }


def _route(totals: RouteTotals) -> dict[str, Any]:
    return {
        "route": totals.route,
        "windows": totals.windows,
        "calls": totals.calls,
        "db_time": totals.db_time,
        "duration": totals.duration,
        "max_calls": totals.max_calls,
        "findings": totals.findings,
    }


def finite(value: Any) -> Any:
    """Replace numbers that JSON cannot represent by null."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def write(snapshot: Snapshot, path: str | os.PathLike[str] = DEFAULT_FILE) -> Path:
    """Write the report of a process.

    Args:
        snapshot: Its totals.
        path: The file; it is replaced atomically, or left unchanged.

    Raises:
        OSError: The directory does not exist, is not writable, or is full.
    """
    return replace_file(path, lambda file: _dump(snapshot, file))


def text(snapshot: Snapshot) -> str:
    """The file's content."""
    file = StringIO()
    _dump(snapshot, file)
    return file.getvalue()


def _dump(snapshot: Snapshot, file: TextIO) -> None:
    json.dump(finite(document(snapshot)), file, ensure_ascii=False, indent=1, allow_nan=False)
    file.write("\n")


def read(path: str | os.PathLike[str]) -> Snapshot:
    """Read a report back.

    Raises:
        OSError: The file does not exist or cannot be read.
        ValueError: It is not a dbsight report, or of a newer schema than this version knows.
    """
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a dbsight report: it is not text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a dbsight report: {error}") from error
    return from_document(saved, path)


def from_document(saved: Any, path: object) -> Snapshot:
    """Make the totals of ``document``; ``path``: where it came from, for errors.

    Raises:
        ValueError: It is not a dbsight report, or of a newer schema than this version knows.
    """
    if not isinstance(saved, dict) or not isinstance(saved.get("schema"), int) or "findings" not in saved:
        raise ValueError(f"{path} is not a dbsight report")
    if saved["schema"] > SCHEMA:
        raise ValueError(f"{path} has schema {saved['schema']}, and this version knows {SCHEMA}: upgrade dbsight")
    totals = saved["totals"]
    return Snapshot(
        service=saved["service"],
        preset=saved["preset"],
        findings=[_read_finding(each) for each in saved["findings"]],
        statements=[_read_totals(each) for each in saved["statements"]],
        recommendations=[Recommendation(**each) for each in saved.get("recommendations", ())],
        routes=[RouteTotals(**each) for each in saved.get("routes", ())],
        examples=[read_example(each) for each in saved.get("examples", ())],
        pools=[read_pool(each) for each in saved.get("pools", ())],
        memory=records(MemorySample, saved.get("memory", ())),
        caches=records(CacheTotals, saved.get("caches", ())),
        locks=records(LockTotals, saved.get("locks", ())),
        models=records(ModelTotals, saved.get("models", ())),
        kinds={kind: record(KindTotals, each) for kind, each in saved.get("kinds", {}).items()},
        dropped=saved["dropped"],
        unused=tuple(saved.get("unused", ())),
        exporting=True,  # a failure no longer matters
        **{name: totals[name] for name in totals if name in Snapshot.__dataclass_fields__},
    )


def _read_finding(saved: Mapping[str, Any]) -> MergedFinding:
    found = Finding(
        rule=saved["rule"],
        id=saved["id"],
        severity=saved["severity"],
        category=saved["category"],
        title=saved["title"],
        description=saved["description"],
        suggestion=saved["suggestion"],
        impact=saved["impact"],
        effort=saved["effort"],
        count=saved["count"],
        metric=saved["metric"],
        current_value=saved["current_value"],
        threshold=saved["threshold"],
        statement=read_statement(saved["statement"]) if saved["statement"] else None,
        database=Database(**saved["database"]) if saved["database"] else None,
        call_site=read_call_site(saved["call_site"]),
        relationship=saved["relationship"],
        trace=saved["trace"],
        route=saved["route"],
        plan=read_plan(saved.get("plan")),
        root=saved.get("root", ""),
        details=dict(saved.get("details") or {}),
    )
    return MergedFinding(found, saved["windows"], saved["count"], saved["impact"], saved["requests"])


def _read_totals(saved: Mapping[str, Any]) -> StatementTotals:
    return StatementTotals(
        read_statement(saved["statement"]),
        Database(**saved["database"]),
        saved["count"],
        saved["errors"],
        saved["total"],
        saved["p50"],
        saved["p95"],
        saved["max"],
        saved["rows"],
        read_call_site(saved["call_site"]),
        read_plan(saved.get("plan")),
        tuple((each, count) for each, count in saved.get("durations", ())),
    )
