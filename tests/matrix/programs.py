"""Programs that run on every version that is served: SQLAlchemy 1.4 to 2.1, Python 3.10 to 3.13."""

MODELS = """
import asyncio
import os
import sys

import sqlalchemy
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, exc, func, insert, select, text, update
from sqlalchemy.orm import Session, deferred, joinedload, registry, relationship, selectinload

mapped = registry()
Base = mapped.generate_base()


class Author(Base):
    __tablename__ = "authors"
    id = Column(Integer, primary_key=True)
    name = Column(String(40))
    biography = deferred(Column(String(200)))
    books = relationship("Book", back_populates="author")


class Book(Base):
    __tablename__ = "books"
    id = Column(Integer, primary_key=True)
    title = Column(String(40))
    author_id = Column(ForeignKey("authors.id"))
    author = relationship("Author", back_populates="books")


def fill(engine):
    with suppressed():
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            write(connection)


def write(connection):
    people = [{"id": n, "name": f"author {n}", "biography": f"born {n}"} for n in range(1, 11)]
    connection.execute(Author.__table__.insert(), people)
    books = [{"id": n, "title": f"book {n}", "author_id": (n + 1) // 2} for n in range(1, 11)]
    connection.execute(Book.__table__.insert(), books)


def suppressed():
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    return suppress_instrumentation()
"""
"""Models in the style of SQLAlchemy 1.4, which all releases take; ``fill`` is not watched."""

WORK = """
def work(session):
    for book in session.execute(select(Book).order_by(Book.id)).scalars():  # list
        book.author.name  # lazy
    session.expunge_all()
    for author in session.execute(select(Author).options(selectinload(Author.books)).limit(3)).scalars():  # eager
        len(author.books)
    session.expunge_all()
    session.execute(select(Book).options(joinedload(Book.author)).where(Book.id < 3)).scalars().all()  # joined
    session.get(Author, 1).biography  # deferred
    session.execute(insert(Author), [{"id": n, "name": f"author {n}"} for n in (11, 12, 13)])  # batch
    renamed = update(Author).where(Author.id > 10).values(name="x")
    session.execute(renamed.execution_options(synchronize_session=False))  # update
    session.add_all([Author(name="a"), Author(name="b")])
    session.flush()  # flush
    with session.begin_nested():  # savepoint
        session.execute(text("DELETE FROM books WHERE id = :id"), {"id": 10})  # delete
    session.commit()
    try:
        session.execute(insert(Book).values(id=1, title="again", author_id=1))  # error
    except exc.IntegrityError as error:
        print(type(error).__name__)
    session.rollback()
    result = session.execute(select(Author.id).order_by(Author.id))  # partly
    print(result.fetchmany(4)[-1][0])
    streamed = session.execute(select(Author.id).execution_options(yield_per=4))  # streamed
    print(len([part for part in streamed.partitions()]))
    print(session.connection().exec_driver_sql("SELECT count(*) FROM authors").scalar())  # raw
"""
"""What a session does, synchronous or below ``AsyncSession.run_sync``: prints ``IntegrityError 4 4 15``."""

SYNC = f"""{MODELS}{WORK}
engine = create_engine(os.environ["DATABASE_URL"], **({{"future": True}} if "future" in sys.argv else {{}}))
fill(engine)
with Session(engine) as session:
    work(session)
"""

ASYNC = f"""{MODELS}{WORK}
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    with suppressed():
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(write)
    async with AsyncSession(engine) as session:
        await session.run_sync(work)
    await engine.dispose()


asyncio.run(main())
"""

LEGACY = f"""{MODELS}
engine = create_engine(os.environ["DATABASE_URL"])
fill(engine)
engine.execute("INSERT INTO authors (id, name) VALUES (?, ?)", (20, "y"))  # engine
print(engine.execute(select([func.count()]).select_from(Author.__table__)).scalar())  # count
with Session(engine) as session:
    for book in session.query(Book):  # query
        book.author.name  # lazy
connection = engine.connect()
with connection.begin():
    print(connection.execute("SELECT max(id) FROM authors").scalar())  # string
engine.dialect.name
"""
"""What only SQLAlchemy 1.4 takes: engines and connections that execute strings, ``Query``, autocommit."""

PLANS = """
import asyncio
import os
import sys

from opentelemetry import trace
from sqlalchemy import create_engine, text

QUERY = text("SELECT * FROM orders WHERE customer_id = :customer")


def plans():
    trace.get_tracer_provider().force_flush()
    for processor in trace.get_tracer_provider()._active_span_processor._span_processors:
        processor.analyzer.plans.wait(60)


async def main():
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(os.environ["DATABASE_URL"].replace("sqlite:", "sqlite+aiosqlite:"))
    async with engine.connect() as connection:
        (await connection.execute(text("SELECT id FROM orders WHERE customer_id = 7"))).fetchall()
    await engine.dispose()
    return engine


engine = create_engine(os.environ["DATABASE_URL"])
with engine.begin() as connection:
    connection.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER)"))
with engine.connect() as connection:
    connection.execute(QUERY, {"customer": 7}).fetchall()
kept = asyncio.run(main())  # of an engine that is gone, nothing can be asked
plans()
"""
"""Two queries whose plans are asked for in the background, one of an asynchronous engine."""
