"""What repeats rightly on a real database, each next to a loop of the same shape that is found."""

from __future__ import annotations

import functools
import itertools
import threading
import time

import alembic.command
import alembic.config
import pytest
import sqlalchemy
from sqlalchemy import create_engine, insert, inspect, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import (
    Session,
    contains_eager,
    immediateload,
    joinedload,
    lazyload,
    raiseload,
    selectin_polymorphic,
    selectinload,
    subqueryload,
    with_polymorphic,
)

import dbsight
from integration.detect import shop
from integration.detect.shop import (
    Card,
    Cart,
    Category,
    Customer,
    Invoice,
    Job,
    Line,
    Order,
    Payment,
    Tag,
)


def walk(session, statement):
    """Touch everything that hangs on the customers."""
    for customer in session.scalars(statement).unique():
        for order in customer.orders:
            for line in order.lines:
                str(line.product.name)


# -- Eager loaders ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "loader",
    [
        joinedload(Customer.orders).joinedload(Order.lines).joinedload(Line.product),
        selectinload(Customer.orders).selectinload(Order.lines).selectinload(Line.product),
        subqueryload(Customer.orders).subqueryload(Order.lines).subqueryload(Line.product),
        selectinload(Customer.orders).joinedload(Order.lines).joinedload(Line.product),
    ],
    ids=["joinedload", "selectinload", "subqueryload", "mixed"],
)
def test_leaves_alone_every_eager_loader(watch, loader):
    """The same walk, with everything loaded before."""
    assert watch(walk, select(Customer).options(loader)) == []
    assert len(watch(walk, select(Customer).options(lazyload("*")))) == 3


def test_leaves_alone_contains_eager(watch):
    """A join that the query makes itself."""
    joined = select(Customer).join(Customer.orders).join(Order.lines).join(Line.product)
    path = contains_eager(Customer.orders).contains_eager(Order.lines).contains_eager(Line.product)
    assert watch(walk, joined.options(path)) == []
    assert len(watch(walk, joined)) == 3


def test_leaves_alone_selectinload_in_batches(watch):
    """Streaming in batches sends the eager loader's query once for each batch."""

    def work(session, *loaders):
        statement = select(Order).options(*loaders).execution_options(yield_per=2)
        for order in session.scalars(statement):
            len(order.lines)

    assert watch(work, selectinload(Order.lines)) == []
    assert [found.relationship for found in watch(work)] == ["Order.lines"]


def test_leaves_alone_a_tree_that_is_loaded_by_levels(watch):
    """One query a level."""
    roots = select(Category).where(Category.parent_id.is_(None))

    def work(session, statement):
        for category in session.scalars(statement):
            len(category.children)

    assert watch(work, roots.options(selectinload(Category.children, recursion_depth=2))) == []
    assert [found.count for found in watch(work, roots)] == [6]


def test_leaves_alone_columns_of_subclasses_that_were_asked_for(watch):
    """By one more query for each class, or by a join."""

    def work(session, statement):
        for payment in session.scalars(statement):
            str(payment.digits if isinstance(payment, Card) else payment.address)

    kinds = [Card, Invoice]
    assert watch(work, select(Payment).options(selectin_polymorphic(Payment, kinds))) == []
    assert watch(work, select(with_polymorphic(Payment, kinds))) == []
    assert len(watch(work, select(Payment))) == 2


def test_leaves_alone_an_eager_default(watch):
    """The model says that items come along."""

    def work(session):
        for cart in session.scalars(select(Cart)):
            len(cart.items)

    def lazily(session):
        for cart in session.scalars(select(Cart).options(lazyload(Cart.items))):
            len(cart.items)

    assert watch(work) == []
    assert [found.relationship for found in watch(lazily)] == ["Cart.items"]


def test_leaves_alone_what_is_not_loaded_at_all(watch):
    """Raiseload sends nothing, and neither does an attribute that nobody touches."""

    def work(session, *options):
        return [order.status for order in session.scalars(select(Order).options(*options))]

    assert watch(work) == []
    assert watch(work, raiseload("*")) == []


def test_detects_immediateload(watch):
    """It is called eager, and sends one query for each parent all the same."""

    def work(session, loader):
        session.scalars(select(Customer).options(loader(Customer.orders))).all()

    (found,) = watch(work, immediateload)
    assert (found.relationship, found.suggestion) == (
        "Customer.orders",
        "select(Customer).options(selectinload(Customer.orders))",
    )
    assert watch(work, selectinload) == []


# -- Pages and chunks ---------------------------------------------------------------------------------------------
def test_leaves_alone_pagination_by_offset(watch):
    """A listing of 24 orders, five at a time."""

    def pages(session):
        for offset in itertools.count(step=5):
            if not session.scalars(select(Order).order_by(Order.id).limit(5).offset(offset)).all():
                break

    def first_of_each(session):
        for number in range(1, shop.CUSTOMERS + 1):
            session.scalars(select(Order).filter_by(customer_id=number).order_by(Order.id).limit(1).offset(0)).all()

    assert watch(pages) == []
    assert [found.count for found in watch(first_of_each)] == [shop.CUSTOMERS]


def test_leaves_alone_pagination_by_key(watch):
    """The next page begins behind the last key."""

    def pages(session, size):
        last = 0
        while rows := session.scalars(select(Order.id).where(Order.id > last).order_by(Order.id).limit(size)).all():
            last = rows[-1]

    assert watch(pages, 4) == []
    assert [found.count for found in watch(pages, 1)] == [shop.ORDERS + 1]


def test_leaves_alone_chunks_of_an_in_list(watch):
    """Fifty ids at a time are work in bulk; five are a loop with a longer step."""

    def chunked(session, size):
        for start in range(0, size * 6, size):
            session.scalars(select(Order.note).where(Order.id.in_(range(start, start + size)))).all()

    assert watch(chunked, 50) == []
    assert [found.count for found in watch(chunked, 5)] == [6]


# -- Writes -------------------------------------------------------------------------------------------------------
def test_leaves_alone_writes_in_bulk(watch):
    """Executemany, many rows in one INSERT, and one flush of the ORM, which may send row by row."""
    rows = [{"name": f"new {number}"} for number in range(20)]

    def executemany(session):
        session.execute(insert(Customer), rows)

    def one_statement(session):
        session.execute(insert(Customer).values(rows))

    def one_flush(session):
        session.add_all(Customer(**row) for row in rows)
        session.flush()

    def driver(session):
        values = [(row["name"],) for row in rows]
        session.connection().exec_driver_sql("INSERT INTO customers (name) VALUES (?)", values)

    assert [watch(work) for work in (executemany, one_statement, one_flush, driver)] == [[], [], [], []]


def test_leaves_alone_the_refresh_after_each_insert(watch):
    """The database sets the time: the loop is one of writes; one that only reads is an N+1."""

    def add(session):
        for number in range(8):
            tag = Tag(name=f"new {number}")
            session.add(tag)
            session.commit()
            session.refresh(tag)

    def add_and_read(session):
        for number in range(8):
            tag = Tag(name=f"newer {number}")
            session.add(tag)
            session.commit()
            str(tag.made)

    def read(session):
        for tag in session.scalars(select(Tag)).all():
            session.refresh(tag)

    assert [found.rule for found in watch(add)] == ["row_by_row_write"]
    assert [found.rule for found in watch(add_and_read)] == ["row_by_row_write"]
    assert [found.rule for found in watch(read)] == ["n_plus_one"]


@pytest.mark.parametrize("autoflush", [True, False])
def test_leaves_alone_get_or_create(watch, autoflush):
    """Names that are there are found, others are made."""

    def get_or_create(session, names):
        session.autoflush = autoflush
        for name in names:
            if session.scalars(select(Tag).where(Tag.name == name)).one_or_none() is None:
                session.add(Tag(name=name))
        session.commit()

    names = [f"{kind} {number}" for number in range(1, 5) for kind in ("tag", "new")]
    assert watch(get_or_create, names) == []
    assert [found.count for found in watch(get_or_create, names)] == [8]


# -- Errors, polling, workers -------------------------------------------------------------------------------------
def test_leaves_alone_a_retry_after_an_error(watch):
    """The table is not there yet, and then it is."""

    def retried(session):
        for attempt in range(8):
            if attempt == 7:
                session.execute(text("CREATE TABLE later (id INTEGER)"))
            try:
                session.execute(text("SELECT id FROM later WHERE id = :attempt"), {"attempt": attempt}).all()
            except OperationalError:
                session.rollback()

    assert watch(retried) == []


def test_leaves_alone_polling_at_a_steady_pace(watch):
    """A thread asks for what is due, twenty times a second; without the waiting, it is a loop."""

    def poll(pause):
        with watch.engine.connect() as connection:
            for now in range(8):
                connection.execute(text("SELECT id FROM jobs WHERE id <= :now"), {"now": now}).all()
                time.sleep(pause)

    assert watch.outside(functools.partial(in_thread, poll, 0.06)) == []
    assert [found.count for found in watch.outside(functools.partial(in_thread, poll, 0))] == [8]


def in_thread(work, *arguments):
    """Run work in a thread of its own."""
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    thread.join()


def test_leaves_alone_what_a_queue_worker_does_for_each_job(watch):
    """A job is taken, its customer is looked up, the next job is taken."""

    def take(session):
        job = session.scalars(select(Job).where(Job.state == "waiting").order_by(Job.id).limit(1)).one_or_none()
        if job is not None:
            job.state = "done"
            session.commit()
        return job

    def worker():
        with Session(watch.engine, expire_on_commit=False) as session:
            while (job := take(session)) is not None:
                session.execute(select(Customer.name).where(Customer.id == job.customer_id)).one()

    def all_jobs():
        with Session(watch.engine) as session:
            for job in session.scalars(select(Job)):
                session.execute(select(Customer.name).where(Customer.id == job.customer_id)).one()

    assert watch.outside(functools.partial(in_thread, worker)) == []
    assert [found.count for found in watch.outside(functools.partial(in_thread, all_jobs))] == [10]


def test_leaves_alone_a_row_asked_for_by_three_lines(watch):
    """Three lines of one function read the same table."""

    def work(session):
        session.execute(select(Customer.name).where(Customer.id == 1)).one()
        session.execute(select(Customer.name).where(Customer.id == 2)).one()
        session.execute(select(Customer.name).where(Customer.id == 3)).one()

    def looped(session):
        for number in (1, 2, 3):
            session.execute(select(Customer.name).where(Customer.id == number)).one()

    assert watch(work) == []
    assert [found.severity for found in watch(looped)] == ["info"]


def test_leaves_alone_what_a_cache_answers(watch):
    """The identity map answers, and nothing is sent."""

    def cached(session):
        customers = session.scalars(select(Customer)).all()
        for _ in range(3):
            assert [session.get(Customer, customer.id) for customer in customers] == customers

    def uncached(session):
        for number in range(1, shop.CUSTOMERS + 1):
            session.get(Customer, number)

    assert watch(cached) == []
    assert [found.count for found in watch(uncached)] == [shop.CUSTOMERS]


def test_leaves_alone_the_same_question_again(watch):
    """The same parameters are redundant, which is another fault."""

    def work(session):
        for _ in range(20):
            session.execute(select(Customer.name).where(Customer.id == 1)).one()

    assert [found.rule for found in watch(work)] == ["redundant_query"]


def test_leaves_alone_forty_databases(tmp_path, watch):
    """One query in each of forty files."""

    def work(session):
        for number in range(40):
            engine = create_engine(f"sqlite:///{tmp_path / f'{number}.db'}")
            with engine.connect() as connection:
                connection.execute(
                    text("SELECT :number AS answer FROM (SELECT 1 AS one) AS t"), {"number": number}
                ).all()
            engine.dispose()

    assert watch(work) == []


# -- Schema -------------------------------------------------------------------------------------------------------
def test_leaves_alone_reflection_and_creation(watch):
    """The catalogue is read table by table, rightly."""

    def work(session):
        inspector = inspect(session.connection())
        for table in inspector.get_table_names():
            inspector.get_columns(table)
            inspector.get_indexes(table)
        sqlalchemy.MetaData().reflect(session.connection())
        shop.Base.metadata.create_all(session.connection())

    assert watch(work) == []


MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, rows = "{number}", {previous}, {rows}

def upgrade():
    op.execute("CREATE TABLE made_{number} (id INTEGER)")
    connection = op.get_bind()
    for number in range(1, rows + 1):
        name = connection.execute(sa.text("SELECT note FROM orders WHERE id = :id"), {{"id": number}}).scalar()
"""

ENVIRONMENT = """
from alembic import context

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


def test_leaves_alone_migrations_but_not_the_rows_that_they_read_one_by_one(watch, tmp_path):
    """Alembic itself, with four revisions of a schema; one that works row by row is a finding."""

    def upgrade(name, rows):
        scripts = tmp_path / name
        (scripts / "versions").mkdir(parents=True)
        (scripts / "env.py").write_text(ENVIRONMENT)
        for number in range(1, 5):
            script = MIGRATION.format(
                number=f"{name}{number}", previous=repr(f"{name}{number - 1}" if number > 1 else None), rows=rows
            )
            (scripts / "versions" / f"{number}.py").write_text(script)
        config = alembic.config.Config(attributes={"engine": watch.engine})
        config.set_main_option("script_location", str(scripts))
        alembic.command.upgrade(config, "head")
        with watch.engine.begin() as connection:
            connection.execute(text("DROP TABLE alembic_version"))

    assert watch.outside(functools.partial(upgrade, "schema", 0)) == []
    found = watch.outside(functools.partial(upgrade, "data", shop.ORDERS))
    assert [(each.rule, each.count) for each in found] == [("n_plus_one", shop.ORDERS)] * 4
    assert {each.severity for each in found} <= {"warning", "error"}  # by the part of the time that it took


# -- Control ------------------------------------------------------------------------------------------------------
def test_leaves_alone_what_was_allowed(watch):
    """By a with block, by a decorator, by a comment in the query."""

    def loop(session):
        for order in session.scalars(select(Order)):
            str(order.customer.name)

    def allowed(session):
        with dbsight.allow("n_plus_one", reason="six customers at most"):
            loop(session)

    @dbsight.allow("all", reason="an admin's page")
    def decorated(session):
        loop(session)

    def commented(session):
        for number in range(1, 7):
            query = text("SELECT name FROM customers WHERE id = :id -- dbsight: allow n_plus_one")
            session.execute(query, {"id": number}).all()

    assert [watch(work) for work in (allowed, decorated, commented)] == [[], [], []]
    assert [found.relationship for found in watch(loop)] == ["Order.customer"]
