"""SQL comments reach the server and change nothing else: neither fingerprints nor caches nor results."""

import pytest
import sqlalchemy as sa

import servers
from dbsight import config, semconv
from dbsight.config import Settings
from dbsight.statement import read

QUERY = "SELECT 1 + :number"


@pytest.fixture
def commenting(make_telemetry):
    """Telemetry of a process whose setting is on when SQLAlchemy is instrumented; further settings by name."""
    before = config.current()

    def make(resource=None, **more):
        settings = Settings(sqlcommenter=True, process_metrics=False, **more)
        config.use(settings)
        return make_telemetry(settings=settings, resource=resource)

    yield make
    config.use(before)


@pytest.fixture
def commented(commenting):
    """The same with nothing else set."""
    return commenting()


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


@pytest.mark.parametrize(
    ("mode", "threshold", "named"),
    [("auto", 5, False), ("auto", None, True), ("always", 5, True), ("off", None, False)],
    ids=["a driver that prepares", "one that was told not to", "always", "never"],
)
def test_the_trace_is_named_unless_that_defeats_prepared_statements(
    commenting, postgresql_server, mode, threshold, named
):
    """Or where the setting says so, whatever it costs."""
    telemetry = commenting(sqlcommenter_trace=mode)
    with servers.fresh(postgresql_server) as database:
        url = database.url("postgresql+psycopg")
        engine = sa.create_engine(url, connect_args={"prepare_threshold": threshold}, future=True)
        with telemetry.root("GET /orders", http_route="/orders"), engine.connect() as connection:
            own = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            seen = connection.execute(sa.text(own)).scalar()
        engine.dispose()
    assert "route='%2Forders'" in seen
    assert ("traceparent='00-" in seen) == named


@pytest.mark.parametrize(("system", "scheme"), [("postgresql", "postgresql+psycopg"), ("mariadb", "mysql+pymysql")])
def test_datadog_gets_its_keys_in_front(commenting, request, system, scheme):
    """Its database, service, environment and version, sorted, as its own tracers write them; the span says so."""
    about = {"service.name": "shop's", "deployment.environment.name": "staging", "service.version": "1.4.0"}
    telemetry = commenting(about, sqlcommenter_format="datadog", sqlcommenter_trace="always")
    with servers.fresh(request.getfixturevalue(f"{system}_server")) as database:
        engine = sa.create_engine(database.url(scheme), future=True)
        with engine.connect():
            texts = sent(engine)
        with telemetry.root("GET /", http_route="/") as root, engine.connect() as connection:
            assert connection.execute(sa.text(QUERY), {"number": 41}).scalar() == 42
        engine.dispose()
    context = root.get_span_context()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    start = f"/*dddb='{database.name}',dddbs='shop%27s',dde='staging',ddh='127.0.0.1',ddps='shop%27s',ddpv='1.4.0',"
    assert texts[0].replace("%%", "%").startswith(start)
    assert f"traceparent='{parent}'*/ SELECT" in texts[0]
    (span,) = [each for each in telemetry.spans() if each.kind == "CLIENT"]
    assert span.attributes["_dd.dbm_trace_injected"] == "true"
    assert span.attributes[semconv.DB_QUERY_TEXT].startswith("SELECT")


def test_datadogs_keys_are_for_what_it_monitors(commenting, tmp_path):
    """sqlite3 of Python 3.10 begins no transaction for an INSERT behind a comment, and nobody would read the keys."""
    telemetry = commenting(sqlcommenter_format="datadog")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}", future=True)
    with engine.connect():
        texts = sent(engine)
    with telemetry.root("GET /", http_route="/"), engine.connect() as connection:
        connection.execute(sa.text(QUERY), {"number": 1}).all()
    engine.dispose()
    assert texts == ["SELECT 1 + ? /*route='%2F'*/"] or "framework=" in texts[0]
    assert texts[0].startswith("SELECT")


@pytest.mark.parametrize("style", ["sqlcommenter", "datadog"])
def test_a_batch_has_no_comment_and_stays_one_statement(commenting, mariadb_server, style):
    """PyMySQL looks at both ends of an INSERT to know whether it may send many rows at once."""
    telemetry = commenting(sqlcommenter_format=style)
    with servers.fresh(mariadb_server) as database:
        engine = sa.create_engine(database.url("mysql+pymysql"), future=True)
        table = sa.Table("things", sa.MetaData(), sa.Column("id", sa.Integer))
        with telemetry.root("POST /", http_route="/"), engine.begin() as connection:
            table.create(connection)
            before = _inserts(connection)
            connection.exec_driver_sql("INSERT INTO things (id) VALUES (%s)", [(number,) for number in range(50)])
            assert _inserts(connection) - before == 1
        engine.dispose()


def _inserts(connection):
    """How many INSERTs the server had in this session."""
    return int(connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Com_insert'").one()[1])
