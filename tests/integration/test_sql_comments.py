"""SQL comments reach the server and change nothing else: neither fingerprints nor caches nor results."""

import pytest
import sqlalchemy as sa

import servers
from dbsight import config, semconv
from dbsight.config import Settings
from dbsight.statement import read

QUERY = "SELECT 1 + :number"


@pytest.fixture
def commented(make_telemetry):
    """Telemetry of a process whose setting is on when SQLAlchemy is instrumented."""
    before = config.current()
    settings = Settings(sqlcommenter=True, process_metrics=False)
    config.use(settings)
    yield make_telemetry(settings=settings)
    config.use(before)


def sent(engine):
    """The texts that the driver gets, from now on."""
    texts = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(connection, cursor, statement, parameters, context, many):
        texts.append(statement)

    return texts


def test_route_and_trace_are_in_the_comment_of_a_driver_that_prepares_nothing(commented, mariadb_server):
    """In sqlcommenter's format: keys in order, values encoded. The server has it as well."""
    with servers.fresh(mariadb_server) as database:
        engine = sa.create_engine(database.url("mysql+pymysql"), future=True)
        with engine.connect():
            texts = sent(engine)
        with commented.root("GET /o'r*/x", http_route="/orders/{id}/%*/'") as root, engine.connect() as connection:
            text = sa.text("SELECT info, 1 + :number FROM information_schema.processlist WHERE id = connection_id()")
            seen, number = connection.execute(text, {"number": 41}).one()
        trace_id = f"{root.get_span_context().trace_id:032x}"
        assert number == 42
        assert f"traceparent='00-{trace_id}-" in seen
        assert "route='%2Forders%2F%7Bid%7D%2F%25%2A%2F%27'" in seen
        assert seen.endswith("*/")
        assert seen.count("/*") == 1
        assert len(texts) == 1
        engine.dispose()


def test_a_driver_that_prepares_statements_gets_the_same_text_each_time(commented, postgresql_server):
    """The server prepares it once: with a trace in it, each execution would be another statement."""
    with servers.fresh(postgresql_server) as database:
        engine = sa.create_engine(database.url("postgresql+psycopg"), future=True)
        with engine.connect() as connection:
            for _ in range(8):  # in one transaction: psycopg forgets what it prepared at a rollback
                with commented.root("GET /orders", http_route="/orders"):
                    assert connection.execute(sa.text(QUERY), {"number": 1}).scalar() == 2
            prepared = [
                text
                for (text,) in connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements")
                if "route" in text
            ]
        engine.dispose()
    assert len(prepared) == 1
    assert "traceparent" not in prepared[0]


def test_fingerprints_and_texts_of_spans_are_without_the_comment(commented, tmp_path):
    """Those of another process's spans, too, whose texts have one."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}", future=True)
    with commented.root("GET /orders", http_route="/orders"), engine.connect() as connection:
        connection.execute(sa.text(QUERY), {"number": 1}).all()
    engine.dispose()
    (span,) = [each for each in commented.spans() if each.kind == "CLIENT"]
    assert span.attributes[semconv.QUERY_FINGERPRINT] == read("SELECT 1 + ?", "sqlite").fingerprint
    assert "route" not in span.attributes[semconv.DB_QUERY_TEXT]
    assert read("SELECT 1 + ? /*route='%2F',traceparent='00-1-2-01'*/", "sqlite").fingerprint == (
        read("SELECT 1 + ?", "sqlite").fingerprint
    )


def test_nothing_is_added_by_default(telemetry, tmp_path):
    """Nor to a statement that has a comment, nor outside of a request."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}", future=True)
    texts = sent(engine)
    with telemetry.root("GET /", http_route="/"), engine.connect() as connection:
        connection.execute(sa.text(QUERY), {"number": 1}).all()
    assert texts == ["SELECT 1 + ?"]
    engine.dispose()


def test_a_comment_of_the_application_stays_alone(commented, tmp_path):
    """As sqlcommenter has it."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}", future=True)
    with engine.connect():
        texts = sent(engine)
    with commented.root("GET /", http_route="/"), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1 /* mine */")).all()
        connection.execute(sa.text("SELECT 2")).all()
    assert texts[0] == "SELECT 1 /* mine */"
    assert texts[1].startswith("SELECT 2 /*")
    engine.dispose()
