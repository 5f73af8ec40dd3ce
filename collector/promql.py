"""What the panels of the dashboards ask Prometheus, put together."""
# ruff: noqa: INP001 - beside the configurations, not a package

from __future__ import annotations

LATENCY = "db_client_operation_duration_seconds"
POOL = "db_client_connection_pool_name"
JOB = 'job=~"$job"'
REDIS = f'{JOB},db_system_name=~"redis|valkey"'


def rate(metric: str, by: str, selector: str = JOB) -> str:
    """Per second, summed up."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def state(metric: str, by: str, selector: str = JOB) -> str:
    """As it stands, summed up."""
    return f"sum by ({by}) ({metric}{{{selector}}})"


def quantile(part: float, histogram: str, by: str, selector: str = JOB) -> str:
    """Of the measurements of a while."""
    return f"histogram_quantile({part:g}, {rate(f'{histogram}_bucket', f'{by}, le', selector)})"


def mean(histogram: str, by: str, selector: str = JOB) -> str:
    """Of the measurements of a while."""
    return f"{rate(f'{histogram}_sum', by, selector)} / {rate(f'{histogram}_count', by, selector)}"


def ranked(metric: str, by: str, selector: str = JOB, count: int = 20) -> str:
    """The greatest of the whole range that is shown."""
    return f"topk({count}, sum by ({by}) (increase({metric}{{{selector}}}[$__range])))"


def nothing(expression: str) -> str:
    """Zero where there is nothing to be told of."""
    return f"{expression} or vector(0)"


def of_redis(expression: str) -> str:
    """Of the pools that lead to where Redis was asked something: a pool does not say what it leads to."""
    asked = f"sum by (server_address, server_port, db_namespace) ({LATENCY}_count{{{REDIS}}})"
    where = f'label_join({asked}, "where", ":", "server_address", "server_port")'
    return f'{expression} and on ({POOL}) label_join({where}, "{POOL}", "/", "where", "db_namespace")'


def of(*labels: str) -> str:
    """A legend of labels."""
    return " ".join(f"{{{{{label}}}}}" for label in labels)
