"""The blocks of a guide to profiling and monitoring of an object-relational mapper; README.md has the table."""

import gc

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

import dbsight
from capabilities import hosts
from capabilities.guided import run
from dbsight import profiler

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


MODELS = {"User": hosts.User, "Article": hosts.Article}


@pytest.fixture
def database(sqlalchemy, monkeypatch):
    """Ten users with an article each; only SQLAlchemy is instrumented."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)
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
