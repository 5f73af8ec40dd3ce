"""``opentelemetry-instrument`` as users run it, judged from what arrived at a receiver in another process."""

import re
import sys
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import servers
from dbsight import __version__, statement
from e2e.observed import finding_of, line_of
from e2e.programs import BOOKS, SHOP, filled

SLOW_FROM = {"OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD": "0.1"}  # s; the slow query takes several times as long
SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]

PRINTED = [f"book {n} by author {(n + 1) // 2}" for n in range(1, 11)] + ["True", "IntegrityError", "13"]


# -- A script, everything on, on each database ----------------------------------------------------------------------


class Bound:
    """A bound value as a driver writes it; ``format`` adds its type where the driver wants one."""

    def __init__(self, written):
        self.written = written

    def __format__(self, kind):
        return self.written if self.written == "?" else f"{self.written}::{kind}"


@dataclass(frozen=True)
class On:
    """What differs from one database to the other.

    Attributes:
        system: ``db.system.name``.
        count: Text of the slow query.
        summary: Of the slow query.
        error: ``error.type`` of the query that fails.
        code: ``db.response.status_code`` of the same.
        value: How the driver writes a bound value, by its name and its number.
        batch_counted: Rows that the driver says a batch has changed.
        where: The attributes that name the database.
    """

    system: str
    count: str
    summary: str
    error: str
    code: str | None
    value: str
    batch_counted: int | None = 3
    where: dict[str, Any] = field(default_factory=dict)

    def values(self, *names):
        """Bound values of a statement, in their order."""
        return [Bound(self.value.format(name=name, number=number)) for number, name in enumerate(names, 1)]


SQLITE = On(
    system="sqlite",
    count="WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + ? FROM n WHERE i < ?) SELECT max(i) FROM n",
    summary="SELECT SELECT SELECT",
    error="sqlite3.IntegrityError",
    code="SQLITE_CONSTRAINT_PRIMARYKEY" if sys.version_info >= (3, 11) else None,
    value="?",
    where={"db.namespace": "shop.db"},
)
PSYCOPG = On(
    system="postgresql",
    count="SELECT max(i) FROM generate_series(?, ?) AS n(i)",
    summary="SELECT generate_series",
    error="psycopg.errors.UniqueViolation",
    code="23505",
    value="%({name})s",
)
ASYNCPG = replace(PSYCOPG, error="asyncpg.exceptions.UniqueViolationError", value="${number}", batch_counted=None)


COMPILED = "dbsight.orm.compiled_cache"


def expected_queries(on):
    """Every query span of ``BOOKS`` in the order of its start: name, attributes, status, events."""

    def query(summary, text, marker, **more):
        attributes = {
            "db.system.name": on.system,
            "db.system": on.system,
            **on.where,
            "db.query.summary": summary,
            "db.query.text": text,
            "dbsight.query.fingerprint": statement.read(text, on.system).fingerprint,
            "code.file.path": "app.py",
            "code.line.number": line_of(BOOKS, marker),
            "code.function.name": "work",
            **{name: value for name, value in more.items() if value is not None},
        }
        status = "UNSET" if "error.type" not in more else "ERROR"
        return summary, attributes, status

    (key,) = on.values("pk_1")
    identity, name = on.values("id", "name")
    book, title, author = on.values("id", "title", "author_id")
    new_name, above = on.values("name", "id_1")
    rows = "db.response.returned_rows"
    return [
        query(
            "SELECT books",
            "SELECT books.id, books.title, books.author_id FROM books ORDER BY books.id",
            "list",
            **{rows: 10},
        ),
        *[
            query(
                "SELECT authors",
                f"SELECT authors.id, authors.name FROM authors WHERE authors.id = {key:INTEGER}",
                "loop",
                **{rows: 1, "dbsight.orm.relationship": "Book.author", "dbsight.orm.load": "lazy"},
            )
        ]
        * 5,
        query(
            on.summary,
            on.count,
            "slow",
            **{rows: 1, "dbsight.query.class": "slow", "dbsight.query.threshold": 0.1},
        ),
        query(
            "INSERT authors",
            f"INSERT INTO authors (id, name) VALUES ({identity:INTEGER}, {name:VARCHAR})",
            "batch",
            **{"db.operation.batch.size": 3, "dbsight.query.rows_affected": on.batch_counted},
        ),
        query(
            "UPDATE authors",
            f"UPDATE authors SET name={new_name:VARCHAR} WHERE authors.id > {above:INTEGER}",
            "update",
            **{"dbsight.query.rows_affected": 3},
        ),
        query(
            "INSERT books",
            f"INSERT INTO books (id, title, author_id) VALUES ({book:INTEGER}, {title:VARCHAR}, {author:INTEGER})",
            "error",
            **{"error.type": on.error, "db.response.status_code": on.code},
        ),
        query("SELECT authors", "SELECT count(*) AS count_1 FROM authors", "total", **{rows: 1}),
    ]


def queries_of(seen):
    """The same of what arrived; parts of the time and findings' ids are looked at elsewhere."""
    unsteady = ("dbsight.finding.ids", "dbsight.query.fetch_time", "dbsight.query.connect_time", COMPILED)
    return [
        (span.name, {name: value for name, value in span.attributes.items() if name not in unsteady}, span.status)
        for span in seen.queries()
    ]


class Books:
    """What holds of the script on every database."""

    @pytest.fixture
    def seen(self, books):
        """The run."""
        return books[0]

    @pytest.fixture
    def on(self, books):
        """Where it ran."""
        return books[1]

    def test_the_application_is_as_without(self, seen):
        """Exit code, standard output and standard error are its own."""
        assert seen.run.returncode == 0
        assert seen.run.stdout.splitlines() == PRINTED
        assert seen.run.stderr == ""

    def test_every_statement_is_one_span_with_everything_on_it(self, seen, on):
        """None is missing, none comes twice, though the drivers are instrumented too; attributes are compared whole."""
        assert queries_of(seen) == expected_queries(on)
        # The second lazy load finds what the first has compiled; not each version keeps what a flush sends.
        assert [span.attributes.get(COMPILED) for span in seen.queries()][:3] == ["miss", "miss", None]
        assert {(span.kind, span.scope.name, span.scope.version) for span in seen.spans()} == {
            ("CLIENT", "dbsight", __version__),
            ("INTERNAL", "dbsight", __version__),
        }

    def test_all_hang_below_one_root(self, seen):
        """A script has no span of its own: its work is rooted all the same."""
        root = seen.span("dbsight.window")
        assert (root.kind, root.parent_span_id) == ("INTERNAL", "")
        assert {(span.trace_id, span.parent_span_id) for span in seen.queries()} == {(root.trace_id, root.span_id)}
        assert root.start_ns <= min(span.start_ns for span in seen.queries())
        assert root.end_ns >= max(span.end_ns for span in seen.queries())
        told = {name: root.attributes[name] for name in root.attributes if "time" not in name}
        assert told == {
            "dbsight.db.calls": 11,
            "dbsight.findings.count": 2,
            "dbsight.findings.rules": ["n_plus_one", "slow_query"],
            "dbsight.findings.max_severity": "warning",
        }
        assert 0 < root.attributes["dbsight.db.time"] < root.duration
        assert 0 < root.attributes["dbsight.db.time_ratio"] < 1

    def test_the_n_plus_one_is_on_the_root_with_line_relationship_and_fix(self, seen, on):
        """One event, compared whole but for what the clock makes."""
        (event,) = seen.span("dbsight.window").events
        assert event.name == "dbsight.finding"
        told = finding_of(event)
        assert re.fullmatch(r"n1-[0-9a-f]{8}", told.pop("dbsight.finding.id"))
        description = told.pop("dbsight.finding.description")
        line = line_of(BOOKS, "loop")
        assert description.startswith(f"5 queries loaded Book.author one row at a time, at app.py:{line} in work")
        assert event.attributes["dbsight.finding.impact"] > 0
        assert event.attributes["dbsight.finding.current_value"] == 5
        (lazy,) = {span.attributes["dbsight.query.fingerprint"] for span in seen.queries()[1:6]}
        assert told == {
            "dbsight.finding.rule": "n_plus_one",
            "dbsight.finding.category": "query",
            "dbsight.finding.runbook": "https://github.com/dbsight/dbsight/blob/main/docs/rules.md#n_plus_one",
            "dbsight.finding.title": "Book.author is loaded one row at a time",
            "dbsight.finding.suggestion": "select(Book).options(joinedload(Book.author))",
            "dbsight.finding.effort": "low",
            "dbsight.finding.count": 5,
            "dbsight.finding.metric": "count",
            "dbsight.finding.threshold": 5,
            "db.query.summary": "SELECT authors",
            "dbsight.query.fingerprint": lazy,
            "dbsight.orm.relationship": "Book.author",
            "code.file.path": "app.py",
            "code.line.number": line,
            "code.function.name": "work",
        }

    def test_the_slow_query_says_so_on_its_own_span(self, seen, on):
        """Its id, its event, where the time went; its status stays unset, for slow is no error."""
        (span,) = [span for span in seen.queries() if "dbsight.query.class" in span.attributes]
        (event,) = span.events
        assert span.attributes["dbsight.finding.ids"] == [event.attributes["dbsight.finding.id"]]
        assert (event.name, event.attributes["dbsight.finding.rule"]) == ("dbsight.finding", "slow_query")
        assert event.attributes["dbsight.finding.severity"] == "warning"
        assert event.attributes["dbsight.finding.current_value"] == pytest.approx(span.duration, rel=0.2)
        assert event.attributes["dbsight.finding.threshold"] == 0.1
        said = event.attributes["dbsight.finding.description"]
        pattern = (
            r"Waited \S+ [mµ]?s(?:, connected \S+ [mµ]?s)?, executed \S+ [mµ]?s, fetched \S+ [mµ]?s \(limit 100 ms\);"
            r" 1 rows? returned\."
        )
        assert re.fullmatch(pattern, said)

    def test_the_error_has_class_and_code(self, seen, on):
        """And the line of the application; no message."""
        (failed,) = [span for span in seen.queries() if span.status == "ERROR"]
        assert failed.status_description == (f"{on.error} ({on.code})" if on.code else on.error)
        place = f'  File "app.py", line {line_of(BOOKS, "error")}, in work\n'
        assert [(event.name, event.attributes) for event in failed.events] == [
            ("exception", {"exception.type": on.error, "exception.stacktrace": place})
        ]

    def test_the_resource_tells_who_sent_it(self, seen):
        """Service and distribution, on all signals."""
        for one in (*seen.spans(), *seen.metrics()):
            assert one.resource["service.name"] == "books"
            assert one.resource["telemetry.distro.name"] == "dbsight"
            assert one.resource["telemetry.distro.version"] == __version__

    def test_durations_are_a_histogram_of_seconds(self, seen, on):
        """Every query once, by summary; the buckets are those of the semantic conventions."""
        (metric,) = seen.metrics("db.client.operation.duration")
        assert (metric.unit, metric.type, metric.scope.name) == ("s", "histogram", "dbsight")
        assert [point.bounds for point in metric.points] == [SECONDS] * len(metric.points)
        told = {
            (point.attributes["db.query.summary"], point.attributes.get("error.type")): point.count
            for point in metric.points
        }
        assert told == {
            ("SELECT books", None): 1,
            ("SELECT authors", None): 6,
            (on.summary, None): 1,
            ("INSERT authors", None): 1,
            ("UPDATE authors", None): 1,
            ("INSERT books", on.error): 1,
        }
        common = {"db.system.name": on.system, **on.where}
        assert all(common.items() <= point.attributes.items() for point in metric.points)
        whole = sum(point.sum for point in metric.points)
        assert whole == pytest.approx(seen.span("dbsight.window").attributes["dbsight.db.time"], rel=0.01)

    def test_an_exemplar_leads_from_a_measurement_to_its_query(self, seen):
        """Trace and span of the exemplar are those of a query with that summary."""
        spans = {(span.trace_id, span.span_id): span.name for span in seen.queries()}
        points = seen.points("db.client.operation.duration")
        assert all(point.exemplars for point in points)
        for point in points:
            names = {spans[exemplar.trace_id, exemplar.span_id] for exemplar in point.exemplars}
            assert names == {point.attributes["db.query.summary"]}

    def test_our_own_metrics_arrive(self, seen, on):
        """Queries by type and class, findings by rule, rows by summary."""
        queries = {
            (point.attributes["dbsight.query.type"], point.attributes["dbsight.query.class"]): point.value
            for point in seen.points("dbsight.queries")
        }
        assert queries == {
            ("select", "normal"): 7,
            ("select", "slow"): 1,
            ("insert", "normal"): 2,
            ("update", "normal"): 1,
        }
        findings = {point.attributes["dbsight.finding.rule"]: point.value for point in seen.points("dbsight.findings")}
        assert findings == {"n_plus_one": 1, "slow_query": 1}
        rows = {
            point.attributes["db.query.summary"]: point.sum for point in seen.points("db.client.response.returned_rows")
        }
        assert rows == {"SELECT books": 10, "SELECT authors": 6, on.summary: 1}
        assert seen.logs("dbsight.finding") == []


def run_books(observe, url, **options):
    """Run the script."""
    env = {**SHOP, **SLOW_FROM, "DATABASE_URL": url, "OTEL_SERVICE_NAME": "books"}
    return observe(BOOKS, env=env, **options)


def undisturbed(run):
    """The first of three runs in which the machine did not stand still: many tests look at the same one.

    A second between two queries ends a window outside spans, and a query that nobody ran for long is slow.
    """
    for _ in range(3):
        seen, on = run()
        slow = [span for span in seen.queries() if "dbsight.query.class" in span.attributes]
        if len(seen.spans("dbsight.window")) == len(slow) == 1:
            break
    return seen, on


@pytest.fixture(scope="module", params=["grpc", "http/protobuf"])
def sqlite_books(request, observe, tmp_path_factory):
    """The run on SQLite, over both protocols."""

    def run():
        url = filled(f"sqlite:///{tmp_path_factory.mktemp('database') / 'shop.db'}")
        seen = run_books(observe, url, protocol=request.param)
        assert seen.protocols == {request.param}
        return seen, SQLITE

    return undisturbed(run)


@pytest.fixture(scope="module", params=["psycopg", "asyncpg"])
def postgresql_books(request, observe, postgresql_server):
    """The run on PostgreSQL, through a synchronous driver and an asynchronous one with ``AsyncSession``."""

    def run():
        with servers.fresh(postgresql_server) as database:
            filled(database.url("postgresql+psycopg"))
            seen = run_books(observe, database.url(f"postgresql+{request.param}"))
        port = {} if database.host.startswith("/") else {"server.port": database.port}
        where = {"db.namespace": database.name, "server.address": database.host, **port}
        return seen, replace({"psycopg": PSYCOPG, "asyncpg": ASYNCPG}[request.param], where=where)

    return undisturbed(run)


class TestOnSQLite(Books):
    """A file."""

    @pytest.fixture
    def books(self, sqlite_books):
        """The run, and where it ran."""
        return sqlite_books


class TestOnPostgreSQL(Books):
    """A server."""

    @pytest.fixture
    def books(self, postgresql_books):
        """The run, and where it ran."""
        return postgresql_books
