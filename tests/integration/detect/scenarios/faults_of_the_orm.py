"""Faults in which the ORM asks: relationships, columns and helpers of SQLAlchemy's session."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select
from sqlalchemy.orm import Session, immediateload, load_only, object_session, raiseload, selectinload, with_parent

from integration.detect.scenarios.catalogue import fault
from integration.detect.shop import (
    CUSTOMERS,
    ORDERS,
    PRODUCTS,
    Card,
    Cart,
    Category,
    Customer,
    Event,
    Job,
    Line,
    Order,
    Payment,
    Product,
    Tag,
)


@fault()
def forward_many_to_one(session):
    """The parent of each row."""
    for order in session.scalars(select(Order)):
        str(order.customer.name)


@fault()
def forward_many_to_one_in_batches_of_the_cursor(session):
    """The same, while rows are fetched in parts."""
    for order in session.scalars(select(Order).execution_options(yield_per=5)):
        str(order.customer.name)


@fault()
def reverse_one_to_many(session):
    """The children of each row."""
    for customer in session.scalars(select(Customer)):
        len(customer.orders)


@fault()
def many_to_many(session):
    """Through a table in between."""
    for product in session.scalars(select(Product)):
        list(product.tags)


@fault()
def truthiness_of_a_collection(session):
    """``if customer.orders`` loads all of them."""
    for customer in session.scalars(select(Customer)):
        bool(customer.orders)


@fault()
def count_of_a_collection(session):
    """``len`` of each collection, in a template."""
    [len(order.lines) for order in session.scalars(select(Order)).all()]


@fault()
def first_of_a_collection(session):
    """The first line of each order: ``c.legs.first``."""
    for order in session.scalars(select(Order)).all():
        session.scalars(select(Line).where(with_parent(order, Order.lines)).order_by(Line.id).limit(1)).first()


@fault()
def last_of_a_collection(session):
    """The last line of each order: ``c.legs.last``."""
    for order in session.scalars(select(Order)).all():
        session.scalars(select(Line).where(Line.order_id == order.id).order_by(Line.id.desc()).limit(1)).first()


@fault()
def pluck_of_a_collection(session):
    """One column of each collection."""
    for customer in session.scalars(select(Customer)).all():
        session.scalars(select(Order.id).where(Order.customer_id == customer.id)).all()


@fault()
def exists_per_row(session):
    """Whether each row has a child."""
    for customer in session.scalars(select(Customer)).all():
        session.scalar(select(select(Order.id).where(Order.customer_id == customer.id).exists()))


@fault()
def aggregate_per_row(session):
    """A sum per row."""
    for product in session.scalars(select(Product)).all():
        session.scalar(select(func.count(Line.id)).where(Line.product_id == product.id))


@fault()
def nested_loops(session):
    """Order → line → product: the inner loop."""
    for order in session.scalars(select(Order)):
        for line in order.lines:
            str(line.product.name)


@fault()
def a_tree_walked_node_by_node(session):
    """The children of each node."""

    def walk(node):
        for child in node.children:
            walk(child)

    for root in session.scalars(select(Category).where(Category.parent_id.is_(None))).all():
        walk(root)


@fault()
def a_path_to_the_root(session):
    """The parent of each node, one after the other."""
    for node in session.scalars(select(Category).where(Category.parent_id.is_not(None))).all():
        session.execute(select(Category.id).where(Category.id == node.parent_id)).first()


@fault()
def deferred_columns(session):
    """A column that was left out is read for each row."""
    for product in session.scalars(select(Product)):
        str(product.description)


@fault()
def columns_that_load_only_left_out(session):
    """``only()`` of other frameworks."""
    for order in session.scalars(select(Order).options(load_only(Order.id))):
        str(order.note)


@fault()
def columns_of_subclasses(session):
    """A query for the base class."""
    for payment in session.scalars(select(Payment)):
        str(payment.digits if isinstance(payment, Card) else payment.address)


@fault()
def expired_by_a_commit(session):
    """What a commit expired is read again row by row."""
    orders = session.scalars(select(Order)).all()
    session.commit()
    for order in orders:
        str(order.note)


@fault()
def refreshed_one_by_one(session):
    """``refresh`` for each object of a list."""
    for order in session.scalars(select(Order)).all():
        session.refresh(order)


@fault()
def immediate_load(session):
    """It is called eager, and sends one query for each parent."""
    session.scalars(select(Customer).options(immediateload(Customer.orders))).all()


@fault()
def get_for_each_id(session):
    """``session.get`` in a loop over ids."""
    for number in range(1, ORDERS + 1):
        session.get(Order, number)


@fault()
def get_with_eager_loads(session):
    """Each row that is looked up brings its collection along."""
    for number in range(1, 9):
        session.get(Cart, number)


@fault()
def get_of_a_polymorphic_class(session):
    """Each row brings the query of its subclass along."""
    for number in range(1, 9):
        session.get(Event, number)


@fault()
def get_with_an_option_per_row(session):
    """``selectinload`` on a look-up of one row makes two queries per row."""
    for number in range(1, CUSTOMERS + 1):
        session.get(Customer, number, options=[selectinload(Customer.orders)])


@fault()
def filter_by_first(session):
    """``query.filter_by(id=…).first()``, the classic."""
    for number in range(1, PRODUCTS + 1):
        session.query(Product).filter_by(id=number).first()


@fault()
def a_property_that_queries(session):
    """The query hides in a method of the model, as ``payer.balance()``."""

    def balance(customer):
        query = select(func.count(Order.id)).where(Order.customer_id == customer.id)
        return object_session(customer).scalar(query)

    sum(balance(customer) for customer in session.scalars(select(Customer)).all())


@fault()
def a_serializer_with_a_helper(session):
    """A function per row that asks twice."""

    def as_json(order):
        customer = session.scalars(select(Customer.name).where(Customer.id == order.customer_id)).one()
        lines = session.scalars(select(Line.id).where(Line.order_id == order.id)).all()
        return {"customer": customer, "lines": lines}

    [as_json(order) for order in session.scalars(select(Order)).all()]


@fault()
def one_eager_load_and_one_forgotten(session):
    """``lines`` are loaded eagerly, ``lines.product`` is not."""
    for order in session.scalars(select(Order).options(selectinload(Order.lines))):
        for line in order.lines:
            str(line.product.name)


@fault()
def raiseload_and_a_query(session):
    """The relationship must not load by itself, and is asked for by hand."""
    for customer in session.scalars(select(Customer).options(raiseload(Customer.orders))).all():
        session.scalars(select(Order).where(Order.customer_id == customer.id)).all()


@fault()
def a_session_per_row(session):
    """A repository that opens a session for each call."""
    for number in range(1, CUSTOMERS + 1):
        with Session(session.get_bind()) as own:
            own.get(Customer, number)


@fault()
def a_loop_whose_parameters_repeat(session):
    """Eighty look-ups of twelve products, each in a session of its own."""
    for number in range(80):
        with Session(session.get_bind()) as own:
            own.get(Product, number % PRODUCTS + 1)


@fault()
def two_loops_interleaved(session):
    """Two look-ups per row, in turn."""
    for line in session.scalars(select(Line).limit(10)).all():
        session.execute(select(Product.name).where(Product.id == line.product_id)).one()
        session.execute(select(Order.note).where(Order.id == line.order_id)).one()


@fault()
def threads_of_a_request(session):
    """Ten look-ups in four threads, of which each has but two or three."""

    def look_up(number):
        with Session(session.get_bind()) as own:
            return own.get(Order, number).note

    with ThreadPoolExecutor(4) as pool:
        for number in range(1, 11):
            pool.submit(look_up, number)


@fault()
def threads_of_a_loop(session):
    """``asyncio.to_thread`` for each row."""

    def look_up(number):
        with Session(session.get_bind()) as own:
            return own.get(Order, number).note

    async def everything():
        return await asyncio.gather(*(asyncio.to_thread(look_up, number) for number in range(1, 11)))

    asyncio.run(everything())


@fault("n_plus_one", "row_by_row_write")
def look_up_and_write_each(session):
    """Read a row, change it, commit, and so on."""
    for number in range(1, ORDERS + 1):
        session.get(Order, number).note = "seen"
        session.commit()


@fault()
def validation_before_each_update(session):
    """A uniqueness check per row that is written."""
    for tag in session.scalars(select(Tag)).all() + session.scalars(select(Tag)).all():
        session.execute(select(Tag.id).where(Tag.name == f"{tag.name} {id(tag)}", Tag.id != tag.id).limit(1)).first()
    for number in range(6):
        session.execute(select(Job.id).where(Job.state == f"state {number}").limit(1)).first()
