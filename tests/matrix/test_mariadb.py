"""A real MariaDB through every driver that SQLAlchemy serves: each statement once, with its server, rows and errors."""

import shutil

import pytest

from e2e.observed import line_of
from matrix.programs import ASYNC, SYNC

BASE = ("sqlalchemy ==2.1.*", "greenlet", "pymysql", "aiomysql", "asyncmy", "opentelemetry-instrumentation-pymysql")
DRIVERS = {
    "mysql+pymysql": (SYNC, BASE, "pymysql.err"),
    "mariadb+pymysql": (SYNC, BASE, "pymysql.err"),
    "mysql+aiomysql": (ASYNC, BASE, "pymysql.err"),
    "mysql+asyncmy": (ASYNC, BASE, "asyncmy.errors"),
}
if shutil.which("mariadb_config") or shutil.which("mysql_config"):  # there is no wheel for Linux
    packages = (*BASE, "mysqlclient", "opentelemetry-instrumentation-mysqlclient")
    DRIVERS["mysql+mysqldb"] = (SYNC, packages, "MySQLdb")

pytestmark = pytest.mark.slow


@pytest.fixture(params=DRIVERS)
def driver(request, python_of):
    """The URL's scheme, the program, the interpreter, and where the driver's errors are."""
    program, packages, errors = DRIVERS[request.param]
    return request.param, program, python_of(*packages), errors


def test_a_session_on_mariadb_is_told_in_full(driver, observe, mariadb, tmp_path):
    """Loads, batches, INSERT … RETURNING, savepoints, errors by number, rows of server-side cursors, N+1."""
    scheme, program, python, errors = driver
    (tmp_path / "app.py").write_text(program.lstrip("\n"))
    seen = observe(["app.py"], cwd=tmp_path, python=python, env={"DATABASE_URL": mariadb.url(scheme)})
    assert (seen.run.returncode, seen.run.stdout.split(), seen.run.stderr) == (
        0,
        ["IntegrityError", "4", "4", "15"],
        "",
    )

    def query(name, marker, rows=None, changed=None, batch=None, relationship=None, error=None):
        return name, line_of(program, marker), rows, changed, batch, relationship, error

    assert [
        (
            span.name,
            span.attributes["code.line.number"],
            span.attributes.get("db.response.returned_rows"),
            span.attributes.get("dbsight.query.rows_affected"),
            span.attributes.get("db.operation.batch.size"),
            span.attributes.get("dbsight.orm.relationship"),
            span.attributes.get("error.type"),
        )
        for span in seen.queries()
    ] == [
        query("SELECT books", "list", 10),
        *[query("SELECT authors", "lazy", 1, relationship="Book.author")] * 5,
        query("SELECT authors", "eager", 3),
        query("SELECT books", "eager", 6, relationship="Author.books"),
        query("SELECT books authors", "joined", 2),
        query("SELECT authors", "deferred", 1),
        query("SELECT authors", "deferred", 1, relationship="Author.biography"),
        query("INSERT authors", "batch", changed=3, batch=3),
        query("UPDATE authors", "update", changed=3),
        query("INSERT authors", "flush", 2, batch=2),
        query("SAVEPOINT", "delete"),
        query("DELETE books", "delete", changed=1),
        query("RELEASE SAVEPOINT", "savepoint"),
        query("INSERT books", "error", error=f"{errors}.IntegrityError"),
        query("SELECT authors", "partly", 15),
        query("SELECT authors", "streamed", 15),
        query("SELECT authors", "raw", 1),
    ]
    where = {
        "db.system.name": "mariadb",
        "db.system": "mariadb",
        "db.namespace": mariadb.name,
        "server.address": mariadb.host,
        "server.port": mariadb.port,
    }
    assert all(where.items() <= span.attributes.items() for span in seen.queries())
    assert {span.attributes.get("db.response.status_code") for span in seen.queries()} == {None, "1062"}
    root = seen.span("dbsight.window")
    assert len(seen.spans()) == len(seen.queries()) + 1
    assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert root.attributes["dbsight.db.calls"] == len(seen.queries())
    (event,) = root.events
    assert event.attributes["dbsight.orm.relationship"] == "Book.author"
    assert event.attributes["dbsight.finding.suggestion"] == "select(Book).options(joinedload(Book.author))"
