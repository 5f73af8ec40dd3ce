"""A marker in literals, bound values and error messages is in nothing that leaves the process."""

import pytest

import servers
from e2e.programs import SHOP, filled

MARKER = "Xq7-Marker-9Zk"
NUMBER = "7391846250"
HEXADECIMAL = MARKER.encode().hex()
SECRETS = (MARKER.lower(), NUMBER, HEXADECIMAL, "marker")
"""In whatever case, and as bytes are written."""

VALUES = f"""
import contextlib
import datetime
import decimal
import logging
import os
import uuid

logging.basicConfig(level=logging.DEBUG, filename="application.log")  # all that we log is looked at, too

MARKER, NUMBER = {MARKER!r}, {NUMBER}
"""

WITH_SQLALCHEMY = (
    VALUES
    + """
import asyncio

from sqlalchemy import create_engine, exc, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from shop import Author, Book

URL = os.environ["DATABASE_URL"]
SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) "
    "SELECT max(i) FROM n WHERE {0!r} = {0!r} AND i < {1}",
    "postgresql": "SELECT max(i) FROM generate_series(1, 400000) AS n(i) WHERE {0!r} = {0!r} AND i < {1}",
}


def work(session):
    dialect = session.bind.dialect.name
    session.add_all([Author(id=n, name=f"{MARKER} {n}", biography=MARKER) for n in range(101, 110)])
    session.add_all([Book(id=n, title=f"{MARKER} {n}", author_id=n) for n in range(101, 110)])
    session.commit()
    for book in session.scalars(select(Book).where(Book.title.like(f"{MARKER}%"))):
        book.author.name
    # Literals in the text, an N+1 of them, in every kind of quotes, and a slow query.
    for n in range(12):
        where = f"name = '{MARKER} {n}' AND id < {NUMBER} -- {MARKER}"
        session.execute(text(f"SELECT name FROM authors WHERE {where}")).all()
        session.execute(text(f"SELECT '{MARKER}''s' AS a, {NUMBER} AS b /* {MARKER} {n} */")).all()
    if dialect == "sqlite":
        session.execute(text(f'SELECT name FROM authors WHERE name = "{MARKER}"')).all()
    if dialect == "postgresql":
        session.execute(text(f"SELECT $$ {MARKER} $$, $tag${MARKER}$tag$, E'{MARKER}\\\\'', U&'{MARKER}', B'1'")).all()
    session.execute(text(SLOW[dialect].format(MARKER, NUMBER))).all()
    # Values of every type, in every form of parameters.
    for value in (MARKER, MARKER.encode(), NUMBER):
        session.execute(select(literal(value))).all()
    if dialect == "sqlite":
        session.connection().exec_driver_sql("SELECT ?, ?", (MARKER, NUMBER)).all()
    elif not URL.startswith("postgresql+asyncpg"):
        session.connection().exec_driver_sql("SELECT %s, %s", (MARKER, NUMBER)).all()
    session.execute(update(Author).where(Author.name == MARKER).values(biography=MARKER))
    session.execute(insert(Author), [{"id": 200 + n, "name": f"{MARKER} {n}"} for n in range(5)])
    session.commit()
    session.execute(text("CREATE UNIQUE INDEX one_name ON authors (name)"))
    session.commit()
    # Errors whose messages quote what they were given.
    failures = [
        lambda: session.execute(insert(Author).values(id=300, name=f"{MARKER} 101")),
        lambda: session.execute(insert(Author), [{"id": 301, "name": f"{MARKER} 102"}]),
        lambda: (session.add(Author(id=302, name=f"{MARKER} 103")), session.flush()),
        lambda: session.execute(text(f"SELEC '{MARKER}' FRM nowhere")),
        lambda: session.execute(text(f"SELECT name, {NUMBER} FROM authors WHERE '{MARKER}")),
        lambda: session.execute(text("SELECT CAST(:v AS INTEGER) FROM authors"), {"v": MARKER}),
        lambda: session.execute(text(f"SELECT CAST('{MARKER}' AS INTEGER) / 0 FROM nowhere_at_all")),
    ]
    for failure in failures:
        try:
            failure()
        except exc.DBAPIError as error:
            assert error.params is not None or error.statement is not None
            session.rollback()
    with contextlib.suppress(exc.DBAPIError):
        with session.begin_nested():
            session.execute(insert(Author).values(id=303, name=f"{MARKER} 101"))


async def main():
    engine = create_async_engine(URL)
    async with engine.connect() as connection:
        await connection.run_sync(lambda sync: work(Session(sync)))
    await engine.dispose()


if "asyncpg" in URL:
    asyncio.run(main())
else:
    with Session(create_engine(URL)) as session:
        work(session)
print("done")
"""
)

WITH_DRIVERS = (
    VALUES
    + """
import sqlite3

import psycopg

with contextlib.closing(sqlite3.connect(":memory:")) as connection:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
    cursor.executemany("INSERT INTO t (name) VALUES (?)", [(f"{MARKER} {n}",) for n in range(5)])
    for n in range(12):
        cursor.execute(f"SELECT id FROM t WHERE name = '{MARKER} {n}' AND id < {NUMBER} -- {MARKER}").fetchall()
        cursor.execute("SELECT id FROM t WHERE name = ? AND ? > 0", (f"{MARKER} {n}", NUMBER)).fetchall()
    for statement, values in (
        ("INSERT INTO t (name) VALUES (?)", (f"{MARKER} 1",)),
        (f"INSERT INTO t (name) VALUES ('{MARKER} 1')", ()),
        (f"SELEC '{MARKER}", ()),
        (f'SELECT id FROM nowhere WHERE name = "{MARKER}"', ()),
    ):
        with contextlib.suppress(sqlite3.Error):
            cursor.execute(statement, values)

if os.environ.get("DATABASE_URL"):
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BYTEA, made DATE)")
        cursor.executemany("INSERT INTO t (id, name) VALUES (%s, %s)", [(n, f"{MARKER} {n}") for n in range(5)])
        for n in range(12):
            cursor.execute(f"SELECT id FROM t WHERE name = '{MARKER} {n}' AND id < {NUMBER} -- {MARKER}").fetchall()
            cursor.execute("SELECT id FROM t WHERE name = %(name)s", {"name": f"{MARKER} {n}"}).fetchall()
            cursor.execute("SELECT %s::bytea, %s::numeric", (MARKER.encode(), decimal.Decimal(NUMBER))).fetchall()
        for statement, values in (
            ("INSERT INTO t (id, name) VALUES (%s, %s)", (100, f"{MARKER} 1")),
            (f"INSERT INTO t (id, name) VALUES (101, '{MARKER} 1')", ()),
            ("SELECT %s::integer", (MARKER,)),
            (f"SELECT '{MARKER}'::integer", ()),
            (f"SELEC '{MARKER}", ()),
            (f"SELECT nothing FROM t WHERE name = '{MARKER}'", ()),
        ):
            with contextlib.suppress(psycopg.Error):
                cursor.execute(statement, values)
print("done")
"""
)


@pytest.fixture
def run(observe, tmp_path):
    """Runs a program with everything on that could tell; what it logged is in the answer, too."""

    def run(program, **variables):
        env = {
            **SHOP,
            "OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD": "0.001",
            "OTEL_DBSIGHT_FINDINGS": "both",
            "OTEL_DBSIGHT_REPORT": "terminal",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "database/dup",
            "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
            **variables,
        }
        seen = observe(program, cwd=tmp_path, env=env)
        assert seen.run.check().stdout == "done\n"
        return seen, (tmp_path / "application.log").read_text()

    return run


def assert_nothing_is_told(seen, logged):
    """Spans, metrics, log records, both outputs, and the process's own log."""
    told = f"{seen.everything()}\n{logged}".lower()
    places = [told[max(0, told.find(secret) - 200) : told.find(secret) + 60] for secret in SECRETS if secret in told]
    assert places == []


def assert_everything_was_seen(seen, failures):
    """The test would pass with nothing exported: errors, findings of both rules, log events, report."""
    assert len([span for span in seen.spans() if span.status == "ERROR"]) == failures
    rules = {record.attributes["dbsight.finding.rule"] for record in seen.logs("dbsight.finding")}
    assert "n_plus_one" in rules
    assert "N+1" in seen.run.stderr


def test_sqlalchemy_on_sqlite_tells_nothing(run, tmp_path):
    """Host mode, a file."""
    seen, logged = run(WITH_SQLALCHEMY, DATABASE_URL=filled(f"sqlite:///{tmp_path / 'shop.db'}"))
    assert_everything_was_seen(seen, failures=7)
    assert_nothing_is_told(seen, logged)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_sqlalchemy_on_postgresql_tells_nothing(run, postgresql_server, driver):
    """Host mode; PostgreSQL's messages quote keys and values."""
    with servers.fresh(postgresql_server) as database:
        filled(database.url("postgresql+psycopg"))
        seen, logged = run(WITH_SQLALCHEMY, DATABASE_URL=database.url(f"postgresql+{driver}"))
    assert_everything_was_seen(seen, failures=8)
    assert_nothing_is_told(seen, logged)


UPSTREAM = """from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor

for instrumentor in (PsycopgInstrumentor(), SQLite3Instrumentor()):
    instrumentor.instrument()
"""


@pytest.mark.parametrize(
    ("before", "scopes"),
    [
        ("", {"dbsight"}),
        (UPSTREAM, {"opentelemetry.instrumentation.sqlite3", "opentelemetry.instrumentation.psycopg"}),
    ],
    ids=["ours", "upstream"],
)
def test_spans_of_drivers_tell_nothing(run, postgresql, before, scopes):
    """Ours, and those of OpenTelemetry, which write literals, messages and stack traces on their spans."""
    seen, logged = run(before + WITH_DRIVERS, DATABASE_URL=postgresql.url())
    assert {span.scope.name for span in seen.spans() if span.kind == "CLIENT"} == scopes
    assert_everything_was_seen(seen, failures=10)
    assert_nothing_is_told(seen, logged)


def test_what_is_asked_for_is_told(run, tmp_path):
    """The same search finds the marker as soon as somebody asks for raw texts and parameters."""
    url = filled(f"sqlite:///{tmp_path / 'shop.db'}")
    seen, logged = run(WITH_SQLALCHEMY, DATABASE_URL=url, OTEL_DBSIGHT_QUERY_TEXT="raw", OTEL_DBSIGHT_PARAMETERS="full")
    with pytest.raises(AssertionError):
        assert_nothing_is_told(seen, logged)
    texts = [span.attributes["db.query.text"] for span in seen.queries()]
    assert any(f"/* {MARKER} 7 */" in text for text in texts)
    assert any(span.attributes.get("db.query.parameter.0") == f"{MARKER}%" for span in seen.queries())
