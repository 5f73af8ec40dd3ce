"""dbsight: an OpenTelemetry distribution that tells you why your database is slow.

The public face: names only, loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbsight.bench.benchmark import BenchmarkResult, benchmark
    from dbsight.bench.load import LoadTestResult, load_test
    from dbsight.budgets import budget
    from dbsight.config import Settings
    from dbsight.distro import configure
    from dbsight.facade.exporting import APMIntegration, PrometheusExporter, setup
    from dbsight.facade.models import CacheStats, ModelStats, model_stats
    from dbsight.facade.monitor import (
        DatabasePerformanceMonitor,
        PerformanceStats,
        PerformanceThresholds,
        QueryType,
        SlowQueryRecord,
        create_performance_monitor,
    )
    from dbsight.facade.pools import (
        ConnectionPoolManager,
        PoolStats,
        connection_pool,
        development_config,
        high_performance_config,
        production_config,
    )
    from dbsight.facade.totals import (
        QueryStats,
        cache_stats,
        get_pool_count,
        get_pool_info,
        get_process_memory,
        lock_stats,
        metrics,
        on_alert,
        pool_stats,
        reset,
        stats,
    )
    from dbsight.health import Health, Healthz, WSGIHealthz, health_check
    from dbsight.instrument.aiomysql import AioMySQLInstrumentor
    from dbsight.instrument.aiosqlite import AioSQLiteInstrumentor
    from dbsight.instrument.asyncmy import AsyncmyInstrumentor
    from dbsight.instrument.asyncpg import AsyncpgInstrumentor
    from dbsight.instrument.caches import CacheInstrumentor, watch_cache
    from dbsight.instrument.locks import LockInstrumentor
    from dbsight.instrument.mysqlclient import MySQLClientInstrumentor
    from dbsight.instrument.pools.asyncpg import AsyncpgPoolInstrumentor
    from dbsight.instrument.pools.psycopg import PsycopgPoolInstrumentor
    from dbsight.instrument.psycopg import PsycopgInstrumentor
    from dbsight.instrument.psycopg2 import Psycopg2Instrumentor
    from dbsight.instrument.pymysql import PyMySQLInstrumentor
    from dbsight.instrument.recorded import record_query
    from dbsight.instrument.redis import RedisInstrumentor, ValkeyInstrumentor
    from dbsight.instrument.sqlalchemy import SQLAlchemyInstrumentor
    from dbsight.instrument.sqlite3 import SQLite3Instrumentor
    from dbsight.model import Alert, AlertSeverity, Recommendation
    from dbsight.notebook import load_ipython_extension
    from dbsight.plans.advice import advise_index
    from dbsight.plans.errors import ExplainError, ExplainRefusedError
    from dbsight.plans.explain import explain
    from dbsight.plans.index_report import index_report
    from dbsight.plans.issues import ExplainAnalyzer
    from dbsight.processor import DbsightSpanProcessor
    from dbsight.profiler import PerformanceMonitor, QueryProfiler, measure, measurements, profile
    from dbsight.redis_pools import SharedPoolRegistry, redis_pool
    from dbsight.report.query_log import set_log_level
    from dbsight.scope import allow
    from dbsight.testing import assert_no_findings, assert_queries
    from dbsight.version import __version__

_HOMES = {
    "APMIntegration": "dbsight.facade.exporting",
    "Alert": "dbsight.model",
    "AlertSeverity": "dbsight.model",
    "AioSQLiteInstrumentor": "dbsight.instrument.aiosqlite",
    "AsyncmyInstrumentor": "dbsight.instrument.asyncmy",
    "AsyncpgInstrumentor": "dbsight.instrument.asyncpg",
    "PsycopgInstrumentor": "dbsight.instrument.psycopg",
    "Psycopg2Instrumentor": "dbsight.instrument.psycopg2",
    "PyMySQLInstrumentor": "dbsight.instrument.pymysql",
    "SQLite3Instrumentor": "dbsight.instrument.sqlite3",
    "AioMySQLInstrumentor": "dbsight.instrument.aiomysql",
    "MySQLClientInstrumentor": "dbsight.instrument.mysqlclient",
    "AsyncpgPoolInstrumentor": "dbsight.instrument.pools.asyncpg",
    "BenchmarkResult": "dbsight.bench.benchmark",
    "CacheInstrumentor": "dbsight.instrument.caches",
    "ConnectionPoolManager": "dbsight.facade.pools",
    "CacheStats": "dbsight.facade.models",
    "DatabasePerformanceMonitor": "dbsight.facade.monitor",
    "DbsightSpanProcessor": "dbsight.processor",
    "ExplainAnalyzer": "dbsight.plans.issues",
    "ExplainError": "dbsight.plans.errors",
    "ExplainRefusedError": "dbsight.plans.errors",
    "Health": "dbsight.health",
    "Healthz": "dbsight.health",
    "LoadTestResult": "dbsight.bench.load",
    "LockInstrumentor": "dbsight.instrument.locks",
    "ModelStats": "dbsight.facade.models",
    "PerformanceMonitor": "dbsight.profiler",
    "PerformanceStats": "dbsight.facade.monitor",
    "PerformanceThresholds": "dbsight.facade.monitor",
    "PoolStats": "dbsight.facade.pools",
    "PrometheusExporter": "dbsight.facade.exporting",
    "PsycopgPoolInstrumentor": "dbsight.instrument.pools.psycopg",
    "QueryProfiler": "dbsight.profiler",
    "QueryStats": "dbsight.facade.totals",
    "QueryType": "dbsight.facade.monitor",
    "Recommendation": "dbsight.model",
    "RedisInstrumentor": "dbsight.instrument.redis",
    "SQLAlchemyInstrumentor": "dbsight.instrument.sqlalchemy",
    "Settings": "dbsight.config",
    "SharedPoolRegistry": "dbsight.redis_pools",
    "SlowQueryRecord": "dbsight.facade.monitor",
    "ValkeyInstrumentor": "dbsight.instrument.redis",
    "WSGIHealthz": "dbsight.health",
    "__version__": "dbsight.version",
    "advise_index": "dbsight.plans.advice",
    "allow": "dbsight.scope",
    "assert_no_findings": "dbsight.testing",
    "assert_queries": "dbsight.testing",
    "benchmark": "dbsight.bench.benchmark",
    "budget": "dbsight.budgets",
    "cache_stats": "dbsight.facade.totals",
    "configure": "dbsight.distro",
    "connection_pool": "dbsight.facade.pools",
    "create_performance_monitor": "dbsight.facade.monitor",
    "development_config": "dbsight.facade.pools",
    "explain": "dbsight.plans.explain",
    "get_pool_count": "dbsight.facade.totals",
    "get_pool_info": "dbsight.facade.totals",
    "get_process_memory": "dbsight.facade.totals",
    "health_check": "dbsight.health",
    "index_report": "dbsight.plans.index_report",
    "high_performance_config": "dbsight.facade.pools",
    "load_ipython_extension": "dbsight.notebook",
    "load_test": "dbsight.bench.load",
    "lock_stats": "dbsight.facade.totals",
    "measure": "dbsight.profiler",
    "measurements": "dbsight.profiler",
    "metrics": "dbsight.facade.totals",
    "model_stats": "dbsight.facade.models",
    "on_alert": "dbsight.facade.totals",
    "pool_stats": "dbsight.facade.totals",
    "production_config": "dbsight.facade.pools",
    "profile": "dbsight.profiler",
    "record_query": "dbsight.instrument.recorded",
    "redis_pool": "dbsight.redis_pools",
    "reset": "dbsight.facade.totals",
    "set_log_level": "dbsight.report.query_log",
    "setup": "dbsight.facade.exporting",
    "stats": "dbsight.facade.totals",
    "watch_cache": "dbsight.instrument.caches",
}

__all__ = [
    "APMIntegration",
    "AioMySQLInstrumentor",
    "AioSQLiteInstrumentor",
    "Alert",
    "AlertSeverity",
    "AsyncmyInstrumentor",
    "AsyncpgInstrumentor",
    "AsyncpgPoolInstrumentor",
    "BenchmarkResult",
    "CacheInstrumentor",
    "CacheStats",
    "ConnectionPoolManager",
    "DatabasePerformanceMonitor",
    "DbsightSpanProcessor",
    "ExplainAnalyzer",
    "ExplainError",
    "ExplainRefusedError",
    "Health",
    "Healthz",
    "LoadTestResult",
    "LockInstrumentor",
    "ModelStats",
    "MySQLClientInstrumentor",
    "PerformanceMonitor",
    "PerformanceStats",
    "PerformanceThresholds",
    "PoolStats",
    "PrometheusExporter",
    "Psycopg2Instrumentor",
    "PsycopgInstrumentor",
    "PsycopgPoolInstrumentor",
    "PyMySQLInstrumentor",
    "QueryProfiler",
    "QueryStats",
    "QueryType",
    "Recommendation",
    "RedisInstrumentor",
    "SQLAlchemyInstrumentor",
    "SQLite3Instrumentor",
    "Settings",
    "SharedPoolRegistry",
    "SlowQueryRecord",
    "ValkeyInstrumentor",
    "WSGIHealthz",
    "__version__",
    "advise_index",
    "allow",
    "assert_no_findings",
    "assert_queries",
    "benchmark",
    "budget",
    "cache_stats",
    "configure",
    "connection_pool",
    "create_performance_monitor",
    "development_config",
    "explain",
    "get_pool_count",
    "get_pool_info",
    "get_process_memory",
    "health_check",
    "high_performance_config",
    "index_report",
    "load_ipython_extension",
    "load_test",
    "lock_stats",
    "measure",
    "measurements",
    "metrics",
    "model_stats",
    "on_alert",
    "pool_stats",
    "production_config",
    "profile",
    "record_query",
    "redis_pool",
    "reset",
    "set_log_level",
    "setup",
    "stats",
    "watch_cache",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dbsight' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
