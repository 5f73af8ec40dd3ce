"""From a span to the server's log and to pg_stat_statements, and back, as docs/server_side.md says, on PostgreSQL."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from dbsight import config, semconv
from dbsight.cli.main import main
from dbsight.config import Settings
from integration.conftest import fill
from integration.plans.test_pg_setup import printed

QUERY = "SELECT * FROM orders WHERE status = :status AND total > 1234567 - :less"
ENTRY = re.compile(
    r"\S+ \S+ \S+ \[\d+\] \S+@\S+ (?P<application>\S+) (?P<query_id>-?\d+) LOG: +(?P<text>.*)", re.DOTALL
)


@pytest.fixture(scope="module")
def prepared_server(contrib_postgresql):
    """A database on a server that is set up with what ``dbsight sql pg-setup --slow 0`` prints."""
    url = contrib_postgresql.url("postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", future=True)
    with admin.connect() as connection:
        connection.exec_driver_sql("LOAD 'auto_explain'")
        try:
            for statement in printed("--slow", "0"):
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            connection.exec_driver_sql("CREATE DATABASE joined")
            yield replace(contrib_postgresql, name="joined")
        finally:
            connection.exec_driver_sql("DROP DATABASE IF EXISTS joined WITH (FORCE)")
            connection.exec_driver_sql("ALTER SYSTEM RESET ALL")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
    admin.dispose()


@pytest.fixture
def commented(make_telemetry):
    """Telemetry of a process that names its traces in SQL comments."""
    before = config.current()
    settings = Settings(sqlcommenter=True, sqlcommenter_trace="always", process_metrics=False)
    config.use(settings)
    yield make_telemetry(settings=settings)
    config.use(before)


def entries_of(connection, trace):
    """The entries of the server's log that name a trace: duration and plan, as soon as they are written."""
    directory = connection.exec_driver_sql("SHOW unix_socket_directories").scalar()
    deadline = time.monotonic() + 30
    while True:
        log = (Path(directory) / "log").read_text(errors="replace")
        entries = map(ENTRY.match, re.split(r"\n(?=\d{4}-\d\d-\d\d )", log))
        found = [match for match in entries if match and trace in match["text"]]
        kinds = {"plan" if "plan:" in match["text"] else "duration": match for match in found}
        if len(kinds) == 2 or time.monotonic() > deadline:
            return kinds
        time.sleep(0.05)


def fingerprint_of(text):
    """What ``dbsight sql fingerprint`` prints."""
    return CliRunner().invoke(main, ["sql", "fingerprint", text]).output


def test_a_span_leads_to_its_log_lines_and_totals_and_back(commented, prepared_server):
    """By the trace in the comment, by the query identifier, and by the fingerprint; values are in the log alone."""
    url = prepared_server.url("postgresql+psycopg")
    engine = sa.create_engine(url, connect_args={"application_name": "shop"}, future=True)
    fill(engine)
    with commented.root("GET /orders", http_route="/orders"), engine.connect() as connection:
        connection.execute(sa.text(QUERY), {"status": "open", "less": 1234000}).all()
    engine.dispose()
    spans = [each for each in commented.spans() if each.kind == "CLIENT"]
    (span,) = [each for each in spans if "FROM orders WHERE" in each.attributes[semconv.DB_QUERY_TEXT]]
    fingerprint = span.attributes[semconv.QUERY_FINGERPRINT]
    assert "1234567" not in str(span.attributes)

    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", future=True)
    with admin.connect() as connection:
        # From the span to the server's log: by the trace. The plan is there, too.
        entries = entries_of(connection, span.trace_id)
        assert set(entries) == {"duration", "plan"}
        assert {entry["application"] for entry in entries.values()} == {"shop"}
        plan = json.loads(entries["plan"]["text"].partition("plan:")[2])
        assert plan["Plan"]["Node Type"] == "Seq Scan"
        # From the log to pg_stat_statements: by the query identifier.
        query_id = int(entries["duration"]["query_id"])
        assert plan.get("Query Identifier", query_id) == query_id  # from PostgreSQL 16 on
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        totals = sa.text("SELECT query, calls FROM pg_stat_statements WHERE queryid = :id")
        ((text, calls),) = connection.execute(totals, {"id": query_id}).all()
        assert calls == 1
        # From there, and from the log, to spans: by the fingerprint.
        logged = re.search(r"(?:execute [^:]*|statement): (.*)", entries["duration"]["text"], re.DOTALL)[1]
        for statement in (text, logged.partition("\nDETAIL")[0], plan["Query Text"]):
            assert fingerprint_of(statement) == f"{fingerprint}  SELECT orders\n"
        # And from the span to pg_stat_statements without a log.
        texts = connection.exec_driver_sql("SELECT queryid, query FROM pg_stat_statements").all()
        assert [number for number, each in texts if fingerprint_of(each).startswith(fingerprint)] == [query_id]
    admin.dispose()
