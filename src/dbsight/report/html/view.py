"""What the templates of the HTML report are filled with: plain values, already formatted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight import semconv
from dbsight.formatting import count, counted, mean, seconds
from dbsight.model.deferred import pattern
from dbsight.report import finding_text
from dbsight.report.causes import causes, headline, label
from dbsight.report.html.charts import box, comb, memory_chart, pool_chart, sparkline, waterfall
from dbsight.report.layout import one_line, summary_line
from dbsight.report.time_bar import parts_of
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbsight.model import (
        Finding,
        MergedFinding,
        PlanSummary,
        PoolSnapshot,
        Snapshot,
        StatementTotals,
        WindowExample,
    )
    from dbsight.report.causes import Cause
    from dbsight.report.html.comparison import Difference

FULL: Final = 100
"""Findings with charts and plans; the others are one line each."""

MAX_STATEMENTS: Final = 400
MAX_ROUTES: Final = 30
_FIRST: Final = 3
_UNIT: Final = pattern(r"(\d) (?=(?:s|ms|µs|min)\b)")
_MANY_ROWS: Final = 1000
_KEY_VALUE: Final = ("redis", "valkey")
_REPEATING: Final = ("n_plus_one", "redis_chatter", "row_by_row_write", "redundant_query")


def page(snapshot: Snapshot, difference: Difference | None, *, live: bool) -> dict[str, Any]:
    """The variables of the template."""
    found = causes(snapshot.findings)
    examples = _examples_by_route(snapshot)
    general = finding_text.general_callers(snapshot.findings)
    return {
        "version": __version__,
        "live": live,
        "service": one_line(snapshot.service),
        "preset": snapshot.preset,
        "headline": _UNIT.sub("\\1\N{NO-BREAK SPACE}", headline(snapshot, found)),
        "facts": _facts(snapshot),
        "severities": _severities(snapshot),
        "first": [_card(cause, examples, general) for cause in found[:_FIRST]],
        "findings": [_card(cause, examples, general) for cause in found[:FULL]],
        "more": [_line(cause) for cause in found[FULL:]],
        "difference": difference,
        "requests": [_request(example) for example in snapshot.examples[:MAX_ROUTES]],
        "slow": [_why(merged) for merged in snapshot.findings if parts_of(merged.finding.details)][:30],
        "statements": [_statement(each, snapshot) for each in snapshot.statements[:MAX_STATEMENTS]],
        "statements_left": max(0, len(snapshot.statements) - MAX_STATEMENTS),
        "redis": [_statement(each, snapshot) for each in snapshot.statements if _is_redis(each)][:20],
        "pools": [_pool(pool) for pool in snapshot.pools if pool.state.pools or pool.totals.checkouts],
        "memory": _memory(snapshot),
        "caches": [_cache(each) for each in snapshot.caches],
        "locks": [_lock(each) for each in snapshot.locks],
        "routes": [_route(each, snapshot) for each in snapshot.routes[:MAX_ROUTES]],
        "dropped": [
            f"{count(number)} {one_line(reason).replace('_', ' ')}"
            for reason, number in snapshot.dropped.items()
            if number
        ],
        "unused": [one_line(each) for each in snapshot.unused],
    }


def _facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    facts = [(count(snapshot.calls), "query" if snapshot.calls == 1 else "queries")]
    if snapshot.requests:
        facts.append((count(snapshot.requests), "request" if snapshot.requests == 1 else "requests"))
    facts.append((seconds(snapshot.db_time), "in the database"))
    if snapshot.request_time:
        share = snapshot.request_db_time / snapshot.request_time
        facts.append((f"{share * 100:.0f} %" if share <= 1 else f"{share:.1f} ×", "of request time"))
    if snapshot.p95:
        facts.append((seconds(snapshot.p95), "p95 of a query"))
    if snapshot.failed:
        facts.append((count(snapshot.failed), "failed"))
    return facts


def _severities(snapshot: Snapshot) -> list[tuple[str, str]]:
    words = {"error": "error", "warning": "warning", "info": "note"}
    found = []
    for severity, word in words.items():
        number = sum(merged.finding.severity == severity for merged in snapshot.findings)
        if number:
            found.append((severity, counted(number, word)))
    return found


# -- Findings -------------------------------------------------------------------------------------------------------


def _card(cause: Cause, examples: Mapping[str, WindowExample], general: frozenset[str]) -> dict[str, Any]:
    finding = cause.main.finding
    plan = next((each.finding.plan for each in cause.all if each.finding.plan is not None), None)
    return {
        **_line(cause),
        "description": finding_text.description(finding),
        "others": [
            {"label": label(other), "title": text, "where": place, "severity": other.severity}
            for other, text, place in finding_text.also(cause.others, finding)
        ],
        "caller": finding_text.caller(finding, general),
        "trace": finding.trace,
        "proof": cause.proof,
        "comb": _comb(finding, examples),
        "parts": _parts(finding),
        "plan": _plan(plan),
        "text": finding.statement.text if finding.statement is not None else "",
        "alternatives": [
            (name, str(each.finding.details[key]))
            for each in cause.all
            for key, name in (("sqlalchemy", "SQLAlchemy"), ("alembic", "Alembic"), ("django", "Django"))
            if each.finding.rule == "missing_index" and each.finding.details.get(key)
        ],
    }


def _line(cause: Cause) -> dict[str, Any]:
    finding = cause.main.finding
    windows = f"in {counted(cause.main.windows, 'request' if cause.main.requests else 'window')}"
    return {
        "id": finding.id,
        "label": label(finding),
        "severity": cause.severity,
        "title": finding_text.title(finding),
        "route": _route_name(finding.route),
        "count": cause.main.count,
        "saves": _saves(cause),
        "impact": cause.impact,
        "windows": windows if cause.main.windows > 1 else "",
        "where": "" if finding.call_site is None else finding_text.place(finding.call_site),
        "fix": cause.fix.strip("\n"),
    }


def _saves(cause: Cause) -> str:
    if cause.impact <= 0:
        return ""
    windows = max(1, cause.main.windows)
    each = f"saves ~{seconds(cause.impact / windows)}"
    return f"{each} per request" if cause.main.requests == windows else each


def _examples_by_route(snapshot: Snapshot) -> dict[str, WindowExample]:
    return {example.route: example for example in snapshot.examples}


def _comb(finding: Finding, examples: Mapping[str, WindowExample]) -> dict[str, Any] | None:
    example = examples.get(finding.route)
    if example is None or finding.statement is None or finding.rule not in _REPEATING:
        return None
    drawn = comb(example, finding.statement.fingerprint, finding.impact)
    if drawn is None:
        return None
    repeats = max(drawn.repeats, finding.count) if example.calls > len(example.steps) else drawn.repeats
    now = f"{seconds(drawn.duration)}, {repeats} × {summary_line(finding.statement.summary)}"
    return {"comb": drawn, "now": now, "then": f"about {seconds(drawn.fixed_duration)} with the fix"}


def _parts(finding: Finding) -> list[dict[str, Any]]:
    parts = parts_of(finding.details) if finding.rule == "slow_query" else []
    whole = sum(value for _, value in parts)
    drawn = []
    at = 0.0
    for kind, value in parts:
        drawn.append({"box": box(at, value, whole, kind.name), "name": kind.name, "time": seconds(value)})
        at += value
    return drawn


def _why(merged: MergedFinding) -> dict[str, Any]:
    finding = merged.finding
    return {
        "id": finding.id,
        "title": summary_line(finding.statement.summary if finding.statement is not None else finding.title),
        "route": _route_name(finding.route),
        "time": seconds(finding.current_value or 0.0),
        "limit": "" if finding.threshold is None else seconds(finding.threshold, exact=True),
        "parts": _parts(finding),
    }


def _plan(plan: PlanSummary | None) -> dict[str, Any] | None:
    if plan is None or not plan.tree:
        return None
    return {
        "hash": plan.hash,
        "cost": "" if plan.cost is None else f"{plan.cost:.6g}",
        "issues": [issue.replace("_", " ") for issue in plan.issues],
        "lines": [(line, number == plan.costly) for number, line in enumerate(plan.tree.splitlines())],
    }


# -- Requests and queries --------------------------------------------------------------------------------------------


def _request(example: WindowExample) -> dict[str, Any]:
    rows, left = waterfall(example)
    whole = max([example.duration, *(step.end for step in example.steps)])
    share = min(1.0, example.db_time / whole) if whole else 0.0
    return {
        "route": _route_name(example.route),
        "duration": seconds(example.duration),
        "calls": counted(example.calls, "query", "queries"),
        "database": seconds(example.db_time),
        "share": round(share * 100),
        "findings": len(example.findings),
        "trace": example.trace,
        "left": left,
        "rows": [
            {
                "summary": summary_line(row.summary),
                "count": row.repeats,
                "boxes": row.boxes,
                "time": seconds(row.duration),
                "at": seconds(row.at),
                "where": _short(row.where),
                "rows": "" if row.rows is None else count(row.rows),
                "errors": row.errors,
            }
            for row in rows
        ],
    }


def _route(totals: Any, snapshot: Snapshot) -> dict[str, Any]:
    most = max((each.db_time for each in snapshot.routes), default=0.0)
    return {
        "route": _route_name(totals.route),
        "windows": totals.windows,
        "calls": mean(totals.calls, totals.windows),
        "database": seconds(totals.db_time / max(1, totals.windows)),
        "duration": seconds(totals.duration / max(1, totals.windows)),
        "total": seconds(totals.db_time),
        "total_value": totals.db_time,
        "bar": box(0.0, totals.db_time, most),
        "max_calls": totals.max_calls,
        "findings": totals.findings,
        "values": (
            totals.windows,
            totals.calls / max(1, totals.windows),
            totals.db_time / max(1, totals.windows),
            totals.duration / max(1, totals.windows),
        ),
    }


def _route_name(route: str) -> str:
    return "" if route == semconv.WINDOW_SPAN else one_line(route)


def _short(site: object) -> str:
    """The end of a path: ``demo/handlers.py:193``."""
    return "/".join(one_line(str(site)).replace("\\", "/").split("/")[-2:])


def _is_redis(totals: StatementTotals) -> bool:
    return totals.statement.system in _KEY_VALUE


def _statement(totals: StatementTotals, snapshot: Snapshot) -> dict[str, Any]:
    site = totals.call_site
    return {
        "summary": summary_line(totals.statement.summary),
        "fingerprint": totals.statement.fingerprint,
        "text": totals.statement.text,
        "system": totals.statement.system,
        "database": totals.database.label,
        "count": count(totals.count),
        "total": seconds(totals.total),
        "share": round(totals.total / snapshot.db_time * 100) if snapshot.db_time else 0,
        "p50": seconds(totals.p50),
        "p95": seconds(totals.p95),
        "max": seconds(totals.max),
        "rows": mean(totals.rows, totals.count),
        "errors": totals.errors,
        "where": "" if site is None else _short(site),
        "site": "" if site is None else finding_text.place(site),
        "spark": sparkline(totals.durations),
        "plan": _plan(totals.plan),
        "values": (totals.count, totals.total, totals.p50, totals.p95, totals.max, totals.rows / max(1, totals.count)),
    }


# -- Pools, memory, caches, locks -------------------------------------------------------------------------------------


def _pool(pool: PoolSnapshot) -> dict[str, Any]:
    state, totals = pool.state, pool.totals
    chart = pool_chart(pool)
    facts = [
        (counted(totals.checkouts, "checkout"), ""),
        (f"{state.used} used, {state.idle} idle", "now"),
        ("no limit" if state.max is None else f"at most {state.max}", "connections"),
        (f"{state.most} at once" if state.most else "", "were used"),
        (counted(totals.waits, "wait"), f"p95 {seconds(totals.wait_p95)}" if totals.waits else ""),
    ]
    if totals.timeouts:
        facts.append((counted(totals.timeouts, "timeout"), ""))
    if totals.leaks:
        facts.append((counted(totals.leaks, "leak"), ""))
    if totals.needed:
        facts.append((f"{totals.needed} needed", "so that no request waits"))
    held: dict[str, list[float]] = {}
    for use in pool.uses:
        if use.used:
            held.setdefault(_short(use.site) if use.site is not None else "unknown line", []).append(use.used)
    whole = sum(map(sum, held.values()))
    return {
        "name": one_line(state.name),
        "kind": f"{state.library} {state.kind}".strip(),
        "facts": [(first, rest) for first, rest in facts if first],
        "chart": chart,
        "span": "" if chart is None else seconds(chart.seconds),
        "holders": [
            {
                "where": where,
                "count": count(len(times)),
                "total": seconds(sum(times)),
                "longest": seconds(max(times)),
                "bar": box(0.0, sum(times), whole),
            }
            for where, times in sorted(held.items(), key=lambda item: -sum(item[1]))[:5]
        ],
    }


def _memory(snapshot: Snapshot) -> dict[str, Any] | None:
    if not snapshot.memory:
        return None
    chart = memory_chart(snapshot.memory, snapshot.examples, _MANY_ROWS)
    large = [
        {
            "summary": summary_line(step.statement.summary),
            "rows": count(step.rows or 0),
            "route": _route_name(each.route),
            "where": "" if step.call_site is None else _short(step.call_site),
        }
        for each in snapshot.examples
        for step in each.steps
        if step.rows is not None and step.rows >= _MANY_ROWS
    ]
    return {
        "chart": chart,
        "many": count(_MANY_ROWS),
        "now": megabytes(snapshot.memory[-1].rss),
        "growth": megabytes(snapshot.memory[-1].rss - snapshot.memory[0].rss),
        "top": "" if chart is None else megabytes(chart.top),
        "span": "" if chart is None else seconds(chart.seconds),
        "large": large[:10],
    }


def megabytes(number: int) -> str:
    """``123 MB``."""
    return f"{number / 2**20:.0f} MB"


def _cache(totals: Any) -> dict[str, Any]:
    return {
        "name": one_line(" ".join(filter(None, (totals.cache, totals.layer, totals.key_prefix, totals.model)))),
        "lookups": count(totals.requests),
        "hits": f"{totals.hit_ratio * 100:.0f} %" if totals.requests else "–",
        "bar": box(0.0, totals.hit_ratio, 1.0) if totals.hits else None,
        "stores": count(totals.stores),
        "removals": count(totals.removals),
        "evictions": count(totals.evictions),
        "where": "" if totals.call_site is None else _short(totals.call_site),
    }


def _lock(totals: Any) -> dict[str, Any]:
    return {
        "name": one_line(f"{totals.system} {totals.lock}"),
        "tries": count(totals.tries),
        "failed": count(totals.failed),
        "contended": count(totals.contended),
        "waited": seconds(totals.wait_total),
        "longest": seconds(totals.wait_max),
        "held": seconds(totals.held_max),
        "leaks": count(totals.leaks),
        "where": "" if totals.call_site is None else _short(totals.call_site),
    }
