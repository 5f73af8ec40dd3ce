"""What a request did beside its queries: how many ran at once, its transactions, and why connections were closed."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from opentelemetry import context
from opentelemetry.trace import SpanKind

from builders import make_operation
from dbsight import config, semconv
from dbsight.recording.open_window import peak


@pytest.fixture
def engine(telemetry, tmp_path):
    """A file of SQLite, and a pool of five."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=5, future=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
    telemetry.clear()
    yield engine
    engine.dispose()


def concurrency(telemetry):
    """Count and sum of the metric by route, and the attribute of each root."""
    telemetry.processor.analyzer.drain()
    points = {
        point.attributes[semconv.HTTP_ROUTE]: (point.count, point.sum)
        for point in telemetry.points(semconv.METRIC_CONCURRENCY)
    }
    roots = {
        span.name: span.attributes.get(semconv.DB_CONCURRENCY) for span in telemetry.spans() if span.kind == "SERVER"
    }
    return points, roots


def test_queries_that_run_at_once_are_counted_per_request(telemetry, engine):
    """Five threads sleep in the database at the same time; another request asks one query after the other."""
    sleep = "SELECT nap()"

    def nap(_):
        with engine.connect() as connection:
            connection.connection.dbapi_connection.create_function("nap", 0, lambda: time.sleep(0.2))
            connection.exec_driver_sql(sleep).all()

    with telemetry.root("GET /gathered", http_route="/gathered"), ThreadPoolExecutor(5) as pool:
        current = context.get_current()

        def carried(number):
            token = context.attach(current)
            nap(number)
            context.detach(token)

        list(pool.map(carried, range(5)))
    with telemetry.root("GET /serial", http_route="/serial"), engine.connect() as connection:
        for _ in range(5):
            connection.exec_driver_sql("SELECT 1 FROM items").all()
    points, roots = concurrency(telemetry)
    assert points == {"GET /gathered": (1, 5.0), "GET /serial": (1, 1.0)}
    assert roots == {"GET /gathered": 5, "GET /serial": None}


def test_the_peak_is_that_of_the_times_at_which_operations_ran():
    """Touching intervals do not overlap, nested and shifted ones do."""

    def ran(*times):
        made = [make_operation(at=start, duration=end - start) for start, end in times]
        return peak(sorted(made, key=lambda each: each.end_ns))

    assert ran((0, 10), (10, 20), (20, 30)) == 1
    assert ran((0, 10), (5, 15), (15, 20)) == 2
    assert ran((0, 100), (10, 20), (30, 40)) == 2
    assert ran((0, 100), (10, 90), (20, 80), (100, 110)) == 3


def test_a_statement_that_sqlalchemy_had_to_compile_says_so(telemetry, engine):
    """The first execution alone; the others find it in the cache of compiled statements."""
    items = sa.table("items", sa.column("id"))
    with telemetry.root(), engine.connect() as connection:
        for number in range(3):
            connection.execute(sa.select(items.c.id).where(items.c.id == number)).all()
    telemetry.processor.analyzer.drain()
    said = [span.attributes.get(semconv.ORM_COMPILED_CACHE) for span in telemetry.spans() if span.kind == "CLIENT"]
    assert said == ["miss", None, None]


def test_connections_that_are_closed_are_counted_by_reason(telemetry, tmp_path):
    """One that is too old is recycled, one that broke is invalid, the rest is disposed of."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/old.db", pool_size=1, pool_recycle=0.05, future=True)
    with engine.connect():
        pass
    time.sleep(0.1)  # older than the pool allows
    with engine.connect() as connection:
        connection.invalidate()
    with engine.connect():
        pass
    engine.dispose()
    by_reason = {
        point.attributes[semconv.POOL_REASON]: point.value
        for point in telemetry.points(semconv.METRIC_POOL_CLOSED)
        if "old.db" in point.attributes[semconv.POOL_NAME]
    }
    assert by_reason == {"recycle": 1, "invalid": 1, "dispose": 1}


def test_a_transaction_is_a_span_where_that_is_asked_for(telemetry, engine, monkeypatch):
    """With its result, its queries and the line that began it; by default there is none."""
    with telemetry.root("GET /default"), engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1 FROM items").all()
    monkeypatch.setattr(config, "current", lambda: config.Settings(transaction_spans=True))
    with telemetry.root("GET /shown"), engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO items (name) VALUES ('a')")
        connection.exec_driver_sql("SELECT name FROM items").all()
    telemetry.processor.analyzer.drain()
    spans = telemetry.spans()
    (root,) = [span for span in spans if span.name == "GET /shown"]
    (shown,) = [span for span in spans if span.name == semconv.TRANSACTION_SPAN]
    assert (shown.kind, shown.trace_id, shown.parent_span_id) == ("INTERNAL", root.trace_id, root.span_id)
    about = {name: shown.attributes[name] for name in shown.attributes if name.startswith("dbsight.transaction.")}
    idle = about.pop(semconv.TRANSACTION_IDLE)
    assert 0 <= idle <= shown.duration
    assert about == {
        semconv.TRANSACTION_RESULT: "commit",
        semconv.TRANSACTION_QUERIES: 2,
        semconv.TRANSACTION_WRITES: 1,
    }
    assert shown.attributes["code.function.name"].endswith("test_a_transaction_is_a_span_where_that_is_asked_for")
    queries = [span for span in spans if span.kind == "CLIENT" and span.trace_id == root.trace_id]
    assert {span.parent_span_id for span in queries} == {root.span_id}


@pytest.mark.parametrize(
    ("milliseconds", "level", "query_class"),
    [(4, None, None), (6, "trace", None), (25, "debug", None), (60, "info", "slow"), (150, "warn", "very_slow")],
)
def test_a_span_of_elasticsearch_names_its_step_of_the_ladder(make_telemetry, milliseconds, level, query_class):
    """The four steps of its slow log, a hundredth of the default ones."""
    settings = config.Settings(slow_query_thresholds={"elasticsearch": (0.005, 0.02, 0.05, 0.1)})
    telemetry = make_telemetry(instrument=False, settings=settings)
    attributes = {semconv.DB_SYSTEM_NAME: "elasticsearch", semconv.DB_QUERY_TEXT: '{"query": {"match_all": {}}}'}
    with telemetry.root():
        span = telemetry.tracer.start_span("search", kind=SpanKind.CLIENT, attributes=attributes, start_time=10**18)
        span.end(10**18 + milliseconds * 1_000_000)
    (made,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert made.attributes.get(semconv.QUERY_SLOWLOG_LEVEL) == level
    assert made.attributes.get(semconv.QUERY_CLASS) == query_class


def test_systems_without_a_ladder_have_no_step():
    """Two limits are slow and very slow."""
    settings = config.Settings()
    assert settings.slowlog_level("postgresql", 60.0) is None
    assert settings.slowlog_level("redis", 60.0) is None
