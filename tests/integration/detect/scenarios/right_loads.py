"""Repetitions of reads that are right."""

import itertools
import threading
import time

from sqlalchemy import MetaData, func, inspect, select, text, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, joinedload, selectin_polymorphic, selectinload, subqueryload, undefer

from integration.detect.scenarios.catalogue import right
from integration.detect.shop import (
    CUSTOMERS,
    ORDERS,
    Card,
    Cart,
    Category,
    Customer,
    Invoice,
    Job,
    Line,
    Order,
    Payment,
    Product,
    Tag,
)


# -- Eager loading ------------------------------------------------------------------------------------------------
@right()
def a_join(session):
    """One query for both."""
    for order in session.scalars(select(Order).options(joinedload(Order.customer))):
        str(order.customer.name)


@right()
def selectin_in_batches(session):
    """One query for each five hundred parents, or for each partition of the result."""
    query = select(Order).options(selectinload(Order.lines)).execution_options(yield_per=4)
    for order in session.scalars(query):
        len(order.lines)


@right()
def subqueries(session):
    """One query for each relationship."""
    query = select(Customer).options(subqueryload(Customer.orders).subqueryload(Order.lines))
    for customer in session.scalars(query):
        [len(order.lines) for order in customer.orders]


@right()
def several_relationships_of_one_class(session):
    """Three queries for lines, for different reasons."""
    session.scalars(select(Order).options(selectinload(Order.lines).joinedload(Line.product))).all()
    session.scalars(select(Customer).options(selectinload(Customer.orders).selectinload(Order.lines))).all()


@right()
def a_tree_by_levels(session):
    """A query per level."""
    query = select(Category).where(Category.parent_id.is_(None))
    session.scalars(query.options(selectinload(Category.children, recursion_depth=5))).all()


@right()
def subclasses_that_were_asked_for(session):
    """A query per subclass."""
    query = select(Payment).options(selectin_polymorphic(Payment, [Card, Invoice]))
    for payment in session.scalars(query):
        str(payment.digits if isinstance(payment, Card) else payment.address)


@right()
def a_deferred_column_that_was_asked_for(session):
    """No further query."""
    for product in session.scalars(select(Product).options(undefer(Product.description))):
        str(product.description)


@right()
def objects_that_the_session_has(session):
    """The identity map answers."""
    customers = session.scalars(select(Customer)).all()
    for order in session.scalars(select(Order)):
        str(order.customer.name)
    assert len(customers) == CUSTOMERS


@right()
def the_same_relationship_twice(session):
    """It is loaded once."""
    customer = session.get(Customer, 1)
    for _ in range(10):
        len(customer.orders)


@right()
def relationships_of_two_objects(session):
    """Two objects, loaded one by one."""
    for number in (1, 2):
        len(session.get(Customer, number).orders)


# -- Pages --------------------------------------------------------------------------------------------------------
@right()
def pages_by_offset(session):
    """A listing, five at a time."""
    for offset in itertools.count(step=5):
        if not session.scalars(select(Order).order_by(Order.id).limit(5).offset(offset)).all():
            break


@right()
def pages_by_offset_with_a_filter(session):
    """The other parameters stay the same."""
    for offset in range(0, 30, 3):
        query = select(Order).where(Order.status == "open").order_by(Order.id).limit(3).offset(offset)
        session.scalars(query).all()


@right()
def pages_by_key(session):
    """The next page begins behind the last key."""
    last = 0
    while page := session.scalars(select(Order.id).where(Order.id > last).order_by(Order.id).limit(4)).all():
        last = page[-1]


@right()
def pages_by_key_backwards(session):
    """The newest first, with named parameters."""
    last = 1_000_000
    query = text("SELECT id FROM orders WHERE id < :last AND status <> :status ORDER BY id DESC LIMIT :size")
    while page := session.execute(query, {"size": 3, "status": "none", "last": last}).scalars().all():
        last = page[-1]


@right()
def pages_by_two_keys(session):
    """A composite key, compared as a row."""
    last = ("", 0)
    while True:
        query = select(Order.status, Order.id).where(tuple_(Order.status, Order.id) > last)
        page = session.execute(query.order_by(Order.status, Order.id).limit(4)).all()
        if not page:
            break
        last = tuple(page[-1])


@right()
def pages_by_two_keys_written_out(session):
    """``a > ? OR (a = ? AND b > ?)``, as paginators of keys write it."""
    status, number = "", 0
    while True:
        query = select(Order.status, Order.id).where(
            (Order.status > status) | ((Order.status == status) & (Order.id > number))
        )
        page = session.execute(query.order_by(Order.status, Order.id).limit(4)).all()
        if not page:
            break
        status, number = page[-1]


@right()
def pages_by_name(session):
    """The key is no number."""
    last = ""
    while page := session.scalars(
        select(Product.name).where(Product.name > last).order_by(Product.name).limit(3)
    ).all():
        last = page[-1]


@right()
def pages_with_their_eager_loads(session):
    """Each page brings its lines along."""
    for offset in range(0, ORDERS, 4):
        query = select(Order).options(selectinload(Order.lines)).order_by(Order.id).limit(4).offset(offset)
        session.scalars(query).all()


@right()
def pages_with_lists_of_their_keys(session):
    """Each page is followed by one query for what belongs to its rows, written by hand."""
    last = 0
    while page := session.scalars(select(Order.id).where(Order.id > last).order_by(Order.id).limit(4)).all():
        last = page[-1]
        session.execute(select(Line.id, Line.product_id).where(Line.order_id.in_(page))).all()


@right()
def pages_that_stop_early(session):
    """Three full pages of a longer listing, twice."""
    for _ in range(2):
        for offset in range(0, 12, 4):
            session.scalars(select(Order.id).order_by(Order.id).limit(4).offset(offset)).all()


# -- Chunks -------------------------------------------------------------------------------------------------------
@right()
def long_lists(session):
    """Fifty ids at a time."""
    for start in range(0, 400, 50):
        session.scalars(select(Order.note).where(Order.id.in_(range(start, start + 50)))).all()


@right()
def literal_lists(session):
    """The same with the values in the text."""
    for start in range(0, 420, 60):
        values = ", ".join(map(str, range(start, start + 60)))
        session.execute(text(f"SELECT note FROM orders WHERE id IN ({values})")).all()


# -- Different places ---------------------------------------------------------------------------------------------
def _name_of(session, number):
    return session.execute(select(Customer.name).where(Customer.id == number)).scalar_one()


@right()
def a_helper_from_different_lines(session):
    """Five look-ups from five lines."""
    _name_of(session, 1)
    _name_of(session, 2)
    _name_of(session, 3)
    _name_of(session, 4)
    _name_of(session, 5)


@right()
def counts_of_a_dashboard(session):
    """One function, a query per tile."""
    session.scalar(select(func.count()).select_from(Order).where(Order.status == "open"))
    session.scalar(select(func.count()).select_from(Order).where(Order.status == "sent"))
    session.scalar(select(func.count()).select_from(Order).where(Order.status == "lost"))
    session.scalar(select(func.count()).select_from(Order).where(Order.status == "paid"))
    session.scalar(select(func.count()).select_from(Order).where(Order.status == "late"))


@right()
def two_of_a_kind(session):
    """From and to of a transfer."""
    for number in (1, 2):
        session.get(Customer, number)


# -- Get or create, retries, polling ------------------------------------------------------------------------------
@right()
def get_or_create(session):
    """Names that are there are found, others are made."""
    for number, name in enumerate(f"{kind} {number}" for number in range(1, 5) for kind in ("tag", "new")):
        if session.scalars(select(Tag).where(Tag.name == name)).one_or_none() is None:
            session.add(Tag(id=1000 + number, name=name))
    session.commit()


@right()
def retries_after_an_error(session):
    """The table is not there."""
    for attempt in range(8):
        try:
            session.execute(text("SELECT id FROM later WHERE id = :attempt"), {"attempt": attempt}).all()
        except DBAPIError:  # noqa: PERF203 - that is the scenario
            session.rollback()


def in_thread(work, *arguments):
    """Run work in a thread of its own."""
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    thread.join()


@right(outside=True)
def polling(session):
    """A thread asks for what is due, ten times a second."""

    def poll():
        with session.get_bind().connect() as connection:
            for now in range(8):
                connection.execute(text("SELECT id FROM jobs WHERE id <= :now"), {"now": now}).all()
                time.sleep(0.06)

    in_thread(poll)


@right(outside=True)
def a_queue_worker(session):
    """A job is taken, its customer is looked up, the next job is taken."""

    def take(session):
        job = session.scalars(select(Job).where(Job.state == "waiting").order_by(Job.id).limit(1)).one_or_none()
        if job is not None:
            job.state = "done"
            session.commit()
        return job

    def worker():
        with Session(session.get_bind(), expire_on_commit=False) as own:
            while (job := take(own)) is not None:
                own.execute(select(Customer.name).where(Customer.id == job.customer_id)).one()

    in_thread(worker)


# -- The database itself ------------------------------------------------------------------------------------------
@right()
def reflection(session):
    """The catalogue is read table by table."""
    inspector = inspect(session.connection())
    for table in inspector.get_table_names():
        inspector.get_columns(table)
        inspector.get_indexes(table)
    MetaData().reflect(session.connection())


@right()
def pings_and_settings(session):
    """What keeps a connection alive or sets it up."""
    for _ in range(10):
        session.execute(text("SELECT 1"))
        with session.begin_nested():
            pass


@right()
def carts_of_one_query(session):
    """Their items come with them."""
    for cart in session.scalars(select(Cart)):
        len(cart.items)
