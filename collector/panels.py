"""The panels of each dashboard.

Metrics are named as Prometheus names those that it gets over OTLP; ``job`` is the service, ``instance`` the process.
"""
# ruff: noqa: INP001 - beside the configurations, not a package

from __future__ import annotations

from dataclasses import dataclass

from promql import JOB, LATENCY, POOL, REDIS, mean, nothing, of, of_redis, quantile, ranked, rate, state


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: What is seen.
        unit: Grafana's name of the unit: ``s``, ``bytes``, ``percentunit``, ``reqps``, ``short``.
        queries: Expressions in PromQL by their legends; several lines each, when the legend has labels in it.
        kind: ``timeseries`` or ``table``; a table shows the whole range at once.
    """

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"


FAILED = f'{JOB},error_type!=""'
HITS = f'{JOB},dbsight_cache_result="hit"'
REQUESTS = '{__name__=~"http_server_(request_duration_seconds|duration_milliseconds)_count",job=~"$job"}'


def _failed(label: str) -> str:
    """Requests with an answer of 5xx; the label has another name in each version of the semantic conventions."""
    return REQUESTS.replace("}", f',{label}=~"5.."}}')


SYSTEM = ("job", "db_system_name")
BY_SYSTEM = ", ".join(SYSTEM)
SUMMARY = of("db_query_summary")
MODEL = of("dbsight_orm_model", "dbsight_orm_operation")
IN_POOL = of(POOL)
PROCESS = of("job", "instance")

QUERIES_A_SECOND = Panel("Queries", "reqps", {of(*SYSTEM): rate(f"{LATENCY}_count", BY_SYSTEM)})
USED = Panel(
    "Part of the pool in use", "percentunit", {IN_POOL: f"max by ({POOL}) (dbsight_pool_usage_ratio{{{JOB}}})"}
)
HIT_RATIO = Panel(
    "Hits",
    "percentunit",
    {
        of("dbsight_cache_name"): f"{rate('dbsight_cache_requests_total', 'dbsight_cache_name', HITS)}"
        f" / {rate('dbsight_cache_requests_total', 'dbsight_cache_name')}"
    },
)
RESIDENT = Panel("Resident memory", "bytes", {PROCESS: state("process_memory_usage_bytes", "job, instance")})
SEVERITIES = Panel(
    "Findings by severity",
    "reqps",
    {of("dbsight_finding_severity"): rate("dbsight_findings_total", "dbsight_finding_severity")},
)
CLASSES = Panel(
    "Queries by how slow they were",
    "reqps",
    {of("dbsight_query_class"): rate("dbsight_queries_total", "dbsight_query_class")},
)

OVERVIEW = (
    Panel("Requests", "reqps", {of("job"): f"sum by (job) (rate({REQUESTS}[$__rate_interval]))"}),
    Panel(
        "Duration of a request, p95",
        "s",
        {
            of("job"): f"{quantile(0.95, 'http_server_request_duration_seconds', 'job')}"
            f" or {quantile(0.95, 'http_server_duration_milliseconds', 'job')} / 1000"
        },
    ),
    Panel(
        "Failed requests",
        "percentunit",
        {
            of("job"): f"(sum by (job) (rate({_failed('http_response_status_code')}[$__rate_interval]))"
            f" or sum by (job) (rate({_failed('http_status_code')}[$__rate_interval]))"
            f" or 0 * sum by (job) (rate({REQUESTS}[$__rate_interval])))"
            f" / sum by (job) (rate({REQUESTS}[$__rate_interval]))"
        },
    ),
    QUERIES_A_SECOND,
    Panel(
        "Queries in a request, p95",
        "short",
        {of("http_route"): quantile(0.95, "dbsight_request_queries", "http_route")},
    ),
    Panel("Duration of a query, p95", "s", {of(*SYSTEM): quantile(0.95, LATENCY, BY_SYSTEM)}),
    Panel("Duration of a query, mean", "s", {of(*SYSTEM): mean(LATENCY, BY_SYSTEM)}),
    Panel("Time in the database, each second", "s", {of("job"): rate(f"{LATENCY}_sum", "job")}),
    Panel(
        "Failed queries",
        "percentunit",
        {
            of("job"): f"({rate(f'{LATENCY}_count', 'job', FAILED)} or 0 * {rate(f'{LATENCY}_count', 'job')})"
            f" / {rate(f'{LATENCY}_count', 'job')}"
        },
    ),
    CLASSES,
    SEVERITIES,
    USED,
    HIT_RATIO,
    RESIDENT,
)

QUERIES = (
    Panel("Most time", "s", {SUMMARY: ranked(f"{LATENCY}_sum", "job, db_system_name, db_query_summary")}, "table"),
    Panel(
        "Most often", "short", {SUMMARY: ranked(f"{LATENCY}_count", "job, db_system_name, db_query_summary")}, "table"
    ),
    Panel(
        "Most rows",
        "short",
        {SUMMARY: ranked("db_client_response_returned_rows_sum", "job, db_system_name, db_query_summary")},
        "table",
    ),
    Panel(
        "Duration",
        "s",
        {f"p{part * 100:g} {of(*SYSTEM)}": quantile(part, LATENCY, BY_SYSTEM) for part in (0.5, 0.95, 0.99)},
    ),
    Panel("Duration, p95", "s", {SUMMARY: f"topk(10, {quantile(0.95, LATENCY, 'db_query_summary')})"}),
    Panel("Time, each second", "s", {SUMMARY: f"topk(10, {rate(f'{LATENCY}_sum', 'db_query_summary')})"}),
    Panel(
        "Models: objects by what the ORM did",
        "short",
        {MODEL: ranked("dbsight_orm_operations_total", "job, dbsight_orm_model, dbsight_orm_operation")},
        "table",
    ),
    Panel(
        "Models: time in the database",
        "s",
        {MODEL: f"topk(10, {rate('dbsight_orm_duration_seconds_sum', 'dbsight_orm_model, dbsight_orm_operation')})"},
    ),
    Panel("Queries by type", "reqps", {of("dbsight_query_type"): rate("dbsight_queries_total", "dbsight_query_type")}),
    CLASSES,
    Panel(
        "Errors",
        "reqps",
        {
            of("error_type", "db_response_status_code"): nothing(
                rate(f"{LATENCY}_count", "error_type, db_response_status_code", FAILED)
            )
        },
    ),
    Panel(
        "Rows of a query, p95",
        "short",
        {SUMMARY: f"topk(10, {quantile(0.95, 'db_client_response_returned_rows', 'db_query_summary')})"},
    ),
    Panel(
        "Transactions",
        "reqps",
        {
            of("dbsight_transaction_result"): rate(
                "dbsight_transaction_duration_seconds_count", "dbsight_transaction_result"
            )
        },
    ),
    Panel(
        "Transactions, p95",
        "s",
        {
            of("dbsight_transaction_result"): quantile(
                0.95, "dbsight_transaction_duration_seconds", "dbsight_transaction_result"
            )
        },
    ),
)

FINDINGS = (
    Panel(
        "All of the time that is shown",
        "short",
        {
            of("dbsight_finding_rule"): ranked(
                "dbsight_findings_total",
                "job, dbsight_finding_rule, dbsight_finding_severity, dbsight_finding_category",
            )
        },
        "table",
    ),
    Panel(
        "Findings by rule",
        "reqps",
        {of("dbsight_finding_rule"): rate("dbsight_findings_total", "dbsight_finding_rule")},
    ),
    SEVERITIES,
    Panel(
        "N+1",
        "reqps",
        {of("job"): nothing(rate("dbsight_findings_total", "job", f'{JOB},dbsight_finding_rule="n_plus_one"'))},
    ),
    Panel(
        "Event loops that stood still, p95",
        "s",
        {of("job"): quantile(0.95, "dbsight_eventloop_blocked_seconds", "job")},
    ),
    Panel(
        "Queries in a request, p95",
        "short",
        {of("http_route"): quantile(0.95, "dbsight_request_queries", "http_route")},
    ),
)

POOLS = (
    Panel(
        "Connections",
        "short",
        {
            of(POOL, "db_client_connection_state"): state(
                "db_client_connection_count", f"{POOL}, db_client_connection_state"
            ),
            f"{IN_POOL} at most": state("db_client_connection_max", POOL),
        },
    ),
    USED,
    Panel("Waiting for a connection", "short", {IN_POOL: state("db_client_connection_pending_requests", POOL)}),
    Panel("Wait, p95", "s", {IN_POOL: quantile(0.95, "db_client_connection_wait_time_seconds", POOL)}),
    Panel("Use, p95", "s", {IN_POOL: quantile(0.95, "db_client_connection_use_time_seconds", POOL)}),
    Panel("Making one, p95", "s", {IN_POOL: quantile(0.95, "db_client_connection_create_time_seconds", POOL)}),
    Panel(
        "In vain, failed, leaked",
        "reqps",
        {
            f"{IN_POOL} timeouts": nothing(rate("db_client_connection_timeouts_total", POOL)),
            f"{IN_POOL} failures": nothing(rate("dbsight_connection_failures_total", POOL)),
            f"{IN_POOL} leaks": nothing(rate("dbsight_connection_leaks_total", POOL)),
        },
    ),
    Panel(
        "Made and closed",
        "reqps",
        {
            f"{IN_POOL} made": rate("dbsight_pool_created_total", POOL),
            f"{IN_POOL} closed": rate("dbsight_pool_closed_total", POOL),
        },
    ),
    Panel("Age when closed, p50", "s", {IN_POOL: quantile(0.5, "dbsight_connection_age_seconds", POOL)}),
    Panel(
        "Idle connections that are kept",
        "short",
        {
            f"{IN_POOL} at least": state("db_client_connection_idle_min", POOL),
            f"{IN_POOL} at most": state("db_client_connection_idle_max", POOL),
        },
    ),
    Panel("Beyond those that are kept", "short", {IN_POOL: state("dbsight_pool_overflow", POOL)}),
    Panel("Unused for", "s", {IN_POOL: f"max by ({POOL}) (dbsight_pool_idle_time_seconds{{{JOB}}})"}),
    Panel(
        "Pools, clients, engines",
        "short",
        {
            f"{PROCESS} pools": state("dbsight_pools", "job, instance"),
            f"{PROCESS} clients": state("dbsight_pool_clients", "job, instance"),
            f"{PROCESS} engines": state("dbsight_engines", "job, instance"),
        },
    ),
)

CONNECTIONS = "db_client_connection_count"
REDIS_PANELS = (
    Panel("Commands", "reqps", {SUMMARY: f"topk(10, {rate(f'{LATENCY}_count', 'db_query_summary', REDIS)})"}),
    Panel("Duration, p95", "s", {SUMMARY: f"topk(10, {quantile(0.95, LATENCY, 'db_query_summary', REDIS)})"}),
    Panel("Time, each second", "s", {SUMMARY: f"topk(10, {rate(f'{LATENCY}_sum', 'db_query_summary', REDIS)})"}),
    Panel(
        "Errors",
        "reqps",
        {
            of("db_response_status_code", "error_type"): nothing(
                rate(f"{LATENCY}_count", "db_response_status_code, error_type", f'{REDIS},error_type!=""')
            )
        },
    ),
    Panel(
        "Slow commands",
        "reqps",
        {
            of("dbsight_query_class"): nothing(
                rate("dbsight_queries_total", "dbsight_query_class", f'{REDIS},dbsight_query_class!="normal"')
            )
        },
    ),
    Panel(
        "Connections",
        "short",
        {of(POOL, "db_client_connection_state"): of_redis(state(CONNECTIONS, f"{POOL}, db_client_connection_state"))},
    ),
    Panel(
        "Part of the pool in use",
        "percentunit",
        {IN_POOL: of_redis(f"max by ({POOL}) (dbsight_pool_usage_ratio{{{JOB}}})")},
    ),
    Panel("Wait, p95", "s", {IN_POOL: of_redis(quantile(0.95, "db_client_connection_wait_time_seconds", POOL))}),
    Panel(
        "Pools and clients that share them",
        "short",
        {
            f"{IN_POOL} pools": of_redis(state("dbsight_pools", POOL)),
            f"{IN_POOL} clients": of_redis(state("dbsight_pool_clients", POOL)),
        },
    ),
    Panel(
        "Idle connections that could not be closed",
        "reqps",
        {IN_POOL: nothing(rate("dbsight_pool_cleanup_failures_total", POOL))},
    ),
)

CACHE, LOCK = "dbsight_cache_name", "dbsight_lock_name"
CACHES_AND_LOCKS = (
    HIT_RATIO,
    Panel(
        "Look-ups",
        "reqps",
        {of(CACHE, "dbsight_cache_result"): rate("dbsight_cache_requests_total", f"{CACHE}, dbsight_cache_result")},
    ),
    Panel("Evictions", "reqps", {of(CACHE): nothing(rate("dbsight_cache_evictions_total", CACHE))}),
    Panel(
        "Size of what was found, p95", "bytes", {of(CACHE): quantile(0.95, "dbsight_cache_payload_size_bytes", CACHE)}
    ),
    Panel(
        "Most look-ups",
        "short",
        {
            of(CACHE): ranked(
                "dbsight_cache_requests_total",
                f"job, {CACHE}, dbsight_cache_layer, dbsight_cache_key_prefix, dbsight_cache_result",
            )
        },
        "table",
    ),
    Panel(
        "Tries to take a lock",
        "reqps",
        {of(LOCK, "dbsight_lock_result"): rate("dbsight_lock_attempts_total", f"{LOCK}, dbsight_lock_result")},
    ),
    Panel(
        "Time to take it, or to give up, p95",
        "s",
        {
            of(LOCK, "dbsight_lock_result"): quantile(
                0.95, "dbsight_lock_acquire_duration_seconds", f"{LOCK}, dbsight_lock_result"
            )
        },
    ),
    Panel("Time that it was held, p95", "s", {of(LOCK): quantile(0.95, "dbsight_lock_hold_duration_seconds", LOCK)}),
    Panel(
        "Held beyond its time, or never released", "reqps", {of(LOCK): nothing(rate("dbsight_lock_leaks_total", LOCK))}
    ),
)

MEMORY = (
    RESIDENT,
    Panel("Virtual memory", "bytes", {PROCESS: state("process_memory_virtual_bytes", "job, instance")}),
    Panel(
        "All processes of a service",
        "bytes",
        {
            f"{of('job')} resident": state("process_memory_usage_bytes", "job"),
            f"{of('job')} virtual": state("process_memory_virtual_bytes", "job"),
        },
    ),
    Panel("Growth of resident memory", "Bps", {PROCESS: f"deriv(process_memory_usage_bytes{{{JOB}}}[15m])"}),
    Panel(
        "Collections of garbage",
        "reqps",
        {f"generation {of('cpython_gc_generation')}": rate("cpython_gc_collections_total", "cpython_gc_generation")},
    ),
    Panel(
        "Objects that were collected, and that could not be",
        "reqps",
        {
            f"{of('job')} collected": rate("cpython_gc_collected_objects_total", "job"),
            f"{of('job')} uncollectable": rate("cpython_gc_uncollectable_objects_total", "job"),
        },
    ),
    Panel("Processes", "short", {of("job"): f"count by (job) (process_memory_usage_bytes{{{JOB}}})"}),
)

TELEMETRY = (
    Panel(
        "Not remembered, because a bound was reached",
        "reqps",
        {of("job", "dbsight_reason"): nothing(rate("dbsight_self_dropped_total", "job, dbsight_reason"))},
    ),
    Panel(
        "Failures inside dbsight",
        "reqps",
        {of("job", "dbsight_place"): nothing(rate("dbsight_self_errors_total", "job, dbsight_place"))},
    ),
    Panel(
        "Spans at the collector",
        "reqps",
        {
            "accepted": "sum(rate(otelcol_receiver_accepted_spans_total[$__rate_interval]))",
            "refused": nothing("sum(rate(otelcol_receiver_refused_spans_total[$__rate_interval]))"),
            "sent": "sum(rate(otelcol_exporter_sent_spans_total[$__rate_interval]))",
            "failed": nothing("sum(rate(otelcol_exporter_send_failed_spans_total[$__rate_interval]))"),
        },
    ),
    Panel(
        "Metrics at the collector",
        "reqps",
        {
            "accepted": "sum(rate(otelcol_receiver_accepted_metric_points_total[$__rate_interval]))",
            "sent": "sum(rate(otelcol_exporter_sent_metric_points_total[$__rate_interval]))",
        },
    ),
    Panel(
        "Findings at the collector, before any sampling",
        "reqps",
        {
            of("dbsight_finding_rule"): "sum by (dbsight_finding_rule)"
            " (rate(traces_dbsight_findings_total[$__rate_interval]))"
        },
    ),
    Panel(
        "Waiting to be sent",
        "short",
        {of("exporter"): "sum by (exporter) (otelcol_exporter_queue_size)"},
    ),
    Panel("Memory of the collector", "bytes", {of("job"): "sum by (job) (otelcol_process_memory_rss_bytes)"}),
)
