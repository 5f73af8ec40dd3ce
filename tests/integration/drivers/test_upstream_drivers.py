"""Where OpenTelemetry's own instrumentor of a driver makes the spans: they are enriched, each statement counts once."""

import pytest

from dbsight import catalog
from dbsight.instrument import upstream_spans
from dbsight.model import Operation
from driver_clients import Asyncpg, AsyncPsycopg, Psycopg, Psycopg2, PyMySQL, SQLite
from hearing import hearing


@pytest.fixture(params=[Psycopg, AsyncPsycopg, Psycopg2, Asyncpg, SQLite, PyMySQL], ids=lambda kind: kind.__name__)
def guest(request, connect):
    """A client of each driver that has a twin; both instrumentations are active."""
    kind = request.param
    library = kind.module if kind in {Psycopg2, SQLite} else kind.instrumentor.library
    module, name = catalog.BY_NAME[library].upstream
    module = pytest.importorskip(f"opentelemetry.instrumentation.{module}", reason="the instrumentation is missing")
    client = connect(kind)
    upstream = getattr(module, name)()
    client.run(client.commit())
    client.run(client.close())
    upstream.instrument(tracer_provider=client.telemetry.tracer_provider, skip_dep_check=True)
    try:
        client.run(client.connect())
        client.telemetry.clear()
        yield client
    finally:
        upstream.uninstrument()
    assert not upstream_spans._open


def test_its_span_is_enriched_and_none_is_added(guest):
    """Rows, call site and fingerprint on its span; six of a loop are one finding; metrics count once."""
    text = f"SELECT title FROM books WHERE id = {guest.mark(1)}"
    with hearing(lambda each: each if isinstance(each, Operation) else None) as heard, guest.telemetry.root():
        for number in range(6):
            guest.run(guest.query(text, number % 3 + 1))
    found = [
        span for span in guest.telemetry.spans() if span.kind == "CLIENT" and "SELECT" in span.name.upper().split()
    ]
    assert len(found) == 6
    assert {span.scope.name.partition(".")[0] for span in found} == {"opentelemetry"}
    assert len({span.attributes["dbsight.query.fingerprint"] for span in found}) == 1
    assert [each.rows for each in heard if each.statement.kind == "select"] == [1] * 6
    assert guest.telemetry.span("GET /").attributes["dbsight.findings.rules"] == ["n_plus_one"]


def test_an_error_is_on_its_span(guest):
    """Once."""
    with guest.telemetry.root(), pytest.raises(Exception):  # noqa: B017 - each driver has its own
        guest.run(guest.query("SELECT id FROM missing_table"))
    failed = [span for span in guest.telemetry.spans() if span.kind == "CLIENT" and span.name.startswith("SELECT")]
    assert len(failed) == 1
    guest.run(guest.rollback())
