"""A small shop on each database, large enough for an index to be worth it."""

import contextlib
from pathlib import Path

import pytest
import sqlalchemy as sa

import servers
from integration.plans.index_cases import ROWS
from integration.plans.index_cases import fill as fill_cases

metadata = sa.MetaData()
customers = sa.Table(
    "customers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(40)),
)
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("customer_id", sa.Integer),
    sa.Column("status", sa.String(20)),
    sa.Column("total", sa.Integer),
)
SCHEMES = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql"}
ANALYZE = {"sqlite": ("ANALYZE",), "postgresql": ("ANALYZE",), "mariadb": ("ANALYZE TABLE orders, customers",)}


def fill(engine):
    """500 customers with ten orders each; one order of 50 is open."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(customers.insert(), [{"name": f"customer {number}"} for number in range(500)])
        rows = [
            {"customer_id": number % 500 + 1, "status": "done" if number % 50 else "open", "total": number}
            for number in range(5000)
        ]
        connection.execute(orders.insert(), rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in ANALYZE[engine.name if engine.name != "mysql" else "mariadb"]:
            connection.exec_driver_sql(statement)


@contextlib.contextmanager
def shop_on(system, request, tmp_path_factory):
    """An engine of a filled database."""
    if system == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path_factory.mktemp('plans') / 'shop.db'}", future=True)
        fill(engine)
        yield engine
        engine.dispose()
        return
    with servers.fresh(request.getfixturevalue(f"{system}_server")) as database:
        engine = sa.create_engine(database.url(SCHEMES[system]), future=True)
        fill(engine)
        yield engine
        engine.dispose()


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def shop(request, tmp_path_factory):
    """The shop on every database in turn: tests leave it as it was."""
    with shop_on(request.param, request, tmp_path_factory) as engine:
        yield engine


@pytest.fixture(scope="module")
def sqlite_shop(request, tmp_path_factory):
    """The shop on SQLite."""
    with shop_on("sqlite", request, tmp_path_factory) as engine:
        yield engine


@pytest.fixture(scope="module")
def postgresql_shop(request, tmp_path_factory):
    """The shop on PostgreSQL."""
    with shop_on("postgresql", request, tmp_path_factory) as engine:
        yield engine


@pytest.fixture(scope="module")
def mariadb_shop(request, tmp_path_factory):
    """The shop on MariaDB."""
    with shop_on("mariadb", request, tmp_path_factory) as engine:
        yield engine


@pytest.fixture(scope="package")
def contrib_postgresql():
    """A PostgreSQL of the system's packages, with contrib modules and hypopg; skipped where those are not installed."""
    for control in sorted(Path("/usr/share/postgresql").glob("*/extension/hypopg.control"), reverse=True):
        version = control.parts[4]
        preloaded = {"shared_preload_libraries": "pg_stat_statements"}
        with servers.embedded_postgresql(Path("/usr/lib/postgresql"), version, **preloaded) as database:
            yield database
        return
    pytest.skip("hypopg is not installed (Debian: postgresql-15-hypopg)")


@pytest.fixture(scope="package")
def postgresql_schemas(postgresql_server):
    """An engine of a database of PostgreSQL with all schemas."""
    with servers.fresh(postgresql_server) as database:
        engine = sa.create_engine(database.url("postgresql+psycopg"), future=True)
        with engine.begin() as connection:
            fill_cases(connection)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
        yield engine
        engine.dispose()


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def schemas(request, tmp_path_factory):
    """An engine of a database with all schemas, and how indexes may be proved there."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgresql_schemas"), "transaction"
        return
    engine = sa.create_engine(f"sqlite:///{tmp_path_factory.mktemp('advice') / 'cases.db'}", future=True)
    with engine.begin() as connection:
        fill_cases(connection)
        connection.exec_driver_sql("ANALYZE")
    yield engine, "safe"
    engine.dispose()


@pytest.fixture(scope="package")
def mariadb_schemas(mariadb_server):
    """The same on MariaDB, where indexes are proved in a scratch schema."""
    with servers.fresh(mariadb_server) as database:
        engine = sa.create_engine(database.url("mysql+pymysql"), future=True)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET sql_mode = 'PIPES_AS_CONCAT', max_recursive_iterations = 100000")
            fill_cases(connection)
            connection.exec_driver_sql(f"ANALYZE TABLE {', '.join(ROWS)}")
        yield engine
        engine.dispose()
