"""The alerting rules as Prometheus's own promtool reads them: each fires when it should, and not when it should not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

COLLECTOR = Path(__file__).parents[2] / "collector"
RULES = COLLECTOR / "alerts.yml"

LATENCY = "db_client_operation_duration_seconds"
DAY = 144
"""Points, ten minutes apart."""


def flat(value, minutes=60):
    """A series that does not change, a point a minute."""
    return f"{value}x{minutes}"


def rising(step, start=0, minutes=60):
    """A series that grows by so much a minute."""
    return f"{start}+{step}x{minutes}"


def quantile(name, bucket, minutes=60):
    """A histogram, all of whose measurements lie between the bound ``bucket`` and the one before it."""
    bounds = ("0.005", "0.05", "0.1", "0.5", "1", "5", "10", "+Inf")
    return {
        f'{name}_bucket{{le="{bound}"}}': rising(10 if float(bound) >= float(bucket) else 0, minutes=minutes)
        for bound in bounds
    }


def mean(seconds, a_minute=60):
    """Queries so many a minute, of so many seconds each."""
    return {f"{LATENCY}_sum": rising(seconds * a_minute), f"{LATENCY}_count": rising(a_minute)}


def failing(part):
    """A hundred queries a minute, of which a part fails."""
    return {
        f'{LATENCY}_count{{error_type="Error"}}': rising(100 * part),
        f"{LATENCY}_count": rising(100 - 100 * part),
    }


def yesterday_and_today(then, now):
    """A query that takes so many seconds on one day and so many on the next, a point every ten minutes."""
    name = f'{LATENCY}_sum{{db_query_summary="SELECT orders"}}'
    return {
        name: f"{rising(then * 600, minutes=DAY)} {rising(now * 600, then * 600 * DAY, minutes=20)}",
        name.replace("_sum{", "_count{"): rising(600, minutes=DAY + 20),
    }


def looked_up(hits):
    """A hundred look-ups a minute, so many of them hits."""
    name = 'dbsight_cache_requests_total{dbsight_cache_name="prices",dbsight_cache_result='
    return {f'{name}"hit"}}': rising(hits), f'{name}"miss"}}': rising(100 - hits)}


def acquired(failed, a_minute=10):
    """Tries to take a lock, a part of which fails."""
    name = 'dbsight_lock_acquire_duration_seconds_count{dbsight_lock_name="cart",dbsight_lock_result='
    return {f'{name}"failed"}}': rising(a_minute * failed), f'{name}"acquired"}}': rising(a_minute * (1 - failed))}


def once(series, value=1):
    """A counter that is seen for the first time after half an hour, with this value already."""
    return {series: f"_x30 {flat(value, 30)}"}


def churned(created, used):
    """Connections made and uses of them, so many a minute."""
    return {"dbsight_pool_created_total": rising(created), "db_client_connection_use_time_seconds_count": rising(used)}


CASES = {
    "DbSlowQuery": (
        once('dbsight_queries_total{dbsight_query_class="slow"}'),
        {
            'dbsight_queries_total{dbsight_query_class="normal"}': rising(9),
            'dbsight_queries_total{dbsight_query_class="slow"}': flat(3),
        },
    ),
    "DbVerySlowQuery": (
        once('dbsight_queries_total{dbsight_query_class="very_slow"}'),
        once('dbsight_queries_total{dbsight_query_class="slow"}'),
    ),
    "DbErrorRateHigh": (failing(0.051), failing(0.049)),
    "DbAvgQueryTimeHigh": (mean(0.51), mean(0.49)),
    "DbQpsHigh": (mean(0.001, 6060), mean(0.001, 5940)),
    "DbLatencyRegression": (yesterday_and_today(0.01, 0.016), yesterday_and_today(0.01, 0.014)),
    "DbFinding": (
        once('dbsight_findings_total{dbsight_finding_severity="error"}'),
        once('dbsight_findings_total{dbsight_finding_severity="warning"}'),
    ),
    "DbNPlusOne": (
        once('dbsight_findings_total{dbsight_finding_rule="n_plus_one",dbsight_finding_severity="warning"}'),
        once('dbsight_findings_total{dbsight_finding_rule="n_plus_one",dbsight_finding_severity="info"}'),
    ),
    "DbTransactionLong": (
        quantile("dbsight_transaction_duration_seconds", 10),
        quantile("dbsight_transaction_duration_seconds", 5),
    ),
    "EventLoopBlocked": (
        quantile("dbsight_eventloop_blocked_seconds", 0.1),
        quantile("dbsight_eventloop_blocked_seconds", 0.05),
    ),
    "DbPoolUsageHigh": ({"dbsight_pool_usage_ratio": flat(0.9)}, {"dbsight_pool_usage_ratio": flat(0.8)}),
    "DbPoolTimeouts": (once("db_client_connection_timeouts_total"), {"db_client_connection_timeouts_total": flat(4)}),
    "DbPoolWaitHigh": (
        quantile("db_client_connection_wait_time_seconds", 0.5),
        quantile("db_client_connection_wait_time_seconds", 0.1),
    ),
    "DbPoolPending": (
        {"db_client_connection_pending_requests": flat(1)},
        {"db_client_connection_pending_requests": f"0x57 {flat(1, 2)}"},
    ),
    "DbConnectionFailures": (
        once("dbsight_connection_failures_total", 11),
        once("dbsight_connection_failures_total", 10),
    ),
    "DbConnectionLeaks": (once("dbsight_connection_leaks_total", 5), once("dbsight_connection_leaks_total", 4)),
    "DbPoolCountHigh": ({"dbsight_pools": flat(101)}, {"dbsight_pools": flat(100)}),
    "DbConnectionsGrowing": (
        {"db_client_connection_count": f"10x30 {rising(5, 10, 30)}"},
        {"db_client_connection_count": f"10x30 {rising(1, 10, 30)}"},
    ),
    "DbPoolChurn": (churned(10, 15), churned(10, 25)),
    "PoolCleanupFailures": (
        once("dbsight_pool_cleanup_failures_total"),
        {"dbsight_pool_cleanup_failures_total": flat(2)},
    ),
    "CacheHitRatioLow": (looked_up(69), looked_up(71)),
    "LockLeaks": (once("dbsight_lock_leaks_total"), {"dbsight_lock_leaks_total": flat(1)}),
    "LockContention": (acquired(0.6), acquired(0.4)),
    "ProcessRssGrowing": (
        {"process_memory_usage_bytes": rising(4e6, 100e6)},
        {"process_memory_usage_bytes": rising(3e6, 100e6)},
    ),
    "ProcessVmsGrowing": (
        {"process_memory_virtual_bytes": rising(4e6, 100e6)},
        {"process_memory_virtual_bytes": rising(4e6, 900e6)},
    ),
    "DbsightDropped": (once("dbsight_self_dropped_total"), {"dbsight_self_dropped_total": flat(7)}),
    "DbHealthCheckFailed": (
        {"dbsight_health_status_ratio": flat(0)},
        {"dbsight_health_status_ratio": flat(1)},
    ),
    "DbsightErrors": (once("dbsight_self_errors_total"), {"dbsight_self_errors_total": flat(7)}),
}
"""Series on which an alert must be firing, and others on which it must not."""

QUIET_TOO = {
    "DbErrorRateHigh": {f'{LATENCY}_count{{error_type="Error"}}': rising(1)},
    "CacheHitRatioLow": {'dbsight_cache_requests_total{dbsight_cache_result="miss"}': rising(5)},
    "LockContention": acquired(1, 0.5),
}
"""Ratios of too few to say anything."""


def test_the_file_is_the_one_that_the_limits_give():
    """``--check`` says so, and writes nothing."""
    check = [sys.executable, str(COLLECTOR / "generate_alerts.py"), "--check"]
    assert subprocess.run(check, check=False, capture_output=True, text=True).stderr == ""


def test_limits_of_this_place_reach_the_rules(tmp_path):
    """``--here`` heeds the environment as the application does; without it, it is not read."""
    (tmp_path / "generate_alerts.py").write_text((COLLECTOR / "generate_alerts.py").read_text())
    here = [sys.executable, str(tmp_path / "generate_alerts.py"), "--here"]
    subprocess.run(here, check=True, cwd=tmp_path, env={**os.environ, "OTEL_DBSIGHT_QPS_THRESHOLD": "4321"})
    changed = [line for line in (tmp_path / "alerts.yml").read_text().splitlines() if "4321" in line]
    assert changed == [f"          sum by (job) (rate({LATENCY}_count[5m])) > 4321"]


def test_every_rule_has_series_that_fire_and_series_that_do_not():
    """So that none goes untested."""
    assert re.findall(r"- alert: (\w+)", RULES.read_text()) == [*CASES]


def labelled(series):
    """The name of a series with the labels that all have."""
    name, _, labels = series.partition("{")
    return f'{name}{{job="shop",instance="one",{labels or "}"}'


def expecting(alert, series, count):
    """A test of promtool: how many alerts of this name fire at once in the last part of the time."""
    end, step, last = ("26h", "10m", "1h") if alert == "DbLatencyRegression" else ("58m", "1m", "28m")
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    return {
        "name": f"{alert} {'fires' if count else 'is silent'}",
        "interval": step,
        "input_series": [{"series": labelled(name), "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"max_over_time(({firing})[{last}:{step}])",
                "eval_time": end,
                "exp_samples": [{"labels": "{}", "value": count}],
            }
        ],
    }


def test_each_rule_fires_when_it_should_and_is_silent_when_not(promtool_program, tmp_path):
    """By promtool, on the series above; each rule is read from a file of its own, since all on all take minutes."""
    head, *rules = re.split(r"(?=^ +- alert: )", RULES.read_text(), flags=re.MULTILINE)
    files = []
    for rule, (alert, (fires, silent)) in zip(rules, CASES.items(), strict=True):
        (tmp_path / f"{alert}.yml").write_text(head + rule)
        cases = [(fires, 1), (silent, 0), *([(QUIET_TOO[alert], 0)] if alert in QUIET_TOO else [])]
        tests = [expecting(alert, series, count) for series, count in cases]
        asked = {"rule_files": [f"{alert}.yml"], "evaluation_interval": tests[0]["interval"], "tests": tests}
        files.append(tmp_path / f"{alert}_test.yml")
        files[-1].write_text(json.dumps(asked))  # JSON is YAML
    told = subprocess.run([promtool_program, "test", "rules", *files], check=False, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, ""), told.stdout + told.stderr
