"""Write ``alerts.yml``, Prometheus's alerting rules, from the limits that hold in the process.

``python collector/generate_alerts.py`` writes them from the defaults; with ``--here`` from what the environment and the
file in the working directory set, as the application there would read it; with ``--check`` it writes nothing and fails
when the file is stale.

Metrics are named as Prometheus names those that it gets over OTLP.
"""
# ruff: noqa: INP001 - a program beside the configurations, not a package

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from dbsight.config import Settings

HERE = Path(__file__).parent

HEAD = """\
# Made by `python collector/generate_alerts.py` from the limits that hold in the process: change those instead.
groups:
  - name: dbsight
    rules:
"""

LATENCY = "db_client_operation_duration_seconds"
POOL = "db_client_connection_pool_name"
ENOUGH = 20
"""Queries within the time of a ratio; below, one more or less would decide."""

CACHE_ENOUGH = 100
"""Look-ups, as for the rule ``cache_miss``."""


@dataclass(frozen=True)
class Alert:
    """One alerting rule.

    Attributes:
        name: As in Alertmanager.
        severity: ``warning`` or ``error``, as the finding or alert of the process has it.
        expression: In PromQL; it names what is compared with the limit first.
        summary: One line, with the labels of the alert.
        setting: What moves the limit; empty for a limit that no setting moves.
        lasting: How long it must hold before it fires.
    """

    name: str
    severity: str
    expression: str
    summary: str
    setting: str = ""
    lasting: str = "0m"

    def lines(self) -> str:
        """The rule in YAML; a string of JSON is one of YAML, too."""
        annotations = [f"          summary: {json.dumps(self.summary, ensure_ascii=False)}"]
        if self.setting:
            # Where the expression compares with zero, the process has compared with the limit before.
            fixed = re.search(r"[<>]=? 0*\.?0*[1-9]", self.expression)
            moved = f"The threshold is OTEL_DBSIGHT_{self.setting.upper()}, " + (
                "as it was when this file was generated." if fixed else "as set in the process."
            )
            annotations.append(f"          description: {json.dumps(moved)}")
        body = "\n".join(f"          {line}" for line in self.expression.splitlines())
        return "\n".join(
            (
                f"      - alert: {self.name}",
                "        expr: |-",
                body,
                f"        for: {self.lasting}",
                "        labels:",
                f"          severity: {self.severity}",
                "        annotations:",
                *annotations,
            )
        )


def grown(series: str, time: str, *, by: str = "job") -> str:
    """How much a counter grew.

    A series that is younger than that began at zero, which was never scraped: ``increase`` alone misses the first of
    its kind, which is the one to be told of.
    """
    return f"sum by ({by}) (({series} unless {series} offset {time}) or increase({series}[{time}]))"


def slow(severity: str, name: str, kind: str, setting: str) -> Alert:
    """Queries of one class, which the process has decided on by the limits of their system."""
    series = f'dbsight_queries_total{{dbsight_query_class="{kind}"}}'
    return Alert(
        name,
        severity,
        f"{grown(series, '5m', by='job, db_system_name')} > 0",
        f"{{{{ $value | humanize }}}} {kind.replace('_', ' ')} queries of {{{{ $labels.db_system_name }}}}"
        " in {{ $labels.job }}",
        setting,
    )


def growing(limits: Settings, name: str, series: str, what: str) -> Alert:
    """Memory that grows steadily, by a least amount and a part of what there was."""
    least, part = limits.memory_growth_threshold, limits.memory_growth_share_threshold
    return Alert(
        name,
        "warning",
        f"deriv({series}[15m]) * 15 * 60 > {least}\n"
        f"and deriv({series}[15m]) * 15 * 60 > {part:g} * {series} offset 15m",
        f"{what} of {{{{ $labels.job }}}} {{{{ $labels.instance }}}} grew by {{{{ $value | humanize1024 }}}}B"
        " in 15 minutes",
        "memory_growth_threshold",
        "5m",
    )


def queries(limits: Settings) -> tuple[Alert, ...]:
    """About queries."""
    failed = f'{LATENCY}_count{{error_type!=""}}'
    mean = f"sum by (job) (rate({LATENCY}_sum[5m]))\n/ sum by (job) (rate({LATENCY}_count[5m]))"
    summaries = "job, db_system_name, db_query_summary"
    now, yesterday = (
        f"(sum by ({summaries}) (rate({LATENCY}_sum[1h]{offset}))"
        f" / sum by ({summaries}) (rate({LATENCY}_count[1h]{offset})))"
        for offset in ("", " offset 1d")
    )
    return (
        slow("warning", "DbSlowQuery", "slow", "slow_query_threshold"),
        slow("error", "DbVerySlowQuery", "very_slow", "very_slow_query_threshold"),
        Alert(
            "DbErrorRateHigh",
            "error",
            f"(sum by (job) (rate({failed}[5m])) / sum by (job) (rate({LATENCY}_count[5m])))"
            f" > {limits.error_rate_threshold:g}\nand sum by (job) (increase({LATENCY}_count[5m])) >= {ENOUGH}",
            "{{ $value | humanizePercentage }} of the queries of {{ $labels.job }} fail",
            "error_rate_threshold",
        ),
        Alert(
            "DbAvgQueryTimeHigh",
            "warning",
            f"{mean}\n> {limits.avg_query_time_threshold:g}",
            "A query of {{ $labels.job }} takes {{ $value | humanizeDuration }} on average",
            "avg_query_time_threshold",
            "5m",
        ),
        Alert(
            "DbQpsHigh",
            "warning",
            f"sum by (job) (rate({LATENCY}_count[5m])) > {limits.qps_threshold:g}",
            "{{ $labels.job }} makes {{ $value | humanize }} queries a second",
            "qps_threshold",
            "5m",
        ),
        Alert(
            "DbLatencyRegression",
            "warning",
            f"{now}\n/ {yesterday}\n> 1.5\n"
            f"and sum by ({summaries}) (increase({LATENCY}_count[1h])) >= 100\n"
            f"and sum by ({summaries}) (increase({LATENCY}_count[1h] offset 1d)) >= 100",
            "{{ $labels.db_query_summary }} of {{ $labels.job }} takes {{ $value | humanize }} times as long as"
            " at this time yesterday",
            lasting="15m",
        ),
        Alert(
            "DbFinding",
            "error",
            grown('dbsight_findings_total{dbsight_finding_severity="error"}', "5m", by="job, dbsight_finding_rule")
            + " > 0",
            "{{ $labels.job }}: {{ $value | humanize }} findings of {{ $labels.dbsight_finding_rule }}",
        ),
        Alert(
            "DbNPlusOne",
            "warning",
            grown('dbsight_findings_total{dbsight_finding_rule="n_plus_one",dbsight_finding_severity!="info"}', "5m")
            + " > 0",
            "{{ $labels.job }}: {{ $value | humanize }} requests with an N+1",
            "n_plus_one_threshold",
        ),
        Alert(
            "DbTransactionLong",
            "warning",
            "histogram_quantile(0.99, sum by (job, db_system_name, le)"
            f" (rate(dbsight_transaction_duration_seconds_bucket[5m])))\n> {limits.long_transaction_threshold:g}",
            "One in a hundred transactions of {{ $labels.job }} takes {{ $value | humanizeDuration }} or longer",
            "long_transaction_threshold",
        ),
        Alert(
            "EventLoopBlocked",
            "warning",
            "histogram_quantile(0.95, sum by (job, le)"
            f" (rate(dbsight_eventloop_blocked_seconds_bucket[5m])))\n> {limits.blocked_loop_threshold:g}",
            "Synchronous queries stop the event loop of {{ $labels.job }} for {{ $value | humanizeDuration }}",
            "blocked_loop_threshold",
        ),
    )


def pools(limits: Settings) -> tuple[Alert, ...]:
    """About connections and their pools; those of Redis are among them."""
    where = f"job, {POOL}"
    count = f"sum by ({where}) (db_client_connection_count)"
    before = f"sum by ({where}) (db_client_connection_count offset 10m)"
    created = grown("dbsight_pool_created_total", "10m", by=where)
    taken = f"sum by ({where}) (increase(db_client_connection_use_time_seconds_count[10m]))"
    of = f"{{{{ $labels.{POOL} }}}} in {{{{ $labels.job }}}}"
    return (
        Alert(
            "DbPoolUsageHigh",
            "warning",
            f"max by (job, instance, {POOL}) (dbsight_pool_usage_ratio) > {limits.pool_usage_threshold:g}",
            f"{{{{ $value | humanizePercentage }}}} of the connections to {of} are in use",
            "pool_usage_threshold",
            "1m",
        ),
        Alert(
            "DbPoolTimeouts",
            "error",
            f"{grown('db_client_connection_timeouts_total', '5m', by=where)} > 0",
            f"{{{{ $value | humanize }}}} waited in vain for a connection to {of}",
        ),
        Alert(
            "DbPoolWaitHigh",
            "warning",
            f"histogram_quantile(0.95, sum by ({where}, le)"
            f" (rate(db_client_connection_wait_time_seconds_bucket[5m])))\n> {limits.pool_wait_threshold:g}",
            f"Waiting {{{{ $value | humanizeDuration }}}} for a connection to {of}",
            "pool_wait_threshold",
        ),
        Alert(
            "DbPoolPending",
            "warning",
            f"sum by ({where}) (db_client_connection_pending_requests) > 0",
            f"{{{{ $value }}}} wait for a connection to {of}, and have for minutes",
            lasting="5m",
        ),
        Alert(
            "DbConnectionFailures",
            "error",
            f"{grown('dbsight_connection_failures_total', '5m', by=where)} > {limits.failed_connection_threshold}",
            f"{{{{ $value | humanize }}}} connections to {of} could not be made",
            "failed_connection_threshold",
        ),
        Alert(
            "DbConnectionLeaks",
            "error",
            f"{grown('dbsight_connection_leaks_total', '1h', by=where)} >= {limits.connection_leak_threshold}",
            f"{{{{ $value | humanize }}}} connections to {of} were not given back",
            "connection_leak_threshold",
        ),
        Alert(
            "DbPoolCountHigh",
            "warning",
            f"sum by (job, instance) (dbsight_pools) > {limits.pool_count_threshold}",
            "{{ $value }} connection pools in one process of {{ $labels.job }}",
            "pool_count_threshold",
        ),
        Alert(
            "DbConnectionsGrowing",
            "warning",
            f"{count} - {before} >= {limits.connection_growth_threshold}\nand {count} >= 2 * {before}",
            f"{{{{ $value }}}} more connections to {of} than ten minutes ago",
            "connection_growth_threshold",
            "5m",
        ),
        Alert(
            "DbPoolChurn",
            "warning",
            f"{created} >= {limits.pool_churn_connections_threshold}\n"
            f"and {created} / {taken} >= {limits.pool_churn_share_threshold:g}",
            f"{{{{ $value | humanize }}}} connections to {of} were made in ten minutes, and hardly used again",
        ),
        Alert(
            "PoolCleanupFailures",
            "warning",
            f"{grown('dbsight_pool_cleanup_failures_total', '15m', by=where)} > 0",
            f"Idle connections to {of} could not be closed",
        ),
    )


def others(limits: Settings) -> tuple[Alert, ...]:
    """About caches, locks, memory, and dbsight itself."""
    requests = "dbsight_cache_requests_total"
    by_cache = "job, dbsight_cache_name"
    attempts = "dbsight_lock_acquire_duration_seconds_count"
    by_lock = "job, dbsight_lock_name"
    return (
        Alert(
            "CacheHitRatioLow",
            "warning",
            f'(sum by ({by_cache}) (rate({requests}{{dbsight_cache_result="hit"}}[15m]))'
            f" or 0 * sum by ({by_cache}) (rate({requests}[15m])))\n"
            f"/ sum by ({by_cache}) (rate({requests}[15m]))\n< {limits.cache_hit_ratio_threshold:g}\n"
            f"and sum by ({by_cache}) (increase({requests}[15m])) >= {CACHE_ENOUGH}",
            "{{ $value | humanizePercentage }} of the look-ups in {{ $labels.dbsight_cache_name }} of"
            " {{ $labels.job }} are hits",
            "cache_hit_ratio_threshold",
            "5m",
        ),
        Alert(
            "LockLeaks",
            "warning",
            f"{grown('dbsight_lock_leaks_total', '15m', by=by_lock)} > 0",
            "{{ $labels.dbsight_lock_name }} of {{ $labels.job }} was held beyond its time, or never released",
        ),
        Alert(
            "LockContention",
            "warning",
            f'(sum by ({by_lock}) (increase({attempts}{{dbsight_lock_result="failed"}}[15m]))\n'
            f"/ sum by ({by_lock}) (increase({attempts}[15m]))) >= {limits.lock_contention_threshold:g}\n"
            f"and sum by ({by_lock}) (increase({attempts}[15m])) >= {limits.lock_contention_tries_threshold}",
            "{{ $value | humanizePercentage }} of those who want {{ $labels.dbsight_lock_name }} of"
            " {{ $labels.job }} give up",
            "lock_contention_threshold",
        ),
        growing(limits, "ProcessRssGrowing", "process_memory_usage_bytes", "Resident memory"),
        growing(limits, "ProcessVmsGrowing", "process_memory_virtual_bytes", "Virtual memory"),
        Alert(
            "DbsightDropped",
            "warning",
            f"{grown('dbsight_self_dropped_total', '15m', by='job, dbsight_reason')} > 0",
            "dbsight did not remember everything of {{ $labels.job }}: {{ $labels.dbsight_reason }}",
        ),
        Alert(
            "DbHealthCheckFailed",
            "error",
            "min by (job, component) (dbsight_health_status_ratio) == 0",
            "The health check of {{ $labels.component }} in {{ $labels.job }} fails",
            lasting="1m",
        ),
        Alert(
            "DbsightErrors",
            "warning",
            f"{grown('dbsight_self_errors_total', '15m', by='job, dbsight_place')} > 0",
            "dbsight failed inside {{ $labels.job }} at {{ $labels.dbsight_place }}; the application is unharmed",
        ),
    )


def alerts(limits: Settings) -> str:
    """The whole file."""
    rules = (*queries(limits), *pools(limits), *others(limits))
    return HEAD + "\n".join(rule.lines() for rule in rules) + "\n"


def main() -> int:
    """Write or check the file; the exit code is 1 when it is stale."""
    parser = argparse.ArgumentParser(description="Write alerts.yml from the limits that hold in the process.")
    parser.add_argument("--here", action="store_true", help="heed the environment and the file of this directory")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is stale")
    options = parser.parse_args()
    text, path = alerts(Settings.load() if options.here else Settings()), HERE / "alerts.yml"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        sys.stderr.write("stale: alerts.yml; run python collector/generate_alerts.py\n")
        return 1
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
