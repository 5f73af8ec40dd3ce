"""The shop on each database, for all tests of plans and of what blocks a query."""

import contextlib

import pytest
import sqlalchemy as sa

import servers

METHODS = {}
with contextlib.suppress(ImportError):
    import psycopg

    METHODS = {each: vars(each)["connect"] for each in (psycopg.Connection, psycopg.AsyncConnection)}

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
SCHEMES = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql", "mysql": "mysql+pymysql"}
ANALYZE = {"sqlite": "ANALYZE", "postgresql": "ANALYZE", "mysql": "ANALYZE TABLE orders, customers"}


@pytest.fixture(autouse=True)
def methods_that_stay():
    """Put back methods of psycopg's classes: the upstream instrumentor leaves them bound to the class for good."""
    yield
    for each, method in METHODS.items():
        if vars(each)["connect"] is not method:
            each.connect = method


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
        connection.exec_driver_sql(ANALYZE[engine.name])


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


@pytest.fixture(scope="module")
def mysql_shop(request, tmp_path_factory):
    """The shop on MySQL; skipped where none can be had."""
    with shop_on("mysql", request, tmp_path_factory) as engine:
        yield engine
