# /// script
# dependencies = ["advanced-alchemy", "aiosqlite"]
# [tool.application]
# about = "repositories and services over asynchronous SQLAlchemy"
# ci = true
# asynchronous = true
# ///
"""A library through repositories: many added at once, upserted, counted, listed by page, deleted."""

import asyncio
import json

from advanced_alchemy.base import BigIntBase
from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column, relationship


class Author(BigIntBase):
    """Writes books."""

    __tablename__ = "authors"
    name: Mapped[str]
    books: Mapped[list["Book"]] = relationship(back_populates="author", lazy="selectin")


class Book(BigIntBase):
    """Of an author."""

    __tablename__ = "books"
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books", lazy="joined")


class Authors(SQLAlchemyAsyncRepositoryService[Author]):
    """What is done with authors."""

    class Repository(SQLAlchemyAsyncRepository[Author]):
        """Where they are."""

        model_type = Author

    repository_type = Repository


class Books(SQLAlchemyAsyncRepository[Book]):
    """Where books are."""

    model_type = Book


async def main():
    """A request after the other, each with a session of its own."""
    engine = create_async_engine("sqlite+aiosqlite:///books.db")
    async with engine.begin() as connection:
        await connection.run_sync(BigIntBase.metadata.create_all)
    told = []
    async with AsyncSession(engine, expire_on_commit=False) as session:
        authors = Authors(session=session)
        made = await authors.create_many([{"name": f"author {number}"} for number in range(8)], auto_commit=True)
        books = Books(session=session)
        await books.add_many([Book(title=f"book {n}", author_id=made[n % 8].id) for n in range(24)], auto_commit=True)
    async with AsyncSession(engine) as session:
        authors = Authors(session=session)
        for number in range(6):  # one by one: the service reads, then writes each
            author = await authors.upsert({"name": f"author {number}"}, item_id=number + 1)
            told.append(author.name)
        page, total = await authors.list_and_count(LimitOffset(3, 2), OrderBy("id", "asc"))
        told.append([[author.name, len(author.books)] for author in page])
        told.append(total)
        await session.commit()
    async with AsyncSession(engine) as session:
        books = Books(session=session)
        told.append([book.author.name for book in await books.list(LimitOffset(5, 0), OrderBy("id", "asc"))])
        told.append(await books.count())
        for number in range(1, 7):
            told.append((await books.get(number)).title)
        deleted = await books.delete_many([1, 2, 3], auto_commit=True)
        told.append(sorted(book.id for book in deleted))
        told.append(await books.get_one_or_none(Book.id == 1) is None)
    await engine.dispose()
    print(json.dumps(told))


asyncio.run(main())
