"""Explaining changes nothing, waits for nobody, runs nothing else and is seen by nobody."""

import contextlib
import random
import sqlite3
import threading
import time

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.pool import StaticPool

import dbsight
import servers
from dbsight import ExplainError, ExplainRefusedError
from dbsight.plans.explain import explain
from integration.plans.hostile import LOCKS_OR_WAITS, NOT_ONE_QUERY, mixture


def content(shop):
    """What is in the tables."""
    with shop.connect() as connection:
        return connection.exec_driver_sql(
            "SELECT (SELECT count(*) FROM orders), (SELECT sum(total) FROM orders), (SELECT count(*) FROM customers)"
        ).fetchone()


WRITES = {
    "insert": "INSERT INTO orders (customer_id, status, total) VALUES (1, 'new', 1)",
    "insert returning": "INSERT INTO orders (customer_id, status, total) VALUES (1, 'new', 1) RETURNING id",
    "update": "UPDATE orders SET total = 0",
    "delete": "DELETE FROM orders",
    "comment first": "/* SELECT */ DELETE FROM orders",
    "cte": "WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone",
    "cte insert": "WITH one AS (SELECT 1 AS id) INSERT INTO orders (customer_id) SELECT id FROM one",
}
UNKNOWN_THERE = {"mysql": {"cte", "cte insert"}, "sqlite": {"cte"}}


@pytest.mark.parametrize("name", WRITES)
def test_what_writes_is_planned_but_not_executed(shop, name):
    """Without analyze there is a plan; with it the statement is refused before it is sent; nothing changes."""
    if name in UNKNOWN_THERE.get(shop.name, ()):
        with pytest.raises(ExplainError):
            explain(WRITES[name], shop)
        return
    before = content(shop)
    assert not explain(WRITES[name], shop).analyzed
    with pytest.raises(ExplainRefusedError, match=r"writes|locks"):
        explain(WRITES[name], shop, analyze=True)
    assert content(shop) == before


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_is_wanted_is_rolled_back(shop, name):
    """With rollback=True it runs, on an engine and inside the caller's transaction, and nothing remains."""
    if name in UNKNOWN_THERE.get(shop.name, ()):
        return
    before = content(shop)
    assert explain(WRITES[name], shop, analyze=True, rollback=True).analyzed
    assert content(shop) == before
    with shop.connect() as connection:
        connection.exec_driver_sql("INSERT INTO customers (id, name) VALUES (9001, 'mine')")
        explain(WRITES[name], connection, analyze=True, rollback=True)
        found = connection.exec_driver_sql("SELECT name FROM customers WHERE id = 9001").scalar()
        orders = connection.exec_driver_sql("SELECT count(*) FROM orders").scalar()
        connection.exec_driver_sql("UPDATE customers SET name = 'still writable' WHERE id = 9001")
        connection.rollback()
    assert (found, orders) == ("mine", before[0])
    assert content(shop) == before


@pytest.mark.parametrize("text", NOT_ONE_QUERY)
@pytest.mark.parametrize("options", [{}, {"analyze": True}, {"analyze": True, "rollback": True}])
def test_more_or_other_than_one_query_is_never_sent(shop, text, options):
    """Several statements, commands, and texts that can be read in two ways are refused or fail; nothing changes."""
    before = content(shop)
    try:
        explain(text, shop, **options)
    except ExplainError:
        pass
    else:
        # The only ones that are one query to somebody.
        assert text.startswith(r"SELECT '\'") or (shop.name != "mysql" and "/*!" in text)
    assert content(shop) == before


@pytest.mark.parametrize("text", LOCKS_OR_WAITS)
def test_what_locks_or_waits_is_never_executed(shop, text):
    """Row locks, user locks, files, variables and sleeping."""
    began = time.monotonic()
    with pytest.raises(ExplainError):
        explain(text, shop, analyze=True)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("engine", ["MyISAM", "Aria"])
def test_a_table_without_transactions_is_not_written_to(mariadb_shop, engine):
    """Its rows would be gone: there is nothing to roll back."""
    with mariadb_shop.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE plain (id INT) ENGINE={engine}")
        connection.exec_driver_sql("INSERT INTO plain VALUES (1), (2)")
    try:
        for text in ("DELETE FROM plain", "INSERT INTO plain SELECT id FROM orders", "UPDATE `plain` SET id = 3"):
            assert not explain(text, mariadb_shop).analyzed
            with pytest.raises(ExplainRefusedError, match="without transactions"):
                explain(text, mariadb_shop, analyze=True, rollback=True)
        with mariadb_shop.connect() as connection:
            assert connection.exec_driver_sql("SELECT sum(id), count(*) FROM plain").fetchone() == (3, 2)
    finally:
        with mariadb_shop.begin() as connection:
            connection.exec_driver_sql("DROP TABLE plain")


def test_a_locked_table_costs_no_more_than_the_lock_timeout(shop):
    """It ends as an error instead of waiting for whoever holds the lock."""
    with shop.connect() as holder:
        if shop.name == "sqlite":
            holder.connection.driver_connection.execute("BEGIN EXCLUSIVE")
        elif shop.name == "postgresql":
            holder.exec_driver_sql("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        else:
            holder.exec_driver_sql("LOCK TABLES orders WRITE")
        try:
            for analyze in (False, True):
                began = time.monotonic()
                with pytest.raises(ExplainError):
                    explain("SELECT * FROM orders", shop, analyze=analyze, lock_timeout=0.3)
                assert time.monotonic() - began < 4
        finally:
            if shop.name == "sqlite":
                holder.connection.driver_connection.rollback()
            elif shop.name != "postgresql":
                holder.exec_driver_sql("UNLOCK TABLES")
    assert explain("SELECT * FROM orders", shop).root.table == "orders"


ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT count(*) FROM orders a, orders b, orders c",
    "mysql": "SELECT count(*) FROM orders a, orders b, orders c WHERE a.total + b.total + c.total < 0",
}


def test_a_statement_that_takes_too_long_is_stopped(shop):
    """On the server, not by giving up on it; the connection is good for the next."""
    began = time.monotonic()
    with pytest.raises(ExplainError):
        explain(ENDLESS[shop.name], shop, analyze=True, timeout=0.3)
    assert time.monotonic() - began < 5
    assert explain("SELECT * FROM orders WHERE total = 1", shop, analyze=True, timeout=5).root.actual_rows == 1


SETTINGS = {
    "sqlite": ("PRAGMA query_only", "PRAGMA busy_timeout"),
    "postgresql": ("SHOW transaction_read_only", "SHOW statement_timeout", "SHOW lock_timeout"),
    "mysql": ("SELECT @@max_statement_time", "SELECT @@lock_wait_timeout", "SELECT @@tx_read_only"),
}


@pytest.mark.parametrize("isolation", [None, "AUTOCOMMIT"])
@pytest.mark.parametrize("text", ["SELECT * FROM orders", "SELECT * FROM nowhere"])
def test_a_connection_is_left_as_it_was(shop, isolation, text):
    """Timeouts, read-only and transaction state are the caller's, also after an error and in autocommit."""
    with shop.connect() as connection:
        if isolation:
            connection = connection.execution_options(isolation_level=isolation)  # noqa: PLW2901
        before = [connection.exec_driver_sql(each).scalar() for each in SETTINGS[shop.name]]
        for analyze in (False, True) if shop.name != "mysql" or isolation else (False,):
            with pytest.raises(ExplainError) if "nowhere" in text else contextlib.nullcontext():
                explain(text, connection, analyze=analyze)
        assert [connection.exec_driver_sql(each).scalar() for each in SETTINGS[shop.name]] == before
        connection.exec_driver_sql("INSERT INTO customers (id, name) VALUES (9002, 'works')")
        assert connection.exec_driver_sql("DELETE FROM customers WHERE id = 9002").rowcount == 1
        if not isolation:
            connection.rollback()


def test_autocommit_does_not_make_a_rolled_back_write_permanent(shop):
    """The transaction is begun by hand where the driver begins none."""
    before = content(shop)
    engine = shop.execution_options(isolation_level="AUTOCOMMIT")
    assert explain("DELETE FROM orders", engine, analyze=True, rollback=True).analyzed
    assert content(shop) == before


def test_a_connection_that_everybody_shares_keeps_its_transaction():
    """In-memory SQLite: closing our half would roll the application's back."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}, future=True)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER)")
        connection.exec_driver_sql("INSERT INTO orders VALUES (1)")
        with pytest.raises(ExplainError, match="pass that connection"):
            explain("SELECT * FROM orders", engine)
        assert explain("SELECT * FROM orders", connection).root.table == "orders"
        connection.commit()
    assert explain("SELECT * FROM orders", engine, analyze=True).root.actual_rows == 1
    engine.dispose()


def test_a_dead_server_is_an_error_that_names_no_password(postgresql_server, postgresql_shop):
    """Nobody listens; and a connection whose server has ended it."""
    url = postgresql_shop.url.set(password="s3cret-word", port=1)
    engine = sa.create_engine(url, future=True)
    with pytest.raises(ExplainError, match="OperationalError") as caught:
        explain("SELECT 1", engine)
    assert "s3cret" not in str(caught.value)
    engine = sa.create_engine(postgresql_shop.url, future=True)
    with engine.connect() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        connection.rollback()
        servers.postgresql_says(postgresql_server.database, f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(ExplainError):
            explain("SELECT * FROM orders", connection)
    assert explain("SELECT * FROM orders", engine).root.table == "orders"
    engine.dispose()


def test_a_user_without_rights_gets_no_plan(postgresql_shop):
    """The database refuses, and the message quotes nothing of the statement."""
    with postgresql_shop.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE dbsight_nobody LOGIN")
    engine = sa.create_engine(postgresql_shop.url.set(username="dbsight_nobody"), future=True)
    try:
        with pytest.raises(ExplainError, match=r"InsufficientPrivilege \(42501\)") as caught:
            explain("SELECT * FROM orders WHERE status = 'private-value'", engine, analyze=True)
        assert "private-value" not in str(caught.value)
    finally:
        engine.dispose()
        with postgresql_shop.begin() as connection:
            connection.exec_driver_sql("DROP ROLE dbsight_nobody")


def test_hostile_names_are_only_names(shop):
    """Quotes, percent signs and semicolons in names of tables, columns and aliases."""
    name = "o'r\"d%s`; DROP TABLE orders; --"
    table = sa.Table(name, sa.MetaData(), sa.Column("c'o%(l)s;", sa.Integer), sa.Column("x", sa.Integer))
    table.create(shop)
    before = content(shop)
    try:
        alias = table.alias("a'; DELETE FROM orders; --")
        for analyze in (False, True):
            try:
                plan = explain(sa.select(alias).where(alias.c[0] == 1), shop, analyze=analyze)
            except ExplainRefusedError:
                continue
            assert dbsight.ExplainAnalyzer(plan).issues
    finally:
        assert content(shop) == before
        table.drop(shop)


def test_it_is_neither_traced_nor_counted(shop):
    """No span, also of the statements that set limits; the application's next query has one again."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = dbsight.SQLAlchemyInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    engine = sa.create_engine(shop.url, future=True)
    try:
        explain("SELECT * FROM orders", engine, analyze=True)
        with pytest.raises(ExplainError):
            explain("SELECT * FROM nowhere", engine)
        provider.force_flush()
        assert [span.name for span in exporter.get_finished_spans()] == []
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT id FROM orders WHERE id = 1").fetchall()
        provider.force_flush()
        assert [span.name for span in exporter.get_finished_spans() if "orders" in span.name] == ["SELECT orders"]
    finally:
        instrumentor.uninstrument()
        engine.dispose()


def test_the_timer_of_sqlite_ends_with_the_statement(sqlite_shop):
    """No thread is left, and none interrupts what the application runs next."""
    before = threading.active_count()
    for _ in range(3):
        explain("SELECT * FROM orders", sqlite_shop, analyze=True, timeout=2)
    time.sleep(0.1)
    assert threading.active_count() == before
    with sqlite_shop.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 5000


def test_a_read_only_sqlite_file_is_explained(tmp_path):
    """Neither plan nor analyze needs the right to write."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, total INTEGER)")
    engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", future=True)
    assert explain("SELECT * FROM orders WHERE total = 1", engine, analyze=True).root.actual_rows == 0
    engine.dispose()


def test_no_mixture_of_quotes_comments_and_semicolons_runs_a_second_statement(shop):
    """Texts that a reader of SQL and a server may take apart in different ways."""
    chance = random.Random(4)
    before = content(shop)
    refused = 0
    for _ in range(600):
        with contextlib.suppress(ExplainError):
            explain(mixture(chance), shop, analyze=chance.random() < 0.5, timeout=1)
            refused -= 1
        refused += 1
    assert 0 < refused < 600
    assert content(shop) == before
