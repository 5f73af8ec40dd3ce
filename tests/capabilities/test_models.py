"""What the ORM does with the objects of each class, and the caches that keep them."""

import functools
import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import Session, declarative_base, joinedload, relationship, selectinload
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import Column
from sqlalchemy.types import Integer, String

import dbsight
from dbsight.instrument import models
from dbsight.processor import DbsightSpanProcessor

Base = declarative_base()


class Author(Base):
    """Writes books."""

    __tablename__ = "authors"
    id = Column(Integer, primary_key=True)
    name = Column(String)
    books = relationship("Book", back_populates="author")


class Book(Base):
    """Has one author."""

    __tablename__ = "books"
    id = Column(Integer, primary_key=True)
    author_id = Column(ForeignKey("authors.id"))
    author = relationship("Author", back_populates="books")


class Novel(Book):
    """In a table of its own."""

    __tablename__ = "novels"
    id = Column(ForeignKey("books.id"), primary_key=True)
    pages = Column(Integer)


@pytest.fixture
def reader():
    """Of the metrics of the engine."""
    return InMemoryMetricReader()


@pytest.fixture
def engine(sqlalchemy, reader):
    """Five authors with two books each; the statistics begin after that."""
    provider = MeterProvider([reader], shutdown_on_exit=False)
    processor = DbsightSpanProcessor(meter_provider=provider)
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Author(id=number, name="x", books=[Book(), Book()]) for number in range(1, 6))
        session.commit()
    dbsight.reset()
    yield engine
    processor.shutdown()
    provider.shutdown()
    engine.dispose()


def counts(model):
    """Loads, inserts, updates and deletes."""
    stats = dbsight.model_stats(model)
    return stats.loads, stats.inserts, stats.updates, stats.deletes


def test_each_object_that_a_flush_writes_is_counted_once(engine):
    """Inserted, updated and deleted; nothing for a value that is the same again, and once for two tables."""
    with Session(engine) as session:
        changed, same, novel = Author(id=10, name="a"), Author(id=11, name="b"), Novel(id=100, pages=3)
        session.add_all([changed, same, novel])
        session.flush()
        changed.name, same.name, novel.pages = "c", "b", 4
        session.flush()
        session.delete(same)
        session.commit()
    assert counts(Author) == (0, 2, 1, 1)
    assert counts(Novel) == (0, 1, 1, 0)
    stats = dbsight.ModelStats.get(Author)
    assert (stats.saves, stats.deletes) == (3, 1)
    assert stats.average_save_time_ms > 0


@pytest.mark.parametrize("loader", [None, selectinload, joinedload])
def test_an_object_is_loaded_once_however_it_is_loaded(engine, loader):
    """Lazily, or with its author: what the session has is not loaded again."""
    with Session(engine) as session:
        query = select(Author) if loader is None else select(Author).options(loader(Author.books))
        authors = session.scalars(query).unique().all()
        assert sum(len(author.books) for author in authors) == 10
        assert session.scalars(select(Author)).all() == authors
    assert counts(Author)[0] == 5
    assert counts("Book")[0] == 10
    assert dbsight.model_stats(Author).average_load_time_ms > 0
    assert dbsight.model_stats("Nothing") == dbsight.ModelStats()


def test_threads_lose_no_count(engine):
    """Eight of them, each with sessions of its own."""

    def work():
        for _ in range(5):
            with Session(engine) as session:
                session.scalars(select(Author)).all()

    lock = threading.Lock()

    def alone():
        with lock:  # one connection of SQLite
            work()

    threads = [threading.Thread(target=alone) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(Author)[0] == 8 * 5 * 5


def test_the_counter_itself_loses_nothing_under_threads(process):
    """Steps of eight threads at once, while another one reads."""
    counter = models._Counter()
    told = []

    def step():
        for _ in range(20_000):
            next(counter.steps)

    threads = [threading.Thread(target=step) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        told.append(counter.news())
    told.append(counter.news())
    assert sum(told) == 160_000


def test_objects_and_durations_are_metrics(engine, reader):
    """By class and by what was done."""
    with Session(engine) as session:
        session.scalars(select(Author)).all()
        session.add(Author(name="z"))
        session.commit()
    points = {
        metric.name: {
            (point.attributes["dbsight.orm.model"], point.attributes["dbsight.orm.operation"]): point
            for point in metric.data.data_points
        }
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.startswith("dbsight.orm.")
    }
    assert points["dbsight.orm.operations"]["Author", "load"].value == 5
    assert points["dbsight.orm.operations"]["Author", "insert"].value == 6  # five before
    assert points["dbsight.orm.duration"]["Author", "read"].count == 1
    assert points["dbsight.orm.duration"]["Author", "write"].count >= 2


def test_the_number_of_classes_is_bounded(process, monkeypatch):
    """Further ones are one."""
    monkeypatch.setattr(models, "MAX_MODELS", 2)
    table = {}
    for name in ("a", "b", "c", "d"):
        next(models._counter(table, name).steps)
    assert {name: counter.news() for name, counter in table.items()} == {"a": 1, "b": 1, "other": 2}


def test_caches_have_statistics_by_class_and_for_compiled_queries(engine):
    """As far as the application says what a cache keeps."""
    instrumentor = dbsight.CacheInstrumentor()
    instrumentor.instrument()
    try:
        cached = dbsight.watch_cache("authors", functools.lru_cache(8)(lambda number: number), model="Author")
        other = dbsight.watch_cache("other", functools.lru_cache(8)(lambda number: number))
        for number in (1, 2, 1, 1):
            cached(number)
        other(1)
        with Session(engine) as session:
            for _ in range(4):
                session.scalars(select(Author)).all()
        assert dbsight.CacheStats.get_model_stats(Author) == dbsight.CacheStats(2, 2)
        assert dbsight.CacheStats.get_model_stats(Author).hit_ratio == 0.5
        assert dbsight.CacheStats.get() == dbsight.CacheStats(2, 3)
        assert dbsight.CacheStats.get("other") == dbsight.CacheStats(0, 1)
        assert dbsight.CacheStats.get_query_stats().hits >= 3
        assert dbsight.CacheStats.get("unknown").hit_ratio == 0.0
    finally:
        instrumentor.uninstrument()
