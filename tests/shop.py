"""A small schema for tests: authors and their books."""

from sqlalchemy import ForeignKey, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The schema."""


class Author(Base):
    """Has two books."""

    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    biography: Mapped[str | None] = mapped_column(deferred=True)
    books: Mapped[list["Book"]] = relationship(back_populates="author")


class Book(Base):
    """Has one author."""

    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def fill(engine):
    """Create the schema, with ten authors and ten books; the first five authors have two each."""
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(Author), [{"id": n, "name": f"author {n}", "biography": f"born {n}"} for n in range(1, 11)]
        )
        connection.execute(
            insert(Book),
            [{"id": n, "title": f"book {n}", "author_id": (n + 1) // 2} for n in range(1, 11)],
        )
