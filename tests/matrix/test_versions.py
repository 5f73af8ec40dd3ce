"""The versions that are served, each in an environment of its own: what a session does is told the same on all."""

import pytest

from e2e.observed import line_of
from matrix.programs import ASYNC, LEGACY, PLANS, SYNC

BASE = ("aiosqlite", "greenlet", "opentelemetry-instrumentation-sqlite3 >=0.63b0")

VERSIONS = {
    "sqlalchemy 1.4": (("sqlalchemy ==1.4.*", *BASE), {"python": "3.10"}),
    "sqlalchemy 2.0": (("sqlalchemy ==2.0.*", *BASE), {"python": "3.12"}),
    "sqlalchemy 2.1": (("sqlalchemy ==2.1.*", *BASE), {"python": "3.13"}),
    "oldest of everything": (
        ("sqlalchemy ==1.4.36", "aiosqlite ==0.19", "greenlet ==1.1.*", *BASE[2:]),
        {"python": "3.10", "resolution": "lowest-direct"},
    ),
}
"""What is installed besides the newest that agrees with it."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=VERSIONS)
def version(request, python_of):
    """The name of a combination and its interpreter."""
    packages, options = VERSIONS[request.param]
    return request.param, python_of(*packages, **options)


def told(span):
    """What is compared of a query span."""
    names = (
        "code.line.number",
        "db.response.returned_rows",
        "dbsight.query.rows_affected",
        "db.operation.batch.size",
        "dbsight.orm.relationship",
        "dbsight.orm.load",
        "error.type",
    )
    return span.name, {name: span.attributes[name] for name in names if name in span.attributes}


def expected(program, *, classic):
    """Every query of ``WORK`` in the order of its start; ``classic`` is SQLAlchemy 1.4, which returns no rows."""

    def query(name, marker, **more):
        names = {
            "rows": "db.response.returned_rows",
            "changed": "dbsight.query.rows_affected",
            "batch": "db.operation.batch.size",
            "relationship": "dbsight.orm.relationship",
            "load": "dbsight.orm.load",
            "error": "error.type",
        }
        line = {"code.line.number": line_of(program, marker)}
        return name, line | {names[key]: value for key, value in more.items() if value is not None}

    return [
        query("SELECT books", "list", rows=10),
        *[query("SELECT authors", "lazy", rows=1, relationship="Book.author", load="lazy")] * 5,
        query("SELECT authors", "eager", rows=3),
        query("SELECT books", "eager", rows=6, relationship="Author.books", load="eager"),
        query("SELECT books authors", "joined", rows=2),
        query("SELECT authors", "deferred", rows=1),
        query("SELECT authors", "deferred", rows=1, relationship="Author.biography", load="deferred"),
        query("INSERT authors", "batch", changed=3, batch=3),
        query("UPDATE authors", "update", changed=3),
        *[query("INSERT authors", "flush", changed=1 if classic else None)] * 2,
        query("SAVEPOINT", "delete"),
        query("DELETE books", "delete", changed=1),
        query("RELEASE SAVEPOINT", "savepoint"),
        query("INSERT books", "error", error="sqlite3.IntegrityError"),
        query("SELECT authors", "partly", rows=15),
        query("SELECT authors", "streamed", rows=15),
        query("SELECT authors", "raw", rows=1),
    ]


def session_of(version, observe, tmp_path, program=SYNC, scheme="sqlite", **options):
    """Run the session's program in this version."""
    (tmp_path / "app.py").write_text(program.lstrip("\n"))
    seen = observe(
        ["app.py", *options.pop("arguments", ())],
        cwd=tmp_path,
        python=version[1],
        env={"DATABASE_URL": f"{scheme}:///{tmp_path / 'versions.db'}"},
    )
    assert (seen.run.returncode, seen.run.stdout.split(), seen.run.stderr) == (
        0,
        ["IntegrityError", "4", "4", "15"],
        "",
    )
    return seen


def is_classic(version):
    """Whether this is SQLAlchemy 1.4."""
    return "1.4" in version[0] or "oldest" in version[0]


def judge(seen, program, *, classic):
    """Every statement once, nothing else, all below one root that carries the finding; metrics agree."""
    assert [told(span) for span in seen.queries()] == expected(program, classic=classic)
    root = seen.span("dbsight.window")
    assert len(seen.spans()) == len(seen.queries()) + 1
    assert {span.parent_span_id for span in seen.queries()} == {root.span_id}
    assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert root.attributes["dbsight.db.calls"] == len(seen.queries())
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == len(seen.queries())
    assert seen.points("dbsight.self.errors") == []


def test_a_synchronous_session_is_told_the_same_everywhere(version, observe, tmp_path):
    """Loads and their relationships, batches, writes, savepoints, errors, rows and lines."""
    judge(session_of(version, observe, tmp_path), SYNC, classic=is_classic(version))


def test_an_asynchronous_session_is_told_the_same_everywhere(version, observe, tmp_path):
    """The driver's own spans, made on its own thread, are not there besides."""
    seen = session_of(version, observe, tmp_path, ASYNC, "sqlite+aiosqlite")
    judge(seen, ASYNC, classic=is_classic(version))


def test_plans_are_asked_for_in_the_background_everywhere(version, observe, tmp_path):
    """On connections of our own, of synchronous and asynchronous engines."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'plans.db'}", "OTEL_DBSIGHT_EXPLAIN": "always_once"}
    seen = observe(PLANS, cwd=tmp_path, python=version[1], env=env)
    assert (seen.run.returncode, seen.run.stderr) == (0, "")
    logs = [record for record in seen.logs() if record.event_name == "dbsight.plan"]
    assert [record.body for record in logs] == ["SCAN on orders"] * 2
    assert [span.name for span in seen.queries()] == ["CREATE TABLE orders", "SELECT orders", "SELECT orders"]


def test_a_future_engine_of_1_4_is_told_the_same(python_of, observe, tmp_path):
    """``create_engine(future=True)`` has connections of another class."""
    packages, options = VERSIONS["sqlalchemy 1.4"]
    seen = session_of(("1.4", python_of(*packages, **options)), observe, tmp_path, arguments=("future",))
    judge(seen, SYNC, classic=True)


def test_what_only_1_4_takes_is_seen_too(python_of, observe, tmp_path):
    """Engines and connections that execute strings, Query, autocommit; SQLAlchemy's generated code is no call site."""
    packages, options = VERSIONS["sqlalchemy 1.4"]
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'versions.db'}", "SQLALCHEMY_SILENCE_UBER_WARNING": "1"}
    seen = observe(LEGACY, cwd=tmp_path, python=python_of(*packages, **options), env=env)
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, "11\n20\n", "")
    assert [(span.name, span.attributes["code.line.number"]) for span in seen.queries()] == [
        ("INSERT authors", line_of(LEGACY, "engine")),
        ("SELECT authors", line_of(LEGACY, "count")),
        ("SELECT books", line_of(LEGACY, "query")),
        *[("SELECT authors", line_of(LEGACY, "lazy"))] * 5,
        ("SELECT authors", line_of(LEGACY, "string")),
    ]
    assert seen.span("dbsight.window").attributes["dbsight.findings.rules"] == ["n_plus_one"]
