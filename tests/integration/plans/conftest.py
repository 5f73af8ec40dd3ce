"""Databases for the tests of plans: the shop on each of them, servers with extensions, and the schemas of the cases."""

from pathlib import Path

import pytest
import sqlalchemy as sa

import servers
from integration.conftest import shop_on
from integration.plans.index_cases import ROWS
from integration.plans.index_cases import fill as fill_cases


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def shop(request, tmp_path_factory):
    """The shop on every database in turn: tests leave it as it was."""
    with shop_on(request.param, request, tmp_path_factory) as engine:
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


@pytest.fixture
def contrib_database(contrib_postgresql):
    """An empty database on that server."""
    with servers.fresh(servers.Server(contrib_postgresql, "", "embedded")) as database:
        yield database


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


def mysql_like(server, *settings):
    """An engine of a database of MySQL or MariaDB with all schemas."""
    with servers.fresh(server) as database:
        engine = sa.create_engine(database.url("mysql+pymysql"), future=True)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"SET {', '.join(settings)}, sql_mode = 'PIPES_AS_CONCAT'")
            fill_cases(connection)
            connection.exec_driver_sql(f"ANALYZE TABLE {', '.join(ROWS)}")
        yield engine
        engine.dispose()


@pytest.fixture(scope="package")
def mariadb_schemas(mariadb_server):
    """The same on MariaDB, where indexes are proved in a scratch schema."""
    yield from mysql_like(mariadb_server, "max_recursive_iterations = 100000")


@pytest.fixture(scope="package")
def mysql_schemas(mysql_server):
    """The same on MySQL."""
    yield from mysql_like(mysql_server, "cte_max_recursion_depth = 100000")
