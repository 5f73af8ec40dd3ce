"""The blocks of a guide to profiling and monitoring of an object-relational mapper; README.md has the table."""

import gc
import logging
import os
import socket
import subprocess
import sys

import cachetools
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, StaticPool

import dbsight
from capabilities import hosts
from capabilities.guided import run
from dbsight import profiler, recording
from dbsight.bench import observed

BASIC_PROFILING = """
from dbsight import QueryProfiler

# Profile a specific operation
with QueryProfiler() as profiler:
    users = User.objects.filter(status='active').order_by('name').all()

# View profiling results
print(f"Total queries: {profiler.query_count}")
print(f"Total duration: {profiler.total_duration_ms} ms")
print(f"Average duration: {profiler.average_duration_ms} ms")

# Examine individual queries
for i, query in enumerate(profiler.queries, 1):
    print(f"Query {i}: {query.sql}")
    print(f"Parameters: {query.params}")
    print(f"Duration: {query.duration_ms} ms")
    print(f"Rows: {query.row_count}")
"""

DETAILED_ANALYSIS = """
from dbsight import QueryProfiler

# Profile with detailed analysis
with QueryProfiler(analyze=True) as profiler:
    # Perform multiple operations
    users = User.objects.all()
    for user in users:
        user.articles.filter(status='published').all()

# Get a summary report
report = profiler.summary()
print(report)

# Identify N+1 query patterns
n_plus_one = profiler.detect_n_plus_one()
for pattern in n_plus_one:
    print(f"N+1 pattern detected: {pattern.description}")
    print(f"Main query: {pattern.main_query}")
    print(f"Repeated queries: {pattern.repeated_query} (executed {pattern.count} times)")
    print(f"Suggested fix: {pattern.suggestion}")
"""

EXECUTION_PLAN = """
# Get the execution plan for a query
query = Article.objects.filter(status='published').order_by('-published_at')
execution_plan = query.explain()
print(execution_plan)

# Get a more detailed execution plan with actual execution statistics
detailed_plan = query.explain(analyze=True)
print(detailed_plan)

# Format the plan for easier reading
formatted_plan = query.explain(format='json')
import json
print(json.dumps(formatted_plan, indent=2))
"""

INTERPRETING = """
from dbsight import ExplainAnalyzer

# Analyze an execution plan
query = Article.objects.filter(status='published').join('author').order_by('-published_at')
plan = query.explain(analyze=True)

analyzer = ExplainAnalyzer(plan)
print(f"Potential issues: {analyzer.issues}")
print(f"Recommendations: {analyzer.recommendations}")
"""

POOL = """
from dbsight import connection_pool

# Get connection pool statistics
stats = connection_pool.stats()
print(f"Total connections: {stats.total}")
print(f"Active connections: {stats.active}")
print(f"Idle connections: {stats.idle}")
print(f"Waiting threads: {stats.waiting}")
print(f"Max connections: {stats.max}")
print(f"Connection checkout time: {stats.checkout_time_ms} ms (avg)")
"""

QUERY_STATISTICS = """
from dbsight import QueryStats

# Get global query statistics
stats = QueryStats.get()
print(f"Total queries: {stats.total}")
print(f"Select queries: {stats.select}")
print(f"Insert queries: {stats.insert}")
print(f"Update queries: {stats.update}")
print(f"Delete queries: {stats.delete}")
print(f"Average duration: {stats.average_duration_ms} ms")

# Reset statistics
QueryStats.reset()
"""

N_PLUS_ONE = """
from dbsight import QueryProfiler

# Example of N+1 problem
with QueryProfiler() as profiler:
    users = User.objects.all()  # 1 query
    for user in users:
        articles = user.articles.all()  # N queries, one per user

# Detect N+1 problems
n_plus_one = profiler.detect_n_plus_one()
if n_plus_one:
    print("N+1 query problem detected!")
    for pattern in n_plus_one:
        print(f"Fix suggestion: {pattern.suggestion}")

# Solution: Use eager loading
with QueryProfiler() as profiler:
    users = User.objects.prefetch_related('articles').all()  # 2 queries total
    for user in users:
        articles = user.articles  # No additional queries

print(f"Total queries with eager loading: {profiler.query_count}")
"""


BENCHMARK = """
from dbsight import benchmark

# Define queries to benchmark
queries = {
    'basic': lambda: Article.objects.filter(status='published').all(),
    'with_join': lambda: Article.objects.filter(status='published').join('author').all(),
    'with_eager_loading': lambda: Article.objects.filter(status='published').prefetch_related('comments').all()
}

# Run benchmark
results = benchmark(queries, iterations=100)

# View results
for name, result in results.items():
    print(f"Query: {name}")
    print(f"Average time: {result.average_ms} ms")
    print(f"Min time: {result.min_ms} ms")
    print(f"Max time: {result.max_ms} ms")
    print(f"Queries per second: {result.qps}")
"""

LOAD_TEST = """
from dbsight import load_test
import asyncio

# Define test scenarios
async def scenario_read_articles():
    # Simulate a user reading articles
    articles = await Article.objects.async_filter(status='published').limit(10).async_all()
    for article in articles:
        await asyncio.sleep(0.001)  # Simulate reading
        comments = await article.comments.async_all()

# Run load test
results = load_test(
    scenario_read_articles,
    concurrency=50,  # 50 concurrent users
    duration=0.3     # Run for 0.3 seconds
)

# View results
print(f"Total executions: {results.total_executions}")
print(f"Executions per second: {results.executions_per_second}")
print(f"Average response time: {results.average_response_time_ms} ms")
print(f"95th percentile response time: {results.p95_response_time_ms} ms")
print(f"Error rate: {results.error_rate:.2f}%")
"""

WORKFLOW = r"""
from dbsight import QueryProfiler
from dbsight import benchmark

# Step 1: Measure baseline performance
baseline_query = lambda: Article.objects.filter(status='published').order_by('-published_at').all()
baseline_result = benchmark({'baseline': baseline_query}, iterations=100)
print(f"Baseline average time: {baseline_result['baseline'].average_ms} ms")

# Step 2: Identify bottlenecks
with QueryProfiler() as profiler:
    baseline_query()
print(profiler.summary())

# Step 3: Optimize
optimized_query = lambda: Article.objects.filter(status='published')\
                                      .select('id', 'title', 'published_at')\
                                      .order_by('-published_at')\
                                      .all()

# Step 4: Verify improvement
optimized_result = benchmark({'optimized': optimized_query}, iterations=100)
print(f"Optimized average time: {optimized_result['optimized'].average_ms} ms")

improvement = (baseline_result['baseline'].average_ms -
               optimized_result['optimized'].average_ms) / \
              baseline_result['baseline'].average_ms * 100
print(f"Performance improvement: {improvement:.2f}%")
"""

LOGGING = """
from dbsight import set_log_level
import logging

# Enable detailed query logging
set_log_level(logging.DEBUG)

# Configure a file handler for analysis
handler = logging.FileHandler('activerecord_queries.log')
handler.setLevel(logging.DEBUG)
logging.getLogger('dbsight').addHandler(handler)
"""

MODEL_METRICS = """
from dbsight import ModelStats

# Get statistics for a specific model
stats = ModelStats.get(User)
print(f"Total loads: {stats.loads}")
print(f"Total saves: {stats.saves}")
print(f"Total deletes: {stats.deletes}")
print(f"Average load time: {stats.average_load_time_ms} ms")
print(f"Average save time: {stats.average_save_time_ms} ms")
"""

CACHE_METRICS = """
from dbsight import CacheStats

# Get cache statistics
stats = CacheStats.get()
print(f"Hits: {stats.hits}")
print(f"Misses: {stats.misses}")
print(f"Hit ratio: {stats.hit_ratio:.2f}")

# Get model cache statistics
model_stats = CacheStats.get_model_stats(User)
print(f"User model cache hit ratio: {model_stats.hit_ratio:.2f}")

# Get query cache statistics
query_stats = CacheStats.get_query_stats()
print(f"Query cache hit ratio: {query_stats.hit_ratio:.2f}")
"""

PROMETHEUS = """
from dbsight import PrometheusExporter

# Set up Prometheus metrics exporter
exporter = PrometheusExporter()
exporter.start(port=8000)

# Metrics will be available at http://localhost:8000/metrics
"""

APM = """
from dbsight import APMIntegration

# Set up APM integration (e.g., New Relic, Datadog)
APMIntegration.setup(service_name='my_application')
"""


MODELS = {"User": hosts.User, "Article": hosts.Article}


@pytest.fixture
def database(sqlalchemy, monkeypatch):
    """Ten users with an article each; only SQLAlchemy is instrumented."""
    for module in (profiler, observed):
        monkeypatch.setattr(module, "instrument_libraries", lambda: None)
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    dbsight.create_performance_monitor()
    with Session(engine) as session:
        hosts.fill(session)
        monkeypatch.setattr(hosts.Base, "session", session)
        session.expunge_all()
        dbsight.reset()
        yield engine
    engine.dispose()


def test_basic_query_profiling(database, capsys):
    """Count, times, and each query with its text, parameters and rows."""
    run(BASIC_PROFILING, **MODELS)
    printed = capsys.readouterr().out
    assert "Total queries: 1\n" in printed
    assert "Query 1: SELECT users.id, users.name, users.status" in printed
    assert "WHERE users.status = ? ORDER BY users.name" in printed
    assert "Parameters: None\n" in printed
    assert "Rows: 10\n" in printed


def test_detailed_query_analysis(database, capsys):
    """A summary, and the loop with a fix."""
    run(DETAILED_ANALYSIS, **MODELS)
    printed = capsys.readouterr().out
    assert printed.startswith("11 queries")
    assert "N+1 pattern detected: " in printed
    assert "Main query: SELECT users.id" in printed
    assert "(executed 10 times)" in printed
    assert "Suggested fix: SELECT … FROM articles WHERE articles.user_id IN (…)" in printed


def test_execution_plan_analysis(database, capsys):
    """In three forms."""
    names = run(EXECUTION_PLAN, **MODELS)
    printed = capsys.readouterr().out
    assert "articles" in str(names["execution_plan"])
    assert names["formatted_plan"]["plan"]["children"][0]["kind"] == "seq_scan"
    assert '"kind": "seq_scan"' in printed


def test_interpreting_execution_plans(database, capsys):
    """A whole table is read; an index would not help ten rows."""
    names = run(INTERPRETING, **MODELS)
    assert "seq_scan" in names["analyzer"].labels
    assert "Potential issues: [" in capsys.readouterr().out


def test_connection_pool_monitoring(sqlalchemy, capsys, tmp_path):
    """Of two open connections one is out."""
    gc.collect()  # pools of other tests
    engine = create_engine(f"sqlite:///{tmp_path}/pool.db", pool_size=2, max_overflow=1)
    with engine.connect(), engine.connect():
        pass
    with engine.connect():
        run(POOL)
    assert capsys.readouterr().out.startswith(
        "Total connections: 2\nActive connections: 1\nIdle connections: 1\nWaiting threads: 0\nMax connections: 3\n"
        "Connection checkout time: "
    )
    engine.dispose()


def test_query_statistics(database, capsys):
    """By kind; zero again afterwards."""
    hosts.User.objects.all()
    hosts.Base.session.execute(hosts.User.__table__.update().values(name="x"))
    run(QUERY_STATISTICS)
    printed = capsys.readouterr().out
    assert "Select queries: 1\n" in printed
    assert "Update queries: 1\nDelete queries: 0\nAverage duration: " in printed
    assert dbsight.stats().total == 0


def test_identifying_n_plus_one_query_problems(database, capsys):
    """Found with its fix; eager loading needs two queries."""
    run(N_PLUS_ONE, **MODELS)
    assert capsys.readouterr().out == (
        "N+1 query problem detected!\n"
        "Fix suggestion: select(User).options(selectinload(User.all_articles))\n"
        "Total queries with eager loading: 2\n"
    )


def test_benchmarking_queries(database, capsys):
    """Average, minimum, maximum and queries per second of each."""
    names = run(BENCHMARK, **MODELS)
    assert {name: (each.iterations, each.queries) for name, each in names["results"].items()} == {
        "basic": (100, 1),
        "with_join": (100, 1),
        "with_eager_loading": (100, 2),
    }
    assert capsys.readouterr().out.count("Queries per second: ") == 3


def test_load_testing(sqlalchemy, monkeypatch, tmp_path, capsys):
    """Fifty users at the same time."""
    monkeypatch.setattr(observed, "instrument_libraries", lambda: None)
    url = f"{tmp_path}/load.db"
    engine = create_engine(f"sqlite:///{url}")
    with Session(engine) as session:
        hosts.fill(session)
    engine.dispose()
    article = hosts.asynchronous(create_async_engine(f"sqlite+aiosqlite:///{url}", poolclass=NullPool))
    results = run(LOAD_TEST, Article=article)["results"]
    assert results.total_executions > 0
    assert "Error rate: 0.00%\n" in capsys.readouterr().out


def test_the_optimization_workflow(database, capsys):
    """Baseline, profile, change, and the improvement."""
    names = run(WORKFLOW, **MODELS)
    printed = capsys.readouterr().out
    assert printed.startswith("Baseline average time: ")
    assert "\n1 query, " in printed
    assert f"Performance improvement: {names['improvement']:.2f}%\n" in printed


def test_logging_for_analysis(database, monkeypatch, tmp_path):
    """A line for each query, in the file."""
    monkeypatch.chdir(tmp_path)
    handler = run(LOGGING)["handler"]
    try:
        hosts.User.objects.filter(status="active").all()
        recording.settle()
    finally:
        logging.getLogger("dbsight").removeHandler(handler)
        handler.close()
        dbsight.set_log_level(logging.NOTSET)
    (line,) = (tmp_path / "activerecord_queries.log").read_text().splitlines()
    assert "SELECT users" in line


def test_model_level_metrics(database, capsys):
    """Loads, saves, and their mean times."""
    users = hosts.User.objects.all()
    users[0].name = "x"
    hosts.Base.session.flush()
    run(MODEL_METRICS, **MODELS)
    printed = capsys.readouterr().out
    assert printed.startswith("Total loads: 10\nTotal saves: 1\nTotal deletes: 0\nAverage load time: ")
    assert "Average load time: 0.0 ms" not in printed


def test_cache_performance_metrics(database, capsys):
    """Of all caches, of those of one model, and of compiled statements."""
    cache = dbsight.watch_cache("users", cachetools.LRUCache(10), model="User")
    cache[1] = "first"
    assert (cache.get(1), cache.get(2)) == ("first", None)
    run(CACHE_METRICS, **MODELS)
    assert capsys.readouterr().out == (
        "Hits: 1\nMisses: 1\nHit ratio: 0.50\nUser model cache hit ratio: 0.50\nQuery cache hit ratio: 0.00\n"
    )


def test_prometheus_and_apm_integration():
    """One process: its service has the name that was given, and its metrics are served at the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    prometheus = PROMETHEUS.replace("8000", str(port))
    seen = """
import urllib.request
from opentelemetry import trace
print(trace.get_tracer_provider().resource.attributes["service.name"])
print("target_info" in urllib.request.urlopen("http://localhost:%d/metrics").read().decode())
"""
    environment = {**os.environ, **dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER"), "none")}
    done = subprocess.run(
        [sys.executable, "-c", APM + prometheus + seen % port],
        env={**environment, "OTEL_METRICS_EXPORTER": "none"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "my_application\nTrue\n"
