"""Elasticsearch, S3, MongoDB, Cassandra at the level of spans: real clients, and servers that speak their protocols."""

import json
import logging
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry import context
from opentelemetry.trace import SpanKind

from collector import programs
from dbsight import config, semconv
from embedded import Unavailable, free_port

ANSWER = json.dumps(
    {"took": 1, "timed_out": False, "hits": {"total": {"value": 1}, "hits": []}, "found": True}
).encode()


class _Search(BaseHTTPRequestHandler):
    """A node of Elasticsearch that answers everything, after the delay that its server has."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        time.sleep(self.server.delay)
        self.send_response(200)
        self.send_header("content-type", "application/vnd.elasticsearch+json;compatible-with=9")
        self.send_header("x-elastic-product", "Elasticsearch")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    do_POST = do_PUT = do_GET  # noqa: N815 - as the library asks for them

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def search(make_telemetry, monkeypatch):
    """Telemetry, a client of Elasticsearch that records the bodies of searches, and its server."""
    elasticsearch = pytest.importorskip("elasticsearch")
    settings = config.Settings(slow_query_thresholds={"elasticsearch": (0.1, 0.5, 0.6, 0.7)})
    telemetry = make_telemetry(instrument=False, settings=settings)
    monkeypatch.setenv("OTEL_PYTHON_INSTRUMENTATION_ELASTICSEARCH_CAPTURE_SEARCH_QUERY", "raw")
    monkeypatch.setattr("elasticsearch._otel._tracer", telemetry.tracer_provider.get_tracer("elasticsearch-api"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Search)
    server.delay = 0.0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with elasticsearch.Elasticsearch(f"http://127.0.0.1:{server.server_port}") as client:
        yield telemetry, client, server
    server.shutdown()
    server.server_close()
    thread.join()


def findings(telemetry, rule):
    """What a rule found."""
    found = [each.finding for each in telemetry.processor.analyzer.snapshot().findings]
    return [each for each in found if each.rule == rule]


def spent(telemetry, name, attributes, milliseconds):
    """Make a client span that took this long."""
    began = time.time_ns()
    span = telemetry.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, start_time=began)
    span.end(began + milliseconds * 1_000_000)


def of_system(telemetry, system):
    """The spans of a database system."""
    names = (semconv.DB_SYSTEM_NAME, semconv.DB_SYSTEM)
    return [each for each in telemetry.spans() if system in [each.attributes.get(name) for name in names]]


def test_a_search_is_placed_on_the_ladder_of_its_slow_log(search):
    """The native span of the client, which has no kind of its own; its body keeps keys alone."""
    telemetry, client, server = search
    for delay in (0.0, 0.15, 0.75):
        server.delay = delay
        with telemetry.root():
            client.search(index="orders", query={"term": {"customer": "SECRET"}})
    spans = of_system(telemetry, "elasticsearch")
    assert [each.attributes.get(semconv.QUERY_SLOWLOG_LEVEL) for each in spans] == [None, "trace", "warn"]
    assert [each.attributes.get(semconv.QUERY_CLASS) for each in spans] == [None, None, "very_slow"]
    assert {each.attributes[semconv.DB_QUERY_SUMMARY] for each in spans} == {"search orders"}
    assert {each.attributes[semconv.DB_QUERY_TEXT] for each in spans} == {
        'search orders {"query":{"term":{"customer":?}}}'
    }
    assert "SECRET" not in str(telemetry.spans())
    (found,) = findings(telemetry, "slow_query")
    assert (found.severity, found.statement.summary) == ("error", "search orders")


def test_documents_that_are_read_one_by_one_are_an_n_plus_one(search):
    """By their ids, which leave the process neither as attributes nor in addresses; one request for all is none."""
    telemetry, client, _ = search
    with telemetry.root("GET /orders"):
        for number in range(6):
            client.get(index="customers", id=f"SECRET{number}")
    (found,) = findings(telemetry, "n_plus_one")
    assert (found.statement.summary, found.count) == ("get customers", 6)
    assert found.suggestion == 'client.mget(index="customers", ids=[…])'
    assert found.call_site.function == "test_documents_that_are_read_one_by_one_are_an_n_plus_one"
    assert {
        each.attributes[semconv.URL_FULL].partition("/customers")[2] for each in of_system(telemetry, "elasticsearch")
    } == {"/_doc/?"}
    assert "SECRET" not in str(telemetry.spans())
    with telemetry.root("GET /fixed"):
        client.mget(index="customers", ids=[f"{number}" for number in range(6)])
    assert len(findings(telemetry, "n_plus_one")) == 1


def test_a_condition_that_is_scored_without_need_is_found_until_it_is_a_filter(search):
    """With the body as the client records it."""
    telemetry, client, _ = search
    with telemetry.root("GET /active"):
        client.search(index="orders", query={"match": {"status": "active"}})
    (found,) = findings(telemetry, "es_query_context")
    assert found.suggestion == 'query={"bool": {"filter": [{"term": {"status.keyword": …}}]}}'
    fixed = json.loads(found.suggestion.removeprefix("query=").replace("…", '"active"'))
    with telemetry.root("GET /fixed"):
        client.search(index="orders", query=fixed)
    (merged,) = [each for each in telemetry.processor.analyzer.snapshot().findings if each.finding.id == found.id]
    assert merged.windows == 1


@pytest.fixture
def bucket(make_telemetry, monkeypatch):
    """Telemetry, and a client of S3 with a pool of two and a bucket."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.botocore")
    from botocore.config import Config

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    settings = config.Settings(slow_query_thresholds={"s3": (0.3, 10.0)})
    telemetry = make_telemetry(instrument=False, settings=settings)
    instrumentor = instrumentation.BotocoreInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", config=Config(max_pool_connections=2)
    )
    client.create_bucket(Bucket="invoices")
    client.put_object(Bucket="invoices", Key="1", Body=b"text")
    telemetry.clear()
    yield telemetry, client
    client.close()
    server.stop()
    instrumentor.uninstrument()


def test_objects_of_s3_that_are_read_one_by_one_are_an_n_plus_one(bucket):
    """By the spans of botocore, which say neither bucket nor key."""
    telemetry, client = bucket
    with telemetry.root("GET /invoices"):
        for _ in range(6):
            client.get_object(Bucket="invoices", Key="1")["Body"].read()
    (found,) = findings(telemetry, "n_plus_one")
    assert (found.statement.system, found.statement.summary, found.count) == ("s3", "GetObject", 6)
    assert found.suggestion.startswith("with ThreadPoolExecutor(10) as pool:")
    spans = [each for each in telemetry.spans() if each.name == "S3.GetObject"]
    assert {each.attributes[semconv.DB_QUERY_SUMMARY] for each in spans} == {"GetObject"}


def test_a_slow_call_of_s3_has_limits_of_its_own(bucket):
    """Its span is slow from that of S3 on, not from that of SQL."""
    telemetry, _ = bucket
    attributes = {"rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": "PutObject"}
    with telemetry.root():
        span = telemetry.tracer.start_span(
            "S3.PutObject", kind=SpanKind.CLIENT, attributes=attributes, start_time=10**18
        )
        span.end(10**18 + 400_000_000)
    (found,) = findings(telemetry, "slow_query")
    assert (found.threshold, found.statement.summary) == (0.3, "PutObject")


def test_connections_that_a_full_pool_throws_away_are_counted(bucket):
    """Six threads on a pool of two; what urllib3 warns of is still logged."""
    telemetry, client = bucket
    current = context.get_current()

    def read(_):
        token = context.attach(current)
        body = client.get_object(Bucket="invoices", Key="1")["Body"].read()
        context.detach(token)
        return body

    def discarded():
        telemetry.processor.analyzer.drain()
        return sum(point.value for point in telemetry.points(semconv.METRIC_POOL_DISCARDED))

    with ThreadPoolExecutor(6) as pool:
        for _ in range(20):
            assert set(pool.map(read, range(12))) == {b"text"}
            if discarded():
                break
    (point,) = telemetry.points(semconv.METRIC_POOL_DISCARDED)
    assert point.value >= 1
    assert point.attributes == {semconv.POOL_NAME: "127.0.0.1"}


@pytest.fixture
def shop(make_telemetry, tmp_path):
    """Telemetry, and a database of FerretDB, which speaks MongoDB's protocol."""
    pymongo = pytest.importorskip("pymongo")
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.pymongo")
    try:
        program = programs.path("ferretdb")
    except Unavailable as reason:
        pytest.skip(str(reason))
    telemetry = make_telemetry(instrument=False)
    instrumentor = instrumentation.PymongoInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider, capture_statement=True)
    port = free_port()
    command = [program, "--handler=sqlite", f"--sqlite-url=file:{tmp_path}/", f"--listen-addr=127.0.0.1:{port}"]
    options = ["--debug-addr=-", "--telemetry=disable", f"--state-dir={tmp_path}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
    try:
        client = pymongo.MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=20_000)
        client.admin.command("ping")
        telemetry.clear()
        yield telemetry, client.shop
        client.close()
    finally:
        process.kill()
        process.wait()
        instrumentor.uninstrument()


def test_documents_of_mongodb_that_are_read_one_by_one_are_an_n_plus_one(shop):
    """By command, collection and keys of the filter; one query for all keys is none."""
    telemetry, db = shop
    db.customers.insert_many([{"_id": number, "name": f"SECRET{number}"} for number in range(6)])
    with telemetry.root("GET /orders"):
        assert [db.customers.find_one({"_id": number})["name"] for number in range(6)][5] == "SECRET5"
    (found,) = findings(telemetry, "n_plus_one")
    assert (found.statement.summary, found.count, found.details["distinct"]) == ("find customers", 6, 6)
    assert found.suggestion == 'db.customers.find({"_id": {"$in": […]}})'
    finds = [
        each for each in of_system(telemetry, "mongodb") if each.attributes.get("db.query.summary") == "find customers"
    ]
    assert {each.attributes["db.statement"] for each in finds} == {"find customers {'_id': ?}"}
    assert "SECRET" not in str(telemetry.spans())
    with telemetry.root("GET /fixed"):
        assert len(list(db.customers.find({"_id": {"$in": list(range(6))}}))) == 6
    assert len(findings(telemetry, "n_plus_one")) == 1


def test_batches_of_a_cursor_of_mongodb_are_one_query(shop):
    """``getMore`` fetches; and it is no loop, however often it is sent."""
    telemetry, db = shop
    db.orders.insert_many([{"_id": number} for number in range(40)])
    with telemetry.root():
        assert len(list(db.orders.find({}, batch_size=4))) == 40
    assert findings(telemetry, "n_plus_one") == findings(telemetry, "redundant_query") == []


def test_spans_of_cassandra_are_judged_as_cql(make_telemetry):
    """As its instrumentation records them: a row per key in a loop, and a slow read."""
    telemetry = make_telemetry(instrument=False)
    text = "SELECT name FROM customers WHERE id = {}"

    def query(number, milliseconds):
        attributes = {"db.system": "cassandra", "db.name": "shop", "db.statement": text.format(number)}
        spent(telemetry, "Cassandra", attributes, milliseconds)

    with telemetry.root("GET /orders"):
        for number in range(6):
            query(number, 1)
    with telemetry.root("GET /slow"):
        query(7, 1500)
    (found,) = findings(telemetry, "n_plus_one")
    assert (found.statement.summary, found.count) == ("SELECT customers", 6)
    assert found.suggestion == "SELECT id, name FROM customers WHERE id IN (…)"
    (slow,) = findings(telemetry, "slow_query")
    assert slow.route == "GET /slow"
