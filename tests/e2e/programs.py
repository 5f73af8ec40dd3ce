"""Programs that the end-to-end tests run, as a user would write them: nothing in them knows of dbsight."""

from pathlib import Path

from sqlalchemy import create_engine

import shop

SHOP = {"PYTHONPATH": str(Path(shop.__file__).parent)}
"""What a program needs to import the models of the tests."""


def filled(url):
    """The URL of a database, with the shop of the tests in it."""
    engine = create_engine(url)
    shop.fill(engine)
    engine.dispose()
    return url


BOOKS = """
import asyncio
import os

from sqlalchemy import create_engine, exc, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from shop import Author, Book

URL = os.environ["DATABASE_URL"]
COUNT = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n",
    "postgresql": "SELECT max(i) FROM generate_series(1, 2000000) AS n(i)",
}


def work(session):
    for book in session.scalars(select(Book).order_by(Book.id)):  # list
        print(book.title, "by", book.author.name)  # loop
    print(session.execute(text(COUNT[session.bind.dialect.name])).scalar() > 0)  # slow
    session.execute(insert(Author), [{"id": n, "name": f"author {n}"} for n in (11, 12, 13)])  # batch
    session.execute(update(Author).where(Author.id > 10).values(name="nobody"))  # update
    session.commit()
    try:
        session.execute(insert(Book).values(id=1, title="again", author_id=1))  # error
    except exc.IntegrityError as error:
        print(type(error).__name__)
    session.rollback()
    print(session.scalar(select(func.count()).select_from(Author)))  # total


async def main():
    engine = create_async_engine(URL)
    async with AsyncSession(engine) as session:
        await session.run_sync(work)
    await engine.dispose()


if "asyncpg" in URL:
    asyncio.run(main())
else:
    with Session(create_engine(URL)) as session:
        work(session)
"""
"""A script: a loop, a slow query, a batch, an update, an error; no span of its own around them."""

REQUESTS = """
import os
import sys

from opentelemetry import trace
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from shop import Book

engine = create_engine(os.environ["DATABASE_URL"])
tracer = trace.get_tracer("shop")


def list_books():
    with Session(engine) as session:
        return [book.author.name for book in session.scalars(select(Book))]  # loop


for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 20):
    with tracer.start_as_current_span("GET /books", kind=trace.SpanKind.SERVER) as request:
        request.set_attributes({"http.route": "/books", "http.request.method": "GET"})
        list_books()
        context = request.get_span_context()
        print(f"{context.trace_id:032x} {context.span_id:016x}", int(context.trace_flags.sampled))
"""
"""A service: each request is a span of the application with an N+1 below it; prints its ids, and whether sampled."""

LOOP = """
import os

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from shop import Book

with Session(create_engine(os.environ["DATABASE_URL"])) as session:
    print([book.author.name for book in session.scalars(select(Book))])  # loop
"""
"""The shortest script that has an N+1; what it does next is added by the test."""
