"""An object-relational mapper in the style of the guides, on top of SQLAlchemy: users with articles."""

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import ClassVar

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, load_only, mapped_column, relationship, selectinload

import dbsight


class Query:
    """What ``Model.objects`` starts."""

    def __init__(self, model, statement=None):
        self.model = model
        self.statement = select(model) if statement is None else statement

    def _with(self, statement):
        return type(self)(self.model, statement)

    def filter(self, **equal):
        return self._with(self.statement.filter_by(**equal))

    def order_by(self, name):
        column = getattr(self.model, name.lstrip("-"))
        return self._with(self.statement.order_by(column.desc() if name.startswith("-") else column))

    def join(self, name):
        return self._with(self.statement.join(getattr(self.model, name)))

    def select(self, *names):
        return self._with(self.statement.options(load_only(*(getattr(self.model, name) for name in names))))

    def prefetch_related(self, name):
        return self._with(self.statement.options(selectinload(getattr(self.model, f"all_{name}"))))

    def all(self):
        return Base.session.scalars(self.statement).all()

    def explain(self, **options):
        return dbsight.explain(self.statement, Base.session.get_bind(), **options)


class Objects:
    """The attribute ``objects`` of a model."""

    def __get__(self, instance, owner):
        return Query(owner)


class Base(DeclarativeBase):
    """Of all models; ``session`` is the session of the test."""

    session: ClassVar = None
    objects: ClassVar = Objects()


class Articles:
    """The articles of one user."""

    def __init__(self, user):
        self.user = user

    def all(self):
        return self.user.all_articles

    def filter(self, **equal):
        return Article.objects.filter(user_id=self.user.id, **equal)


class User(Base):
    """Writes articles."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    status: Mapped[str]
    all_articles: Mapped[list["Article"]] = relationship(back_populates="author")

    @property
    def articles(self):
        return Articles(self)


class Article(Base):
    """Of one user."""

    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    status: Mapped[str]
    published_at: Mapped[datetime]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    author: Mapped[User] = relationship(back_populates="all_articles")
    all_comments: Mapped[list["Comment"]] = relationship()


class Comment(Base):
    """On one article."""

    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(ForeignKey("articles.id"))


def fill(session):
    """Ten active users with an article each."""
    Base.metadata.create_all(session.get_bind())
    session.add_all(
        User(
            name=f"user {number}",
            status="active",
            all_articles=[
                Article(title="news", status="published", published_at=datetime(2026, 1, number, tzinfo=timezone.utc))
            ],
        )
        for number in range(1, 11)
    )
    session.commit()


class AsyncQuery:
    """Rows of a statement, from an asynchronous engine; those of articles have ``comments``."""

    def __init__(self, engine, statement):
        self.engine = engine
        self.statement = statement

    def async_filter(self, **equal):
        return type(self)(self.engine, self.statement.filter_by(**equal))

    def limit(self, most):
        return type(self)(self.engine, self.statement.limit(most))

    async def async_all(self):
        async with AsyncSession(self.engine) as session:
            found = (await session.scalars(self.statement)).all()
        for each in found:
            each.comments = AsyncQuery(self.engine, select(Comment).where(Comment.article_id == each.id))
        return found


def asynchronous(engine):
    """The model of articles with asynchronous ``objects``."""
    return SimpleNamespace(objects=AsyncQuery(engine, select(Article)))
