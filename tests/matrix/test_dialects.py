"""SQL Server and Oracle as far as that goes without a server: SQLAlchemy's own dialects above a driver of paper."""

import time
import types

import pytest
from sqlalchemy import ForeignKey, create_engine, exc, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    """The schema."""


class Order(Base):
    """Its table's name is a word of SQL, and quoted."""

    __tablename__ = "order"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped["Customer"] = relationship()


class Customer(Base):
    """Of an order."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class PaperError(Exception):
    """What the driver raises."""


class Cursor:
    """Answers by what the text asks for."""

    description = None
    rowcount = -1
    arraysize = 1
    outputtypehandler = None

    def __init__(self, failure):
        self.failure = failure
        self.rows = []

    def execute(self, text, parameters=()):
        """Orders have ten rows, a customer one, all else none; as fast as a server next door."""
        time.sleep(0.001)
        if "nowhere" in text:
            raise self.failure
        self.rows = []
        self.description = None
        if text.startswith("SELECT"):
            if "customers.name" in text:
                values = parameters.values() if isinstance(parameters, dict) else parameters
                self.rows = [(next(iter(values)), "somebody")]
                names = ["customers_id", "customers_name"]
            elif "customer_id" in text:
                self.rows = [(n, n) for n in range(10)]
                names = ["id", "customer_id"]
            else:
                self.rows, names = [(1,)], ["n"]
            self.description = [(name, None, None, None, None, None, None) for name in names]
        else:
            self.rowcount = 4 if text.startswith("INSERT") else 3

    def executemany(self, text, parameters):
        """As many as there are."""
        self.execute(text)
        self.rowcount = len(parameters)

    def fetchone(self):
        """The next row."""
        return self.rows.pop(0) if self.rows else None

    def fetchmany(self, size=None):
        """Some rows."""
        taken, self.rows = self.rows[: size or 1], self.rows[size or 1 :]
        return taken

    def fetchall(self):
        """All rows."""
        taken, self.rows = self.rows, []
        return taken

    def close(self):
        """Nothing is open."""

    def setinputsizes(self, *_, **__):
        """Oracle's driver is told of types."""


class Connection:
    """Made of paper as well."""

    outputtypehandler = None
    autocommit = False

    def __init__(self, failure):
        self.failure = failure

    def cursor(self):
        """A new one."""
        return Cursor(self.failure)

    def commit(self):
        """Nothing happens."""

    rollback = close = commit


class Type(str):
    """A type's name, and a function that gives it."""

    __slots__ = ()

    def __call__(self, *_, **__):
        """Itself."""
        return self


class Driver(types.ModuleType):
    """A DBAPI module; types and constants are of every name that is asked for."""

    def __init__(self, paramstyle, failure):
        super().__init__("paper")
        self.paramstyle = paramstyle
        self.connect = lambda *_, **__: Connection(failure)
        self.version = self.__version__ = "3.0.0"

    def __getattr__(self, name):
        """An error, or a type."""
        if name.startswith("__"):
            raise AttributeError(name)
        return PaperError if name.endswith("Error") else Type(name)


SERVERS = {
    "mssql+pymssql": {
        "module": Driver("pyformat", PaperError(208, b"Invalid object name 'secret'")),
        "system": "microsoft.sql_server",
        "list": "SELECT [order].id, [order].customer_id FROM [order]",
        "lazy": "SELECT customers.id AS customers_id, customers.name AS customers_name FROM customers"
        " WHERE customers.id = %(pk_1)s",
        "summary": "SELECT [order]",
        "code": "208",
    },
    "oracle+oracledb": {
        "module": Driver("named", PaperError(types.SimpleNamespace(full_code="ORA-00942"))),
        "system": "oracle.db",
        "list": 'SELECT "order".id, "order".customer_id FROM "order"',
        "lazy": "SELECT customers.id AS customers_id, customers.name AS customers_name FROM customers"
        " WHERE customers.id = :pk_1",
        "summary": 'SELECT "order"',
        "code": "ORA-00942",
    },
}


@pytest.fixture(params=SERVERS)
def paper(request):
    """An engine of SQLAlchemy's own dialect above a driver of paper, and what is expected there."""
    expected = SERVERS[request.param]
    engine = create_engine(
        f"{request.param}://scott:tiger@db.example:1999/shop", module=expected["module"], _initialize=False
    )
    if engine.dialect.name == "oracle":
        engine.dialect.server_version_info = (23,)
    else:
        engine.dialect.server_version_info = (16,)
    return engine, expected


def queries(telemetry):
    """The query spans, in the order of their ends."""
    return [span for span in telemetry.spans() if span.kind == "CLIENT"]


def test_an_n_plus_one_is_found_in_the_dialects_own_quoting(paper, telemetry):
    """Attributes of the server, sanitised text, summary, relationship."""
    engine, expected = paper
    with telemetry.root(), Session(engine) as session:
        for order in session.scalars(select(Order)):
            assert order.customer.name
    first, *lazy = queries(telemetry)
    assert {
        name: first.attributes[name]
        for name in (
            *("db.system.name", "db.namespace", "server.address", "server.port"),
            *("db.query.text", "db.query.summary", "db.response.returned_rows"),
        )
    } == {
        "db.system.name": expected["system"],
        "db.namespace": "shop",
        "server.address": "db.example",
        "server.port": 1999,
        "db.query.text": expected["list"],
        "db.query.summary": expected["summary"],
        "db.response.returned_rows": 10,
    }
    assert len(lazy) == 10
    assert {
        (span.attributes["dbsight.orm.relationship"], span.attributes["db.response.returned_rows"]) for span in lazy
    } == {("Order.customer", 1)}
    assert telemetry.span("GET /").attributes["dbsight.findings.rules"] == ["n_plus_one"]


def test_errors_have_the_servers_code_and_no_message(paper, telemetry):
    """A number for SQL Server, an ORA code for Oracle."""
    engine, expected = paper
    with telemetry.root(), engine.connect() as connection, pytest.raises(exc.DBAPIError):
        connection.execute(text("SELECT secret FROM nowhere"))
    (span,) = queries(telemetry)
    assert span.attributes["db.response.status_code"] == expected["code"]
    assert span.attributes["error.type"].endswith("PaperError")
    assert "Invalid" not in repr(telemetry.spans())


def test_batches_and_writes_are_counted(paper, telemetry):
    """As the driver counts them."""
    engine, _ = paper
    with telemetry.root(), engine.begin() as connection:
        connection.execute(insert(Customer.__table__), [{"name": "x"} for _ in range(4)])
        connection.execute(text("DELETE FROM customers WHERE id = 7"))
    assert [
        (
            span.name,
            span.attributes.get("db.operation.batch.size"),
            span.attributes.get("dbsight.query.rows_affected"),
            "7" in span.attributes["db.query.text"],
        )
        for span in queries(telemetry)
    ] == [("INSERT customers", 4, 4, False), ("DELETE customers", None, 3, False)]


def test_limits_of_each_dialect_are_read(paper, telemetry):
    """TOP, and FETCH FIRST: literals leave, the statement keeps its fingerprint whatever the number."""
    engine, _ = paper
    with telemetry.root(), engine.connect() as connection:
        for number in (3, 4):
            text_ = (
                "SELECT TOP {} id FROM customers"
                if engine.dialect.name == "mssql"
                else ("SELECT id FROM customers FETCH FIRST {} ROWS ONLY")
            )
            connection.execute(text(text_.format(number))).all()
    first, second = queries(telemetry)
    assert first.attributes["dbsight.query.fingerprint"] == second.attributes["dbsight.query.fingerprint"]
    assert first.name == "SELECT customers"
    assert "3" not in first.attributes["db.query.text"]
