"""Waiting on the span, and transactions, on a real SQLAlchemy."""

import threading
import time

import pytest
import sqlalchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dbsight import semconv
from dbsight.model import TransactionEvent
from hearing import hearing


class Base(DeclarativeBase):
    """Models of this file."""


class Item(Base):
    """A row."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


@pytest.fixture
def engine(telemetry, tmp_path):
    """An engine on a SQLite file with a pool of one connection."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=1, max_overflow=0, pool_timeout=5)
    Base.metadata.create_all(engine)
    telemetry.clear()
    yield engine
    engine.dispose()


@pytest.fixture
def ended(engine):
    """The transactions that ended."""
    with hearing(lambda observation: observation if isinstance(observation, TransactionEvent) else None) as events:
        yield events


def test_the_first_query_says_what_its_connection_waited(telemetry, engine):
    """The wait stands on the span of the first query after the checkout, and on no other."""
    taken, asked = threading.Event(), threading.Event()

    def hold():
        with engine.connect():
            taken.set()
            asked.wait(5)
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(5)
    with telemetry.root():
        asked.set()
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1 + 1").all()
            connection.exec_driver_sql("SELECT 2 + 2").all()
    thread.join()
    first, second = (span for span in telemetry.spans() if span.name == "SELECT")
    assert 0.1 < first.attributes[semconv.POOL_WAIT] < 2
    assert semconv.POOL_WAIT not in second.attributes


def test_a_connection_that_is_there_was_not_waited_for(telemetry, engine):
    """Making a connection and finding one idle is no waiting."""
    with telemetry.root():
        for _ in range(3):
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1 + 1").all()
    assert [span for span in telemetry.spans() if semconv.POOL_WAIT in span.attributes] == []


def described(event):
    """What a test compares."""
    return event.result, event.queries, event.writes, event.failed


def test_a_transaction_is_counted_once_with_its_savepoints(telemetry, engine, ended):
    """Begin to commit, the savepoint's statements included; the line that began it."""
    with Session(engine) as session:
        session.add(Item(name="a"))
        session.flush()
        with session.begin_nested():
            session.add(Item(name="b"))
        session.commit()
    assert [described(event) for event in ended] == [("commit", 2, 2, False)]
    assert ended[0].call_site.function.endswith("test_a_transaction_is_counted_once_with_its_savepoints")
    points = telemetry.points(semconv.METRIC_TRANSACTION_DURATION)
    assert [(point.attributes[semconv.TRANSACTION_RESULT], point.count) for point in points if point.count] == [
        ("commit", 2),  # create_all's, too
    ]


def test_a_failed_transaction_is_rolled_back(telemetry, engine, ended):
    """What failed in it is known, and that nothing of it stays."""
    with Session(engine) as session:
        session.add_all([Item(id=1, name="a")])
        session.flush()
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            session.execute(sqlalchemy.insert(Item).values(id=1, name="b"))
    assert [described(event) for event in ended] == [("rollback", 2, 2, True)]


def test_autocommit_makes_no_transactions(telemetry, engine, ended):
    """The database never sees the transactions that SQLAlchemy begins in autocommit mode."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SELECT 1").all()
    assert ended == []


def test_time_without_a_statement_is_idle(telemetry, engine, ended):
    """What the application does between statements holds the transaction open."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1").all()
        time.sleep(0.15)
    (event,) = ended
    assert 0.14 < event.idle <= event.seconds < 2
