"""What the snippets on the pages take for granted: a shop with its database, files beside it, and the reader's code."""

import asyncio
import random
import time
from functools import lru_cache, partial
from types import SimpleNamespace

import redis
import sqlalchemy
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import ForeignKey, create_engine, insert, select
from sqlalchemy import orm as sqlalchemy_orm
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext import asyncio as sqlalchemy_async
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import QueuePool

import dbsight
from builders import make_statement
from dbsight.model import CallSite, Database, Finding, MergedFinding, Snapshot, StatementTotals
from dbsight.report import json as saved

URL = "sqlite:///shop.db"
APPLICATION = """
import sqlalchemy as sa

engine = sa.create_engine("sqlite:///shop.db")


def list_orders():
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT id FROM orders")).all()


def user():
    list_orders()


both = {"one": list_orders, "other": list_orders}

if __name__ == "__main__":
    list_orders()
"""
CONFTEST = """
from types import SimpleNamespace

import pytest
import shop
import sqlalchemy as sa


def get(path):
    with shop.engine.connect() as connection:
        for number in range(3 if path == "/orders" else 1):
            connection.execute(sa.text("SELECT note FROM orders WHERE id = :id"), {"id": number}).all()
    return SimpleNamespace(status_code=200)


@pytest.fixture
def client():
    return SimpleNamespace(get=get)
"""
TEST = """
def test_orders(client):
    assert client.get("/orders").status_code == 200
"""
UNITTEST = """
import unittest

import shop


class TestShop(unittest.TestCase):
    def test_orders(self):
        shop.list_orders()
"""


class Base(DeclarativeBase):
    """The shop's tables."""


class Customer(Base):
    """Has orders."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(Base):
    """Of a customer."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    note: Mapped[str] = mapped_column(default="in a hurry")
    status: Mapped[str] = mapped_column(default="late")
    city: Mapped[str] = mapped_column(default="Oslo")
    total: Mapped[int] = mapped_column(default=7)
    paid: Mapped[bool] = mapped_column(default=False)
    customer: Mapped[Customer] = relationship(back_populates="orders")

    def is_valid(self):
        """The shop's own check."""
        return False


class Line(Base):
    """Of an order."""

    __tablename__ = "order_lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int]


class Tag(Base):
    """A word."""

    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Article(Base):
    """With a long text."""

    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str] = mapped_column(default="")


class Stock(Base):
    """Pieces of an item."""

    __tablename__ = "stock"
    id: Mapped[int] = mapped_column(primary_key=True)
    pieces: Mapped[int]


class Setting(Base):
    """Of the shop."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Event(Base):
    """What somebody did."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Price(Base):
    """Of an item."""

    __tablename__ = "prices"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]


def rows():
    """A few of each table."""
    yield from (Customer(name=f"customer {number}", orders=[Order(), Order()]) for number in range(5))
    yield from (Line(price=number) for number in range(5))
    yield from (Article(title=f"title {number}") for number in range(5))
    yield from (Tag(name="urgent"), Stock(pieces=3), Stock(pieces=4), Setting(name="a", value="b"), Price(amount=3))


def prepare(directory):
    """Fill a directory with the shop's database, its modules, its tests and saved runs."""
    engine = create_engine(f"sqlite:///{directory / 'shop.db'}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(rows())
        session.commit()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE a (code TEXT, day TEXT)")
        connection.exec_driver_sql("CREATE TABLE b (code TEXT)")
    engine.dispose()
    for name, text in (
        ("app.py", APPLICATION),
        ("shop.py", APPLICATION),
        ("conftest.py", CONFTEST),
        ("test_shop.py", TEST),
        ("tests/test_unittest.py", UNITTEST),
    ):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    for name in ("run.json", "before.json", "base.json", "head.json", "dbsight-report.json"):
        saved.write(snapshot(), directory / name)


def snapshot():
    """A run with a finding."""
    database = Database("sqlite", "shop.db")
    statement = make_statement("SELECT id FROM orders WHERE customer_id = ?")
    found = Finding("n_plus_one", "n1-00000001", "warning", "query", "SELECT orders runs once per item", "8 queries.")
    found.statement, found.database, found.call_site = statement, database, CallSite("app.py", 9, "list_orders")
    totals = StatementTotals(statement, database, 9, 0, 0.9, 0.1, 0.1, 0.1, 9)
    return Snapshot("shop", windows=1, calls=9, findings=[MergedFinding(found, 1, 8, 0.1)], statements=[totals])


async def work_async(*_):
    """What a coroutine of the reader does."""
    await asyncio.sleep(0)


def list_orders(engine):
    """Asks the database three times."""
    with Session(engine) as session:
        for status in ("late", "open", "sent"):
            session.scalars(select(Order).where(Order.status == status)).all()


def nothing(*_, **__):
    """What a function of the reader does."""


def create_async_engine(url, **options):
    """Of SQLAlchemy, for the database of ``url``."""
    return sqlalchemy_async.create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"), **options)


def hosts(engine, session, client):
    """The names that a snippet may use without defining them."""
    public = {
        name: value
        for module in (sqlalchemy, sqlalchemy_orm)
        for name, value in vars(module).items()
        if not name.startswith("_")
    }
    tables = {name: table for name, table in globals().items() if isinstance(table, type) and issubclass(table, Base)}
    modules = {"asyncio": asyncio, "dbsight": dbsight, "random": random, "redis": redis, "time": time}
    reader = dict.fromkeys(("add", "upload", "upload_all"), nothing)
    reader |= dict.fromkeys(("load", "low_stock", "open_orders", "latest_reviews", "read_articles"), work_async)
    reader |= dict.fromkeys(("list_orders", "list_orders_joined"), partial(list_orders, engine))
    reader |= {
        "BatchSpanProcessor": SimpleSpanProcessor,
        "basket": list(session.scalars(select(Stock))),
        "cached": lambda cache: lru_cache,
        "charge": bool,
        "customer": 1,
        "customer_id": 1,
        "day": "2026-01-01",
        "exporter": InMemorySpanExporter(),
        "load_page": nothing,
        "load_prices": nothing,
        "number": 1,
        "op": SimpleNamespace(create_index=nothing, drop_index=nothing),
        "order": Order(customer_id=1),
        "page": SimpleNamespace(widgets=[SimpleNamespace(render=nothing)]),
        "price_cache": SimpleNamespace(get_or_create=nothing),
        "provider": TracerProvider(shutdown_on_exit=False),
        "sku": "7",
        "url": URL,
        "work": nothing,
        "write": nothing,
    }
    return {
        **public,
        **tables,
        **modules,
        **reader,
        "AsyncSession": sqlalchemy_async.AsyncSession,
        "OperationalError": OperationalError,
        "OrderLine": Line,
        "QueuePool": QueuePool,
        "TTLCache": dict,
        "Session": partial(Session),
        "client": client,
        "connection": session.connection(),
        "create_async_engine": create_async_engine,
        "create_engine": create_engine,
        "engine": engine,
        "insert": insert,
        "lock": client.lock("stock"),
        "session": session,
    }
