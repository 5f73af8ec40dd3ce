# /// script
# dependencies = ["sqlalchemy-continuum", "alembic"]
# [tool.application]
# about = "Alembic migrations, then a history of each row by SQLAlchemy-Continuum"
# ///
"""Three migrations, one of which fills a column row by row; then articles with their versions."""

import json
import logging
from pathlib import Path

import sqlalchemy as sa
import sqlalchemy_continuum
from alembic import command
from alembic.config import Config
from sqlalchemy.orm import DeclarativeBase, Session, configure_mappers, relationship

logging.disable(logging.CRITICAL)
URL = "sqlite:///history.db"
ENV = """
from alembic import context
from sqlalchemy import create_engine
with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
"""
MIGRATIONS = {
    "one": 'op.create_table("people", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))\n'
    '    op.bulk_insert(sa.table("people", sa.column("name", sa.String)), [{"name": f"a b{n}"} for n in range(12)])',
    "two": 'op.add_column("people", sa.Column("first", sa.String))\n'
    "    connection = op.get_bind()\n"
    '    for number, name in connection.execute(sa.text("SELECT id, name FROM people")).all():\n'
    '        connection.execute(sa.text("UPDATE people SET first = :f WHERE id = :i"), {"f": name[0], "i": number})',
    "three": 'with op.batch_alter_table("people") as batch:\n        batch.alter_column("first", nullable=False)',
}


def migrate():
    """To the newest, back, and there again."""
    scripts = Path("migrations/versions")
    scripts.mkdir(parents=True)
    Path("migrations/env.py").write_text(ENV)
    before = None
    for name, body in MIGRATIONS.items():
        text = f'import sqlalchemy as sa\nfrom alembic import op\nrevision = "{name}"\ndown_revision = {before!r}\n\n'
        scripts.joinpath(f"{name}.py").write_text(f"{text}def upgrade():\n    {body}\n\ndef downgrade():\n    pass\n")
        before = name
    config = Config()
    config.set_main_option("script_location", "migrations")
    config.set_main_option("sqlalchemy.url", URL)
    command.upgrade(config, "head")
    command.downgrade(config, "two")
    command.upgrade(config, "head")


class Base(DeclarativeBase):
    """The articles' tables."""


sqlalchemy_continuum.make_versioned(user_cls=None)


class Article(Base):
    """With a history."""

    __tablename__ = "articles"
    __versioned__ = {}
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String)
    tags = relationship("Tag", back_populates="article")


class Tag(Base):
    """Of an article, with a history, too."""

    __tablename__ = "tags"
    __versioned__ = {}
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String)
    article_id = sa.Column(sa.ForeignKey(Article.id))
    article = relationship(Article, back_populates="tags")


def versions():
    """Written, changed, read as they were, and put back."""
    configure_mappers()
    engine = sa.create_engine(URL)
    Base.metadata.create_all(engine)
    told = []
    with Session(engine) as session:
        session.add_all(Article(name=f"a{n}", tags=[Tag(name=f"t{n}"), Tag(name=f"u{n}")]) for n in range(8))
        session.commit()
        for article in session.scalars(sa.select(Article)):
            article.name += "!"
        session.commit()
        for article in session.scalars(sa.select(Article)):
            told.append([version.name for version in article.versions])
        first = session.get(Article, 1)
        first.versions[0].revert()
        session.commit()
        told.append(first.name)
        told.append([tag.name for tag in first.versions[0].tags])
        told.append(session.execute(sa.text("SELECT count(*) FROM people WHERE first = 'a'")).scalar())
    return told


migrate()
print(json.dumps(versions()))
