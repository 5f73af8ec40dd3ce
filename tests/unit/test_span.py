"""One operation becomes one span: on the fast path and on the ordinary one, attribute by attribute."""

import json

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanKind,
    set_span_in_context,
)
from opentelemetry.trace.status import StatusCode

from builders import NOW_NS, make_operation, make_span_context, make_statement
from dbsight import config, span
from dbsight.config.otel_env import Surroundings
from dbsight.model import CallSite, Database, Finding, Statement, Verdict
from dbsight.statement.redis.reader import clear, read_command
from dbsight.version import __version__
from pipelines import Starts

TEXT = "SELECT name FROM customers WHERE id = ?"
POSTGRESQL = Database("postgresql", "shop", "db.example", 5433)


def use(**settings):
    """Put settings in force; statements that were prepared keep theirs."""
    config.use(config.Settings(**settings))


def fresh(text=TEXT, system="sqlite"):
    """A statement that nothing was prepared for."""
    return make_statement(text, system, kind="select")


# -- What the spans of a statement have in common -------------------------------------------------------------------


def test_what_is_prepared_is_what_does_not_change():
    """By the semantic conventions, and ``db.system`` besides."""
    statement = fresh(system="postgresql")
    prepared = span.template_of(statement, POSTGRESQL)
    assert prepared.name == "SELECT customers"
    assert prepared.attributes == {
        "db.system.name": "postgresql",
        "db.system": "postgresql",
        "db.namespace": "shop",
        "db.query.text": TEXT,
        "db.query.summary": "SELECT customers",
        "server.address": "db.example",
        "server.port": 5433,
        "dbsight.query.fingerprint": statement.fingerprint,
    }


def test_what_is_prepared_is_made_once_for_each_database():
    """One object for one statement on one database."""
    statement = fresh()
    first, second = Database("sqlite", "a.db"), Database("sqlite", "b.db")
    assert span.template_of(statement, first) is span.template_of(statement, first)
    assert span.template_of(statement, first) is not span.template_of(statement, second)
    assert span.template_of(statement, second).attributes["db.namespace"] == "b.db"


def test_what_is_prepared_is_bounded():
    """An application may open nine hundred SQLite files."""
    statement = fresh()
    for number in range(900):
        span.template_of(statement, Database("sqlite", f"{number}.db"))
    assert len(statement.prebuilt) <= 64


def test_a_statement_without_a_summary_is_named_after_its_system():
    """Text that cannot be read."""
    statement = Statement("sqlite", "", "", "00f1")
    prepared = span.template_of(statement, Database("sqlite"))
    assert prepared.name == "sqlite"
    assert prepared.attributes.keys() == {"db.system.name", "db.system", "dbsight.query.fingerprint"}


def test_the_text_can_be_left_out():
    """``query_text=off``."""
    use(query_text="off")
    assert "db.query.text" not in span.template_of(fresh(), Database("sqlite")).attributes


def test_a_text_of_its_own_stands_on_a_span_that_shares_everything_else(pipelines):
    """Commands of Redis differ in their keys: nothing is made anew for another one but its text."""
    redis = Database("redis", "0", "localhost", 6379)
    first, second = (read_command(("GET", f"user:{number}")) for number in (1, 2))
    assert span.template_of(first, redis) is span.template_of(second, redis)
    pipelines.make()
    attributes = []
    for command in (first, second):
        _, (made,) = pipelines.run(make_operation(command, database=redis))
        attributes.append(made.attributes)
    assert [each["db.query.text"] for each in attributes] == ["GET user:1", "GET user:2"]
    assert attributes[0].copy() == {**attributes[1], "db.query.text": "GET user:1"}
    assert len(attributes[0]) == len(dict(attributes[0])) == len(json.loads(made.to_json())["attributes"])


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, {"db.query.text"}),
        ({"query_text": "off"}, set()),
        ({"surroundings": Surroundings(semconv_dup=True)}, {"db.query.text", "db.statement"}),
        ({"query_text": "off", "surroundings": Surroundings(semconv_dup=True)}, set()),
    ],
    ids=["as ever", "off", "old names", "old names, off"],
)
def test_a_text_of_its_own_follows_the_settings(settings, names, pipelines):
    """On the fast path, on the ordinary one, for the sampler, and where an operation failed."""
    use(**settings)
    clear()  # what is prepared is prepared by the settings of its time
    redis = Database("redis", "0", "localhost", 6379)
    command = read_command(("GET", "user:1"))
    assert "GET user:1" not in span.template_of(command, redis).attributes.values()
    for processors, error in (((), None), ((), "redis.ResponseError"), ((Starts(),), None)):
        pipelines.make(*processors)
        _, (made,) = pipelines.run(make_operation(command, database=redis, error_type=error))
        assert {name for name, value in made.attributes.items() if value == "GET user:1"} == names


def test_old_names_are_written_beside_the_new_ones_when_asked_for():
    """``OTEL_SEMCONV_STABILITY_OPT_IN=database/dup``; without it, no old name but ``db.system``."""
    old = {
        "db.statement": TEXT,
        "db.name": "shop",
        "net.peer.name": "db.example",
        "net.peer.port": 5433,
    }
    plain = span.template_of(fresh(system="postgresql"), POSTGRESQL).attributes
    use(surroundings=Surroundings(semconv_dup=True))
    both = span.template_of(fresh(system="postgresql"), POSTGRESQL).attributes
    assert both == plain | old
    assert not old.keys() & plain.keys()


# -- What differs from one execution to the other -------------------------------------------------------------------

FOUND = Finding(
    rule="slow_query",
    id="sq-1a44",
    severity="warning",
    category="query",
    title="SELECT customers is slow",
    description="Waited 0 s, executed 2 s, fetched 0 s (limit 1 s).",
    impact=1.0000004,
    metric="duration",
    current_value=2.0,
    threshold=1.0,
    statement=make_statement(TEXT),
    call_site=CallSite("app.py", 10, "list_orders"),
    relationship="Order.customer",
    suggestion="select(Order)",
    effort="medium",
    count=3,
)

CHANGING = [
    ({"rows": 0}, {"db.response.returned_rows": 0}),
    ({"rows": 7}, {"db.response.returned_rows": 7}),
    ({"affected": 3}, {"dbsight.query.rows_affected": 3}),
    ({"batch_size": 500}, {"db.operation.batch.size": 500}),
    (
        {"relationship": "Order.customer", "load": "lazy"},
        {"dbsight.orm.relationship": "Order.customer", "dbsight.orm.load": "lazy"},
    ),
    ({"fetch_time": 0.02}, {"dbsight.query.fetch_time": 0.02}),
    ({"fetch_time": 0.0001}, {}),
    ({"connect_time": 0.02}, {"dbsight.query.connect_time": 0.02}),
    ({"connect_time": 0.0001}, {}),
    ({"pool_wait": 0.5}, {"dbsight.pool.wait": 0.5}),
    ({"error_type": "sqlite3.IntegrityError"}, {"error.type": "sqlite3.IntegrityError"}),
    (
        {"error_type": "psycopg.errors.UniqueViolation", "error_code": "23505"},
        {"error.type": "psycopg.errors.UniqueViolation", "db.response.status_code": "23505"},
    ),
    ({"error_code": "1"}, {}),
    ({"line": None}, {}),
    ({"parameters": 42, "thread": 7, "allowed": frozenset({"n_plus_one"}), "blocked_loop": True}, {}),
]

each_path = pytest.mark.parametrize("processors", [[], [Starts()]], ids=["fast", "ordinary"])


@each_path
@pytest.mark.parametrize(("fields", "attributes"), CHANGING)
def test_an_operation_says_on_its_span_what_it_knows(pipelines, processors, fields, attributes):
    """Compared whole; what is unknown is left out, and what is nobody's business, too."""
    pipelines.make(*processors)
    statement = fresh()
    operation = make_operation(statement, duration=0.25, **fields)
    started, (made,) = pipelines.run(operation)
    place = {"code.file.path": "app.py", "code.line.number": 10, "code.function.name": "list_orders"}
    assert made.attributes == {
        "db.system.name": "sqlite",
        "db.system": "sqlite",
        "db.namespace": "shop.db",
        "db.query.text": TEXT,
        "db.query.summary": "SELECT customers",
        "dbsight.query.fingerprint": statement.fingerprint,
        **(place if "line" not in fields else {}),
        **attributes,
    }
    assert (made.name, made.kind, made.context, made.parent) == (
        "SELECT customers",
        SpanKind.CLIENT,
        started.context,
        started.parent,
    )
    assert (made.start_time, made.end_time) == (NOW_NS, NOW_NS + 250_000_000)
    assert made.resource.attributes["service.name"] == "tests"
    assert (made.instrumentation_scope.name, made.instrumentation_scope.version) == ("dbsight", __version__)
    failed = fields.get("error_type")
    code = f" ({fields['error_code']})" if failed and "error_code" in fields else ""
    wanted = (StatusCode.ERROR, f"{failed}{code}") if failed else (StatusCode.UNSET, None)
    assert (made.status.status_code, made.status.description) == wanted
    waited = ["pool.checkout"] if "pool_wait" in fields else []
    assert [event.name for event in made.events] == [*waited, *(["exception"] if failed else [])]


@each_path
def test_a_verdict_stands_on_the_query_itself(pipelines, processors):
    """Class, limit, ids, and an event that says everything about the finding."""
    pipelines.make(*processors)
    operation = make_operation(fresh(), duration=2.0)
    _, (made,) = pipelines.run(operation, Verdict("slow", 1.0, (FOUND,)))
    told = {name: value for name, value in made.attributes.items() if name.startswith("dbsight.")}
    assert told == {
        "dbsight.query.fingerprint": operation.statement.fingerprint,
        "dbsight.query.class": "slow",
        "dbsight.query.threshold": 1.0,
        "dbsight.finding.ids": ("sq-1a44",),
    }
    (event,) = made.events
    assert (event.name, event.timestamp) == ("dbsight.finding", operation.end_ns)
    assert event.attributes == {
        "dbsight.finding.id": "sq-1a44",
        "dbsight.finding.rule": "slow_query",
        "dbsight.finding.severity": "warning",
        "dbsight.finding.priority": "medium",
        "dbsight.finding.category": "query",
        "dbsight.finding.runbook": "https://github.com/dbsight/dbsight/blob/main/docs/rules.md#slow_query",
        "dbsight.finding.title": "SELECT customers is slow",
        "dbsight.finding.description": "Waited 0 s, executed 2 s, fetched 0 s (limit 1 s).",
        "dbsight.finding.suggestion": "select(Order)",
        "dbsight.finding.impact": 1.0,
        "dbsight.finding.effort": "medium",
        "dbsight.finding.count": 3,
        "dbsight.finding.metric": "duration",
        "dbsight.finding.current_value": 2.0,
        "dbsight.finding.threshold": 1.0,
        "db.query.summary": "SELECT customers",
        "dbsight.query.fingerprint": FOUND.statement.fingerprint,
        "dbsight.orm.relationship": "Order.customer",
        "code.file.path": "app.py",
        "code.line.number": 10,
        "code.function.name": "list_orders",
    }
    assert made.status.status_code is StatusCode.UNSET  # slow is not an error


@each_path
def test_an_error_has_its_class_and_the_applications_line(pipelines, processors):
    """Beside a finding about the same query; no message, no stack of the driver."""
    pipelines.make(*processors)
    operation = make_operation(fresh(), error_type="sqlite3.OperationalError", error_code="SQLITE_BUSY", duration=2.0)
    _, (made,) = pipelines.run(operation, Verdict("slow", 1.0, (FOUND,)))
    assert [(event.name, event.timestamp) for event in made.events] == [
        ("exception", operation.end_ns),
        ("dbsight.finding", operation.end_ns),
    ]
    assert made.events[0].attributes == {
        "exception.type": "sqlite3.OperationalError",
        "exception.stacktrace": '  File "app.py", line 10, in list_orders\n',
    }


@each_path
def test_what_the_instrumentor_adds_is_on_the_span(pipelines, processors):
    """Raw text and parameters, for those who asked for them."""
    pipelines.make(*processors)
    operation = make_operation(fresh())
    record = pipelines.begin(operation, set_span_in_context(NonRecordingSpan(make_span_context()), Context()))
    record.extra = {"db.query.text": "SELECT 'raw'", "db.query.parameter.0": "1"}
    pipelines.end(record, operation)
    (made,) = pipelines.spans()
    assert (made.attributes["db.query.text"], made.attributes["db.query.parameter.0"]) == ("SELECT 'raw'", "1")


# -- Shared attributes ----------------------------------------------------------------------------------------------


def test_alike_operations_share_their_attributes(pipelines):
    """One dictionary for all of them, and another one as soon as anything differs."""
    statement, database, site = fresh(), Database("sqlite", "shop.db"), CallSite("app.py", 10, "f")
    spans = [
        pipelines.run(make_operation(statement, database=database, call_site=site, rows=rows))[1][0]
        for rows in (1, 1, 2, 1)
    ]
    first, second, other, third = [made._attributes for made in spans]
    assert first is second is third
    assert other is not first
    assert (first["db.response.returned_rows"], other["db.response.returned_rows"]) == (1, 2)


def test_shared_attributes_are_never_changed(pipelines):
    """Not by a verdict, an error, a sampler's additions, nor by one who asked for parameters."""
    statement, database, site = fresh(), Database("sqlite", "shop.db"), CallSite("app.py", 10, "f")

    def run(verdict=None, **fields):
        return pipelines.run(make_operation(statement, database=database, call_site=site, **fields), verdict)[1][0]

    shared = run()._attributes
    before = dict(shared)
    base = dict(span.template_of(statement, database).attributes)
    special = [
        run(Verdict("slow", 1.0, (FOUND,))),
        run(error_type="ValueError"),
        run(pool_wait=1.0),
        run(fetch_time=1.0),
    ]
    assert all(made._attributes is not shared for made in special)
    assert run()._attributes is shared
    assert dict(shared) == before
    assert dict(span.template_of(statement, database).attributes) == base
    assert site.prebuilt == {"code.file.path": "app.py", "code.line.number": 10, "code.function.name": "f"}


def test_shared_attributes_are_bounded(pipelines):
    """A statement that returns another number of rows each time."""
    statement, database = fresh(), Database("sqlite", "shop.db")
    for rows in range(300):
        _, (made,) = pipelines.run(make_operation(statement, database=database, rows=rows))
        assert made.attributes["db.response.returned_rows"] == rows
    assert len(span.template_of(statement, database)._shared) <= 64
